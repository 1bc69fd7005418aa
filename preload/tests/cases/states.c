/* What every call answers in every state of a TCP socket, and what poll says of it. */
#include "case.h"

static int pending(int fd)
{
    int error = -1;
    socklen_t len = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

static int state(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? -1 : info.tcpi_state;
}

/* Asks everything that does not change the socket. */
static void ask(int fd)
{
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    char b[4];
    int n;
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI));
    SAY(getpeername(fd, (void *)&a, &len));
    SAY(recv(fd, b, 4, MSG_DONTWAIT));
    SAY(recv(fd, b, 4, MSG_DONTWAIT | MSG_PEEK));
    SAY(recv(fd, b, 4, MSG_OOB));
    SAY(ioctl(fd, FIONREAD, &n));
    SAY(ioctl(fd, SIOCOUTQ, &n));
    SAY(state(fd));
}

CASE(state_fresh)
{
    int fd = tcp();
    ask(fd);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(listen(fd, 1) && 0);
    SAY(pending(fd));
}

CASE(state_bound)
{
    int fd = tcp();
    struct sockaddr_in a = address(own_ip, port);
    bind(fd, (void *)&a, sizeof a);
    ask(fd);
    SAY(bind(fd, (void *)&a, sizeof a));
}

CASE(state_listening)
{
    int fd = listener();
    struct sockaddr_in a = address(peer_ip, port);
    struct pollfd p = { fd, POLLIN | POLLOUT | POLLRDHUP, 0 };
    SAY(poll(&p, 1, 0));
    char b[4];
    SAY(recv(fd, b, 4, MSG_DONTWAIT));
    SAY(recv(fd, b, 4, MSG_OOB));
    SAY(send(fd, b, 4, MSG_NOSIGNAL));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(shutdown(fd, SHUT_WR));
    SAY(state(fd));
    SAY(pending(fd));
}

CASE(state_connecting)
{
    /* A neighbour that does not exist: the connect hangs until it is given up. */
    int fd = tcp();
    struct sockaddr_in a = address("10.77.0.9", port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    struct pollfd p = { fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0 };
    SAY(poll(&p, 1, 50));
    char b[4];
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(recv(fd, b, 4, 0));
    SAY(send(fd, b, 4, MSG_NOSIGNAL));
    SAY(state(fd));
    SAY(getpeername(fd, (void *)&a, &(socklen_t){ sizeof a }));
    SAY(pending(fd));
}

CASE(state_unreachable_host)
{
    int fd = tcp();
    struct sockaddr_in a = address("10.77.0.9", port);
    char b[4];
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(recv(fd, b, 4, MSG_OOB));
    SAY(state(fd));
}

CASE(state_unreachable_network)
{
    int fd = tcp();
    struct sockaddr_in a = address("10.99.0.9", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    ask(fd);
}

CASE(state_refused)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    SAY(connect(fd, (void *)&a, sizeof a));
    ask(fd);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_WR));
}

CASE(state_refused_nonblocking_then_asked)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(connect(fd, (void *)&a, sizeof a));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(pending(fd));
}

CASE(state_refused_found_by_send)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    ready(fd, POLLOUT);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(pending(fd));
}

CASE(state_established)
{
    int fd = server();
    struct sockaddr_in a = address(peer_ip, port);
    ask(fd);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(listen(fd, 1));
    SAY(accept(fd, NULL, NULL));
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(pending(fd));
}

CASE(state_fin_wait_2)
{
    int fd = server();
    shutdown(fd, SHUT_WR);
    peer("eof");
    reaches(fd, TCP_FIN_WAIT2);
    ask(fd);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
}

CASE(state_close_wait)
{
    int fd = server();
    peer("shut");
    ready(fd, POLLRDHUP);
    ask(fd);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
}

CASE(state_time_wait)
{
    int fd = server();
    shutdown(fd, SHUT_WR);
    peer("eof");
    peer("close");
    ready(fd, POLLHUP);
    ask(fd);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_WR));
}

CASE(state_last_ack_and_closed)
{
    int fd = server();
    peer("shut");
    ready(fd, POLLRDHUP);
    shutdown(fd, SHUT_WR);
    SAY(peer("eof"));
    reaches(fd, TCP_CLOSE);
    ask(fd);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_WR));
}

CASE(state_reset)
{
    int fd = server();
    peer("reset");
    ready(fd, POLLIN);
    ask(fd);
    SAY(send(fd, "a", 1, MSG_NOSIGNAL));
    SAY(shutdown(fd, SHUT_RDWR));
}

CASE(state_connect_again_after_the_end)
{
    int fd = client();
    struct sockaddr_in a = address(peer_ip, port);
    SAY(connect(fd, (void *)&a, sizeof a));
    peer("reset");
    ready(fd, POLLIN);
    SAY(pending(fd));
    SAY(connect(fd, (void *)&a, sizeof a));
}

CASE(state_readiness_is_told_to_epoll_too)
{
    int fd = server(), ep = epoll_create1(0);
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, { .u64 = 1 } });
    waited(ep, 4, 0);
    peer("send 1");
    waited(ep, 4, 1000);
    peer("shut");
    waited(ep, 4, 1000);
    shutdown(fd, SHUT_WR);
    waited(ep, 4, 1000);
}
