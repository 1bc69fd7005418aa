/* Signals, threads, fork. */
#include "case.h"
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

static volatile int count;
static void on_signal(int s)
{
    (void)s;
    count++;
}

static void alarm_in(long us, int flags)
{
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = flags };
    /* Again and again: one that comes before the call is not the last. */
    struct itimerval t = { { 0, us }, { 0, us } };
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
}

static void *feed(void *unused)
{
    (void)unused;
    usleep(150000);
    peer("send 4");
    return NULL;
}

static void only_here(void (*start)(pthread_t *))
{
    sigset_t all, old;
    pthread_t t;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    start(&t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void start_feed(pthread_t *t)
{
    pthread_create(t, NULL, feed, NULL);
}

CASE(recv_interrupted)
{
    int fd = server();
    char b[8];
    alarm_in(50000, 0);
    SAY(read(fd, b, 8));
    printf("%d\n", count > 0);
}

CASE(recv_restarted)
{
    int fd = server();
    char b[8];
    only_here(start_feed);
    alarm_in(50000, SA_RESTART);
    SAY(read(fd, b, 8));
    printf("%d\n", count > 0);
}

CASE(accept_interrupted)
{
    int fd = listener();
    alarm_in(50000, 0);
    SAY(accept(fd, NULL, NULL));
    printf("%d\n", count > 0);
}

CASE(poll_interrupted)
{
    int fd = server();
    struct pollfd f = { fd, POLLIN, 0 };
    alarm_in(50000, SA_RESTART);
    SAY(poll(&f, 1, 2000));
    printf("%d\n", count > 0);
}

/* Handlers by the old names: each sends on a connection, so it must not run while a call of another is in the library. */
static void by_old_name(__sighandler_t before)
{
    int fd = server();
    struct pollfd f = { fd, POLLIN, 0 };
    /* Once only, since some of them are: late enough that the call waits by then. */
    struct itimerval t = { { 0, 0 }, { 0, 500000 } };
    struct sigaction now;
    printf("%d\n", before == SIG_DFL);
    setitimer(ITIMER_REAL, &t, NULL);
    SAY(poll(&f, 1, 20000));
    sigaction(SIGALRM, NULL, &now);
    printf("%d, then its own %d, restarts %d\n", count, now.sa_handler != SIG_DFL, !!(now.sa_flags & SA_RESTART));
}

CASE(a_handler_by_sysv_signal)
{
    by_old_name(sysv_signal(SIGALRM, on_signal));
}

CASE(a_handler_by_ssignal)
{
    by_old_name(ssignal(SIGALRM, on_signal));
}

CASE(a_handler_by_sigset)
{
    by_old_name(sigset(SIGALRM, on_signal));
    printf("%d ", sigset(SIGALRM, SIG_HOLD) == on_signal);
    raise(SIGALRM);
    printf("%d ", count);
    printf("%d ", sigset(SIGALRM, SIG_IGN) == SIG_HOLD);
    printf("%d\n", count);
}

CASE(many_signals)
{
    int fd = server();
    struct sigaction act = { .sa_handler = on_signal };
    struct itimerval t = { { 0, 3000 }, { 0, 3000 } };
    struct pollfd f = { fd, POLLIN, 0 };
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
    for (int i = 0; i < 50; i++)
        if (poll(&f, 1, 3000) != -1 || errno != EINTR)
            printf("%d not interrupted\n", i);
    t.it_value.tv_usec = 0;
    setitimer(ITIMER_REAL, &t, NULL);
    printf("%d\n", count >= 50);
}

static int in_handler;
static void send_in_handler(int s)
{
    (void)s;
    if (count++ == 0)
        write(in_handler, "sig", 3);
}

CASE(a_handler_that_sends)
{
    int fd = server();
    char b[8];
    in_handler = fd;
    struct sigaction act = { .sa_handler = send_in_handler };
    struct itimerval t = { { 0, 50000 }, { 0, 50000 } };
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &t, NULL);
    SAY(read(fd, b, 8));
    SAY(peer("recv 3"));
}

CASE(handlers_are_told_truly)
{
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART | SA_NODEFER }, old;
    sigaddset(&act.sa_mask, SIGUSR2);
    SAY(sigaction(SIGUSR1, &act, NULL));
    SAY(sigaction(SIGUSR1, NULL, &old));
    printf("%d %x %d\n", old.sa_handler == on_signal, old.sa_flags & ~0x04000000, sigismember(&old.sa_mask, SIGUSR2));
    SAY(signal(SIGUSR1, SIG_IGN) == on_signal);
    SAY(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    SAY(sigaction(SIGKILL, &act, NULL));
    SAY(sigaction(99, &act, NULL));
    SAY(sigaction(SIGSEGV, NULL, &old));
    printf("%d\n", old.sa_handler == SIG_DFL);
    raise(SIGWINCH);
}

static void on_fault(int s, siginfo_t *info, void *context)
{
    (void)s;
    (void)context;
    printf("fault at %lx\n", (long)info->si_addr);
    fflush(stdout);
    _exit(7);
}

CASE(a_fault_of_the_application_is_its_own)
{
    struct sigaction act = { .sa_flags = SA_SIGINFO };
    act.sa_sigaction = on_fault;
    int fd = server();
    (void)fd;
    sigaction(SIGSEGV, &act, NULL);
    *(volatile char *)0x1230 = 1;
}

static void *reader(void *fd)
{
    char b[8];
    long n = read(*(int *)fd, b, 8);
    return (void *)n;
}

CASE(one_thread_reads_while_another_writes)
{
    int fd = server();
    pthread_t t;
    void *n;
    pthread_create(&t, NULL, reader, &fd);
    usleep(30000);
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
    peer("send 5");
    pthread_join(t, &n);
    printf("%ld\n", (long)n);
}

static void *acceptor(void *fd)
{
    return (void *)(long)accept(*(int *)fd, NULL, NULL);
}

CASE(threads_accept_and_read)
{
    int l = listener(), fd;
    pthread_t t, r;
    void *conn, *n;
    pthread_create(&t, NULL, acceptor, &l);
    usleep(30000);
    peer("connect %d", port);
    pthread_join(t, &conn);
    fd = (long)conn;
    pthread_create(&r, NULL, reader, &fd);
    peer("send 6");
    pthread_join(r, &n);
    printf("%ld\n", (long)n);
}

CASE(shutdown_wakes_a_reader)
{
    int fd = server();
    pthread_t t;
    void *n;
    pthread_create(&t, NULL, reader, &fd);
    usleep(50000);
    SAY(shutdown(fd, SHUT_RDWR));
    pthread_join(t, &n);
    printf("%ld\n", (long)n);
}

CASE(a_child_closes_its_copy)
{
    int fd = server(), status;
    if (fork() == 0) {
        close(fd);
        _exit(3);
    }
    wait(&status);
    printf("%d\n", WEXITSTATUS(status));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(a_child_runs_a_program)
{
    int fd = server();
    fflush(stdout);
    SAY(system("echo from a shell"));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
    pid_t pid = vfork();
    if (pid == 0) {
        close(fd);
        execl("/bin/true", "true", (char *)NULL);
        _exit(9);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("%d\n", WEXITSTATUS(status));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(a_worker_takes_the_listener)
{
    /* As a master and its worker: the master binds and listens, the child serves. */
    int fd = tcp(), status;
    struct sockaddr_in a = address(own_ip, port);
    SAY(bind(fd, (void *)&a, sizeof a));
    SAY(listen(fd, 16));
    int ready_pipe[2];
    pipe(ready_pipe);
    pid_t worker = fork();
    if (worker == 0) {
        int set = epoll_create1(0);
        struct epoll_event e = { EPOLLIN, { .u64 = 1 } };
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
        write(ready_pipe[1], "r", 1);
        epoll_wait(set, &e, 1, 3000);
        int conn = accept(fd, NULL, NULL);
        char b[8];
        long n = read(conn, b, 8);
        write(conn, b, n);
        close(conn);
        _exit(n);
    }
    char c;
    read(ready_pipe[0], &c, 1);
    SAY(peer("connect %d", port));
    SAY(peer("send 6"));
    SAY(peer("recv 6"));
    SAY(peer("eof"));
    waitpid(worker, &status, 0);
    printf("%d\n", WEXITSTATUS(status));
}

static void *waiter(void *set)
{
    struct epoll_event e;
    long n = epoll_wait(*(int *)set, &e, 1, 10000);
    count++;
    return (void *)n;
}

CASE(two_threads_wait_on_one_set)
{
    int fd = server(), set = epoll_create1(0);
    struct epoll_event e = { EPOLLIN | EPOLLET, { .u64 = 1 } };
    pthread_t a, b;
    void *n, *m;
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    pthread_create(&a, NULL, waiter, &set);
    pthread_create(&b, NULL, waiter, &set);
    usleep(50000);
    peer("send 1");
    WAIT_UNTIL(count == 1);
    peer("send 1");
    pthread_join(a, &n);
    pthread_join(b, &m);
    printf("%ld %ld\n", (long)n, (long)m);
}

static void *echo(void *arg)
{
    int fd = (long)arg;
    char b[4096];
    ssize_t n;
    while ((n = read(fd, b, sizeof b)) > 0)
        write(fd, b, n);
    return (void *)(long)n;
}

CASE(many_threads_each_with_a_connection)
{
    int l = listener();
    pthread_t t[8];
    void *n;
    for (int i = 0; i < 8; i++) {
        peer("connect %d", port);
        long fd = accept(l, NULL, NULL);
        pthread_create(&t[i], NULL, echo, (void *)fd);
        peer("send 30000");
        SAY(peer("recv 30000"));
        peer("shut");
        pthread_join(t[i], &n);
        printf("%ld\n", (long)n);
        close(fd);
        peer("close");
    }
}

static void *add_later(void *arg)
{
    int *f = arg;
    struct epoll_event e = { EPOLLIN, { .u64 = 2 } };
    usleep(50000);
    epoll_ctl(f[0], EPOLL_CTL_ADD, f[1], &e);
    return NULL;
}

CASE(a_descriptor_added_while_another_thread_waits)
{
    int fd = server(), set = epoll_create1(0), bell = eventfd(0, 0);
    struct epoll_event e = { EPOLLIN, { .u64 = 1 } };
    pthread_t t;
    int both[2] = { set, fd };
    epoll_ctl(set, EPOLL_CTL_ADD, bell, &e);
    peer("send 1");
    ready(fd, POLLIN);
    pthread_create(&t, NULL, add_later, both);
    waited(set, 4, 3000);
    pthread_join(t, NULL);
}

static void *modify_later(void *arg)
{
    int *f = arg;
    struct epoll_event e = { EPOLLOUT, { .u64 = 2 } };
    usleep(50000);
    epoll_ctl(f[0], EPOLL_CTL_MOD, f[1], &e);
    return NULL;
}

CASE(interest_changed_while_another_thread_waits)
{
    int fd = server(), set = epoll_create1(0);
    struct epoll_event e = { EPOLLIN, { .u64 = 1 } };
    pthread_t t;
    int both[2] = { set, fd };
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    pthread_create(&t, NULL, modify_later, both);
    waited(set, 4, 3000);
    pthread_join(t, NULL);
}

CASE(a_child_serves_the_connection_of_its_parent_no_more_than_it_may)
{
    /* A connection stays the parent's: it goes on after the child has looked at its copy. */
    int fd = server();
    fflush(stdout);
    if (fork() == 0) {
        struct pollfd f = { fd, 0, 0 };
        poll(&f, 1, 0);
        _exit(0);
    }
    wait(NULL);
    SAY(peer("send 4"));
    char b[8];
    SAY(read(fd, b, 8));
}

CASE(a_child_serves_what_its_parent_closes)
{
    int fd = server(), status;
    fflush(stdout);
    if (fork() == 0) {
        char b[8];
        long n = read(fd, b, 8);
        write(fd, b, n);
        _exit(n);
    }
    close(fd);
    SAY(peer("send 5"));
    SAY(peer("recv 5"));
    SAY(peer("eof"));
    wait(&status);
    printf("%d\n", WEXITSTATUS(status));
}

/* dropbear's listeners linger, and so does what it accepts by them. */
CASE(a_child_serves_what_its_parent_closes_and_lingers_on)
{
    struct linger on = { 1, 5 };
    int l = listener(), status;
    char b[8];
    SAY(setsockopt(l, SOL_SOCKET, SO_LINGER, &on, sizeof on));
    SAY(peer("connect %d", port) >= 0);
    int fd = accept(l, NULL, NULL), go[2];
    pipe(go);
    fflush(stdout);
    if (fork() == 0) {
        read(go[0], b, 1);
        _exit(read(fd, b, 4) + write(fd, "abc", 3));
    }
    close(fd);
    write(go[1], "", 1);
    SAY(peer("send 4"));
    SAY(peer("recv 3"));
    wait(&status);
    printf("%d\n", WEXITSTATUS(status));
    SAY(peer("eof"));
}

/* So inetd begins what serves: the loader's variables are not for strangers' programs. */
CASE(a_program_has_its_connection_though_the_loaders_variables_are_gone)
{
    int fd = server(), status;
    char *words[] = { "cat", NULL };
    fflush(stdout);
    if (fork() == 0) {
        unsetenv("LD_PRELOAD");
        dup2(fd, 0);
        dup2(fd, 1);
        close(fd);
        execv("/bin/cat", words);
        _exit(9);
    }
    close(fd);
    SAY(peer("send 4"));
    SAY(peer("recv 4"));
    SAY(peer("shut"));
    SAY(peer("eof"));
    SAY(wait(&status) > 0);
    SAY(WEXITSTATUS(status));
}

/* So proftpd's sessions do it. libc has all threads change their user, and aborts where one of them may not: the main thread
 * has the right by its capabilities, which are its own. */
CASE(a_process_with_capabilities_changes_its_user)
{
    struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct sets[2] = { { 1 << CAP_SETUID, 1 << CAP_SETUID, 0 } };
    int fd = server();
    char b[8];
    SAY(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    SAY(setresuid(65534, 65534, 65534));
    SAY(syscall(SYS_capset, &header, sets));
    SAY(setresuid(-1, 0, -1));
    SAY(setresuid(-1, 65534, -1));
    sets[0].effective = sets[0].permitted = 0;
    SAY(syscall(SYS_capset, &header, sets));
    SAY(setresuid(-1, 0, -1));
    SAY(peer("send 4"));
    SAY(read(fd, b, 8));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

/* So ncat runs a program: its child talks to the client, and the child's child tells the program who that is. */
CASE(the_child_of_a_child_knows_who_its_grandparents_client_is)
{
    int fd = server(), status;
    fflush(stdout);
    if (fork() == 0) {
        if (fork() == 0) {
            struct sockaddr_in a;
            socklen_t len = sizeof a;
            SAY(getpeername(fd, (void *)&a, &len));
            printf("%s\n", inet_ntoa(a.sin_addr));
            len = sizeof a;
            SAY(getsockname(fd, (void *)&a, &len));
            printf("%s %d\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port) - port);
            fflush(stdout);
            _exit(0);
        }
        wait(&status);
        _exit(write(fd, "abc", 3));
    }
    close(fd);
    wait(&status);
    SAY(WEXITSTATUS(status));
    SAY(peer("recv 3"));
    SAY(peer("eof"));
}

CASE(a_connection_comes_back_from_a_child_that_used_it)
{
    int fd = server(), status;
    char b[8];
    SAY(peer("send 4"));
    fflush(stdout);
    if (fork() == 0)
        _exit(read(fd, b, 2));
    wait(&status);
    printf("%d\n", WEXITSTATUS(status));
    SAY(read(fd, b, 8));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(a_connection_ends_with_the_last_child_that_holds_it)
{
    int fd = server(), status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        /* It never uses it. */
        pause();
        _exit(0);
    }
    close(fd);
    SAY(peer("send 2"));
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    printf("%d\n", WTERMSIG(status));
    SAY(peer("eof"));
}

/* Puts a filter on this process that kills it for what only the library calls, behind the library's back, as a
 * sandbox does that makes its system calls itself. */
static long by_itself(long number, long a, long b, long c)
{
    long result;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

static void confine(void)
{
    static const int forbidden[] = { SYS_bpf, SYS_io_uring_setup, SYS_eventfd2, SYS_pidfd_open };
    enum { MANY = sizeof forbidden / sizeof *forbidden };
    struct sock_filter code[2 * MANY + 2] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0) };
    int n = 1;
    for (int i = 0; i < MANY; i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forbidden[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = { n, code };
    by_itself(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0);
    by_itself(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (long)&program);
}

/* What `a_program_begins_in_a_sandbox` executes; by itself as any other. */
CASE(a_listener_alone)
{
    struct pollfd one = { listener(), POLLIN, 0 };
    SAY(poll(&one, 1, 0));
}

CASE(a_program_begins_in_a_sandbox)
{
    /* Its number, so its port, and for a peer one that ends at once. */
    char self[] = "/proc/self/exe", number[16];
    snprintf(number, sizeof number, "%d", (port - 7000) / 4);
    int status;
    fflush(stdout);
    if (fork() == 0) {
        /* What is told there of the road is for who looks after the program. */
        dup2(open("/dev/null", O_WRONLY), 2);
        confine();
        execl(self, self, "a_listener_alone", number, "true", NULL);
        _exit(9);
    }
    SAY(wait(&status) > 0);
    SAY(WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    SAY(WEXITSTATUS(status));
}
