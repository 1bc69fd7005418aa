//! What a policy says, in plain data.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::roads::closeness;
use crate::types::{Direction, Protocol};

/// A whole policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySpec {
    /// For local addresses that have no table.
    pub default: Action,
    /// Of several that hold a local address by an interface, the one whose prefix is the longest answers for it; of those
    /// with one prefix, the one that names the interface [most closely](super::closeness).
    pub tables: Vec<TableSpec>,
    /// Addresses of other ends whose flows are recorded in full. They are judged as any.
    pub shadow: Vec<Prefix>,
}

impl PolicySpec {
    /// The policy of a host that has none: everything is allowed.
    pub const fn open() -> Self {
        Self { default: Action::Allow, tables: Vec::new(), shadow: Vec::new() }
    }
}

/// The rules for some local addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSpec {
    /// What it is called in counters; unique.
    pub name: String,
    /// The addresses it answers for.
    pub locals: Vec<Prefix>,
    /// The interfaces by which it does, as rules name them; none: whichever it is.
    pub interfaces: Vec<String>,
    /// Whether its verdicts are carried out.
    pub mode: Mode,
    /// Nobody gets an answer, from the kernel either, whom no rule permits: no reset, no ICMP error, no echo.
    pub cloak: bool,
    /// What is denied is dropped before any stack sees it.
    pub offload: bool,
    /// Read in order; the first that matches decides; what none matches is denied.
    pub rules: Vec<RuleSpec>,
}

impl TableSpec {
    /// A table for one address, of whose name it is.
    pub fn of_host(local: IpAddr, mode: Mode, rules: Vec<RuleSpec>) -> Self {
        let local = local.to_canonical();
        Self {
            name: local.to_string(),
            locals: vec![Prefix::host(local)],
            interfaces: Vec::new(),
            mode,
            cloak: false,
            offload: false,
            rules,
        }
    }

    /// Whether it is for flows by an interface; `None`: one that nothing names.
    pub fn holds_by(&self, interface: Option<&str>) -> bool {
        self.interfaces.is_empty() || self.closeness(interface) > 0
    }

    /// How closely it names an interface; zero: not at all.
    pub(super) fn closeness(&self, interface: Option<&str>) -> u8 {
        let of = |name| self.interfaces.iter().map(|entry| closeness(entry, name)).max();
        interface.and_then(of).unwrap_or(0)
    }
}

/// Addresses with a name, shared by the rules that are for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSet {
    /// Its name.
    pub name: String,
    /// What is in it, of either family.
    pub prefixes: Vec<Prefix>,
}

/// One rule. It matches when every part matches; a list matches when one of its members does, an empty list
/// never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSpec {
    /// Its name in counters; unique in its table.
    pub name: String,
    /// Flows that begin which way.
    pub direction: RuleDirection,
    /// Which transport protocol.
    pub protocol: RuleProtocol,
    /// Ports at our end.
    pub local_ports: Vec<PortRange>,
    /// Addresses of the other end…
    pub remotes: Vec<Prefix>,
    /// …and sets of such.
    pub remote_sets: Vec<Arc<AddressSet>>,
    /// Ports at the other end.
    pub remote_ports: Vec<PortRange>,
    /// Of ICMP: types and codes, as one number with the type in the upper byte.
    pub icmp_types: Vec<PortRange>,
    /// The interfaces by which whoever begins the flow is heard, by name or by a pattern like `eth*`; none: whichever it is.
    pub interfaces: Vec<String>,
    /// What becomes of the flow.
    pub action: Action,
    /// How many flows a second may begin from one source; the rest is denied.
    pub limit: Option<u32>,
    /// What it permits is told of, too.
    pub log: bool,
    /// A counter that sums up all rules that name it.
    pub counter: Option<String>,
    /// What its author says of it.
    pub comment: String,
    /// The line of the file it was read from; 0: none.
    pub line: u32,
}

impl RuleSpec {
    /// A rule that matches everything.
    pub fn any(name: impl Into<String>, action: Action) -> Self {
        Self {
            name: name.into(),
            direction: RuleDirection::Both,
            protocol: RuleProtocol::Any,
            local_ports: vec![PortRange::ANY],
            remotes: vec![Prefix::ANY_V4, Prefix::ANY_V6],
            remote_sets: Vec::new(),
            remote_ports: vec![PortRange::ANY],
            icmp_types: vec![PortRange::ANY],
            interfaces: Vec::new(),
            action,
            limit: None,
            log: false,
            counter: None,
            comment: String::new(),
            line: 0,
        }
    }

    /// Whether it is for flows by an interface; `None`: one that nothing names.
    pub fn holds_by(&self, interface: Option<&str>) -> bool {
        let named = |name| self.interfaces.iter().any(|entry| closeness(entry, name) > 0);
        self.interfaces.is_empty() || interface.is_some_and(named)
    }

