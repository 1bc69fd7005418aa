//! The tables that control events fill and packets read.

use core::cell::Cell;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use super::addresses::{Address, Addresses, same_network};
use super::latest::Latest;
use super::{ControlEvent, MacAddr, Route};
use crate::time::Instant;
use crate::types::{IfaceId, is_link_local};
use crate::wire::{ethernet, ipv6};

/// How long a question to the control plane is given before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a neighbour that did not answer counts as dead.
const DEAD: Duration = Duration::from_secs(1);
/// Neighbours kept that the control plane does not vouch for: a stranger who makes us answer to many addresses
/// of our own link must not make us grow.
const MAX_PASSING: usize = 1024;
/// IPv6 on an interface of which nothing is known: any packet that fits, and Linux's hop limit.
const SIX: (u16, u8) = (u16::MAX, 64);
/// The longest packet to the host itself, where nobody said what frames hold.
const MTU_HOME: u16 = 1500;

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
    /// The longest packet of IPv6, in bytes, and the hop limit of those for which nobody chose one.
    pub six: (u16, u8),
    /// The interface whose wire it uses: of a VLAN another, else itself.
    pub wire: IfaceId,
}

impl Iface {
    /// The longest packet to an address, in bytes.
    pub fn mtu_towards(&self, address: IpAddr) -> u16 {
        if address.is_ipv6() { self.mtu.min(self.six.0) } else { self.mtu }
    }

    /// Whether it leads back to this host: no other kind of link has this address.
    #[inline]
    pub fn is_loopback(&self) -> bool {
        self.mac == ethernet::NOWHERE
    }
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
    pub address: IpAddr,
    /// The longest IP packet, in bytes.
    pub mtu: u16,
    /// The address to send from, when the sender has none. None when the host has none that fits.
    pub source: Option<IpAddr>,
    /// It is this host: the packet stays in the stack, as if it had come by that interface.
    pub home: bool,
}

/// By destination and scope.
type LatestWay = Latest<(IpAddr, u32), Option<NextHop>>;

/// Interfaces, addresses, routes and neighbours, as told.
#[derive(Debug)]
pub struct Control {
    generation: u32,
    ifaces: Vec<Iface>,
    addresses: Addresses,
    /// IPv4, then IPv6, so that neither is read for the other.
    routes: [Vec<Route>; 2],
    neighbours: HashMap<(IfaceId, IpAddr), Neighbour>,
    /// Neighbours that were asked for or forgotten, oldest first.
    passing: VecDeque<(IfaceId, IpAddr)>,
    /// The way that was asked for last; in its time there may have been none.
    latest_way: Cell<Option<LatestWay>>,
    /// The link address that was asked for last, if it was known.
    latest_neighbour: Option<Latest<(IfaceId, IpAddr), MacAddr>>,
    /// The longest packet to the host itself, in bytes.
    home_mtu: u16,
    /// There are VLANs, or ever were.
    tagged: bool,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            generation: 1,
            ifaces: Vec::new(),
            addresses: Addresses::default(),
            routes: Default::default(),
            neighbours: HashMap::new(),
            passing: VecDeque::new(),
            latest_way: Cell::new(None),
            latest_neighbour: None,
            home_mtu: MTU_HOME,
            tagged: false,
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

