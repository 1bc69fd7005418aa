//! What packets are told by the tables, after what events.

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
    c.apply(ControlEvent::Address { iface: ETH, address, prefix: 24, deprecated: false });
    c.apply(ControlEvent::Routes(vec![
        route([10, 0, 0, 0], 24, None),
        route([0, 0, 0, 0], 0, Some([10, 0, 0, 254])),
    ]));
    c
}

#[test]
fn what_comes_by_one_vlan_is_not_for_the_address_of_another() {
    let mut c = host();
    let (vlan, other, apart) = (IfaceId(8), IfaceId(9), IfaceId(20));
    let address = |host: u8| IpAddr::from([10, 0, 0, host]);
    for (iface, last) in [(vlan, 8), (other, 9), (apart, 20)] {
        c.apply(ControlEvent::Iface { iface, mac: MAC, mtu: 1500, up: true, tx_checksum: false });
        let address = address(last);
        c.apply(ControlEvent::Address { iface, address, prefix: 24, deprecated: false });
    }
    let heard = |c: &Control, iface| {
        [1, 8, 9, 20, 7].map(|host| {
            let heard = c.hears(address(host), iface);
            assert_eq!(c.hears(Ipv4Addr::new(10, 0, 0, host).into(), iface), heard, "{host}, by {iface:?}");
            heard
        })
    };
    let all = [true, true, true, true, false];
    assert_eq!(
        heard(&c, vlan),
        all,
        "interfaces of wires of their own: a host hears by any (RFC 1122 3.3.4.2)"
    );
    for (iface, id) in [(vlan, 8), (other, 9)] {
        assert!(c.apply(ControlEvent::Vlan { iface, parent: ETH, id }));
        assert!(!c.apply(ControlEvent::Vlan { iface, parent: ETH, id }), "told twice");
    }
    assert_eq!(heard(&c, ETH), [true, false, false, true, false]);
    assert_eq!(heard(&c, vlan), [false, true, false, true, false]);
    assert_eq!(heard(&c, other), [false, false, true, true, false]);
    assert_eq!(heard(&c, apart), all);
    // What is told of the interface again changes nothing of that.
    c.apply(ControlEvent::Iface { iface: vlan, mac: MAC, mtu: 1400, up: true, tx_checksum: false });
    assert_eq!(heard(&c, vlan), [false, true, false, true, false]);
    assert!(!c.apply(ControlEvent::Vlan { iface: IfaceId(99), parent: ETH, id: 1 }), "never told of");
}

#[test]
fn on_the_link_and_beyond() {
    let c = host();
    let near = c.route([10, 0, 0, 9].into(), 0).unwrap();
    assert_eq!((near.address, near.mtu), (IpAddr::from([10, 0, 0, 9]), 1500));
    assert_eq!(near.source, Some(IpAddr::from([10, 0, 0, 1])));
    assert_eq!(c.route([8, 8, 8, 8].into(), 0).unwrap().address, IpAddr::from([10, 0, 0, 254]));
    let home = c.route([10, 0, 0, 1].into(), 0).unwrap();
    assert_eq!((home.home, home.source, home.mtu), (true, Some([10, 0, 0, 1].into()), MTU_HOME));
    assert!(!near.home);
    assert_eq!(c.route(Ipv4Addr::LOCALHOST.into(), 0), None);
}

#[test]
fn own_addresses_and_broadcasts() {
    let c = host();
    assert!(c.is_own([10, 0, 0, 1].into(), ETH));
    assert!(!c.is_own([10, 0, 0, 2].into(), ETH));
    assert!(c.is_broadcast(Ipv4Addr::new(10, 0, 0, 255)));
    assert!(c.is_broadcast(Ipv4Addr::BROADCAST));
    assert!(!c.is_broadcast(Ipv4Addr::new(10, 0, 1, 255)));
    let elsewhere = |a: &Ipv4Addr| c.is_elsewhere((*a).into());
    let addresses = || (0..=255).map(|host| Ipv4Addr::new(10, 0, 0, host));
    assert!(!addresses().filter(elsewhere).any(|a| c.is_own(a.into(), ETH) || c.is_broadcast(a)));
    assert!(addresses().filter(elsewhere).count() > 200, "nearly all are told at once");
}

