/* SOL_SOCKET options of TCP sockets: what they are at first, what they take, how they read back. */
#include "case.h"

/* Reads an option as an int. */
static void tell(int fd, const char *what, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, name, &value, &len))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %d (%u)\n", what, value, len);
}
#define TELL(fd, name) tell(fd, #name, SOL_SOCKET, name)

/* Sets an option to an int and says how it reads then. */
static void try(int fd, const char *what, int level, int name, int value)
{
    int result = setsockopt(fd, level, name, &value, sizeof value);
    printf("%s=%d -> %s; ", what, value, result ? strerrorname_np(errno) : "ok");
    tell(fd, what, level, name);
}
#define TRY(fd, name, value) try(fd, #name, SOL_SOCKET, name, value)

CASE(socket_options_at_first)
{
    int fd = server();
    TELL(fd, SO_TYPE);
    TELL(fd, SO_PROTOCOL);
    TELL(fd, SO_DOMAIN);
    TELL(fd, SO_ACCEPTCONN);
    TELL(fd, SO_ERROR);
    TELL(fd, SO_KEEPALIVE);
    TELL(fd, SO_OOBINLINE);
    TELL(fd, SO_RCVLOWAT);
    TELL(fd, SO_SNDLOWAT);
    TELL(fd, SO_PRIORITY);
    TELL(fd, SO_MARK);
    TELL(fd, SO_DONTROUTE);
    TELL(fd, SO_BROADCAST);
    TELL(fd, SO_REUSEADDR);
    TELL(fd, SO_REUSEPORT);
    TELL(fd, SO_ZEROCOPY);
    TELL(fd, SO_TIMESTAMP);
    TELL(fd, SO_PASSCRED);
    TELL(fd, SO_LOCK_FILTER);
    TELL(fd, SO_RXQ_OVFL);
    TELL(fd, SO_WIFI_STATUS);
    TELL(fd, SO_NOFCS);
    TELL(fd, SO_SELECT_ERR_QUEUE);
    TELL(fd, SO_INCOMING_NAPI_ID);
    TELL(fd, SO_MAX_PACING_RATE);
    TELL(fd, 9999);
}

CASE(receive_buffer_is_doubled)
{
    int fd = server();
    TRY(fd, SO_RCVBUF, 65536);
    TRY(fd, SO_RCVBUF, 1);
    TRY(fd, SO_RCVBUF, 0);
    TRY(fd, SO_RCVBUF, -1);
    TRY(fd, SO_RCVBUF, 1000000);
}

CASE(send_buffer_is_doubled)
{
    int fd = server();
    TRY(fd, SO_SNDBUF, 65536);
    TRY(fd, SO_SNDBUF, 1);
    TRY(fd, SO_SNDBUF, 0);
    TRY(fd, SO_SNDBUF, -1);
    TRY(fd, SO_SNDBUF, 1000000);
}

CASE(buffers_that_are_too_large_are_cut_to_the_limit)
{
    int fd = server();
    TRY(fd, SO_RCVBUF, 1 << 30);
    TRY(fd, SO_SNDBUF, 1 << 30);
    TRY(fd, SO_RCVBUF, 5000000);
}

CASE(buffers_of_a_listener_are_inherited)
{
    int fd = tcp(), size = 40000;
    struct sockaddr_in a = address(own_ip, port);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 4);
    look(fd);
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    TELL(conn, SO_RCVBUF);
    TELL(conn, SO_SNDBUF);
    TELL(fd, SO_RCVBUF);
}

CASE(receive_buffer_of_an_accepted_connection_at_first)
{
    int fd = server();
    TELL(fd, SO_RCVBUF);
}

CASE(low_water_options)
{
    int fd = server();
    TRY(fd, SO_RCVLOWAT, 100);
    TRY(fd, SO_RCVLOWAT, 0);
    TRY(fd, SO_RCVLOWAT, -5);
    TRY(fd, SO_SNDLOWAT, 5);
}

