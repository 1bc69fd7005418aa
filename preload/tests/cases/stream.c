/* Bytes in and out of a connection. */
#include "case.h"

CASE(recv_peek)
{
    int fd = server();
    char b[32] = "";
    peer("send 10");
    SAY(recv(fd, b, 4, MSG_PEEK));
    SAY(recv(fd, b, 32, MSG_PEEK));
    SAY(recv(fd, b, 4, 0));
    printf("%.4s\n", b);
    SAY(recv(fd, b, 32, 0));
    printf("%.6s\n", b);
    SAY(recv(fd, b, 32, MSG_PEEK | MSG_DONTWAIT));
}

CASE(recv_dontwait)
{
    int fd = server();
    char b[8];
    SAY(recv(fd, b, 8, MSG_DONTWAIT));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(read(fd, b, 8));
    peer("send 3");
    ready(fd, POLLIN);
    SAY(read(fd, b, 8));
    SAY(read(fd, b, 8));
}

CASE(recv_waitall)
{
    int fd = server();
    char *b = malloc(100000);
    peer("send 50000");
    SAY(recv(fd, b, 50000, MSG_WAITALL));
    peer("send 100");
    peer("shut");
    SAY(recv(fd, b, 1000, MSG_WAITALL));
    SAY(recv(fd, b, 1000, MSG_WAITALL));
}

CASE(recv_truncate)
{
    int fd = server();
    char b[8] = "xxxxxxx";
    peer("send 10");
    ready(fd, POLLIN);
    SAY(recv(fd, b, 4, MSG_TRUNC));
    printf("%s\n", b);
    SAY(recv(fd, b, 8, 0));
    printf("%.6s\n", b);
}

CASE(recv_nothing)
{
    int fd = server();
    char b[8];
    SAY(read(fd, b, 0));
    SAY(recv(fd, b, 0, MSG_DONTWAIT));
    peer("send 3");
    ready(fd, POLLIN);
    SAY(recv(fd, b, 0, 0));
    SAY(recv(fd, b, 8, 0));
}

CASE(recv_into_a_hole)
{
    int fd = server();
    char *edge, b[32];
    hole(&edge);
    peer("send 10");
    ready(fd, POLLIN);
    SAY(read(fd, (void *)8, 10));
    SAY(read(fd, edge, 10));
    SAY(recv(fd, b, 10, 0));
    printf("%.10s\n", b);
}

CASE(send_from_a_hole)
{
    int fd = server();
    char *edge;
    hole(&edge);
    memcpy(edge - 4, "good", 4);
    SAY(write(fd, (void *)8, 10));
    SAY(write(fd, edge, 10));
    SAY(write(fd, edge - 4, 4));
    SAY(peer("recv 4"));
}

CASE(readv_and_writev)
{
    int fd = server();
    char a[3], b[4], c[10];
    struct iovec v[] = { { a, 3 }, { b, 0 }, { b, 4 }, { c, 10 } };
    peer("send 12");
    ready(fd, POLLIN);
    SAY(readv(fd, v, 4));
    printf("%.3s %.4s %.5s\n", a, b, c);
    SAY(writev(fd, v, 3));
    SAY(peer("recv 7"));
    SAY(writev(fd, v, 0));
    SAY(readv(fd, v, 0));
    SAY(writev(fd, v, -1));
    SAY(writev(fd, v, 1025));
    SAY(writev(fd, (void *)8, 1));
    v[0].iov_len = -1;
    SAY(writev(fd, v, 2));
    SAY(readv(fd, v, 2));
}

CASE(recvmsg_and_sendmsg)
{
    int fd = server();
    char a[6], b[10];
    struct iovec v[] = { { a, 6 }, { b, 10 } };
    struct sockaddr_in name;
    char control[64];
    struct msghdr m = { &name, sizeof name, v, 2, control, sizeof control, 77 };
    peer("send 9");
    ready(fd, POLLIN);
    SAY(recvmsg(fd, &m, 0));
    printf("%u %zu %x %.6s %.3s\n", m.msg_namelen, m.msg_controllen, m.msg_flags, a, b);
    struct msghdr out = { NULL, 0, v, 2, NULL, 0, 0 };
    SAY(sendmsg(fd, &out, 0));
    SAY(peer("recv 16"));
    out.msg_iovlen = 1025;
    SAY(sendmsg(fd, &out, 0));
    SAY(sendmsg(fd, (void *)8, 0));
    SAY(recvmsg(fd, (void *)8, MSG_DONTWAIT));
}

