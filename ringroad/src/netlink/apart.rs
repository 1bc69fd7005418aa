//! What a stack knows of the world that stands apart from its host, behind a TAP device: its own addresses are those that
//! were planned, everything else is reached by the kernel's side of the device, which has the device's link address. Of what
//! the kernel says the interface itself counts, and nothing of the host's addresses, routes and neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use stack::control::{ControlEvent, Route};
use stack::types::IfaceId;

use crate::config::{Apart, other_side};

/// Puts what is so for a stack that stands apart in the place of what the kernel told of its host, from event `from` on.
pub(super) fn told(apart: &Apart, events: &mut Vec<ControlEvent>, from: usize) {
    if apart.is_empty() {
        return;
    }
    let heard = events.split_off(from);
    for event in heard {
        use ControlEvent::{Address, AddressGone, Iface, Neighbour, NeighbourGone, Routes};
        match event {
            Address { .. } | AddressGone { .. } | Routes(_) | Neighbour { .. } | NeighbourGone { .. } => {}
            Iface { iface, mac, .. } => {
                events.push(event);
                let ways: Vec<(IpNet, IpAddr)> =
                    apart.own().filter_map(|own| Some((own, other_side(own)?))).collect();
                for &(own, other) in &ways {
                    let (address, prefix) = (own.addr(), own.prefix_len());
                    events.push(Address { iface, address, prefix, deprecated: false });
                    events.push(Neighbour { iface, address: other, mac });
                }
                events.push(Routes(ways.iter().map(|(_, other)| by_default(iface, *other)).collect()));
            }
            event => events.push(event),
        }
    }
}

/// The route to everything of a family.
fn by_default(iface: IfaceId, gateway: IpAddr) -> Route {
    let network = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    Route { network, prefix: 0, gateway: Some(gateway), iface, source: None, mtu: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAP: IfaceId = IfaceId(7);

    fn iface(mac: u8) -> ControlEvent {
        ControlEvent::Iface { iface: TAP, mac: [2, 0, 0, 0, 0, mac], mtu: 1500, up: true, tx_checksum: true }
    }

    /// Events of a host, of which `kept` are for the stack, whatever it is.
    fn heard() -> (Vec<ControlEvent>, Vec<ControlEvent>) {
        let address: IpAddr = [192, 168, 1, 5].into();
        let host = vec![
            ControlEvent::Address { iface: IfaceId(2), address, prefix: 24, deprecated: false },
            ControlEvent::AddressGone { iface: IfaceId(2), address },
            ControlEvent::Neighbour { iface: TAP, address, mac: [9; 6] },
            ControlEvent::NeighbourGone { iface: TAP, address, failed: true },
            ControlEvent::Routes(vec![by_default(IfaceId(2), address)]),
        ];
        let kept = vec![
            ControlEvent::IfaceSix { iface: TAP, mtu: 1500, hop_limit: 64 },
            ControlEvent::IfaceGone(TAP),
        ];
        (host, kept)
    }

    #[test]
    fn the_plan_takes_the_place_of_the_hosts_addresses_and_ways() {
        let apart: Apart = "10.88.0.2/24,fd88::9/64".parse().unwrap();
        let (host, kept) = heard();
        let first = ControlEvent::IfaceGone(IfaceId(1));
        let mut events = [vec![first.clone()], host, vec![iface(1)], kept.clone()].concat();
        told(&apart, &mut events, 1);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let address = |own: &str, prefix| ControlEvent::Address {
            iface: TAP,
            address: ip(own),
            prefix,
            deprecated: false,
        };
        let neighbour =
            |other: &str| ControlEvent::Neighbour { iface: TAP, address: ip(other), mac: [2, 0, 0, 0, 0, 1] };
        let routes = vec![by_default(TAP, ip("10.88.0.1")), by_default(TAP, ip("fd88::1"))];
        let planned = vec![
            iface(1),
            address("10.88.0.2", 24),
            neighbour("10.88.0.1"),
            address("fd88::9", 64),
            neighbour("fd88::1"),
            ControlEvent::Routes(routes),
        ];
        assert_eq!(events, [vec![first], planned, kept].concat());
    }

    #[test]
    fn who_has_the_hosts_addresses_hears_all_as_it_was() {
        let (host, kept) = heard();
        let mut events = [host, vec![iface(1)], kept].concat();
        let before = events.clone();
        told(&Apart::default(), &mut events, 0);
        assert_eq!(events, before);
    }
}
