//! The tables that control events fill and packets read.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use super::{ControlEvent, MacAddr, Route};
use crate::time::Instant;
use crate::types::IfaceId;

/// How long a question to the control plane is given before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a neighbour that did not answer counts as dead.
const DEAD: Duration = Duration::from_secs(1);
/// Neighbours kept that the control plane does not vouch for: a stranger who makes us answer to many addresses
/// of our own link must not make us grow.
const MAX_PASSING: usize = 1024;

/// An interface that the stack drives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iface {
    /// The kernel's index.
    pub id: IfaceId,
    /// Its link address.
    pub mac: MacAddr,
    /// The longest IP packet, in bytes.
    pub mtu: u16,
    /// Whether it carries traffic.
    pub up: bool,
    /// Whether frames may leave with unfinished L4 checksums.
    pub tx_checksum: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    iface: IfaceId,
    address: Ipv4Addr,
    prefix: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    Known(MacAddr),
    /// The control plane forgot it, which says nothing of the neighbour: its address serves until it is known
    /// again or known to be wrong. Asked for at that moment.
    Stale(MacAddr, Instant),
    Asked(Instant),
    Dead(Instant),
}

/// What is known of a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Its link address.
    Known(MacAddr),
    /// Its link address as it was; the control plane is to be asked now.
    AskAgain(MacAddr),
    /// The control plane has been asked and has not answered; nothing to do.
    Asked,
    /// The control plane is to be asked now.
    Ask,
    /// It did not answer.
    Dead,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The interface, by its place in [`Control::ifaces`].
    pub port: u16,
    /// Whose link address is needed.
    pub address: Ipv4Addr,
    /// The longest IP packet, in bytes.
    pub mtu: u16,
    /// The address to send from, when the sender has none. None when the host has none that fits.
    pub source: Option<Ipv4Addr>,
}

/// Interfaces, addresses, routes and neighbours, as told.
#[derive(Debug)]
pub struct Control {
    generation: u32,
    ifaces: Vec<Iface>,
    addresses: Vec<Address>,
    /// All addresses of the host and all directed broadcasts, sorted, for the packet path.
    own: Vec<Ipv4Addr>,
    broadcasts: Vec<Ipv4Addr>,
    routes: Vec<Route>,
    neighbours: HashMap<(IfaceId, Ipv4Addr), Neighbour>,
    /// Neighbours that were asked for or forgotten, oldest first.
    passing: VecDeque<(IfaceId, Ipv4Addr)>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            generation: 1,
            ifaces: Vec::new(),
            addresses: Vec::new(),
            own: Vec::new(),
            broadcasts: Vec::new(),
            routes: Vec::new(),
            neighbours: HashMap::new(),
            passing: VecDeque::new(),
        }
    }
}

impl Control {
    /// Changes whenever a route that was looked up might be another now. Never zero.
    #[inline]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The interfaces that were ever told of; places never change.
    #[inline]
    pub fn ifaces(&self) -> &[Iface] {
        &self.ifaces
    }

    /// The place of an interface in [`Control::ifaces`].
    #[inline]
    pub fn port(&self, id: IfaceId) -> Option<usize> {
        self.ifaces.iter().position(|i| i.id == id)
    }

    /// Whether the address is one of the host's.
    #[inline]
    pub fn is_own(&self, address: Ipv4Addr) -> bool {
        self.own.binary_search(&address).is_ok()
    }