    /// Whether the addresses of the other end are all there are.
    pub fn is_for_all(&self) -> bool {
        self.remotes.contains(&Prefix::ANY_V4) && self.remotes.contains(&Prefix::ANY_V6)
    }
}

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It passes.
    Allow,
    /// Its packets are dropped without an answer.
    Deny,
}

/// Whether verdicts are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They are.
    Enforce,
    /// They are counted, and everything passes.
    Monitor,
}

impl Action {
    /// Its name in policy files.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Deny => "deny",
        }
    }
}

impl Mode {
    /// Its name in policy files and in `ringroad stat`.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Monitor => "monitor",
        }
    }
}

/// Which flows a rule is for, by where they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleDirection {
    /// The peer begins.
    In,
    /// We begin.
    Out,
    /// Either.
    Both,
}

impl RuleDirection {
    /// Whether flows that begin in `direction` are meant.
    pub const fn includes(self, direction: Direction) -> bool {
        matches!((self, direction), (Self::Both, _) | (Self::In, Direction::In) | (Self::Out, Direction::Out))
    }
}

/// Which transport protocol a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Both.
    Any,
    /// ICMP: what a cloaked address may be asked. The gate of a stack sees none of it.
    Icmp,
    /// ICMPv6, likewise.
    Icmpv6,
}

impl RuleProtocol {
    /// Whether it is ICMP, of either family.
    pub const fn is_icmp(self) -> bool {
        matches!(self, Self::Icmp | Self::Icmpv6)
    }

    /// Whether `protocol` is meant.
    pub const fn includes(self, protocol: Protocol) -> bool {
        matches!((self, protocol), (Self::Any, _) | (Self::Tcp, Protocol::Tcp) | (Self::Udp, Protocol::Udp))
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest. Below `first`, the range is empty.
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ANY: PortRange = PortRange { first: 0, last: u16::MAX };

    /// One port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// The range as the fewest blocks of powers of two: the first port of each, and the bits that its ports share.
    pub fn blocks(self) -> impl Iterator<Item = (u16, u8)> {
        let (mut at, end) = (u32::from(self.first), u32::from(self.last) + 1);
        core::iter::from_fn(move || {
            let left = end.checked_sub(at).filter(|left| *left > 0)?;
            let bits = at.trailing_zeros().min(left.ilog2()).min(16);
            let block = (at as u16, (16 - bits) as u8);
            at += 1 << bits;
            Some(block)
        })
    }

    /// Whether `port` is in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The addresses that share their first `len` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// Every IPv4 address.
    pub const ANY_V4: Prefix = Prefix { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 };
    /// Every IPv6 address.
    pub const ANY_V6: Prefix = Prefix { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 };

    /// The network of `len` bits that `address` lies in. `None` when the address is shorter than `len`.
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if len <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if len <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            _ => return None,
        };
        Some(Self { address, len })
    }

    /// Exactly `address`.
    pub const fn host(address: IpAddr) -> Self {
        let len = if address.is_ipv4() { 32 } else { 128 };
        Self { address, len }
    }

    /// Its first address.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Bits that its addresses share.
    #[expect(clippy::len_without_is_empty, reason = "a prefix is never empty")]
    pub const fn len(&self) -> u8 {
        self.len
    }

    /// Whether `address` lies in it. IPv4 addresses never lie in IPv6 prefixes, nor the other way round.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::new(address, self.len).is_some_and(|p| p.address == self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_blocks() {
        let blocks = |first, last| PortRange { first, last }.blocks().collect::<Vec<_>>();
        assert_eq!(blocks(0, 65535), [(0, 0)]);
        assert_eq!(blocks(80, 80), [(80, 16)]);
        assert_eq!(blocks(1, 6), [(1, 16), (2, 15), (4, 15), (6, 16)]);
        assert_eq!(blocks(1, 65534).len(), 30);
        assert_eq!(blocks(2, 1), []);
    }

    #[test]
    fn prefixes_mask_and_contain() {
        let prefix = Prefix::new("10.1.2.3".parse().unwrap(), 20).unwrap();
        assert_eq!(prefix.to_string(), "10.1.0.0/20");
        assert!(prefix.contains("10.1.15.255".parse().unwrap()));
        assert!(!prefix.contains("10.1.16.0".parse().unwrap()));
        assert!(Prefix::ANY_V4.contains("255.255.255.255".parse().unwrap()));
        assert!(!Prefix::ANY_V4.contains("::".parse().unwrap()));
        assert!(!Prefix::ANY_V6.contains("10.0.0.1".parse().unwrap()));
        assert!(Prefix::new("::1".parse().unwrap(), 128).unwrap().contains("::1".parse().unwrap()));
        assert_eq!(Prefix::new("10.0.0.1".parse().unwrap(), 33), None);
        assert_eq!(Prefix::new("::1".parse().unwrap(), 129), None);
    }
}
