/* Children that are made in other ways than by fork, and parents and children that use one connection side by side. */
#include "case.h"
#include <sched.h>

static char hers[] = "child", his[] = "parent";

/* One end of a connection in either process: the child reads four octets and answers, then the parent does. */
static void serve(int fd, const char *who)
{
    char b[8];
    int left = 4;
    for (int got; left > 0 && (got = read(fd, b, left)) > 0;)
        left -= got;
    printf("%s: %d left, sent %zd\n", who, left, write(fd, who, strlen(who)));
    fflush(stdout);
}

static int is_over(pid_t pid)
{
    int status = 0;
    SAY(waitpid(pid, &status, __WALL) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Both have a turn at a connection, the child first. */
static void take_turns(pid_t (*start)(int))
{
    int fd = server();
    fflush(stdout);
    SAY(peer("send 4"));
    pid_t pid = start(fd);
    SAY(is_over(pid));
    SAY(peer("recv 5"));
    SAY(peer("send 4"));
    serve(fd, his);
    SAY(peer("recv 6"));
}

static pid_t by_number(int fd)
{
    pid_t pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        serve(fd, hers);
        _exit(3);
    }
    return pid;
}

CASE(a_child_made_by_the_number_of_clone)
{
    take_turns(by_number);
}

static pid_t first_of_its_namespace(int fd)
{
    pid_t pid = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) {
        printf("%d\n", getpid());
        serve(fd, hers);
        _exit(4);
    }
    return pid;
}

/* So vsftpd makes the process of each of its clients. */
CASE(a_child_made_in_namespaces_of_its_own)
{
    take_turns(first_of_its_namespace);
}

static int run(void *fd)
{
    serve(*(int *)fd, hers);
    return 5;
}

static pid_t by_function(int fd)
{
    static char stack[1 << 18] __attribute__((aligned(16)));
    return clone(run, stack + sizeof stack, SIGCHLD, &fd);
}

CASE(a_child_made_by_the_function_clone)
{
    take_turns(by_function);
}

static pid_t by_clone3(int fd)
{
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } args = { 0 };
    args.exit_signal = SIGCHLD;
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        serve(fd, hers);
        _exit(6);
    }
    return pid;
}

CASE(a_child_made_by_the_number_of_clone3)
{
    take_turns(by_clone3);
}

static void *talk(void *answer)
{
    char b[8];
    int fd = client();
    write(fd, "abcd", 4);
    *(int *)answer = peer("recv 4") == 4 && peer("send 4") == 4 && read(fd, b, 8) == 4;
    return NULL;
}

/* A stack for little more than the library's own variables and a call: what it needs beside is its own affair. */
CASE(a_thread_with_a_small_stack_begins)
{
    pthread_attr_t small;
    pthread_t thread;
    int good = 0;
    pthread_attr_init(&small);
    SAY(pthread_attr_setstacksize(&small, 40960));
    pthread_create(&thread, &small, talk, &good);
    pthread_join(thread, NULL);
    SAY(good);
}

static long by_itself(long number, long a)
{
    long result;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(0), "d"(0), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
}

/* Nobody was told of this child: it must do no harm, whatever it calls. */
CASE(a_child_made_past_libc_does_no_harm)
{
    int fd = server(), status = 0;
    char b[8];
    fflush(stdout);
    pid_t pid = by_itself(SYS_clone, SIGCHLD);
    if (pid == 0) {
        for (int i = 0; i < 1000; i++) {
            struct pollfd one = { fd, POLLIN, 0 };
            poll(&one, 1, 0);
            recv(fd, b, 8, MSG_DONTWAIT | MSG_PEEK);
        }
        close(fd);
        exit(7);
    }
    waitpid(pid, &status, 0);
    SAY(WEXITSTATUS(status));
    SAY(peer("send 4"));
    serve(fd, his);
    SAY(peer("recv 6"));
}

