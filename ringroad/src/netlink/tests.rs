//! Messages in, events out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use netlink_packet_core::DefaultNla;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, Inet6DevConf, InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, LinkProtoInfoInet6, VlanProtocol,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use stack::control::{ControlEvent, MacAddr, Route};
use stack::types::IfaceId;

use super::Driven;
use super::facts;
use super::lost::{Lost, Reopening};
use super::mirror::{Effects, Mirror};
use super::vlans;
use crate::config::Apart;

const ETH: IfaceId = IfaceId(3);
const MAC: MacAddr = [2, 0, 0, 0, 0, 9];
const DRIVEN: &[Driven] =
    &[Driven { iface: ETH, tx_checksum: true, max_packet: 3500, sees_tags: true, vlan: None }];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn link(up: bool, mtu: u32) -> Message {
    let mut m = LinkMessage::default();
    m.header.index = ETH.0;
    m.header.flags = if up { LinkFlags::Up | LinkFlags::LowerUp } else { LinkFlags::Up };
    m.attributes = vec![
        LinkAttribute::IfName("eth7".into()),
        LinkAttribute::Address(MAC.into()),
        LinkAttribute::Mtu(mtu),
    ];
    Message::NewLink(m)
}

fn address(index: u32, last: u8) -> AddressMessage {
    let mut m = AddressMessage::default();
    m.header.index = index;
    m.header.prefix_len = 24;
    m.attributes = vec![AddressAttribute::Local(ip(last).into())];
    m
}

fn neighbour(index: u32, state: NeighbourState, mac: Option<MacAddr>) -> NeighbourMessage {
    let mut m = NeighbourMessage::default();
    m.header.ifindex = index;
    m.header.state = state;
    m.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(ip(2)))];
    m.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.into())));
    m
}

fn route(prefix: u8, last: u8, metric: u32, gateway: Option<u8>) -> Message {
    let mut m = RouteMessage::default();
    m.header.kind = RouteType::Unicast;
    m.header.address_family = AddressFamily::Inet;
    m.header.table = 254;
    m.header.destination_prefix_length = prefix;
    m.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet(ip(last))),
        RouteAttribute::Priority(metric),
        RouteAttribute::Oif(ETH.0),
    ];
    m.attributes.extend(gateway.map(|g| RouteAttribute::Gateway(RouteAddress::Inet(ip(g)))));
    Message::NewRoute(m)
}

/// The events of one message, and whether the routes have to be read again.
fn told(mirror: &mut Mirror, message: &Message) -> (Vec<ControlEvent>, bool) {
    let mut events = Vec::new();
    let Effects { routes } = mirror.apply(message, DRIVEN, &mut events);
    (events, routes)
}

#[test]
fn a_link_is_told_when_it_changes_and_its_mtu_bounded_by_the_driver() {
    let mut mirror = Mirror::default();
    let event = |up, mtu| ControlEvent::Iface { iface: ETH, mac: MAC, mtu, up, tx_checksum: true };
    let named = |name: &str| ControlEvent::IfaceName { iface: ETH, name: name.into() };
    assert_eq!(told(&mut mirror, &link(true, 1500)), (vec![event(true, 1500), named("eth7")], true));
    assert_eq!(told(&mut mirror, &link(true, 1500)), (vec![], false));
    assert_eq!(told(&mut mirror, &link(true, 9000)), (vec![event(true, 3500)], false));
    let Message::NewLink(mut other) = link(true, 9000) else { unreachable!() };
    other.attributes[0] = LinkAttribute::IfName("wan".into());
    assert_eq!(told(&mut mirror, &Message::NewLink(other)).0[1..], [named("wan")]);
    assert_eq!(told(&mut mirror, &link(true, 9000)).0[1..], [named("eth7")]);
    // The routes of a link that goes down go without being reported.
    assert_eq!(told(&mut mirror, &link(false, 9000)), (vec![event(false, 3500)], true));
    let mut gone = LinkMessage::default();
    gone.header.index = ETH.0;
    let mut left = gone.clone();
    left.header.interface_family = AddressFamily::Bridge;
    assert_eq!(told(&mut mirror, &Message::DelLink(left)), (vec![], false), "it has left a bridge");
    assert_eq!(told(&mut mirror, &Message::DelLink(gone)), (vec![ControlEvent::IfaceGone(ETH)], true));
}

