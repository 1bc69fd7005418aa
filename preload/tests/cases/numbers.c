/* Calls by their numbers: what `syscall` does is what the function of the name does. */
#include "case.h"

#define KERNEL_MASK 8

CASE(number_of_every_call_on_a_stream)
{
    struct sockaddr_in a = address(own_ip, port), who;
    socklen_t len = sizeof who;
    int one = 1, value = 0;
    char b[16];
    int l = syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    SAY(syscall(SYS_setsockopt, l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    SAY(syscall(SYS_bind, l, &a, sizeof a));
    SAY(syscall(SYS_listen, l, 8));
    struct pollfd p = { l, POLLIN, 0 };
    SAY(syscall(SYS_poll, &p, 1, 0));
    peer("connect %d", port);
    int fd = syscall(SYS_accept4, l, &who, &len, 0);
    printf("%d %s\n", len, inet_ntoa(who.sin_addr));
    SAY(syscall(SYS_getsockname, fd, &who, &len));
    printf("%d\n", ntohs(who.sin_port) == port);
    SAY(syscall(SYS_getpeername, fd, &who, &len));
    SAY(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &value, &len));
    printf("%d\n", value);
    SAY(syscall(SYS_write, fd, "one", 3));
    SAY(syscall(SYS_sendto, fd, "two", 3, 0, NULL, 0));
    struct iovec v[] = { { "three", 5 }, { "four", 4 } };
    SAY(syscall(SYS_writev, fd, v, 2));
    SAY(syscall(SYS_pwritev2, fd, v, 2, -1L, -1L, 0));
    struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
    SAY(syscall(SYS_sendmsg, fd, &m, 0));
    SAY(peer("recv 33"));
    peer("send 12");
    ready(fd, POLLIN);
    SAY(syscall(SYS_ioctl, fd, FIONREAD, &value));
    printf("%d\n", value);
    SAY(syscall(SYS_read, fd, b, 2));
    SAY(syscall(SYS_recvfrom, fd, b, 2, 0, NULL, NULL));
    struct iovec to[] = { { b, 1 }, { b + 1, 1 } };
    SAY(syscall(SYS_readv, fd, to, 2));
    SAY(syscall(SYS_preadv2, fd, to, 2, -1L, -1L, 0));
    m.msg_iov = to;
    SAY(syscall(SYS_recvmsg, fd, &m, 0));
    SAY(syscall(SYS_fcntl, fd, F_GETFL, 0) & O_NONBLOCK);
    SAY(syscall(SYS_fcntl, fd, F_SETFL, O_NONBLOCK));
    SAY(syscall(SYS_read, fd, b, 16));
    SAY(syscall(SYS_read, fd, b, 16));
    int copy = syscall(SYS_dup, fd);
    SAY(syscall(SYS_close, fd));
    SAY(syscall(SYS_write, copy, "five", 4));
    SAY(peer("recv 4"));
    SAY(syscall(SYS_dup3, copy, 100, 0));
    SAY(syscall(SYS_close, copy));
    SAY(syscall(SYS_shutdown, 100, SHUT_WR));
    SAY(peer("eof"));
    SAY(syscall(SYS_close, 100));
    SAY(syscall(SYS_read, 100, b, 1));
}

CASE(number_of_every_wait)
{
    int fd = server();
    sigset_t none;
    sigemptyset(&none);
    struct timespec short_time = { 0, 2000000 };
    struct { void *mask; size_t size; } six = { &none, KERNEL_MASK };
    struct pollfd p = { fd, POLLIN, 0 };
    int set = syscall(SYS_epoll_create1, 0);
    struct epoll_event e = { EPOLLIN, { .u64 = 9 } }, got;
    fd_set in;
    SAY(syscall(SYS_epoll_ctl, set, EPOLL_CTL_ADD, fd, &e));
    SAY(syscall(SYS_epoll_wait, set, &got, 1, 0));
    SAY(syscall(SYS_ppoll, &p, 1, &short_time, &none, KERNEL_MASK));
    peer("send 3");
    SAY(syscall(SYS_poll, &p, 1, 2000));
    SAY(syscall(SYS_ppoll, &p, 1, NULL, &none, KERNEL_MASK));
    SAY(syscall(SYS_ppoll, &p, 1, NULL, &none, 128));
    SAY(syscall(SYS_epoll_wait, set, &got, 1, 2000));
    printf("%llx\n", (unsigned long long)got.data.u64);
    SAY(syscall(SYS_epoll_pwait, set, &got, 1, 2000, &none, KERNEL_MASK));
    SAY(syscall(SYS_epoll_pwait, set, &got, 1, 2000, NULL, 0));
    SAY(syscall(SYS_epoll_pwait2, set, &got, 1, NULL, &none, KERNEL_MASK));
    FD_ZERO(&in);
    FD_SET(fd, &in);
    SAY(syscall(SYS_pselect6, fd + 1, &in, NULL, NULL, NULL, &six));
    printf("%d\n", !!FD_ISSET(fd, &in));
    SAY(syscall(SYS_select, fd + 1, &in, NULL, NULL, NULL));
    six.size = 16;
    SAY(syscall(SYS_pselect6, fd + 1, &in, NULL, NULL, NULL, &six));
}

CASE(number_of_connect_and_sendfile)
{
    int fd = syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), p[2];
    struct sockaddr_in a = address(peer_ip, port);
    char name[] = "/tmp/ringroad-case-XXXXXX";
    int file = mkstemp(name);
    unlink(name);
    write(file, "0123456789", 10);
    lseek(file, 0, SEEK_SET);
    peer("listen %d", port);
    SAY(syscall(SYS_connect, fd, &a, sizeof a));
    peer("accept");
    SAY(syscall(SYS_sendfile, fd, file, NULL, 10L));
    SAY(peer("recv 10"));
    pipe(p);
    write(p[1], "abc", 3);
    SAY(syscall(SYS_splice, p[0], NULL, fd, NULL, 3L, 0));
    SAY(peer("recv 3"));
    SAY(syscall(SYS_close_range, fd, fd, 0));
    SAY(peer("eof"));
}