    /// The host's addresses: on which interface, with the bits of their networks.
    pub fn addresses(&self) -> impl Iterator<Item = (IfaceId, IpAddr, u8)> + '_ {
        self.addresses.all().map(|a| (a.iface, a.address, a.prefix))
    }

    /// The routes, IPv4 first, each family in the order in which it is read.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().flatten()
    }

    /// The neighbours: their link addresses where known, and what is known of them.
    pub fn neighbours(&self) -> impl Iterator<Item = (IfaceId, IpAddr, Option<MacAddr>, &'static str)> + '_ {
        self.neighbours.iter().map(|(&(iface, address), neighbour)| match *neighbour {
            Neighbour::Known(mac) => (iface, address, Some(mac), "known"),
            Neighbour::Stale(mac, _) => (iface, address, Some(mac), "stale"),
            Neighbour::Asked(_) => (iface, address, None, "asked"),
            Neighbour::Dead(_) => (iface, address, None, "dead"),
        })
    }

    /// Whether the address is one of the host's; a link-local one, of `iface`.
    #[inline]
    pub fn is_own(&self, address: IpAddr, iface: IfaceId) -> bool {
        self.addresses.is_own(address, iface)
    }

    /// Whether a packet to the address that came by `iface` is for the host: as [`Control::is_own`], but what came by one
    /// VLAN of a wire is not for the address of another, nor for that of the wire's own interface.
    #[inline(always)]
    pub fn hears(&self, address: IpAddr, iface: IfaceId) -> bool {
        !self.tagged && self.addresses.is_first(address) || self.hears_another(address, iface)
    }

    /// As [`Control::hears`], of an address of IPv4.
    #[inline(always)]
    pub fn hears_v4(&self, address: Ipv4Addr, iface: IfaceId) -> bool {
        !self.tagged && self.addresses.is_first_v4(address) || self.hears_another(address.into(), iface)
    }

    #[inline(never)]
    fn hears_another(&self, address: IpAddr, iface: IfaceId) -> bool {
        self.is_own(address, iface) && (!self.tagged || self.is_of_its_vlan(address, iface))
    }

    /// Whether the address is told at once to be neither the host's nor a broadcast of its networks.
    #[inline(always)]
    pub fn is_elsewhere(&self, address: IpAddr) -> bool {
        self.addresses.is_elsewhere(address)
    }

    fn is_of_its_vlan(&self, address: IpAddr, iface: IfaceId) -> bool {
        let wire_of = |id: IfaceId| self.port(id).map_or(id, |port| self.ifaces[port].wire);
        let wire = wire_of(iface);
        let mut elsewhere = false;
        for has in self.addresses.ifaces_of(address) {
            if has == iface {
                return true;
            }
            elsewhere |= wire_of(has) == wire;
        }
        !elsewhere
    }

    /// Whether packets to this address of the host can come by an interface that the stack drives: its own, or the
    /// loopback device, by which the host itself reaches all that are of no one link.
    pub fn is_on_a_road(&self, address: IpAddr) -> bool {
        self.addresses.ifaces_of(address).any(|iface| self.port(iface).is_some())
            || (self.leads_home(address) && self.is_own(address, IfaceId(0)))
    }

    /// The loopback device, by its place in [`Control::ifaces`], if the stack drives it.
    #[inline]
    pub fn loopback(&self) -> Option<usize> {
        self.ifaces.iter().position(|iface| iface.up && iface.is_loopback())
    }

    /// Whether the host hears what is sent to this address of its own by the loopback device.
    pub fn leads_home(&self, own: IpAddr) -> bool {
        !matches!(own, IpAddr::V6(a) if is_link_local(&a)) && self.loopback().is_some()
    }

    /// Whether the address is the broadcast of a network of ours, or the limited one.
    #[inline]
    pub fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.addresses.is_broadcast(address)
    }

    /// Takes an event in. True when something changed.
    pub fn apply(&mut self, event: ControlEvent) -> bool {
        let changed = match event {
            ControlEvent::Iface { iface, mac, mtu, up, tx_checksum } => {
                let known = self.port(iface).map(|port| &self.ifaces[port]);
                let (six, wire) = known.map_or((SIX, iface), |known| (known.six, known.wire));
                self.set_iface(Iface { id: iface, mac, mtu, up, tx_checksum, six, wire })
            }
            ControlEvent::Vlan { iface, parent, .. } => match self.port(iface) {
                Some(port) => {
                    self.tagged = true;
                    core::mem::replace(&mut self.ifaces[port].wire, parent) != parent
                }
                None => false,
            },
            ControlEvent::IfaceSix { iface, mtu, hop_limit } => match self.port(iface) {
                Some(port) => {
                    let six = (mtu.max(ipv6::MTU_LEAST), hop_limit);
                    core::mem::replace(&mut self.ifaces[port].six, six) != six
                }
                None => false,
            },
            // It leads nowhere else for that.
            ControlEvent::IfaceName { .. } => false,
            ControlEvent::IfaceGone(iface) => self.iface_gone(iface),
            ControlEvent::IfaceBack { before, now } => self.iface_back(before, now),
            ControlEvent::Address { iface, address, prefix, deprecated } => {
                self.addresses.set(Address { iface, address, prefix, deprecated })
            }
            ControlEvent::AddressGone { iface, address } => self.addresses.remove(iface, address),
            ControlEvent::Routes(routes) => {
                let routes: [Vec<Route>; 2] = routes.into_iter().partition(|r| r.network.is_ipv4()).into();
                let changed = self.routes != routes;
                self.routes = routes;
                changed
            }
            ControlEvent::Neighbour { iface, address, mac } => {
                let was = self.neighbours.insert((iface, address), Neighbour::Known(mac));
                // One that nobody knew is in no route that was looked up.
                matches!(was, Some(Neighbour::Known(old) | Neighbour::Stale(old, _)) if old != mac)
            }
            ControlEvent::NeighbourGone { iface, address, failed } => {
                self.neighbour_gone((iface, address), failed)
            }
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

    /// It keeps its place, of which there are few; should another one that is gone have had the new number, that gets the
    /// old one.
    fn iface_back(&mut self, before: IfaceId, now: IfaceId) -> bool {
        let swapped = |id: IfaceId| match id {
            id if id == before => now,
            id if id == now => before,
            id => id,
        };
        for iface in &mut self.ifaces {
            (iface.id, iface.wire) = (swapped(iface.id), swapped(iface.wire));
        }
        before != now
    }

    fn neighbour_gone(&mut self, key: (IfaceId, IpAddr), failed: bool) -> bool {
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

    /// Says how long a packet to the host itself may be.
    pub fn set_home_mtu(&mut self, mtu: u16) {
        self.home_mtu = mtu;
        self.latest_way.set(None);
    }

    /// The way to `destination`, whose scope id is `scope` when it is of one link. None when no route leads
    /// there over an interface that the stack drives and that is up.
    pub fn route(&self, destination: IpAddr, scope: u32) -> Option<NextHop> {
        let key = (destination, scope);
        if let Some(way) = self.latest_way.get().and_then(|latest| latest.of(self.generation, &key)) {
            return way;
        }
        let way = self.find_route(destination, scope);
        self.latest_way.set(Some(Latest::new(self.generation, key, way)));
        way
    }

    fn find_route(&self, destination: IpAddr, scope: u32) -> Option<NextHop> {
        let on_link = matches!(destination, IpAddr::V6(a) if is_link_local(&a));
        if self.is_own(destination, IfaceId(scope)) {
            return self.route_home(destination, on_link.then_some(IfaceId(scope)));
        }
        if destination.is_loopback() || destination.is_unspecified() || (on_link && scope == 0) {
            return None;
        }
        let table = &self.routes[usize::from(destination.is_ipv6())];
        let leads =
            |r: &&Route| same_network(r.network, destination, r.prefix) && (!on_link || r.iface.0 == scope);
        let route = table.iter().find(leads)?;
        let port = self.port(route.iface)?;
        let iface = &self.ifaces[port];
        if !iface.up {
            return None;
        }
        let hop = route.gateway.unwrap_or(destination);
        let source = route.source.or_else(|| self.addresses.towards(destination, hop, route.iface));
        let link = iface.mtu_towards(destination);
        let mtu = route.mtu.map_or(link, |m| m.min(link));
        Some(NextHop { port: port as u16, address: hop, mtu, source, home: false })
    }

    /// The way to an address of the host: it does not lead over the link, whether that is up or not (Linux: the
    /// table `local`). Without an interface that the stack drives there is none.
    fn route_home(&self, own: IpAddr, link: Option<IfaceId>) -> Option<NextHop> {
        let of_link = |iface: &IfaceId| link.is_none_or(|link| link == *iface);
        let mut having = self.addresses.ifaces_of(own).filter(of_link);
        let port = having.find_map(|iface| self.port(iface)).unwrap_or(0);
        self.ifaces.get(port)?;
        // Of the loopback network one address is the host's by name, the others are too (RFC 1122 §3.2.1.3).
        let source = if own.is_ipv4() && own.is_loopback() { Ipv4Addr::LOCALHOST.into() } else { own };
        let (address, mtu) = (own, self.home_mtu);
        Some(NextHop { port: port as u16, address, mtu, source: Some(source), home: true })
    }

    /// The address to send from on an interface whatever the routes say: to a group there.
    pub fn address_on(&self, iface: IfaceId, group: IpAddr) -> Option<IpAddr> {
        self.addresses.towards(group, group, iface)
    }

    /// Whether an interface has this address.
    pub fn has_address(&self, iface: IfaceId, address: IpAddr) -> bool {
        self.addresses.ifaces_of(address).any(|i| i == iface)
    }

    /// The link address of a next hop.
    pub fn resolve(&mut self, now: Instant, hop: &NextHop) -> Resolved {
        let key = (self.ifaces[usize::from(hop.port)].id, hop.address);
        if let Some(mac) = self.latest_neighbour.and_then(|latest| latest.of(self.generation, &key)) {
            return Resolved::Known(mac);
        }
        match self.neighbours.get_mut(&key) {
            Some(Neighbour::Known(mac)) => {
                // Whatever makes it another changes the generation, since routes that were looked up hold it.
                self.latest_neighbour = Some(Latest::new(self.generation, key, *mac));
                Resolved::Known(*mac)
            }
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

#[cfg(test)]
mod tests;
