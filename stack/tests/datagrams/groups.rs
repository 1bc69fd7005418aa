//! Groups and broadcasts: who hears what (RFC 1112 §7, RFC 3376 §3, RFC 1122 §3.3.6).

use std::net::{IpAddr, SocketAddr};

use ringroad_stack::control::Request;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Outbound, Value};
use ringroad_stack::types::{LocalKey, Protocol, SocketId};
use ringroad_stack::udp::Change;

use crate::common::{IFACE, Net};
use crate::{address, recv_from, send_msg, set, udp};

const GROUP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(239, 1, 129, 3));

fn member(net: &mut Net, port: u16) -> SocketId {
    let now = net.now;
    let stack = net.b();
    let id = stack.udp_socket(9).unwrap();
    stack.set_option(now, id, OptName::ReuseAddr, Value::Int(1)).unwrap();
    stack.bind(id, SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    id
}

fn change(net: &mut Net, id: SocketId, change: Change) {
    net.b().change_group(id, GROUP, IFACE, change).unwrap();
}

fn say(net: &mut Net, from: SocketId, port: u16, data: &[u8]) {
    let remote = Some(SocketAddr::new(GROUP, port));
    let out = Outbound { remote, iface: Some(IFACE), ..Outbound::default() };
    send_msg(net, 0, from, &out, data).unwrap();
    net.run_ms(1);
}

fn heard(net: &mut Net, id: SocketId) -> usize {
    (0..100).take_while(|_| recv_from(net, 1, id, 2000).is_ok()).count()
}

#[test]
fn a_copy_for_every_member_and_none_for_others() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let members: Vec<SocketId> = (0..3).map(|_| member(&mut net, 53)).collect();
    let other_port = member(&mut net, 54);
    let loner = member(&mut net, 53);
    set(&mut net, 1, loner, OptName::MulticastAll, 0);
    say(&mut net, a, 53, b"too soon");
    assert_eq!(heard(&mut net, loner), 0);
    members.iter().for_each(|id| {
        heard(&mut net, *id);
    });
    for id in members.iter().chain([&other_port]) {
        change(&mut net, *id, Change::Join);
    }
    net.hosts[0].capture = true;
    say(&mut net, a, 53, &[7; 1000]);
    let frame = &net.hosts[0].sent[0];
    // RFC 1112 §6.4 and §6.1: the link address of the group, one hop.
    assert_eq!((&frame[..6], frame[22]), (&[1, 0, 0x5e, 1, 129, 3][..], 1));
    let got: Vec<usize> = members.iter().map(|id| heard(&mut net, *id)).collect();
    assert_eq!((got, heard(&mut net, other_port), heard(&mut net, loner)), (vec![1, 1, 1], 0, 0));
    say(&mut net, a, 53, b"x");
    let (bytes, told) = recv_from(&mut net, 1, members[0], 10).unwrap();
    assert_eq!((bytes.as_slice(), told.local), (&b"x"[..], SocketAddr::new(GROUP, 53)));
    assert_eq!((told.answer_from, told.ttl, told.iface), (Some(address(1, 0).ip()), 1, Some(IFACE)));
    for id in members.into_iter().chain([other_port, loner]) {
        net.close(1, id);
    }
    net.run_ms(1);
    net.assert_whole();
}

#[test]
fn what_is_joined_is_steered_once() {
    let mut net = Net::ideal();
    let early = net.b().udp_socket(9).unwrap();
    let now = net.now;
    net.b().set_option(now, early, OptName::ReuseAddr, Value::Int(1)).unwrap();
    change(&mut net, early, Change::Join);
    net.b().bind(early, SocketAddr::new(GROUP, 53)).unwrap();
    let late = member(&mut net, 53);
    change(&mut net, late, Change::JoinSource(address(0, 0).ip()));
    change(&mut net, late, Change::LeaveSource(address(0, 0).ip()));
    net.close(1, early);
    net.close(1, late);
    net.pump();
    let at = |address| LocalKey { protocol: Protocol::Udp, address, port: 53 };
    let any = IpAddr::from([0, 0, 0, 0]);
    let steer = [
        Request::SteerPort(at(GROUP)),
        Request::SteerPort(at(any)),
        Request::UnsteerPort(at(GROUP)),
        Request::UnsteerPort(at(any)),
    ];
    assert_eq!(net.hosts[1].requests, steer);
}

