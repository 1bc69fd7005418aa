//! Datagrams with what comes beside their bytes: addresses, hop limits, time, segments.

use core::net::{IpAddr, SocketAddr};

use crate::time::Instant;
use crate::types::IfaceId;
use crate::udp::Wants;

/// A datagram that was received (or, where UDP_GRO is on, a train of them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes that were copied.
    pub copied: usize,
    /// Bytes in the datagram; more than `copied` when the caller's buffer was short (MSG_TRUNC).
    pub len: usize,
    /// Who sent it.
    pub remote: SocketAddr,
    /// The address and port it was sent to (IP_PKTINFO, IP_ORIGDSTADDR).
    pub local: SocketAddr,
    /// The address of ours to answer from: that it was sent to, or for a group the interface's.
    pub answer_from: Option<IpAddr>,
    /// The interface it arrived on; none when it did not arrive (a stream, the end).
    pub iface: Option<IfaceId>,
    /// Time to live, or hop limit, as it arrived.
    pub ttl: u8,
    /// Type of service, or traffic class, as it arrived.
    pub tos: u8,
    /// When the stack took it in.
    pub at: Instant,
    /// UDP_GRO: bytes in each datagram of the train but the last, when it is one.
    pub segment: Option<u16>,
    /// SO_RXQ_OVFL: how many the socket had dropped when this one came.
    pub drops: u32,
    /// What the socket was told to tell.
    pub wants: Wants,
}

impl Datagram {
    /// Bytes with two ends and nothing else: what a stream tells, or the end of everything.
    pub fn plain(copied: usize, remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            copied,
            len: copied,
            remote,
            local,
            answer_from: None,
            iface: None,
            ttl: 0,
            tos: 0,
            at: Instant::ZERO,
            segment: None,
            drops: 0,
            wants: Wants::default(),
        }
    }
}

/// What one send asks for, besides its bytes and the socket's options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    /// To whom; none: the connected peer.
    pub remote: Option<SocketAddr>,
    /// The address of ours to send from (IP_PKTINFO's `ipi_spec_dst`).
    pub source: Option<IpAddr>,
    /// The interface it has to leave by (`ipi_ifindex`).
    pub iface: Option<IfaceId>,
    /// Time to live, or hop limit (IP_TTL, IPV6_HOPLIMIT).
    pub ttl: Option<u8>,
    /// Type of service, or traffic class (IP_TOS, IPV6_TCLASS).
    pub tos: Option<u8>,
    /// UDP_SEGMENT: cut the bytes into datagrams of so many; zero: do not.
    pub segment: Option<u16>,
}

impl Outbound {
    /// To `remote`, or the connected peer, and nothing else.
    pub fn to(remote: Option<SocketAddr>) -> Self {
        Self { remote, ..Self::default() }
    }
}

/// An error of the error queue (IP_RECVERR), as `sock_extended_err` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorReport {
    /// The errno.
    pub errno: i32,
    /// Who says so.
    pub origin: Origin,
    /// ICMP's type.
    pub kind: u8,
    /// ICMP's code.
    pub code: u8,
    /// The path MTU of EMSGSIZE; else zero.
    pub info: u32,
    /// Who sent the error; none for a local one.
    pub offender: Option<IpAddr>,
    /// Where the datagram that caused it was going.
    pub remote: SocketAddr,
    /// The interface the error arrived on; none for a local one.
    pub iface: Option<IfaceId>,
    /// Our end, as the error named it.
    pub local: Option<SocketAddr>,
    /// Time to live, or hop limit, of the error's own packet.
    pub ttl: u8,
    /// Its type of service, or traffic class.
    pub tos: u8,
    /// When it came.
    pub at: Instant,
    /// Bytes of that datagram that were copied, and that are known.
    pub copied: usize,
    /// Bytes of it that the error quotes.
    pub len: usize,
    /// What the socket was told to tell.
    pub wants: Wants,
}

/// Sends with MSG_ZEROCOPY that are done (SO_EE_ORIGIN_ZEROCOPY), by the order in which they were made: the numbers
/// wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The first (`ee_info`).
    pub first: u32,
    /// The last (`ee_data`).
    pub last: u32,
}

/// `SO_EE_ORIGIN_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// This host.
    Local = 1,
    /// An ICMP message.
    Icmp = 2,
    /// An ICMPv6 message.
    Icmp6 = 3,
}
