/* Descriptors, their flags, and options. */
#include "case.h"

CASE(nonblocking_is_shared_by_dups)
{
    int fd = server(), other = dup(fd);
    char c;
    SAY(fcntl(other, F_SETFL, O_NONBLOCK));
    SAY(fcntl(fd, F_GETFL) & O_NONBLOCK);
    SAY(read(fd, &c, 1));
    int off = 0;
    SAY(ioctl(fd, FIONBIO, &off));
    SAY(fcntl(other, F_GETFL) & O_NONBLOCK);
    SAY(ioctl(fd, FIONBIO, (void *)8));
}

CASE(nonblocking_is_not_shared_by_connections)
{
    int l = listener();
    peer("connect %d", port);
    int a = accept(l, NULL, NULL);
    peer("connect %d", port);
    int b = accept(l, NULL, NULL);
    fcntl(a, F_SETFL, O_NONBLOCK);
    SAY(fcntl(a, F_GETFL) & O_NONBLOCK);
    SAY(fcntl(b, F_GETFL) & O_NONBLOCK);
    SAY(fcntl(l, F_GETFL) & O_NONBLOCK);
}

CASE(dup_keeps_the_connection)
{
    int fd = server(), other = dup(fd);
    char b[8];
    close(fd);
    SAY(write(other, "abc", 3));
    SAY(peer("recv 3"));
    SAY(peer("send 2"));
    SAY(read(other, b, 8));
    close(other);
    SAY(peer("eof"));
}

CASE(dup2_closes_what_was_there)
{
    int fd = server(), p[2];
    pipe(p);
    SAY(dup2(p[0], fd) == fd);
    SAY(peer("eof"));
    write(p[1], "x", 1);
    char c;
    SAY(read(fd, &c, 1));
}

CASE(dup2_onto_a_plain_descriptor)
{
    int fd = server(), p[2];
    pipe(p);
    SAY(dup2(fd, p[0]) == p[0]);
    SAY(dup2(fd, fd) == fd);
    SAY(dup3(fd, fd, 0));
    SAY(dup3(fd, p[1], 77));
    SAY(dup3(fd, p[1], O_CLOEXEC) == p[1]);
    SAY(fcntl(p[1], F_GETFD));
    close(fd);
    SAY(write(p[0], "ab", 2));
    SAY(peer("recv 2"));
}

CASE(fcntl_dup)
{
    int fd = server();
    int a = fcntl(fd, F_DUPFD, 100), b = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    SAY(a);
    SAY(b);
    SAY(fcntl(a, F_GETFD));
    SAY(fcntl(b, F_GETFD));
    SAY(write(b, "abc", 3));
    SAY(peer("recv 3"));
    SAY(fcntl(fd, F_DUPFD, -1));
    SAY(fcntl(fd, 9999, 0));
}

CASE(close_on_exec_flag)
{
    int fd = server();
    SAY(fcntl(fd, F_GETFD));
    SAY(fcntl(fd, F_SETFD, FD_CLOEXEC));
    SAY(fcntl(fd, F_GETFD));
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    SAY(fcntl(s, F_GETFD));
    SAY(fcntl(s, F_GETFL) & O_NONBLOCK);
}

CASE(close_range_closes)
{
    int fd = server(), p[2];
    pipe(p);
    SAY(close_range(fd, fd, 0));
    SAY(peer("eof"));
    char c;
    SAY(read(fd, &c, 1));
    SAY(close_range(10, 5, 0));
    int l = tcp();
    SAY(l >= 0);
}

CASE(what_a_socket_is)
{
    int fd = server(), value;
    struct stat s;
    int names[] = { SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_ERROR };
    fstat(fd, &s);
    SAY(S_ISSOCK(s.st_mode));
    SAY(isatty(fd));
    SAY(lseek(fd, 0, SEEK_CUR));
    for (int i = 0; i < 5; i++) {
        socklen_t len = sizeof value;
        SAY(getsockopt(fd, SOL_SOCKET, names[i], &value, &len));
        printf("%d %u\n", value, len);
    }
    int l = listener();
    (void)l;
    socklen_t len = sizeof value;
    port++;
    l = listener();
    SAY(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &value, &len));
    printf("%d\n", value);
}

CASE(options_set_and_read)
{
    int fd = server();
    static const struct {
        int level, name, value;
    } all[] = {
        { SOL_SOCKET, SO_KEEPALIVE, 1 },     { IPPROTO_TCP, TCP_NODELAY, 1 },   { IPPROTO_TCP, TCP_CORK, 1 },
        { IPPROTO_TCP, TCP_CORK, 0 },        { IPPROTO_TCP, TCP_KEEPIDLE, 33 }, { IPPROTO_TCP, TCP_KEEPINTVL, 7 },
        { IPPROTO_TCP, TCP_KEEPCNT, 4 },     { SOL_SOCKET, SO_SNDBUF, 50000 },  { SOL_SOCKET, SO_RCVBUF, 50000 },
        { SOL_SOCKET, SO_RCVLOWAT, 1 },      { SOL_SOCKET, SO_REUSEADDR, 1 },   { IPPROTO_IP, IP_TOS, 0x10 },
        { IPPROTO_IP, IP_TTL, 33 },          { IPPROTO_TCP, TCP_USER_TIMEOUT, 5000 },
        { IPPROTO_TCP, TCP_QUICKACK, 1 },    { SOL_SOCKET, SO_OOBINLINE, 1 },   { SOL_SOCKET, SO_PRIORITY, 3 },
        { IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096 },
        { IPPROTO_TCP, TCP_KEEPIDLE, 0 },    { IPPROTO_TCP, TCP_KEEPCNT, 1000 }, { IPPROTO_IP, IP_TTL, 700 },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int value = all[i].value;
        socklen_t len = sizeof value;
        int set = setsockopt(fd, all[i].level, all[i].name, &value, len);
        int error = set ? errno : 0;
        value = -1;
        getsockopt(fd, all[i].level, all[i].name, &value, &len);
        printf("%d/%d: %s, %d (%u)\n", all[i].level, all[i].name, error ? strerrorname_np(error) : "ok", value, len);
    }
}

