/* Cancellation in every call that blocks (POSIX.1-2017 2.9.5.2, and the relatives of Linux): the thread ends, and what it
 * waited for is as if it had never called. */
#include "case.h"

static int sock, set, far_end, far_port;
static volatile int cleaned;
static char block[1 << 16];

static void clean(void *unused)
{
    (void)unused;
    cleaned++;
}

#define IN(what, ...)                                                                                         \
    static void *in_##what(void *unused)                                                                      \
    {                                                                                                         \
        char b[64];                                                                                           \
        struct iovec one = { b, sizeof b };                                                                   \
        struct iovec all = { block, sizeof block };                                                           \
        struct msghdr message = { .msg_iov = &one, .msg_iovlen = 1 };                                         \
        struct msghdr long_message = { .msg_iov = &all, .msg_iovlen = 1 };                                    \
        struct mmsghdr many[2] = { { .msg_hdr = message }, { .msg_hdr = message } };                          \
        struct mmsghdr long_many[2] = { { .msg_hdr = long_message }, { .msg_hdr = long_message } };           \
        struct pollfd asked = { sock, POLLIN, 0 };                                                            \
        struct epoll_event event;                                                                             \
        fd_set read_set;                                                                                      \
        FD_ZERO(&read_set);                                                                                   \
        if (sock < FD_SETSIZE)                                                                                \
            FD_SET(sock, &read_set);                                                                          \
        (void)unused, (void)many, (void)long_many, (void)asked, (void)event;                                  \
        pthread_cleanup_push(clean, NULL);                                                                    \
        __VA_ARGS__;                                                                                          \
        pthread_cleanup_pop(0);                                                                               \
        return NULL;                                                                                          \
    }

IN(recv, recv(sock, b, sizeof b, 0))
IN(recvfrom, recvfrom(sock, b, sizeof b, 0, NULL, NULL))
IN(recvmsg, recvmsg(sock, &message, 0))
IN(recvmmsg, recvmmsg(sock, many, 2, MSG_WAITFORONE, NULL))
IN(readv, readv(sock, &one, 1))
IN(preadv2, preadv2(sock, &one, 1, -1, 0))
IN(peek, recv(sock, b, sizeof b, MSG_PEEK))
IN(splice_out, splice(sock, NULL, far_end, NULL, 100, 0))
IN(ppoll, ppoll(&asked, 1, NULL, NULL))
IN(pselect, pselect(sock + 1, &read_set, NULL, NULL, NULL, NULL))
IN(epoll_pwait, epoll_pwait(set, &event, 1, -1, NULL))
IN(waitall, recv(sock, b, 8, MSG_WAITALL))
IN(accept4, accept4(sock, NULL, NULL, SOCK_NONBLOCK))
IN(connect, struct sockaddr_in a = address("10.77.0.99", far_port); connect(sock, (void *)&a, sizeof a))
IN(send, for (;;) send(sock, block, sizeof block, 0))
IN(sendto, for (;;) sendto(sock, block, sizeof block, 0, NULL, 0))
IN(sendmsg, for (;;) sendmsg(sock, &long_message, 0))
IN(sendmmsg, for (;;) sendmmsg(sock, long_many, 2, 0))
IN(write, for (;;) write(sock, block, sizeof block))
IN(writev, for (;;) writev(sock, &all, 1))
IN(pwritev2, for (;;) pwritev2(sock, &all, 1, -1, 0))
IN(pending_send, pthread_cancel(pthread_self()); send(sock, "x", 1, 0))
IN(pending_recv, pthread_cancel(pthread_self()); recv(sock, b, 1, 0))
IN(pending_poll, pthread_cancel(pthread_self()); poll(&asked, 1, 0))
IN(pending_accept, pthread_cancel(pthread_self()); accept(sock, NULL, NULL))

static int nothing_waits(void)
{
    int queued = -1;
    return ioctl(sock, FIONREAD, &queued) == 0 && queued == 0;
}