/* So rsync receives: one process reads all the time, the other one writes. */
CASE(one_process_reads_what_another_one_writes_to)
{
    enum { ROUNDS = 30 };
    int fd = client(), status = 0, good = 0;
    char b[8];
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int all = 0;
        for (int got; all < 100 * ROUNDS && (got = read(fd, b, 8)) > 0;)
            all += got;
        _exit(all == 100 * ROUNDS ? 8 : 1);
    }
    for (int i = 0; i < ROUNDS; i++) {
        good += peer("send 100") == 100;
        good += write(fd, his, 6) == 6;
        good += peer("recv 6") == 6;
    }
    waitpid(pid, &status, 0);
    SAY(good);
    SAY(WEXITSTATUS(status));
    SAY(peer("send 4"));
    serve(fd, his);
    SAY(peer("recv 6"));
}

/* The same, with both where they wait for readiness, each until it has had its turn. */
CASE(two_processes_wait_for_one_connection_in_turns)
{
    enum { ROUNDS = 20 };
    int fd = server(), status = 0, good = 0, had[2], go[2];
    char b[8];
    struct pollfd one = { fd, POLLIN, 0 };
    pipe(had);
    pipe(go);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < ROUNDS; i++) {
            if (poll(&one, 1, 10000) != 1 || read(fd, b, 1) != 1 || write(fd, "c", 1) != 1)
                _exit(1);
            write(had[1], "", 1);
            read(go[0], b, 1);
        }
        _exit(0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        good += peer("send 1") == 1;
        good += read(had[0], b, 1) == 1;
        good += peer("recv 1") == 1;
        good += peer("send 1") == 1;
        good += poll(&one, 1, 10000) == 1 && read(fd, b, 8) == 1 && write(fd, "p", 1) == 1;
        good += peer("recv 1") == 1;
        write(go[1], "", 1);
    }
    waitpid(pid, &status, 0);
    SAY(good);
    SAY(WEXITSTATUS(status));
}

/* The same beside a process that prints: what it serves its peer sees. */
static void serve_silently(int fd, const char *who)
{
    char b[8];
    if (recv(fd, b, 4, MSG_WAITALL) != 4 || write(fd, who, strlen(who)) != (ssize_t)strlen(who))
        _exit(8);
}

static void becomes_cat(int from, int to)
{
    char *cat[] = { "cat", NULL };
    dup2(from, 0);
    dup2(to, 1);
    execv("/usr/bin/cat", cat);
    _exit(9);
}

/* The program knows nothing of the connection, and has it open. */
CASE(a_child_that_has_become_another_program_shares_with_its_parent)
{
    int fd = server(), to[2], from[2];
    char c = 'c';
    pipe2(to, O_CLOEXEC);
    pipe2(from, O_CLOEXEC);
    fflush(stdout);
    SAY(peer("send 4"));
    pid_t pid = fork();
    if (pid == 0) {
        serve_silently(fd, hers);
        becomes_cat(to[0], from[1]);
    }
    SAY(peer("recv 5"));
    /* It is that program. */
    SAY(write(to[1], &c, 1));
    SAY(read(from[0], &c, 1));
    SAY(peer("send 4"));
    serve(fd, his);
    SAY(peer("recv 6"));
    close(to[1]);
    SAY(is_over(pid));
    SAY(peer("send 4"));
    serve(fd, his);
    SAY(peer("recv 6"));
}

/* Its child has the connection, which is the next program's standard input and output. */
static void becomes_head(int fd, int waits)
{
    char c, *head[] = { "head", "-c", "5", NULL };
    int told[2];
    pipe2(told, O_CLOEXEC);
    if (fork() == 0) {
        serve_silently(fd, hers);
        write(told[1], "", 1);
        read(waits, &c, 1);
        _exit(0);
    }
    read(told[0], &c, 1);
    dup2(fd, 0);
    dup2(fd, 1);
    close(fd);
    execv("/usr/bin/head", head);
    _exit(9);
}

CASE(a_parent_that_has_become_another_program_shares_with_its_child)
{
    int fd = server(), go[2];
    pipe2(go, O_CLOEXEC);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        serve_silently(fd, his);
        becomes_head(fd, go[0]);
    }
    close(fd);
    SAY(peer("send 4"));
    SAY(peer("recv 6"));
    SAY(peer("send 4"));
    SAY(peer("recv 5"));
    SAY(peer("send 5"));
    SAY(peer("recv 5"));
    SAY(is_over(pid));
    close(go[1]);
    SAY(peer("eof"));
}