CASE(many_messages_on_a_stream)
{
    int fd = server();
    char a[4], b[4];
    struct iovec v[] = { { a, 4 }, { b, 4 } };
    struct mmsghdr m[2] = { { { NULL, 0, &v[0], 1, NULL, 0, 0 }, 0 }, { { NULL, 0, &v[1], 1, NULL, 0, 0 }, 0 } };
    peer("send 7");
    ready(fd, POLLIN);
    SAY(recvmmsg(fd, m, 2, MSG_DONTWAIT, NULL));
    printf("%u %u\n", m[0].msg_len, m[1].msg_len);
    SAY(recvmmsg(fd, m, 2, MSG_DONTWAIT, NULL));
    SAY(sendmmsg(fd, m, 2, 0));
    printf("%u %u\n", m[0].msg_len, m[1].msg_len);
    SAY(peer("recv 8"));
}

CASE(recvfrom_on_a_stream)
{
    int fd = server();
    char b[8];
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    peer("send 3");
    SAY(recvfrom(fd, b, 8, 0, (void *)&a, &len));
    printf("%u\n", len);
    a = address("10.1.2.3", 9);
    SAY(sendto(fd, b, 3, 0, (void *)&a, sizeof a));
    SAY(peer("recv 3"));
}

CASE(recv_timeout)
{
    int fd = server();
    struct timeval t = { 0, 60000 };
    char c;
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    long begun = now_ms();
    SAY(read(fd, &c, 1));
    long took = now_ms() - begun;
    printf("%d\n", took >= 50 && took < 15000);
    socklen_t len = sizeof t;
    t.tv_usec = 0;
    SAY(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, &len));
    printf("%ld.%06ld %u\n", (long)t.tv_sec, (long)t.tv_usec, len);
    t.tv_usec = 2000000;
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, 4));
}

CASE(end_of_stream)
{
    int fd = server();
    char b[8];
    peer("send 3");
    peer("close");
    events("poll", ready(fd, POLLRDHUP));
    SAY(read(fd, b, 8));
    SAY(read(fd, b, 8));
    SAY(read(fd, b, 8));
    SAY(recv(fd, b, 8, MSG_DONTWAIT));
}

CASE(half_closed)
{
    int fd = server();
    char b[8];
    SAY(shutdown(fd, SHUT_WR));
    SAY(peer("eof"));
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(peer("send 4"));
    SAY(read(fd, b, 8));
    SAY(peer("close"));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(read(fd, b, 8));
}

CASE(shut_for_reading)
{
    int fd = server();
    char b[8];
    SAY(shutdown(fd, SHUT_RD));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(read(fd, b, 8));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
    SAY(shutdown(fd, 7));
}

CASE(reset_by_the_peer)
{
    int fd = server();
    char b[8];
    peer("reset");
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(read(fd, b, 8));
    SAY(read(fd, b, 8));
    SAY(send(fd, b, 8, MSG_NOSIGNAL));
}

CASE(reset_found_by_sending)
{
    int fd = server(), error = -1;
    socklen_t len = sizeof error;
    char b[8];
    peer("reset");
    ready(fd, POLLIN);
    SAY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    printf("%s\n", strerrorname_np(error));
    SAY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    printf("%d\n", error);
    SAY(read(fd, b, 8));
}

static volatile int pipes;
static void on_pipe(int s)
{
    pipes += s == SIGPIPE;
}

CASE(sigpipe)
{
    int fd = server();
    signal(SIGPIPE, on_pipe);
    shutdown(fd, SHUT_WR);
    SAY(write(fd, "a", 1));
    printf("%d\n", pipes);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    printf("%d\n", pipes);
    signal(SIGPIPE, SIG_IGN);
    SAY(write(fd, "a", 1));
}

CASE(a_full_send_buffer)
{
    int fd = server(), size = 20000;
    static char b[1 << 16];
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    long sent = 0, n;
    do {
        while ((n = write(fd, b, sizeof b)) > 0)
            sent += n;
    } while (poll(&(struct pollfd){ fd, POLLOUT, 0 }, 1, 300));
    SAY(n);
    SAY(sent > 20000);
    SAY(peer("recv %ld", sent) == sent);
    events("poll", ready(fd, POLLOUT));
    SAY(write(fd, b, 10));
}

