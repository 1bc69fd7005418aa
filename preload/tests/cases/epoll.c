/* epoll. */
#include "case.h"

static int set_of(int fd, unsigned what)
{
    int set = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = { what, { .u64 = 0xabcdef0123456789 } };
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    return set;
}

CASE(epoll_level)
{
    int fd = server(), set = set_of(fd, EPOLLIN);
    char b[8];
    waited(set, 4, 0);
    peer("send 5");
    waited(set, 4, 2000);
    waited(set, 4, 0);
    read(fd, b, 2);
    waited(set, 4, 0);
    read(fd, b, 8);
    waited(set, 4, 0);
}

CASE(epoll_edge)
{
    int fd = server(), set = set_of(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    char b[8];
    waited(set, 4, 1000);
    waited(set, 4, 0);
    peer("send 5");
    waited(set, 4, 2000);
    waited(set, 4, 0);
    read(fd, b, 2);
    waited(set, 4, 0);
    peer("send 1");
    waited(set, 4, 2000);
    waited(set, 4, 0);
    peer("shut");
    waited(set, 4, 2000);
    waited(set, 4, 0);
}

CASE(epoll_oneshot)
{
    int fd = server(), set = set_of(fd, EPOLLIN | EPOLLONESHOT);
    struct epoll_event e = { EPOLLIN | EPOLLONESHOT, { .u64 = 5 } };
    peer("send 5");
    waited(set, 4, 2000);
    waited(set, 4, 0);
    peer("send 5");
    usleep(30000);
    waited(set, 4, 0);
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
    waited(set, 4, 0);
    waited(set, 4, 0);
}

CASE(epoll_modify)
{
    int fd = server(), set = set_of(fd, EPOLLIN);
    struct epoll_event e = { EPOLLOUT, { .u64 = 6 } };
    waited(set, 4, 0);
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
    waited(set, 4, 0);
    e.events = 0;
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
    waited(set, 4, 0);
    peer("reset");
    waited(set, 4, 2000);
}

CASE(epoll_hang_up)
{
    int fd = server(), set = set_of(fd, EPOLLIN | EPOLLRDHUP);
    char b[8];
    peer("send 3");
    peer("shut");
    ready(fd, POLLRDHUP);
    waited(set, 4, 2000);
    read(fd, b, 8);
    waited(set, 4, 0);
    shutdown(fd, SHUT_WR);
    ready(fd, 0);
    waited(set, 4, 0);
}

CASE(epoll_reset)
{
    int fd = server(), set = set_of(fd, EPOLLIN | EPOLLET);
    peer("reset");
    waited(set, 4, 2000);
    waited(set, 4, 0);
}

CASE(epoll_listener)
{
    int fd = listener(), set = set_of(fd, EPOLLIN);
    waited(set, 4, 0);
    peer("connect %d", port);
    waited(set, 4, 2000);
    waited(set, 4, 0);
    int conn = accept(fd, NULL, NULL);
    SAY(conn >= 0);
    waited(set, 4, 0);
}

CASE(epoll_listener_edge)
{
    int fd = listener(), set = set_of(fd, EPOLLIN | EPOLLET);
    peer("connect %d", port);
    waited(set, 4, 2000);
    waited(set, 4, 0);
    peer("connect %d", port);
    waited(set, 4, 2000);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(accept(fd, NULL, NULL) >= 0);
    SAY(accept(fd, NULL, NULL) >= 0);
    SAY(accept(fd, NULL, NULL));
    waited(set, 4, 0);
}

CASE(epoll_listener_on_loopback)
{
    int fd = tcp(), set;
    struct sockaddr_in any = address("0.0.0.0", port), lo = address("127.0.0.1", port);
    bind(fd, (void *)&any, sizeof any);
    listen(fd, 8);
    set = set_of(fd, EPOLLIN);
    waited(set, 4, 0);
    int a = tcp();
    SAY(connect(a, (void *)&lo, sizeof lo));
    waited(set, 4, 1000);
    waited(set, 4, 0);
    SAY(accept(fd, NULL, NULL) >= 0);
    waited(set, 4, 0);
    SAY(peer("connect %d", port));
    waited(set, 4, 1000);
    SAY(accept(fd, NULL, NULL) >= 0);
    waited(set, 4, 0);
}

CASE(epoll_listener_oneshot_on_loopback)
{
    int fd = tcp(), set;
    struct sockaddr_in any = address("0.0.0.0", port), lo = address("127.0.0.1", port);
    bind(fd, (void *)&any, sizeof any);
    listen(fd, 8);
    set = set_of(fd, EPOLLIN | EPOLLONESHOT);
    int a = tcp();
    SAY(connect(a, (void *)&lo, sizeof lo));
    waited(set, 4, 1000);
    waited(set, 4, 0);
    struct epoll_event e = { EPOLLIN | EPOLLONESHOT, { .u64 = 9 } };
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
    waited(set, 4, 1000);
    waited(set, 4, 0);
}

CASE(epoll_ctl_errors)
{
    int fd = server(), set = epoll_create1(0);
    struct epoll_event e = { EPOLLIN, { .u64 = 1 } };
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_DEL, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
    SAY(epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, (void *)8));
    SAY(epoll_ctl(set, 9, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, set, &e));
    SAY(epoll_ctl(fd, EPOLL_CTL_ADD, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, 700, &e));
    int file = open("/dev/null", O_RDONLY), regular = open("/proc/self/exe", O_RDONLY);
    (void)file;
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, regular, &e));
    e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    e.events = EPOLLIN | EPOLLEXCLUSIVE;
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_DEL, fd, &e));
}

