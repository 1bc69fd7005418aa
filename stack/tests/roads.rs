//! Rules for interfaces: a flow is judged by that on which whoever began it is heard.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::{Host, IFACE, Net};
use ringroad_stack::config::Config;
use ringroad_stack::control::{ControlEvent, Route};
use ringroad_stack::engine::Journals;
use ringroad_stack::error::SocketError;
use ringroad_stack::policy::{
    Action, Mode, Policy, PolicySpec, PortRange, RuleDirection, RuleSpec, TableSpec,
};
use ringroad_stack::time::Instant;
use ringroad_stack::types::{IfaceId, Road, SocketId};

const SECOND: IfaceId = IfaceId(7);

/// Gives a host a second interface: the first is called `lan`, this one `wan`.
fn second_interface(host: &mut Host) {
    let (now, mac) = (Instant::ZERO, host.mac);
    let iface = ControlEvent::Iface { iface: SECOND, mac, mtu: 1500, up: true, tx_checksum: false };
    host.stack.control(now, iface);
    for (iface, name) in [(IFACE, "lan"), (SECOND, "wan")] {
        host.stack.control(now, ControlEvent::IfaceName { iface, name: name.into() });
    }
}

/// Only what this direction of flows does by `interface` is permitted.
fn only_by(interface: &str, host: &mut Host, direction: RuleDirection) {
    let interfaces = vec![interface.to_owned()];
    let web = RuleSpec { direction, interfaces, ..RuleSpec::any("web", Action::Allow) };
    let ssh = RuleSpec { local_ports: vec![PortRange::one(22)], ..RuleSpec::any("ssh", Action::Allow) };
    let table = TableSpec::of_host(host.address, Mode::Enforce, vec![web, ssh]);
    let spec = PolicySpec { default: Action::Allow, tables: vec![table], shadow: Vec::new() };
    host.stack.set_policy(Policy::compile(&spec).unwrap());
}

/// A frame of the other host's arrives by the second interface.
fn arrives_by_wan(net: &mut Net, to: usize, frame: &[u8]) {
    let (now, host) = (net.now, &mut net.hosts[to]);
    let frame = host.frame(frame);
    host.stack.rx(now, SECOND, frame);
}

#[test]
fn what_begins_by_another_interface_is_not_permitted() {
    let mut net = Net::ideal();
    second_interface(&mut net.hosts[1]);
    only_by("lan", &mut net.hosts[1], RuleDirection::In);
    net.hosts[0].capture = true;
    let (client, server, _) = net.connected();
    let syn = net.hosts[0].sent[0].clone();
    let denied = |net: &mut Net| net.b().stats().drop_denied_in;
    assert_eq!(denied(&mut net), 0);

    // Its own segment, by another way: the verdict does not hold there.
    net.send(0, client, b"hello").unwrap();
    net.run_ms(10);
    let segment = net.hosts[0].sent.iter().rfind(|frame| frame.ends_with(b"hello")).unwrap().clone();
    arrives_by_wan(&mut net, 1, &segment);
    arrives_by_wan(&mut net, 1, &syn);
    assert_eq!(denied(&mut net), 2);
    net.send(1, server, b"answer").unwrap();
    net.run_ms(10);
    assert_eq!(net.recv(0, client, 100), Ok(b"answer".to_vec()), "who is refused there does not cut it");
    net.send(0, client, b" again").unwrap();
    net.run_ms(10);
    assert_eq!(denied(&mut net), 2, "where it began it goes on");
    assert_eq!(net.recv(1, server, 100), Ok(b"hello again".to_vec()));
    let counted = net.b().policy();
    assert_eq!(counted.tables[0].denied.packets, 2);
}

