/* The other end: a program on the kernel's sockets that does what the lines on its standard input say and
 * answers each with one line. One TCP connection, one listener, one UDP socket. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static int listener = -1, conn = -1, udp = -1;
static char buffer[1 << 20];

static struct sockaddr_in name(const char *ip, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static const char own_ip6[] = "fd00:77::2", other_ip6[] = "fd00:77::1";

static struct sockaddr_in6 name6(const char *ip, int port)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    inet_pton(AF_INET6, ip, &a.sin6_addr);
    return a;
}
static int quiet;

static void answer(long result)
{
    if (quiet) {
        quiet = 0;
        return;
    }
    if (result < 0)
        printf("-%s\n", strerrorname_np(errno));
    else
        printf("%ld\n", result);
    fflush(stdout);
}

static int stream(int family)
{
    int fd = socket(family, SOCK_STREAM, 0), one = 1;
    struct timeval limit = { .tv_sec = 3 };
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

static int tcp(void)
{
    return stream(AF_INET);
}

static int listen6(const char *ip, int port)
{
    struct sockaddr_in6 a = name6(ip, port);
    if (listener >= 0)
        close(listener);
    listener = stream(AF_INET6);
    return bind(listener, (void *)&a, sizeof a) || listen(listener, 128) ? -1 : 0;
}

/* Receives up to n bytes, as long as they come. */
static long receive(long n)
{
    long got = 0;
    while (got < n) {
        ssize_t r = recv(conn, buffer, n - got < (long)sizeof buffer ? n - got : (long)sizeof buffer, 0);
        if (r < 0)
            return got ? got : -1;
        if (r == 0)
            break;
        got += r;
    }
    return got;
}

static long transmit(long n)
{
    long sent = 0;
    for (size_t i = 0; i < sizeof buffer; i++)
        buffer[i] = 'a' + i % 26;
    while (sent < n) {
        ssize_t r = send(conn, buffer + sent % 26, n - sent < 1 << 19 ? n - sent : 1 << 19, MSG_NOSIGNAL);
        if (r < 0)
            return sent ? sent : -1;
        sent += r;
    }
    return sent;
}

static struct sockaddr_in group(int n, int port)
{
    char ip[32];
    snprintf(ip, sizeof ip, "239.1.1.%d", n);
    return name(ip, port);
}

static struct sockaddr_in6 group6(int n, int port)
{
    char ip[32];
    snprintf(ip, sizeof ip, "ff05::77:%d", n);
    return name6(ip, port);
}

/* Receives a datagram and answers TTL * 256 + TOS of it. */
static long with_info(void)
{
    int one = 1, ttl = 0, tos = 0;
    char control[128];
    struct iovec v = { buffer, sizeof buffer };
    struct msghdr m = { NULL, 0, &v, 1, control, sizeof control, 0 };
    setsockopt(udp, SOL_IP, IP_RECVTTL, &one, sizeof one);
    setsockopt(udp, SOL_IP, IP_RECVTOS, &one, sizeof one);
    setsockopt(udp, SOL_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof one);
    setsockopt(udp, SOL_IPV6, IPV6_RECVTCLASS, &one, sizeof one);
    if (recvmsg(udp, &m, 0) < 0)
        return -1;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
        int six = h->cmsg_level == SOL_IPV6;
        if (h->cmsg_type == (six ? IPV6_HOPLIMIT : IP_TTL))
            ttl = *(int *)CMSG_DATA(h);
        if (h->cmsg_type == (six ? IPV6_TCLASS : IP_TOS))
            tos = *CMSG_DATA(h);
    }
    return ttl * 256 + tos;
}

static int established(int fd)
{
    struct pollfd p = { fd, POLLOUT, 0 };
    return poll(&p, 1, 0) == 1 && !(p.revents & (POLLERR | POLLHUP));
}

/* That many connections more, all at once; how many are established a while later, or when all are for which the machine
 * has had time. */
static long connect_more(struct sockaddr_in a, long n, long ms, long longest)
{
    static int others[256], count;
    for (long i = 0; i < n && count < 256; i++) {
        int fd = others[count++] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fd, (void *)&a, sizeof a);
    }
    long up = 0, waited = 0;
    do {
        usleep(ms * 1000);
        up = 0;
        for (int i = 0; i < count; i++)
            up += established(others[i]);
        waited += ms;
    } while (up < count && waited < longest);
    return up;
}