CASE(epoll_wait_errors)
{
    int fd = server(), set = set_of(fd, EPOLLOUT);
    struct epoll_event e[4];
    char *edge;
    hole(&edge);
    SAY(epoll_wait(set, e, 0, 0));
    SAY(epoll_wait(set, e, -1, 0));
    SAY(epoll_wait(set, e, 0x7fffffff, 0));
    SAY(epoll_wait(set, (void *)8, 4, 0));
    SAY(epoll_wait(set, (void *)(edge - 4), 4, 0));
    SAY(epoll_wait(fd, e, 4, 0));
    SAY(epoll_wait(700, e, 4, 0));
    waited(set, 4, 0);
}

CASE(epoll_with_an_eventfd)
{
    int fd = server(), set = set_of(fd, EPOLLIN), bell = eventfd(0, EFD_NONBLOCK);
    uint64_t n = 1;
    struct epoll_event e = { EPOLLIN, { .u64 = 2 } };
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, bell, &e));
    waited(set, 4, 0);
    write(bell, &n, 8);
    waited(set, 4, 1000);
    read(bell, &n, 8);
    waited(set, 4, 0);
    peer("send 1");
    waited(set, 4, 1000);
}

CASE(epoll_with_a_timer)
{
    int fd = server(), set = set_of(fd, EPOLLIN), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event e = { EPOLLIN, { .u64 = 3 } };
    struct itimerspec t = { { 0, 0 }, { 0, 50000000 } };
    timerfd_settime(timer, 0, &t, NULL);
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, timer, &e));
    waited(set, 4, 3000);
}

CASE(epoll_with_a_busy_stream_and_a_pipe)
{
    /* A stream that is always ready does not hide the pipe. */
    int fd = server(), set = set_of(fd, EPOLLOUT), p[2], seen = 0;
    pipe(p);
    struct epoll_event e = { EPOLLIN, { .u64 = 4 } };
    epoll_ctl(set, EPOLL_CTL_ADD, p[0], &e);
    write(p[1], "x", 1);
    for (int i = 0; i < 200 && !seen; i++) {
        struct epoll_event got;
        seen = epoll_wait(set, &got, 1, 100) == 1 && got.data.u64 == 4;
    }
    SAY(seen);
}

