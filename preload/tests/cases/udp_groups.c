/* Groups and broadcasts. */
#include "udp.h"

static int bound(const char *ip, int reuse)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address(ip, port);
    if (reuse)
        setsockopt(fd, SOL_SOCKET, reuse, &(int){ 1 }, 4);
    if (bind(fd, (void *)&a, sizeof a))
        printf("bind: %s\n", strerrorname_np(errno));
    return fd;
}

static struct ip_mreq group(int n, const char *own)
{
    char ip[32];
    struct ip_mreq m;
    sprintf(ip, "239.1.1.%d", n);
    inet_pton(AF_INET, ip, &m.imr_multiaddr);
    inet_pton(AF_INET, own, &m.imr_interface);
    return m;
}

static long change(int fd, int name, int n)
{
    struct ip_mreq m = group(n, own_ip);
    return setsockopt(fd, SOL_IP, name, &m, sizeof m);
}

static long change_source(int fd, int name, int n, const char *source)
{
    struct ip_mreq g = group(n, own_ip);
    struct ip_mreq_source m = { .imr_multiaddr = g.imr_multiaddr, .imr_interface = g.imr_interface };
    inet_pton(AF_INET, source, &m.imr_sourceaddr);
    return setsockopt(fd, SOL_IP, name, &m, sizeof m);
}

/* What comes of a datagram of the peer's to the group. */
static void heard(int fd, int n)
{
    char b[2000];
    peer("msend %d %d %d", n, port, 100 + n);
    struct pollfd p = { fd, POLLIN, 0 };
    poll(&p, 1, 200);
    SAY(recv(fd, b, sizeof b, MSG_DONTWAIT));
}

CASE(group_join_and_leave)
{
    int fd = bound("0.0.0.0", 0);
    peer("udp %d", port + 1);
    heard(fd, 1);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 1));
    heard(fd, 1);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 1));
    heard(fd, 2);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 2));
    heard(fd, 2);
    SAY(change(fd, IP_DROP_MEMBERSHIP, 1));
    heard(fd, 1);
    heard(fd, 2);
    SAY(change(fd, IP_DROP_MEMBERSHIP, 1));
    SAY(change(fd, IP_DROP_MEMBERSHIP, 2));
}

CASE(group_joined_before_bind)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address("0.0.0.0", port);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 3));
    SAY(bind(fd, (void *)&a, sizeof a));
    peer("udp %d", port + 1);
    heard(fd, 3);
    heard(fd, 4);
}

CASE(group_bound_to)
{
    int fd = bound("239.1.1.5", 0);
    char text[64];
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    peer("udp %d", port + 1);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 5));
    SAY(change(fd, IP_ADD_MEMBERSHIP, 6));
    heard(fd, 5);
    heard(fd, 6);
    SAY(getsockname(fd, (void *)&a, &len));
    puts(inet_ntop(AF_INET, &a.sin_addr, text, sizeof text));
    peer("usend %d 10", port);
    char b[100];
    usleep(200000);
    SAY(recv(fd, b, 100, MSG_DONTWAIT));
    a = address(peer_ip, port + 1);
    SAY(sendto(fd, "hello", 5, 0, (void *)&a, sizeof a));
    SAY(peer("urecv"));
    SAY(peer("ufrom"));
}

CASE(group_bound_to_own_address)
{
    int fd = bound(own_ip, 0);
    peer("udp %d", port + 1);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 7));
    heard(fd, 7);
}

