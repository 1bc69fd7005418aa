/* Descriptors that go to another process over a Unix socket. The other one was there before the connection. */
#include "case.h"
#include <sys/un.h>

enum { USE = 1, CLOSE, KEEP, PASS_BACK, LEAVE, ASK, SPLICE, WATCH, POLL };

static void with_rights(struct msghdr *message, char *space, int fd)
{
    message->msg_control = space;
    message->msg_controllen = CMSG_SPACE(sizeof fd);
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(control), &fd, sizeof fd);
}

static int send_fd(int line, int fd, char word)
{
    char space[CMSG_SPACE(sizeof fd)] = { 0 };
    struct iovec part = { &word, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    with_rights(&message, space, fd);
    return sendmsg(line, &message, 0);
}

static int receive_fd(int line, char *word)
{
    char space[CMSG_SPACE(sizeof(int))];
    struct iovec part = { word, 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
                              .msg_controllen = sizeof space };
    int fd = -1;
    if (recvmsg(line, &message, 0) <= 0)
        return -1;
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    if (control)
        memcpy(&fd, CMSG_DATA(control), sizeof fd);
    return fd;
}

/* Waits for five bytes and answers them; it says first that it is about to. It may be woken for nothing. */
static int watch(int line, int fd, char word)
{
    int set = epoll_create1(0), n = -1;
    struct epoll_event event = { EPOLLIN, { .u64 = 7 } };
    struct pollfd one = { fd, POLLIN };
    char b[16];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (word == WATCH)
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    else
        poll(&one, 1, 0);
    write(line, "watches", 7);
    while (n < 0 && (word == WATCH ? epoll_wait(set, &event, 1, 5000) : poll(&one, 1, 5000)) == 1)
        n = read(fd, b, 5);
    /* It is in the set still. */
    if (word == WATCH && epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) < 0)
        n = -errno;
    close(set);
    return n;
}

/* The child goes on in its place. */
static int left_to_a_child(int fd)
{
    char b[16];
    int n = read(fd, b, 5), own = getpid();
    if (fork() != 0)
        _exit(0);
    while (getppid() == own)
        usleep(1000);
    return n;
}

static int spliced(int fd)
{
    int p[2], n;
    pipe(p);
    n = splice(fd, NULL, p[1], NULL, 5, 0);
    close(p[0]);
    close(p[1]);
    return n;
}

/* Does with each descriptor what it is told, and says what came of it. */
static void work(int line)
{
    char word, b[16], said[64];
    int fd;
    while ((fd = receive_fd(line, &word)) >= 0) {
        struct sockaddr_in a = { 0 };
        socklen_t len = sizeof a;
        int n = 0;
        if (word != CLOSE && word != PASS_BACK) {
            n = word >= WATCH    ? watch(line, fd, word)
                : word == SPLICE ? spliced(fd)
                : word == LEAVE  ? left_to_a_child(fd)
                : word == ASK    ? 0
                                 : read(fd, b, 5);
            if (word != ASK)
                write(fd, "world", 5);
            getpeername(fd, (void *)&a, &len);
        }
        if (word == PASS_BACK)
            send_fd(line, fd, 0);
        snprintf(said, sizeof said, "%d %d", n, a.sin_family == AF_INET);
        if (word != KEEP && word != ASK)
            close(fd);
        if (word != PASS_BACK)
            write(line, said, sizeof said);
    }
    _exit(0);
}

static int worker(void)
{
    int line[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, line);
    if (fork() == 0) {
        close(line[0]);
        work(line[1]);
    }
    close(line[1]);
    return line[0];
}

static void answer(int line)
{
    char said[64] = "nothing";
    read(line, said, sizeof said);
    printf("the other: %s\n", said);
}

CASE(passed_and_closed)
{
    int line = worker(), fd = server();
    peer("send 5");
    SAY(send_fd(line, fd, USE));
    SAY(close(fd));
    answer(line);
    SAY(peer("recv 5"));
    SAY(peer("eof"));
}

CASE(passed_after_use_with_data_unread)
{
    int line = worker(), fd = client();
    char b[16];
    SAY(peer("send 10"));
    SAY(read(fd, b, 5));
    SAY(write(fd, "abcde", 5));
    SAY(send_fd(line, fd, USE));
    SAY(close(fd));
    answer(line);
    SAY(peer("recv 10"));
    SAY(peer("eof"));
}