#[test]
fn sources_are_let_in_or_kept_out() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), member(&mut net, 53));
    let (peer, stranger) = (address(0, 0).ip(), IpAddr::from([10, 0, 0, 99]));
    change(&mut net, b, Change::JoinSource(stranger));
    say(&mut net, a, 53, b"x");
    assert_eq!((heard(&mut net, b), net.b().stats().drop_no_socket), (0, 1));
    change(&mut net, b, Change::JoinSource(peer));
    say(&mut net, a, 53, b"x");
    assert_eq!(heard(&mut net, b), 1);
    change(&mut net, b, Change::Filter(false, vec![peer]));
    say(&mut net, a, 53, b"x");
    assert_eq!(heard(&mut net, b), 0);
    change(&mut net, b, Change::Unblock(peer));
    say(&mut net, a, 53, b"x");
    assert_eq!(heard(&mut net, b), 1);
}

#[test]
fn a_group_without_a_way_needs_a_route() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let to = Outbound::to(Some(SocketAddr::new(GROUP, 53)));
    assert_eq!(send_msg(&mut net, 0, a, &to, b"x"), Err(SocketError::NetworkUnreachable));
    net.a().set_group_iface(a, Some(IFACE)).unwrap();
    set(&mut net, 0, a, OptName::MulticastTtl, 5);
    assert_eq!(send_msg(&mut net, 0, a, &to, b"x"), Ok(1));
    let b = member(&mut net, 53);
    change(&mut net, b, Change::Join);
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, b, 10).unwrap().1.ttl, 5);
}

/// RFC 1112 §6.1, RFC 3493 §5.2: what may go no hop stays on this host; a hop more, and it is heard.
#[test]
fn what_may_go_no_hop_does_not_leave() {
    let six: IpAddr = "ff15::1".parse().unwrap();
    for (group, any, limit) in [
        (GROUP, IpAddr::from([0_u8; 4]), OptName::MulticastTtl),
        (six, IpAddr::from([0_u16; 8]), OptName::MulticastHops),
    ] {
        let mut net = Net::ideal();
        let now = net.now;
        let a = net.a().udp_socket(9).unwrap();
        net.a().bind(a, SocketAddr::new(any, 1000)).unwrap();
        net.a().set_group_iface(a, Some(IFACE)).unwrap();
        net.hosts[0].capture = true;
        let to = Outbound::to(Some(SocketAddr::new(group, 53)));
        for (hops, frames) in [(0, 0), (1, 1)] {
            net.a().set_option(now, a, limit, Value::Int(hops)).unwrap();
            assert_eq!(send_msg(&mut net, 0, a, &to, b"x"), Ok(1));
            net.run_ms(1);
            assert_eq!(net.hosts[0].sent.len(), frames, "{group}, {hops} hops");
        }
        net.assert_whole();
    }
    // Linux: no message has an IP_TTL of zero.
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let none = Outbound { ttl: Some(0), ..Outbound::to(Some(address(1, 53))) };
    assert_eq!(send_msg(&mut net, 0, a, &none, b"x"), Err(SocketError::Invalid));
}

#[test]
fn copies_are_bounded() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let members: Vec<SocketId> = (0..100).map(|_| member(&mut net, 53)).collect();
    for id in &members {
        change(&mut net, *id, Change::Join);
    }
    say(&mut net, a, 53, b"x");
    let got: usize = members.iter().map(|id| heard(&mut net, *id)).sum();
    assert_eq!(got, 64);
}

#[test]
fn a_broadcast_is_for_all_at_its_port_but_those_with_another_peer() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    set(&mut net, 0, a, OptName::Broadcast, 1);
    let (one, two, narrow) = (member(&mut net, 53), member(&mut net, 53), member(&mut net, 53));
    let now = net.now;
    net.b().connect(now, narrow, address(0, 77)).unwrap();
    let all = Outbound::to(Some(SocketAddr::from(([10, 0, 0, 255], 53))));
    send_msg(&mut net, 0, a, &all, b"x").unwrap();
    net.run_ms(1);
    assert_eq!([one, two, narrow].map(|id| heard(&mut net, id)), [1, 1, 0]);
}

#[test]
fn who_is_bound_to_a_group_sends_from_an_address_of_the_host() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), net.b().udp_socket(0).unwrap());
    net.b().bind(b, SocketAddr::new(GROUP, 53)).unwrap();
    send_msg(&mut net, 1, b, &Outbound::to(Some(address(0, 1000))), b"x").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 0, a, 9).unwrap().1.remote, address(1, 53));
}