CASE(send_timeout)
{
    int fd = server();
    static char b[1 << 20];
    struct timeval t = { 0, 50000 };
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    long n = 0, last = 0;
    for (int i = 0; i < 100 && (last = write(fd, b, sizeof b)) > 0; i++)
        n += last;
    SAY(last);
    SAY(n > 0);
}

CASE(a_large_blocking_send)
{
    int fd = server();
    static char b[3 << 20];
    for (size_t i = 0; i < sizeof b; i++)
        b[i] = i * 31;
    pid_t drain = 0;
    (void)drain;
    SAY(fcntl(fd, F_GETFL) & O_NONBLOCK);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    size_t sent = 0;
    long got = 0;
    while (sent < sizeof b) {
        ssize_t n = write(fd, b + sent, sizeof b - sent);
        if (n > 0) {
            sent += n;
        } else {
            got += peer("recv %ld", (long)sent - got);
        }
    }
    got += peer("recv %ld", (long)sent - got);
    SAY(sent);
    SAY(got);
}

CASE(bytes_waiting)
{
    int fd = server(), n = -1;
    SAY(ioctl(fd, FIONREAD, &n));
    printf("%d\n", n);
    peer("send 123");
    ready(fd, POLLIN);
    SAY(ioctl(fd, FIONREAD, &n));
    printf("%d\n", n);
    SAY(ioctl(fd, FIONREAD, (void *)8));
    write(fd, "abc", 3);
    peer("recv 3");
    drained(fd);
    SAY(ioctl(fd, SIOCOUTQ, &n));
    printf("%d\n", n);
}

CASE(sendfile_moves)
{
    int fd = server();
    char name[] = "/tmp/ringroad-case-XXXXXX", b[5000];
    int file = mkstemp(name);
    unlink(name);
    for (int i = 0; i < 5000; i++)
        b[i] = i * 7;
    write(file, b, 5000);
    off_t at = 1000;
    lseek(file, 10, SEEK_SET);
    SAY(sendfile(fd, file, &at, 2000));
    printf("%ld %ld\n", (long)at, (long)lseek(file, 0, SEEK_CUR));
    SAY(sendfile(fd, file, NULL, 100));
    printf("%ld\n", (long)lseek(file, 0, SEEK_CUR));
    at = 4500;
    SAY(sendfile(fd, file, &at, 2000));
    printf("%ld\n", (long)at);
    SAY(sendfile(fd, file, &at, 2000));
    at = 9999;
    SAY(sendfile(fd, file, &at, 10));
    at = -1;
    SAY(sendfile(fd, file, &at, 10));
    SAY(sendfile(fd, file, NULL, 0));
    SAY(peer("recv 2600"));
}

CASE(sendfile_refuses)
{
    int fd = server(), p[2];
    off_t at = 0;
    pipe(p);
    SAY(sendfile(fd, 900, NULL, 10));
    SAY(sendfile(fd, p[0], &at, 10));
    int file = open("/proc/self/exe", O_RDONLY);
    SAY(sendfile(fd, file, (void *)8, 10));
    int writer = open("/dev/null", O_WRONLY);
    SAY(sendfile(fd, writer, NULL, 10));
    shutdown(fd, SHUT_WR);
    signal(SIGPIPE, SIG_IGN);
    SAY(sendfile(fd, file, NULL, 10));
}

CASE(sendfile_large)
{
    int fd = server();
    char name[] = "/tmp/ringroad-case-XXXXXX";
    int file = mkstemp(name);
    unlink(name);
    ftruncate(file, 3000000);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    off_t at = 0;
    long got = 0;
    while (at < 3000000) {
        ssize_t n = sendfile(fd, file, &at, 3000000 - at);
        if (n < 0)
            got += peer("recv %ld", (long)at - got);
    }
    got += peer("recv %ld", (long)at - got);
    SAY(got);
}

CASE(urgent_byte)
{
    int fd = server(), in = 1;
    char b[8] = "";
    SAY(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &in, sizeof in));
    peer("send 2");
    peer("oob");
    arrived(fd, 3);
    SAY(recv(fd, b, 8, 0) + recv(fd, b + 2, 6, MSG_DONTWAIT) > 0);
    printf("%.3s\n", b);
}

CASE(write_of_nothing)
{
    int fd = server();
    SAY(write(fd, "", 0));
    SAY(send(fd, NULL, 0, 0));
    shutdown(fd, SHUT_WR);
    SAY(send(fd, NULL, 0, MSG_NOSIGNAL));
}