static void cancel_when(const char *what, void *(*start)(void *), int (*is_time)(void))
{
    pthread_t thread;
    void *result = NULL;
    cleaned = 0;
    pthread_create(&thread, NULL, start, NULL);
    usleep(20000);
    WAIT_UNTIL(!is_time || is_time());
    pthread_cancel(thread);
    pthread_join(thread, &result);
    printf("%s: %d %d\n", what, result == PTHREAD_CANCELED, cleaned);
    fflush(stdout);
}

static void cancel_in(const char *what, void *(*start)(void *))
{
    cancel_when(what, start, NULL);
}

/* Nothing is held, and nothing was taken. */
static void goes_on(void)
{
    char b[8];
    peer("send 4");
    SAY(recv(sock, b, 4, MSG_WAITALL));
    SAY(write(sock, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(cancelled_in_calls_that_receive)
{
    int p[2];
    pipe(p);
    far_end = p[1];
    sock = server();
    set = epoll_create1(0);
    struct epoll_event e = { EPOLLIN, { .u64 = 1 } };
    epoll_ctl(set, EPOLL_CTL_ADD, sock, &e);
    cancel_in("recv", in_recv);
    cancel_in("recvfrom", in_recvfrom);
    cancel_in("recvmsg", in_recvmsg);
    cancel_in("recvmmsg", in_recvmmsg);
    cancel_in("readv", in_readv);
    cancel_in("preadv2", in_preadv2);
    cancel_in("peek", in_peek);
    cancel_in("splice", in_splice_out);
    goes_on();
    cancel_in("ppoll", in_ppoll);
    cancel_in("pselect", in_pselect);
    cancel_in("epoll_pwait", in_epoll_pwait);
    goes_on();
    /* What a call has taken when its thread ends is gone, as on the kernel. */
    peer("send 3");
    arrived(sock, 3);
    cancel_when("waitall", in_waitall, nothing_waits);
    int n = -1;
    SAY(ioctl(sock, FIONREAD, &n));
    SAY(n);
    goes_on();
}

static void cancel_full(const char *what, void *(*start)(void *))
{
    int small = 1 << 14;
    port++;
    sock = server();
    setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    cancel_in(what, start);
    int queued = 0;
    SAY(ioctl(sock, SIOCOUTQ, &queued));
    close(sock);
    peer("close");
}

CASE(cancelled_in_calls_that_send)
{
    cancel_full("send", in_send);
    cancel_full("sendto", in_sendto);
    cancel_full("sendmsg", in_sendmsg);
    cancel_full("sendmmsg", in_sendmmsg);
    cancel_full("write", in_write);
    cancel_full("writev", in_writev);
    cancel_full("pwritev2", in_pwritev2);
}

CASE(cancelled_in_calls_that_begin_connections)
{
    far_port = port + 1;
    sock = tcp();
    cancel_in("connect", in_connect);
    close(sock);
    sock = listener();
    cancel_in("accept4", in_accept4);
    cancel_in("poll before", in_ppoll);
    SAY(peer("connect %d", port));
    int fd = accept(sock, NULL, NULL);
    SAY(fd >= 0);
    sock = fd;
    goes_on();
}

CASE(cancelled_before_the_call)
{
    sock = server();
    peer("send 4");
    arrived(sock, 4);
    cancel_in("send", in_pending_send);
    cancel_in("recv", in_pending_recv);
    cancel_in("poll", in_pending_poll);
    int n = -1;
    SAY(ioctl(sock, FIONREAD, &n));
    SAY(n);
    char b[8];
    SAY(recv(sock, b, 4, MSG_WAITALL));
    goes_on();
    port++;
    sock = listener();
    SAY(peer("connect %d", port));
    ready(sock, POLLIN);
    cancel_in("accept", in_pending_accept);
    int fd = accept(sock, NULL, NULL);
    SAY(fd >= 0);
    sock = fd;
    goes_on();
}

CASE(cancelled_in_calls_on_datagrams)
{
    char b[8];
    sock = udp();
    cancel_in("recv", in_recv);
    cancel_in("recvmsg", in_recvmsg);
    cancel_in("recvmmsg", in_recvmmsg);
    cancel_in("ppoll", in_ppoll);
    SAY(peer("udp %d", port + 500));
    SAY(peer("usend %d 4", port));
    SAY(recv(sock, b, 8, 0));
}
