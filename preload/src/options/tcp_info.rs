//! TCP_INFO, octet by octet (linux/tcp.h).

use stack::socket::TcpInfo;

/// `struct tcp_info` of Linux 6.18, in octets.
const TCP_INFO: usize = 280;

/// `struct tcp_info` as Linux lays it out, as far as it is known; what is not is zero.
pub(super) fn octets(info: &TcpInfo) -> [u8; TCP_INFO] {
    let mut out = [0; TCP_INFO];
    let head = [
        info.state,
        info.ca_state,
        info.retransmits,
        info.probes,
        info.backoff,
        info.options,
        info.wscale.0 | info.wscale.1 << 4,
        u8::from(info.delivery_rate_app_limited),
    ];
    out[..8].copy_from_slice(&head);
    let mut at = 8;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    for word in words(info) {
        put(&word.to_ne_bytes());
    }
    for long in [info.pacing_rate, info.max_pacing_rate, info.bytes_acked, info.bytes_received] {
        put(&long.to_ne_bytes());
    }
    for word in
        [info.segs_out, info.segs_in, info.notsent_bytes, info.min_rtt, info.data_segs_in, info.data_segs_out]
    {
        put(&word.to_ne_bytes());
    }
    for long in [info.delivery_rate, info.busy_time, info.rwnd_limited, info.sndbuf_limited] {
        put(&long.to_ne_bytes());
    }
    for word in [info.delivered, info.delivered_ce] {
        put(&word.to_ne_bytes());
    }
    for long in [info.bytes_sent, info.bytes_retrans] {
        put(&long.to_ne_bytes());
    }
    for word in [info.dsack_dups, info.reord_seen, info.rcv_ooopack, info.snd_wnd, info.rcv_wnd] {
        put(&word.to_ne_bytes());
    }
    // A flow label stays as it is when time runs out.
    put(&[0; 4]);
    for half in [info.total_rto.0, info.total_rto.1] {
        put(&half.to_ne_bytes());
    }
    put(&info.total_rto_time.to_ne_bytes());
    // Accurate ECN (RFC 9768) is never agreed: what it counts is zero.
    out
}

/// The words in front, up to `tcpi_total_retrans`.
fn words(info: &TcpInfo) -> [u32; 24] {
    [
        info.rto,
        info.ato,
        info.snd_mss,
        info.rcv_mss,
        info.unacked,
        info.sacked,
        info.lost,
        info.retrans,
        0, // fackets, which Linux no longer counts
        info.last_data_sent,
        0, // the last ACK sent, which Linux does not remember either
        info.last_data_recv,
        info.last_ack_recv,
        info.pmtu,
        info.rcv_ssthresh,
        info.rtt,
        info.rttvar,
        info.snd_ssthresh,
        info.snd_cwnd,
        info.advmss,
        info.reordering,
        info.rcv_rtt,
        info.rcv_space,
        info.total_retrans,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_info_is_laid_out_as_in_linux() {
        let info = TcpInfo {
            state: 1,
            wscale: (7, 9),
            rto: 1,
            total_retrans: 24,
            bytes_acked: 5,
            segs_in: 6,
            notsent_bytes: 8,
            pacing_rate: 9,
            max_pacing_rate: u64::MAX,
            delivery_rate: 10,
            delivery_rate_app_limited: true,
            rcv_wnd: 11,
            ..TcpInfo::default()
        };
        let bytes = octets(&info);
        let word = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((bytes[0], bytes[6]), (1, 0x97));
        assert_eq!(word(core::mem::offset_of!(libc::tcp_info, tcpi_rto)), 1);
        assert_eq!(word(core::mem::offset_of!(libc::tcp_info, tcpi_total_retrans)), 24);
        assert_eq!(word(120), 5);
        assert_eq!((word(140), word(144)), (6, 8));
        assert_eq!(word(232), 11, "rcv_wnd, and behind it");
        assert_eq!((bytes[7], word(104), word(112), word(160)), (1, 9, u32::MAX, 10));
    }
}
