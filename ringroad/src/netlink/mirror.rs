//! The kernel's tables as last seen, and the events that bring a stack up to date with them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use stack::control::{ControlEvent, Route};
use stack::types::IfaceId;

use super::Driven;
use super::facts::{self, AddressFact, LinkFact, NeighbourFact};

/// The kernel's tables as last seen.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    links: BTreeMap<u32, LinkFact>,
    addresses: BTreeMap<(u32, IpAddr), AddressFact>,
    neighbours: BTreeMap<(u32, IpAddr), NeighbourFact>,
    routes: Vec<Route>,
}

/// What a message did to the mirror besides the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// The routing table may be another: ask for it. (Routes that go with a link or an address are not
    /// reported one by one.)
    pub(super) routes: bool,
}

impl Mirror {
    /// Takes in one message; events for what is new are appended.
    pub(super) fn apply(
        &mut self,
        message: &RouteNetlinkMessage,
        driven: &[Driven],
        events: &mut Vec<ControlEvent>,
    ) -> Effects {
        use RouteNetlinkMessage as M;
        match message {
            M::NewLink(m) => return self.link(facts::link(m), driven, events),
            M::DelLink(m) if facts::is_gone(m) => return self.link_gone(m.header.index, driven, events),
            M::NewAddress(m) => {
                if let Some((iface, address, fact)) = facts::address(m) {
                    self.address(iface, address, fact, events);
                }
            }
            M::DelAddress(m) => {
                if let Some((iface, address, _)) = facts::address(m)
                    && self.addresses.remove(&(iface.0, address)).is_some()
                {
                    events.push(ControlEvent::AddressGone { iface, address });
                }
                return Effects { routes: true };
            }
            M::NewNeighbour(m) => {
                if let Some((iface, address, fact)) = facts::neighbour(m) {
                    self.neighbour(iface, address, fact, driven, events);
                }
            }
            M::DelNeighbour(m) => {
                if let Some((iface, address, _)) = facts::neighbour(m)
                    && self.neighbours.remove(&(iface.0, address)).is_some()
                {
                    events.push(ControlEvent::NeighbourGone { iface, address, failed: false });
                }
            }
            M::NewRoute(_) | M::DelRoute(_) => return Effects { routes: true },
            _ => {}
        }
        Effects::default()
    }

    /// Takes in the whole routing table.
    pub(super) fn routing(&mut self, messages: &[RouteNetlinkMessage], events: &mut Vec<ControlEvent>) {
        let mut all: Vec<(u32, Route)> = messages
            .iter()
            .filter_map(|m| if let RouteNetlinkMessage::NewRoute(r) = m { Some(r) } else { None })
            .flat_map(facts::routes)
            .collect();
        // Stable: routes that are equal in both stay in the kernel's order.
        all.sort_by_key(|(metric, route)| (std::cmp::Reverse(route.prefix), *metric));
        let routes: Vec<Route> = all.into_iter().map(|(_, route)| route).collect();
        if routes != self.routes {
            self.routes.clone_from(&routes);
            events.push(ControlEvent::Routes(routes));
        }
    }

    /// Events for what `self` has and `fresh`, just dumped, has not; then `fresh` is the mirror.
    pub(super) fn replaced_by(&mut self, fresh: Mirror, driven: &[Driven], events: &mut Vec<ControlEvent>) {
        for &(index, address) in self.addresses.keys().filter(|k| !fresh.addresses.contains_key(k)) {
            events.push(ControlEvent::AddressGone { iface: IfaceId(index), address });
        }
        for &(index, address) in self.neighbours.keys().filter(|k| !fresh.neighbours.contains_key(k)) {
            events.push(ControlEvent::NeighbourGone { iface: IfaceId(index), address, failed: false });
        }
        for index in self.links.keys().filter(|k| !fresh.links.contains_key(k)) {
            if driven.iter().any(|d| d.iface.0 == *index) {
                events.push(ControlEvent::IfaceGone(IfaceId(*index)));
            }
        }
        *self = fresh;
    }

