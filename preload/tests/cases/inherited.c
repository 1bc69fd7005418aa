/* What a child does first with a connection that it has inherited, before it reads or writes. */
#include "case.h"

static int number(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) < 0 ? -errno : value;
}

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

/* In a child that has the connection alone; how that ended. */
static void in_child(int fd, void (*does)(int))
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        does(fd);
        fflush(stdout);
        exit(3);
    }
    close(fd);
    SAY(waitpid(pid, &status, 0) == pid);
    SAY(WEXITSTATUS(status));
}

static void reads_and_answers(int fd)
{
    char b[8];
    SAY(recv(fd, b, 4, MSG_WAITALL));
    SAY(write(fd, "child", 5));
}

static void tells(int fd)
{
    struct tcp_info info = { 0 };
    struct linger linger = { 0 };
    socklen_t len = sizeof info;
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    SAY(info.tcpi_state);
    len = sizeof linger;
    SAY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
    printf("linger %d %d\n", linger.l_onoff, linger.l_linger);
    SAY(number(fd, IPPROTO_TCP, TCP_NODELAY));
    SAY(number(fd, IPPROTO_TCP, TCP_KEEPIDLE));
    SAY(number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT));
    SAY(number(fd, SOL_SOCKET, SO_KEEPALIVE));
    SAY(number(fd, SOL_SOCKET, SO_RCVLOWAT));
    SAY(number(fd, SOL_SOCKET, SO_ERROR));
    SAY(number(fd, SOL_SOCKET, SO_TYPE));
    SAY(number(fd, SOL_SOCKET, SO_DOMAIN));
    SAY(number(fd, SOL_SOCKET, SO_PROTOCOL));
    SAY(number(fd, SOL_SOCKET, SO_ACCEPTCONN));
    SAY(number(fd, IPPROTO_IP, IP_TOS));
}

static void sets_and_tells(int fd)
{
    struct linger linger = { 1, 3 };
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    SAY(set(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    SAY(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 17));
    SAY(set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 4321));
    SAY(set(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
    SAY(set(fd, SOL_SOCKET, SO_RCVLOWAT, 3));
    SAY(set(fd, IPPROTO_IP, IP_TOS, 8));
    SAY(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0));
    tells(fd);
    reads_and_answers(fd);
    tells(fd);
}

CASE(a_child_sets_options_before_it_reads)
{
    int fd = server();
    SAY(peer("send 4"));
    in_child(fd, sets_and_tells);
    SAY(peer("recv 5"));
}

static void tells_and_reads(int fd)
{
    tells(fd);
    reads_and_answers(fd);
}

CASE(a_child_asks_for_options_before_it_reads)
{
    int fd = server();
    SAY(set(fd, IPPROTO_TCP, TCP_NODELAY, 1));
    SAY(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 33));
    SAY(peer("send 4"));
    in_child(fd, tells_and_reads);
    SAY(peer("recv 5"));
}

static void sets_only(int fd)
{
    SAY(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 44));
    SAY(set(fd, IPPROTO_TCP, TCP_NODELAY, 1));
}

/* An option is the connection's, whoever has set it. */
CASE(what_a_child_has_set_its_parent_finds)
{
    int fd = server(), status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        sets_only(fd);
        fflush(stdout);
        exit(3);
    }
    SAY(waitpid(pid, &status, 0) == pid);
    SAY(number(fd, IPPROTO_TCP, TCP_KEEPIDLE));
    SAY(number(fd, IPPROTO_TCP, TCP_NODELAY));
    SAY(peer("send 4"));
    reads_and_answers(fd);
    SAY(peer("recv 5"));
}

static void waits_for_a_while(int fd)
{
    struct timeval t = { 0, 30000 }, told = { 0 };
    socklen_t len = sizeof told;
    char b[8];
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    SAY(read(fd, b, 8));
    SAY(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &told, &len));
    SAY(told.tv_sec == 0 && told.tv_usec >= 30000 && told.tv_usec < 40000);
    SAY(write(fd, "child", 5));
}

CASE(a_child_sets_a_timeout_before_it_reads)
{
    int fd = server();
    in_child(fd, waits_for_a_while);
    SAY(peer("recv 5"));
}

static void does_not_wait(int fd)
{
    char b[8];
    int on = 1, off = 0;
    SAY(fcntl(fd, F_GETFL) & O_NONBLOCK);
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
    SAY(read(fd, b, 8));
    SAY(ioctl(fd, FIONBIO, &off));
    SAY(fcntl(fd, F_GETFL) & O_NONBLOCK);
    SAY(ioctl(fd, FIONBIO, &on));
    SAY(read(fd, b, 8));
    SAY(write(fd, "child", 5));
}

CASE(a_child_does_not_wait_before_it_reads)
{
    int fd = server();
    in_child(fd, does_not_wait);
    SAY(peer("recv 5"));
}

static void asks_how_much(int fd)
{
    int n = -1;
    SAY(ioctl(fd, FIONREAD, &n));
    SAY(n);
    SAY(ioctl(fd, SIOCOUTQ, &n));
    SAY(n);
    SAY(ioctl(fd, SIOCATMARK, &n));
    SAY(n);
    reads_and_answers(fd);
}

CASE(a_child_asks_how_much_there_is_before_it_reads)
{
    int fd = server();
    SAY(peer("send 4"));
    arrived(fd, 4);
    in_child(fd, asks_how_much);
    SAY(peer("recv 5"));
}

static void resets(int fd)
{
    struct linger none = { 1, 0 };
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none));
    SAY(close(fd));
}

/* It has not used it otherwise. */
CASE(a_child_resets_what_it_has_inherited)
{
    int fd = server();
    in_child(fd, resets);
    SAY(peer("recv 1"));
}

static void fences(int fd)
{
    SAY(set(fd, IPPROTO_TCP, 0x7777, 1));
    SAY(set(fd, 0x7777, 1, 1));
    SAY(number(fd, IPPROTO_TCP, 0x7777));
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, NULL, 4));
    SAY(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, -1));
    reads_and_answers(fd);
}

CASE(a_child_asks_for_what_there_is_not_before_it_reads)
{
    int fd = server();
    SAY(peer("send 4"));
    in_child(fd, fences);
    SAY(peer("recv 5"));
}
