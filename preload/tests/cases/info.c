/* TCP_INFO, field by field: those that do not depend on timing or on the path's buffers say the same here and there. */
#include "case.h"

/* As of Linux 6.18, which the installed header may not know yet. */
struct info {
    uint8_t state, ca_state, retransmits, probes, backoff, options, wscale, app_limited;
    uint32_t rto, ato, snd_mss, rcv_mss, unacked, sacked, lost, retrans, fackets;
    uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering, rcv_rtt, rcv_space;
    uint32_t total_retrans;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    uint32_t delivered, delivered_ce;
    uint64_t bytes_sent, bytes_retrans;
    uint32_t dsack_dups, reord_seen, rcv_ooopack, snd_wnd, rcv_wnd, rehash;
    uint16_t total_rto, total_rto_recoveries;
    uint32_t total_rto_time;
    uint32_t received_ce, delivered_bytes[3], received_bytes[3];
    uint16_t accecn_fail_mode, accecn_opt_seen;
};

static struct info asked(int fd)
{
    struct info i = { 0 };
    socklen_t len = sizeof i;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len))
        printf("TCP_INFO: %s\n", strerrorname_np(errno));
    return i;
}

/* Looks at TCP_INFO until something is true of it, for as long as that may take on a busy machine. */
#define UNTIL(fd, condition)                                                                                  \
    do {                                                                                                      \
        long end_ = now_ms() + 10000;                                                                         \
        for (struct info i = asked(fd); !(condition) && now_ms() < end_; i = asked(fd))                       \
            usleep(1000);                                                                                     \
    } while (0)

/* What has to be the same. Windows and what is made of them are each stack's own; rto is a multiple of a tick there. */
static void facts(const char *what, struct info i)
{
    printf("%s: state %d ca %d retransmits %d probes %d backoff %d options %x, peer's scale %d\n", what, i.state,
           i.ca_state, i.retransmits, i.probes, i.backoff, i.options, i.wscale & 15);
    printf("  snd_mss %u rcv_mss %u advmss %u pmtu %u reordering %u ato %u\n", i.snd_mss, i.rcv_mss, i.advmss, i.pmtu,
           i.reordering, i.ato);
    printf("  unacked %u sacked %u lost %u retrans %u fackets %u total %u ssthresh %u last_ack_sent %u\n", i.unacked,
           i.sacked, i.lost, i.retrans, i.fackets, i.total_retrans, i.snd_ssthresh, i.last_ack_sent);
    printf("  bytes acked %lu received %lu sent %lu retrans %lu notsent %u\n", i.bytes_acked, i.bytes_received,
           i.bytes_sent, i.bytes_retrans, i.notsent_bytes);
    printf("  segs out %u in %u data out %u in %u ce %u\n", i.segs_out, i.segs_in, i.data_segs_out, i.data_segs_in,
           i.delivered_ce);
    if (i.state != TCP_CLOSE)
        printf("  delivered %u\n", i.delivered);
    printf("  dsack %u reord %u ooo %u rehash %u rto %u recoveries %u time %u\n", i.dsack_dups, i.reord_seen,
           i.rcv_ooopack, i.rehash, i.total_rto, i.total_rto_recoveries, i.total_rto_time);
    printf("  max_pacing_rate %lx rtt %d rttvar %d min_rtt %d pacing %d rto %d\n", i.max_pacing_rate, i.rtt > 0,
           i.rttvar > 0, i.min_rtt > 0 && i.min_rtt < 1000000, i.pacing_rate > 0, i.rto >= 200000);
    printf("  accurate ecn %u %u %u %d %d\n", i.received_ce, i.delivered_bytes[0], i.received_bytes[0],
           i.accecn_fail_mode, i.accecn_opt_seen);
    if (i.state == TCP_LISTEN || !i.segs_in || !i.data_segs_in + !i.data_segs_out == 2)
        printf("  cwnd %u rcv_space %u\n", i.snd_cwnd, i.rcv_space);
}

CASE(info_has_the_kernels_length)
{
    int fd = server();
    char room[512];
    socklen_t len = sizeof room;
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_INFO, room, &len));
    printf("%u\n", len);
    len = 5;
    SAY(getsockopt(fd, IPPROTO_TCP, TCP_INFO, room, &len));
    printf("%u\n", len);
}

CASE(info_of_an_exchange)
{
    int fd = server();
    static char data[1000];
    facts("fresh", asked(fd));
    for (int n = 0; n < 3; n++) {
        uint32_t out = asked(fd).segs_out;
        peer("later 1 send 100");
        /* It is there, and its acknowledgement has gone by itself. */
        UNTIL(fd, i.data_segs_in == n + 1 && i.segs_out == out + 1);
        SAY(recv(fd, data, sizeof data, 0));
        SAY(send(fd, data, sizeof data, 0));
        SAY(peer("recv 1000"));
        UNTIL(fd, !i.unacked);
    }
    facts("after three", asked(fd));
    uint32_t out = asked(fd).segs_out;
    SAY(peer("shut"));
    UNTIL(fd, i.state == TCP_CLOSE_WAIT && i.segs_out == out + 1);
    facts("after its end", asked(fd));
    SAY(shutdown(fd, SHUT_WR));
    UNTIL(fd, i.state == TCP_CLOSE);
    facts("after both ends", asked(fd));
}

CASE(info_of_a_client)
{
    int fd = tcp();
    facts("new", asked(fd));
    close(fd);
    fd = client();
    facts("connected", asked(fd));
    SAY(send(fd, "abc", 3, 0));
    SAY(peer("recv 3"));
    UNTIL(fd, !i.unacked);
    facts("sent", asked(fd));
}

CASE(info_of_who_is_not_there)
{
    int fd = tcp();
    struct sockaddr_in a = address("192.0.2.9", port);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    SAY(connect(fd, (void *)&a, sizeof a));
    facts("under way", asked(fd));
}

CASE(info_of_a_listener)
{
    int fd = listener();
    facts("listening", asked(fd));
    peer("connect %d", port);
    UNTIL(fd, i.unacked == 1);
    facts("one waits", asked(fd));
}
