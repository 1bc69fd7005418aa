/* What the cases share: the peer, the words, the sockets. */
#ifndef CASE_H
#define CASE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/sockios.h>

struct entry {
    const char *name;
    void (*run)(void);
};

/* Every case registers itself. */
extern struct entry cases[];
extern int case_count;
void add_case(struct entry one);

#define CASE(what)                                                                                            \
    static void what(void);                                                                                  \
    __attribute__((constructor)) static void register_##what(void)                                            \
    {                                                                                                         \
        add_case((struct entry){ #what, what });                                                  \
    }                                                                                                         \
    static void what(void)

/* Prints a call's result: the value, or the errno's name. */
#define SAY(call)                                                                                             \
    do {                                                                                                      \
        errno = 0;                                                                                            \
        long result_ = (long)(call);                                                                          \
        int error_ = errno;                                                                                   \
        if (result_ < 0)                                                                                      \
            printf("%s = %s\n", #call, strerrorname_np(error_));                                              \
        else                                                                                                  \
            printf("%s = %ld\n", #call, result_);                                                             \
        fflush(stdout);                                                                                       \
    } while (0)

extern int port;                        /* this case's own */
extern const char *own_ip, *peer_ip;

long peer(const char *format, ...);     /* tells the peer; its number, or minus its errno */
struct sockaddr_in address(const char *ip, int port);
int tcp(void);                          /* a socket with SO_REUSEADDR */
int client(void);                       /* connected to the peer, which has accepted */
int listener(void);                     /* bound to this case's port and listening */
int server(void);                       /* accepted from the peer, which has connected */
int udp(void);                          /* bound to this case's port */
int ready(int fd, int events);          /* waits for as long as it may take; revents */
void look(int fd);                      /* polls once: what comes is for who waits */
void events(const char *what, int revents);  /* prints poll's or epoll's bits by name */
void waited(int epfd, int max, int timeout); /* prints what epoll_wait says */
void hole(char **edge);                 /* the end of a page with nothing behind it */
long now_ms(void);

/* Looks again until something is so, for as long as that may take on a busy machine. What is not so then is printed. */
#define WAIT_UNTIL(condition)                                                                                 \
    for (long end_ = now_ms() + 10000; !(condition) && now_ms() < end_;)                                      \
    usleep(1000)

void reaches(int fd, int state);        /* waits until TCP is in that state */
void arrived(int fd, int bytes);        /* waits until so many bytes are there to be read */
void drained(int fd);                   /* waits until all that was sent is acknowledged */

#endif
