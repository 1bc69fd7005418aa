/* Low-water marks: how much must have arrived, how little must be unsent. */
#include "case.h"

static void low(int fd, int bytes)
{
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

/* Sends n bytes from the peer and lets them arrive, behind what has not been read. */
static void arrive(int fd, int n)
{
    int unread = 0;
    ioctl(fd, SIOCINQ, &unread);
    peer("send %d", n);
    arrived(fd, unread + n);
}

CASE(low_water_in_poll)
{
    int fd = server();
    low(fd, 10);
    arrive(fd, 9);
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0));
    arrive(fd, 1);
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0));
    char b[4];
    SAY(read(fd, b, 4));
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0));
}

CASE(low_water_in_epoll)
{
    int fd = server(), ep = epoll_create1(0);
    low(fd, 10);
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN, { .u64 = 1 } });
    arrive(fd, 9);
    waited(ep, 4, 0);
    arrive(fd, 3);
    waited(ep, 4, 1000);
}

CASE(low_water_edge_in_epoll)
{
    int fd = server(), ep = epoll_create1(0);
    low(fd, 10);
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN | EPOLLET, { .u64 = 1 } });
    arrive(fd, 9);
    waited(ep, 4, 0);
    arrive(fd, 3);
    waited(ep, 4, 1000);
    waited(ep, 4, 0);
    arrive(fd, 3);
    waited(ep, 4, 1000);
}

CASE(low_water_holds_a_blocking_read)
{
    int fd = server();
    char b[64];
    low(fd, 10);
    arrive(fd, 4);
    peer("later 100 send 18");
    SAY(read(fd, b, 64));
    arrive(fd, 8);
    SAY(read(fd, b, 3));
    SAY(read(fd, b, 3));
    SAY(recv(fd, b, 64, MSG_DONTWAIT));
}

CASE(low_water_does_not_hold_a_nonblocking_read)
{
    int fd = server();
    char b[64];
    low(fd, 10);
    arrive(fd, 4);
    SAY(recv(fd, b, 64, MSG_DONTWAIT));
    SAY(recv(fd, b, 64, MSG_DONTWAIT));
}

CASE(low_water_and_the_end)
{
    int fd = server();
    char b[64];
    low(fd, 10);
    arrive(fd, 4);
    peer("close");
    events("poll", ready(fd, POLLIN));
    SAY(read(fd, b, 64));
    SAY(read(fd, b, 64));
}

CASE(low_water_and_a_time_out)
{
    int fd = server();
    char b[64];
    struct timeval t = { 0, 60000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    low(fd, 10);
    arrive(fd, 4);
    SAY(read(fd, b, 64));
    SAY(read(fd, b, 64));
}

CASE(low_water_raised_and_lowered)
{
    int fd = server();
    arrive(fd, 5);
    low(fd, 10);
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0));
    low(fd, 5);
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0));
    low(fd, 0);
    SAY(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0));
}

CASE(low_water_lowered_wakes_epoll)
{
    int fd = server(), ep = epoll_create1(0);
    low(fd, 100);
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN | EPOLLET, { .u64 = 1 } });
    arrive(fd, 5);
    waited(ep, 4, 0);
    low(fd, 5);
    waited(ep, 4, 500);
}

CASE(low_water_and_peek)
{
    int fd = server();
    char b[64];
    low(fd, 8);
    arrive(fd, 4);
    SAY(recv(fd, b, 64, MSG_PEEK | MSG_DONTWAIT));
    peer("later 100 send 8");
    SAY(recv(fd, b, 64, MSG_PEEK));
    SAY(recv(fd, b, 64, 0));
}

CASE(waitall_and_peek)
{
    int fd = server();
    char b[64];
    arrive(fd, 4);
    peer("later 100 send 8");
    SAY(recv(fd, b, 10, MSG_PEEK | MSG_WAITALL));
    SAY(recv(fd, b, 64, 0));
}

CASE(waitall_without_waiting)
{
    int fd = server();
    char b[64];
    SAY(recv(fd, b, 10, MSG_WAITALL | MSG_DONTWAIT));
    arrive(fd, 4);
    SAY(recv(fd, b, 10, MSG_WAITALL | MSG_DONTWAIT));
    struct timeval t = { 0, 60000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    arrive(fd, 4);
    SAY(recv(fd, b, 10, MSG_WAITALL));
    SAY(recv(fd, b, 10, MSG_WAITALL));
}

CASE(waitall_and_a_reset)
{
    int fd = server();
    char b[64];
    arrive(fd, 4);
    peer("later 100 reset");
    SAY(recv(fd, b, 10, MSG_WAITALL));
    SAY(recv(fd, b, 10, MSG_WAITALL));
    SAY(recv(fd, b, 10, MSG_WAITALL));
}

CASE(unsent_low_water_makes_it_writable_late)
{
    int fd = server(), mark = 1, big = 400000;
    static char b[1 << 20];
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &mark, sizeof mark);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(poll(&(struct pollfd){ fd, POLLOUT, 0 }, 1, 1000));
    long n, sent = 0;
    do {
        while ((n = write(fd, b, sizeof b)) > 0)
            sent += n;
    } while (poll(&(struct pollfd){ fd, POLLOUT, 0 }, 1, 300));
    SAY(n);
    SAY(peer("recv %ld", sent) == sent);
    SAY(poll(&(struct pollfd){ fd, POLLOUT, 0 }, 1, 1000));
}
