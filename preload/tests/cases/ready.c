/* poll and select. */
#include "case.h"

CASE(poll_mix)
{
    int fd = server(), p[2];
    pipe(p);
    struct pollfd f[] = { { fd, POLLIN, 0 }, { p[0], POLLIN, 0 }, { -1, POLLIN, 99 }, { p[1], POLLOUT, 0 } };
    SAY(poll(f, 4, 0));
    write(p[1], "x", 1);
    SAY(poll(f, 4, 1000));
    printf("%x %x %x %x\n", f[0].revents, f[1].revents, f[2].revents, f[3].revents);
    peer("send 2");
    ready(fd, POLLIN);
    f[3].events = 0;
    SAY(poll(f, 4, 1000));
    printf("%x %x %x %x\n", f[0].revents, f[1].revents, f[2].revents, f[3].revents);
}

CASE(poll_waits_for_the_stream)
{
    int fd = server(), p[2];
    pipe(p);
    struct pollfd f[] = { { p[0], POLLIN, 0 }, { fd, POLLIN, 0 } };
    SAY(peer("send 1"));
    SAY(poll(f, 2, -1));
    printf("%x %x\n", f[0].revents, f[1].revents);
}

CASE(poll_waits_for_the_pipe)
{
    int fd = server(), p[2];
    pipe(p);
    struct pollfd f[] = { { p[0], POLLIN, 0 }, { fd, POLLIN, 0 } };
    if (fork() == 0) {
        usleep(60000);
        write(p[1], "x", 1);
        _exit(0);
    }
    SAY(poll(f, 2, 3000));
    printf("%x %x\n", f[0].revents, f[1].revents);
}

CASE(poll_times_out)
{
    int fd = server();
    struct pollfd f = { fd, POLLIN, 99 };
    long begun = now_ms();
    SAY(poll(&f, 1, 60));
    long took = now_ms() - begun;
    printf("%d %d\n", f.revents, took >= 59 && took < 15000);
}

CASE(poll_of_a_closed_descriptor)
{
    int fd = server(), gone = dup(fd);
    close(gone);
    struct pollfd f[] = { { gone, POLLIN, 0 }, { fd, POLLIN, 0 } };
    SAY(poll(f, 2, 1000));
    printf("%x %x\n", f[0].revents, f[1].revents);
}

CASE(poll_bad_arguments)
{
    int fd = server();
    struct pollfd f = { fd, POLLIN, 0 };
    SAY(poll((void *)8, 1, 0));
    SAY(poll(&f, 100000000, 0));
    SAY(poll(NULL, 0, 1));
    struct timespec t = { 0, 2000000000 };
    SAY(ppoll(&f, 1, &t, NULL));
}

CASE(poll_same_descriptor_twice)
{
    int fd = server();
    struct pollfd f[] = { { fd, POLLIN, 0 }, { fd, POLLOUT, 0 } };
    SAY(poll(f, 2, 1000));
    printf("%x %x\n", f[0].revents, f[1].revents);
}

CASE(poll_after_both_ends_closed)
{
    int fd = server();
    shutdown(fd, SHUT_WR);
    peer("eof");
    peer("close");
    ready(fd, POLLHUP);
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    events("poll", ready(fd, 0));
}

CASE(select_reads_and_writes)
{
    int fd = server(), p[2];
    pipe(p);
    fd_set r, w, e;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_ZERO(&e);
    FD_SET(fd, &r);
    FD_SET(p[0], &r);
    FD_SET(fd, &w);
    FD_SET(fd, &e);
    int top = (fd > p[0] ? fd : p[0]) + 1;
    SAY(select(top, &r, &w, &e, NULL));
    printf("%d %d %d %d\n", !!FD_ISSET(fd, &r), !!FD_ISSET(p[0], &r), !!FD_ISSET(fd, &w), !!FD_ISSET(fd, &e));
    write(p[1], "x", 1);
    peer("send 1");
    ready(fd, POLLIN);
    FD_SET(fd, &r);
    FD_SET(p[0], &r);
    struct timeval t = { 100, 0 };
    SAY(select(top, &r, NULL, NULL, &t));
    printf("%d %d %d\n", !!FD_ISSET(fd, &r), !!FD_ISSET(p[0], &r), t.tv_sec >= 50 && t.tv_sec < 100);
}

CASE(select_times_out)
{
    int fd = server();
    fd_set r;
    FD_ZERO(&r);
    FD_SET(fd, &r);
    struct timeval t = { 0, 50000 };
    SAY(select(fd + 1, &r, NULL, NULL, &t));
    printf("%d %ld %ld\n", !!FD_ISSET(fd, &r), (long)t.tv_sec, (long)t.tv_usec);
}

CASE(select_bad_arguments)
{
    int fd = server();
    fd_set r;
    FD_ZERO(&r);
    FD_SET(fd, &r);
    FD_SET(fd + 50, &r);
    SAY(select(fd + 51, &r, NULL, NULL, NULL));
    SAY(select(-1, &r, NULL, NULL, NULL));
    SAY(select(fd + 1, (void *)8, NULL, NULL, NULL));
    struct timeval t = { -1, 0 };
    FD_CLR(fd + 50, &r);
    SAY(select(fd + 1, &r, NULL, NULL, &t));
}

CASE(pselect_and_ppoll)
{
    int fd = server();
    peer("send 1");
    fd_set r;
    FD_ZERO(&r);
    FD_SET(fd, &r);
    struct timespec t = { 2, 0 };
    sigset_t none;
    sigemptyset(&none);
    SAY(pselect(fd + 1, &r, NULL, NULL, &t, &none));
    printf("%ld\n", (long)t.tv_sec);
    struct pollfd f = { fd, POLLIN, 0 };
    SAY(ppoll(&f, 1, &t, &none));
    printf("%x\n", f.revents);
}

CASE(select_looks_past_fd_setsize)
{
    enum { HIGH = 1500 };
    /* Of the size that the kernel is told. */
    unsigned long sets[3][(HIGH + 64) / 64 + 1] = { 0 };
    struct rlimit most;
    struct timeval soon = { 0, 20000 }, long_after = { 20, 0 };
    int fd = server();
    getrlimit(RLIMIT_NOFILE, &most);
    if (most.rlim_cur <= HIGH) {
        most.rlim_cur = HIGH + 1;
        setrlimit(RLIMIT_NOFILE, &most);
    }
    SAY(dup2(fd, HIGH));
    sets[0][HIGH / 64] = sets[1][HIGH / 64] = sets[2][HIGH / 64] = 1ul << HIGH % 64;
    SAY(select(HIGH + 1, (void *)sets[0], (void *)sets[1], (void *)sets[2], &soon));
    SAY(sets[0][HIGH / 64] != 0);
    SAY(sets[1][HIGH / 64] != 0);
    SAY(sets[2][HIGH / 64] != 0);
    sets[0][HIGH / 64] = 1ul << HIGH % 64;
    SAY(select(HIGH + 1, (void *)sets[0], NULL, NULL, &soon));
    sets[0][HIGH / 64] = 1ul << HIGH % 64;
    peer("send 3");
    SAY(select(HIGH + 1, (void *)sets[0], NULL, NULL, &long_after));
    SAY(sets[0][HIGH / 64] != 0);
    /* Those below are not asked for. */
    sets[0][HIGH / 64] = 1ul << HIGH % 64;
    SAY(select(HIGH, (void *)sets[0], NULL, NULL, &soon));
}
