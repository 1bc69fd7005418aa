/* Urgent data: MSG_OOB both ways, the mark, POLLPRI, SIGURG. */
#include "case.h"

/* Waits until the urgent octet has arrived. */
static void urgent(int fd)
{
    ready(fd, POLLPRI);
}

CASE(urgent_out_of_line)
{
    int fd = server(), mark;
    char b[16] = "";
    peer("send 4");
    peer("oob");
    urgent(fd);
    events("poll", ready(fd, POLLIN | POLLPRI | POLLOUT));
    SAY(ioctl(fd, SIOCATMARK, &mark));
    printf("%d\n", mark);
    SAY(recv(fd, b, 8, MSG_OOB));
    printf("%s\n", b);
    SAY(recv(fd, b, 8, MSG_OOB));
    SAY(recv(fd, b, 8, 0));
    SAY(sockatmark(fd));
    SAY(recv(fd, b, 8, MSG_DONTWAIT));
    SAY(sockatmark(fd));
}

CASE(urgent_nothing)
{
    int fd = server(), mark = 7;
    char b[8];
    SAY(recv(fd, b, 1, MSG_OOB));
    SAY(recv(fd, b, 1, MSG_OOB | MSG_DONTWAIT));
    SAY(ioctl(fd, SIOCATMARK, &mark));
    printf("%d\n", mark);
    SAY(ioctl(fd, SIOCATMARK, (void *)8));
    SAY(sockatmark(fd));
    int fresh = tcp();
    SAY(recv(fresh, b, 1, MSG_OOB));
    SAY(send(fresh, b, 1, MSG_OOB | MSG_NOSIGNAL));
}

CASE(urgent_peek)
{
    int fd = server();
    char b[8] = "";
    peer("oob");
    urgent(fd);
    SAY(recv(fd, b, 1, MSG_OOB | MSG_PEEK));
    SAY(recv(fd, b, 1, MSG_OOB | MSG_PEEK));
    events("poll", ready(fd, POLLPRI));
    SAY(recv(fd, b, 1, MSG_OOB));
    printf("%s\n", b);
    SAY(poll(&(struct pollfd){ fd, POLLPRI, 0 }, 1, 0));
}

CASE(urgent_reading_stops_at_the_mark)
{
    int fd = server(), n;
    char b[16];
    peer("send 5");
    peer("oob");
    peer("send 6");
    urgent(fd);
    usleep(200000);
    SAY(ioctl(fd, FIONREAD, &n));
    printf("%d\n", n);
    SAY(read(fd, b, 16));
    SAY(sockatmark(fd));
    SAY(ioctl(fd, FIONREAD, &n));
    printf("%d\n", n);
    SAY(read(fd, b, 16));
    SAY(sockatmark(fd));
    SAY(recv(fd, b, 1, MSG_OOB));
}

CASE(urgent_inline)
{
    int fd = server(), one = 1;
    char b[16] = "";
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
    peer("send 3");
    peer("oob");
    peer("send 2");
    urgent(fd);
    usleep(200000);
    events("poll", ready(fd, POLLIN | POLLPRI));
    SAY(recv(fd, b, 1, MSG_OOB));
    SAY(read(fd, b, 16));
    printf("%.3s\n", b);
    SAY(sockatmark(fd));
    SAY(read(fd, b, 16));
    printf("%.3s\n", b);
    SAY(sockatmark(fd));
    events("poll", ready(fd, POLLIN | POLLPRI | POLLOUT));
}

CASE(urgent_inline_is_inherited)
{
    int fd = tcp(), one = 1, value = -1;
    socklen_t len = sizeof value;
    struct sockaddr_in a = address(own_ip, port);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 4);
    look(fd);
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    char b[8] = "";
    SAY(getsockopt(conn, SOL_SOCKET, SO_OOBINLINE, &value, &len));
    printf("%d\n", value);
    peer("oob");
    SAY(read(conn, b, 8));
    printf("%s\n", b);
}

CASE(urgent_alone_is_not_readable)
{
    int fd = server();
    char b[8] = "";
    peer("oob");
    urgent(fd);
    events("poll", ready(fd, POLLIN | POLLPRI | POLLOUT));
    SAY(recv(fd, b, 8, MSG_DONTWAIT));
    SAY(sockatmark(fd));
    peer("send 2");
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 8, 0));
    printf("%.2s\n", b);
    SAY(recv(fd, b, 8, MSG_OOB));
}

CASE(urgent_twice)
{
    int fd = server();
    char b[16] = "";
    peer("send 2");
    peer("oob");
    urgent(fd);
    peer("send 2");
    peer("oobs 3");
    usleep(200000);
    SAY(recv(fd, b, 1, MSG_OOB));
    printf("%c\n", b[0]);
    SAY(recv(fd, b, 16, 0));
    SAY(sockatmark(fd));
    printf("%.7s\n", b);
    SAY(recv(fd, b, 16, MSG_DONTWAIT));
}

CASE(urgent_byte_before_is_lost_at_the_mark)
{
    int fd = server();
    char b[16] = "";
    peer("oob");
    urgent(fd);
    peer("oobs 1");
    usleep(200000);
    SAY(recv(fd, b, 1, MSG_OOB));
    SAY(recv(fd, b, 16, MSG_DONTWAIT));
    SAY(sockatmark(fd));
}

CASE(urgent_sent)
{
    int fd = server();
    SAY(send(fd, "abc", 3, MSG_OOB));
    SAY(peer("pri"));
    SAY(peer("orecv"));
    SAY(peer("recv 2"));
    SAY(peer("mark"));
    SAY(send(fd, "d", 1, MSG_OOB | MSG_DONTWAIT));
    SAY(peer("pri"));
    SAY(peer("orecv"));
    SAY(send(fd, "", 0, MSG_OOB));
    SAY(send(fd, "ef", 2, 0));
    SAY(peer("recv 2"));
}

