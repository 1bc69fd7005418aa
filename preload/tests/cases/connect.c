/* Active opens. */
#include "case.h"
#include <linux/errqueue.h>

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

/* Asks connect() itself how it ended, and waits by nothing else. */
static const char *asked_until_told(int fd, struct sockaddr_in *a)
{
    long end = now_ms() + 10000;
    int error;
    do
        error = connect(fd, (void *)a, sizeof *a) ? errno : 0;
    while (error == EALREADY && now_ms() < end);
    return error ? strerrorname_np(error) : "connected";
}

CASE(connect_asked_again)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    printf("%s\n", asked_until_told(fd, &a));
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    printf("%s\n", asked_until_told(fd, &a));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
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

static void named(const char *what, int fd)
{
    struct sockaddr_in a = { 0 };
    socklen_t len = sizeof a;
    SAY(getsockname(fd, (void *)&a, &len));
    printf("%s: %s, a port %d, len %u\n", what, ip_of(&a), a.sin_port != 0, len);
    len = sizeof a;
    SAY(getpeername(fd, (void *)&a, &len));
}

CASE(names_after_a_refusal)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    named("fresh", fd);
    SAY(connect(fd, (void *)&a, sizeof a));
    named("refused", fd);
    events("poll", ready(fd, POLLIN | POLLOUT));
    SAY(connect(fd, (void *)&a, sizeof a));
    named("refused again", fd);
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    named("connected", fd);
}

CASE(names_after_a_refusal_of_a_bound_socket)
{
    int fd = tcp();
    struct sockaddr_in own = address(own_ip, port + 1), a = address(peer_ip, port);
    SAY(bind(fd, (void *)&own, sizeof own));
    SAY(connect(fd, (void *)&a, sizeof a));
    named("bound", fd);
    int any = tcp();
    own = address("0.0.0.0", port + 2);
    SAY(bind(any, (void *)&own, sizeof own));
    SAY(connect(any, (void *)&a, sizeof a));
    named("bound to any", any);
}

CASE(names_after_a_refusal_nonblocking)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    named("under way", fd);
    events("poll", ready(fd, POLLIN | POLLOUT));
    named("refused", fd);
    SAY(pending_error(fd));
    named("told", fd);
    events("poll", ready(fd, POLLIN | POLLOUT));
    SAY(connect(fd, (void *)&a, sizeof a));
    named("another", fd);
    events("poll", ready(fd, POLLIN | POLLOUT));
    SAY(connect(fd, (void *)&a, sizeof a));
    named("after it", fd);
}

/* Nobody has that address. */
CASE(connect_to_a_host_that_is_not_there)
{
    int fd = tcp();
    struct sockaddr_in a = address("10.77.0.99", port);
    char c;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    struct pollfd p = { fd, POLLIN | POLLOUT, 0 };
    SAY(poll(&p, 1, 8000));
    events("poll", p.revents);
    named("unreachable", fd);
    SAY(pending_error(fd));
    events("poll", ready(fd, POLLIN | POLLOUT));
    SAY(pending_error(fd));
    SAY(read(fd, &c, 1));
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_WR));
    events("poll", ready(fd, POLLIN | POLLOUT));
}

CASE(an_epoll_set_hears_of_an_unreachable_host)
{
    int fd = tcp(), ep = epoll_create1(0);
    struct sockaddr_in a = address("10.77.0.97", port);
    struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .data.u64 = 7 };
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    waited(ep, 4, 8000);
    char c;
    SAY(read(fd, &c, 1));
    waited(ep, 4, 0);
    SAY(pending_error(fd));
}

