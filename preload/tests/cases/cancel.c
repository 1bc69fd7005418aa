/* Threads that others cancel, and handlers that jump away. */
#include "case.h"
#include <setjmp.h>

static int sock, set, pipe_end;
static volatile int cleaned;

static void clean(void *unused)
{
    (void)unused;
    cleaned++;
}

#define THREAD(what, ...)                                                                                     \
    static void *what(void *unused)                                                                           \
    {                                                                                                         \
        char b[64];                                                                                           \
        (void)unused;                                                                                         \
        (void)b;                                                                                              \
        pthread_cleanup_push(clean, NULL);                                                                    \
        __VA_ARGS__;                                                                                           \
        pthread_cleanup_pop(0);                                                                               \
        return NULL;                                                                                          \
    }

THREAD(in_read, read(sock, b, sizeof b))
THREAD(in_accept, accept(sock, NULL, NULL))
THREAD(in_poll, struct pollfd p = { sock, POLLIN, 0 }; poll(&p, 1, -1))
THREAD(in_epoll, struct epoll_event e; epoll_wait(set, &e, 1, -1))
THREAD(in_select, fd_set s; FD_ZERO(&s); FD_SET(sock, &s); select(sock + 1, &s, NULL, NULL, NULL))
THREAD(in_a_pipe, read(pipe_end, b, sizeof b))
THREAD(in_many_reads, for (;;) recv(sock, b, 1, MSG_PEEK))

static void cancel_in(const char *what, void *(*start)(void *), int after_us)
{
    pthread_t t;
    void *result = NULL;
    cleaned = 0;
    pthread_create(&t, NULL, start, NULL);
    usleep(after_us);
    int error = pthread_cancel(t);
    pthread_join(t, &result);
    printf("%s: %d %d %d\n", what, error, result == PTHREAD_CANCELED, cleaned);
    fflush(stdout);
}

CASE(cancelled_while_waiting)
{
    int p[2];
    pipe(p);
    pipe_end = p[0];
    sock = server();
    set = epoll_create1(0);
    struct epoll_event e = { EPOLLIN, { .u64 = 1 } };
    epoll_ctl(set, EPOLL_CTL_ADD, sock, &e);
    cancel_in("read", in_read, 30000);
    cancel_in("poll", in_poll, 30000);
    cancel_in("epoll_wait", in_epoll, 30000);
    cancel_in("select", in_select, 30000);
    cancel_in("a pipe", in_a_pipe, 30000);
    SAY(write(sock, "abc", 3));
    SAY(peer("recv 3"));
    peer("send 1");
    ready(sock, POLLIN);
    cancel_in("reads that need not wait", in_many_reads, 30000);
    port++;
    sock = listener();
    cancel_in("accept", in_accept, 30000);
    set = epoll_create1(0);
    cancel_in("an empty set", in_epoll, 30000);
}

static void *not_now(void *unused)
{
    char b[8];
    (void)unused;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    long n = recv(sock, b, 4, MSG_WAITALL);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
    printf("received %ld\n", n);
    recv(sock, b, 4, 0);
    return NULL;
}

CASE(cancelled_when_it_may)
{
    pthread_t t;
    void *result = NULL;
    sock = server();
    pthread_create(&t, NULL, not_now, NULL);
    usleep(30000);
    SAY(pthread_cancel(t));
    usleep(30000);
    peer("send 4");
    pthread_join(t, &result);
    printf("%d\n", result == PTHREAD_CANCELED);
}

static sigjmp_buf back;
static void jump(int s)
{
    (void)s;
    siglongjmp(back, 1);
}

CASE(a_handler_that_jumps_out_of_a_read)
{
    int fd = server();
    char b[8];
    struct sigaction act = { .sa_handler = jump };
    struct itimerval t = { { 0, 0 }, { 0, 40000 } };
    sigaction(SIGALRM, &act, NULL);
    for (int i = 0; i < 3; i++) {
        if (sigsetjmp(back, 1) == 0) {
            setitimer(ITIMER_REAL, &t, NULL);
            SAY(read(fd, b, 8));
        } else {
            printf("jumped\n");
        }
    }
    struct pollfd p = { fd, POLLIN, 0 };
    if (sigsetjmp(back, 1) == 0) {
        setitimer(ITIMER_REAL, &t, NULL);
        SAY(poll(&p, 1, 3000));
    } else {
        printf("jumped\n");
    }
    peer("send 5");
    SAY(recv(fd, b, 5, MSG_WAITALL));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}
