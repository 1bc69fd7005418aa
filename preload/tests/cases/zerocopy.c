/* MSG_ZEROCOPY: every send has a number, and the error queue tells of those that are done. */
#include "case.h"
#include <linux/errqueue.h>

static int zero_copy(int fd)
{
    int one = 1;
    return setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one) ? -1 : fd;
}

/* One message of the error queue, with what surrounds the numbers if it is to be said. The last number, or -1. */
static long one_report(int fd, unsigned *first, int say)
{
    char control[128], name[64], data[16];
    struct iovec iov = { data, sizeof data };
    struct msghdr m = { .msg_name = name, .msg_namelen = sizeof name, .msg_iov = &iov, .msg_iovlen = 1,
                        .msg_control = control, .msg_controllen = sizeof control };
    long n = recvmsg(fd, &m, MSG_ERRQUEUE);
    if (n < 0) {
        if (say)
            printf("recvmsg: %s\n", strerrorname_np(errno));
        return -1;
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    struct sock_extended_err *e = (void *)CMSG_DATA(c);
    if (say) {
        printf("recvmsg %ld flags %x name %u control %zu\n", n, m.msg_flags, m.msg_namelen, m.msg_controllen);
        printf("level %d type %d len %zu errno %u origin %d type %d code %d\n", c->cmsg_level, c->cmsg_type,
               c->cmsg_len, e->ee_errno, e->ee_origin, e->ee_type, e->ee_code);
    }
    *first = e->ee_info;
    return e->ee_data;
}

/* Reads until number `last` is told; says whether every number was told once and in order. */
static void told(int fd, unsigned from, unsigned last)
{
    unsigned next = from, first;
    int say = 1, ordered = 1;
    long until = now_ms() + 10000;
    while (next <= last && now_ms() < until) {
        struct pollfd p = { fd, 0, 0 };
        poll(&p, 1, 100);
        long end = one_report(fd, &first, say && (p.revents & POLLERR));
        if (end < 0)
            continue;
        say = 0;
        ordered &= first == next && end >= first;
        next = end + 1;
    }
    printf("numbers up to %u, in order %d\n", next, ordered);
}

CASE(zerocopy_of_a_stream)
{
    int fd = zero_copy(server());
    char data[] = "0123456789";
    SAY(send(fd, data, 10, MSG_ZEROCOPY));
    SAY(send(fd, data, 10, 0));
    SAY(send(fd, data, 10, MSG_ZEROCOPY));
    SAY(send(fd, data, 10, MSG_ZEROCOPY));
    SAY(peer("recv 40"));
    told(fd, 0, 2);
    events("poll", ready(fd, POLLOUT));
    unsigned first;
    SAY(one_report(fd, &first, 1));
}

CASE(zerocopy_of_a_client)
{
    int fd = zero_copy(client());
    char data[] = "0123456789";
    struct iovec iov[2] = { { data, 3 }, { data, 4 } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
    SAY(sendmsg(fd, &m, MSG_ZEROCOPY));
    SAY(peer("recv 7"));
    told(fd, 0, 0);
    SAY(sendmsg(fd, &m, MSG_ZEROCOPY));
    SAY(peer("recv 7"));
    told(fd, 1, 1);
}

CASE(zerocopy_is_off_at_first)
{
    int fd = server();
    unsigned first;
    SAY(send(fd, "abc", 3, MSG_ZEROCOPY));
    SAY(peer("recv 3"));
    events("poll", ready(fd, POLLOUT));
    SAY(one_report(fd, &first, 1));
}

CASE(zerocopy_of_nothing_and_of_nobody)
{
    int fd = zero_copy(client());
    unsigned first;
    SAY(send(fd, "", 0, MSG_ZEROCOPY));
    SAY(send(fd, (void *)8, 3, MSG_ZEROCOPY));
    SAY(one_report(fd, &first, 1));
    SAY(send(fd, "abc", 3, MSG_ZEROCOPY));
    SAY(peer("recv 3"));
    told(fd, 0, 0);
    int fresh = zero_copy(tcp());
    SAY(send(fresh, "abc", 3, MSG_ZEROCOPY | MSG_NOSIGNAL));
    SAY(one_report(fresh, &first, 1));
    SAY(zero_copy(listener()) >= 0);
}

CASE(zerocopy_is_inherited)
{
    int fd = zero_copy(listener());
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    SAY(send(conn, "abc", 3, MSG_ZEROCOPY));
    SAY(peer("recv 3"));
    told(conn, 0, 0);
}

CASE(zerocopy_does_not_wake_readers)
{
    int fd = zero_copy(server());
    char b[8];
    struct timeval limit = { .tv_usec = 300000 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    SAY(send(fd, "abc", 3, MSG_ZEROCOPY));
    SAY(peer("recv 3"));
    events("poll", ready(fd, 0));
    long begun = now_ms();
    SAY(read(fd, b, 8));
    SAY(now_ms() - begun >= 250);
    SAY(send(fd, "def", 3, 0));
    int error = -1;
    socklen_t len = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    printf("SO_ERROR %d\n", error);
    told(fd, 0, 0);
}

CASE(zerocopy_in_epoll)
{
    int fd = zero_copy(server()), ep = epoll_create1(0);
    struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.u64 = 5 };
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    SAY(send(fd, "abc", 3, MSG_ZEROCOPY));
    SAY(peer("recv 3"));
    waited(ep, 4, 2000);
    told(fd, 0, 0);
    waited(ep, 4, 0);
}

CASE(zerocopy_of_much)
{
    int fd = zero_copy(server());
    static char data[1 << 20];
    /* Half a MiB is what one number may cover at the most on the kernel's side. */
    for (int i = 0; i < 4; i++) {
        peer("later 1 recv %d", (int)sizeof data);
        long sent = 0;
        while (sent < (long)sizeof data) {
            long n = send(fd, data + sent, sizeof data - sent, MSG_ZEROCOPY);
            if (n < 0)
                break;
            sent += n;
        }
        printf("sent %ld\n", sent);
    }
    told(fd, 0, 3);
}

CASE(zerocopy_of_datagrams)
{
    int fd = zero_copy(udp());
    struct sockaddr_in a = address(peer_ip, port);
    SAY(peer("udp %d", port));
    SAY(sendto(fd, "abc", 3, MSG_ZEROCOPY, (void *)&a, sizeof a));
    SAY(sendto(fd, "abc", 3, 0, (void *)&a, sizeof a));
    SAY(sendto(fd, "abcd", 4, MSG_ZEROCOPY, (void *)&a, sizeof a));
    told(fd, 0, 1);
    events("poll", ready(fd, POLLOUT));
    int on = 5;
    socklen_t len = sizeof on;
    SAY(getsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, &len));
    SAY(on);
}

CASE(zerocopy_of_datagrams_that_the_kernel_sends)
{
    int fd = zero_copy(udp());
    static char data[9000];
    struct sockaddr_in a = address(peer_ip, port), here = address("127.0.0.1", port + 1);
    SAY(peer("udp %d", port));
    SAY(sendto(fd, "abc", 3, MSG_ZEROCOPY, (void *)&a, sizeof a));
    SAY(sendto(fd, data, sizeof data, MSG_ZEROCOPY, (void *)&a, sizeof a));
    SAY(sendto(fd, data, 70000, MSG_ZEROCOPY, (void *)&a, sizeof a));
    SAY(sendto(fd, "abc", 3, MSG_ZEROCOPY, (void *)&a, sizeof a));
    /* The kernel tells of the long one once it is read. */
    for (int i = 0; i < 3; i++)
        SAY(peer("urecv 9000"));
    unsigned first, sum = 0, count = 0;
    for (long until = now_ms() + 10000, end; count < 3 && now_ms() < until; usleep(1000))
        if ((end = one_report(fd, &first, 0)) >= 0)
            for (; first <= end; first++, count++)
                sum += 1 << first;
    printf("%u told: %x\n", count, sum);
}

CASE(zerocopy_over_six)
{
    int fd = zero_copy(socket(AF_INET6, SOCK_DGRAM, 0));
    struct sockaddr_in6 own = { .sin6_family = AF_INET6, .sin6_port = htons(port) }, to = own;
    inet_pton(AF_INET6, "fd00:77::1", &own.sin6_addr);
    inet_pton(AF_INET6, "fd00:77::2", &to.sin6_addr);
    SAY(bind(fd, (void *)&own, sizeof own));
    look(fd);
    SAY(sendto(fd, "abc", 3, MSG_ZEROCOPY, (void *)&to, sizeof to));
    told(fd, 0, 0);
}
