/* splice, tee and vmsplice with sockets at either end. */
#include "case.h"

static void from_peer(int fd, int n)
{
    peer("send %d", n);
    for (int have = 0; have < n;) {
        usleep(1000);
        ioctl(fd, FIONREAD, &have);
    }
}

CASE(splice_from_a_stream)
{
    int fd = server(), p[2];
    char b[64] = "";
    pipe(p);
    from_peer(fd, 20);
    SAY(splice(fd, NULL, p[1], NULL, 12, 0));
    SAY(read(p[0], b, 64));
    printf("%.12s\n", b);
    SAY(splice(fd, NULL, p[1], NULL, 4096, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
    SAY(read(p[0], b, 64));
    printf("%.8s\n", b);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(splice(fd, NULL, p[1], NULL, 4096, SPLICE_F_NONBLOCK));
    peer("shut");
    ready(fd, POLLIN);
    SAY(splice(fd, NULL, p[1], NULL, 4096, SPLICE_F_NONBLOCK));
}

static void *later(void *unused)
{
    (void)unused;
    usleep(60000);
    peer("send 7");
    return NULL;
}

CASE(splice_waits_for_the_stream)
{
    int fd = server(), p[2];
    pthread_t t;
    pipe(p);
    pthread_create(&t, NULL, later, NULL);
    SAY(splice(fd, NULL, p[1], NULL, 4096, 0));
    pthread_join(t, NULL);
}

CASE(splice_into_a_full_pipe)
{
    int fd = server(), p[2];
    static char b[65536];
    pipe(p);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    fcntl(p[1], F_SETFL, O_NONBLOCK);
    while (write(p[1], b, sizeof b) > 0)
        ;
    from_peer(fd, 10);
    SAY(splice(fd, NULL, p[1], NULL, 10, SPLICE_F_NONBLOCK));
    int queued = 0;
    SAY(ioctl(fd, FIONREAD, &queued));
    printf("%d\n", queued);
    while (read(p[0], b, sizeof b) > 0)
        ;
    SAY(splice(fd, NULL, p[1], NULL, 10, SPLICE_F_NONBLOCK));
    SAY(read(p[0], b, sizeof b));
    printf("%.10s\n", b);
}

CASE(splice_into_a_pipe_that_nobody_reads)
{
    int fd = server(), p[2];
    signal(SIGPIPE, SIG_IGN);
    pipe(p);
    close(p[0]);
    from_peer(fd, 10);
    SAY(splice(fd, NULL, p[1], NULL, 10, 0));
}

CASE(splice_to_a_stream)
{
    int fd = server(), p[2];
    pipe(p);
    write(p[1], "0123456789", 10);
    SAY(splice(p[0], NULL, fd, NULL, 4, 0));
    SAY(peer("recv 4"));
    SAY(splice(p[0], NULL, fd, NULL, 4096, SPLICE_F_MORE));
    SAY(splice(p[0], NULL, fd, NULL, 4096, SPLICE_F_NONBLOCK));
    write(p[1], "abc", 3);
    SAY(splice(p[0], NULL, fd, NULL, 3, 0));
    SAY(peer("recv 9"));
    close(p[1]);
    SAY(splice(p[0], NULL, fd, NULL, 4096, 0));
}

static void *write_later(void *fd)
{
    usleep(60000);
    write(*(int *)fd, "abcde", 5);
    return NULL;
}

CASE(splice_waits_for_the_pipe)
{
    int fd = server(), p[2];
    pthread_t t;
    pipe(p);
    pthread_create(&t, NULL, write_later, &p[1]);
    SAY(splice(p[0], NULL, fd, NULL, 4096, 0));
    pthread_join(t, NULL);
    SAY(peer("recv 5"));
}

CASE(splice_from_stream_to_stream_through_a_pipe)
{
    int in = server(), p[2];
    /* The peer has one connection: what it sent comes back on it. */
    pipe(p);
    peer("quiet");
    peer("send 60000");
    long moved = 0;
    while (moved < 60000) {
        long n = splice(in, NULL, p[1], NULL, 65536, SPLICE_F_MOVE);
        if (n <= 0)
            break;
        for (long out = 0; out < n;) {
            long m = splice(p[0], NULL, in, NULL, n - out, SPLICE_F_MOVE);
            if (m <= 0)
                exit(4);
            out += m;
        }
        moved += n;
    }
    printf("%ld\n", moved);
    SAY(peer("recv 60000"));
}

CASE(splice_refuses)
{
    int fd = server(), p[2], file = open("/dev/zero", O_RDONLY);
    loff_t at = 0;
    pipe(p);
    write(p[1], "abc", 3);
    from_peer(fd, 3);
    SAY(splice(fd, &at, p[1], NULL, 3, 0));
    SAY(splice(fd, NULL, p[1], &at, 3, 0));
    SAY(splice(p[0], NULL, fd, &at, 3, 0));
    SAY(splice(p[0], &at, fd, NULL, 3, 0));
    SAY(splice(fd, NULL, fd, NULL, 3, 0));
    SAY(splice(file, NULL, fd, NULL, 3, 0));
    SAY(splice(fd, NULL, p[1], NULL, 3, 0x100));
    SAY(splice(fd, NULL, p[1], NULL, 0, 0));
    SAY(splice(fd, NULL, 900, NULL, 3, 0));
    SAY(splice(900, NULL, fd, NULL, 3, 0));
}

CASE(tee_and_vmsplice_are_for_pipes)
{
    int fd = server(), p[2];
    struct iovec v = { "abc", 3 };
    pipe(p);
    write(p[1], "abc", 3);
    SAY(tee(fd, p[1], 3, 0));
    SAY(tee(p[0], fd, 3, 0));
    SAY(vmsplice(fd, &v, 1, 0));
    SAY(vmsplice(p[1], &v, 1, 0));
}

CASE(sendfile_from_a_stream)
{
    int fd = server(), p[2];
    off_t at = 0;
    char b[8] = "";
    pipe(p);
    from_peer(fd, 5);
    SAY(sendfile(p[1], fd, NULL, 3));
    SAY(read(p[0], b, 8));
    printf("%s\n", b);
    SAY(sendfile(p[1], fd, &at, 3));
    SAY(sendfile(1, fd, NULL, 0));
    SAY(sendfile(fd, fd, NULL, 3));
    SAY(copy_file_range(fd, NULL, p[1], NULL, 3, 0));
}