CASE(flags_become_one)
{
    int fd = server();
    TRY(fd, SO_KEEPALIVE, 77);
    TRY(fd, SO_OOBINLINE, -1);
    TRY(fd, SO_REUSEADDR, 5);
    TRY(fd, SO_REUSEPORT, 5);
    TRY(fd, SO_DONTROUTE, 2);
    TRY(fd, SO_BROADCAST, 2);
    TRY(fd, SO_KEEPALIVE, 0);
    TRY(fd, SO_OOBINLINE, 0);
}

CASE(priority_and_mark)
{
    int fd = server();
    TRY(fd, SO_PRIORITY, 5);
    TRY(fd, SO_PRIORITY, 6);
    TRY(fd, SO_MARK, 0x1234);
    TRY(fd, SO_INCOMING_CPU, 1);
}

CASE(busy_poll_options)
{
    int fd = server();
    TRY(fd, SO_BUSY_POLL, 50);
    TRY(fd, SO_BUSY_POLL, -1);
    TRY(fd, SO_PREFER_BUSY_POLL, 1);
    TRY(fd, SO_BUSY_POLL_BUDGET, 8);
}

CASE(options_that_only_tell)
{
    int fd = server();
    TRY(fd, SO_TYPE, 2);
    TRY(fd, SO_PROTOCOL, 17);
    TRY(fd, SO_DOMAIN, 10);
    TRY(fd, SO_ACCEPTCONN, 1);
    TRY(fd, SO_ERROR, 1);
    TRY(fd, 9999, 1);
}

CASE(zerocopy_option)
{
    int fd = server(), u = udp();
    TRY(fd, SO_ZEROCOPY, 1);
    TRY(fd, SO_ZEROCOPY, 2);
    TRY(fd, SO_ZEROCOPY, -1);
    TRY(fd, SO_ZEROCOPY, 0);
    (void)u;
}

CASE(lengths_of_options)
{
    int fd = server(), value = 1;
    char byte = 0x7f;
    socklen_t len;
    SAY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 3));
    SAY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 0));
    SAY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 100));
    SAY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4));
    SAY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, (void *)8, 4));
    len = 1;
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &byte, &len));
    printf("%u %d\n", len, byte);
    len = 0;
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &byte, &len));
    printf("%u\n", len);
    len = -1;
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len));
    len = 100;
    long big[16] = { 0 };
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, big, &len));
    printf("%u\n", len);
    len = 4;
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, (void *)8, &len));
    SAY(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, (void *)8));
}

CASE(linger_shapes)
{
    int fd = server();
    struct linger l = { 1, 5 };
    socklen_t len = sizeof l;
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, 7));
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    l = (struct linger){ 9, 9 };
    SAY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("%d %d %u\n", l.l_onoff, l.l_linger, len);
    l = (struct linger){ 7, 100000 };
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    SAY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("%d %d\n", l.l_onoff, l.l_linger);
    l = (struct linger){ 0, 33 };
    SAY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    SAY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("%d\n", l.l_onoff);
    len = 4;
    SAY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("%u\n", len);
}

CASE(options_of_unknown_levels)
{
    int fd = server(), value = 1;
    socklen_t len = sizeof value;
    SAY(setsockopt(fd, 12345, 1, &value, sizeof value));
    SAY(getsockopt(fd, 12345, 1, &value, &len));
    SAY(setsockopt(fd, IPPROTO_UDP, 1, &value, sizeof value));
    SAY(setsockopt(fd, IPPROTO_TCP, 9999, &value, sizeof value));
    SAY(getsockopt(fd, IPPROTO_TCP, 9999, &value, &len));
}

CASE(options_of_a_listener)
{
    int fd = listener();
    TELL(fd, SO_ACCEPTCONN);
    TELL(fd, SO_ERROR);
    TRY(fd, SO_RCVLOWAT, 9);
    TRY(fd, SO_KEEPALIVE, 1);
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    TELL(conn, SO_RCVLOWAT);
    TELL(conn, SO_KEEPALIVE);
    TELL(conn, SO_ACCEPTCONN);
}

