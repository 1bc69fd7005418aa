//! Names that every floor shares.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// A transport protocol, by its IANA number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// TCP, 6.
    Tcp = 6,
    /// UDP, 17.
    Udp = 17,
}

/// A network interface, by the kernel's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IfaceId(pub u32);

impl IfaceId {
    /// The loopback device: Linux makes it first in each network namespace.
    pub const LOOPBACK: IfaceId = IfaceId(1);
}

/// The scope id of an address that belongs to `iface`: zero but for link-local ones, which mean nothing without
/// their link (RFC 4007 §6).
#[inline]
pub fn scope_of(address: &Ipv6Addr, iface: IfaceId) -> u32 {
    if is_link_local(address) { iface.0 } else { 0 }
}

/// Whether an address means something on one link only: unicast (fe80::/64, RFC 4291 §2.5.6) or a group of that
/// scope.
#[inline]
pub fn is_link_local(address: &Ipv6Addr) -> bool {
    let bits = address.to_bits();
    (bits >> 64) as u64 == 0xfe80 << 48 || (bits >> 112) as u16 & 0xff0f == 0xff02
}

/// An address as the stack keeps it: IPv4-mapped ones as IPv4, without flow label, and with a scope only where
/// that means something.
#[inline]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    let SocketAddr::V6(v6) = address else { return address };
    match v6.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), v6.port()),
        IpAddr::V6(ip) => {
            let scope = scope_of(&ip, IfaceId(v6.scope_id()));
            SocketAddr::V6(SocketAddrV6::new(ip, v6.port(), 0, scope))
        }
    }
}

/// An end that was read from a packet of the link of `iface`.
#[inline]
pub fn on_link(end: SocketAddr, iface: IfaceId) -> SocketAddr {
    match end {
        SocketAddr::V4(_) => end,
        SocketAddr::V6(v6) => {
            let scope = scope_of(v6.ip(), iface);
            SocketAddr::V6(SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope))
        }
    }
}

/// The scope id of an address, zero when it has none.
#[inline]
pub fn scope_id(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

/// A flow as this host sees it: the five-tuple with its ends named, not ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

/// Our end of a socket that hears more than one peer: a listener, an unconnected UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalKey {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The local address; unspecified (`0.0.0.0`) means every address of the host.
    pub address: IpAddr,
    /// The local port.
    pub port: u16,
}

/// Where a flow began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer sent its first packet.
    In,
    /// We did.
    Out,
}

/// The ECN field: the two low bits of the type of service or traffic class (RFC 3168 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Ecn {
    /// The sender does not take part.
    #[default]
    NotEct = 0,
    /// It does, ECT(1).
    Ect1 = 1,
    /// It does, ECT(0).
    Ect0 = 2,
    /// It does, and a router met congestion.
    Ce = 3,
}

impl Ecn {
    /// The bits of a type of service or traffic class that the field takes.
    pub const MASK: u8 = 3;

    /// The field of a type of service or traffic class.
    #[inline]
    pub const fn of_tos(tos: u8) -> Self {
        match tos & Self::MASK {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}

/// A verdict kept: valid while its generation is the gate's. Of every connection and handshake there is one.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerdictMemo {
    /// The gate's generation when it was judged; zero: never.
    pub generation: u32,
    /// The counter row of the rule that decided, above it [`VerdictMemo::TOLD_ELSEWHERE`], the [`Road`], and
    /// [`VerdictMemo::ALLOWED`].
    verdict: u32,
}

impl VerdictMemo {
    /// Of a flow that was judged and told of before, where the verdict could not be kept: in another stack of the host, or
    /// by a connection whose record in TIME-WAIT has no room for it.
    pub const TOLD: Self = Self { generation: u32::MAX, verdict: 0 };
    /// The last generation that a gate has.
    pub const LAST_GENERATION: u32 = u32::MAX - 2;
    /// That of no memo.
    pub const NO_GENERATION: u32 = u32::MAX - 1;
    /// Set in the verdict of what may pass.
    const ALLOWED: u32 = 1 << 31;
    /// How far up the road stands.
    const ROAD: u32 = 24;
    /// Set when it was told of that the flow would have been refused by another interface.
    const TOLD_ELSEWHERE: u32 = 1 << 23;
    /// Of rules and tables there are fewer rows.
    pub const ROWS: u32 = Self::TOLD_ELSEWHERE;

    /// What was decided in that generation, by the rule with that counter row, of packets by that interface.
    #[inline]
    #[must_use]
    pub fn new(generation: u32, allowed: bool, row: u32, road: Road) -> Self {
        debug_assert!(row < Self::ROWS);
        let allowed = if allowed { Self::ALLOWED } else { 0 };
        Self { generation, verdict: allowed | u32::from(road.0) << Self::ROAD | row }
    }

    /// Whether packets of the flow pass.
    #[inline]
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.verdict & Self::ALLOWED != 0
    }

