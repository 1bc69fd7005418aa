//! `struct tcp_info` of Linux, by the offsets of `linux/tcp.h`.

use stack::socket::TcpInfo;

#[allow(clippy::needless_update, reason = "what TcpInfo learns later is zero here until it is read, too")]
/// Reads what getsockopt gave.
pub(super) fn read(bytes: &[u8]) -> TcpInfo {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let word = |n: usize| {
        let at = 8 + 4 * n;
        bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
    };
    let long = |at: usize| {
        let low =
            |at: usize| bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        u64::from(low(at)) | u64::from(low(at + 4)) << 32
    };
    TcpInfo {
        state: byte(0),
        retransmits: byte(2),
        probes: byte(3),
        backoff: byte(4),
        options: byte(5),
        wscale: (byte(6) & 15, byte(6) >> 4),
        rto: word(0),
        ato: word(1),
        snd_mss: word(2),
        rcv_mss: word(3),
        unacked: word(4),
        sacked: word(5),
        lost: word(6),
        retrans: word(7),
        pmtu: word(13),
        rcv_ssthresh: word(14),
        rtt: word(15),
        rttvar: word(16),
        snd_ssthresh: word(17),
        snd_cwnd: word(18),
        advmss: word(19),
        reordering: word(20),
        rcv_space: word(22),
        total_retrans: word(23),
        bytes_acked: long(120),
        bytes_received: long(128),
        segs_out: long(136) as u32,
        segs_in: (long(136) >> 32) as u32,
        notsent_bytes: long(144) as u32,
        data_segs_in: long(152) as u32,
        data_segs_out: (long(152) >> 32) as u32,
        delivered: long(192) as u32,
        delivered_ce: (long(192) >> 32) as u32,
        bytes_sent: long(200),
        bytes_retrans: long(208),
        dsack_dups: long(216) as u32,
        reord_seen: (long(216) >> 32) as u32,
        rcv_ooopack: long(224) as u32,
        total_rto: (long(240) as u16, (long(240) >> 16) as u16),
        total_rto_time: (long(240) >> 32) as u32,
        ..TcpInfo::default()
    }
}
