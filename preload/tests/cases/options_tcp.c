/* IPPROTO_TCP options: what they are at first, what they take, how they read back. */
#include "case.h"

static void tell(int fd, const char *what, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    if (getsockopt(fd, IPPROTO_TCP, name, &value, &len))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %d (%u)\n", what, value, len);
}
#define TELL(fd, name) tell(fd, #name, name)

static void try(int fd, const char *what, int name, int value)
{
    int result = setsockopt(fd, IPPROTO_TCP, name, &value, sizeof value);
    printf("%s=%d -> %s; ", what, value, result ? strerrorname_np(errno) : "ok");
    tell(fd, what, name);
}
#define TRY(fd, name, value) try(fd, #name, name, value)

CASE(tcp_options_at_first)
{
    int fd = server();
    TELL(fd, TCP_NODELAY);
    TELL(fd, TCP_CORK);
    TELL(fd, TCP_KEEPIDLE);
    TELL(fd, TCP_KEEPINTVL);
    TELL(fd, TCP_KEEPCNT);
    TELL(fd, TCP_SYNCNT);
    TELL(fd, TCP_LINGER2);
    TELL(fd, TCP_DEFER_ACCEPT);
    TELL(fd, TCP_QUICKACK);
    TELL(fd, TCP_USER_TIMEOUT);
    TELL(fd, TCP_NOTSENT_LOWAT);
    TELL(fd, TCP_THIN_LINEAR_TIMEOUTS);
    TELL(fd, TCP_THIN_DUPACK);
    TELL(fd, TCP_REPAIR);
    TELL(fd, TCP_SAVE_SYN);
    TELL(fd, TCP_INQ);
    TELL(fd, TCP_TX_DELAY);
}

CASE(nodelay_and_cork)
{
    int fd = server();
    TRY(fd, TCP_NODELAY, 5);
    TRY(fd, TCP_CORK, 5);
    TRY(fd, TCP_NODELAY, 0);
    TRY(fd, TCP_CORK, 0);
    TRY(fd, TCP_CORK, -1);
}

CASE(keepalive_options)
{
    int fd = server();
    TRY(fd, TCP_KEEPIDLE, 10);
    TRY(fd, TCP_KEEPIDLE, 0);
    TRY(fd, TCP_KEEPIDLE, 32767);
    TRY(fd, TCP_KEEPIDLE, 32768);
    TRY(fd, TCP_KEEPINTVL, 10);
    TRY(fd, TCP_KEEPINTVL, 0);
    TRY(fd, TCP_KEEPINTVL, 32768);
    TRY(fd, TCP_KEEPCNT, 127);
    TRY(fd, TCP_KEEPCNT, 128);
    TRY(fd, TCP_KEEPCNT, 0);
}

CASE(syn_count)
{
    int fd = tcp();
    TRY(fd, TCP_SYNCNT, 3);
    TRY(fd, TCP_SYNCNT, 0);
    TRY(fd, TCP_SYNCNT, 127);
    TRY(fd, TCP_SYNCNT, 128);
    int conn = server();
    TRY(conn, TCP_SYNCNT, 5);
    TRY(conn, TCP_SYNCNT, 200);
}

CASE(linger2)
{
    int fd = server();
    TRY(fd, TCP_LINGER2, 10);
    TRY(fd, TCP_LINGER2, 0);
    TRY(fd, TCP_LINGER2, -1);
    TRY(fd, TCP_LINGER2, -7);
    TRY(fd, TCP_LINGER2, 120);
    TRY(fd, TCP_LINGER2, 121);
    TRY(fd, TCP_LINGER2, 1000);
}

CASE(defer_accept_is_kept_in_retransmissions)
{
    int fd = listener();
    TRY(fd, TCP_DEFER_ACCEPT, 1);
    TRY(fd, TCP_DEFER_ACCEPT, 2);
    TRY(fd, TCP_DEFER_ACCEPT, 5);
    TRY(fd, TCP_DEFER_ACCEPT, 30);
    TRY(fd, TCP_DEFER_ACCEPT, 1000);
    TRY(fd, TCP_DEFER_ACCEPT, 0);
    TRY(fd, TCP_DEFER_ACCEPT, -1);
}

CASE(window_clamp)
{
    int fd = server();
    TRY(fd, TCP_WINDOW_CLAMP, 20000);
    TRY(fd, TCP_WINDOW_CLAMP, 10);
    TRY(fd, TCP_WINDOW_CLAMP, 0);
    int fresh = tcp();
    TRY(fresh, TCP_WINDOW_CLAMP, 0);
    TRY(fresh, TCP_WINDOW_CLAMP, 5000);
}

CASE(user_timeout)
{
    int fd = server();
    TRY(fd, TCP_USER_TIMEOUT, 5000);
    TRY(fd, TCP_USER_TIMEOUT, 0);
    TRY(fd, TCP_USER_TIMEOUT, -1);
    TRY(fd, TCP_USER_TIMEOUT, 2147483647);
}

CASE(notsent_low_water)
{
    int fd = server();
    TRY(fd, TCP_NOTSENT_LOWAT, 16384);
    TRY(fd, TCP_NOTSENT_LOWAT, 0);
    TRY(fd, TCP_NOTSENT_LOWAT, -1);
}

CASE(maximum_segment)
{
    int fd = tcp();
    TELL(fd, TCP_MAXSEG);
    TRY(fd, TCP_MAXSEG, 600);
    TRY(fd, TCP_MAXSEG, 87);
    TRY(fd, TCP_MAXSEG, 88);
    TRY(fd, TCP_MAXSEG, 32767);
    TRY(fd, TCP_MAXSEG, 32768);
    TRY(fd, TCP_MAXSEG, 0);
    TRY(fd, TCP_MAXSEG, -1);
    int conn = server();
    TELL(conn, TCP_MAXSEG);
}