/// What has the number of one that is gone is another interface, until somebody has opened it.
#[test]
fn a_link_that_is_back_is_driven_again_when_it_is_open() {
    for now in [ETH, IfaceId(9)] {
        let open = Arc::new(AtomicU32::new(0));
        let asked = Arc::clone(&open);
        let open_on = move |name: &str| {
            Some(asked.load(Ordering::Relaxed)).filter(|index| name == "eth7" && *index != 0)
        };
        let names = vec![(ETH, "eth7".into())];
        let mut lost = Lost::new(Reopening { names, open_on: Some(Box::new(open_on)) });
        let (mut mirror, mut driven, mut events) = (Mirror::default(), DRIVEN.to_vec(), Vec::new());
        told(&mut mirror, &link(true, 1500));
        lost.gather(&mut driven, &mirror);
        assert_eq!((driven.len(), lost.may_return(ETH)), (1, true), "it is there");
        let mut gone = LinkMessage::default();
        gone.header.index = ETH.0;
        told(&mut mirror, &Message::DelLink(gone));
        lost.gather(&mut driven, &mirror);
        assert_eq!((driven.len(), lost.awaits(&mirror)), (0, false), "it is not");
        let Message::NewLink(mut back) = link(true, 1500) else { unreachable!() };
        back.header.index = now.0;
        mirror.apply(&Message::NewLink(back), &driven, &mut events);
        assert_eq!(events, [], "nothing that is driven");
        assert!(!lost.take_back(&mut driven, &mirror, &mut events), "nobody has opened it");
        assert!(lost.awaits(&mirror));
        open.store(now.0, Ordering::Relaxed);
        assert!(lost.take_back(&mut driven, &mirror, &mut events));
        assert_eq!(events, [ControlEvent::IfaceBack { before: ETH, now }]);
        assert_eq!((driven.len(), driven[0].iface), (1, now));
        assert!(lost.may_return(now) && !lost.awaits(&mirror));
    }
}

/// A message about an interface that is a VLAN of another.
fn vlan(parent: IfaceId, id: u16, protocol: VlanProtocol) -> LinkMessage {
    let Message::NewLink(mut m) = link(true, 1500) else { unreachable!() };
    m.header.index = 9;
    let data = InfoData::Vlan(vec![InfoVlan::Id(id), InfoVlan::Protocol(protocol)]);
    let info = vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)];
    m.attributes.extend([LinkAttribute::Link(parent.0), LinkAttribute::LinkInfo(info)]);
    m
}

#[test]
fn a_vlan_is_one_by_the_number_and_the_interface_below() {
    let plain = VlanProtocol::Ieee8021Q;
    assert_eq!(facts::link(&vlan(ETH, 10, plain)).vlan, Some((ETH, 10)));
    assert_eq!(facts::link(&vlan(ETH, 10, VlanProtocol::Ieee8021Ad)).vlan, None, "another kind of tag");
    let mut elsewhere = vlan(ETH, 10, plain);
    elsewhere.attributes.push(LinkAttribute::LinkNetNsId(0));
    assert_eq!(facts::link(&elsewhere).vlan, None, "the interface below is in another namespace");
    let Message::NewLink(eth) = link(true, 1500) else { unreachable!() };
    assert_eq!(facts::link(&eth).vlan, None);
}

