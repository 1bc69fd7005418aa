/* A connection that goes along to another program, as its standard input and output. */
#include "case.h"

extern char **environ;

static char head[] = "/usr/bin/head";

static void becomes(int way)
{
    char *args[] = { "head", "-c", "5", NULL };
    char *bare[] = { "LC_ALL=C", "PATH=/usr/bin:/bin", NULL };
    switch (way) {
    case 0: execl(head, "head", "-c", "5", (char *)NULL); break;
    case 1: execlp("head", "head", "-q", "-q", "-q", "-q", "-c", "5", (char *)NULL); break;
    case 2: execle(head, "head", "-c", "5", (char *)NULL, bare); break;
    case 3: execle(head, "head", "-q", "-q", "-q", "-q", "-c", "5", (char *)NULL, bare); break;
    case 4: execveat(AT_FDCWD, head, args, bare, 0); break;
    case 5: syscall(SYS_execveat, open("/usr/bin", O_RDONLY), "head", args, environ, 0); break;
    case 6: execveat(open(head, O_RDONLY | O_CLOEXEC), "", args, bare, AT_EMPTY_PATH); break;
    }
}

static void goes_along(int first, int last)
{
    for (int way = first; way <= last; way++) {
        int fd = server(), status = -1;
        if (fork() == 0) {
            dup2(fd, 0);
            dup2(fd, 1);
            close(fd);
            becomes(way);
            _exit(9);
        }
        close(fd);
        peer("send 5");
        SAY(peer("recv 5"));
        SAY(peer("eof"));
        wait(&status);
        printf("%d\n", WEXITSTATUS(status));
    }
}

CASE(execl_and_execlp_take_a_connection_along)
{
    goes_along(0, 1);
}

CASE(execle_with_an_environment_of_its_own_takes_a_connection_along)
{
    goes_along(2, 3);
}

CASE(execveat_takes_a_connection_along)
{
    goes_along(4, 6);
}

CASE(execl_and_execveat_fail_as_they_do)
{
    int fd = server();
    char *args[] = { "x", NULL };
    SAY(execl("/not/there", "x", (char *)NULL));
    SAY(execle("/not/there", "x", (char *)NULL, environ));
    SAY(execlp("there-is-no-such-program", "x", "y", "z", "1", "2", "3", (char *)NULL));
    SAY(execlp("/etc/passwd", "x", (char *)NULL));
    SAY(execveat(AT_FDCWD, "not/there", args, environ, 0));
    SAY(execveat(-1, "not/there", args, environ, 0));
    SAY(execveat(AT_FDCWD, head, args, environ, 0x10));
    SAY(execveat(AT_FDCWD, head, (char **)8, environ, 0));
    /* The connection is still here. */
    SAY(write(fd, "abc", 3));
    SAY(peer("recv 3"));
}