CASE(maximum_segment_of_a_connection)
{
    int fd = tcp(), small = 700;
    struct sockaddr_in a = address(peer_ip, port);
    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &small, sizeof small);
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    TELL(fd, TCP_MAXSEG);
    peer("accept");
    SAY(peer("maxseg"));
}

CASE(maximum_segment_of_a_listener)
{
    int fd = tcp(), small = 700;
    struct sockaddr_in a = address(own_ip, port);
    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &small, sizeof small);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 4);
    look(fd);
    TELL(fd, TCP_MAXSEG);
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    TELL(conn, TCP_MAXSEG);
    SAY(peer("maxseg"));
}

CASE(quick_ack_does_not_stick)
{
    int fd = server();
    char b[8];
    TRY(fd, TCP_QUICKACK, 0);
    TRY(fd, TCP_QUICKACK, 1);
    peer("later 60 send 3");
    SAY(read(fd, b, 8));
    SAY(write(fd, b, 3));
    TELL(fd, TCP_QUICKACK);
    TRY(fd, TCP_QUICKACK, 2);
    TRY(fd, TCP_QUICKACK, 1);
}

CASE(repair_is_for_the_privileged)
{
    int fd = server(), fresh = tcp();
    if (setresuid(12345, 12345, 12345))
        printf("setresuid: %s\n", strerrorname_np(errno));
    TRY(fd, TCP_REPAIR, 1);
    TRY(fresh, TCP_REPAIR, 1);
    TRY(fd, TCP_REPAIR_QUEUE, 1);
    TRY(fd, TCP_QUEUE_SEQ, 1);
}

CASE(saved_syn)
{
    int fd = tcp(), one = 1;
    struct sockaddr_in a = address(own_ip, port);
    unsigned char syn[128];
    socklen_t len = sizeof syn;
    TRY(fd, TCP_SAVE_SYN, 1);
    TRY(fd, TCP_SAVE_SYN, 3);
    TRY(fd, TCP_SAVE_SYN, -1);
    bind(fd, (void *)&a, sizeof a);
    listen(fd, 4);
    look(fd);
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, syn, &len));
    len = 10;
    SAY(getsockopt(conn, IPPROTO_TCP, TCP_SAVED_SYN, syn, &len));
    printf("%d\n", len > 40);
    len = sizeof syn;
    SAY(getsockopt(conn, IPPROTO_TCP, TCP_SAVED_SYN, syn, &len));
    printf("%d %x %d\n", len > 40, syn[0], syn[9]);
    len = sizeof syn;
    SAY(getsockopt(conn, IPPROTO_TCP, TCP_SAVED_SYN, syn, &len));
    printf("%u\n", len);
    TELL(conn, TCP_SAVE_SYN);
    /* From the link's header on, and with nowhere to write it. */
    TRY(fd, TCP_SAVE_SYN, 2);
    peer("connect %d", port);
    conn = accept(fd, NULL, NULL);
    len = sizeof syn;
    SAY(getsockopt(conn, IPPROTO_TCP, TCP_SAVED_SYN, (void *)8, &len));
    SAY(getsockopt(conn, IPPROTO_TCP, TCP_SAVED_SYN, syn, NULL));
    len = -1;
    SAY(getsockopt(conn, IPPROTO_TCP, TCP_SAVED_SYN, syn, &len));
    len = sizeof syn;
    SAY(getsockopt(conn, IPPROTO_TCP, TCP_SAVED_SYN, syn, &len));
    printf("%d %x %x %x\n", len > 54, syn[12], syn[13], syn[14]);
}

CASE(tcp_options_set_before_connect_hold_afterwards)
{
    int fd = tcp();
    struct sockaddr_in a = address(peer_ip, port);
    TRY(fd, TCP_NODELAY, 1);
    TRY(fd, TCP_KEEPIDLE, 77);
    TRY(fd, TCP_USER_TIMEOUT, 4000);
    TRY(fd, TCP_NOTSENT_LOWAT, 5000);
    TRY(fd, TCP_LINGER2, 12);
    TRY(fd, TCP_SYNCNT, 4);
    peer("listen %d", port);
    SAY(connect(fd, (void *)&a, sizeof a));
    TELL(fd, TCP_NODELAY);
    TELL(fd, TCP_KEEPIDLE);
    TELL(fd, TCP_USER_TIMEOUT);
    TELL(fd, TCP_NOTSENT_LOWAT);
    TELL(fd, TCP_LINGER2);
    TELL(fd, TCP_SYNCNT);
}

CASE(tcp_options_of_a_listener_are_inherited)
{
    int fd = listener();
    TRY(fd, TCP_NODELAY, 1);
    TRY(fd, TCP_KEEPCNT, 3);
    TRY(fd, TCP_USER_TIMEOUT, 4000);
    TRY(fd, TCP_NOTSENT_LOWAT, 5000);
    TRY(fd, TCP_LINGER2, 12);
    peer("connect %d", port);
    int conn = accept(fd, NULL, NULL);
    TELL(conn, TCP_NODELAY);
    TELL(conn, TCP_KEEPCNT);
    TELL(conn, TCP_USER_TIMEOUT);
    TELL(conn, TCP_NOTSENT_LOWAT);
    TELL(conn, TCP_LINGER2);
    TELL(conn, TCP_DEFER_ACCEPT);
}

CASE(tcp_options_refuse_what_is_short)
{
    int fd = server(), value = 1;
    char byte = 5;
    socklen_t len = 1;
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, 3));
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 0));
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &byte, &len));
    printf("%d %u\n", byte, len);
    len = -1;
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len));
    SAY(setsockopt(fd, IPPROTO_TCP, TCP_INFO, &value, sizeof value));
}