CASE(options_refused)
{
    int fd = server(), value = 1;
    socklen_t len = sizeof value, none = -1;
    SAY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 2));
    SAY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, (void *)8, 4));
    SAY(setsockopt(fd, IPPROTO_TCP, 999, &value, 4));
    SAY(setsockopt(fd, 999, 1, &value, 4));
    SAY(getsockopt(fd, IPPROTO_TCP, 999, &value, &len));
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, (void *)8, &len));
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, (void *)8));
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &none));
    len = 2;
    SAY(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len));
    printf("%u\n", len);
    SAY(setsockopt(fd, SOL_SOCKET, SO_TYPE, &value, 4));
    SAY(setsockopt(900, SOL_SOCKET, SO_KEEPALIVE, &value, 4));
}

CASE(linger_option)
{
    int fd = server();
    struct linger l = { 1, 5 };
    socklen_t len = sizeof l;
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    memset(&l, 0, sizeof l);
    SAY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("%d %d %u\n", l.l_onoff, l.l_linger, len);
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, 4));
    SAY(write(fd, "abc", 3));
    SAY(close(fd));
    SAY(peer("recv 3"));
    SAY(peer("eof"));
}

CASE(linger_zero_resets)
{
    int fd = server();
    struct linger l = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    SAY(close(fd));
    SAY(peer("eof"));
}

CASE(close_with_unread_data_resets)
{
    int fd = server();
    peer("send 10");
    ready(fd, POLLIN);
    SAY(close(fd));
    SAY(peer("eof"));
}

CASE(tcp_info_and_congestion)
{
    int fd = server();
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    printf("%d %d\n", info.tcpi_state, info.tcpi_snd_mss > 500);
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5));
    char name[16] = "";
    len = sizeof name;
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
    printf("%s\n", name);
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nonesuch", 8));
}

CASE(socket_arguments)
{
    SAY(socket(AF_INET, 99, 0));
    SAY(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    SAY(socket(999, SOCK_STREAM, 0));
    int six = socket(AF_INET6, SOCK_STREAM, 0), pair[2];
    SAY(six >= 0);
    SAY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    SAY(write(pair[0], "ab", 2));
    char b[4];
    SAY(read(pair[1], b, 4));
}

CASE(close_delivers_what_was_written)
{
    int fd = server();
    static char b[200000];
    size_t sent = 0;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (sent < sizeof b) {
        ssize_t n = write(fd, b + sent, sizeof b - sent);
        if (n < 0)
            break;
        sent += n;
    }
    SAY(close(fd));
    SAY(peer("recv %ld", (long)sent) == (long)sent);
    SAY(peer("eof"));
}

CASE(exit_delivers_what_was_written)
{
    int fd = server();
    write(fd, "last words", 10);
    if (fork() == 0) {
        close(fd);
        _exit(0);
    }
    wait(NULL);
    SAY(peer("recv 10"));
    close(fd);
    SAY(peer("eof"));
}

CASE(quick_exit_delivers_what_was_written)
{
    static char b[50000];
    if (fork() == 0) {
        int fd = server();
        write(fd, b, sizeof b);
        quick_exit(0);
    }
    wait(NULL);
    SAY(peer("recv 50000"));
    SAY(peer("eof"));
}

CASE(a_daemon_closes_what_it_does_not_know)
{
    /* As daemons do at their start; what the library needs stays. */
    int closed = 0;
    for (int fd = 200; fd < 5000; fd++)
        closed += close(fd) == 0;
    SAY(closed);
    SAY(close_range(200, ~0U, 0));
    int fd = server();
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

static void *waits(void *arg)
{
    char b[8];
    return (void *)read(*(int *)arg, b, 8);
}

CASE(a_program_closes_what_it_does_not_know_while_it_is_served)
{
    /* What the library has opened meanwhile to wait and to be woken stays, too: none of it can be closed, and no
       file of the program's gets its number. */
    int fd = server(), p[2], files = 0;
    SAY(peer("send 4"));
    char b[8];
    SAY(read(fd, b, 8));
    pipe(p);
    for (int n = 200; n < 5000; n++)
        close(n);
    SAY(close_range(200, ~0U, 0));
    for (int n = 3000; n < 5000; n++)
        files += dup2(p[0], n) == n;
    SAY(files > 1000);
    pthread_t thread;
    void *answer;
    pthread_create(&thread, NULL, waits, &fd);
    SAY(peer("send 3"));
    pthread_join(thread, &answer);
    SAY((long)answer);
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
    int octets;
    ioctl(p[0], FIONREAD, &octets);
    SAY(octets);
}

CASE(a_shell_takes_the_numbers_it_likes)
{
    /* `exec 5<>file`: low numbers are the application's, open or not. */
    int fd = server(), p[2];
    pipe(p);
    for (int n = 20; n < 40; n++)
        if (n != fd && n != p[0] && n != p[1])
            dup2(p[0], n);
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
    SAY(peer("send 4"));
    char b[8];
    SAY(read(fd, b, 8));
    port++;
    int again = server();
    SAY(write(again, "abc", 3));
    SAY(peer("recv 3"));
}
