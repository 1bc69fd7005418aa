//! TCP_INFO: what is known of a connection, in Linux's units.

use core::time::Duration;

use super::entry::Listener;
use crate::socket::TcpInfo;
use crate::tcp::{Account, Info, Tcb};
use crate::time::Instant;

/// Linux's delayed-ACK time-out at first, in microseconds (TCP_ATO_MIN).
const ATO: u32 = 40_000;
/// Linux's number for LISTEN.
const LISTEN: u8 = 10;
/// Segments by which a path is held to reorder until it shows more (TCP_FASTRETRANS_THRESH).
const REORDERING: u32 = 3;
/// Segments that a sender begins with (TCP_INIT_CWND).
const INITIAL_WINDOW: u32 = 10;

/// Everything that can be told of `tcb` at `now`.
pub(super) fn of(tcb: &Tcb, now: Instant) -> TcpInfo {
    let pmtu = tcb.path_mtu();
    let (info, account) = (tcb.info(), tcb.account(now));
    // Linux: there is none before the first data.
    let ato = if account.data_segs_in == 0 { 0 } else { ATO };
    TcpInfo { pmtu: pmtu.into(), ato, reordering: REORDERING, ..counted(window(&info), &account) }
}

/// A listener tells its accept queue: how many wait, and how many may.
pub(super) fn of_listener(listener: &Listener, max_pacing_rate: u64) -> TcpInfo {
    let waiting = u32::try_from(listener.queue.len()).unwrap_or(u32::MAX);
    TcpInfo {
        state: LISTEN,
        unacked: waiting,
        sacked: listener.backlog,
        reordering: REORDERING,
        snd_cwnd: INITIAL_WINDOW,
        pacing_rate: u64::MAX,
        max_pacing_rate,
        ..TcpInfo::default()
    }
}

fn micros(d: Duration) -> u32 {
    u32::try_from(d.as_micros()).unwrap_or(u32::MAX)
}

fn millis(d: Duration) -> u32 {
    u32::try_from(d.as_millis()).unwrap_or(u32::MAX)
}

/// What is so now.
fn window(info: &Info) -> TcpInfo {
    let segments = |octets: u32| octets / info.snd_mss.max(1);
    let (send_scale, recv_scale) = info.window_scale.unwrap_or((0, 0));
    // TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE, TCPI_OPT_ECN, TCPI_OPT_ECN_SEEN, TCPI_OPT_SYN_DATA.
    let options = u8::from(info.timestamps)
        | u8::from(info.sack) << 1
        | u8::from(info.window_scale.is_some()) << 2
        | u8::from(info.ecn) << 3
        | u8::from(info.ecn_seen) << 4
        | u8::from(info.syn_data) << 5;
    let ssthresh = if info.ssthresh == u32::MAX { i32::MAX as u32 } else { segments(info.ssthresh) };
    TcpInfo {
        state: info.state.number(),
        retransmits: info.backoff,
        backoff: info.backoff,
        options,
        wscale: (send_scale, recv_scale),
        rto: micros(info.rto),
        snd_mss: info.snd_mss,
        rcv_mss: info.rcv_mss,
        rtt: info.srtt.map_or(0, micros),
        rttvar: micros(info.rttvar),
        snd_ssthresh: ssthresh,
        snd_cwnd: segments(info.cwnd),
        snd_wnd: info.snd_wnd,
        rcv_wnd: info.rcv_wnd,
        total_retrans: info.retransmits,
        pacing_rate: info.pacing_rate,
        max_pacing_rate: info.max_pacing_rate,
        delivery_rate: info.delivery_rate,
        delivery_rate_app_limited: info.app_limited,
        ..TcpInfo::default()
    }
}

/// What was counted.
fn counted(info: TcpInfo, account: &Account) -> TcpInfo {
    let [busy_time, rwnd_limited, sndbuf_limited] = account.times;
    TcpInfo {
        ca_state: account.ca_state,
        probes: account.probes,
        unacked: account.unacked,
        sacked: account.sacked,
        lost: account.lost,
        retrans: account.retrans,
        last_data_sent: millis(account.since_sent),
        last_data_recv: millis(account.since_heard),
        last_ack_recv: millis(account.since_heard),
        rcv_ssthresh: account.window_clamp,
        advmss: info.rcv_mss.max(info.snd_mss),
        rcv_rtt: micros(account.rcv_rtt),
        // Linux (tcp_init_buffer_space): at first what a sender may begin with.
        rcv_space: match account.rcv_space {
            0 => account.window_clamp.min(INITIAL_WINDOW * info.snd_mss),
            read => read,
        },
        min_rtt: account.min_rtt.map_or(u32::MAX, micros),
        bytes_acked: account.bytes_acked,
        bytes_received: account.bytes_received,
        bytes_sent: account.bytes_sent,
        bytes_retrans: account.bytes_retrans,
        notsent_bytes: account.unsent,
        segs_out: account.segs_out,
        segs_in: account.segs_in,
        data_segs_out: account.data_segs_out,
        data_segs_in: account.data_segs_in,
        delivered: account.delivered,
        busy_time,
        rwnd_limited,
        sndbuf_limited,
        dsack_dups: account.duplicates,
        reord_seen: account.reorderings,
        rcv_ooopack: account.out_of_order,
        delivered_ce: account.delivered_ce,
        total_rto: account.timeouts,
        total_rto_time: account.timed_out,
        ..info
    }
}