CASE(epoll_takes_turns)
{
    int a = server(), set = set_of(a, EPOLLOUT), l, seen_a = 0, seen_b = 0;
    port++;
    l = listener();
    peer("connect %d", port);
    int b = accept(l, NULL, NULL);
    struct epoll_event e = { EPOLLOUT, { .u64 = 7 } };
    epoll_ctl(set, EPOLL_CTL_ADD, b, &e);
    for (int i = 0; i < 10; i++) {
        struct epoll_event got;
        SAY(epoll_wait(set, &got, 1, 100));
        if (got.data.u64 == 7)
            seen_b++;
        else
            seen_a++;
    }
    printf("%d %d\n", seen_a, seen_b);
}

CASE(epoll_close_removes)
{
    int fd = server(), set = set_of(fd, EPOLLIN | EPOLLOUT);
    close(fd);
    waited(set, 4, 0);
    int again = tcp();
    struct epoll_event e = { EPOLLIN, { .u64 = 1 } };
    SAY(again == fd);
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, again, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, again, &e));
}

CASE(epoll_dup_stays)
{
    int fd = server(), set = set_of(fd, EPOLLOUT), other = dup(fd);
    struct epoll_event e = { EPOLLOUT, { .u64 = 2 } };
    close(fd);
    waited(set, 4, 0);
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, other, &e));
    waited(set, 4, 0);
    close(other);
    waited(set, 4, 0);
}