CASE(number_of_what_does_not_concern_sockets)
{
    char b[4] = "abc", c[4] = "";
    int p[2];
    pipe(p);
    SAY(syscall(SYS_write, p[1], b, 3));
    SAY(syscall(SYS_read, p[0], c, 3));
    printf("%s\n", c);
    SAY(syscall(SYS_getpid) == getpid());
    SAY(syscall(SYS_close, p[0]));
    SAY(syscall(SYS_close, p[0]));
    SAY(syscall(100000));
}

/* Names that libc keeps for old programs. */
ssize_t __read(int, void *, size_t), __write(int, const void *, size_t), __send(int, const void *, size_t, int);
int __close(int), __connect(int, const struct sockaddr *, socklen_t), __dup2(int, int), __poll(struct pollfd *, nfds_t, int);
int __select(int, fd_set *, fd_set *, fd_set *, struct timeval *), __fcntl(int, int, ...);

CASE(names_with_underscores)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    char b[8];
    peer("listen %d", port);
    SAY(__connect(fd, (void *)&a, sizeof a));
    peer("accept");
    SAY(__write(fd, "abc", 3));
    SAY(__send(fd, "de", 2, 0));
    SAY(peer("recv 5"));
    peer("send 4");
    struct pollfd p = { fd, POLLIN, 0 };
    SAY(__poll(&p, 1, 2000));
    fd_set in;
    FD_ZERO(&in);
    FD_SET(fd, &in);
    SAY(__select(fd + 1, &in, NULL, NULL, NULL));
    SAY(__read(fd, b, 8));
    SAY(__fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(__read(fd, b, 8));
    SAY(__dup2(fd, 90));
    SAY(__close(fd));
    SAY(__write(90, "abc", 3));
    SAY(peer("recv 3"));
}

/* Fortified forms, as a compiler makes them of plain calls. */
ssize_t __read_chk(int, void *, size_t, size_t), __recv_chk(int, void *, size_t, size_t, int),
    __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
int __poll_chk(struct pollfd *, nfds_t, int, size_t),
    __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
long __fdelt_chk(long);

CASE(fortified_forms)
{
    int fd = server();
    char b[16];
    struct pollfd p = { fd, POLLIN, 0 };
    peer("send 9");
    SAY(__poll_chk(&p, 1, 2000, sizeof p));
    SAY(__ppoll_chk(&p, 1, NULL, NULL, sizeof p));
    SAY(__read_chk(fd, b, 3, sizeof b));
    SAY(__recv_chk(fd, b, 3, sizeof b, 0));
    SAY(__recvfrom_chk(fd, b, 3, sizeof b, 0, NULL, NULL));
    SAY(__fdelt_chk(70));
}

CASE(flags_of_preadv2_and_pwritev2)
{
    int fd = server();
    char b[8];
    struct iovec v = { b, 8 };
    SAY(preadv2(fd, &v, 1, -1, 8 /* RWF_NOWAIT */));
    SAY(pwritev2(fd, &v, 1, -1, 8));
    SAY(pwritev2(fd, &v, 1, -1, 2 | 4 | 16 /* RWF_DSYNC, RWF_SYNC, RWF_APPEND */));
    SAY(peer("recv 16"));
    SAY(preadv2(fd, &v, 1, 0, 0));
    SAY(pwritev2(fd, &v, 1, 0, 0));
    SAY(preadv2(fd, &v, 1, -1, 0x4000));
    SAY(pread(fd, b, 8, 0));
    peer("send 8");
    ready(fd, POLLIN);
    SAY(preadv2(fd, &v, 1, -1, 8));
}

CASE(fexecve_and_execvpe_run_programs)
{
    extern char **environ;
    int p[2], status;
    char b[64] = "";
    server();
    for (int way = 0; way < 3; way++) {
        char *args[] = { "echo", "hello", NULL };
        pipe(p);
        pid_t child = way == 2 ? vfork() : fork();
        if (child == 0) {
            dup2(p[1], 1);
            close(p[0]);
            close(p[1]);
            if (way == 0)
                fexecve(open("/bin/echo", O_RDONLY | O_CLOEXEC), args, environ);
            else
                execvpe("echo", args, environ);
            _exit(9);
        }
        close(p[1]);
        SAY(read(p[0], b, sizeof b));
        waitpid(child, &status, 0);
        printf("%.5s %d\n", b, WEXITSTATUS(status));
        close(p[0]);
    }
}
