/* Sets and descriptors that several threads, processes or numbers share. */
#include "case.h"

static int set_of(int fd, int wanted)
{
    int set = epoll_create1(0);
    struct epoll_event e = { wanted, { .u64 = 5 } };
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    return set;
}

CASE(epoll_exclusive)
{
    int fd = server(), set = epoll_create1(0);
    struct epoll_event e = { EPOLLIN | EPOLLEXCLUSIVE, { .u64 = 5 } };
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, fd, &e));
    peer("send 1");
    waited(set, 4, 2000);
    e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
    SAY(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &e));
    e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP;
    SAY(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &e));
    e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLET;
    SAY(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &e));
    int inner = epoll_create1(0);
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, inner, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_DEL, fd, &e));
    waited(set, 4, 0);
}

CASE(epoll_exclusive_listener)
{
    int l = listener(), one = set_of(l, EPOLLIN | EPOLLEXCLUSIVE), two = set_of(l, EPOLLIN | EPOLLEXCLUSIVE);
    peer("connect %d", port);
    ready(l, POLLIN);
    waited(one, 4, 2000);
    waited(two, 4, 2000);
    SAY(accept(l, NULL, NULL) >= 0);
    waited(one, 4, 0);
    waited(two, 4, 0);
}

CASE(epoll_rdhup)
{
    int fd = server(), set = set_of(fd, EPOLLRDHUP), both = set_of(fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
    waited(set, 4, 0);
    peer("send 3");
    waited(both, 4, 2000);
    waited(set, 4, 0);
    peer("shut");
    waited(set, 4, 2000);
    waited(both, 4, 2000);
    waited(both, 4, 0);
    waited(set, 4, 0);
    char b[8];
    SAY(read(fd, b, 8));
    SAY(read(fd, b, 8));
    waited(set, 4, 0);
    shutdown(fd, SHUT_WR);
    waited(set, 4, 2000);
}

CASE(epoll_set_known_by_two_numbers)
{
    int fd = server(), set = set_of(fd, EPOLLIN), again = dup(set);
    struct epoll_event e = { EPOLLIN, { .u64 = 6 } };
    peer("send 1");
    waited(again, 4, 2000);
    SAY(epoll_ctl(again, EPOLL_CTL_ADD, fd, &e));
    SAY(epoll_ctl(again, EPOLL_CTL_MOD, fd, &e));
    SAY(close(set));
    waited(again, 4, 2000);
    SAY(dup2(again, 120));
    close(again);
    waited(120, 4, 2000);
    SAY(fcntl(120, F_DUPFD_CLOEXEC, 130));
    waited(130, 4, 2000);
}

CASE(epoll_both_numbers_of_a_connection)
{
    int fd = server(), copy = dup(fd), set = set_of(fd, EPOLLIN);
    struct epoll_event e = { EPOLLIN, { .u64 = 7 } };
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, copy, &e));
    peer("send 1");
    struct epoll_event got[4];
    for (int i = 0; i < 100 && epoll_wait(set, got, 4, 20) != 2; i++)
        ;
    SAY(epoll_wait(set, got, 4, 1000));
    close(fd);
    SAY(epoll_wait(set, got, 4, 1000));
    close(copy);
    SAY(epoll_wait(set, got, 4, 0));
}

static int shared_fd, shared_set;

static void *receiver(void *unused)
{
    char b[64];
    (void)unused;
    return (void *)(long)recv(shared_fd, b, sizeof b, 0);
}

CASE(closed_while_another_thread_reads)
{
    pthread_t t;
    void *n = NULL;
    shared_fd = server();
    pthread_create(&t, NULL, receiver, NULL);
    usleep(300000);
    SAY(close(shared_fd));
    usleep(20000);
    /* The call that runs keeps the connection. */
    peer("send 6");
    pthread_join(t, &n);
    printf("%ld\n", (long)n);
    SAY(peer("eof"));
}

static void *waiter(void *unused)
{
    struct epoll_event e = { 0, { .u64 = 0 } };
    (void)unused;
    long n = epoll_wait(shared_set, &e, 1, 1500);
    return (void *)(n < 0 ? -errno : n * 100 + (long)e.data.u64);
}

CASE(epoll_closed_while_another_thread_waits_for_it)
{
    pthread_t t;
    void *n = NULL;
    int fd = server();
    shared_set = set_of(fd, EPOLLIN);
    pthread_create(&t, NULL, waiter, NULL);
    usleep(50000);
    SAY(close(fd));
    SAY(peer("eof"));
    pthread_join(t, &n);
    printf("%ld\n", (long)n);
}

static void *poller(void *unused)
{
    struct pollfd p = { shared_fd, POLLIN, 0 };
    (void)unused;
    long n = poll(&p, 1, 1500);
    return (void *)(n * 100000 + p.revents);
}

CASE(polled_by_another_thread_and_shut_down)
{
    pthread_t t;
    void *n = NULL;
    shared_fd = server();
    pthread_create(&t, NULL, poller, NULL);
    usleep(50000);
    SAY(shutdown(shared_fd, SHUT_RDWR));
    pthread_join(t, &n);
    printf("%lx\n", (long)n);
}

CASE(accept_in_one_thread_listener_shut_down_by_another)
{
    shared_fd = listener();
    if (fork() == 0) {
        usleep(100);
        _exit(0);
    }
    wait(NULL);
    struct epoll_event e;
    int set = set_of(shared_fd, EPOLLIN);
    SAY(shutdown(shared_fd, SHUT_RDWR));
    waited(set, 4, 2000);
    (void)e;
    SAY(accept(shared_fd, NULL, NULL));
}

