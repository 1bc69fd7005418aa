/* The end of a connection: shutdown and close in every order, SO_LINGER, and what both sides see. */
#include "case.h"

static void linger(int fd, int on, int seconds)
{
    struct linger l = { on, seconds };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

static int pending(int fd)
{
    int error = -1;
    socklen_t len = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

CASE(shutdown_twice)
{
    int fd = server();
    SAY(shutdown(fd, SHUT_WR));
    SAY(shutdown(fd, SHUT_WR));
    SAY(shutdown(fd, SHUT_RD));
    SAY(shutdown(fd, SHUT_RDWR));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(peer("eof"));
}

CASE(shutdown_both_then_read_and_write)
{
    int fd = server();
    char b[8];
    signal(SIGPIPE, SIG_IGN);
    SAY(shutdown(fd, SHUT_RDWR));
    SAY(read(fd, b, 8));
    SAY(write(fd, b, 8));
    SAY(pending(fd));
    SAY(peer("eof"));
}

CASE(shutdown_of_what_is_not_connected)
{
    int fd = tcp();
    SAY(shutdown(fd, SHUT_WR));
    SAY(shutdown(fd, SHUT_RD));
    SAY(shutdown(fd, 3));
    SAY(shutdown(fd, -1));
    struct sockaddr_in a = address(own_ip, port);
    bind(fd, (void *)&a, sizeof a);
    SAY(shutdown(fd, SHUT_RDWR));
}

CASE(shutdown_after_the_peer_has_closed)
{
    int fd = server();
    peer("close");
    ready(fd, POLLIN);
    SAY(shutdown(fd, SHUT_WR));
    reaches(fd, TCP_CLOSE);
    SAY(shutdown(fd, SHUT_WR));
    SAY(shutdown(fd, SHUT_RDWR));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
}

CASE(shutdown_after_a_reset)
{
    int fd = server();
    char c;
    peer("reset");
    ready(fd, POLLIN);
    SAY(shutdown(fd, SHUT_WR));
    SAY(read(fd, &c, 1));
    SAY(shutdown(fd, SHUT_RDWR));
}

CASE(data_after_shutdown_for_reading)
{
    int fd = server(), n;
    char b[16];
    SAY(shutdown(fd, SHUT_RD));
    SAY(peer("send 4"));
    arrived(fd, 4);
    SAY(ioctl(fd, FIONREAD, &n));
    SAY(read(fd, b, 16));
    SAY(read(fd, b, 16));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(write(fd, "x", 1));
    SAY(peer("recv 1"));
}

CASE(shutdown_with_data_queued)
{
    int fd = server();
    char b[16];
    peer("send 10");
    ready(fd, POLLIN);
    SAY(shutdown(fd, SHUT_RD));
    SAY(read(fd, b, 4));
    SAY(read(fd, b, 16));
    SAY(read(fd, b, 16));
}

CASE(peer_closes_first)
{
    int fd = server();
    char b[8];
    peer("close");
    events("poll", ready(fd, POLLRDHUP));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(read(fd, b, 8));
    SAY(write(fd, "abc", 3));
    reaches(fd, TCP_CLOSE);
    SAY(pending(fd));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(read(fd, b, 8));
    SAY(send(fd, "abc", 3, MSG_NOSIGNAL));
    SAY(send(fd, "abc", 3, MSG_NOSIGNAL));
}

CASE(write_after_the_peer_has_closed_and_reset)
{
    int fd = server();
    char b[8];
    peer("close");
    ready(fd, POLLIN);
    SAY(write(fd, "abc", 3));
    reaches(fd, TCP_CLOSE);
    SAY(send(fd, "abc", 3, MSG_NOSIGNAL));
    SAY(read(fd, b, 8));
    SAY(pending(fd));
}

CASE(reset_with_data_queued)
{
    int fd = server();
    char b[16];
    peer("send 5");
    ready(fd, POLLIN);
    peer("reset");
    reaches(fd, TCP_CLOSE);
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(recv(fd, b, 2, MSG_PEEK));
    SAY(read(fd, b, 16));
    SAY(read(fd, b, 16));
    SAY(read(fd, b, 16));
}

CASE(reset_seen_by_write_first)
{
    int fd = server();
    char b[16];
    peer("reset");
    ready(fd, POLLIN);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(read(fd, b, 16));
    SAY(pending(fd));
}

static volatile sig_atomic_t pipes;
static void on_pipe(int s)
{
    pipes += s == SIGPIPE;
}

CASE(reset_raises_no_sigpipe_the_next_write_does)
{
    int fd = server();
    signal(SIGPIPE, on_pipe);
    peer("reset");
    ready(fd, POLLIN);
    SAY(write(fd, "a", 1));
    SAY(pipes);
    SAY(write(fd, "a", 1));
    SAY(pipes);
    SAY(sendto(fd, "a", 1, 0, NULL, 0));
    SAY(pipes);
}

CASE(linger_waits_for_delivery)
{
    int fd = server();
    static char b[30000];
    linger(fd, 1, 5);
    SAY(write(fd, b, sizeof b));
    SAY(close(fd));
    SAY(peer("recv 30000"));
    SAY(peer("eof"));
}

CASE(linger_runs_out)
{
    int fd = server(), small = 4096;
    static char b[1 << 20];
    peer("smallrecv");
    linger(fd, 1, 1);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (write(fd, b, sizeof b) > 0)
        ;
    fcntl(fd, F_SETFL, 0);
    usleep(100000);
    (void)small;
    long begun = now_ms();
    SAY(close(fd));
    long took = now_ms() - begun;
    printf("%d\n", took >= 900 && took < 15000);
}

CASE(linger_of_a_nonblocking_socket_waits_too)
{
    int fd = server();
    static char b[1 << 20];
    linger(fd, 1, 1);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    /* Until the peer takes no more, however buffers grow meanwhile. */
    for (int full = 0; full < 5; full++)
        if (write(fd, b, sizeof b) > 0)
            full = -1;
        else
            usleep(20000);
    long begun = now_ms();
    SAY(close(fd));
    printf("%d\n", now_ms() - begun < 900);
}

CASE(linger_zero_discards)
{
    int fd = server();
    linger(fd, 1, 0);
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
    SAY(close(fd));
    SAY(peer("eof"));
}

CASE(linger_zero_after_shutdown)
{
    int fd = server();
    linger(fd, 1, 0);
    SAY(shutdown(fd, SHUT_WR));
    SAY(peer("eof"));
    SAY(close(fd));
    SAY(peer("gone"));
    SAY(peer("send 1"));
}

CASE(linger2_none_forgets_at_once)
{
    int fd = server(), none = -1;
    setsockopt(fd, IPPROTO_TCP, TCP_LINGER2, &none, sizeof none);
    shutdown(fd, SHUT_WR);
    SAY(peer("eof"));
    reaches(fd, TCP_FIN_WAIT2);
    SAY(close(fd));
    SAY(peer("gone"));
    SAY(peer("send 1"));
    SAY(peer("eof"));
}

CASE(close_while_the_peer_still_sends)
{
    int fd = server();
    SAY(close(fd));
    SAY(peer("eof"));
    SAY(peer("send 4"));
    SAY(peer("gone"));
    SAY(peer("send 4"));
}

CASE(a_dup_keeps_it_open)
{
    int fd = server(), other = dup(fd);
    linger(fd, 1, 0);
    SAY(close(fd));
    SAY(write(other, "abc", 3));
    SAY(peer("recv 3"));
    SAY(shutdown(other, SHUT_WR));
    SAY(peer("eof"));
}

CASE(half_closed_for_long)
{
    int fd = server();
    char b[64];
    SAY(shutdown(fd, SHUT_WR));
    SAY(peer("eof"));
    for (int i = 0; i < 3; i++) {
        peer("send 5");
        SAY(recv(fd, b, 5, MSG_WAITALL));
    }
    events("poll", ready(fd, POLLOUT | POLLRDHUP));
    SAY(peer("shut"));
    SAY(read(fd, b, 64));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
}
