/* Both ends in one program, at an address of its own host. */
#include "udp.h"

enum { BULK = 8 << 20 };

static const char own6[] = "fd00:77::1";

static int pair_of(int *server, int family)
{
    int listening, fd;
    struct sockaddr_in a = address(own_ip, port);
    struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    inet_pton(AF_INET6, own6, &a6.sin6_addr);
    const void *name = family == AF_INET ? (void *)&a : (void *)&a6;
    socklen_t len = family == AF_INET ? sizeof a : sizeof a6;
    listening = socket(family, SOCK_STREAM, 0);
    SAY(bind(listening, name, len));
    SAY(listen(listening, 4));
    look(listening);
    fd = socket(family, SOCK_STREAM, 0);
    SAY(connect(fd, name, len));
    *server = accept(listening, NULL, NULL);
    close(listening);
    return fd;
}

static void names(int fd)
{
    struct sockaddr_in a, b;
    socklen_t len = sizeof a;
    SAY(getsockname(fd, (void *)&a, &len));
    SAY(getpeername(fd, (void *)&b, &len));
    printf("%s", inet_ntoa(a.sin_addr));
    printf(" %d, %s", ntohs(a.sin_port) == port, inet_ntoa(b.sin_addr));
    printf(" %d\n", ntohs(b.sin_port) == port);
}

static void talk(int family)
{
    char buffer[64];
    int server, fd = pair_of(&server, family);
    if (family == AF_INET) {
        names(fd);
        names(server);
    }
    SAY(write(fd, "question", 8));
    events("server", ready(server, POLLIN | POLLOUT));
    SAY(read(server, buffer, sizeof buffer));
    SAY(write(server, "answer", 6));
    SAY(read(fd, buffer, sizeof buffer));
    SAY(shutdown(fd, SHUT_WR));
    events("server", ready(server, POLLIN | POLLRDHUP));
    SAY(read(server, buffer, sizeof buffer));
    SAY(close(server));
    events("client", ready(fd, POLLIN | POLLRDHUP));
    SAY(read(fd, buffer, sizeof buffer));
    SAY(close(fd));
}

CASE(home_tcp)
{
    talk(AF_INET);
}

CASE(home_tcp_six)
{
    talk(AF_INET6);
}

CASE(home_refused)
{
    int fd = tcp();
    struct sockaddr_in a = address(own_ip, port);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(close(fd));
}

CASE(home_reset)
{
    struct linger now = { 1, 0 };
    char buffer[64];
    int server, fd = pair_of(&server, AF_INET);
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    SAY(close(fd));
    events("server", ready(server, POLLIN));
    SAY(read(server, buffer, sizeof buffer));
    SAY(read(server, buffer, sizeof buffer));
    SAY(send(server, "x", 1, MSG_NOSIGNAL));
}

CASE(home_nonblocking)
{
    struct sockaddr_in a = address(own_ip, port);
    int listening = listener(), fd = tcp(), ep = epoll_create1(0), error = -1;
    socklen_t len = sizeof error;
    struct epoll_event e = { EPOLLIN | EPOLLOUT, { .u64 = 7 } };
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
    waited(ep, 4, 2000);
    SAY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    printf("%d\n", error);
    events("listener", ready(listening, POLLIN));
    int server = accept(listening, NULL, NULL);
    SAY(write(server, "abc", 3));
    e.events = EPOLLIN;
    SAY(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e));
    waited(ep, 4, 2000);
}

/* A socket that connects to the port that it is bound to (RFC 9293 3.5: both ends open at once). */
CASE(home_to_itself)
{
    char buffer[64];
    struct sockaddr_in a = address(own_ip, port);
    int fd = tcp();
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(write(fd, "echo", 4));
    SAY(read(fd, buffer, sizeof buffer));
    SAY(shutdown(fd, SHUT_WR));
    SAY(read(fd, buffer, sizeof buffer));
}

static void *pour(void *arg)
{
    static unsigned char bytes[65536];
    int fd = *(int *)arg;
    for (long sent = 0; sent < BULK;) {
        long n = sizeof bytes < BULK - sent ? sizeof bytes : BULK - sent;
        for (long i = 0; i < n; i++)
            bytes[i] = (sent + i) * 2654435761u >> 24;
        n = write(fd, bytes, n);
        if (n <= 0)
            break;
        sent += n;
    }
    close(fd);
    return NULL;
}

CASE(home_bulk)
{
    static unsigned char bytes[65536];
    int server, fd = pair_of(&server, AF_INET);
    long got = 0, wrong = 0, n;
    pthread_t thread;
    pthread_create(&thread, NULL, pour, &fd);
    while ((n = read(server, bytes, sizeof bytes)) > 0)
        for (long i = 0; i < n; i++, got++)
            wrong += bytes[i] != (unsigned char)(got * 2654435761u >> 24);
    pthread_join(thread, NULL);
    printf("%ld bytes, %ld wrong\n", got, wrong);
}

static int other_udp(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address(own_ip, port + 1);
    SAY(bind(fd, (void *)&a, sizeof a));
    look(fd);
    return fd;
}

CASE(home_udp)
{
    int one = udp(), other = other_udp();
    struct sockaddr_in to_one = address(own_ip, port), to_other = address(own_ip, port + 1);
    SET(other, SOL_IP, IP_PKTINFO, 1);
    send_with(one, &to_other, 10, NULL, 0);
    events("other", ready(other, POLLIN));
    show(other, 100, 200, 0);
    send_with(other, &to_one, 20, NULL, 0);
    show(one, 100, 0, 0);
    /* More than a frame holds. */
    send_with(other, &to_one, 30000, NULL, 0);
    show(one, 40000, 0, 0);
    send_with(other, &to_one, 30, NULL, 0);
    show(one, 100, 0, 0);
    /* To itself. */
    send_with(one, &to_one, 40, NULL, 0);
    show(one, 100, 0, 0);
}

CASE(home_udp_connected)
{
    char buffer[64];
    int one = udp(), other = other_udp();
    struct sockaddr_in to_one = address(own_ip, port), to_other = address(own_ip, port + 1);
    SAY(connect(one, (void *)&to_other, sizeof to_other));
    SAY(connect(other, (void *)&to_one, sizeof to_one));
    SAY(send(one, "ping", 4, 0));
    SAY(recv(other, buffer, sizeof buffer, 0));
    SAY(send(other, "pong!", 5, 0));
    SAY(recv(one, buffer, sizeof buffer, 0));
    SAY(close(other));
    SAY(send(one, "gone", 4, 0));
    events("one", ready(one, POLLIN));
    SAY(recv(one, buffer, sizeof buffer, MSG_DONTWAIT));
}
