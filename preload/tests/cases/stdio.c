/* Streams of stdio on sockets. */
#include "case.h"

CASE(a_stream_reads_lines)
{
    int fd = server();
    FILE *f = fdopen(fd, "r+");
    char line[64];
    SAY(f != NULL);
    SAY(fileno(f) == fd);
    peer("send 30");
    SAY(fread(line, 1, 26, f));
    printf("%.26s\n", line);
    SAY(getc(f));
    SAY(ungetc('z', f));
    SAY(getc(f));
    peer("shut");
    SAY(fread(line, 1, sizeof line, f));
    SAY(feof(f) != 0);
    SAY(ferror(f));
    SAY(fseek(f, 0, SEEK_SET));
    SAY(fclose(f));
    SAY(peer("eof"));
    SAY(fcntl(fd, F_GETFD));
}

CASE(a_stream_writes)
{
    int fd = server();
    FILE *f = fdopen(fd, "w");
    SAY(fprintf(f, "%s %d\n", "number", 7));
    peer("quiet");
    SAY(fflush(f));
    SAY(peer("recv 9"));
    setvbuf(f, NULL, _IOLBF, 0);
    SAY(fputs("a line\n", f) >= 0);
    SAY(peer("recv 7"));
    setvbuf(f, NULL, _IONBF, 0);
    SAY(putc('x', f));
    SAY(peer("recv 1"));
    for (int i = 0; i < 6000; i++)
        fputs("0123456789", f);
    SAY(fclose(f));
    SAY(peer("recv 60000"));
    SAY(peer("eof"));
}

CASE(two_streams_on_dups)
{
    int fd = server(), copy = dup(fd);
    FILE *in = fdopen(fd, "r"), *out = fdopen(copy, "w");
    char line[32] = "";
    fputs("question\n", out);
    SAY(fflush(out));
    SAY(peer("recv 9"));
    peer("send 5");
    peer("shut");
    SAY(fgets(line, sizeof line, in) == line);
    printf("%s\n", line);
    SAY(fclose(in));
    SAY(fclose(out));
    SAY(peer("eof"));
}

CASE(a_stream_on_a_client_and_its_modes)
{
    int fd = client();
    FILE *f = fdopen(fd, "we");
    SAY(fcntl(fd, F_GETFD));
    SAY(fdopen(fd, "x") == NULL);
    SAY(fdopen(900, "r") == NULL);
    SAY(fputs("hello", f) >= 0);
    SAY(fclose(f));
    SAY(peer("recv 5"));
    SAY(peer("eof"));
}

CASE(a_stream_is_emptied_at_exit)
{
    int fd = server();
    FILE *f = fdopen(fd, "w");
    fputs("left to exit", f);
    if (fork() == 0) {
        /* The child has a stream too; it does not exit, it ends. */
        _exit(0);
    }
    wait(NULL);
    SAY(fflush(f));
    SAY(peer("recv 12"));
    fputs("more", f);
}

CASE(a_stream_of_a_dead_connection)
{
    int fd = server();
    signal(SIGPIPE, SIG_IGN);
    FILE *f = fdopen(fd, "w");
    peer("reset");
    ready(fd, POLLIN);
    fputs("into the void", f);
    SAY(fflush(f));
    SAY(ferror(f) != 0);
    fclose(f);
}

CASE(a_stream_that_would_block)
{
    int fd = server();
    FILE *f = fdopen(fd, "r");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(getc(f));
    SAY(ferror(f) != 0);
    clearerr(f);
    peer("send 2");
    ready(fd, POLLIN);
    SAY(getc(f));
}

int __dprintf_chk(int, int, const char *, ...), __vdprintf_chk(int, int, const char *, va_list);

static int by_list(int fd, int checked, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = checked ? __vdprintf_chk(fd, 1, format, list) : vdprintf(fd, format, list);
    va_end(list);
    return n;
}

CASE(dprintf_of_all_kinds)
{
    int fd = server(), p[2];
    char b[128] = "";
    SAY(dprintf(fd, "%d %s %.2f|", 1, "two", 3.0));
    SAY(dprintf(fd, "%d %d %d %d %d %d %d %d|", 1, 2, 3, 4, 5, 6, 7, 8));
    SAY(dprintf(fd, "%.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f|", .1, .2, .3, .4, .5, .6, .7, .8, .9, 1.));
    SAY(dprintf(fd, "%d %.1Lf %s %.1f|", 1, 2.5L, "three", 4.5));
    SAY(__dprintf_chk(fd, 1, "%d %s %.2f %d %d %d %d|", 1, "two", 3.0, 4, 5, 6, 7));
    SAY(by_list(fd, 0, "%d %s|", 1, "two"));
    SAY(by_list(fd, 1, "%d %s|", 1, "two"));
    SAY(dprintf(fd, ""));
    SAY(peer("recv 118"));
    pipe(p);
    SAY(dprintf(p[1], "%d %s %.2f %d %d %d %d", 1, "two", 3.0, 4, 5, 6, 7));
    SAY(read(p[0], b, sizeof b));
    printf("%s\n", b);
    SAY(__dprintf_chk(p[1], 1, "%s %.2f %d", "two", 3.0, 4));
    memset(b, 0, sizeof b);
    SAY(read(p[0], b, sizeof b));
    printf("%s\n", b);
    SAY(dprintf(900, "%d", 1));
    /* What is said is right: sent to ourselves it is read again. */
    int l = tcp(), c = tcp();
    struct sockaddr_in a = address("127.0.0.1", port + 1);
    bind(l, (void *)&a, sizeof a);
    listen(l, 1);
    connect(c, (void *)&a, sizeof a);
    int s = accept(l, NULL, NULL);
    SAY(dprintf(c, "%d %s %.3f", 5, "six", 7.125));
    memset(b, 0, sizeof b);
    SAY(read(s, b, sizeof b));
    printf("%s\n", b);
}