CASE(timeouts_are_never_short)
{
    int fd = server(), set = set_of(fd, EPOLLIN), early = 0;
    struct timespec t = { 0, 300000 }, begun, over;
    struct timeval v;
    sigset_t none;
    sigemptyset(&none);
    for (int way = 0; way < 4; way++)
        for (int i = 0; i < 50; i++) {
            struct pollfd p = { fd, POLLIN, 0 };
            struct epoll_event e;
            fd_set s;
            FD_ZERO(&s);
            FD_SET(fd, &s);
            v = (struct timeval){ 0, 300 };
            clock_gettime(CLOCK_MONOTONIC, &begun);
            int n = way == 0   ? ppoll(&p, 1, &t, NULL)
                    : way == 1 ? epoll_pwait2(set, &e, 1, &t, NULL)
                    : way == 2 ? select(fd + 1, &s, NULL, NULL, &v)
                               : pselect(fd + 1, &s, NULL, NULL, &t, &none);
            clock_gettime(CLOCK_MONOTONIC, &over);
            long us = (over.tv_sec - begun.tv_sec) * 1000000 + (over.tv_nsec - begun.tv_nsec) / 1000;
            early += n != 0 || us < 300;
        }
    printf("%d too early\n", early);
}

CASE(a_set_made_before_fork_serves_the_child)
{
    int l = listener(), set = epoll_create1(0);
    (void)l;
    int status;
    pid_t child = fork();
    if (child == 0) {
        port++;
        int fd = tcp();
        struct sockaddr_in a = address(own_ip, port);
        struct epoll_event e = { EPOLLIN, { .u64 = 8 } }, got;
        bind(fd, (void *)&a, sizeof a);
        listen(fd, 4);
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
        epoll_wait(set, &got, 1, 0);
        peer("connect %d", port);
        int n = epoll_wait(set, &got, 1, 3000);
        int conn = accept(fd, NULL, NULL);
        _exit(n == 1 && got.data.u64 == 8 && conn >= 0 && write(conn, "abc", 3) == 3 && peer("recv 3") == 3 ? 0 : 7);
    }
    waitpid(child, &status, 0);
    printf("%d\n", WEXITSTATUS(status));
}

enum { COMES = 77, ENDS };

/* Serves what comes by a set that others wait for as well. What it is told of anything else, it counts. */
static void serve_together(int set, int l)
{
    struct epoll_event got;
    int strange = 0, conn;
    while (epoll_wait(set, &got, 1, 20000) == 1 && got.data.u64 != ENDS) {
        strange += got.data.u64 != COMES || got.events != EPOLLIN;
        while ((conn = accept(l, NULL, NULL)) >= 0) {
            write(conn, "abc", 3);
            close(conn);
        }
    }
    _exit(strange);
}

/* A client of this host, past any road. */
static int comes_from_here(void)
{
    struct sockaddr_in a = address("127.0.0.1", port);
    char b[8];
    int fd = tcp();
    if (connect(fd, (void *)&a, sizeof a) < 0)
        return -errno;
    int n = recv(fd, b, sizeof b, MSG_WAITALL);
    close(fd);
    return n;
}

static void wait_together(int how)
{
    int l = tcp(), set = epoll_create1(0), p[2], status;
    pid_t children[3];
    struct sockaddr_in any = address("0.0.0.0", port);
    struct epoll_event e = { EPOLLIN | how, { .u64 = COMES } }, end = { EPOLLIN, { .u64 = ENDS } };
    pipe(p);
    fcntl(l, F_SETFL, O_NONBLOCK);
    bind(l, (void *)&any, sizeof any);
    listen(l, 16);
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, l, &e));
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, p[0], &end));
    for (int n = 0; n < 3; n++)
        if ((children[n] = fork()) == 0)
            serve_together(set, l);
    for (int n = 0; n < 4; n++) {
        SAY(comes_from_here());
        SAY(peer("connect %d", port) >= 0);
        SAY(peer("recv 3"));
        SAY(peer("close") >= 0);
    }
    write(p[1], "", 1);
    for (int n = 0; n < 3; n++) {
        waitpid(children[n], &status, 0);
        printf("%d\n", status);
    }
}

CASE(a_listener_that_was_put_in_before_fork_is_served_by_all)
{
    wait_together(0);
}

CASE(a_listener_that_was_put_in_before_fork_wakes_one_alone)
{
    wait_together(EPOLLEXCLUSIVE);
}

CASE(what_a_parent_adds_after_fork_is_seen_by_its_child)
{
    int set = epoll_create1(0), p[2], told[2], status;
    struct epoll_event e = { EPOLLIN, { .u64 = 5 } }, got = { 0 };
    server();
    pipe(p);
    pipe(told);
    pid_t child = fork();
    if (child == 0) {
        write(told[1], "x", 1);
        int n = epoll_wait(set, &got, 1, 20000);
        _exit(n == 1 && got.data.u64 == 6 ? 0 : 7);
    }
    char c;
    read(told[0], &c, 1);
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, p[0], &e));
    e.data.u64 = 6;
    SAY(epoll_ctl(set, EPOLL_CTL_MOD, p[0], &e));
    write(p[1], "x", 1);
    waitpid(child, &status, 0);
    printf("%d\n", status);
}
