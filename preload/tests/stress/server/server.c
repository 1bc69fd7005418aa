/* An echo server with four threads on one epoll set: server SECONDS [vandal]. A vandal is a thread that closes,
 * duplicates and shuts descriptors that may be anybody's. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS 4
#define WATCH (EPOLLIN | EPOLLONESHOT | EPOLLRDHUP)

static int set, listener;
static volatile int stop;

static void accept_all(void)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event e = { WATCH, { .fd = fd } };
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    }
}

/* Echoes what there is. False when the connection is at its end. */
static int echo(int fd)
{
    char b[4096];
    ssize_t n;
    while ((n = read(fd, b, sizeof b)) > 0)
        if (write(fd, b, n) != n)
            return 0;
    return n < 0 && errno == EAGAIN;
}

static void *worker(void *number)
{
    unsigned seed = (long)number;
    struct epoll_event e[8];
    while (!stop) {
        int n = epoll_wait(set, e, 8, 100);
        for (int i = 0; i < n; i++) {
            int fd = e[i].data.fd;
            if (fd == listener) {
                accept_all();
                continue;
            }
            if (rand_r(&seed) % 50 == 0)
                close(dup(fd));
            if (echo(fd)) {
                struct epoll_event again = { WATCH, { .fd = fd } };
                epoll_ctl(set, EPOLL_CTL_MOD, fd, &again);
            } else {
                close(fd);
            }
        }
    }
    return NULL;
}

static void *vandal(void *unused)
{
    unsigned seed = 99;
    (void)unused;
    while (!stop) {
        int fd = 20 + rand_r(&seed) % 40, one = 1;
        char c;
        switch (rand_r(&seed) % 6) {
        case 0: close(fd); break;
        case 1: close(dup(fd)); break;
        case 2: recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT); break;
        case 3: shutdown(fd, SHUT_WR); break;
        case 4: dup2(fd, 20 + rand_r(&seed) % 40); break;
        default: setsockopt(fd, IPPROTO_TCP, 1, &one, sizeof one);
        }
        usleep(rand_r(&seed) % 300);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in any = { AF_INET, htons(9200), { 0 }, { 0 } };
    pthread_t threads[THREADS + 1];
    int count = THREADS, one = 1;
    signal(SIGPIPE, SIG_IGN);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bind(listener, (void *)&any, sizeof any);
    listen(listener, 512);
    set = epoll_create1(0);
    struct epoll_event e = { EPOLLIN, { .fd = listener } };
    epoll_ctl(set, EPOLL_CTL_ADD, listener, &e);
    for (long i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, worker, (void *)(i + 1));
    if (argc > 2)
        pthread_create(&threads[count++], NULL, vandal, NULL);
    puts("up");
    fflush(stdout);
    sleep(atoi(argv[1]));
    stop = 1;
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    puts("ended well");
    return 0;
}
