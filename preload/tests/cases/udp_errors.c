/* Errors: SO_ERROR and the error queue. */
#include "udp.h"

static struct sockaddr_in to_peer(void)
{
    return address(peer_ip, port + 1);
}

CASE(errors_unconnected_hears_none)
{
    int fd = udp();
    char b[10];
    struct sockaddr_in a = to_peer();
    SAY(sendto(fd, "x", 1, 0, (void *)&a, sizeof a));
    usleep(200000);
    events("poll", ready(fd, POLLOUT));
    GET(fd, SOL_SOCKET, SO_ERROR);
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
}

CASE(errors_connected_refused)
{
    int fd = udp();
    char b[10];
    struct sockaddr_in a = to_peer();
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(send(fd, "x", 1, 0));
    events("poll", ready(fd, POLLIN));
    GET(fd, SOL_SOCKET, SO_ERROR);
    GET(fd, SOL_SOCKET, SO_ERROR);
    SAY(send(fd, "x", 1, 0));
    ready(fd, 0);
    usleep(200000);
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
    SAY(send(fd, "x", 1, 0));
    ready(fd, 0);
    SAY(recv(fd, b, 10, 0));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
}

CASE(errors_queue_unconnected)
{
    int fd = udp();
    char b[10];
    struct sockaddr_in a = to_peer();
    SET(fd, SOL_IP, IP_RECVERR, 1);
    GET(fd, SOL_IP, IP_RECVERR);
    SAY(send_with(fd, &a, 12, NULL, 0));
    events("poll", ready(fd, POLLIN));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
    events("poll", ready(fd, 0));
    show(fd, 100, 200, MSG_ERRQUEUE);
    events("poll", ready(fd, POLLOUT));
    show(fd, 100, 200, MSG_ERRQUEUE);
}

CASE(errors_queue_connected)
{
    int fd = udp();
    struct sockaddr_in a = to_peer();
    SET(fd, SOL_IP, IP_RECVERR, 1);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(send_with(fd, NULL, 12, NULL, 0));
    events("poll", ready(fd, POLLIN));
    show(fd, 5, 200, MSG_ERRQUEUE);
    GET(fd, SOL_SOCKET, SO_ERROR);
    SAY(send_with(fd, NULL, 12, NULL, 0));
    ready(fd, 0);
    show(fd, 100, 20, MSG_ERRQUEUE);
}

CASE(errors_queue_with_info)
{
    int fd = udp();
    struct sockaddr_in a = to_peer();
    SET(fd, SOL_IP, IP_RECVERR, 1);
    SET(fd, SOL_IP, IP_PKTINFO, 1);
    SET(fd, SOL_IP, IP_RECVTTL, 1);
    SAY(send_with(fd, &a, 12, NULL, 0));
    events("poll", ready(fd, POLLIN));
    show(fd, 100, 200, MSG_ERRQUEUE);
}

CASE(errors_queue_two)
{
    int fd = udp();
    struct sockaddr_in a = to_peer(), b = address(peer_ip, port + 2);
    SET(fd, SOL_IP, IP_RECVERR, 1);
    SAY(send_with(fd, &a, 1, NULL, 0));
    ready(fd, 0);
    SAY(send_with(fd, &b, 2, NULL, 0));
    SAY(send_with(fd, &b, 2, NULL, 0));
    usleep(200000);
    show(fd, 100, 200, MSG_ERRQUEUE);
    GET(fd, SOL_SOCKET, SO_ERROR);
    show(fd, 100, 200, MSG_ERRQUEUE);
    GET(fd, SOL_SOCKET, SO_ERROR);
    show(fd, 100, 200, MSG_ERRQUEUE);
}

