//! What can be set when a stack is made. Defaults are Linux's where Linux has one.

use core::time::Duration;

use crate::types::CongestionControl;

/// Limits and defaults of a stack.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sockets, connections included, at the most.
    pub max_sockets: u32,
    /// Flow entries for UDP verdicts at the most; the longest idle is evicted first.
    pub max_udp_flows: u32,
    /// Connections that come by a listener are steered one by one: other stacks may hear the same endpoint.
    pub steer_each: bool,
    /// Sockets of every protocol.
    pub sockets: SocketConfig,
    /// TCP.
    pub tcp: TcpConfig,
}

/// Limits and defaults of sockets, whatever their protocol.
#[derive(Clone, Debug)]
pub struct SocketConfig {
    /// The time to live of IPv4 packets (Linux: net.ipv4.ip_default_ttl).
    pub ttl: u8,
    /// IPV6_V6ONLY at first (Linux: net.ipv6.bindv6only).
    pub v6_only: bool,
    /// Who gets flow labels (Linux: net.ipv6.auto_flowlabels).
    pub auto_labels: AutoLabels,
    /// The longest backlog of a listener (Linux: net.core.somaxconn).
    pub backlog_max: u32,
    /// The send buffer of a UDP socket at first, in bytes as SO_SNDBUF tells it (Linux: net.core.wmem_default).
    pub udp_send_buffer: u32,
    /// Its receive buffer likewise (Linux: net.core.rmem_default).
    pub udp_recv_buffer: u32,
    /// The most that SO_SNDBUF may ask for, in bytes (Linux: net.core.wmem_max).
    pub send_buffer_ask: u32,
    /// The most that SO_RCVBUF may ask for, in bytes (Linux: net.core.rmem_max).
    pub recv_buffer_ask: u32,
}

/// Who sends IPv6 flow labels (RFC 6437) without being told to (Linux: net.ipv6.auto_flowlabels).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoLabels {
    /// Nobody, whatever IPV6_AUTOFLOWLABEL says.
    Never,
    /// Who did not refuse them.
    #[default]
    Usually,
    /// Who asked for them.
    OnDemand,
    /// Everybody, whatever IPV6_AUTOFLOWLABEL says.
    Always,
}

impl AutoLabels {
    /// What IPV6_AUTOFLOWLABEL says until it is set.
    pub fn at_first(self) -> bool {
        matches!(self, Self::Usually | Self::Always)
    }

    /// Whether a socket that has the option at `chosen` sends labels.
    #[inline]
    pub fn permit(self, chosen: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Usually | Self::OnDemand => chosen,
            Self::Always => true,
        }
    }
}

/// What makes a stack unpredictable from outside: random bytes, fresh for each stack and never shown.
#[derive(Clone)]
pub struct Secrets(pub [u8; 32]);

impl Secrets {
    /// The key of the hash tables.
    pub fn hash_key(&self) -> [u8; 16] {
        self.0[..16].try_into().expect("half of 32 bytes")
    }

    /// The key of initial sequence numbers (RFC 6528).
    pub fn isn_key(&self) -> [u8; 16] {
        self.0[16..].try_into().expect("half of 32 bytes")
    }
}

impl core::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// Limits and defaults of TCP.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// The send buffer at first, in bytes of data (Linux: half of what it becomes with the handshake).
    pub send_buffer: usize,
    /// The most it grows to with the congestion window (Linux: half of tcp_wmem\[2\]).
    pub send_buffer_max: usize,
    /// The receive buffer at first, in bytes of data (Linux: half of tcp_rmem\[1\]): the window.
    pub recv_buffer: usize,
    /// The most it grows to with what is read in a round trip (Linux: half of tcp_rmem\[2\]).
    pub recv_buffer_max: usize,
    /// Congestion control of sockets that do not choose (TCP_CONGESTION).
    pub congestion: CongestionControl,
    /// How long a closed connection waits for stray segments (Linux: 60 s).
    pub time_wait: Duration,
    /// The shortest retransmission time-out (Linux: 200 ms).
    pub rto_min: Duration,
    /// The longest (RFC 6298 §2.5; Linux: 120 s).
    pub rto_max: Duration,
    /// The first, before a round trip was measured (RFC 6298 §2.1).
    pub rto_initial: Duration,
    /// The longest an ACK waits for company (Linux: 40 ms to 200 ms; RFC 9293 §3.8.6.3: under 500 ms).
    pub delayed_ack: Duration,
    /// TCP_KEEPIDLE at first, in seconds (Linux: net.ipv4.tcp_keepalive_time).
    pub keepalive_idle: u16,
    /// TCP_KEEPINTVL at first, in seconds (Linux: net.ipv4.tcp_keepalive_intvl).
    pub keepalive_interval: u16,
    /// TCP_KEEPCNT at first (Linux: net.ipv4.tcp_keepalive_probes).
    pub keepalive_count: u8,
    /// Retransmissions of a SYN before connect fails (Linux: 6).
    pub syn_retries: u8,
    /// Retransmissions of a SYN-ACK (Linux: 5).
    pub synack_retries: u8,
    /// Path MTU discovery without ICMP (RFC 8899; Linux: net.ipv4.tcp_mtu_probing): 0 none; 1 black holes are found
    /// by time-outs, and longer packets tried from there; 2 every path is tried, from a packet that all take.
    pub mtu_probing: u8,
    /// Fast Open (RFC 7413; Linux: net.ipv4.tcp_fastopen): 1 a client's sockets may ask for it, 2 so may a
    /// server's; other bits as in Linux. Nothing happens that no socket asked for.
    pub fast_open: u32,
    /// ECN (RFC 3168; Linux: net.ipv4.tcp_ecn): 0 never, 1 our SYNs ask for it too, 2 when the peer asks.
    pub ecn: u8,
    /// SYN cookies (Linux: net.ipv4.tcp_syncookies): 0 never, 1 when a listener's handshakes fill its backlog,
    /// 2 always.
    pub syn_cookies: u8,
    /// Retransmissions of data before the connection is given up (Linux: 15).
    pub retries: u8,
    /// Challenge ACKs a second, over all connections (RFC 5961 §10).
    pub challenge_acks_per_second: u32,
    /// How long an orphan may stay in FIN-WAIT-2 (Linux: 60 s).
    pub fin_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_sockets: 1 << 20,
            max_udp_flows: 1 << 16,
            steer_each: false,
            sockets: SocketConfig::default(),
            tcp: TcpConfig::default(),
        }
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            ttl: 64,
            v6_only: false,
            auto_labels: AutoLabels::default(),
            backlog_max: 4096,
            udp_send_buffer: 212_992,
            udp_recv_buffer: 212_992,
            send_buffer_ask: 4 << 20,
            recv_buffer_ask: 4 << 20,
        }
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            send_buffer: 43_520,
            send_buffer_max: 2 << 20,
            recv_buffer: 64 << 10,
            recv_buffer_max: 16 << 20,
            congestion: CongestionControl::default(),
            time_wait: Duration::from_secs(60),
            rto_min: Duration::from_millis(200),
            rto_max: Duration::from_secs(120),
            rto_initial: Duration::from_secs(1),
            delayed_ack: Duration::from_millis(40),
            keepalive_idle: 7200,
            keepalive_interval: 75,
            keepalive_count: 9,
            syn_retries: 6,
            synack_retries: 5,
            mtu_probing: 0,
            fast_open: 1,
            ecn: 2,
            syn_cookies: 1,
            retries: 15,
            challenge_acks_per_second: 1000,
            fin_timeout: Duration::from_secs(60),
        }
    }
}