CASE(passed_and_kept_by_both)
{
    int line = worker(), fd = server();
    char b[16];
    peer("send 5");
    SAY(send_fd(line, fd, USE));
    answer(line);
    SAY(peer("recv 5"));
    /* The other has closed its copy: there is no end yet. */
    peer("send 5");
    SAY(read(fd, b, 5));
    SAY(write(fd, "once more", 9));
    SAY(peer("recv 9"));
    SAY(close(fd));
    SAY(peer("eof"));
}

CASE(passed_and_used_in_turns)
{
    int line = worker(), fd = server();
    char b[16];
    peer("send 5");
    SAY(send_fd(line, fd, KEEP));
    answer(line);
    peer("send 5");
    SAY(read(fd, b, 5));
    peer("send 5");
    SAY(send_fd(line, fd, USE));
    answer(line);
    SAY(write(fd, "own", 3));
    SAY(peer("recv 13"));
    SAY(close(fd));
    close(line);
    SAY(peer("eof"));
}

CASE(passed_and_asked_before_it_is_closed)
{
    int line = worker(), fd = server();
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    peer("send 5");
    SAY(send_fd(line, fd, USE));
    SAY(getsockname(fd, (void *)&a, &len));
    SAY(fcntl(fd, F_GETFL) & O_NONBLOCK);
    SAY(close(fd));
    answer(line);
    SAY(peer("recv 5"));
    SAY(peer("eof"));
}

CASE(passed_and_never_used)
{
    int line = worker(), fd = server();
    SAY(send_fd(line, fd, CLOSE));
    answer(line);
    SAY(close(fd));
    SAY(peer("eof"));
}

CASE(passed_and_never_received)
{
    int line[2], fd = server();
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, line);
    SAY(send_fd(line[0], fd, USE));
    SAY(close(fd));
    close(line[0]);
    close(line[1]);
    SAY(peer("eof"));
}

CASE(passed_there_and_back)
{
    int line = worker(), fd = server(), again;
    char word, b[16];
    peer("send 5");
    SAY(send_fd(line, fd, PASS_BACK));
    again = receive_fd(line, &word);
    SAY(read(again, b, 16));
    SAY(write(fd, "both", 4));
    SAY(close(fd));
    SAY(write(again, "ends", 4));
    SAY(close(again));
    SAY(peer("recv 8"));
    SAY(peer("eof"));
}

CASE(passed_to_oneself)
{
    int line[2], fd = server(), again;
    char word, b[16];
    socketpair(AF_UNIX, SOCK_STREAM, 0, line);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(send_fd(line[0], fd, USE));
    again = receive_fd(line[1], &word);
    SAY(fcntl(again, F_GETFL) & O_NONBLOCK);
    SAY(read(again, b, 16));
    SAY(close(fd));
    peer("send 5");
    events("poll", ready(again, POLLIN));
    SAY(read(again, b, 16));
    SAY(close(again));
    SAY(peer("eof"));
}

/* Dovecot's login tells who is to have the connection its inode, and that looks whether it got this one. */
CASE(a_connection_is_the_same_file_wherever_it_is_sent)
{
    int line[2], a = server(), b, l = listener();
    struct stat at_a, at_b, empty;
    struct statx extended;
    char word;
    SAY(peer("connect %d", port));
    b = accept(l, NULL, NULL);
    SAY(fstat(a, &at_a));
    SAY(fstat(b, &at_b));
    SAY(at_a.st_ino != at_b.st_ino);
    SAY(S_ISSOCK(at_a.st_mode));
    SAY(fstatat(a, "", &empty, AT_EMPTY_PATH));
    SAY(empty.st_ino == at_a.st_ino);
    SAY(statx(a, "", AT_EMPTY_PATH, STATX_INO, &extended));
    SAY(extended.stx_ino == at_a.st_ino);
    SAY(fstatat(a, "x", &empty, 0));
    socketpair(AF_UNIX, SOCK_STREAM, 0, line);
    SAY(send_fd(line[0], a, USE));
    close(a);
    a = receive_fd(line[1], &word);
    SAY(fstat(a, &empty));
    SAY(empty.st_ino == at_a.st_ino);
    SAY(write(b, "abc", 3));
    SAY(peer("recv 3"));
}

