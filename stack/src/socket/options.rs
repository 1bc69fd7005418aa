//! Socket options: one row each. Numbers are Linux's generic ones (x86, arm, riscv).

use crate::error::SocketError;

use super::Result;

/// The shape of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A C `int`.
    Int,
    /// `struct linger`.
    Linger,
    /// A congestion control's name.
    Name,
    /// `struct tcp_info`; read only.
    Info,
    /// A rate: C's `unsigned int` or `unsigned long`, by the length.
    Rate,
    /// `union tcp_cc_info`; read only.
    ControlInfo,
}

/// The value of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it lives for one call")]
pub enum Value {
    /// A C `int`; flags are 0 and 1.
    Int(i32),
    /// SO_LINGER: none when off, else seconds.
    Linger(Option<u32>),
    /// A name of at most 16 bytes, padded with zeros (`TCP_CA_NAME_MAX`).
    Name([u8; 16]),
    /// TCP_INFO.
    Info(TcpInfo),
    /// Octets a second; `u64::MAX`: no limit.
    Rate(u64),
    /// TCP_CC_INFO: none when the control has nothing to tell.
    ControlInfo(Option<BbrInfo>),
}

impl Value {
    /// The integer.
    ///
    /// # Errors
    /// `Invalid` for the other shapes.
    pub fn int(self) -> Result<i32> {
        match self {
            Value::Int(i) => Ok(i),
            _ => Err(SocketError::Invalid),
        }
    }
}

/// What TCP_CC_INFO tells of BBR: `struct tcp_bbr_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BbrInfo {
    /// The bandwidth, in octets a second.
    pub bw: u64,
    /// The least round trip, in microseconds.
    pub min_rtt: u32,
    /// In 256ths.
    pub pacing_gain: u32,
    /// In 256ths.
    pub cwnd_gain: u32,
}

