/* What comes beside the bytes: addresses, hops, service, time, drops. */
#include "udp.h"

static struct sockaddr_in to_peer(void)
{
    return address(peer_ip, port + 1);
}

CASE(udp_pktinfo)
{
    int fd = udp();
    SET(fd, SOL_IP, IP_PKTINFO, 1);
    GET(fd, SOL_IP, IP_PKTINFO);
    peer("udp %d", port + 1);
    peer("usend %d 10", port);
    show(fd, 100, 100, 0);
    peer("usend %d 10", port);
    SET(fd, SOL_IP, IP_PKTINFO, 0);
    show(fd, 100, 100, 0);
}

CASE(udp_pktinfo_bound_to_all)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in any = address("0.0.0.0", port);
    bind(fd, (void *)&any, sizeof any);
    SET(fd, SOL_IP, IP_PKTINFO, 1);
    look(fd);
    peer("udp %d", port + 1);
    peer("usend %d 10", port);
    show(fd, 100, 100, 0);
    peer("usend %d 4000", port);
    show(fd, 5000, 100, 0);
}

CASE(udp_ttl_and_tos)
{
    int fd = udp();
    SET(fd, SOL_IP, IP_RECVTTL, 1);
    SET(fd, SOL_IP, IP_RECVTOS, 1);
    GET(fd, SOL_IP, IP_RECVTTL);
    GET(fd, SOL_IP, IP_RECVTOS);
    peer("udp %d", port + 1);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
    peer("uset 0 %d 7", IP_TTL);
    peer("uset 0 %d 184", IP_TOS);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
    peer("usend %d 3000", port);
    show(fd, 4000, 200, 0);
}

CASE(udp_ttl_and_tos_out)
{
    int fd = udp(), ttl = 5, tos = 0x20;
    struct sockaddr_in a = to_peer();
    struct control c = { 0 };
    peer("udp %d", port + 1);
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(peer("uinfo"));
    SET(fd, SOL_IP, IP_TTL, 33);
    SET(fd, SOL_IP, IP_TOS, 0xb8);
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(peer("uinfo"));
    add(&c, SOL_IP, IP_TTL, &ttl, sizeof ttl);
    SAY(send_with(fd, &a, 10, &c, 0));
    SAY(peer("uinfo"));
    add(&c, SOL_IP, IP_TOS, &tos, sizeof tos);
    SAY(send_with(fd, &a, 10, &c, 0));
    SAY(peer("uinfo"));
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(peer("uinfo"));
    SAY(send_with(fd, &a, 3000, &c, 0));
    SAY(peer("uinfo"));
}

CASE(udp_tos_as_a_byte)
{
    int fd = udp();
    unsigned char tos = 0x48;
    struct sockaddr_in a = to_peer();
    struct control c = { 0 };
    add(&c, SOL_IP, IP_TOS, &tos, sizeof tos);
    peer("udp %d", port + 1);
    SAY(send_with(fd, &a, 10, &c, 0));
    SAY(peer("uinfo"));
    SAY(setsockopt(fd, SOL_IP, IP_TOS, &tos, 1));
    GET(fd, SOL_IP, IP_TOS);
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(peer("uinfo"));
}

CASE(udp_bad_ttl_and_tos)
{
    int fd = udp(), values[] = { 0, 256, -1, 1 };
    struct sockaddr_in a = to_peer();
    peer("udp %d", port + 1);
    for (int i = 0; i < 4; i++) {
        struct control ttl = { 0 }, tos = { 0 };
        add(&ttl, SOL_IP, IP_TTL, &values[i], sizeof values[i]);
        add(&tos, SOL_IP, IP_TOS, &values[i], sizeof values[i]);
        SAY(send_with(fd, &a, 10, &ttl, 0));
        SAY(send_with(fd, &a, 10, &tos, 0));
        SET(fd, SOL_IP, IP_TTL, values[i]);
    }
    struct control wrong = { 0 };
    add(&wrong, SOL_IP, IP_TTL, &values[3], 2);
    SAY(send_with(fd, &a, 10, &wrong, 0));
}

CASE(udp_pktinfo_out)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = to_peer(), any = address("0.0.0.0", port);
    struct in_pktinfo i = { 0 };
    bind(fd, (void *)&any, sizeof any);
    look(fd);
    peer("udp %d", port + 1);
    inet_pton(AF_INET, own_ip, &i.ipi_spec_dst);
    struct control own = { 0 }, foreign = { 0 }, none = { 0 }, lo = { 0 };
    add(&own, SOL_IP, IP_PKTINFO, &i, sizeof i);
    SAY(send_with(fd, &a, 10, &own, 0));
    SAY(peer("urecv"));
    SAY(peer("ufrom"));
    inet_pton(AF_INET, "10.77.0.99", &i.ipi_spec_dst);
    add(&foreign, SOL_IP, IP_PKTINFO, &i, sizeof i);
    SAY(send_with(fd, &a, 10, &foreign, 0));
    i.ipi_spec_dst.s_addr = 0;
    i.ipi_ifindex = 9999;
    add(&none, SOL_IP, IP_PKTINFO, &i, sizeof i);
    SAY(send_with(fd, &a, 10, &none, 0));
    i.ipi_ifindex = 0;
    add(&lo, SOL_IP, IP_PKTINFO, &i, sizeof i);
    SAY(send_with(fd, &a, 10, &lo, 0));
    SAY(peer("urecv"));
}