CASE(group_by_index)
{
    int fd = bound("0.0.0.0", 0);
    struct ip_mreq g = group(8, "0.0.0.0");
    struct ip_mreqn m = { g.imr_multiaddr, { 0 }, if_nametoindex("road0") };
    peer("udp %d", port + 1);
    SAY(setsockopt(fd, SOL_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    heard(fd, 8);
    m.imr_ifindex = 9999;
    SAY(setsockopt(fd, SOL_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    m.imr_ifindex = 0;
    SAY(setsockopt(fd, SOL_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    m.imr_ifindex = if_nametoindex("road0");
    SAY(setsockopt(fd, SOL_IP, IP_DROP_MEMBERSHIP, &m, sizeof m));
    heard(fd, 8);
}

CASE(group_bad_arguments)
{
    int fd = bound("0.0.0.0", 0);
    struct ip_mreq m = group(9, own_ip);
    SAY(setsockopt(fd, SOL_IP, IP_ADD_MEMBERSHIP, &m, 4));
    SAY(setsockopt(fd, SOL_IP, IP_ADD_MEMBERSHIP, (void *)8, sizeof m));
    inet_pton(AF_INET, "10.77.0.2", &m.imr_multiaddr);
    SAY(setsockopt(fd, SOL_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    SAY(change_source(fd, IP_BLOCK_SOURCE, 9, peer_ip));
    SAY(change_source(fd, IP_DROP_SOURCE_MEMBERSHIP, 9, peer_ip));
}

CASE(group_block_source)
{
    int fd = bound("0.0.0.0", 0);
    peer("udp %d", port + 1);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 10));
    SAY(change_source(fd, IP_BLOCK_SOURCE, 10, peer_ip));
    heard(fd, 10);
    SAY(change_source(fd, IP_BLOCK_SOURCE, 10, peer_ip));
    SAY(change_source(fd, IP_UNBLOCK_SOURCE, 10, peer_ip));
    heard(fd, 10);
    SAY(change_source(fd, IP_BLOCK_SOURCE, 10, "10.77.0.99"));
    heard(fd, 10);
}

CASE(group_one_source)
{
    int fd = bound("0.0.0.0", 0);
    peer("udp %d", port + 1);
    SAY(change_source(fd, IP_ADD_SOURCE_MEMBERSHIP, 11, "10.77.0.99"));
    heard(fd, 11);
    SAY(change_source(fd, IP_ADD_SOURCE_MEMBERSHIP, 11, peer_ip));
    heard(fd, 11);
    SAY(change_source(fd, IP_DROP_SOURCE_MEMBERSHIP, 11, peer_ip));
    heard(fd, 11);
    SAY(change_source(fd, IP_DROP_SOURCE_MEMBERSHIP, 11, "10.77.0.99"));
    SAY(change(fd, IP_DROP_MEMBERSHIP, 11));
}

CASE(group_filter)
{
    int fd = bound("0.0.0.0", 0);
    struct { struct ip_msfilter f; struct in_addr more[3]; } m = { 0 };
    struct ip_mreq g = group(12, own_ip);
    m.f.imsf_multiaddr = g.imr_multiaddr;
    m.f.imsf_interface = g.imr_interface;
    m.f.imsf_fmode = MCAST_INCLUDE;
    m.f.imsf_numsrc = 1;
    inet_pton(AF_INET, peer_ip, &m.f.imsf_slist[0]);
    peer("udp %d", port + 1);
    SAY(setsockopt(fd, SOL_IP, IP_MSFILTER, &m, IP_MSFILTER_SIZE(1)));
    SAY(change(fd, IP_ADD_MEMBERSHIP, 12));
    SAY(setsockopt(fd, SOL_IP, IP_MSFILTER, &m, IP_MSFILTER_SIZE(1)));
    heard(fd, 12);
    m.f.imsf_fmode = MCAST_EXCLUDE;
    SAY(setsockopt(fd, SOL_IP, IP_MSFILTER, &m, IP_MSFILTER_SIZE(1)));
    heard(fd, 12);
    socklen_t len = sizeof m;
    SAY(getsockopt(fd, SOL_IP, IP_MSFILTER, &m, &len));
    printf("%u %u\n", m.f.imsf_fmode, m.f.imsf_numsrc);
}

CASE(group_of_either_family)
{
    int fd = bound("0.0.0.0", 0);
    struct group_req r = { .gr_interface = if_nametoindex("road0") };
    struct group_source_req s = { .gsr_interface = r.gr_interface };
    struct sockaddr_in g = address("239.1.1.13", 0), from = address(peer_ip, 0);
    memcpy(&r.gr_group, &g, sizeof g);
    memcpy(&s.gsr_group, &g, sizeof g);
    memcpy(&s.gsr_source, &from, sizeof from);
    peer("udp %d", port + 1);
    SAY(setsockopt(fd, SOL_IP, MCAST_JOIN_GROUP, &r, sizeof r));
    heard(fd, 13);
    SAY(setsockopt(fd, SOL_IP, MCAST_BLOCK_SOURCE, &s, sizeof s));
    heard(fd, 13);
    SAY(setsockopt(fd, SOL_IP, MCAST_UNBLOCK_SOURCE, &s, sizeof s));
    heard(fd, 13);
    SAY(setsockopt(fd, SOL_IP, MCAST_LEAVE_GROUP, &r, sizeof r));
    heard(fd, 13);
    SAY(setsockopt(fd, SOL_IP, MCAST_JOIN_SOURCE_GROUP, &s, sizeof s));
    heard(fd, 13);
    SAY(setsockopt(fd, SOL_IP, MCAST_LEAVE_SOURCE_GROUP, &s, sizeof s));
    heard(fd, 13);
}

CASE(group_heard_by_several)
{
    int a = bound("0.0.0.0", SO_REUSEADDR), b = bound("0.0.0.0", SO_REUSEADDR);
    int c = bound("239.1.1.14", SO_REUSEADDR);
    char buffer[100];
    SAY(change(a, IP_ADD_MEMBERSHIP, 14));
    SAY(change(b, IP_ADD_MEMBERSHIP, 14));
    peer("udp %d", port + 1);
    look(a);
    look(b);
    look(c);
    peer("msend 14 %d 50", port);
    ready(a, POLLIN);
    ready(b, POLLIN);
    ready(c, POLLIN);
    SAY(recv(a, buffer, 100, MSG_DONTWAIT));
    SAY(recv(b, buffer, 100, MSG_DONTWAIT));
    SAY(recv(c, buffer, 100, MSG_DONTWAIT));
    SET(b, SOL_IP, IP_MULTICAST_ALL, 0);
    SET(c, SOL_IP, IP_MULTICAST_ALL, 0);
    SAY(change(b, IP_DROP_MEMBERSHIP, 14));
    peer("msend 14 %d 51", port);
    ready(a, POLLIN);
    usleep(100000);
    SAY(recv(a, buffer, 100, MSG_DONTWAIT));
    SAY(recv(b, buffer, 100, MSG_DONTWAIT));
    SAY(recv(c, buffer, 100, MSG_DONTWAIT));
}

CASE(group_options)
{
    int fd = bound("0.0.0.0", 0);
    struct in_addr own;
    socklen_t len = sizeof own;
    char text[64];
    GET(fd, SOL_IP, IP_MULTICAST_TTL);
    GET(fd, SOL_IP, IP_MULTICAST_LOOP);
    GET(fd, SOL_IP, IP_MULTICAST_ALL);
    SET(fd, SOL_IP, IP_MULTICAST_TTL, 256);
    SET(fd, SOL_IP, IP_MULTICAST_TTL, -1);
    SET(fd, SOL_IP, IP_MULTICAST_TTL, 12);
    GET(fd, SOL_IP, IP_MULTICAST_TTL);
    SET(fd, SOL_IP, IP_MULTICAST_LOOP, 0);
    GET(fd, SOL_IP, IP_MULTICAST_LOOP);
    inet_pton(AF_INET, own_ip, &own);
    SAY(setsockopt(fd, SOL_IP, IP_MULTICAST_IF, &own, sizeof own));
    own.s_addr = 0;
    SAY(getsockopt(fd, SOL_IP, IP_MULTICAST_IF, &own, &len));
    puts(inet_ntop(AF_INET, &own, text, sizeof text));
    inet_pton(AF_INET, "10.77.0.99", &own);
    SAY(setsockopt(fd, SOL_IP, IP_MULTICAST_IF, &own, sizeof own));
}

static void say_to(int fd, int n, long bytes)
{
    char ip[32];
    sprintf(ip, "239.1.1.%d", n);
    struct sockaddr_in a = address(ip, port + 1);
    SAY(send_with(fd, &a, bytes, NULL, 0));
}

CASE(group_sent_to)
{
    int fd = bound("0.0.0.0", 0);
    struct in_addr own;
    look(fd);
    peer("udp %d any", port + 1);
    SAY(peer("mjoin 15"));
    say_to(fd, 15, 10);
    inet_pton(AF_INET, own_ip, &own);
    SAY(setsockopt(fd, SOL_IP, IP_MULTICAST_IF, &own, sizeof own));
    say_to(fd, 15, 10);
    SAY(peer("uinfo"));
    SET(fd, SOL_IP, IP_MULTICAST_TTL, 4);
    say_to(fd, 15, 20);
    SAY(peer("uinfo"));
    SET(fd, SOL_IP, IP_MULTICAST_LOOP, 0);
    say_to(fd, 15, 30);
    SAY(peer("uinfo"));
    say_to(fd, 15, 3000);
    SAY(peer("uinfo"));
    SAY(peer("ufrom"));
}

CASE(group_hears_itself)
{
    int fd = bound("0.0.0.0", 0);
    char b[100];
    struct in_addr own;
    struct sockaddr_in a = address("239.1.1.16", port);
    inet_pton(AF_INET, own_ip, &own);
    SAY(setsockopt(fd, SOL_IP, IP_MULTICAST_IF, &own, sizeof own));
    SAY(change(fd, IP_ADD_MEMBERSHIP, 16));
    look(fd);
    SAY(sendto(fd, "hello", 5, 0, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 100, MSG_DONTWAIT));
    SET(fd, SOL_IP, IP_MULTICAST_LOOP, 0);
    SAY(sendto(fd, "hello", 5, 0, (void *)&a, sizeof a));
    usleep(200000);
    SAY(recv(fd, b, 100, MSG_DONTWAIT));
}

CASE(group_connected_to)
{
    int fd = bound("0.0.0.0", 0);
    struct in_addr own;
    struct sockaddr_in a = address("239.1.1.17", port + 1);
    char text[64];
    socklen_t len = sizeof a;
    inet_pton(AF_INET, own_ip, &own);
    peer("udp %d any", port + 1);
    SAY(peer("mjoin 17"));
    SAY(setsockopt(fd, SOL_IP, IP_MULTICAST_IF, &own, sizeof own));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(send(fd, "hello", 5, 0));
    SAY(peer("uinfo"));
    SET(fd, SOL_IP, IP_MULTICAST_LOOP, 0);
    SAY(send(fd, "hello", 5, 0));
    SAY(peer("uinfo"));
    SAY(getsockname(fd, (void *)&a, &len));
    puts(inet_ntop(AF_INET, &a.sin_addr, text, sizeof text));
}

CASE(group_pktinfo)
{
    int fd = bound("0.0.0.0", 0);
    SET(fd, SOL_IP, IP_PKTINFO, 1);
    SET(fd, SOL_IP, IP_RECVTTL, 1);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 18));
    peer("udp %d", port + 1);
    look(fd);
    peer("msend 18 %d 10", port);
    show(fd, 100, 200, 0);
    peer("msend 18 %d 3000", port);
    show(fd, 4000, 200, 0);
}

CASE(group_after_fork)
{
    int fd = bound("0.0.0.0", 0);
    SAY(change(fd, IP_ADD_MEMBERSHIP, 19));
    peer("udp %d", port + 1);
    fflush(stdout);
    if (fork() == 0) {
        heard(fd, 19);
        _exit(0);
    }
    wait(NULL);
}

CASE(broadcast_needs_leave)
{
    int fd = udp();
    struct sockaddr_in a = address("10.77.0.255", port + 1), all = address("255.255.255.255", port + 1);
    peer("udp %d any", port + 1);
    SAY(sendto(fd, "hello", 5, 0, (void *)&a, sizeof a));
    SAY(sendto(fd, "hello", 5, 0, (void *)&all, sizeof all));
    SAY(connect(fd, (void *)&a, sizeof a));
    SET(fd, SOL_SOCKET, SO_BROADCAST, 1);
    GET(fd, SOL_SOCKET, SO_BROADCAST);
    SAY(sendto(fd, "hello", 5, 0, (void *)&a, sizeof a));
    SAY(peer("urecv"));
    SAY(sendto(fd, "hello!", 6, 0, (void *)&all, sizeof all));
    SAY(peer("urecv"));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(send(fd, "hello!!", 7, 0));
    SAY(peer("urecv"));
}

CASE(broadcast_heard)
{
    int fd = bound("0.0.0.0", 0), own = bound(own_ip, SO_REUSEADDR);
    SET(fd, SOL_IP, IP_PKTINFO, 1);
    peer("udp %d", port + 1);
    look(fd);
    peer("bsend %d 10", port);
    events("poll", ready(fd, POLLIN));
    show(fd, 100, 200, MSG_DONTWAIT);
    (void)own;
}

CASE(broadcast_heard_by_itself)
{
    int fd = bound("0.0.0.0", 0);
    char b[100];
    struct sockaddr_in a = address("10.77.0.255", port);
    SET(fd, SOL_SOCKET, SO_BROADCAST, 1);
    look(fd);
    SAY(sendto(fd, "hello", 5, 0, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 100, MSG_DONTWAIT));
}

CASE(broadcast_bound_to)
{
    int fd = bound("10.77.0.255", 0);
    char b[100];
    peer("udp %d", port + 1);
    look(fd);
    peer("bsend %d 10", port);
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 100, MSG_DONTWAIT));
    peer("usend %d 10", port);
    usleep(200000);
    SAY(recv(fd, b, 100, MSG_DONTWAIT));
}

CASE(shared_port_last_one_hears)
{
    int a = bound(own_ip, SO_REUSEADDR), b = bound(own_ip, SO_REUSEADDR);
    char buffer[100];
    peer("udp %d", port + 1);
    look(a);
    look(b);
    peer("usend %d 10", port);
    ready(b, POLLIN);
    usleep(20000);
    SAY(recv(a, buffer, 100, MSG_DONTWAIT));
    SAY(recv(b, buffer, 100, MSG_DONTWAIT));
    SAY(close(b));
    peer("usend %d 11", port);
    SAY(recv(a, buffer, 100, 0));
}

CASE(shared_port_spreads)
{
    enum { MANY = 128 };
    int fds[4], counts[4] = { 0 }, total = 0, used = 0;
    char b[100];
    for (int i = 0; i < 4; i++)
        fds[i] = bound(own_ip, SO_REUSEPORT);
    for (int i = 0; i < 4; i++)
        look(fds[i]);
    /* So many that none of four is left out by chance. */
    for (int i = 0; i < MANY; i++) {
        peer("udp 0");
        peer("usend %d 10", port);
    }
    for (long end = now_ms() + 10000; total < MANY && now_ms() < end; usleep(1000))
        for (int i = 0; i < 4; i++)
            for (; recv(fds[i], b, 100, MSG_DONTWAIT) > 0; total++)
                counts[i]++;
    for (int i = 0; i < 4; i++)
        used += counts[i] > 0;
    printf("%d in all, %d of 4 used\n", total, used);
    int other = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address(own_ip, port);
    SAY(bind(other, (void *)&a, sizeof a));
}
