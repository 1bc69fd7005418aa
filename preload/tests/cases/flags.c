/* Flags of send and recv, and the queues as ioctl tells them. */
#include "case.h"

CASE(recv_trunc_throws_away)
{
    int fd = server();
    char b[8] = "-------";
    peer("send 20");
    ready(fd, POLLIN);
    SAY(recv(fd, NULL, 5, MSG_TRUNC));
    SAY(recv(fd, b, 3, 0));
    printf("%.3s\n", b);
    SAY(recv(fd, NULL, 1000, MSG_TRUNC));
    SAY(recv(fd, NULL, 10, MSG_TRUNC | MSG_DONTWAIT));
}

CASE(recv_trunc_waitall)
{
    int fd = server();
    peer("send 20");
    peer("later 60 send 20");
    SAY(recv(fd, NULL, 30, MSG_TRUNC | MSG_WAITALL));
    char b[16];
    SAY(recv(fd, b, 16, 0));
}

CASE(recv_unknown_flags)
{
    int fd = server();
    char b[8];
    peer("send 6");
    ready(fd, POLLIN);
    SAY(recv(fd, b, 1, MSG_CMSG_CLOEXEC));
    SAY(recv(fd, b, 1, MSG_NOSIGNAL));
    SAY(recv(fd, b, 1, MSG_EOR));
    SAY(recv(fd, b, 1, MSG_CONFIRM));
    SAY(recv(fd, b, 1, 0x1000000));
    SAY(recv(fd, b, 1, 0));
}

CASE(recv_error_queue)
{
    int fd = server();
    char b[8], control[128];
    struct iovec v = { b, 8 };
    struct msghdr m = { NULL, 0, &v, 1, control, sizeof control, 0 };
    peer("send 3");
    ready(fd, POLLIN);
    SAY(recv(fd, b, 8, MSG_ERRQUEUE));
    SAY(recvmsg(fd, &m, MSG_ERRQUEUE));
    SAY(recv(fd, b, 8, 0));
}

CASE(send_flags_that_change_nothing)
{
    int fd = server();
    SAY(send(fd, "a", 1, MSG_EOR));
    SAY(send(fd, "b", 1, MSG_CONFIRM));
    SAY(send(fd, "c", 1, MSG_DONTROUTE));
    SAY(send(fd, "d", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
    SAY(send(fd, "e", 1, MSG_ZEROCOPY));
    SAY(send(fd, "f", 1, 0x100));
    SAY(peer("recv 6"));
}

/* Whether the peer has something, of what was held back at a time. It is sent after 200 ms: where asking took nearly as
 * long, that is no answer. */
static long let_out(long held_at)
{
    long heard = peer("soon");
    return now_ms() - held_at < 150 ? heard : 0;
}

CASE(more_holds_back)
{
    int fd = server();
    long held_at = now_ms();
    SAY(send(fd, "abc", 3, MSG_MORE));
    SAY(let_out(held_at));
    SAY(send(fd, "d", 1, 0));
    SAY(peer("recv 4"));
}

CASE(more_is_sent_in_the_end)
{
    int fd = server();
    SAY(send(fd, "abc", 3, MSG_MORE));
    SAY(peer("recv 3"));
}

CASE(cork_holds_back)
{
    int fd = server(), on = 1, off = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    long held_at = now_ms();
    SAY(write(fd, "abc", 3));
    SAY(write(fd, "def", 3));
    SAY(let_out(held_at));
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off);
    SAY(peer("soon 3000"));
    SAY(peer("recv 6"));
}

CASE(cork_wins_over_nodelay)
{
    int fd = server(), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SAY(peer("recv 0"));
    long held_at = now_ms();
    SAY(write(fd, "abc", 3));
    SAY(let_out(held_at));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    SAY(peer("soon 3000"));
    SAY(peer("recv 3"));
}

CASE(cork_and_close)
{
    int fd = server(), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    SAY(write(fd, "abc", 3));
    SAY(close(fd));
    SAY(peer("soon 3000"));
    SAY(peer("recv 3"));
    SAY(peer("eof"));
}

CASE(cork_and_shutdown)
{
    int fd = server(), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on);
    SAY(write(fd, "abc", 3));
    SAY(shutdown(fd, SHUT_WR));
    SAY(peer("soon 3000"));
    SAY(peer("recv 9"));
}

CASE(queues_by_ioctl)
{
    int fd = server(), n = -1;
    static char b[1 << 20];
    SAY(ioctl(fd, SIOCINQ, &n));
    SAY(n);
    SAY(ioctl(fd, SIOCOUTQNSD, &n));
    SAY(n);
    peer("send 77");
    ready(fd, POLLIN);
    SAY(ioctl(fd, SIOCINQ, &n));
    SAY(n);
    read(fd, b, 7);
    SAY(ioctl(fd, SIOCINQ, &n));
    SAY(n);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    long sent = 0, w;
    do {
        while ((w = write(fd, b, sizeof b)) > 0)
            sent += w;
    } while (poll(&(struct pollfd){ fd, POLLOUT, 0 }, 1, 300));
    int unsent = -1;
    SAY(ioctl(fd, SIOCOUTQ, &n));
    SAY(ioctl(fd, SIOCOUTQNSD, &unsent));
    printf("%d %d %d\n", n > 0, unsent > 0, n >= unsent);
    SAY(peer("recv %ld", sent) == sent);
    drained(fd);
    SAY(ioctl(fd, SIOCOUTQ, &n));
    SAY(n);
    SAY(ioctl(fd, SIOCOUTQNSD, &n));
    SAY(n);
}

CASE(queues_at_the_end)
{
    int fd = server(), n = -1;
    peer("send 5");
    peer("close");
    ready(fd, POLLRDHUP);
    SAY(ioctl(fd, SIOCINQ, &n));
    SAY(n);
    char b[8];
    read(fd, b, 8);
    SAY(ioctl(fd, SIOCINQ, &n));
    SAY(n);
}

CASE(queues_of_other_sockets)
{
    int fresh = tcp(), fd = listener(), n = -1;
    SAY(ioctl(fresh, SIOCINQ, &n));
    SAY(n);
    SAY(ioctl(fresh, SIOCOUTQ, &n));
    SAY(n);
    SAY(ioctl(fd, SIOCINQ, &n));
    SAY(ioctl(fd, SIOCOUTQ, &n));
    SAY(ioctl(fd, SIOCOUTQNSD, &n));
    SAY(ioctl(fd, SIOCATMARK, &n));
}
