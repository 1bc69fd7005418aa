/* The other end: a program on the kernel's sockets that does what the lines on its standard input say and
 * answers each with one line. One TCP connection, one listener, one UDP socket. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int listener = -1, conn = -1, udp = -1;
static char buffer[1 << 20];

static struct sockaddr_in name(const char *ip, int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

static void answer(long result)
{
    if (result < 0)
        printf("-%s\n", strerrorname_np(errno));
    else
        printf("%ld\n", result);
    fflush(stdout);
}

static int tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct timeval limit = { .tv_sec = 3 };
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
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

int main(int argc, char **argv)
{
    const char *own = argv[1], *other = argv[2];
    char line[256], word[32];
    long n, m;
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    (void)argc;
    while (fgets(line, sizeof line, stdin)) {
        n = m = 0;
        sscanf(line, "%31s %ld %ld", word, &n, &m);
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
        } else if (!strcmp(word, "mark")) {
            answer(sockatmark(conn));
        } else if (!strcmp(word, "udp")) {
            udp = socket(AF_INET, SOCK_DGRAM, 0);
            a = name(own, n);
            struct timeval limit = { .tv_sec = 3 };
            setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
            answer(bind(udp, (void *)&a, sizeof a));
        } else if (!strcmp(word, "usend")) {
            a = name(other, n);
            answer(sendto(udp, buffer, m, 0, (void *)&a, sizeof a));
        } else if (!strcmp(word, "urecv")) {
            len = sizeof a;
            answer(recvfrom(udp, buffer, sizeof buffer, 0, (void *)&a, &len));
        } else if (!strcmp(word, "ureply")) {
            answer(sendto(udp, buffer, n, 0, (void *)&a, sizeof a));
        } else {
            printf("?\n");
            fflush(stdout);
        }
    }
    return 0;
}