    /// The counter row of the rule that decided.
    #[inline]
    #[must_use]
    pub fn row(&self) -> u32 {
        self.verdict & (Self::ROWS - 1)
    }

    /// Whether it was told of that the flow would have been refused by another interface.
    #[inline]
    #[must_use]
    pub fn is_told_elsewhere(&self) -> bool {
        self.verdict & Self::TOLD_ELSEWHERE != 0
    }

    /// The same, when that was told of if `told`.
    #[inline]
    #[must_use]
    pub fn told_elsewhere(self, told: bool) -> Self {
        Self { verdict: self.verdict | if told { Self::TOLD_ELSEWHERE } else { 0 }, ..self }
    }

    /// The interface by which the packets of whoever began the flow travel.
    #[inline]
    #[must_use]
    pub fn road(&self) -> Road {
        Road((self.verdict >> Self::ROAD) as u8 & Road::HOME.0)
    }

    /// The same, of packets by that interface.
    #[inline]
    #[must_use]
    pub fn by(self, road: Road) -> Self {
        let others = self.verdict & !(u32::from(Road::HOME.0) << Self::ROAD);
        Self { verdict: others | u32::from(road.0) << Self::ROAD, ..self }
    }
}

/// Interfaces of a stack that rules can tell apart: those beyond would be to a policy what no rule names.
pub const MAX_IFACES: usize = Road::HOME.0 as usize - 1;

/// An interface by its number in a stack: seven bits of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Road(u8);

impl Road {
    /// Not known, or none of the stack's.
    pub const UNKNOWN: Road = Road(0);
    /// None: from one socket of the host to another.
    pub const HOME: Road = Road(0x7f);

    /// The interface with this place among the stack's.
    pub const fn of_port(port: usize) -> Self {
        if port < MAX_IFACES { Self(port as u8 + 1) } else { Self::UNKNOWN }
    }

    /// Its place among the stack's, if it is one of them.
    pub fn port(self) -> Option<usize> {
        if self == Self::HOME { None } else { usize::from(self.0).checked_sub(1) }
    }
}

/// A socket of a stack. The generation tells a socket from an earlier one in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    /// Slot.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}.{}", self.index, self.generation)
    }
}

/// What a socket is ready for: a set of bits with epoll's meanings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness(pub u8);

impl Readiness {
    /// Nothing.
    pub const NONE: Readiness = Readiness(0);
    /// `recv` or `accept` will not block (data, a connection, end of stream, an error).
    pub const IN: Readiness = Readiness(1);
    /// `send` will not block.
    pub const OUT: Readiness = Readiness(2);
    /// An error waits in SO_ERROR.
    pub const ERR: Readiness = Readiness(4);
    /// Both directions are shut.
    pub const HUP: Readiness = Readiness(8);
    /// The peer will send no more.
    pub const RDHUP: Readiness = Readiness(16);
    /// Urgent data.
    pub const PRI: Readiness = Readiness(32);
    /// Urgent data was announced. Not a state but an event: told once, with the wake-up.
    pub const URG: Readiness = Readiness(64);
    /// The error queue is not empty (MSG_ERRQUEUE): `poll` calls that an error too, but no other call fails for it.
    pub const REPORT: Readiness = Readiness(128);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Readiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    pub const fn intersects(self, other: Readiness) -> bool {
        self.0 & other.0 != 0
    }

    /// These bits without those of `other`.
    pub const fn without(self, other: Readiness) -> Readiness {
        Readiness(self.0 & !other.0)
    }

    /// Whether no bit is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl core::ops::BitOr for Readiness {
    type Output = Readiness;
    fn bitor(self, rhs: Readiness) -> Readiness {
        Readiness(self.0 | rhs.0)
    }
}

impl core::ops::BitOrAssign for Readiness {
    fn bitor_assign(&mut self, rhs: Readiness) {
        self.0 |= rhs.0;
    }
}

impl core::ops::BitAnd for Readiness {
    type Output = Readiness;
    fn bitand(self, rhs: Readiness) -> Readiness {
        Readiness(self.0 & rhs.0)
    }
}

/// The congestion controls there are, by their names in TCP_CONGESTION.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionControl {
    /// `cubic` (RFC 9438), with HyStart++ (RFC 9406).
    #[default]
    Cubic,
    /// `reno`: NewReno (RFC 5681, RFC 6582), with HyStart++.
    Reno,
    /// `bbr`: BBRv3 (draft-ietf-ccwg-bbr).
    Bbr,
}

impl CongestionControl {
    /// All of them.
    pub const ALL: &'static [CongestionControl] =
        &[CongestionControl::Cubic, CongestionControl::Reno, CongestionControl::Bbr];

    /// The name in TCP_CONGESTION.
    pub const fn name(self) -> &'static str {
        match self {
            CongestionControl::Cubic => "cubic",
            CongestionControl::Reno => "reno",
            CongestionControl::Bbr => "bbr",
        }
    }

    /// The control of this name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.name().as_bytes() == name)
    }
}