    /// Whether the address belongs to an interface that the stack drives.
    pub fn is_on_a_road(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|a| a.address == address && self.port(a.iface).is_some())
    }

    /// Whether the address is the broadcast of a network of ours, or the limited one.
    #[inline]
    pub fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || self.broadcasts.binary_search(&address).is_ok()
    }

    /// Takes an event in. True when something changed.
    pub fn apply(&mut self, event: ControlEvent) -> bool {
        let changed = match event {
            ControlEvent::Iface { iface, mac, mtu, up, tx_checksum } => {
                self.set_iface(Iface { id: iface, mac, mtu, up, tx_checksum })
            }
            ControlEvent::IfaceGone(iface) => self.iface_gone(iface),
            ControlEvent::Address { iface, address: IpAddr::V4(address), prefix } => {
                self.set_address(Address { iface, address, prefix: prefix.min(32) })
            }
            ControlEvent::AddressGone { iface, address: IpAddr::V4(address) } => {
                let before = self.addresses.len();
                self.addresses.retain(|a| (a.iface, a.address) != (iface, address));
                self.addresses.len() != before && self.index_addresses()
            }
            ControlEvent::Routes(routes) => {
                let changed = self.routes != routes;
                self.routes = routes;
                changed
            }
            ControlEvent::Neighbour { iface, address: IpAddr::V4(address), mac } => {
                let was = self.neighbours.insert((iface, address), Neighbour::Known(mac));
                // One that nobody knew is in no route that was looked up.
                matches!(was, Some(Neighbour::Known(old) | Neighbour::Stale(old, _)) if old != mac)
            }
            ControlEvent::NeighbourGone { iface, address: IpAddr::V4(address), failed } => {
                self.neighbour_gone((iface, address), failed)
            }
            // IPv6 is the kernel's for now.
            ControlEvent::Address { .. }
            | ControlEvent::AddressGone { .. }
            | ControlEvent::Neighbour { .. }
            | ControlEvent::NeighbourGone { .. } => false,
        };
        if changed {
            self.generation = self.generation.checked_add(1).unwrap_or(1);
        }
        changed
    }

    fn set_iface(&mut self, new: Iface) -> bool {
        match self.port(new.id) {
            Some(port) if self.ifaces[port] == new => false,
            Some(port) => {
                self.ifaces[port] = new;
                true
            }
            None => {
                self.ifaces.push(new);
                true
            }
        }
    }

    fn iface_gone(&mut self, id: IfaceId) -> bool {
        let Some(port) = self.port(id) else { return false };
        self.neighbours.retain(|(iface, _), _| *iface != id);
        core::mem::take(&mut self.ifaces[port].up)
    }

    fn set_address(&mut self, new: Address) -> bool {
        if self.addresses.contains(&new) {
            return false;
        }
        match self.addresses.iter_mut().find(|a| (a.iface, a.address) == (new.iface, new.address)) {
            Some(known) => *known = new,
            None => self.addresses.push(new),
        }
        self.index_addresses()
    }

    fn index_addresses(&mut self) -> bool {
        self.own = self.addresses.iter().map(|a| a.address).collect();
        self.own.sort_unstable();
        self.own.dedup();
        self.broadcasts = self
            .addresses
            .iter()
            .filter(|a| (1..=30).contains(&a.prefix))
            .map(|a| Ipv4Addr::from_bits(a.address.to_bits() | (u32::MAX >> a.prefix)))
            .collect();
        self.broadcasts.sort_unstable();
        self.broadcasts.dedup();
        true
    }

    fn neighbour_gone(&mut self, key: (IfaceId, Ipv4Addr), failed: bool) -> bool {
        let Some(n) = self.neighbours.get_mut(&key) else { return false };
        match *n {
            // The moment is not known here; the next look-up stamps it.
            Neighbour::Known(_) | Neighbour::Stale(..) if failed => {
                *n = Neighbour::Dead(Instant::NEVER);
                true
            }
            Neighbour::Asked(_) if failed => {
                *n = Neighbour::Dead(Instant::NEVER);
                false
            }
            Neighbour::Known(mac) => {
                *n = Neighbour::Stale(mac, Instant::ZERO);
                self.forget_oldest();
                self.passing.push_back(key);
                true
            }
            Neighbour::Stale(..) | Neighbour::Asked(_) | Neighbour::Dead(_) => false,
        }
    }

    /// The way to `destination`. None when no route leads there over an interface that the stack drives and
    /// that is up; our own addresses are not on any road of ours.
    pub fn route(&self, destination: Ipv4Addr) -> Option<NextHop> {
        if self.is_own(destination) || destination.is_loopback() || destination.is_unspecified() {
            return None;
        }
        let route = self.routes.iter().find(|r| covers(r, destination))?;
        let port = self.port(route.iface)?;
        let iface = &self.ifaces[port];
        if !iface.up {
            return None;
        }
        let gateway = route.gateway.and_then(v4);
        let hop = gateway.unwrap_or(destination);
        let source = route.source.and_then(v4).or_else(|| self.address_towards(route.iface, hop));
        let mtu = route.mtu.map_or(iface.mtu, |m| m.min(iface.mtu));
        Some(NextHop { port: port as u16, address: hop, mtu, source })
    }

    /// The address of `iface` whose network holds `hop`, else its first.
    fn address_towards(&self, iface: IfaceId, hop: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut on_iface = self.addresses.iter().filter(|a| a.iface == iface);
        let first = on_iface.clone().next()?;
        Some(on_iface.find(|a| same_network(a.address, hop, a.prefix)).unwrap_or(first).address)
    }

    /// The first address of an interface: what a datagram to a group there is answered from.
    pub fn first_address(&self, iface: IfaceId) -> Option<Ipv4Addr> {
        self.addresses.iter().find(|a| a.iface == iface).map(|a| a.address)
    }

    /// The link address of a next hop.
    pub fn resolve(&mut self, now: Instant, hop: &NextHop) -> Resolved {
        let key = (self.ifaces[usize::from(hop.port)].id, hop.address);
        match self.neighbours.get_mut(&key) {
            Some(Neighbour::Known(mac)) => Resolved::Known(*mac),
            Some(Neighbour::Stale(mac, at)) if *at != Instant::ZERO && now.since(*at) < ASK_AGAIN => {
                Resolved::Known(*mac)
            }
            Some(Neighbour::Stale(mac, at)) => {
                *at = now;
                Resolved::AskAgain(*mac)
            }
            Some(Neighbour::Asked(at)) if now.since(*at) < ASK_AGAIN => Resolved::Asked,
            Some(Neighbour::Dead(at)) if *at == Instant::NEVER => {
                *at = now;
                Resolved::Dead
            }
            Some(Neighbour::Dead(at)) if now.since(*at) < DEAD => Resolved::Dead,
            Some(n) => {
                *n = Neighbour::Asked(now);
                Resolved::Ask
            }
            None => {
                self.forget_oldest();
                self.neighbours.insert(key, Neighbour::Asked(now));
                self.passing.push_back(key);
                Resolved::Ask
            }
        }
    }

    fn forget_oldest(&mut self) {
        if self.passing.len() < MAX_PASSING {
            return;
        }
        let Some(oldest) = self.passing.pop_front() else { return };
        if !matches!(self.neighbours.get(&oldest), Some(Neighbour::Known(_))) {
            self.neighbours.remove(&oldest);
        }
    }
}

