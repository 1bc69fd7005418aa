/* Datagrams over IPv6: what comes beside the bytes, errors, trains, groups. */
#include "udp.h"

static const char own6[] = "fd00:77::1", peer6[] = "fd00:77::2";

static struct sockaddr_in6 address6(const char *ip, int number)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(number) };
    inet_pton(AF_INET6, ip, &a.sin6_addr);
    return a;
}

static int bound6(const char *ip)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 a = address6(ip, port);
    if (bind(fd, (void *)&a, sizeof a))
        printf("bind: %s\n", strerrorname_np(errno));
    look(fd);
    return fd;
}

CASE(six_told)
{
    int fd = bound6("::");
    SET(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
    SET(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
    SET(fd, SOL_IPV6, IPV6_RECVTCLASS, 1);
    GET(fd, SOL_IPV6, IPV6_RECVPKTINFO);
    GET(fd, SOL_IPV6, IPV6_RECVHOPLIMIT);
    peer("udp6 %d", port + 1);
    peer("usend6 %d 10", port);
    show(fd, 100, 200, 0);
    peer("uset 41 %d 9", IPV6_UNICAST_HOPS);
    peer("uset 41 %d 184", IPV6_TCLASS);
    peer("usend6 %d 10", port);
    show(fd, 100, 200, 0);
    peer("usend6 %d 3000", port);
    show(fd, 4000, 200, 0);
    SET(fd, SOL_IPV6, IPV6_RECVPKTINFO, 0);
    peer("usend6 %d 10", port);
    show(fd, 100, 200, 0);
}

CASE(six_told_of_mapped)
{
    int fd = bound6("::");
    SET(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
    SET(fd, SOL_IPV6, IPV6_RECVHOPLIMIT, 1);
    SET(fd, SOL_IP, IP_RECVTTL, 1);
    peer("udp %d", port + 1);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
}

CASE(six_asked)
{
    int fd = bound6(own6), hops = 5, class = 0x20;
    struct sockaddr_in6 a = address6(peer6, port + 1);
    struct control c = { 0 };
    peer("udp6 %d", port + 1);
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(peer("uinfo"));
    SET(fd, SOL_IPV6, IPV6_UNICAST_HOPS, 33);
    SET(fd, SOL_IPV6, IPV6_TCLASS, 0xb8);
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(peer("uinfo"));
    add(&c, SOL_IPV6, IPV6_HOPLIMIT, &hops, sizeof hops);
    add(&c, SOL_IPV6, IPV6_TCLASS, &class, sizeof class);
    SAY(send_with(fd, &a, 10, &c, 0));
    SAY(peer("uinfo"));
    SAY(send_with(fd, &a, 3000, &c, 0));
    SAY(peer("uinfo"));
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(peer("uinfo"));
}

CASE(six_source)
{
    int fd = bound6("::");
    struct sockaddr_in6 a = address6(peer6, port + 1);
    struct in6_pktinfo i = { .ipi6_ifindex = 0 };
    struct control own = { 0 }, foreign = { 0 }, none = { 0 };
    peer("udp6 %d", port + 1);
    inet_pton(AF_INET6, own6, &i.ipi6_addr);
    add(&own, SOL_IPV6, IPV6_PKTINFO, &i, sizeof i);
    SAY(send_with(fd, &a, 10, &own, 0));
    SAY(peer("urecv6"));
    inet_pton(AF_INET6, "fd00:77::99", &i.ipi6_addr);
    add(&foreign, SOL_IPV6, IPV6_PKTINFO, &i, sizeof i);
    SAY(send_with(fd, &a, 10, &foreign, 0));
    i = (struct in6_pktinfo){ .ipi6_ifindex = if_nametoindex("road0") };
    add(&none, SOL_IPV6, IPV6_PKTINFO, &i, sizeof i);
    SAY(send_with(fd, &a, 10, &none, 0));
    SAY(peer("urecv6"));
}

CASE(six_errors)
{
    int fd = bound6(own6);
    char b[10];
    struct sockaddr_in6 a = address6(peer6, port + 1);
    SET(fd, SOL_IPV6, IPV6_RECVERR, 1);
    GET(fd, SOL_IPV6, IPV6_RECVERR);
    SAY(send_with(fd, &a, 12, NULL, 0));
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
    show(fd, 100, 200, MSG_ERRQUEUE);
    show(fd, 100, 200, MSG_ERRQUEUE);
    SAY(connect(fd, (void *)&a, sizeof a));
    SET(fd, SOL_IPV6, IPV6_RECVERR, 0);
    SAY(send_with(fd, NULL, 12, NULL, 0));
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
}

CASE(six_too_long)
{
    int fd = bound6(own6);
    struct sockaddr_in6 a = address6(peer6, port + 1);
    peer("udp6 %d", port + 1);
    SAY(send_with(fd, &a, 1452, NULL, 0));
    SAY(peer("urecv6"));
    SAY(send_with(fd, &a, 1453, NULL, 0));
    SAY(peer("urecv6"));
    SET(fd, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
    SAY(send_with(fd, &a, 1453, NULL, 0));
    SAY(connect(fd, (void *)&a, sizeof a));
    GET(fd, SOL_IPV6, IPV6_MTU);
}

CASE(six_trains)
{
    int fd = bound6(own6);
    struct sockaddr_in6 a = address6(peer6, port + 1);
    unsigned short size = 1000;
    struct control c = { 0 };
    add(&c, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
    peer("udp6 %d", port + 1);
    SAY(send_with(fd, &a, 2500, &c, 0));
    SAY(peer("urecv6"));
    SAY(peer("urecv6"));
    SAY(peer("urecv6"));
    SET(fd, SOL_UDP, UDP_SEGMENT, 1453);
    SAY(send_with(fd, &a, 3000, NULL, 0));
}

CASE(six_without_checksum)
{
    int fd = bound6(own6);
    struct sockaddr_in6 a = address6(peer6, port + 1);
    peer("udp6 %d", port + 1);
    SET(fd, SOL_UDP, UDP_NO_CHECK6_TX, 1);
    SAY(peer("uset 17 102 1"));
    SAY(send_with(fd, &a, 100, NULL, 0));
    SAY(peer("urecv6"));
    SAY(peer("uset 17 101 1"));
    peer("usend6 %d 10", port);
    usleep(200000);
    show(fd, 100, 0, MSG_DONTWAIT);
    SET(fd, SOL_UDP, UDP_NO_CHECK6_RX, 1);
    peer("usend6 %d 11", port);
    show(fd, 100, 0, 0);
}

static long change(int fd, int name, int n)
{
    char ip[32];
    struct ipv6_mreq m = { .ipv6mr_interface = if_nametoindex("road0") };
    sprintf(ip, "ff05::77:%d", n);
    inet_pton(AF_INET6, ip, &m.ipv6mr_multiaddr);
    return setsockopt(fd, SOL_IPV6, name, &m, sizeof m);
}

static void heard(int fd, int n)
{
    peer("msend6 %d %d %d", n, port, 100 + n);
    struct pollfd p = { fd, POLLIN, 0 };
    poll(&p, 1, 200);
    show(fd, 2000, 200, MSG_DONTWAIT);
}

CASE(six_group)
{
    int fd = bound6("::");
    SET(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
    peer("udp6 %d", port + 1);
    heard(fd, 1);
    SAY(change(fd, IPV6_JOIN_GROUP, 1));
    heard(fd, 1);
    SAY(change(fd, IPV6_JOIN_GROUP, 1));
    heard(fd, 2);
    SAY(change(fd, IPV6_LEAVE_GROUP, 1));
    heard(fd, 1);
    SAY(change(fd, IPV6_LEAVE_GROUP, 1));
}

CASE(six_group_of_one_source)
{
    int fd = bound6("::");
    struct group_source_req s = { .gsr_interface = if_nametoindex("road0") };
    struct sockaddr_in6 g = address6("ff05::77:3", 0), from = address6("fd00:77::99", 0);
    memcpy(&s.gsr_group, &g, sizeof g);
    memcpy(&s.gsr_source, &from, sizeof from);
    peer("udp6 %d", port + 1);
    SAY(setsockopt(fd, SOL_IPV6, MCAST_JOIN_SOURCE_GROUP, &s, sizeof s));
    heard(fd, 3);
    from = address6(peer6, 0);
    memcpy(&s.gsr_source, &from, sizeof from);
    SAY(setsockopt(fd, SOL_IPV6, MCAST_JOIN_SOURCE_GROUP, &s, sizeof s));
    heard(fd, 3);
}

CASE(six_group_sent_to)
{
    int fd = bound6("::");
    struct sockaddr_in6 g = address6("ff05::77:4", port + 1);
    peer("udp6any %d", port + 1);
    SAY(peer("mjoin6 4"));
    int way = if_nametoindex("road0");
    SAY(setsockopt(fd, SOL_IPV6, IPV6_MULTICAST_IF, &way, sizeof way));
    SAY(send_with(fd, &g, 10, NULL, 0));
    SAY(peer("uinfo"));
    SET(fd, SOL_IPV6, IPV6_MULTICAST_HOPS, 7);
    SET(fd, SOL_IPV6, IPV6_MULTICAST_LOOP, 0);
    GET(fd, SOL_IPV6, IPV6_MULTICAST_LOOP);
    SAY(send_with(fd, &g, 20, NULL, 0));
    SAY(peer("uinfo"));
}