CASE(options_set_before_connect_hold_afterwards)
{
    int fd = tcp(), one = 1, size = 30000;
    struct sockaddr_in a = address(peer_ip, port);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    TELL(fd, SO_KEEPALIVE);
    TELL(fd, SO_OOBINLINE);
    TELL(fd, SO_RCVBUF);
    TELL(fd, SO_SNDBUF);
    TELL(fd, SO_RCVLOWAT);
}

static const struct {
    int level, most;
} numbers[] = { { SOL_SOCKET, 82 }, { IPPROTO_IP, 52 }, { IPPROTO_TCP, 44 } };

/* Lengths and errors, not values: those of cookies and processors are the kernel's own. */
CASE(options_of_every_number_are_told)
{
    int fd = server();
    for (size_t l = 0; l < sizeof numbers / sizeof *numbers; l++)
        for (int name = 0; name <= numbers[l].most; name++) {
            /* No longer than what every kernel tells of a connection, and no control that has something to tell. */
            char value[232];
            socklen_t len = sizeof value;
            if (numbers[l].level == IPPROTO_TCP && name == TCP_CC_INFO)
                continue;
            int got = getsockopt(fd, numbers[l].level, name, value, &len);
            printf("%d/%d: %s %u\n", numbers[l].level, name, got ? strerrorname_np(errno) : "ok", got ? 0 : len);
        }
}

/* What only the kernel guards is refused to a connection that is the stack's already (fences.c), on purpose. */
static int is_fence(int level, int name)
{
    static const int fences[][2] = {
        { SOL_SOCKET, 26 }, { SOL_SOCKET, 50 }, { SOL_SOCKET, 51 }, { SOL_SOCKET, 52 }, { SOL_SOCKET, 25 },
        { SOL_SOCKET, 62 }, { SOL_IP, 16 }, { SOL_IP, 17 }, { SOL_IP, 21 }, { SOL_IP, 50 }, { SOL_TCP, 14 },
        { SOL_TCP, 32 }, { SOL_TCP, 38 },
    };
    for (size_t i = 0; i < sizeof fences / sizeof *fences; i++)
        if (fences[i][0] == level && fences[i][1] == name)
            return 1;
    return 0;
}

CASE(options_of_every_number_are_taken)
{
    int fd = server();
    for (size_t l = 0; l < sizeof numbers / sizeof *numbers; l++)
        for (int name = 0; name <= numbers[l].most; name++) {
            int value = 1;
            /* TCP_REPAIR and its kin are refused on purpose; what is detached is the listener's, if anybody's. */
            if (numbers[l].level == IPPROTO_TCP && (name >= 19 && name <= 22 || name == 29))
                continue;
            if (numbers[l].level == SOL_SOCKET && name == 68 || is_fence(numbers[l].level, name))
                continue;
            int set = setsockopt(fd, numbers[l].level, name, &value, sizeof value);
            printf("%d/%d: %s\n", numbers[l].level, name, set ? strerrorname_np(errno) : "ok");
        }
}

CASE(the_peers_name_as_an_option)
{
    int fd = server();
    struct sockaddr_in a;
    for (socklen_t want = 0; want < 20; want += 4) {
        socklen_t len = want;
        memset(&a, 0, sizeof a);
        SAY(getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &a, &len));
        printf("%u %u\n", len, a.sin_family);
    }
    printf("%s\n", inet_ntoa(a.sin_addr));
}

CASE(buffers_that_are_forced)
{
    int fd = server(), listening = tcp(), value = 9000000;
    TELL(fd, SO_RCVBUF);
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value));
    TELL(fd, SO_RCVBUF);
    SAY(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof value));
    TELL(fd, SO_SNDBUF);
    value = 20000;
    SAY(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof value));
    TELL(fd, SO_SNDBUF);
    SAY(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, 2));
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, (void *)8, sizeof value));
    SAY(setsockopt(listening, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value));
    TELL(listening, SO_RCVBUF);
    fd = udp();
    value = 9000000;
    SAY(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value));
    TELL(fd, SO_RCVBUF);
    /* Only an administrator forces. */
    if (fork() == 0) {
        setuid(65534);
        fd = server();
        SAY(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &value, sizeof value));
        SAY(setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof value));
        _exit(0);
    }
    wait(NULL);
}