CASE(passed_and_watched)
{
    int line = worker(), fd = server(), set = epoll_create1(0);
    struct epoll_event event = { EPOLLIN, { .u64 = 7 } };
    char b[16], word;
    SAY(send_fd(line, fd, PASS_BACK));
    close(fd);
    fd = receive_fd(line, &word);
    SAY(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
    waited(set, 4, 0);
    peer("send 5");
    waited(set, 4, 2000);
    SAY(read(fd, b, 16));
    SAY(close(fd));
    SAY(peer("eof"));
}

static void called_back(char how)
{
    int line = worker(), fd = server();
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    SAY(send_fd(line, fd, how));
    answer(line);
    SAY(getpeername(fd, (void *)&a, &len));
    SAY(peer("send 5"));
    answer(line);
    SAY(peer("recv 5"));
    SAY(close(fd));
    SAY(peer("eof"));
}

CASE(passed_and_called_back_from_a_set)
{
    called_back(WATCH);
}

CASE(passed_and_called_back_from_poll)
{
    called_back(POLL);
}

CASE(passed_and_spliced_first)
{
    int line = worker(), fd = server();
    peer("send 5");
    SAY(send_fd(line, fd, SPLICE));
    SAY(close(fd));
    answer(line);
    SAY(peer("recv 5"));
    SAY(peer("eof"));
}

/* Three hold it, and want it at the same time, again and again. */
CASE(passed_and_wanted_by_three)
{
    int lines[] = { worker(), worker(), worker() }, fd = server();
    for (int turn = 0; turn < 20; turn++) {
        for (int n = 0; n < 3; n++)
            send_fd(lines[n], fd, ASK);
        for (int n = 0; n < 3; n++)
            answer(lines[n]);
    }
    SAY(close(fd));
    for (int n = 0; n < 3; n++)
        close(lines[n]);
    SAY(peer("eof"));
}

/* Who has got it forks, and ends before its child has used it. */
CASE(passed_and_left_to_a_child)
{
    int line = worker(), fd = server();
    peer("send 5");
    SAY(send_fd(line, fd, LEAVE));
    SAY(close(fd));
    answer(line);
    SAY(peer("recv 5"));
    SAY(peer("eof"));
}

enum { SENDMMSG, ITS_NUMBER, THE_OTHERS_NUMBER };

static void passed_by(int call)
{
    int line = worker(), fd = server();
    char word = USE, space[CMSG_SPACE(sizeof fd)] = { 0 };
    struct iovec part = { &word, 1 };
    struct mmsghdr one = { { .msg_iov = &part, .msg_iovlen = 1 } };
    with_rights(&one.msg_hdr, space, fd);
    peer("send 5");
    SAY(call == SENDMMSG     ? sendmmsg(line, &one, 1, 0)
        : call == ITS_NUMBER ? syscall(SYS_sendmmsg, line, &one, 1, 0)
                             : syscall(SYS_sendmsg, line, &one.msg_hdr, 0));
    SAY(close(fd));
    answer(line);
    SAY(peer("recv 5"));
    SAY(peer("eof"));
}

CASE(passed_by_sendmmsg)
{
    passed_by(SENDMMSG);
}

CASE(passed_by_sendmmsgs_number)
{
    passed_by(ITS_NUMBER);
}

CASE(passed_by_sendmsgs_number)
{
    passed_by(THE_OTHERS_NUMBER);
}

CASE(passed_datagrams)
{
    int line = worker(), fd = udp();
    struct sockaddr_in a = address(peer_ip, port);
    SAY(peer("udp %d", port));
    SAY(connect(fd, (void *)&a, sizeof a));
    SAY(peer("usend %d 5", port));
    events("poll", ready(fd, POLLIN));
    char b[16];
    SAY(recv(fd, b, 16, 0));
    SAY(send_fd(line, fd, KEEP));
    SAY(close(fd));
    SAY(peer("usend %d 5", port));
    char said[64] = "nothing";
    SAY(read(line, said, sizeof said) > 0);
    SAY(said[0] == '5');
    SAY(peer("urecv"));
}