/* Whether the connection has been reset, as soon as that is so. */
static long is_gone(void)
{
    struct tcp_info info = { 0 };
    for (int turn = 0; turn < 10000 && info.tcpi_state != TCP_CLOSE; turn++) {
        socklen_t len = sizeof info;
        if (turn)
            usleep(1000);
        if (getsockopt(conn, IPPROTO_TCP, TCP_INFO, &info, &len))
            return -1;
    }
    return info.tcpi_state == TCP_CLOSE;
}

int main(int argc, char **argv)
{
    const char *own = argv[1], *other = argv[2];
    char line[256], word[32];
    long port = 0, n, m, k;
    struct sockaddr_in a;
    struct sockaddr_in6 a6;
    socklen_t len = sizeof a;
    (void)argc;
    while (fgets(line, sizeof line, stdin)) {
        n = m = 0;
        k = 0;
        int rest = 0;
        sscanf(line, "%31s %ld %ld %ld", word, &n, &m, &k);
        if (!strcmp(word, "later") && sscanf(line, "%*s %*s %n", &rest) == 0) {
            /* later MS COMMAND: answered now, done then. */
            answer(0);
            usleep(n * 1000);
            memmove(line, line + rest, strlen(line + rest) + 1);
            n = m = k = 0;
            sscanf(line, "%31s %ld %ld %ld", word, &n, &m, &k);
            quiet = 1;
        }
        if (!strcmp(word, "listen")) {
            listener = tcp();
            a = name(own, n);
            answer(bind(listener, (void *)&a, sizeof a) || listen(listener, 128) ? -1 : 0);
        } else if (!strcmp(word, "accept")) {
            conn = accept(listener, NULL, NULL);
            struct timeval limit = { .tv_sec = 3 };
            setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
            answer(conn < 0 ? -1 : 0);
        } else if (!strcmp(word, "connect")) {
            conn = tcp();
            a = name(other, n);
            answer(connect(conn, (void *)&a, sizeof a));
        } else if (!strcmp(word, "listen6")) {
            answer(listen6(own_ip6, n));
        } else if (!strcmp(word, "listen6any")) {
            answer(listen6("::", n));
        } else if (!strcmp(word, "connect6")) {
            conn = stream(AF_INET6);
            a6 = name6(other_ip6, n);
            answer(connect(conn, (void *)&a6, sizeof a6));
        } else if (!strcmp(word, "udp6") || !strcmp(word, "udp6any")) {
            if (udp >= 0)
                close(udp);
            udp = socket(AF_INET6, SOCK_DGRAM, 0);
            a6 = name6(strcmp(word, "udp6") ? "::" : own_ip6, n);
            struct timeval limit = { .tv_sec = 3 };
            setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
            answer(bind(udp, (void *)&a6, sizeof a6));
        } else if (!strcmp(word, "usend6")) {
            a6 = name6(other_ip6, n);
            answer(sendto(udp, buffer, m, 0, (void *)&a6, sizeof a6));
        } else if (!strcmp(word, "urecv6")) {
            socklen_t len6 = sizeof a6;
            answer(recvfrom(udp, buffer, sizeof buffer, 0, (void *)&a6, &len6));
        } else if (!strcmp(word, "ureply6")) {
            answer(sendto(udp, buffer, n, 0, (void *)&a6, sizeof a6));
        } else if (!strcmp(word, "send")) {
            answer(transmit(n));
        } else if (!strcmp(word, "recv")) {
            answer(receive(n));
        } else if (!strcmp(word, "text")) {
            long r = receive(n);
            printf("%.*s\n", (int)(r < 0 ? 0 : r), buffer);
            fflush(stdout);
        } else if (!strcmp(word, "eof")) {
            answer(recv(conn, buffer, 1, 0));
        } else if (!strcmp(word, "shut")) {
            answer(shutdown(conn, SHUT_WR));
        } else if (!strcmp(word, "close")) {
            answer(close(conn));
        } else if (!strcmp(word, "reset")) {
            struct linger hard = { 1, 0 };
            setsockopt(conn, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
            answer(close(conn));
        } else if (!strcmp(word, "oob")) {
            answer(send(conn, "!", 1, MSG_OOB));
        } else if (!strcmp(word, "oobs")) {
            answer(send(conn, "!?+-=/%$#@", n, MSG_OOB));
        } else if (!strcmp(word, "pri")) {
            struct pollfd p = { conn, POLLPRI, 0 };
            answer(poll(&p, 1, 3000));
        } else if (!strcmp(word, "orecv")) {
            answer(recv(conn, buffer, 1, MSG_OOB) == 1 ? buffer[0] : -1);
        } else if (!strcmp(word, "maxseg")) {
            int mss = 0;
            len = sizeof mss;
            answer(getsockopt(conn, IPPROTO_TCP, TCP_MAXSEG, &mss, &len) ? -1 : mss);
        } else if (!strcmp(word, "soon")) {
            struct pollfd p = { conn, POLLIN, 0 };
            answer(poll(&p, 1, n ? n : 80));
        } else if (!strcmp(word, "smallrecv")) {
            int size = 2304;
            answer(setsockopt(conn, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
        } else if (!strcmp(word, "at")) {
            port = n;
            answer(0);
        } else if (!strcmp(word, "more")) {
            answer(connect_more(name(other, port), n, m, k));
        } else if (!strcmp(word, "gone")) {
            answer(is_gone());
        } else if (!strcmp(word, "mark")) {
            answer(sockatmark(conn));
        } else if (!strcmp(word, "udp")) {
            if (udp >= 0)
                close(udp);
            udp = socket(AF_INET, SOCK_DGRAM, 0);
            a = name(strstr(line, " any") ? "0.0.0.0" : own, n);
            struct timeval limit = { .tv_sec = 3 };
            setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
            answer(bind(udp, (void *)&a, sizeof a));
        } else if (!strcmp(word, "usend")) {
            a = name(other, n);
            answer(sendto(udp, buffer, m, 0, (void *)&a, sizeof a));
        } else if (!strcmp(word, "urecv")) {
            len = sizeof a;
            answer(recvfrom(udp, buffer, sizeof buffer, 0, (void *)&a, &len));
        } else if (!strcmp(word, "uset")) {
            int value = k;
            answer(setsockopt(udp, n, m, &value, sizeof value));
        } else if (!strcmp(word, "uinfo")) {
            answer(with_info());
        } else if (!strcmp(word, "ufrom")) {
            answer(ntohl(a.sin_addr.s_addr) & 255);
        } else if (!strcmp(word, "mjoin")) {
            struct ip_mreq g = { group(n, 0).sin_addr, name(own, 0).sin_addr };
            answer(setsockopt(udp, SOL_IP, IP_ADD_MEMBERSHIP, &g, sizeof g));
        } else if (!strcmp(word, "msend")) {
            struct in_addr out = name(own, 0).sin_addr;
            setsockopt(udp, SOL_IP, IP_MULTICAST_IF, &out, sizeof out);
            a = group(n, m);
            answer(sendto(udp, buffer, k, 0, (void *)&a, sizeof a));
        } else if (!strcmp(word, "mjoin6")) {
            struct ipv6_mreq g = { group6(n, 0).sin6_addr, if_nametoindex("road0") };
            answer(setsockopt(udp, SOL_IPV6, IPV6_JOIN_GROUP, &g, sizeof g));
        } else if (!strcmp(word, "msend6")) {
            int out = if_nametoindex("road0");
            setsockopt(udp, SOL_IPV6, IPV6_MULTICAST_IF, &out, sizeof out);
            a6 = group6(n, m);
            answer(sendto(udp, buffer, k, 0, (void *)&a6, sizeof a6));
        } else if (!strcmp(word, "bsend")) {
            int one = 1;
            setsockopt(udp, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
            a = name("10.77.0.255", n);
            answer(sendto(udp, buffer, m, 0, (void *)&a, sizeof a));
        } else if (!strcmp(word, "useg")) {
            int size = k, none = 0;
            a = name(other, n);
            setsockopt(udp, SOL_UDP, UDP_SEGMENT, &size, sizeof size);
            answer(sendto(udp, buffer, m, 0, (void *)&a, sizeof a));
            setsockopt(udp, SOL_UDP, UDP_SEGMENT, &none, sizeof none);
        } else if (!strcmp(word, "ureply")) {
            answer(sendto(udp, buffer, n, 0, (void *)&a, sizeof a));
        } else {
            printf("?\n");
            fflush(stdout);
        }
    }
    return 0;
}
