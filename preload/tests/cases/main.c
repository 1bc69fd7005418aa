/* Runs one case: cases NAME NUMBER PEER-COMMAND…; or lists them: cases. */
#include "case.h"

enum { MOST = 1024 };
struct entry cases[MOST];
int case_count, port;
const char *own_ip = "10.77.0.1", *peer_ip = "10.77.0.2";
static FILE *to_peer, *from_peer;

void add_case(struct entry one)
{
    if (case_count == MOST)
        abort();
    cases[case_count++] = one;
}

long peer(const char *format, ...)
{
    va_list args;
    char line[256];
    va_start(args, format);
    vfprintf(to_peer, format, args);
    va_end(args);
    fputc('\n', to_peer);
    fflush(to_peer);
    if (!fgets(line, sizeof line, from_peer))
        return -1;
    if (line[0] == '-')
        printf("peer: %s", line);
    return atol(line);
}

struct sockaddr_in address(const char *ip, int number)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(number) };
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}

int tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return fd;
}

int client(void)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    peer("listen %d", port);
    if (connect(fd, (void *)&a, sizeof a))
        printf("connect: %s\n", strerrorname_np(errno));
    peer("accept");
    return fd;
}

int listener(void)
{
    int fd = tcp();
    struct sockaddr_in a = address(own_ip, port);
    if (bind(fd, (void *)&a, sizeof a) || listen(fd, 16))
        printf("listener: %s\n", strerrorname_np(errno));
    /* It takes connections once the process waits for it. */
    look(fd);
    return fd;
}

int server(void)
{
    int fd = listener();
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    if (conn < 0)
        printf("accept: %s\n", strerrorname_np(errno));
    close(fd);
    return conn;
}

int udp(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = address(own_ip, port);
    if (bind(fd, (void *)&a, sizeof a))
        printf("bind: %s\n", strerrorname_np(errno));
    look(fd);
    return fd;
}

int ready(int fd, int wanted)
{
    struct pollfd p = { fd, wanted, 0 };
    poll(&p, 1, 5000);
    return p.revents;
}

void look(int fd)
{
    struct pollfd p = { fd, POLLIN, 0 };
    poll(&p, 1, 0);
}

static int state(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t len = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? -1 : info.tcpi_state;
}

void reaches(int fd, int wanted)
{
    WAIT_UNTIL(state(fd) == wanted);
}

static int queued(int fd, unsigned long which)
{
    int bytes = -1;
    ioctl(fd, which, &bytes);
    return bytes;
}

void arrived(int fd, int bytes)
{
    WAIT_UNTIL(queued(fd, SIOCINQ) >= bytes);
}

void drained(int fd)
{
    WAIT_UNTIL(queued(fd, SIOCOUTQ) == 0);
}

void events(const char *what, int bits)
{
    static const struct {
        int bit;
        const char *name;
    } names[] = { { EPOLLIN, "IN" },   { EPOLLOUT, "OUT" },     { EPOLLPRI, "PRI" },   { EPOLLERR, "ERR" },
                  { EPOLLHUP, "HUP" }, { EPOLLRDHUP, "RDHUP" }, { POLLNVAL, "NVAL" },  { EPOLLRDNORM, "RDNORM" },
                  { EPOLLWRNORM, "WRNORM" } };
    printf("%s:", what);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (bits & names[i].bit)
            printf(" %s", names[i].name);
    printf("\n");
    fflush(stdout);
}

void waited(int epfd, int max, int timeout)
{
    struct epoll_event e[16];
    char what[64];
    int n = epoll_wait(epfd, e, max, timeout);
    if (n < 0) {
        printf("epoll_wait: %s\n", strerrorname_np(errno));
        return;
    }
    printf("epoll_wait: %d\n", n);
    for (int i = 0; i < n; i++) {
        snprintf(what, sizeof what, "  data %llx", (unsigned long long)e[i].data.u64);
        events(what, e[i].events);
    }
}

void hole(char **edge)
{
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    *edge = page + 4096;
}

long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The peer runs without the shim, in its own namespace, as the command line says. */
static void start_peer(char **command)
{
    int down[2], up[2];
    if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC))
        exit(3);
    if (fork() == 0) {
        dup2(down[0], 0);
        dup2(up[1], 1);
        unsetenv("LD_PRELOAD");
        /* What the peer inherits of a port would keep it open after the case has ended, and the library lets
         * nobody close it. */
        for (int fd = 3; fd < 5000; fd++)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
        execvp(command[0], command);
        _exit(127);
    }
    close(down[0]);
    close(up[1]);
    to_peer = fdopen(down[1], "w");
    from_peer = fdopen(up[0], "r");
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        for (int i = 0; i < case_count; i++)
            puts(cases[i].name);
        return 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    port = 7000 + 4 * atoi(argv[2]);
    start_peer(argv + 3);
    for (int i = 0; i < case_count; i++)
        if (!strcmp(cases[i].name, argv[1])) {
            alarm(50);
            cases[i].run();
            return 0;
        }
    fprintf(stderr, "no case %s\n", argv[1]);
    return 2;
}