/// The parent is called as an interface whose tags stay where they are: every host has it.
#[test]
fn a_vlan_is_driven_where_its_tags_are_seen() {
    let Message::NewLink(mut lo) = link(true, 1500) else { unreachable!() };
    lo.attributes[0] = LinkAttribute::IfName("lo".into());
    let mut mirror = Mirror::default();
    told(&mut mirror, &Message::NewLink(lo));
    let ten = Message::NewLink(vlan(ETH, 10, VlanProtocol::Ieee8021Q));
    let learned = |driven: Driven, mut places: usize| {
        let mut driven = vec![driven];
        vlans::learn(&ten, &mut driven, &mirror, &mut places);
        (driven.get(1).map(|d| (d.iface, d.vlan)), places)
    };
    assert_eq!(learned(DRIVEN[0], 2), (Some((IfaceId(9), Some((ETH, 10)))), 1));
    assert_eq!(learned(Driven { sees_tags: false, ..DRIVEN[0] }, 2), (None, 2));
    assert_eq!(learned(DRIVEN[0], 0), (None, 0), "the stack has no place for it");
}

#[test]
fn a_vlan_comes_after_what_it_is_on() {
    let ten = Message::NewLink(vlan(ETH, 10, VlanProtocol::Ieee8021Q));
    let mut links = vec![ten.clone(), link(true, 1500)];
    vlans::after_their_parents(&mut links);
    assert_eq!(links, [link(true, 1500), ten]);
}

#[test]
fn a_vlan_that_is_driven_is_told_as_one() {
    let mut mirror = Mirror::default();
    let mut events = Vec::new();
    let iface = IfaceId(9);
    let driven = [DRIVEN[0], Driven { iface, vlan: Some((ETH, 10)), ..DRIVEN[0] }];
    mirror.apply(&Message::NewLink(vlan(ETH, 10, VlanProtocol::Ieee8021Q)), &driven, &mut events);
    let is = ControlEvent::Iface { iface, mac: MAC, mtu: 1500, up: true, tx_checksum: true };
    assert_eq!(events[..2], [is, ControlEvent::Vlan { iface, parent: ETH, id: 10 }]);
}

#[test]
fn what_routers_say_of_a_link_is_told_and_kept() {
    let mut mirror = Mirror::default();
    let said = |mtu, hop_limit| {
        let mut conf = Inet6DevConf::default();
        (conf.mtu6, conf.hoplimit) = (mtu, hop_limit);
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::DevConf(conf)])])
    };
    let Message::NewLink(mut up) = link(true, 1500) else { unreachable!() };
    up.attributes.push(said(1400, 33));
    let six = |mtu, hop_limit| ControlEvent::IfaceSix { iface: ETH, mtu, hop_limit };
    assert_eq!(told(&mut mirror, &Message::NewLink(up.clone())).0[2..], [six(1400, 33)]);
    assert_eq!(told(&mut mirror, &link(true, 1500)).0, [], "a message that does not say changes nothing");
    // The form of messages that are about IPv6 only.
    up.attributes.pop();
    let words = [0, 64, 1300].map(i32::to_ne_bytes).concat();
    let alone = LinkProtoInfoInet6::Other(DefaultNla::new(2, words));
    up.attributes.push(LinkAttribute::ProtoInfoInet6(vec![alone]));
    assert_eq!(told(&mut mirror, &Message::NewLink(up)).0[1..], [six(1300, 64)]);
}

#[test]
fn addresses_of_all_interfaces_are_told_once() {
    let mut mirror = Mirror::default();
    let told_of = |index| ControlEvent::Address {
        iface: IfaceId(index),
        address: ip(1).into(),
        prefix: 24,
        deprecated: false,
    };
    assert_eq!(told(&mut mirror, &Message::NewAddress(address(3, 1))).0, [told_of(3)]);
    assert_eq!(told(&mut mirror, &Message::NewAddress(address(3, 1))).0, []);
    assert_eq!(told(&mut mirror, &Message::NewAddress(address(8, 1))).0, [told_of(8)]);
    let gone = ControlEvent::AddressGone { iface: ETH, address: ip(1).into() };
    assert_eq!(told(&mut mirror, &Message::DelAddress(address(3, 1))), (vec![gone], true));
}

