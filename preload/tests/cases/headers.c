/* Headers that an application asks for: extension headers, IPv4 options, flow labels. */
#include "case.h"
#include <linux/in6.h>

#ifndef IPV6_FLOWINFO_SEND
#define IPV6_FLOWINFO_SEND 33
#endif

/* A destination option of nothing but padding, eight octets in all. */
static const char padding[8] = { 0, 0, 1, 4 };

static struct sockaddr_in6 six(const char *ip, int number)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(number) };
    inet_pton(AF_INET6, ip, &a.sin6_addr);
    return a;
}

static void length(int fd, int level, int name)
{
    char room[64];
    socklen_t len = sizeof room;
    SAY(getsockopt(fd, level, name, room, &len));
    printf("%u\n", len);
}

CASE(sticky_options_of_a_connection)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a = six("fd00:77::2", port);
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, padding, 7));
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof padding));
    length(fd, IPPROTO_IPV6, IPV6_DSTOPTS);
    SAY(peer("listen6 %d", port));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
    int mss = 0;
    socklen_t len = sizeof mss;
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, &len));
    printf("room for the header: %d\n", mss);
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, NULL, 0));
    length(fd, IPPROTO_IPV6, IPV6_DSTOPTS);
}

CASE(sticky_options_taken_back)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a = six("fd00:77::2", port);
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_HOPOPTS, padding, sizeof padding));
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_HOPOPTS, NULL, 0));
    SAY(peer("listen6 %d", port));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(sticky_options_of_datagrams)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 own = six("fd00:77::1", port), a = six("fd00:77::2", port);
    SAY(bind(fd, (void *)&own, sizeof own));
    look(fd);
    SAY(peer("udp6 %d", port));
    SAY(sendto(fd, "ab", 2, 0, (void *)&a, sizeof a));
    SAY(peer("urecv6"));
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof padding));
    SAY(sendto(fd, "abc", 3, 0, (void *)&a, sizeof a));
    SAY(peer("urecv6"));
}

CASE(options_of_ip)
{
    static const char nothing[4] = { 1, 1, 1, 0 };
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    SAY(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, nothing, sizeof nothing));
    length(fd, IPPROTO_IP, IP_OPTIONS);
    SAY(peer("listen %d", port));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(flow_labels_by_name)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), one = 1;
    struct sockaddr_in6 own = six("fd00:77::1", port), a = six("fd00:77::2", port);
    SAY(bind(fd, (void *)&own, sizeof own));
    look(fd);
    SAY(peer("udp6 %d", port));
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_FLOWINFO_SEND, &one, sizeof one));
    a.sin6_flowinfo = htonl(0x12345);
    SAY(sendto(fd, "abc", 3, 0, (void *)&a, sizeof a));
    a.sin6_flowinfo = 0;
    SAY(sendto(fd, "abc", 3, 0, (void *)&a, sizeof a));
    SAY(peer("urecv6"));
    struct in6_flowlabel_req lease = { .flr_label = htonl(0x12345), .flr_action = IPV6_FL_A_GET,
                                       .flr_flags = IPV6_FL_F_CREATE, .flr_share = IPV6_FL_S_ANY };
    memcpy(&lease.flr_dst, &a.sin6_addr, 16);
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &lease, sizeof lease));
    a.sin6_flowinfo = htonl(0x12345);
    SAY(sendto(fd, "abcd", 4, 0, (void *)&a, sizeof a));
    SAY(peer("urecv6"));
}

CASE(hop_limits_of_nobody)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0), hops = -2;
    struct sockaddr_in6 a = six("fd00:77::2", port);
    socklen_t len = sizeof hops;
    SAY(getsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, &len));
    printf("%d\n", hops);
    SAY(peer("listen6 %d", port));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(getsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, &len));
    printf("%d\n", hops);
    hops = 9;
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof hops));
    hops = -1;
    SAY(setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof hops));
    SAY(getsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, &len));
    printf("%d\n", hops);
}