    /// Neighbours on driven interfaces whose addresses were not confirmed lately.
    pub(super) fn stale(&self) -> impl Iterator<Item = (IfaceId, IpAddr)> + '_ {
        self.neighbours.iter().filter_map(|(&(index, address), fact)| {
            matches!(fact, NeighbourFact::Known { stale: true, .. }).then_some((IfaceId(index), address))
        })
    }

    /// The interface's name.
    pub(super) fn name_of(&self, iface: IfaceId) -> Option<&str> {
        self.links.get(&iface.0).map(|l| l.name.as_str())
    }

    /// The interface of a name.
    pub(super) fn index_of(&self, name: &str) -> Option<u32> {
        self.links.values().find(|link| link.name == name).map(|link| link.index)
    }

    /// Every interface with its addresses.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = (&LinkFact, Vec<IpAddr>)> + '_ {
        self.links.values().map(|link| {
            let of_link = self.addresses.keys().filter(|(index, _)| *index == link.index);
            (link, of_link.map(|(_, address)| *address).collect())
        })
    }

    fn address(
        &mut self,
        iface: IfaceId,
        address: IpAddr,
        fact: AddressFact,
        events: &mut Vec<ControlEvent>,
    ) {
        let key = (iface.0, address);
        if !fact.usable {
            if self.addresses.remove(&key).is_some() {
                events.push(ControlEvent::AddressGone { iface, address });
            }
        } else if self.addresses.insert(key, fact) != Some(fact) {
            let AddressFact { prefix, deprecated, .. } = fact;
            events.push(ControlEvent::Address { iface, address, prefix, deprecated });
        }
    }

    fn link(&mut self, mut fact: LinkFact, driven: &[Driven], events: &mut Vec<ControlEvent>) -> Effects {
        let (index, up) = (fact.index, fact.up);
        let before = self.links.remove(&index);
        fact.six = fact.six.or(before.as_ref().and_then(|before| before.six));
        if before.as_ref() != Some(&fact)
            && let Some(driven) = driven.iter().find(|d| d.iface.0 == index)
        {
            events.push(driven.event(&fact));
            if let Some((parent, id)) = driven.vlan {
                events.push(ControlEvent::Vlan { iface: driven.iface, parent, id });
            }
            if before.as_ref().is_none_or(|before| before.name != fact.name) {
                let name = fact.name.as_str().into();
                events.push(ControlEvent::IfaceName { iface: driven.iface, name });
            }
            if let Some((mtu, hop_limit)) = fact.six {
                events.push(ControlEvent::IfaceSix { iface: driven.iface, mtu, hop_limit });
            }
        }
        self.links.insert(index, fact);
        Effects { routes: before.is_none_or(|b| b.up != up) }
    }

    fn link_gone(&mut self, index: u32, driven: &[Driven], events: &mut Vec<ControlEvent>) -> Effects {
        if self.links.remove(&index).is_some() && driven.iter().any(|d| d.iface.0 == index) {
            events.push(ControlEvent::IfaceGone(IfaceId(index)));
        }
        Effects { routes: true }
    }

    fn neighbour(
        &mut self,
        iface: IfaceId,
        address: IpAddr,
        fact: NeighbourFact,
        driven: &[Driven],
        events: &mut Vec<ControlEvent>,
    ) {
        if !driven.iter().any(|d| d.iface == iface) {
            return;
        }
        match fact {
            // An entry that is being asked for again keeps the address it had.
            NeighbourFact::Pending => {}
            NeighbourFact::Failed => {
                self.neighbours.remove(&(iface.0, address));
                events.push(ControlEvent::NeighbourGone { iface, address, failed: true });
            }
            NeighbourFact::Known { mac, .. } => {
                let before = self.neighbours.insert((iface.0, address), fact);
                let same = matches!(before, Some(NeighbourFact::Known { mac: m, .. }) if m == mac);
                if !same {
                    events.push(ControlEvent::Neighbour { iface, address, mac });
                }
            }
        }
    }
}