/// What TCP_INFO tells, in Linux's units (microseconds, bytes, segments).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// `TCP_ESTABLISHED` … in Linux's numbers.
    pub state: u8,
    /// The state of congestion control (`tcp_ca_state`).
    pub ca_state: u8,
    /// Retransmissions of the oldest segment.
    pub retransmits: u8,
    /// Probes outstanding.
    pub probes: u8,
    /// Back-off of the time-out.
    pub backoff: u8,
    /// `TCPI_OPT_*`.
    pub options: u8,
    /// Window scale of the peer, then ours.
    pub wscale: (u8, u8),
    /// Retransmission time-out.
    pub rto: u32,
    /// Delayed-ACK time-out.
    pub ato: u32,
    /// Our maximum segment size.
    pub snd_mss: u32,
    /// The peer's.
    pub rcv_mss: u32,
    /// Segments in flight.
    pub unacked: u32,
    /// Segments reported by SACK.
    pub sacked: u32,
    /// Segments taken for lost.
    pub lost: u32,
    /// Segments sent again and in flight.
    pub retrans: u32,
    /// Milliseconds since data was sent last.
    pub last_data_sent: u32,
    /// Milliseconds since something arrived last.
    pub last_data_recv: u32,
    /// Likewise.
    pub last_ack_recv: u32,
    /// Path MTU.
    pub pmtu: u32,
    /// Slow-start threshold of the receive window.
    pub rcv_ssthresh: u32,
    /// Smoothed round-trip time.
    pub rtt: u32,
    /// Its variation.
    pub rttvar: u32,
    /// Slow-start threshold, in segments.
    pub snd_ssthresh: u32,
    /// Congestion window, in segments.
    pub snd_cwnd: u32,
    /// Our maximum segment size as announced.
    pub advmss: u32,
    /// Reordering that is tolerated, in segments.
    pub reordering: u32,
    /// Round-trip time as the receive buffer measures it.
    pub rcv_rtt: u32,
    /// Bytes that the application reads in a round trip.
    pub rcv_space: u32,
    /// Segments sent again, ever.
    pub total_retrans: u32,
    /// Bytes acknowledged.
    pub bytes_acked: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Segments out.
    pub segs_out: u32,
    /// Segments in.
    pub segs_in: u32,
    /// Bytes not yet sent.
    pub notsent_bytes: u32,
    /// Bytes a second at which segments leave.
    pub pacing_rate: u64,
    /// SO_MAX_PACING_RATE; `u64::MAX`: none.
    pub max_pacing_rate: u64,
    /// Bytes a second at which they were delivered, measured last. Measured from the first question on.
    pub delivery_rate: u64,
    /// That rate was the application's doing.
    pub delivery_rate_app_limited: bool,
    /// The shortest round trip of late; `u32::MAX` before one was measured.
    pub min_rtt: u32,
    /// Segments in and out with data.
    pub data_segs_in: u32,
    /// See `data_segs_in`.
    pub data_segs_out: u32,
    /// Time with something to send.
    pub busy_time: u64,
    /// Of this, held by the peer's window.
    pub rwnd_limited: u64,
    /// Of this, held by our send buffer.
    pub sndbuf_limited: u64,
    /// Segments known to have arrived.
    pub delivered: u32,
    /// Bytes sent, copies included.
    pub bytes_sent: u64,
    /// Bytes sent again.
    pub bytes_retrans: u64,
    /// Duplicates that the peer reported.
    pub dsack_dups: u32,
    /// Times when segments overtook others.
    pub reord_seen: u32,
    /// Segments that arrived out of order.
    pub rcv_ooopack: u32,
    /// Of the delivered, those with which the peer reported congestion.
    pub delivered_ce: u32,
    /// Time-outs, and how many of them were the first in a row.
    pub total_rto: (u16, u16),
    /// Milliseconds from the first ones to the ends of the recoveries.
    pub total_rto_time: u32,
    /// The peer's window.
    pub snd_wnd: u32,
    /// Ours.
    pub rcv_wnd: u32,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident = $level:literal, $number:literal, $kind:ident;)*) => {
        /// An option by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum OptName { $($(#[$doc])* $name,)* }

        impl OptName {
            /// Every option, in the order of the table.
            pub const ALL: &'static [OptName] = &[$(OptName::$name),*];

            /// The option that C calls `(level, number)`.
            pub const fn from_raw(level: i32, number: i32) -> Option<OptName> {
                match (level, number) {
                    $(($level, $number) => Some(OptName::$name),)*
                    _ => None,
                }
            }

            /// What C calls it: level and number.
            pub const fn raw(self) -> (i32, i32) {
                match self { $(OptName::$name => ($level, $number),)* }
            }

            /// The shape of its value.
            pub const fn kind(self) -> Kind {
                match self { $(OptName::$name => Kind::$kind,)* }
            }
        }
    };
}

impl OptName {
    /// Whether it changes datagrams only. A stream leaves it to its backing socket.
    pub const fn is_for_datagrams(self) -> bool {
        use OptName::*;
        matches!(
            self,
            NoCheck
                | Timestamp
                | TimestampNs
                | Timestamping
                | DropCount
                | TimestampNew
                | TimestampNsNew
                | TimestampingNew
                | PacketInfo
                | RecvError
                | RecvTtl
                | RecvTos
                | RecvOriginalDestination
                | MulticastTtl
                | MulticastAll
                | MulticastHops
                | RecvErrorV6
                | MulticastAllV6
                | RecvPacketInfoV6
                | RecvHopLimit
                | RecvTrafficClass
                | RecvOriginalDestinationV6
        ) || self.raw().0 == 17
    }
}

