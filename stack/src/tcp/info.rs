//! What can be told of a connection (TCP_INFO, `ringroad stat`).

use core::time::Duration;

use super::cc::Told;
use super::state::State;

/// A snapshot of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The state.
    pub state: State,
    /// Smoothed round-trip time; none before the first measurement.
    pub srtt: Option<Duration>,
    /// Its mean deviation.
    pub rttvar: Duration,
    /// The retransmission time-out as it stands.
    pub rto: Duration,
    /// Congestion window, in octets.
    pub cwnd: u32,
    /// Slow-start threshold, in octets.
    pub ssthresh: u32,
    /// Octets of payload in a full segment that we send.
    pub snd_mss: u32,
    /// The largest payload seen from the peer, in octets.
    pub rcv_mss: u32,
    /// Segments sent again, in all.
    pub retransmits: u32,
    /// Time-outs in a row without an answer.
    pub backoff: u8,
    /// Octets that the application has not read.
    pub recv_queue: u32,
    /// Octets that the peer has not acknowledged.
    pub send_queue: u32,
    /// Octets in flight.
    pub in_flight: u32,
    /// The peer's window, in octets.
    pub snd_wnd: u32,
    /// Our window, in octets.
    pub rcv_wnd: u32,
    /// The window-scale shifts (sent, received) of RFC 7323; none when not agreed.
    pub window_scale: Option<(u8, u8)>,
    /// Timestamps are agreed.
    pub timestamps: bool,
    /// SACK is agreed.
    pub sack: bool,
    /// ECN is agreed (RFC 3168).
    pub ecn: bool,
    /// The peer has sent an ECN-capable packet.
    pub ecn_seen: bool,
    /// The shortest round trip of the last minutes; zero: none yet.
    pub min_rtt: Duration,
    /// Segments sent and not acknowledged (tcpi_unacked).
    pub segments_in_flight: u32,
    /// Those of them that are SACKed (tcpi_sacked).
    pub segments_sacked: u32,
    /// Those held to be lost (tcpi_lost).
    pub segments_lost: u32,
    /// Those of the lost that are in flight again (tcpi_retrans).
    pub segments_resent: u32,
    /// The path has been seen to reorder.
    pub reordering_seen: bool,
    /// The data of our SYN was acknowledged with it (RFC 7413).
    pub syn_data: bool,
    /// Octets a second at which segments leave when they are paced; what Linux would pace at when they are not.
    pub pacing_rate: u64,
    /// SO_MAX_PACING_RATE, in octets a second; `u64::MAX` when none was set.
    pub max_pacing_rate: u64,
    /// The last measured rate of delivery, in octets a second. Zero until it is measured: under BBR from the
    /// beginning, otherwise from the first [`measure`](super::Tcb::measure) on.
    pub delivery_rate: u64,
    /// That rate was the application's doing.
    pub app_limited: bool,
    /// What BBR tells of itself, if it is in charge.
    pub bbr: Option<Told>,
}
