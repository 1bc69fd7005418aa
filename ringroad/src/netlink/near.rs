//! The kernel's side of a TAP device, behind which a stack stands apart: made ready, or looked at where somebody else did.
//!
//! The device has no ARP: so the kernel asks nobody for the stack's link address, and takes its own for it
//! (`arp_constructor`, `ndisc_constructor`), which is as well, since there is nobody else on the link.

use std::net::IpAddr;
use std::{fs, io};

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use stack::control::Route;

use super::channel::{Dumps, Table};
use super::facts;
use crate::config::{Apart, other_side};

/// Gives a device that was just made the addresses of the kernel's side, and puts it up, without ARP. Takes privilege.
///
/// # Errors
/// The operating system's.
pub(crate) fn make(name: &str, apart: &Apart) -> io::Result<()> {
    let mut dumps = Dumps::open()?;
    let (index, _) = find(&mut dumps, name)?;
    for (own, other) in sides(apart) {
        if other.is_ipv6() {
            // A host may have it off for devices that come. Where it cannot be said, the next step tells.
            let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "0");
        }
        let mut message = AddressMessage::default();
        message.header.family = if other.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.prefix_len = own.prefix_len();
        message.header.index = index;
        message.attributes = vec![
            AddressAttribute::Local(other),
            AddressAttribute::Address(other),
            // There is nobody who could have it, too.
            AddressAttribute::Flags(AddressFlags::Nodad),
        ];
        dumps.change(Message::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)?;
    }
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up | LinkFlags::Noarp;
    message.header.change_mask = message.header.flags;
    dumps.change(Message::SetLink(message), 0)
}

/// Looks whether a device that was there is as it has to be.
///
/// # Errors
/// What it lacks, and the command that gives it that; the operating system's.
pub(crate) fn look_at(name: &str, apart: &Apart) -> io::Result<()> {
    let mut dumps = Dumps::open()?;
    let (index, flags) = find(&mut dumps, name)?;
    if !flags.contains(LinkFlags::Up | LinkFlags::Noarp) {
        return Err(io::Error::other(format!("it has to be up, without ARP: ip link set {name} arp off up")));
    }
    let routes = routes(&mut dumps)?;
    for (own, other) in sides(apart) {
        if way_to(&routes, own.addr()) != Some(index) {
            let (address, prefix) = (own.addr(), own.prefix_len());
            let reason = format!("the kernel does not lead {address} there");
            let remedy = format!("ip address add {other}/{prefix} dev {name}");
            return Err(io::Error::other(format!("{reason}: {remedy}")));
        }
    }
    Ok(())
}

/// The addresses of the stack, each with that of the kernel's side.
fn sides(apart: &Apart) -> impl Iterator<Item = (IpNet, IpAddr)> + '_ {
    apart.own().filter_map(|own| Some((own, other_side(own)?)))
}

fn find(dumps: &mut Dumps, name: &str) -> io::Result<(u32, LinkFlags)> {
    let links = dumps.all(Table::Links)?;
    let found = links.iter().find_map(|message| match message {
        Message::NewLink(link) if facts::link(link).name == name => {
            Some((link.header.index, link.header.flags))
        }
        _ => None,
    });
    found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

fn routes(dumps: &mut Dumps) -> io::Result<Vec<(u32, Route)>> {
    let messages = dumps.all(Table::Routes)?;
    let routes = messages.iter().filter_map(|m| if let Message::NewRoute(r) = m { Some(r) } else { None });
    Ok(routes.flat_map(facts::routes).collect())
}

/// The interface by which the kernel sends what is for an address: that of the longest prefix, then of the lowest metric.
fn way_to(routes: &[(u32, Route)], address: IpAddr) -> Option<u32> {
    let leads = |route: &Route| {
        IpNet::new(route.network, route.prefix).is_ok_and(|network| network.contains(&address))
    };
    let best = routes
        .iter()
        .filter(|(_, route)| leads(route))
        .min_by_key(|(metric, route)| (std::cmp::Reverse(route.prefix), *metric));
    best.map(|(_, route)| route.iface.0)
}

#[cfg(test)]
mod tests {
    use stack::types::IfaceId;

    use super::*;

    #[test]
    fn the_longest_prefix_leads_then_the_lowest_metric() {
        let route = |network: &str, iface, metric| {
            let network: IpNet = network.parse().unwrap();
            let (prefix, network) = (network.prefix_len(), network.addr());
            let iface = IfaceId(iface);
            (metric, Route { network, prefix, gateway: None, iface, source: None, mtu: None })
        };
        let routes = [
            route("0.0.0.0/0", 2, 0),
            route("10.88.0.0/24", 3, 10),
            route("10.88.0.0/24", 4, 5),
            route("10.88.0.0/16", 5, 0),
            route("fd88::/64", 6, 256),
        ];
        let way = |to: &str| way_to(&routes, to.parse().unwrap());
        assert_eq!([way("10.88.0.2"), way("10.88.1.2"), way("10.1.1.1")], [Some(4), Some(5), Some(2)]);
        assert_eq!([way("fd88::2"), way("fd89::2")], [Some(6), None]);
    }
}