/// What we begin leaves by `lan`. Where no verdict says so, since the policy before told no interfaces apart, or only the
/// record in TIME-WAIT is left, an answer that comes by another is no flow of that one.
#[test]
fn what_we_began_is_judged_by_where_it_leaves() {
    for (interface, over, denied) in
        [("lan", false, 0), ("lan", true, 0), ("wan", false, 1), ("wan", true, 1)]
    {
        let mut net = Net::ideal();
        second_interface(&mut net.hosts[0]);
        net.hosts[1].capture = true;
        let (client, server, _) = net.connected();
        if over {
            net.close(0, client);
            net.run_ms(10);
            net.close(1, server);
            net.run_ms(10);
        } else {
            net.link.loss = 1000;
            net.send(1, server, b"hello").unwrap();
            net.run_ms(1);
        }
        only_by(interface, &mut net.hosts[0], RuleDirection::Out);
        let last = net.hosts[1].sent.last().unwrap().clone();
        arrives_by_wan(&mut net, 0, &last);
        assert_eq!(net.a().stats().drop_denied_in, denied, "{interface}, over: {over}");
        if !over {
            let expected = if denied == 0 { Ok(b"hello".to_vec()) } else { Err(SocketError::WouldBlock) };
            assert_eq!(net.recv(0, client, 100), expected, "{interface}");
        }
    }
}

/// Not by which it was answered: that is where the route leads.
#[test]
fn a_handshake_is_told_of_by_the_interface_by_which_it_came() {
    let mut net = Net::ideal();
    second_interface(&mut net.hosts[1]);
    only_by("wan", &mut net.hosts[1], RuleDirection::In);
    let journals = Journals::new(net.b().flow_slots());
    net.b().keep_journals(journals);
    net.listen(1, 80, 16);
    (net.hosts[0].capture, net.link.loss) = (true, 1000);
    net.connecting(0, 80);
    net.pump();
    let syn = net.hosts[0].sent[0].clone();
    arrives_by_wan(&mut net, 1, &syn);
    net.run_for(Duration::from_secs(200));
    let (now, mut told) = (net.now, Vec::new());
    net.b().turn_journals();
    while net.b().tell_flows(now, 3, &mut told) {}
    let told: Vec<_> = told.iter().map(|record| (record.over, record.state, record.road)).collect();
    assert_eq!(told, [(true, 3, Road::of_port(1))]);
}

fn routes(host: &mut Host, iface: IfaceId) {
    let route = Route {
        network: IpAddr::from([10, 0, 0, 0]),
        prefix: 24,
        gateway: None,
        iface,
        source: Some(host.address),
        mtu: None,
    };
    host.stack.control(Instant::ZERO, ControlEvent::Routes(vec![route]));
}

#[test]
fn what_leaves_is_judged_anew_when_the_route_is_another() {
    let mut host = Host::new(1, Config::default());
    second_interface(&mut host);
    only_by("lan", &mut host, RuleDirection::Out);
    let (now, peer) = (Instant::from_millis(1), SocketAddr::from(([10, 0, 0, 2], 9)));
    for iface in [IFACE, SECOND] {
        let event = ControlEvent::Neighbour { iface, address: peer.ip(), mac: common::mac(2) };
        host.stack.control(now, event);
    }
    let id: SocketId = host.stack.udp_socket(0).unwrap();
    host.stack.bind(id, ([0, 0, 0, 0], 1000).into()).unwrap();
    let say = |host: &mut Host| host.stack.send_to(now, id, Some(peer), 5, &mut |room| Ok(room.len()));
    for (iface, expected) in [(IFACE, Ok(5)), (SECOND, Err(SocketError::NotPermitted)), (IFACE, Ok(5))] {
        routes(&mut host, iface);
        assert_eq!(say(&mut host), expected, "{iface:?}");
    }
    // The kernel's socket is asked for, too.
    assert!(host.stack.judge_recv(now, (([10, 0, 0, 1], 22).into(), peer), Some(SECOND), 5));
    let other = SocketAddr::from(([10, 0, 0, 3], 9));
    assert!(!host.stack.judge_recv(now, (([10, 0, 0, 1], 1000).into(), other), Some(SECOND), 5));
}