CASE(epoll_before_connect)
{
    int fd = tcp(), set;
    struct sockaddr_in a = address(peer_ip, port);
    peer("listen %d", port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    set = set_of(fd, EPOLLIN | EPOLLOUT);
    waited(set, 4, 0);
    SAY(connect(fd, (void *)&a, sizeof a));
    ready(fd, POLLOUT);
    waited(set, 4, 1000);
    peer("accept");
    peer("send 2");
    ready(fd, POLLIN);
    waited(set, 4, 1000);
}

CASE(epoll_before_connect_edge)
{
    int fd = tcp(), set;
    struct sockaddr_in a = address(peer_ip, port);
    peer("listen %d", port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    set = set_of(fd, EPOLLIN | EPOLLOUT | EPOLLET);
    ready(fd, POLLOUT);
    waited(set, 4, 1000);
    waited(set, 4, 0);
}

CASE(epoll_refused)
{
    int fd = tcp(), set;
    struct sockaddr_in a = address(peer_ip, port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    set = set_of(fd, EPOLLIN | EPOLLOUT);
    ready(fd, POLLIN);
    waited(set, 4, 1000);
}

CASE(epoll_nested)
{
    int fd = server(), inner = set_of(fd, EPOLLIN), outer = set_of(inner, EPOLLIN);
    char b[8];
    waited(outer, 4, 0);
    peer("send 2");
    waited(outer, 4, 2000);
    waited(inner, 4, 0);
    events("poll", ready(inner, POLLIN));
    read(fd, b, 8);
    waited(outer, 4, 0);
    waited(inner, 4, 0);
}

CASE(epoll_in_poll)
{
    int fd = server(), set = set_of(fd, EPOLLIN);
    struct pollfd f = { set, POLLIN, 0 };
    SAY(poll(&f, 1, 0));
    peer("send 2");
    SAY(poll(&f, 1, 2000));
    printf("%x\n", f.revents & POLLIN);
}

static volatile int alarms;
static void on_alarm(int s)
{
    alarms += s == SIGALRM;
}

/* An alarm, and more of them at such intervals: one that comes before the call is not the last then. */
static void alarm_in(long us, long interval, int flags)
{
    struct sigaction act = { .sa_handler = on_alarm, .sa_flags = flags };
    struct itimerval t = { { 0, interval }, { 0, us } };
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
}

CASE(epoll_interrupted)
{
    int fd = server(), set = set_of(fd, EPOLLIN);
    struct epoll_event e;
    alarm_in(50000, 50000, 0);
    SAY(epoll_wait(set, &e, 1, 3000));
    printf("%d\n", alarms > 0);
    alarm_in(50000, 50000, SA_RESTART);
    SAY(epoll_wait(set, &e, 1, -1));
    printf("%d\n", alarms > 0);
}

CASE(epoll_pwait_mask)
{
    int fd = server(), set = set_of(fd, EPOLLIN);
    struct epoll_event e;
    sigset_t block, none;
    sigemptyset(&block);
    sigemptyset(&none);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    alarm_in(20000, 0, 0);
    SAY(epoll_wait(set, &e, 1, 60));
    printf("%d\n", alarms);
    SAY(epoll_pwait(set, &e, 1, 1000, &none));
    printf("%d\n", alarms);
    alarm_in(20000, 0, 0);
    SAY(epoll_pwait(set, &e, 1, 60, &block));
    printf("%d\n", alarms);
}

CASE(epoll_pwait2_timeout)
{
    int fd = server(), set = set_of(fd, EPOLLIN);
    struct epoll_event e;
    struct timespec t = { 0, 30000000 }, bad = { 0, 1000000000 };
    long begun = now_ms();
    SAY(epoll_pwait2(set, &e, 1, &t, NULL));
    long took = now_ms() - begun;
    printf("%d\n", took >= 29 && took < 15000);
    SAY(epoll_pwait2(set, &e, 1, &bad, NULL));
}

static void *write_later(void *pipe)
{
    usleep(50000);
    write(*(int *)pipe, "x", 1);
    return NULL;
}

CASE(epoll_many_streams)
{
    int set = epoll_create1(0), l = listener(), fds[20];
    for (int i = 0; i < 20; i++) {
        peer("connect %d", port);
        fds[i] = accept(l, NULL, NULL);
        struct epoll_event e = { EPOLLIN | EPOLLET, { .u32 = i } };
        epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &e);
    }
    waited(set, 16, 0);
    peer("send 3");
    ready(fds[19], POLLIN);
    waited(set, 16, 1000);
    for (int i = 0; i < 20; i++)
        close(fds[i]);
    waited(set, 16, 0);
}

CASE(epoll_blocked_while_a_pipe_wakes)
{
    int fd = server(), set = set_of(fd, EPOLLIN), p[2];
    pthread_t t;
    pipe(p);
    struct epoll_event e = { EPOLLIN, { .u64 = 8 } };
    epoll_ctl(set, EPOLL_CTL_ADD, p[0], &e);
    pthread_create(&t, NULL, write_later, &p[1]);
    waited(set, 4, -1);
    pthread_join(t, NULL);
}

static void *set_in_a_set_later(void *arg)
{
    int *f = arg;
    struct epoll_event e = { EPOLLIN, { .u64 = 3 } };
    usleep(50000);
    epoll_ctl(f[0], EPOLL_CTL_ADD, f[1], &e);
    return NULL;
}

CASE(epoll_nested_before_anything_is_in_it)
{
    int inner = epoll_create1(0), outer = set_of(inner, EPOLLIN), fd = server();
    pthread_t t;
    int both[2] = { inner, fd };
    waited(outer, 4, 0);
    peer("send 1");
    ready(fd, POLLIN);
    pthread_create(&t, NULL, set_in_a_set_later, both);
    waited(outer, 4, 3000);
    pthread_join(t, NULL);
    waited(inner, 4, 0);
}

CASE(epoll_nested_in_the_kernel_alone)
{
    int p[2], inner, outer;
    pipe(p);
    inner = set_of(p[0], EPOLLIN);
    outer = set_of(inner, EPOLLIN | EPOLLET);
    waited(outer, 4, 0);
    write(p[1], "x", 1);
    waited(outer, 4, 1000);
    waited(outer, 4, 0);
    waited(inner, 4, 0);
    struct epoll_event e = { EPOLLIN, { .u64 = 1 } };
    SAY(epoll_ctl(inner, EPOLL_CTL_ADD, outer, &e));
}
