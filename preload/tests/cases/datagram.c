/* UDP. */
#include "case.h"

CASE(udp_echo)
{
    int fd = udp();
    char b[100], text[64];
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    peer("udp %d", port + 1);
    SAY(peer("usend %d 10", port));
    SAY(recvfrom(fd, b, sizeof b, 0, (void *)&a, &len));
    printf("%s %d %u\n", inet_ntop(AF_INET, &a.sin_addr, text, sizeof text), ntohs(a.sin_port) == port + 1, len);
    SAY(sendto(fd, b, 7, 0, (void *)&a, sizeof a));
    SAY(peer("urecv"));
}

CASE(udp_client)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address(peer_ip, port);
    char b[100];
    socklen_t len = sizeof a;
    peer("udp %d", port);
    SAY(sendto(fd, "hello", 5, 0, (void *)&a, sizeof a));
    SAY(peer("urecv"));
    SAY(peer("ureply 9"));
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 100, 0));
    SAY(getsockname(fd, (void *)&a, &len));
    printf("%d\n", ntohs(a.sin_port) > 1024);
}

CASE(udp_connected)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address(peer_ip, port), b;
    char c[100], text[64];
    socklen_t len = sizeof b;
    peer("udp %d", port);
    SAY(send(fd, "x", 1, 0));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(send(fd, "hello", 5, 0));
    SAY(peer("urecv"));
    SAY(peer("ureply 6"));
    SAY(read(fd, c, 100));
    SAY(getpeername(fd, (void *)&b, &len));
    SAY(getsockname(fd, (void *)&b, &len));
    printf("%s\n", inet_ntop(AF_INET, &b.sin_addr, text, sizeof text));
    struct sockaddr none = { .sa_family = AF_UNSPEC };
    SAY(connect(fd, &none, sizeof none));
    SAY(send(fd, "x", 1, 0));
}

CASE(udp_truncates)
{
    int fd = udp();
    char b[100];
    peer("udp %d", port + 1);
    peer("usend %d 50", port);
    peer("usend %d 50", port);
    peer("usend %d 50", port);
    ready(fd, POLLIN);
    SAY(recv(fd, b, 10, 0));
    SAY(recv(fd, b, 10, MSG_TRUNC));
    struct iovec v = { b, 10 };
    struct msghdr m = { NULL, 0, &v, 1, NULL, 0, 0 };
    SAY(recvmsg(fd, &m, 0));
    printf("%d\n", !!(m.msg_flags & MSG_TRUNC));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
}

CASE(udp_peek_and_empty)
{
    int fd = udp(), n;
    char b[100];
    peer("udp %d", port + 1);
    peer("usend %d 20", port);
    peer("usend %d 0", port);
    ready(fd, POLLIN);
    SAY(recv(fd, b, 100, MSG_PEEK));
    SAY(ioctl(fd, FIONREAD, &n));
    printf("%d\n", n);
    SAY(recv(fd, b, 100, 0));
    SAY(recv(fd, b, 100, 0));
    SAY(recv(fd, b, 100, MSG_DONTWAIT));
}

CASE(udp_refused)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address(peer_ip, port);
    char b[8];
    connect(fd, (void *)&a, sizeof a);
    SAY(send(fd, "x", 1, 0));
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 8, 0));
    SAY(recv(fd, b, 8, MSG_DONTWAIT));
}

CASE(udp_large)
{
    int fd = udp();
    static char b[70000];
    struct sockaddr_in a = address(peer_ip, port + 1);
    peer("udp %d", port + 1);
    SAY(sendto(fd, b, 8000, 0, (void *)&a, sizeof a));
    SAY(peer("urecv"));
    SAY(sendto(fd, b, 1472, 0, (void *)&a, sizeof a));
    SAY(peer("urecv"));
    SAY(sendto(fd, b, 66000, 0, (void *)&a, sizeof a));
    SAY(peer("usend %d 9000", port));
    SAY(recv(fd, b, sizeof b, 0));
    SAY(peer("usend %d 1472", port));
    SAY(recv(fd, b, sizeof b, 0));
}

CASE(udp_bad_arguments)
{
    int fd = udp();
    char *edge, b[8];
    struct sockaddr_in a = address(peer_ip, port + 1);
    hole(&edge);
    peer("udp %d", port + 1);
    SAY(sendto(fd, (void *)8, 10, 0, (void *)&a, sizeof a));
    SAY(sendto(fd, b, 8, 0, (void *)8, sizeof a));
    SAY(sendto(fd, b, 8, 0, (void *)&a, 3));
    SAY(send(fd, b, 8, 0));
    SAY(peer("usend %d 8", port));
    ready(fd, POLLIN);
    SAY(recv(fd, edge, 8, MSG_DONTWAIT));
    a.sin_port = 0;
    SAY(sendto(fd, b, 8, 0, (void *)&a, sizeof a));
}

CASE(udp_epoll)
{
    int fd = udp(), set = epoll_create1(0);
    char b[100];
    struct epoll_event e = { EPOLLIN | EPOLLET, { .u64 = 3 } };
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    peer("udp %d", port + 1);
    waited(set, 4, 0);
    peer("usend %d 10", port);
    waited(set, 4, 2000);
    waited(set, 4, 0);
    SAY(recv(fd, b, 100, 0));
    SAY(recv(fd, b, 100, MSG_DONTWAIT));
    peer("usend %d 5000", port);
    waited(set, 4, 2000);
    SAY(recv(fd, b, 100, MSG_TRUNC));
}

CASE(udp_many_messages)
{
    int fd = udp();
    char a[20], b[20];
    struct sockaddr_in n[2];
    struct iovec v[] = { { a, 20 }, { b, 20 } };
    struct mmsghdr m[2] = { { { &n[0], sizeof n[0], &v[0], 1, NULL, 0, 0 }, 0 },
                            { { &n[1], sizeof n[1], &v[1], 1, NULL, 0, 0 }, 0 } };
    peer("udp %d", port + 1);
    peer("usend %d 5", port);
    peer("usend %d 6", port);
    usleep(50000);
    SAY(recvmmsg(fd, m, 2, 0, NULL));
    printf("%u %u %d\n", m[0].msg_len, m[1].msg_len, ntohs(n[1].sin_port) == port + 1);
    v[0].iov_len = v[1].iov_len = 4;
    SAY(sendmmsg(fd, m, 2, 0));
    SAY(peer("urecv"));
    SAY(peer("urecv"));
}

CASE(udp_timeout_and_nonblocking)
{
    int fd = udp();
    char b[8];
    struct timeval t = { 0, 40000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    SAY(recv(fd, b, 8, 0));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(recv(fd, b, 8, 0));
    SAY(shutdown(fd, SHUT_WR));
    SAY(listen(fd, 1));
}

CASE(udp_loopback_too)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), from = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in any = address("0.0.0.0", port), lo = address("127.0.0.1", port);
    char b[64];
    bind(fd, (void *)&any, sizeof any);
    look(fd);
    SAY(sendto(from, "local", 5, 0, (void *)&lo, sizeof lo));
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 64, 0));
    peer("udp %d", port + 1);
    peer("usend %d 12", port);
    SAY(recv(fd, b, 64, 0));
}
