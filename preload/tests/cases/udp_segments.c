/* UDP_SEGMENT and UDP_GRO; checksums. */
#include "udp.h"

static struct sockaddr_in to_peer(void)
{
    return address(peer_ip, port + 1);
}

static long send_cut(int fd, long n, unsigned short size)
{
    struct sockaddr_in a = to_peer();
    struct control c = { 0 };
    add(&c, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
    return send_with(fd, &a, n, &c, 0);
}

CASE(udp_segment_by_message)
{
    int fd = udp();
    peer("udp %d", port + 1);
    SAY(send_cut(fd, 2500, 1000));
    SAY(peer("urecv"));
    SAY(peer("urecv"));
    SAY(peer("urecv"));
    SAY(send_cut(fd, 500, 1000));
    SAY(peer("urecv"));
    SAY(send_cut(fd, 1000, 1000));
    SAY(peer("urecv"));
    SAY(send_cut(fd, 1472 * 4, 1472));
    for (int i = 0; i < 4; i++)
        SAY(peer("urecv"));
}

CASE(udp_segment_by_option)
{
    int fd = udp();
    struct sockaddr_in a = to_peer();
    peer("udp %d", port + 1);
    SET(fd, SOL_UDP, UDP_SEGMENT, 700);
    GET(fd, SOL_UDP, UDP_SEGMENT);
    SAY(send_with(fd, &a, 1500, NULL, 0));
    SAY(peer("urecv"));
    SAY(peer("urecv"));
    SAY(peer("urecv"));
    SAY(send_cut(fd, 1400, 0));
    SAY(peer("urecv"));
    SET(fd, SOL_UDP, UDP_SEGMENT, 0);
    SAY(send_with(fd, &a, 1400, NULL, 0));
    SAY(peer("urecv"));
    SET(fd, SOL_UDP, UDP_SEGMENT, -1);
    SET(fd, SOL_UDP, UDP_SEGMENT, 65536);
    SET(fd, SOL_UDP, UDP_SEGMENT, 65535);
}

CASE(udp_segment_limits)
{
    int fd = udp();
    peer("udp %d", port + 1);
    SAY(send_cut(fd, 4000, 1473));
    SAY(send_cut(fd, 3000, 65535));
    SAY(send_cut(fd, 1000, 1473));
    SAY(peer("urecv"));
    SAY(send_cut(fd, 128, 1));
    for (int i = 0; i < 128; i++)
        peer("urecv");
    SAY(send_cut(fd, 129, 1));
    SAY(send_cut(fd, 66000, 1000));
    SAY(send_cut(fd, 0, 1000));
    SAY(peer("urecv"));
}

CASE(udp_segment_wrong_length)
{
    int fd = udp(), size = 100;
    struct sockaddr_in a = to_peer();
    struct control c = { 0 };
    add(&c, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
    peer("udp %d", port + 1);
    SAY(send_with(fd, &a, 1000, &c, 0));
}

CASE(udp_segment_without_checksum)
{
    int fd = udp();
    struct sockaddr_in a = to_peer();
    peer("udp %d", port + 1);
    SET(fd, SOL_SOCKET, SO_NO_CHECK, 1);
    GET(fd, SOL_SOCKET, SO_NO_CHECK);
    SAY(send_with(fd, &a, 100, NULL, 0));
    SAY(peer("urecv"));
    SAY(send_cut(fd, 1000, 100));
}

CASE(udp_segment_connected_and_faulty)
{
    int fd = udp();
    struct sockaddr_in a = to_peer();
    unsigned short size = 100;
    peer("udp %d", port + 1);
    SAY(connect(fd, (void *)&a, sizeof a));
    SET(fd, SOL_UDP, UDP_SEGMENT, 100);
    SAY(send(fd, (void *)8, 1000, 0));
    SAY(send(fd, "x", 1, 0));
    SAY(peer("urecv"));
    char b[250];
    SAY(write(fd, b, 250));
    for (int i = 0; i < 3; i++)
        SAY(peer("urecv"));
    (void)size;
}

/* How a burst is put together depends on timing, the bytes do not. */
CASE(udp_gro)
{
    int fd = udp(), total = 0, wrong = 0, trains = 0;
    static char b[70000];
    SET(fd, SOL_UDP, UDP_GRO, 1);
    GET(fd, SOL_UDP, UDP_GRO);
    peer("udp %d", port + 1);
    peer("useg %d 9500 1000", port);
    while (total < 9500) {
        char control[64];
        struct iovec v = { b, sizeof b };
        struct msghdr m = { NULL, 0, &v, 1, control, sizeof control, 0 };
        if (!ready(fd, POLLIN))
            break;
        long n = recvmsg(fd, &m, 0);
        if (n <= 0)
            break;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        int size = h && h->cmsg_level == SOL_UDP && h->cmsg_type == UDP_GRO ? *(int *)CMSG_DATA(h) : 0;
        trains += size != 0;
        wrong += size ? size != 1000 || n <= 1000 : n > 1000;
        total += n;
    }
    printf("%d bytes, %d wrong\n", total, wrong);
    SET(fd, SOL_UDP, UDP_GRO, 0);
    peer("useg %d 2500 1000", port);
    SAY(recv(fd, b, sizeof b, 0));
    SAY(recv(fd, b, sizeof b, 0));
    SAY(recv(fd, b, sizeof b, 0));
}

CASE(udp_no_check6_on_ipv4)
{
    int fd = udp();
    SET(fd, SOL_UDP, UDP_NO_CHECK6_TX, 1);
    SET(fd, SOL_UDP, UDP_NO_CHECK6_RX, 1);
    GET(fd, SOL_UDP, UDP_NO_CHECK6_TX);
    GET(fd, SOL_UDP, UDP_NO_CHECK6_RX);
}

CASE(udp_mtu)
{
    int fd = udp(), big[] = { 0, 1, 2, 3, 4, 5 };
    struct sockaddr_in a = to_peer();
    GET(fd, SOL_IP, IP_MTU);
    GET(fd, SOL_IP, IP_MTU_DISCOVER);
    peer("udp %d", port + 1);
    SAY(connect(fd, (void *)&a, sizeof a));
    GET(fd, SOL_IP, IP_MTU);
    for (int i = 0; i < 6; i++) {
        SET(fd, SOL_IP, IP_MTU_DISCOVER, big[i]);
        GET(fd, SOL_IP, IP_MTU_DISCOVER);
        SAY(send_with(fd, NULL, 2000, NULL, 0) == 2000 ? peer("urecv") : -1);
        SAY(send_with(fd, NULL, 1472, NULL, 0) == 1472 ? peer("urecv") : -1);
    }
    SET(fd, SOL_IP, IP_MTU_DISCOVER, 6);
}

CASE(udp_buffers)
{
    int fd = udp(), small = 1, large = 70000;
    GET(fd, SOL_SOCKET, SO_RCVBUF);
    GET(fd, SOL_SOCKET, SO_SNDBUF);
    SET(fd, SOL_SOCKET, SO_RCVBUF, small);
    GET(fd, SOL_SOCKET, SO_RCVBUF);
    SET(fd, SOL_SOCKET, SO_SNDBUF, small);
    GET(fd, SOL_SOCKET, SO_SNDBUF);
    SET(fd, SOL_SOCKET, SO_RCVBUF, large);
    GET(fd, SOL_SOCKET, SO_RCVBUF);
}

CASE(udp_tcp_options)
{
    int fd = udp();
    SET(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    GET(fd, IPPROTO_TCP, TCP_NODELAY);
    GET(fd, SOL_SOCKET, SO_TYPE);
    GET(fd, SOL_SOCKET, SO_PROTOCOL);
    GET(fd, SOL_SOCKET, SO_DOMAIN);
    GET(fd, SOL_SOCKET, SO_ERROR);
    GET(fd, SOL_SOCKET, SO_ACCEPTCONN);
    SET(fd, SOL_IP, 999, 1);
    GET(fd, SOL_IP, 999);
    unsigned char byte = 0;
    socklen_t len = 1;
    SAY(getsockopt(fd, SOL_IP, IP_TTL, &byte, &len));
    printf("%d %u\n", byte, len);
    len = 4;
    SAY(getsockopt(fd, SOL_IP, IP_TTL, (void *)8, &len));
    SAY(setsockopt(fd, SOL_IP, IP_RECVTTL, (void *)8, 4));
    SAY(setsockopt(fd, SOL_IP, IP_RECVTTL, &byte, 0));
}

CASE(udp_options_of_every_number)
{
    int fd = udp(), other = server();
    for (int name = 0; name <= 110; name++) {
        char value[64];
        socklen_t len = sizeof value;
        int one = 1, got = getsockopt(fd, IPPROTO_UDP, name, value, &len);
        printf("%d: %s %u", name, got ? strerrorname_np(errno) : "ok", got ? 0 : len);
        /* UDP_ENCAP takes what this host has a module for. */
        if (name != 100)
            printf(" %s", setsockopt(fd, IPPROTO_UDP, name, &one, sizeof one) ? strerrorname_np(errno) : "ok");
        len = sizeof value;
        got = getsockopt(other, IPPROTO_UDP, name, value, &len);
        printf(" %s", got ? strerrorname_np(errno) : "ok");
        printf(" %s\n", setsockopt(other, IPPROTO_UDP, name, &one, sizeof one) ? strerrorname_np(errno) : "ok");
    }
}