#[test]
fn telling_twice_changes_nothing() {
    let mut c = host();
    let generation = c.generation();
    let address = IpAddr::from([10, 0, 0, 1]);
    assert!(!c.apply(ControlEvent::Address { iface: ETH, address, prefix: 24, deprecated: false }));
    assert!(!c.apply(ControlEvent::Iface { iface: ETH, mac: MAC, mtu: 1500, up: true, tx_checksum: false }));
    assert_eq!(c.generation(), generation);
    assert!(c.apply(ControlEvent::AddressGone { iface: ETH, address }));
    assert_eq!(c.generation(), generation + 1);
    assert!(!c.is_own([10, 0, 0, 1].into(), ETH));
}

#[test]
fn a_neighbour_is_asked_for_once_a_second() {
    let mut c = host();
    let hop = c.route([10, 0, 0, 9].into(), 0).unwrap();
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
    let hop = c.route([10, 0, 0, 9].into(), 0).unwrap();
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
        let address = Ipv4Addr::from_bits(0x0a00_0000 + n).into();
        let hop = NextHop { port: 0, address, mtu: 1500, source: None, home: false };
        c.resolve(Instant::ZERO, &hop);
    }
    assert_eq!(c.neighbours.len(), MAX_PASSING);
    assert_eq!(c.passing.len(), MAX_PASSING);
}

#[test]
fn a_link_that_is_down_leads_nowhere() {
    let mut c = host();
    assert!(c.apply(ControlEvent::IfaceGone(ETH)));
    assert_eq!(c.route([10, 0, 0, 9].into(), 0), None);
    assert!(!c.apply(ControlEvent::IfaceGone(ETH)));
}

#[test]
fn a_link_that_is_back_keeps_its_place() {
    let mut c = host();
    let (places, now) = (c.ifaces().len(), IfaceId(99));
    c.apply(ControlEvent::IfaceGone(ETH));
    assert!(c.apply(ControlEvent::IfaceBack { before: ETH, now }));
    assert_eq!((c.port(ETH), c.ifaces()[0].wire), (None, now));
    let up = |c: &mut Control, iface| {
        c.apply(ControlEvent::Iface { iface, mac: MAC, mtu: 1400, up: true, tx_checksum: false });
        let route =
            Route { network: [10, 0, 0, 0].into(), prefix: 8, gateway: None, iface, source: None, mtu: None };
        c.apply(ControlEvent::Routes(vec![route]));
    };
    up(&mut c, now);
    assert_eq!((c.port(now), c.ifaces().len()), (Some(0), places));
    assert!(c.route([10, 0, 0, 9].into(), 0).is_some());
    // Another has the former number, and is gone when the first comes back with that.
    up(&mut c, ETH);
    assert_eq!(c.port(ETH), Some(places));
    c.apply(ControlEvent::IfaceGone(ETH));
    c.apply(ControlEvent::IfaceGone(now));
    c.apply(ControlEvent::IfaceBack { before: now, now: ETH });
    assert_eq!((c.port(ETH), c.port(now), c.ifaces().len()), (Some(0), Some(places), places + 1));
    assert!(!c.apply(ControlEvent::IfaceBack { before: ETH, now: ETH }));
}

fn host_v6() -> Control {
    let mut c = host();
    let other = IfaceId(8);
    c.apply(ControlEvent::Iface { iface: other, mac: MAC, mtu: 1400, up: true, tx_checksum: false });
    for (iface, address) in [(ETH, "2001:db8::1"), (ETH, "fe80::1"), (other, "fe80::1")] {
        let address = address.parse().unwrap();
        c.apply(ControlEvent::Address { iface, address, prefix: 64, deprecated: false });
    }
    let to = |network: &str, prefix, gateway: Option<&str>, iface| Route {
        network: network.parse().unwrap(),
        prefix,
        gateway: gateway.map(|g| g.parse().unwrap()),
        iface,
        source: None,
        mtu: None,
    };
    c.apply(ControlEvent::Routes(vec![
        to("2001:db8::", 64, None, ETH),
        to("fe80::", 64, None, ETH),
        to("fe80::", 64, None, other),
        to("::", 0, Some("fe80::9"), other),
    ]));
    c
}

