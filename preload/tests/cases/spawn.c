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