// SOL_SOCKET = 1, IPPROTO_IP = 0, IPPROTO_TCP = 6, SOL_UDP = 17, IPPROTO_IPV6 = 41.
options! {
    /// SO_REUSEADDR: stored; the backing kernel socket decides.
    ReuseAddr = 1, 2, Int;
    /// SO_TYPE; read only.
    Type = 1, 3, Int;
    /// SO_ERROR; reading clears it.
    Error = 1, 4, Int;
    /// SO_DONTROUTE: stored.
    DontRoute = 1, 5, Int;
    /// SO_BROADCAST.
    Broadcast = 1, 6, Int;
    /// SO_SNDBUF. Set: doubled, as Linux does.
    SendBuffer = 1, 7, Int;
    /// SO_RCVBUF. Set: doubled, as Linux does.
    RecvBuffer = 1, 8, Int;
    /// SO_SNDBUFFORCE: as SO_SNDBUF, past the host's limit; write only.
    SendBufferForce = 1, 32, Int;
    /// SO_RCVBUFFORCE: as SO_RCVBUF, past the host's limit; write only.
    RecvBufferForce = 1, 33, Int;
    /// SO_KEEPALIVE.
    KeepAlive = 1, 9, Int;
    /// SO_OOBINLINE.
    OobInline = 1, 10, Int;
    /// SO_PRIORITY: stored.
    Priority = 1, 12, Int;
    /// SO_LINGER.
    Linger = 1, 13, Linger;
    /// SO_REUSEPORT: stored; the backing kernel socket decides.
    ReusePort = 1, 15, Int;
    /// SO_RCVLOWAT.
    RecvLowWater = 1, 18, Int;
    /// SO_ACCEPTCONN; read only.
    AcceptConn = 1, 30, Int;
    /// SO_PROTOCOL; read only.
    Protocol = 1, 38, Int;
    /// SO_DOMAIN; read only.
    Domain = 1, 39, Int;
    /// SO_NO_CHECK: datagrams without checksums, on IPv4.
    NoCheck = 1, 11, Int;
    /// SO_TIMESTAMP: when a datagram came, in microseconds.
    Timestamp = 1, 29, Int;
    /// SO_TIMESTAMPNS: in nanoseconds.
    TimestampNs = 1, 35, Int;
    /// SO_TIMESTAMPING: SOF_TIMESTAMPING_*.
    Timestamping = 1, 37, Int;
    /// SO_RXQ_OVFL: how many datagrams were dropped.
    DropCount = 1, 40, Int;
    /// SO_TIMESTAMP_NEW.
    TimestampNew = 1, 63, Int;
    /// SO_TIMESTAMPNS_NEW.
    TimestampNsNew = 1, 64, Int;
    /// SO_TIMESTAMPING_NEW.
    TimestampingNew = 1, 65, Int;
    /// SO_SNDLOWAT: one; read only.
    SendLowWater = 1, 19, Int;
    /// SO_MARK: stored.
    Mark = 1, 36, Int;
    /// SO_ZEROCOPY: MSG_ZEROCOPY is answered with a completion (of a copy).
    ZeroCopy = 1, 60, Int;
    /// SO_BUSY_POLL: stored.
    BusyPoll = 1, 46, Int;
    /// SO_MAX_PACING_RATE, bytes a second.
    MaxPacingRate = 1, 47, Rate;
    /// SO_INCOMING_CPU.
    IncomingCpu = 1, 49, Int;
    /// IP_TOS.
    Tos = 0, 1, Int;
    /// IP_TTL.
    Ttl = 0, 2, Int;
    /// IP_PKTINFO.
    PacketInfo = 0, 8, Int;
    /// IP_MTU_DISCOVER: what a datagram too long for the path becomes.
    MtuDiscover = 0, 10, Int;
    /// IP_RECVERR.
    RecvError = 0, 11, Int;
    /// IP_RECVTTL.
    RecvTtl = 0, 12, Int;
    /// IP_RECVTOS.
    RecvTos = 0, 13, Int;
    /// IP_RECVORIGDSTADDR.
    RecvOriginalDestination = 0, 20, Int;
    /// IP_MULTICAST_TTL.
    MulticastTtl = 0, 33, Int;
    /// IP_MULTICAST_ALL.
    MulticastAll = 0, 49, Int;
    /// IP_MTU of a connected socket; read only.
    Mtu = 0, 14, Int;
    /// UDP_NO_CHECK6_TX.
    NoCheck6Tx = 17, 101, Int;
    /// UDP_NO_CHECK6_RX.
    NoCheck6Rx = 17, 102, Int;
    /// UDP_SEGMENT: bytes of each datagram that a send is cut into.
    Segment = 17, 103, Int;
    /// UDP_GRO: datagrams of one length may be received together.
    Gro = 17, 104, Int;
    /// IPV6_UNICAST_HOPS.
    Hops = 41, 16, Int;
    /// IPV6_MULTICAST_HOPS.
    MulticastHops = 41, 18, Int;
    /// IPV6_RECVERR.
    RecvErrorV6 = 41, 25, Int;
    /// IPV6_MULTICAST_ALL.
    MulticastAllV6 = 41, 29, Int;
    /// IPV6_RECVPKTINFO.
    RecvPacketInfoV6 = 41, 49, Int;
    /// IPV6_RECVHOPLIMIT.
    RecvHopLimit = 41, 51, Int;
    /// IPV6_RECVTCLASS.
    RecvTrafficClass = 41, 66, Int;
    /// IPV6_RECVORIGDSTADDR.
    RecvOriginalDestinationV6 = 41, 74, Int;
    /// IPV6_MTU_DISCOVER: stored.
    MtuDiscoverV6 = 41, 23, Int;
    /// IPV6_MTU of a connected socket; read only.
    MtuV6 = 41, 24, Int;
    /// IPV6_V6ONLY, before the socket is bound.
    V6Only = 41, 26, Int;
    /// IPV6_TCLASS.
    TrafficClass = 41, 67, Int;
    /// IPV6_AUTOFLOWLABEL.
    AutoFlowLabel = 41, 70, Int;
    /// TCP_NODELAY.
    NoDelay = 6, 1, Int;
    /// TCP_MAXSEG.
    MaxSeg = 6, 2, Int;
    /// TCP_CORK.
    Cork = 6, 3, Int;
    /// TCP_KEEPIDLE, seconds.
    KeepIdle = 6, 4, Int;
    /// TCP_KEEPINTVL, seconds.
    KeepInterval = 6, 5, Int;
    /// TCP_KEEPCNT.
    KeepCount = 6, 6, Int;
    /// TCP_SYNCNT: stored.
    SynCount = 6, 7, Int;
    /// TCP_LINGER2, seconds.
    Linger2 = 6, 8, Int;
    /// TCP_DEFER_ACCEPT, seconds.
    DeferAccept = 6, 9, Int;
    /// TCP_WINDOW_CLAMP.
    WindowClamp = 6, 10, Int;
    /// TCP_INFO; read only.
    Info = 6, 11, Info;
    /// TCP_QUICKACK: not a setting but an act; what is said of it may change with the next segment.
    QuickAck = 6, 12, Int;
    /// TCP_CONGESTION: `cubic`, `reno` or `bbr`.
    Congestion = 6, 13, Name;
    /// TCP_CC_INFO; read only.
    ControlInfo = 6, 26, ControlInfo;
    /// TCP_USER_TIMEOUT, milliseconds.
    UserTimeout = 6, 18, Int;
    /// TCP_FASTOPEN: connections that may be pending (RFC 7413).
    FastOpen = 6, 23, Int;
    /// TCP_FASTOPEN_CONNECT: connect waits for the first send.
    FastOpenConnect = 6, 30, Int;
    /// TCP_FASTOPEN_NO_COOKIE: stored and used by connect.
    FastOpenNoCookie = 6, 34, Int;
    /// TCP_NOTSENT_LOWAT, bytes.
    NotSentLowWater = 6, 25, Int;
    /// TCP_SAVE_SYN: a listener keeps the headers of SYNs, which TCP_SAVED_SYN tells once.
    SaveSyn = 6, 27, Int;
}
