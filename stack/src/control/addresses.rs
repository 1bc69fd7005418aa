//! The host's addresses, and which of them to send from.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::BitOr;

use super::rfc6724;
use crate::types::{IfaceId, scope_of};

/// An address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) iface: IfaceId,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    /// Not to be used for new flows while there is another (RFC 4862 §5.5.4).
    pub(super) deprecated: bool,
}

/// All of them, with what the packet path looks up.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    all: Vec<Address>,
    /// Sorted.
    v4: Vec<Ipv4Addr>,
    /// Sorted; a link-local address with its interface, others with zero.
    v6: Vec<(Ipv6Addr, u32)>,
    /// Directed broadcasts, sorted.
    broadcasts: Vec<Ipv4Addr>,
    /// A bit for the end of each of these addresses of IPv4, and of IPv6: nearly all others are told from them at once.
    ends: [u64; 2],
}

impl Addresses {
    pub(super) fn all(&self) -> impl Iterator<Item = &Address> {
        self.all.iter()
    }

    #[inline]
    pub(super) fn is_own(&self, address: IpAddr, iface: IfaceId) -> bool {
        match address {
            // All of the loopback network (Linux: the route `local 127.0.0.0/8`).
            IpAddr::V4(a) if a.is_loopback() => self.is_among_ours(Ipv4Addr::LOCALHOST),
            _ if self.is_first(address) => true,
            _ if self.is_elsewhere(address) => false,
            IpAddr::V4(a) => self.is_among_ours(a),
            IpAddr::V6(a) => self.is_own_v6(a, iface),
        }
    }

    /// Whether it is the first address of the host's, by number, that is of no one link: most have one of each family.
    #[inline(always)]
    pub(super) fn is_first(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(a) => self.is_first_v4(a),
            IpAddr::V6(a) => self.v6.first() == Some(&(a, 0)),
        }
    }

    /// As [`Addresses::is_first`], of IPv4.
    #[inline(always)]
    pub(super) fn is_first_v4(&self, address: Ipv4Addr) -> bool {
        self.v4.first() == Some(&address)
    }

    /// Whether the address is told at once to be neither the host's nor a broadcast of its networks.
    #[inline(always)]
    pub(super) fn is_elsewhere(&self, address: IpAddr) -> bool {
        self.ends[usize::from(address.is_ipv6())] & end_of(address) == 0
    }

    #[inline(never)]
    fn is_among_ours(&self, address: Ipv4Addr) -> bool {
        self.v4.binary_search(&address).is_ok()
    }

    #[inline(never)]
    fn is_own_v6(&self, address: Ipv6Addr, iface: IfaceId) -> bool {
        self.v6.binary_search(&(address, scope_of(&address, iface))).is_ok()
    }

    #[inline]
    pub(super) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || !self.is_elsewhere(address.into()) && self.is_directed_broadcast(address)
    }

    #[inline(never)]
    fn is_directed_broadcast(&self, address: Ipv4Addr) -> bool {
        self.broadcasts.binary_search(&address).is_ok()
    }

    /// The interfaces that have an address.
    pub(super) fn ifaces_of(&self, address: IpAddr) -> impl Iterator<Item = IfaceId> + '_ {
        self.all.iter().filter(move |a| a.address == address).map(|a| a.iface)
    }

    /// True when something changed.
    pub(super) fn set(&mut self, new: Address) -> bool {
        if self.all.contains(&new) {
            return false;
        }
        match self.all.iter_mut().find(|a| (a.iface, a.address) == (new.iface, new.address)) {
            Some(known) => *known = new,
            None => self.all.push(new),
        }
        self.index();
        true
    }

    /// True when something changed.
    pub(super) fn remove(&mut self, iface: IfaceId, address: IpAddr) -> bool {
        let before = self.all.len();
        self.all.retain(|a| (a.iface, a.address) != (iface, address));
        let changed = self.all.len() != before;
        if changed {
            self.index();
        }
        changed
    }

    /// The address to send from to `destination`, by way of `hop` on `iface`.
    pub(super) fn towards(&self, destination: IpAddr, hop: IpAddr, iface: IfaceId) -> Option<IpAddr> {
        match destination {
            IpAddr::V4(_) => self.of_network(hop, iface),
            IpAddr::V6(to) => rfc6724::select(&self.all, to, iface).map(IpAddr::V6),
        }
    }

    /// The address of `iface` whose network holds `hop`, else its first.
    fn of_network(&self, hop: IpAddr, iface: IfaceId) -> Option<IpAddr> {
        let mut on_iface = self.all.iter().filter(|a| a.iface == iface && a.address.is_ipv4());
        let first = on_iface.clone().next()?;
        Some(on_iface.find(|a| same_network(a.address, hop, a.prefix)).unwrap_or(first).address)
    }

    fn index(&mut self) {
        (self.v4, self.v6, self.broadcasts) = (Vec::new(), Vec::new(), Vec::new());
        for a in &self.all {
            match a.address {
                IpAddr::V4(ip) => {
                    self.v4.push(ip);
                    if (1..=30).contains(&a.prefix) {
                        self.broadcasts.push(Ipv4Addr::from_bits(ip.to_bits() | (u32::MAX >> a.prefix)));
                    }
                }
                IpAddr::V6(ip) => self.v6.push((ip, scope_of(&ip, a.iface))),
            }
        }
        let v4 = self.v4.iter().chain(&self.broadcasts).map(|a| end_of((*a).into()));
        let v6 = self.v6.iter().map(|(a, _)| end_of((*a).into()));
        self.ends = [v4.fold(0, u64::bitor), v6.fold(0, u64::bitor)];
        self.v4.sort_unstable();
        self.v6.sort_unstable();
        self.broadcasts.sort_unstable();
    }
}

/// The bit of an address's last six.
#[inline(always)]
fn end_of(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(a) => 1 << (a.to_bits() & 63),
        IpAddr::V6(a) => 1 << (a.octets()[15] & 63),
    }
}

/// Whether two addresses are of one family and have their first `prefix` bits in common.
pub(super) fn same_network(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= u32::from(prefix),
        (IpAddr::V6(a), IpAddr::V6(b)) => rfc6724::common_prefix(a, b) >= u32::from(prefix),
        _ => false,
    }
}
