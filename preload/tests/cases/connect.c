/* Active opens. */
#include "case.h"

static int pending_error(int fd)
{
    int error = -1;
    socklen_t len = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

static const char *ip_of(struct sockaddr_in *a)
{
    static char text[64];
    inet_ntop(AF_INET, &a->sin_addr, text, sizeof text);
    return text;
}

CASE(connect_blocking)
{
    int fd = client();
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    SAY(getsockname(fd, (void *)&a, &len));
    printf("%s %d %u\n", ip_of(&a), ntohs(a.sin_port) > 1024, len);
    len = sizeof a;
    SAY(getpeername(fd, (void *)&a, &len));
    printf("%s %d %u\n", ip_of(&a), ntohs(a.sin_port) == port, len);
    events("poll", ready(fd, POLLIN | POLLOUT));
}

CASE(connect_nonblocking)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    peer("listen %d", port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLOUT));
    SAY(pending_error(fd));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(connect_refused)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(pending_error(fd));
    SAY(close(fd));
}

CASE(connect_refused_then_accepted)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    SAY(connect(fd, (void *)&a, sizeof a));
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
}

CASE(connect_refused_nonblocking)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLIN | POLLOUT));
    SAY(pending_error(fd));
    SAY(pending_error(fd));
    char c;
    SAY(read(fd, &c, 1));
}

CASE(connect_twice)
{
    int fd = client();
    struct sockaddr_in a = address(peer_ip, port);
    SAY(connect(fd, (void *)&a, sizeof a));
}

CASE(connect_bad_arguments)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    SAY(connect(fd, (void *)8, sizeof a));
    SAY(connect(fd, (void *)&a, 4));
    SAY(connect(fd, (void *)&a, 1000));
    SAY(connect(-1, (void *)&a, sizeof a));
    SAY(connect(900, (void *)&a, sizeof a));
    a.sin_family = 77;
    SAY(connect(fd, (void *)&a, sizeof a));
}

CASE(connect_from_a_bound_port)
{
    int fd = tcp();
    struct sockaddr_in a = address(own_ip, port + 1), b = address(peer_ip, port);
    SAY(bind(fd, (void *)&a, sizeof a));
    peer("listen %d", port);
    SAY(connect(fd, (void *)&b, sizeof b));
    socklen_t len = sizeof a;
    SAY(getsockname(fd, (void *)&a, &len));
    SAY(ntohs(a.sin_port) == port + 1);
    SAY(peer("accept"));
}

CASE(connect_from_any_address)
{
    int fd = tcp();
    struct sockaddr_in a = address("0.0.0.0", port + 1), b = address(peer_ip, port);
    SAY(bind(fd, (void *)&a, sizeof a));
    peer("listen %d", port);
    SAY(connect(fd, (void *)&b, sizeof b));
    socklen_t len = sizeof a;
    SAY(getsockname(fd, (void *)&a, &len));
    printf("%s\n", ip_of(&a));
}

CASE(connect_over_loopback)
{
    int l = tcp(), fd = tcp();
    struct sockaddr_in a = address("127.0.0.1", port);
    SAY(bind(l, (void *)&a, sizeof a));
    SAY(listen(l, 4));
    SAY(connect(fd, (void *)&a, sizeof a));
    int c = accept(l, NULL, NULL);
    SAY(c >= 0);
    SAY(write(fd, "abc", 3));
    char b[8];
    SAY(read(c, b, 8));
    SAY(shutdown(fd, SHUT_WR));
    SAY(read(c, b, 8));
}

CASE(unconnected_socket)
{
    int fd = tcp();
    char c;
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    SAY(read(fd, &c, 1));
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(getpeername(fd, (void *)&a, &len));
    SAY(shutdown(fd, SHUT_WR));
    SAY(accept(fd, NULL, NULL));
    events("poll", ready(fd, POLLIN | POLLOUT));
}

CASE(descriptors_that_are_none)
{
    char c;
    SAY(read(-1, &c, 1));
    SAY(send(-5, &c, 1, 0));
    SAY(recv(800, &c, 1, 0));
    SAY(accept(800, NULL, NULL));
    SAY(close(-1));
    SAY(close(800));
    SAY(dup(800));
    SAY(dup2(800, 801));
    SAY(fcntl(800, F_GETFL));
    SAY(shutdown(800, SHUT_RD));
    SAY(epoll_ctl(800, EPOLL_CTL_DEL, 0, NULL));
}

CASE(a_socket_closed_is_gone)
{
    int fd = client();
    char c;
    SAY(close(fd));
    SAY(close(fd));
    SAY(read(fd, &c, 1));
    SAY(peer("eof"));
    int again = tcp();
    SAY(again == fd);
    SAY(read(again, &c, 1));
}

CASE(bind_errors)
{
    int a = tcp(), b = tcp();
    struct sockaddr_in name = address(own_ip, port), strange = address("10.99.99.99", port);
    SAY(bind(a, (void *)&strange, sizeof strange));
    SAY(bind(a, (void *)&name, sizeof name));
    SAY(bind(a, (void *)&name, sizeof name));
    SAY(listen(a, 4));
    SAY(bind(b, (void *)&name, sizeof name));
    SAY(bind(b, (void *)8, sizeof name));
    SAY(bind(b, (void *)&name, 3));
}
