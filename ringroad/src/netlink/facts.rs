//! What netlink messages say, in the stack's terms.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::Nla;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
    LinkProtoInfoInet6, VlanProtocol,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use stack::control::{MacAddr, Route};
use stack::types::IfaceId;

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFact {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: u32,
    /// IFF_UP and carrier.
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    /// The longest packet of IPv6 and its hop limit, as routers or the administrator set them; none when a message does
    /// not say.
    pub(crate) six: Option<(u16, u8)>,
    /// It is a VLAN (802.1Q) of another interface of this namespace: of which, and its number.
    pub(crate) vlan: Option<(IfaceId, u16)>,
}

/// Whether the interface is gone that a message of its end is about: one that has left a bridge is there still
/// (`br_del_if` tells of that by the same message).
pub(crate) fn is_gone(message: &LinkMessage) -> bool {
    message.header.interface_family != AddressFamily::Bridge
}

pub(crate) fn link(message: &LinkMessage) -> LinkFact {
    let flags = message.header.flags;
    let mut fact = LinkFact {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        ..LinkFact::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => fact.name.clone_from(name),
            LinkAttribute::Address(mac) => fact.mac = mac.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::Mtu(mtu) => fact.mtu = *mtu,
            LinkAttribute::AfSpecUnspec(list) => fact.six = fact.six.or(list.iter().find_map(six)),
            LinkAttribute::ProtoInfoInet6(list) => fact.six = fact.six.or(list.iter().find_map(six_alone)),
            _ => {}
        }
    }
    fact.vlan = vlan(message);
    fact
}

/// Of which interface a VLAN is one, and its number. Not of one in another namespace (IFLA_LINK_NETNSID), and not with the
/// tags of 802.1ad.
fn vlan(message: &LinkMessage) -> Option<(IfaceId, u16)> {
    let mut parent = None;
    let (mut id, mut foreign) = (None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Link(index) => parent = Some(IfaceId(*index)),
            LinkAttribute::LinkNetNsId(_) => foreign = true,
            LinkAttribute::LinkInfo(list) => {
                for info in list {
                    let LinkInfo::Data(InfoData::Vlan(data)) = info else { continue };
                    for part in data {
                        match part {
                            InfoVlan::Id(number) => id = Some(*number),
                            InfoVlan::Protocol(protocol) => foreign |= *protocol != VlanProtocol::Ieee8021Q,
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    parent.zip(id).filter(|_| !foreign)
}

/// What a message about an interface says of IPv6 there.
fn six(spec: &AfSpecUnspec) -> Option<(u16, u8)> {
    let AfSpecUnspec::Inet6(list) = spec else { return None };
    list.iter().find_map(|part| match part {
        AfSpecInet6::DevConf(conf) => Some(bounded(conf.mtu6, conf.hoplimit)),
        _ => None,
    })
}

/// The same in a message that is about nothing else.
fn six_alone(part: &LinkProtoInfoInet6) -> Option<(u16, u8)> {
    /// IFLA_INET6_CONF: an array of integers, of which the second is the hop limit and the third the MTU.
    const CONF: u16 = 2;
    let LinkProtoInfoInet6::Other(nla) = part else { return None };
    let mut bytes = vec![0; nla.value_len()];
    nla.emit_value(&mut bytes);
    let int = |at: usize| bytes.get(at * 4..)?.first_chunk().map(|b| i32::from_ne_bytes(*b));
    (nla.kind() == CONF).then_some(bounded(int(2)?, int(1)?))
}

fn bounded(mtu: i32, hop_limit: i32) -> (u16, u8) {
    let mtu = u16::try_from(mtu.max(0)).unwrap_or(u16::MAX);
    (mtu, u8::try_from(hop_limit).ok().filter(|hops| *hops > 0).unwrap_or(64))
}

/// An address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressFact {
    /// Bits of its network.
    pub(crate) prefix: u8,
    /// Not for new flows.
    pub(crate) deprecated: bool,
    /// It is the host's for sure: not while others may have it (RFC 4862 §5.4), nor when they do.
    pub(crate) usable: bool,
}

/// Interface, address, and what is to know of it. On a point-to-point link the local end counts.
pub(crate) fn address(message: &AddressMessage) -> Option<(IfaceId, IpAddr, AddressFact)> {
    let local = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let any = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let flags = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = flags.unwrap_or(AddressFlags::from_bits_retain(message.header.flags.bits().into()));
    let optimistic = flags.contains(AddressFlags::Optimistic);
    let doubtful = flags.contains(AddressFlags::Tentative) && !optimistic;
    let fact = AddressFact {
        prefix: message.header.prefix_len,
        deprecated: flags.contains(AddressFlags::Deprecated),
        usable: !doubtful && !flags.contains(AddressFlags::Dadfailed),
    };
    Some((IfaceId(message.header.index), local.or(any)?, fact))
}

/// What the kernel knows of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeighbourFact {
    /// Its link address; `stale` when it was not confirmed lately.
    Known { mac: MacAddr, stale: bool },
    /// It did not answer.
    Failed,
    /// It is being asked, or it needs no resolution.
    Pending,
}

pub(crate) fn neighbour(message: &NeighbourMessage) -> Option<(IfaceId, IpAddr, NeighbourFact)> {
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let known = |stale| mac.map_or(NeighbourFact::Pending, |mac| NeighbourFact::Known { mac, stale });
    let fact = match message.header.state {
        NeighbourState::Failed => NeighbourFact::Failed,
        NeighbourState::Stale => known(true),
        NeighbourState::Reachable
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Permanent => known(false),
        _ => NeighbourFact::Pending,
    };
    Some((IfaceId(message.header.ifindex), address?, fact))
}

/// A route with its metric; several for a route of several next hops.
pub(crate) fn routes(message: &RouteMessage) -> Vec<(u32, Route)> {
    let header = &message.header;
    if header.kind != RouteType::Unicast || table(message) != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return Vec::new();
    }
    let everywhere: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Vec::new(),
    };
    let mut route = Route {
        network: everywhere,
        prefix: header.destination_prefix_length,
        gateway: None,
        iface: IfaceId(0),
        source: None,
        mtu: None,
    };
    let mut metric = 0;
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => route.network = ip(to).unwrap_or(everywhere),
            RouteAttribute::PrefSource(from) => route.source = ip(from),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Metrics(list) => {
                route.mtu = list.iter().find_map(|m| match m {
                    RouteMetric::Mtu(mtu) => u16::try_from(*mtu).ok(),
                    _ => None,
                });
            }
            RouteAttribute::MultiPath(list) => {
                hops.extend(list.iter().map(|h| (h.interface_index, gateway(&h.attributes))));
            }
            RouteAttribute::Oif(index) => hops.push((*index, gateway(&message.attributes))),
            _ => {}
        }
    }
    hops.into_iter()
        .map(|(index, gateway)| (metric, Route { iface: IfaceId(index), gateway, ..route.clone() }))
        .collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|a| match a {
        RouteAttribute::Gateway(to) => ip(to),
        // IPv4 by way of a neighbour that is known by an IPv6 address (RFC 5549).
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some((*ip).into()),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

/// The table of a route: the attribute, since the header's byte is too small for many.
fn table(message: &RouteMessage) -> u32 {
    message
        .attributes
        .iter()
        .find_map(|a| match a {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        })
        .unwrap_or(message.header.table.into())
}