fn covers(route: &Route, destination: Ipv4Addr) -> bool {
    v4(route.network).is_some_and(|n| same_network(n, destination, route.prefix))
}

fn same_network(a: Ipv4Addr, b: Ipv4Addr, prefix: u8) -> bool {
    let host_bits = 32 - u32::from(prefix.min(32));
    (a.to_bits() ^ b.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(a) => Some(a),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETH: IfaceId = IfaceId(7);
    const MAC: MacAddr = [2, 0, 0, 0, 0, 1];

    fn route(network: [u8; 4], prefix: u8, gateway: Option<[u8; 4]>) -> Route {
        Route {
            network: IpAddr::from(network),
            prefix,
            gateway: gateway.map(IpAddr::from),
            iface: ETH,
            source: None,
            mtu: None,
        }
    }

    fn host() -> Control {
        let mut c = Control::default();
        c.apply(ControlEvent::Iface { iface: ETH, mac: MAC, mtu: 1500, up: true, tx_checksum: false });
        let address = IpAddr::from([10, 0, 0, 1]);
        c.apply(ControlEvent::Address { iface: ETH, address, prefix: 24 });
        c.apply(ControlEvent::Routes(vec![
            route([10, 0, 0, 0], 24, None),
            route([0, 0, 0, 0], 0, Some([10, 0, 0, 254])),
        ]));
        c
    }

    #[test]
    fn on_the_link_and_beyond() {
        let c = host();
        let near = c.route(Ipv4Addr::new(10, 0, 0, 9)).unwrap();
        assert_eq!((near.address, near.mtu), (Ipv4Addr::new(10, 0, 0, 9), 1500));
        assert_eq!(near.source, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(c.route(Ipv4Addr::new(8, 8, 8, 8)).unwrap().address, Ipv4Addr::new(10, 0, 0, 254));
        assert_eq!(c.route(Ipv4Addr::new(10, 0, 0, 1)), None);
        assert_eq!(c.route(Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn own_addresses_and_broadcasts() {
        let c = host();
        assert!(c.is_own(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(!c.is_own(Ipv4Addr::new(10, 0, 0, 2)));
        assert!(c.is_broadcast(Ipv4Addr::new(10, 0, 0, 255)));
        assert!(c.is_broadcast(Ipv4Addr::BROADCAST));
        assert!(!c.is_broadcast(Ipv4Addr::new(10, 0, 1, 255)));
    }

    #[test]
    fn telling_twice_changes_nothing() {
        let mut c = host();
        let generation = c.generation();
        let address = IpAddr::from([10, 0, 0, 1]);
        assert!(!c.apply(ControlEvent::Address { iface: ETH, address, prefix: 24 }));
        assert!(!c.apply(ControlEvent::Iface {
            iface: ETH,
            mac: MAC,
            mtu: 1500,
            up: true,
            tx_checksum: false
        }));
        assert_eq!(c.generation(), generation);
        assert!(c.apply(ControlEvent::AddressGone { iface: ETH, address }));
        assert_eq!(c.generation(), generation + 1);
        assert!(!c.is_own(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn a_neighbour_is_asked_for_once_a_second() {
        let mut c = host();
        let hop = c.route(Ipv4Addr::new(10, 0, 0, 9)).unwrap();
        let at = Instant::from_millis;
        assert_eq!(c.resolve(at(0), &hop), Resolved::Ask);
        assert_eq!(c.resolve(at(999), &hop), Resolved::Asked);
        assert_eq!(c.resolve(at(1000), &hop), Resolved::Ask);
        let address = IpAddr::from([10, 0, 0, 9]);
        c.apply(ControlEvent::NeighbourGone { iface: ETH, address, failed: true });
        assert_eq!(c.resolve(at(1500), &hop), Resolved::Dead);
        assert_eq!(c.resolve(at(2499), &hop), Resolved::Dead);
        assert_eq!(c.resolve(at(2500), &hop), Resolved::Ask);
        c.apply(ControlEvent::Neighbour { iface: ETH, address, mac: MAC });
        assert_eq!(c.resolve(at(2600), &hop), Resolved::Known(MAC));
    }

    #[test]
    fn a_forgotten_neighbour_serves_until_it_is_known_to_be_gone() {
        let mut c = host();
        let hop = c.route(Ipv4Addr::new(10, 0, 0, 9)).unwrap();
        let at = Instant::from_millis;
        let address = IpAddr::from([10, 0, 0, 9]);
        let gone = |failed| ControlEvent::NeighbourGone { iface: ETH, address, failed };
        // Nobody has a route over a neighbour that was not known.
        assert!(!c.apply(ControlEvent::Neighbour { iface: ETH, address, mac: MAC }));
        assert!(c.apply(gone(false)));
        assert_eq!(c.resolve(at(1), &hop), Resolved::AskAgain(MAC));
        assert_eq!(c.resolve(at(999), &hop), Resolved::Known(MAC));
        assert_eq!(c.resolve(at(1001), &hop), Resolved::AskAgain(MAC));
        assert!(!c.apply(ControlEvent::Neighbour { iface: ETH, address, mac: MAC }));
        assert_eq!(c.resolve(at(5000), &hop), Resolved::Known(MAC));
        assert!(c.apply(ControlEvent::Neighbour { iface: ETH, address, mac: [2; 6] }));
        assert!(c.apply(gone(true)));
        assert_eq!(c.resolve(at(6000), &hop), Resolved::Dead);
    }

    #[test]
    fn questions_are_bounded() {
        let mut c = host();
        for n in 0..3 * MAX_PASSING as u32 {
            let address = Ipv4Addr::from_bits(0x0a00_0000 + n);
            let hop = NextHop { port: 0, address, mtu: 1500, source: None };
            c.resolve(Instant::ZERO, &hop);
        }
        assert_eq!(c.neighbours.len(), MAX_PASSING);
        assert_eq!(c.passing.len(), MAX_PASSING);
    }

    #[test]
    fn a_link_that_is_down_leads_nowhere() {
        let mut c = host();
        assert!(c.apply(ControlEvent::IfaceGone(ETH)));
        assert_eq!(c.route(Ipv4Addr::new(10, 0, 0, 9)), None);
        assert!(!c.apply(ControlEvent::IfaceGone(ETH)));
    }
}