CASE(urgent_sent_with_sendmsg)
{
    int fd = server();
    struct iovec v[] = { { "12", 2 }, { "345", 3 } };
    struct msghdr m = { NULL, 0, v, 2, NULL, 0, 0 };
    SAY(sendmsg(fd, &m, MSG_OOB));
    SAY(peer("pri"));
    SAY(peer("orecv"));
    SAY(peer("recv 4"));
}

CASE(urgent_after_shutdown)
{
    int fd = server();
    signal(SIGPIPE, SIG_IGN);
    shutdown(fd, SHUT_WR);
    SAY(send(fd, "a", 1, MSG_OOB));
    char b[4];
    peer("oob");
    urgent(fd);
    peer("close");
    ready(fd, POLLHUP);
    events("poll", ready(fd, POLLIN | POLLPRI | POLLRDHUP));
    SAY(recv(fd, b, 1, MSG_OOB));
    SAY(recv(fd, b, 4, 0));
    SAY(recv(fd, b, 1, MSG_OOB));
}

CASE(urgent_recvmsg)
{
    int fd = server();
    char b[8];
    struct iovec v = { b, 8 };
    struct msghdr m = { NULL, 0, &v, 1, NULL, 0, 0 };
    peer("oob");
    urgent(fd);
    v.iov_len = 0;
    SAY(recvmsg(fd, &m, MSG_OOB | MSG_PEEK));
    printf("%x\n", m.msg_flags);
    v.iov_len = 8;
    SAY(recvmsg(fd, &m, MSG_OOB));
    printf("%x\n", m.msg_flags);
    SAY(recvmsg(fd, &m, MSG_OOB));
}

CASE(urgent_select)
{
    int fd = server();
    char c;
    fd_set r, e;
    FD_ZERO(&r);
    FD_ZERO(&e);
    FD_SET(fd, &r);
    FD_SET(fd, &e);
    peer("oob");
    SAY(select(fd + 1, &r, NULL, &e, &(struct timeval){ 2, 0 }));
    printf("%d %d\n", !!FD_ISSET(fd, &r), !!FD_ISSET(fd, &e));
    SAY(recv(fd, &c, 1, MSG_OOB));
}

CASE(urgent_epoll)
{
    int fd = server(), ep = epoll_create1(0);
    char b[8];
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLPRI | EPOLLET, { .u64 = 1 } });
    waited(ep, 4, 0);
    peer("oob");
    waited(ep, 4, 2000);
    waited(ep, 4, 0);
    peer("oobs 2");
    waited(ep, 4, 2000);
    SAY(recv(fd, b, 1, MSG_OOB));
    peer("send 1");
    waited(ep, 4, 100);
}

static volatile sig_atomic_t urgents;
static void on_urgent(int s)
{
    urgents += s == SIGURG;
}

/* Waits for signals as long as it is reasonable. */
static int signalled(int count)
{
    for (int i = 0; i < 200 && urgents < count; i++)
        usleep(5000);
    return urgents;
}

CASE(sigurg_to_the_owner)
{
    int fd = server();
    char b[8];
    signal(SIGURG, on_urgent);
    SAY(fcntl(fd, F_GETOWN));
    peer("oob");
    urgent(fd);
    SAY(urgents);
    SAY(recv(fd, b, 1, MSG_OOB));
    SAY(fcntl(fd, F_SETOWN, getpid()));
    SAY(fcntl(fd, F_GETOWN) == getpid());
    peer("oobs 3");
    SAY(signalled(1));
    SAY(recv(fd, b, 1, MSG_OOB));
    peer("send 3");
    peer("oob");
    SAY(signalled(2));
    SAY(fcntl(fd, F_SETOWN, 0));
    SAY(fcntl(fd, F_GETOWN));
}

CASE(sigurg_interrupts_a_read)
{
    int fd = server();
    char b[8];
    struct sigaction act = { .sa_handler = on_urgent };
    sigaction(SIGURG, &act, NULL);
    fcntl(fd, F_SETOWN, getpid());
    peer("later 150 oob");
    SAY(read(fd, b, 8));
    SAY(signalled(1));
}

CASE(owner_of_a_connection)
{
    int fd = server(), who = -1;
    struct f_owner_ex ex = { F_OWNER_TID, gettid() };
    SAY(fcntl(fd, F_SETOWN_EX, &ex));
    memset(&ex, 0, sizeof ex);
    SAY(fcntl(fd, F_GETOWN_EX, &ex));
    printf("%d %d\n", ex.type, ex.pid == gettid());
    ex.type = 9;
    SAY(fcntl(fd, F_SETOWN_EX, &ex));
    SAY(fcntl(fd, F_SETOWN_EX, (void *)8));
    SAY(fcntl(fd, F_SETOWN, 1 << 29));
    SAY(fcntl(fd, F_SETOWN, -getpgrp()));
    SAY(fcntl(fd, F_GETOWN) == -getpgrp());
    who = getpid();
    SAY(ioctl(fd, FIOSETOWN, &who));
    who = 0;
    SAY(ioctl(fd, SIOCGPGRP, &who));
    SAY(who == getpid());
}

CASE(sigurg_on_an_active_open)
{
    int fd = client();
    char b[8] = "";
    signal(SIGURG, on_urgent);
    SAY(fcntl(fd, F_SETOWN, getpid()));
    SAY(fcntl(fd, F_GETOWN) == getpid());
    peer("oob");
    SAY(signalled(1));
    SAY(recv(fd, b, 1, MSG_OOB));
    SAY(send(fd, "!", 1, MSG_OOB));
    peer("pri");
    SAY(peer("orecv"));
}
