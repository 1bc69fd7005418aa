/* Other programs are started: what they inherit and what not. */
#include "case.h"
#include <dlfcn.h>
#include <spawn.h>

CASE(a_spawned_program_writes_to_a_pipe)
{
    extern char **environ;
    int fd = server(), p[2], status = -1;
    char *args[] = { "sh", "-c", "echo out; exit 3", NULL }, b[64] = "";
    posix_spawn_file_actions_t actions;
    pid_t child;
    pipe(p);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, p[1], 1);
    posix_spawn_file_actions_addclose(&actions, p[0]);
    SAY(posix_spawnp(&child, "sh", &actions, NULL, args, environ));
    close(p[1]);
    SAY(read(p[0], b, sizeof b));
    SAY(read(p[0], b, sizeof b));
    waitpid(child, &status, 0);
    printf("%d\n", WEXITSTATUS(status));
    SAY(posix_spawn(&child, "/bin/none", NULL, NULL, args, environ));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(popen_and_system)
{
    int fd = server();
    char line[32] = "";
    FILE *f = popen("echo one; cat >&2 </dev/null; exit 2", "r");
    SAY(fgets(line, sizeof line, f) == line);
    printf("%s", line);
    SAY(pclose(f));
    SAY(system("exit 5"));
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}

/* Starts a program, which echoes five bytes of its standard input. */
static int echoes(int fd, char **env, int by_name)
{
    char *args[] = { "head", "-c", "5", NULL };
    posix_spawn_file_actions_t actions;
    pid_t child = -1;
    int error;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    error = by_name ? posix_spawnp(&child, "head", &actions, NULL, args, env)
                    : posix_spawn(&child, "/usr/bin/head", &actions, NULL, args, env);
    posix_spawn_file_actions_destroy(&actions);
    printf("%d\n", error);
    return child;
}

static void ends(pid_t child)
{
    int status = -1;
    SAY(waitpid(child, &status, 0) == child);
    printf("%d\n", status);
}

CASE(a_spawned_program_gets_a_connection_by_its_actions)
{
    extern char **environ;
    char *none[] = { NULL };
    for (int way = 0; way < 3; way++) {
        int fd = server();
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        pid_t child = echoes(fd, way == 1 ? none : environ, way == 2);
        close(fd);
        peer("send 5");
        SAY(peer("recv 5"));
        ends(child);
        SAY(peer("eof"));
    }
}

CASE(a_connection_comes_back_from_a_spawned_program)
{
    extern char **environ;
    int fd = server();
    char b[16];
    SAY(write(fd, "begin", 5));
    SAY(peer("recv 5"));
    for (int round = 0; round < 3; round++) {
        pid_t child = echoes(fd, environ, round & 1);
        peer("send 5");
        SAY(peer("recv 5"));
        ends(child);
        peer("send 3");
        ready(fd, POLLIN);
        SAY(read(fd, b, sizeof b));
        SAY(write(fd, "abc", 3));
        SAY(peer("recv 3"));
    }
    close(fd);
    SAY(peer("eof"));
}

CASE(a_spawned_program_gets_what_was_made_to_outlive_an_exec)
{
    extern char **environ;
    for (int way = 0; way < 3; way++) {
        int fd = server();
        char command[64], *args[] = { "sh", "-c", command, NULL };
        posix_spawn_file_actions_t actions;
        pid_t child = -1;
        snprintf(command, sizeof command, "head -c 5 <&%d >&%d", fd, fd);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        posix_spawn_file_actions_init(&actions);
        if (way == 0)
            fcntl(fd, F_SETFD, 0);
        else if (way == 1)
            ioctl(fd, FIONCLEX);
        else
            posix_spawn_file_actions_adddup2(&actions, fd, fd);
        SAY(posix_spawn(&child, "/bin/sh", &actions, NULL, args, environ));
        posix_spawn_file_actions_destroy(&actions);
        close(fd);
        peer("send 5");
        SAY(peer("recv 5"));
        ends(child);
        SAY(peer("eof"));
    }
}

CASE(a_program_that_cannot_be_spawned_takes_nothing)
{
    extern char **environ;
    int fd = server();
    char *args[] = { "none", NULL };
    posix_spawn_file_actions_t actions;
    pid_t child = -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, 0);
    SAY(posix_spawn(&child, "/not/there", &actions, NULL, args, environ));
    SAY(posix_spawnp(&child, "there-is-no-such-program", &actions, NULL, args, environ));
    SAY(posix_spawn_file_actions_adddup2(&actions, -1, 0));
    posix_spawn_file_actions_destroy(&actions);
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
    close(fd);
    SAY(peer("eof"));
}

CASE(popen_and_system_on_a_connection)
{
    int fd = server();
    char line[32] = "";
    dup2(fd, 0);
    close(fd);
    peer("send 5");
    FILE *f = popen("head -c 5", "r");
    SAY(fread(line, 1, sizeof line, f));
    SAY(pclose(f));
    peer("send 3");
    SAY(system("head -c 3 >&0"));
    SAY(peer("recv 3"));
    SAY(write(0, "abc", 3));
    SAY(peer("recv 3"));
    SAY(system(NULL) != 0);
    close(0);
    SAY(peer("eof"));
}

CASE(a_library_loaded_later_uses_sockets)
{
    /* It finds the same functions, whoever loads it; and a pointer to a function is the function. */
    int fd = server();
    void *self = dlopen(NULL, RTLD_NOW);
    ssize_t (*send_it)(int, const void *, size_t, int) = dlsym(RTLD_DEFAULT, "send");
    int (*close_it)(int) = dlsym(self, "close");
    SAY(send_it(fd, "abc", 3, 0));
    SAY(peer("recv 3"));
    SAY(close_it(fd));
    SAY(peer("eof"));
}

static void *on_a_small_stack(void *arg)
{
    char b[8];
    long fd = *(int *)arg;
    write(fd, "abc", 3);
    return (void *)read(fd, b, 8);
}

CASE(a_thread_with_the_smallest_stack)
{
    int fd = server();
    pthread_t t;
    pthread_attr_t attr;
    void *n = NULL;
    pthread_attr_init(&attr);
    SAY(pthread_attr_setstacksize(&attr, 65536));
    SAY(pthread_create(&t, &attr, on_a_small_stack, &fd));
    SAY(peer("recv 3"));
    peer("send 4");
    pthread_join(t, &n);
    printf("%ld\n", (long)n);
}