/* Linux queues the ICMP error that ends a connect, whether IP_RECVERR is on or not. */
static void report(int fd)
{
    char control[256], data[256];
    struct sockaddr_storage name = { 0 };
    struct iovec iov = { data, sizeof data };
    struct msghdr m = { .msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &iov, .msg_iovlen = 1,
                        .msg_control = control, .msg_controllen = sizeof control };
    if (recvmsg(fd, &m, MSG_ERRQUEUE) < 0) {
        printf("no report: %s\n", strerrorname_np(errno));
        return;
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct sock_extended_err *e = (void *)CMSG_DATA(c);
    struct sockaddr_in *offender = (void *)(e + 1), *to = (void *)&name;
    printf("level %d type %d len %zu errno %u origin %d type %d code %d info %u\n", c->cmsg_level, c->cmsg_type,
           c->cmsg_len, e->ee_errno, e->ee_origin, e->ee_type, e->ee_code, e->ee_info);
    printf("flags %x to family %d our port %d, ", m.msg_flags, to->sin_family, ntohs(to->sin_port) == port);
    printf("offender family %d %s\n", offender->sin_family, offender->sin_family == AF_INET ? ip_of(offender) : "");
}

CASE(an_unreachable_host_is_reported)
{
    int fd = tcp();
    struct sockaddr_in a = address("10.77.0.96", port);
    report(fd);
    SAY(connect(fd, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLIN | POLLOUT));
    a = address(peer_ip, port);
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLOUT));
    report(fd);
    events("poll", ready(fd, POLLOUT));
    report(fd);
    SAY(write(fd, "a", 1));
}

CASE(an_unreachable_host_is_reported_over_six)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    inet_pton(AF_INET6, "fd00:77::96", &a.sin6_addr);
    SAY(connect(fd, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLIN | POLLOUT));
    report(fd);
    events("poll", ready(fd, POLLOUT));
}

static int own_port(int fd)
{
    struct sockaddr_in a = { 0 };
    socklen_t len = sizeof a;
    getsockname(fd, (void *)&a, &len);
    return ntohs(a.sin_port);
}

/* Whether each refused connect has a port of its own. */
static void ports_after_refusals(int fd)
{
    struct sockaddr_in a = address(peer_ip, port);
    SAY(connect(fd, (void *)&a, sizeof a));
    int first = own_port(fd);
    SAY(connect(fd, (void *)&a, sizeof a));
    printf("the same port: %d\n", own_port(fd) == first);
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
    printf("the same port: %d\n", own_port(fd) == first);
}

CASE(ports_after_refusals_of_a_fresh_socket)
{
    ports_after_refusals(tcp());
}

CASE(ports_after_refusals_of_an_address)
{
    struct sockaddr_in own = address(own_ip, 0);
    int fd = tcp();
    SAY(bind(fd, (void *)&own, sizeof own));
    ports_after_refusals(fd);
}

CASE(ports_after_refusals_of_a_bound_socket)
{
    struct sockaddr_in own = address("0.0.0.0", port + 1);
    int fd = tcp();
    SAY(bind(fd, (void *)&own, sizeof own));
    ports_after_refusals(fd);
}

/* Watched from before the first, by a set. */
CASE(watched_over_refusals)
{
    int fd = tcp(), set = epoll_create1(0);
    struct sockaddr_in a = address(peer_ip, port);
    struct epoll_event event = { EPOLLIN | EPOLLOUT, { .u64 = 7 } };
    char b[8];
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    SAY(connect(fd, (void *)&a, sizeof a));
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("accept"));
    waited(set, 4, 2000);
    SAY(peer("send 5"));
    events("poll", ready(fd, POLLIN));
    waited(set, 4, 2000);
    SAY(read(fd, b, 8));
}

CASE(connect_waits_no_longer_than_a_timeout)
{
    struct timeval soon = { 0, 100000 };
    struct sockaddr_in nobody = address("10.77.0.99", port);
    int fd = tcp(), before = now_ms();
    /* Its frames are nobody's, and no error comes. */
    SAY(system("ip neigh replace 10.77.0.99 lladdr 02:00:00:00:00:63 dev road0 nud permanent"));
    SAY(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon));
    SAY(connect(fd, (void *)&nobody, sizeof nobody));
    SAY(now_ms() - before >= 100);
    SAY(connect(fd, (void *)&nobody, sizeof nobody));
    look(fd);
    SAY(write(fd, "abc", 3));
    close(fd);
    SAY(system("ip neigh del 10.77.0.99 dev road0"));
    /* One that is there answers in time, and what is sent has the same limit. */
    fd = tcp();
    soon.tv_sec = 20;
    SAY(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon));
    peer("listen %d", port);
    struct sockaddr_in there = address(peer_ip, port);
    SAY(connect(fd, (void *)&there, sizeof there));
    SAY(peer("accept") >= 0);
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}
