//! What an application may set for one connection.

use core::num::NonZeroU16;
use core::time::Duration;

use super::cc::Algorithm;
use crate::config::TcpConfig;

/// Options of a socket, inherited from the listener by the connections it accepts. Setting one takes effect
/// with the next [`push`](super::output::push).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// TCP_NODELAY: small segments do not wait (RFC 9293 §3.7.4).
    pub nodelay: bool,
    /// TCP_CORK: only full segments are sent, for 200 ms at the longest.
    pub cork: bool,
    /// TCP_QUICKACK as it was set before there was a connection; afterwards it is the connection's state.
    pub quickack: bool,
    /// SO_OOBINLINE: urgent data is read in its place in the stream.
    pub urgent_inline: bool,
    /// IP_MTU_DISCOVER below IP_PMTUDISC_INTERFACE: what routers say of the path counts.
    pub path_mtu: bool,
    /// SO_KEEPALIVE (RFC 9293 §3.8.4).
    pub keepalive: bool,
    /// TCP_CONGESTION.
    pub congestion: Algorithm,
    /// SO_MAX_PACING_RATE, in octets a second; `u64::MAX`: none.
    pub max_pacing_rate: u64,
    /// TCP_KEEPCNT: unanswered probes before the connection is given up.
    pub keepalive_count: u8,
    /// TCP_SYNCNT: retransmissions of a SYN; none: the stack's default.
    pub syn_retries: Option<u8>,
    /// TCP_MAXSEG: an upper bound for segments both ways, in octets; none: by the MTU.
    pub max_segment: Option<NonZeroU16>,
    /// TCP_KEEPIDLE, in seconds.
    pub keepalive_idle: u16,
    /// TCP_KEEPINTVL, in seconds.
    pub keepalive_interval: u16,
    /// TCP_USER_TIMEOUT (RFC 5482), in milliseconds: how long data may stay unacknowledged; zero: by the retries.
    pub user_timeout: u32,
    /// TCP_LINGER2, in seconds: how long an orphan may wait for the peer's FIN; zero: as long as the stack says,
    /// negative: not at all.
    pub linger2: i16,
    /// TCP_WINDOW_CLAMP: the widest window to offer, in octets; zero: by the buffer.
    pub window_clamp: u32,
    /// TCP_NOTSENT_LOWAT: so many octets not sent are enough; zero: no such limit.
    pub not_sent_low_water: u32,
    /// The send buffer at first, or as SO_SNDBUF says, in octets of data: half of what the option tells.
    pub send_buffer: u32,
    /// The receive buffer likewise.
    pub recv_buffer: u32,
    /// SO_SNDBUF was set: the buffer stays as it is.
    pub send_locked: bool,
    /// SO_RCVBUF was set: the buffer stays as it is.
    pub recv_locked: bool,
}

impl TcpOptions {
    /// Linux's defaults, and those of `config`.
    pub fn new(config: &TcpConfig) -> Self {
        Self {
            nodelay: false,
            cork: false,
            quickack: true,
            urgent_inline: false,
            path_mtu: true,
            keepalive: false,
            congestion: config.congestion,
            max_pacing_rate: u64::MAX,
            keepalive_count: config.keepalive_count,
            syn_retries: None,
            max_segment: None,
            keepalive_idle: config.keepalive_idle,
            keepalive_interval: config.keepalive_interval,
            user_timeout: 0,
            linger2: 0,
            window_clamp: 0,
            not_sent_low_water: 0,
            send_buffer: config.send_buffer as u32,
            recv_buffer: config.recv_buffer as u32,
            send_locked: false,
            recv_locked: false,
        }
    }

    /// Silence after which the peer is asked whether it lives.
    #[inline]
    pub fn keepalive_idle(&self) -> Duration {
        Duration::from_secs(self.keepalive_idle.into())
    }

    /// The time between two such questions.
    pub fn keepalive_interval(&self) -> Duration {
        Duration::from_secs(self.keepalive_interval.into())
    }

    /// How long data may stay unacknowledged, when that was said.
    pub fn user_timeout(&self) -> Option<Duration> {
        (self.user_timeout > 0).then(|| Duration::from_millis(self.user_timeout.into()))
    }
}
