/* The accept queue, listeners that share a port, and TCP_DEFER_ACCEPT. */
#include "case.h"

static int listening(int backlog)
{
    int fd = tcp();
    struct sockaddr_in a = address(own_ip, port);
    if (bind(fd, (void *)&a, sizeof a) || listen(fd, backlog))
        printf("listening: %s\n", strerrorname_np(errno));
    look(fd);
    peer("at %d", port);
    return fd;
}

static int drain(int fd)
{
    int n = 0, conn;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while ((conn = accept(fd, NULL, NULL)) >= 0) {
        n++;
        close(conn);
    }
    return n;
}

CASE(backlog_holds_one_more)
{
    int fd = listening(2);
    SAY(peer("more 3 200 5000"));
    events("poll", ready(fd, POLLIN));
    SAY(drain(fd));
}

CASE(backlog_zero_holds_one)
{
    int fd = listening(0);
    SAY(peer("more 1 100 5000"));
    SAY(drain(fd));
}

CASE(backlog_full_makes_others_wait)
{
    int fd = listening(1);
    SAY(peer("more 2 200 5000"));
    peer("more 1 100");
    int first = accept(fd, NULL, NULL);
    SAY(first >= 0);
    /* The third comes with its next SYN, or its SYN-ACK's answer. */
    usleep(1500000);
    SAY(drain(fd));
}

CASE(backlog_can_change)
{
    int fd = listening(0);
    SAY(listen(fd, 5));
    SAY(peer("more 5 200 5000"));
    SAY(drain(fd));
}

CASE(negative_backlog_is_a_large_one)
{
    int fd = listening(-1);
    SAY(peer("more 20 300 5000"));
    SAY(drain(fd));
}

CASE(listen_twice_on_one_port)
{
    int fd = listening(4), other = tcp();
    struct sockaddr_in a = address(own_ip, port);
    SAY(bind(other, (void *)&a, sizeof a));
    SAY(listen(other, 4) && 0);
    (void)fd;
}

static int sharing(void)
{
    int fd = tcp(), one = 1;
    struct sockaddr_in a = address(own_ip, port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(fd, (void *)&a, sizeof a) || listen(fd, 64))
        printf("sharing: %s\n", strerrorname_np(errno));
    look(fd);
    return fd;
}

CASE(listeners_share_a_port)
{
    int a = sharing(), b = sharing(), c = sharing();
    peer("at %d", port);
    SAY(peer("more 60 300 5000"));
    int x = drain(a), y = drain(b), z = drain(c);
    SAY(x + y + z);
    printf("%d %d %d\n", x > 0, y > 0, z > 0);
}

CASE(a_listener_leaves_those_that_share)
{
    int a = sharing(), b = sharing();
    peer("at %d", port);
    SAY(close(a));
    SAY(peer("more 20 300 5000"));
    SAY(drain(b));
    SAY(close(b));
    SAY(peer("connect %d", port));
}

CASE(a_listener_joins_late)
{
    int a = sharing();
    peer("at %d", port);
    SAY(peer("more 10 200 5000"));
    int b = sharing();
    SAY(peer("more 60 300 5000"));
    int x = drain(a), y = drain(b);
    SAY(x + y);
    printf("%d %d\n", x > 10, y > 0);
}

CASE(all_must_agree_to_share)
{
    int a = listening(4), one = 1, b = tcp();
    struct sockaddr_in name = address(own_ip, port);
    setsockopt(b, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    SAY(bind(b, (void *)&name, sizeof name));
    (void)a;
}

/* Takes the datagrams of ten octets that are there; how many it has taken in all. */
static int take(int fd, int *heard)
{
    char b[16];
    while (recv(fd, b, 16, MSG_DONTWAIT) == 10)
        ++*heard;
    return *heard;
}

CASE(datagram_sockets_share_a_port)
{
    int fd[2], one = 1, n = 0;
    struct sockaddr_in a = address(own_ip, port);
    for (int i = 0; i < 2; i++) {
        fd[i] = socket(AF_INET, SOCK_DGRAM, 0);
        setsockopt(fd[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
        SAY(bind(fd[i], (void *)&a, sizeof a));
        look(fd[i]);
    }
    SAY(peer("udp %d", port + 1));
    for (int i = 0; i < 5; i++)
        peer("usend %d 10", port);
    int heard[2] = { 0 };
    WAIT_UNTIL((n = take(fd[0], &heard[0]) + take(fd[1], &heard[1])) == 5);
    for (int i = 0; i < 2; i++)
        printf("%d\n", heard[i] == 0 || heard[i] == 5);
    SAY(n);
}

CASE(defer_accept_waits_for_data)
{
    int fd = tcp(), seconds = 5;
    struct sockaddr_in a = address(own_ip, port);
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 4);
    look(fd);
    SAY(peer("connect %d", port));
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 150));
    SAY(peer("send 4"));
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 1000));
    int conn = accept(fd, NULL, NULL);
    char b[8];
    SAY(recv(conn, b, 8, MSG_DONTWAIT));
}

CASE(defer_accept_gives_up_waiting)
{
    int fd = tcp(), seconds = 1;
    struct sockaddr_in a = address(own_ip, port);
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 4);
    look(fd);
    SAY(peer("connect %d", port));
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 150));
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 4000));
    int conn = accept(fd, NULL, NULL);
    char b[8];
    SAY(recv(conn, b, 8, MSG_DONTWAIT));
}

CASE(defer_accept_and_the_end)
{
    int fd = tcp(), seconds = 5;
    struct sockaddr_in a = address(own_ip, port);
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 4);
    look(fd);
    SAY(peer("connect %d", port));
    SAY(peer("close"));
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 1000));
    int conn = accept(fd, NULL, NULL);
    char b[8];
    SAY(recv(conn, b, 8, MSG_DONTWAIT));
}