CASE(udp_origdstaddr)
{
    int fd = udp();
    SET(fd, SOL_IP, IP_RECVORIGDSTADDR, 1);
    peer("udp %d", port + 1);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
}

CASE(udp_timestamps)
{
    int fd = udp();
    peer("udp %d", port + 1);
    SET(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
    GET(fd, SOL_SOCKET, SO_TIMESTAMP);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
    SET(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    GET(fd, SOL_SOCKET, SO_TIMESTAMP);
    GET(fd, SOL_SOCKET, SO_TIMESTAMPNS);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
    peer("usend %d 4000", port);
    show(fd, 5000, 200, 0);
    SET(fd, SOL_SOCKET, SO_TIMESTAMPNS, 0);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
}

CASE(udp_timestamping)
{
    int fd = udp(), flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    peer("udp %d", port + 1);
    SAY(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags));
    /* Linux begins to stamp a moment later. */
    usleep(100000);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
    SAY(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){ 1 }, 4));
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
}

CASE(udp_timestamping_of_what_is_sent)
{
    int fd = udp(), flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    struct sockaddr_in a = to_peer();
    peer("udp %d", port + 1);
    SAY(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags));
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(peer("urecv"));
    events("poll", ready(fd, POLLERR));
    struct iovec v = { (char[100]){ 0 }, 100 };
    char control[512];
    struct msghdr m = { NULL, 0, &v, 1, control, sizeof control, 0 };
    SAY(recvmsg(fd, &m, MSG_ERRQUEUE) > 0);
    printf("%d\n", CMSG_FIRSTHDR(&m) && CMSG_FIRSTHDR(&m)->cmsg_type == SO_TIMESTAMPING);
}