#[test]
fn ipv6_on_the_link_and_beyond() {
    let c = host_v6();
    let ip = |a: &str| a.parse::<IpAddr>().unwrap();
    let near = c.route(ip("2001:db8::9"), 0).unwrap();
    assert_eq!((near.port, near.address, near.mtu), (0, ip("2001:db8::9"), 1500));
    assert_eq!(near.source, Some(ip("2001:db8::1")));
    let far = c.route(ip("2001:db8:1::9"), 0).unwrap();
    assert_eq!((far.port, far.address, far.mtu), (1, ip("fe80::9"), 1400));
    // The way out has a link-local address only; the other interface's reaches further.
    assert_eq!(far.source, Some(ip("2001:db8::1")));
    // IPv4 has other routes.
    assert_eq!(c.route(ip("10.0.0.9"), 0), None);
    let home = c.route(ip("2001:db8::1"), 0).unwrap();
    assert_eq!((home.home, home.port, home.source), (true, 0, Some(ip("2001:db8::1"))));
    assert_eq!(c.route(ip("::1"), 0), None);
}

#[test]
fn link_local_addresses_are_of_their_link() {
    let c = host_v6();
    let ip = |a: &str| a.parse::<IpAddr>().unwrap();
    assert_eq!(c.route(ip("fe80::2"), 0), None);
    assert_eq!(c.route(ip("fe80::2"), ETH.0).map(|h| (h.port, h.source)), Some((0, Some(ip("fe80::1")))));
    assert_eq!(c.route(ip("fe80::2"), 8).map(|h| h.port), Some(1));
    assert_eq!(c.route(ip("fe80::2"), 9), None);
    assert_eq!(c.route(ip("fe80::1"), 8).map(|h| (h.home, h.port)), Some((true, 1)));
    assert!(c.is_own(ip("fe80::1"), ETH) && !c.is_own(ip("fe80::1"), IfaceId(9)));
    assert!(c.is_own(ip("2001:db8::1"), IfaceId(9)) && !c.is_own(ip("2001:db8::2"), ETH));
    assert!(c.is_on_a_road(ip("fe80::1")) && !c.is_on_a_road(ip("fe80::2")));
}

/// Whoever asks the same again is answered from memory: not for longer than it is so.
#[test]
fn what_was_asked_last_is_asked_anew_when_something_has_changed() {
    let (now, far) = (Instant::from_millis(1), IpAddr::from([8, 8, 8, 8]));
    let mut c = host();
    let gateway = |c: &Control| c.route(far, 0).map(|hop| hop.address);
    let first = IpAddr::from([10, 0, 0, 254]);
    assert_eq!([gateway(&c), gateway(&c)], [Some(first); 2]);
    let hop = c.route(far, 0).unwrap();
    let tell = |c: &mut Control, last: u8| {
        c.apply(ControlEvent::Neighbour { iface: ETH, address: first, mac: [2, 0, 0, 0, 0, last] })
    };
    tell(&mut c, 8);
    for last in [8, 9] {
        tell(&mut c, last);
        let known = Resolved::Known([2, 0, 0, 0, 0, last]);
        assert_eq!([c.resolve(now, &hop), c.resolve(now, &hop)], [known; 2]);
    }
    // Another next hop of the same link has another address.
    let near = c.route([10, 0, 0, 9].into(), 0).unwrap();
    assert_eq!(c.resolve(now, &near), Resolved::Ask);
    c.apply(ControlEvent::NeighbourGone { iface: ETH, address: first, failed: true });
    assert_eq!(c.resolve(now, &hop), Resolved::Dead);

    let other = IpAddr::from([10, 0, 0, 253]);
    c.apply(ControlEvent::Routes(vec![route([0, 0, 0, 0], 0, Some([10, 0, 0, 253]))]));
    assert_eq!([gateway(&c), gateway(&c)], [Some(other); 2]);
    c.apply(ControlEvent::Iface { iface: ETH, mac: MAC, mtu: 1500, up: false, tx_checksum: false });
    assert_eq!([gateway(&c), gateway(&c)], [None; 2]);
    c.apply(ControlEvent::Iface { iface: ETH, mac: MAC, mtu: 1400, up: true, tx_checksum: false });
    assert_eq!(c.route(far, 0).map(|hop| (hop.address, hop.mtu)), Some((other, 1400)));
}