CASE(errors_too_long)
{
    int fd = udp();
    struct sockaddr_in a = to_peer();
    peer("udp %d", port + 1);
    SET(fd, SOL_IP, IP_RECVERR, 1);
    SET(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    SAY(send_with(fd, &a, 1473, NULL, 0));
    events("poll", ready(fd, 0));
    show(fd, 100, 200, MSG_ERRQUEUE);
    SAY(send_with(fd, &a, 1472, NULL, 0));
    SAY(peer("urecv"));
    SAY(send_with(fd, &a, 66000, NULL, 0));
    show(fd, 100, 200, MSG_ERRQUEUE);
}

CASE(errors_queue_off)
{
    int fd = udp();
    char b[10];
    struct sockaddr_in a = to_peer();
    SET(fd, SOL_IP, IP_RECVERR, 1);
    SAY(send_with(fd, &a, 1, NULL, 0));
    events("poll", ready(fd, POLLIN));
    SET(fd, SOL_IP, IP_RECVERR, 0);
    show(fd, 100, 200, MSG_ERRQUEUE);
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
}

CASE(errors_of_a_reader_who_faults)
{
    int fd = udp();
    char b[10];
    peer("udp %d", port + 1);
    peer("usend %d 10", port);
    ready(fd, POLLIN);
    SAY(recv(fd, (void *)8, 10, MSG_PEEK));
    SAY(recv(fd, (void *)8, 10, 0));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
}

CASE(errors_no_route)
{
    int fd = udp();
    struct sockaddr_in a = address("192.0.2.1", 9), zero = address("0.0.0.0", port + 1);
    SAY(sendto(fd, "x", 1, 0, (void *)&a, sizeof a));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(send(fd, "x", 1, 0));
    (void)zero;
}

CASE(errors_no_neighbour)
{
    int fd = udp();
    char b[10];
    struct sockaddr_in a = address("10.77.0.99", 9);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(send(fd, "x", 1, 0));
    struct pollfd p = { fd, POLLIN, 0 };
    SAY(poll(&p, 1, 8000));
    SAY(recv(fd, b, 10, MSG_DONTWAIT));
}

CASE(errors_shut)
{
    int fd = udp();
    char b[10];
    struct sockaddr_in a = to_peer(), from;
    socklen_t len = sizeof from;
    peer("udp %d", port + 1);
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(shutdown(fd, SHUT_RD));
    SAY(recvfrom(fd, b, 10, 0, (void *)&from, &len));
    printf("%u\n", len);
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
    SAY(send(fd, "x", 1, 0));
    SAY(peer("urecv"));
    SAY(shutdown(fd, SHUT_WR));
    SAY(send(fd, "x", 1, MSG_NOSIGNAL));
    events("poll", ready(fd, POLLIN | POLLOUT | POLLRDHUP));
}

CASE(errors_flags_nobody_knows)
{
    int fd = udp();
    char b[10];
    struct sockaddr_in a = to_peer();
    peer("udp %d", port + 1);
    SAY(sendto(fd, "x", 1, MSG_OOB, (void *)&a, sizeof a));
    SAY(sendto(fd, "x", 1, MSG_CONFIRM | MSG_EOR | MSG_NOSIGNAL, (void *)&a, sizeof a));
    SAY(peer("urecv"));
    peer("usend %d 10", port);
    ready(fd, POLLIN);
    SAY(recv(fd, b, 10, MSG_OOB));
    peer("usend %d 10", port);
    SAY(recv(fd, b, 10, MSG_WAITALL | MSG_NOSIGNAL));
}

CASE(connect_again_and_away)
{
    int fd = udp();
    struct sockaddr_in a = to_peer(), b = address(peer_ip, port + 2), none = { .sin_family = AF_UNSPEC };
    char buffer[100];
    peer("udp %d", port + 1);
    SAY(connect(fd, (void *)&b, sizeof b));
    peer("usend %d 10", port);
    usleep(200000);
    SAY(recv(fd, buffer, 100, MSG_DONTWAIT));
    SAY(connect(fd, (void *)&a, sizeof a));
    peer("usend %d 11", port);
    SAY(recv(fd, buffer, 100, 0));
    SAY(sendto(fd, "x", 1, 0, (void *)&a, sizeof a));
    SAY(peer("urecv"));
    SAY(connect(fd, (void *)&none, sizeof none));
    SAY(send(fd, "x", 1, 0));
    peer("usend %d 12", port);
    SAY(recv(fd, buffer, 100, 0));
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    SAY(getpeername(fd, (void *)&own, &len));
}

CASE(bind_wrong_and_twice)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address(own_ip, port), away = address("10.77.0.99", port);
    SAY(bind(fd, (void *)&away, sizeof away));
    SAY(bind(fd, (void *)&a, 8));
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(bind(fd, (void *)&a, sizeof a));
    look(fd);
    SAY(bind(other, (void *)&a, sizeof a));
    SAY(close(fd));
    SAY(bind(other, (void *)&a, sizeof a));
}

CASE(ports_are_chosen)
{
    int fds[8], same = 0;
    unsigned short ports[8];
    struct sockaddr_in a = to_peer(), own;
    socklen_t len = sizeof own;
    peer("udp %d", port + 1);
    for (int i = 0; i < 8; i++) {
        fds[i] = socket(AF_INET, SOCK_DGRAM, 0);
        sendto(fds[i], "x", 1, 0, (void *)&a, sizeof a);
        SAY(peer("urecv"));
        getsockname(fds[i], (void *)&own, &len);
        ports[i] = ntohs(own.sin_port);
        for (int j = 0; j < i; j++)
            same += ports[i] == ports[j];
    }
    printf("%d\n", same);
}