CASE(udp_all_at_once)
{
    int fd = udp();
    SET(fd, SOL_IP, IP_PKTINFO, 1);
    SET(fd, SOL_IP, IP_RECVTTL, 1);
    SET(fd, SOL_IP, IP_RECVTOS, 1);
    SET(fd, SOL_IP, IP_RECVORIGDSTADDR, 1);
    SET(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
    SET(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    peer("udp %d", port + 1);
    for (int room = 0; room <= 220; room += 20) {
        peer("usend %d 10", port);
        show(fd, 5, room, 0);
    }
}

CASE(udp_options_before_bind)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    SET(fd, SOL_IP, IP_RECVTTL, 1);
    SET(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    SET(fd, SOL_SOCKET, SO_TIMESTAMP, 0);
    SET(fd, SOL_IP, IP_PKTINFO, 1);
    struct sockaddr_in a = address(own_ip, port);
    bind(fd, (void *)&a, sizeof a);
    look(fd);
    peer("udp %d", port + 1);
    peer("usend %d 10", port);
    show(fd, 100, 200, 0);
}

CASE(udp_peeked_info)
{
    int fd = udp();
    SET(fd, SOL_IP, IP_RECVTTL, 1);
    peer("udp %d", port + 1);
    peer("usend %d 10", port);
    show(fd, 4, 200, MSG_PEEK);
    show(fd, 4, 200, MSG_TRUNC);
    peer("usend %d 3000", port);
    show(fd, 4, 200, MSG_PEEK);
    show(fd, 4, 200, MSG_TRUNC);
    show(fd, 4, 200, MSG_DONTWAIT);
}

CASE(udp_recvmmsg_with_control)
{
    int fd = udp();
    SET(fd, SOL_IP, IP_RECVTTL, 1);
    char data[3][20], control[3][64];
    struct iovec v[3];
    struct mmsghdr m[3];
    memset(m, 0, sizeof m);
    for (int i = 0; i < 3; i++) {
        v[i] = (struct iovec){ data[i], 20 };
        m[i].msg_hdr = (struct msghdr){ NULL, 0, &v[i], 1, control[i], 64, 0 };
    }
    peer("udp %d", port + 1);
    for (int i = 0; i < 3; i++)
        peer("usend %d %d", port, 10 + 10 * i);
    usleep(200000);
    SAY(recvmmsg(fd, m, 3, 0, NULL));
    for (int i = 0; i < 3; i++) {
        struct cmsghdr *h = CMSG_FIRSTHDR(&m[i].msg_hdr);
        printf("%u %x %d\n", m[i].msg_len, m[i].msg_hdr.msg_flags, h ? *(int *)CMSG_DATA(h) : -1);
    }
    SAY(recvmmsg(fd, m, 3, MSG_DONTWAIT, NULL));
    struct timespec short_time = { 0, 30000000 };
    peer("usend %d 5", port);
    SAY(recvmmsg(fd, m, 1, 0, &short_time));
    SAY(recvmmsg(fd, m, 3, 0, &(struct timespec){ 0, 2000000000 }));
}

CASE(udp_sendmmsg_with_control)
{
    int fd = udp(), ttl[] = { 9, 10, 0 };
    struct sockaddr_in a = to_peer();
    struct control c[3];
    struct iovec v = { "hello", 5 };
    struct mmsghdr m[3];
    memset(m, 0, sizeof m);
    memset(c, 0, sizeof c);
    for (int i = 0; i < 3; i++) {
        add(&c[i], SOL_IP, IP_TTL, &ttl[i], sizeof ttl[i]);
        m[i].msg_hdr = (struct msghdr){ &a, sizeof a, &v, 1, c[i].bytes, c[i].used, 0 };
    }
    peer("udp %d", port + 1);
    SAY(sendmmsg(fd, m, 3, 0));
    SAY(peer("uinfo"));
    SAY(peer("uinfo"));
    SAY(sendmmsg(fd, m + 2, 1, 0));
}

CASE(udp_drops_are_counted)
{
    int fd = udp(), n = 0;
    char b[2000];
    SET(fd, SOL_SOCKET, SO_RCVBUF, 4096);
    SET(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    peer("udp %d", port + 1);
    for (int i = 0; i < 60; i++)
        peer("usend %d 1000", port);
    usleep(200000);
    while (recv(fd, b, sizeof b, MSG_DONTWAIT) > 0)
        n++;
    printf("%d\n", n > 2 && n < 60);
    peer("usend %d 7", port);
    ready(fd, POLLIN);
    struct iovec v = { b, sizeof b };
    char control[64];
    struct msghdr m = { NULL, 0, &v, 1, control, sizeof control, 0 };
    SAY(recvmsg(fd, &m, 0));
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    printf("%d\n", h && h->cmsg_type == SO_RXQ_OVFL && *(unsigned *)CMSG_DATA(h) == 60u - n);
}

CASE(udp_from_two_worlds_in_order)
{
    int fd = udp();
    char b[8000];
    struct sockaddr_in a = to_peer();
    peer("udp %d", port + 1);
    SAY(send_with(fd, &a, 10, NULL, 0));
    SAY(send_with(fd, &a, 4000, NULL, 0));
    SAY(send_with(fd, &a, 20, NULL, 0));
    SAY(peer("urecv"));
    SAY(peer("urecv"));
    SAY(peer("urecv"));
    for (int i = 0; i < 3; i++) {
        peer("usend %d %d", port, i % 2 ? 4000 : 30);
        SAY(recv(fd, b, sizeof b, 0));
    }
    peer("usend %d 4000", port);
    events("poll", ready(fd, POLLIN | POLLOUT));
    SAY(recv(fd, b, sizeof b, MSG_DONTWAIT));
    events("poll", ready(fd, POLLOUT));
}

CASE(udp_corked)
{
    int fd = udp(), on = 1, off = 0;
    struct sockaddr_in a = to_peer();
    peer("udp %d", port + 1);
    SAY(sendto(fd, "ab", 2, MSG_MORE, (void *)&a, sizeof a));
    SAY(sendto(fd, "cd", 2, MSG_MORE, (void *)&a, sizeof a));
    SAY(sendto(fd, "e", 1, 0, (void *)&a, sizeof a));
    SAY(peer("urecv"));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(setsockopt(fd, SOL_UDP, UDP_CORK, &on, sizeof on));
    GET(fd, SOL_UDP, UDP_CORK);
    SAY(send(fd, "abc", 3, 0));
    SAY(write(fd, "defg", 4));
    SAY(setsockopt(fd, SOL_UDP, UDP_CORK, &off, sizeof off));
    SAY(peer("urecv"));
    SAY(send(fd, "x", 1, 0));
    SAY(peer("urecv"));
}

/* libuv makes these calls by their numbers. */
CASE(udp_by_number)
{
    int fd = udp();
    char data[20];
    struct sockaddr_in a = to_peer();
    struct iovec v = { data, sizeof data };
    struct mmsghdr m = { { &a, sizeof a, &v, 1, NULL, 0, 0 }, 0 };
    peer("udp %d", port + 1);
    SAY(syscall(SYS_sendmmsg, fd, &m, 1, 0));
    printf("%u\n", m.msg_len);
    SAY(peer("urecv"));
    peer("usend %d 12", port);
    SAY(syscall(SYS_recvmmsg, fd, &m, 1, 0, NULL));
    printf("%u\n", m.msg_len);
    SAY(syscall(SYS_recvmmsg, fd, &m, 1, MSG_DONTWAIT, NULL));
}
