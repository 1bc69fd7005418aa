/* Passive opens. */
#include "case.h"

CASE(accept_blocking)
{
    int fd = listener();
    SAY(peer("connect %d", port));
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    int conn = accept(fd, (void *)&a, &len);
    SAY(conn >= 0);
    char text[64];
    printf("%s %u\n", inet_ntop(AF_INET, &a.sin_addr, text, sizeof text), len);
    len = sizeof a;
    SAY(getsockname(conn, (void *)&a, &len));
    printf("%s %d\n", inet_ntop(AF_INET, &a.sin_addr, text, sizeof text), ntohs(a.sin_port) == port);
    SAY(peer("send 5"));
    char b[16];
    SAY(recv(conn, b, 16, MSG_WAITALL * 0));
}

CASE(accept_nonblocking)
{
    int fd = listener();
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(accept(fd, NULL, NULL));
    SAY(peer("connect %d", port));
    events("poll", ready(fd, POLLIN | POLLOUT));
    int conn = accept(fd, NULL, NULL);
    SAY(conn >= 0);
    SAY(accept(fd, NULL, NULL));
    SAY(fcntl(conn, F_GETFL) & O_NONBLOCK);
}

CASE(accept4_flags)
{
    int fd = listener();
    SAY(accept4(fd, NULL, NULL, 1));
    SAY(peer("connect %d", port));
    int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    SAY(conn >= 0);
    SAY(fcntl(conn, F_GETFL) & O_NONBLOCK);
    SAY(fcntl(conn, F_GETFD));
    char c;
    SAY(read(conn, &c, 1));
    close(conn);
    SAY(peer("eof"));
    SAY(peer("close"));
    SAY(peer("connect %d", port));
    conn = accept4(fd, NULL, NULL, 0);
    SAY(fcntl(conn, F_GETFL));
    SAY(fcntl(conn, F_GETFD));
}

CASE(accept_short_address)
{
    int fd = listener();
    peer("connect %d", port);
    struct sockaddr_in a;
    socklen_t len = 4;
    memset(&a, 0xff, sizeof a);
    SAY(accept(fd, (void *)&a, &len) >= 0);
    printf("%u %d %x\n", len, a.sin_family, a.sin_addr.s_addr);
}

CASE(accept_bad_address)
{
    int fd = listener();
    peer("connect %d", port);
    ready(fd, POLLIN);
    socklen_t len = sizeof(struct sockaddr_in);
    SAY(accept(fd, (void *)8, &len));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(accept(fd, NULL, NULL));
    SAY(peer("eof"));
}

CASE(accept_without_listen)
{
    int fd = tcp();
    struct sockaddr_in a = address(own_ip, port);
    SAY(accept(fd, NULL, NULL));
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(accept(fd, NULL, NULL));
    int u = udp();
    SAY(accept(u, NULL, NULL));
    SAY(listen(u, 1));
}

CASE(accept_inherits_options)
{
    int fd = tcp(), one = 1, value;
    socklen_t len = sizeof value;
    struct sockaddr_in a = address(own_ip, port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 4);
    look(fd);
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    SAY(getsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &value, &len));
    SAY(value);
    SAY(getsockopt(conn, SOL_SOCKET, SO_KEEPALIVE, &value, &len));
    SAY(value);
}

CASE(accept_timeout)
{
    int fd = listener();
    struct timeval t = { 0, 50000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    SAY(accept(fd, NULL, NULL));
}

CASE(listener_is_not_a_stream)
{
    int fd = listener();
    char c;
    struct sockaddr_in a = address(peer_ip, port);
    SAY(read(fd, &c, 1));
    SAY(send(fd, &c, 1, MSG_NOSIGNAL));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(listen(fd, 5));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLHUP) & 0);
}

CASE(listener_shut_down)
{
    int fd = listener();
    SAY(shutdown(fd, SHUT_RDWR));
    SAY(accept(fd, NULL, NULL));
    SAY(peer("connect %d", port));
}

CASE(connection_reset_before_accept)
{
    int fd = listener();
    peer("connect %d", port);
    ready(fd, POLLIN);
    peer("reset");
    usleep(50000);
    int conn = accept(fd, NULL, NULL);
    SAY(conn >= 0);
    char c;
    SAY(read(conn, &c, 1));
}

CASE(data_before_accept)
{
    int fd = listener();
    peer("connect %d", port);
    peer("send 1000");
    peer("shut");
    ready(fd, POLLIN);
    int conn = accept(fd, NULL, NULL);
    char b[2000];
    SAY(recv(conn, b, 2000, MSG_WAITALL));
    SAY(read(conn, b, 2000));
    SAY(write(conn, b, 1000));
    SAY(peer("recv 1000"));
}

CASE(listener_for_all_addresses)
{
    int fd = tcp();
    struct sockaddr_in a = address("0.0.0.0", port), b = address("127.0.0.1", port);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 8);
    look(fd);
    int local = tcp();
    SAY(connect(local, (void *)&b, sizeof b));
    events("poll", ready(fd, POLLIN));
    int first = accept(fd, NULL, NULL);
    SAY(first >= 0);
    SAY(peer("connect %d", port));
    events("poll", ready(fd, POLLIN));
    int second = accept(fd, NULL, NULL);
    SAY(second >= 0);
    SAY(write(local, "abcd", 4));
    char c[8];
    SAY(read(first, c, 8));
    SAY(peer("send 3"));
    SAY(read(second, c, 8));
}

CASE(close_by_number_of_the_call)
{
    int fd = listener();
    for (int i = 0; i < 3; i++) {
        SAY(peer("connect %d", port));
        int conn = accept(fd, NULL, NULL);
        SAY(conn >= 0);
        SAY(syscall(SYS_close, conn));
        SAY(peer("eof"));
        SAY(peer("close"));
        SAY(syscall(SYS_close, conn));
    }
}

#ifdef __x86_64__
CASE(accept_under_a_number_that_was_closed_past_libc)
{
    int fd = listener();
    for (int i = 0; i < 3; i++) {
        SAY(peer("connect %d", port));
        int conn = accept(fd, NULL, NULL);
        SAY(conn >= 0);
        long answer;
        __asm__ volatile("syscall" : "=a"(answer) : "a"(SYS_close), "D"(conn) : "rcx", "r11", "memory");
        SAY(answer);
        SAY(peer("close"));
    }
}
#endif

/* So Dovecot's login does it: its master sees that a client has come, and begins a process for it, which takes another user
 * and forbids itself threads before it accepts. */
CASE(a_child_that_may_have_no_threads_accepts)
{
    struct rlimit none = { 1, 1 };
    int l = listener(), status;
    SAY(peer("connect %d", port));
    SAY(ready(l, POLLIN));
    fflush(stdout);
    if (fork() == 0) {
        char b[8];
        SAY(setresuid(65534, 65534, 65534));
        SAY(setrlimit(RLIMIT_NPROC, &none));
        int c = accept(l, NULL, NULL);
        SAY(c >= 0);
        SAY(peer("send 5"));
        SAY(read(c, b, 8));
        SAY(write(c, "abc", 3));
        _exit(0);
    }
    SAY(wait(&status) > 0);
    SAY(WEXITSTATUS(status));
    SAY(peer("recv 3"));
    SAY(peer("eof"));
}