#[test]
fn a_neighbour_is_told_when_its_link_address_changes() {
    let mut mirror = Mirror::default();
    let known = |mac| ControlEvent::Neighbour { iface: ETH, address: ip(2).into(), mac };
    let new = |state, mac| Message::NewNeighbour(neighbour(3, state, mac));
    assert_eq!(told(&mut mirror, &new(NeighbourState::Incomplete, None)).0, []);
    assert_eq!(told(&mut mirror, &new(NeighbourState::Reachable, Some(MAC))).0, [known(MAC)]);
    assert_eq!(mirror.stale().count(), 0);
    assert_eq!(told(&mut mirror, &new(NeighbourState::Stale, Some(MAC))).0, []);
    assert_eq!(mirror.stale().collect::<Vec<_>>(), [(ETH, IpAddr::from(ip(2)))]);
    let other = [2, 0, 0, 0, 0, 10];
    assert_eq!(told(&mut mirror, &new(NeighbourState::Reachable, Some(other))).0, [known(other)]);
    let gone = |failed| ControlEvent::NeighbourGone { iface: ETH, address: ip(2).into(), failed };
    assert_eq!(told(&mut mirror, &new(NeighbourState::Failed, None)).0, [gone(true)]);
    told(&mut mirror, &new(NeighbourState::Permanent, Some(MAC)));
    let deleted = Message::DelNeighbour(neighbour(3, NeighbourState::Stale, Some(MAC)));
    assert_eq!(told(&mut mirror, &deleted).0, [gone(false)]);
    let elsewhere = Message::NewNeighbour(neighbour(8, NeighbourState::Reachable, Some(MAC)));
    assert_eq!(told(&mut mirror, &elsewhere).0, [], "not an interface that is driven");
}

#[test]
fn routes_are_read_longest_prefix_first_then_by_metric() {
    let mut mirror = Mirror::default();
    let mut events = Vec::new();
    let mut local = route(32, 1, 0, None);
    if let Message::NewRoute(m) = &mut local {
        m.header.table = 255;
    }
    let table = [route(0, 0, 200, Some(8)), route(0, 0, 100, Some(9)), route(24, 0, 500, None), local];
    mirror.routing(&table, &mut events);
    let is = |prefix, gateway: Option<u8>| Route {
        network: ip(0).into(),
        prefix,
        gateway: gateway.map(|g| ip(g).into()),
        iface: ETH,
        source: None,
        mtu: None,
    };
    assert_eq!(events, [ControlEvent::Routes(vec![is(24, None), is(0, Some(9)), is(0, Some(8))])]);
    mirror.routing(&table, &mut events);
    assert_eq!(events.len(), 1, "the same table is not told again");
}

#[test]
fn after_an_overrun_what_is_gone_is_told() {
    let (mut mirror, mut fresh, mut events) = (Mirror::default(), Mirror::default(), Vec::new());
    told(&mut mirror, &link(true, 1500));
    told(&mut mirror, &Message::NewAddress(address(3, 1)));
    told(&mut mirror, &Message::NewNeighbour(neighbour(3, NeighbourState::Reachable, Some(MAC))));
    told(&mut fresh, &Message::NewAddress(address(3, 5)));
    mirror.replaced_by(fresh, DRIVEN, &mut events);
    let (iface, failed) = (ETH, false);
    assert_eq!(
        events,
        [
            ControlEvent::AddressGone { iface, address: ip(1).into() },
            ControlEvent::NeighbourGone { iface, address: ip(2).into(), failed },
            ControlEvent::IfaceGone(iface),
        ]
    );
}

#[test]
fn the_tables_of_this_host_can_be_read() {
    let mut events = Vec::new();
    let netlink =
        super::Netlink::open(Vec::new(), Reopening::default(), &Apart::default(), &mut events).unwrap();
    assert_eq!(netlink.mirror.name_of(IfaceId(1)), Some("lo"));
    assert!(super::candidates().unwrap().iter().all(|c| c.name != "lo" && !c.addresses.is_empty()));
}
