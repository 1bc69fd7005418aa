//! IPv6 (RFC 8200, RFC 4443, RFC 6437, RFC 4007) and sockets that speak both families (RFC 3493).

mod common;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use common::{Family, Host, IFACE, Link, Net, mac};
use ringroad_stack::config::{AutoLabels, Config, SocketConfig};
use ringroad_stack::control::{ControlEvent, Request, Route};
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, RecvFlags, Value};
use ringroad_stack::time::Instant;
use ringroad_stack::types::{LocalKey, Protocol, Readiness, SocketId};

fn v6() -> Net {
    Net::ideal().over(Family::V6)
}

fn at(family: Family, n: u8, port: u16) -> SocketAddr {
    SocketAddr::new(family.of(n), port)
}

/// Class, flow label and hop limit of a frame of IPv6.
fn header(frame: &[u8]) -> (u8, u32, u8) {
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    let first = u32::from_be_bytes(frame[14..18].try_into().unwrap());
    ((first >> 20) as u8, first & 0xfffff, frame[21])
}

/// The sum of a packet's transport with its pseudo-header: all ones when it is intact.
fn sum(frame: &[u8]) -> u16 {
    let mut bytes = frame[22..54].to_vec();
    bytes.extend(((frame.len() - 54) as u32).to_be_bytes());
    bytes.extend([0, 0, 0, frame[20]]);
    bytes.extend(&frame[54..]);
    let mut total: u32 =
        bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0))).sum();
    while total > 0xffff {
        total = (total >> 16) + (total & 0xffff);
    }
    total as u16
}

fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = (Family::V6.of(1), Family::V6.of(2)) else { unreachable!() };
    let mut frame = [&mac(2)[..], &mac(1), &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([next, 64]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(payload);
    frame
}

/// A datagram to port 53, its checksum right.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let mut udp = [1000u16.to_be_bytes(), 53u16.to_be_bytes()].concat();
    udp.extend((8 + payload.len() as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(payload);
    let mut frame = packet(17, &udp);
    let sum = !sum(&frame);
    frame[60..62].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn udp(net: &mut Net, h: usize, local: SocketAddr) -> SocketId {
    let stack = &mut net.hosts[h].stack;
    let id = stack.udp_socket(9).unwrap();
    stack.bind(id, local).unwrap();
    id
}

fn send_to(net: &mut Net, h: usize, id: SocketId, to: SocketAddr) -> Result<usize, SocketError> {
    let now = net.now;
    net.hosts[h].stack.send_to(now, id, Some(to), 4, &mut |room| {
        room.fill(7);
        Ok(room.len())
    })
}

fn recv_from(net: &mut Net, h: usize, id: SocketId) -> Result<(usize, SocketAddr), SocketError> {
    let now = net.now;
    let told = net.hosts[h].stack.recv_from(now, id, 100, RecvFlags::default(), &mut |_| Ok(()))?;
    Ok((told.copied, told.remote))
}

/// RFC 8200 §6, RFC 6437 §3: one label a flow, from all of a range, not to be guessed; and none where none is wanted.
#[test]
fn a_flow_has_a_label_of_its_own() {
    let mut net = v6();
    net.hosts[0].capture = true;
    let (client, server, _) = net.connected();
    net.transfer(0, client, server, &common::pattern(20_000, 1), Duration::from_secs(5));
    let first: Vec<u32> = net.hosts[0].sent.drain(..).map(|f| header(&f).1).collect();
    assert!(first.len() > 10 && first.iter().all(|l| *l == first[0]), "{first:x?}");
    assert!(first[0] >= 1 << 19, "stateless labels have the high bit: {:x}", first[0]);
    let _other = net.connecting(0, 81);
    net.run_ms(100);
    assert!(net.hosts[0].sent.iter().any(|f| header(f).1 != first[0]));
    let now = net.now;
    net.a().set_option(now, client, OptName::AutoFlowLabel, Value::Int(0)).unwrap();
    net.hosts[0].sent.clear();
    net.send(0, client, b"x").unwrap();
    net.run_ms(5);
    assert_eq!(header(&net.hosts[0].sent[0]).1, 0);
}

/// Linux: net.ipv6.auto_flowlabels says who has labels, and how far a socket may choose.
#[test]
fn the_host_says_who_has_labels() {
    let labelled = |auto_labels, chosen: Option<i32>| {
        let sockets = SocketConfig { auto_labels, ..SocketConfig::default() };
        let config = Config { sockets, ..Config::default() };
        let mut net = Net::with_config(config, Link::default(), 1).over(Family::V6);
        let (client, _, _) = net.connected();
        let (now, first) = (net.now, net.a().option(client, OptName::AutoFlowLabel).unwrap());
        if let Some(value) = chosen {
            net.a().set_option(now, client, OptName::AutoFlowLabel, Value::Int(value)).unwrap();
        }
        net.hosts[0].capture = true;
        net.send(0, client, b"x").unwrap();
        net.run_ms(5);
        (first, header(&net.hosts[0].sent[0]).1 != 0)
    };
    let [off, on] = [0, 1].map(Value::Int);
    assert_eq!(labelled(AutoLabels::Never, Some(1)), (off, false));
    assert_eq!(labelled(AutoLabels::OnDemand, None), (off, false));
    assert_eq!(labelled(AutoLabels::OnDemand, Some(1)), (off, true));
    assert_eq!(labelled(AutoLabels::Always, Some(0)), (on, true));
}

/// As Linux: each time-out may be the path's fault, so what is sent after it has another label; the same one until the next.
#[test]
fn a_time_out_changes_the_label() {
    let mut net = v6();
    net.hosts[0].capture = true;
    let (client, server, _) = net.connected();
    net.send(0, client, b"before").unwrap();
    net.run_ms(50);
    let label = |frame: &Vec<u8>| header(frame).1;
    let before = net.hosts[0].sent.drain(..).next_back().map(|frame| label(&frame)).unwrap();
    net.link.loss = 1000;
    net.send(0, client, b"lost").unwrap();
    net.run_ms(3000);
    let tries: Vec<u32> = net.hosts[0].sent.drain(..).map(|frame| label(&frame)).collect();
    let timeouts = net.a().stats().tcp_timeouts as usize;
    assert!(timeouts >= 2, "{tries:x?}");
    let of_timeouts = &tries[tries.len() - timeouts..];
    assert!(
        tries[..tries.len() - timeouts].iter().all(|l| *l == before),
        "the tail probe is no time-out: {tries:x?}"
    );
    let mut all = [&[before], of_timeouts].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1 + timeouts, "{tries:x?} after {before:x}");
    net.link.loss = 0;
    net.run_ms(10_000);
    assert_eq!(net.recv(1, server, 100).unwrap(), b"beforelost");
    net.hosts[0].sent.clear();
    net.transfer(0, client, server, &common::pattern(20_000, 1), Duration::from_secs(5));
    let after: Vec<u32> = net.hosts[0].sent.drain(..).map(|frame| label(&frame)).collect();
    assert!(after.iter().all(|l| *l == after[0] && *l != before && *l >= 1 << 19), "{after:x?}");
}

/// Also of a handshake, which is no connection yet; and the connection goes on where it ended.
#[test]
fn a_lost_syn_ack_changes_the_label() {
    let mut net = v6();
    net.hosts[1].capture = true;
    let listener = net.listen(1, 80, 16);
    net.connecting(0, 80);
    assert!(net.run_until(Duration::from_secs(1), |net| !net.hosts[1].sent.is_empty()));
    net.link.loss = 1000;
    let timed_out = |net: &mut Net| net.b().stats().tcp_timeouts >= 3;
    assert!(net.run_until(Duration::from_secs(60), timed_out));
    let mut labels: Vec<u32> = net.hosts[1].sent.drain(..).map(|frame| header(&frame).1).collect();
    let last = *labels.last().unwrap();
    labels.dedup();
    let others: HashSet<&u32> = labels.iter().collect();
    assert_eq!((labels.len(), others.len()), (4, 4), "one for each time-out: {labels:x?}");
    net.link.loss = 0;
    let mut server = None;
    assert!(net.run_until(Duration::from_secs(60), |net| {
        let now = net.now;
        server = server.or_else(|| net.b().accept(now, listener).ok().map(|a| a.id));
        server.is_some()
    }));
    let of_handshake = net.hosts[1].sent.drain(..).map(|frame| header(&frame).1).next_back().unwrap_or(last);
    net.send(1, server.unwrap(), b"welcome").unwrap();
    net.run_ms(5);
    assert_eq!(header(&net.hosts[1].sent[0]).1, of_handshake);
}

#[test]
fn class_and_hop_limit_are_the_socket_s() {
    let mut net = v6();
    let (client, _, _) = net.connected();
    let now = net.now;
    net.a().set_option(now, client, OptName::TrafficClass, Value::Int(0xbb)).unwrap();
    net.a().set_option(now, client, OptName::Hops, Value::Int(3)).unwrap();
    // Those of IPv4 mean nothing here.
    net.a().set_option(now, client, OptName::Tos, Value::Int(0x10)).unwrap();
    net.a().set_option(now, client, OptName::Ttl, Value::Int(9)).unwrap();
    net.hosts[0].capture = true;
    net.send(0, client, b"x").unwrap();
    net.run_ms(1);
    let (class, _, hops) = header(&net.hosts[0].sent[0]);
    assert_eq!((class, hops), (0xb8, 3));
}

/// RFC 3493 §5.3.
#[test]
fn a_listener_of_both_families() {
    let mut net = Net::ideal();
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
    let stack = net.b();
    let listener = stack.tcp_socket(1).unwrap();
    stack.bind(listener, any).unwrap();
    stack.listen(listener, 16).unwrap();
    net.pump();
    let steered = |address: IpAddr| LocalKey { protocol: Protocol::Tcp, address, port: 80 };
    let keys = [any.ip(), Family::V4.unspecified()].map(|a| Request::SteerPort(steered(a)));
    assert!(keys.iter().all(|k| net.hosts[1].requests.contains(k)), "{:?}", net.hosts[1].requests);
    for family in Family::BOTH {
        net = net.over(family);
        let client = net.connecting(0, 80);
        net.run_ms(5);
        assert!(net.a().readiness(client).contains(Readiness::OUT));
        let now = net.now;
        let accepted = net.b().accept(now, listener).unwrap();
        assert_eq!((accepted.local, accepted.remote.ip()), (at(family, 2, 80), family.of(1)));
    }
    net.close(1, listener);
    net.pump();
    let keys = [any.ip(), Family::V4.unspecified()].map(|a| Request::UnsteerPort(steered(a)));
    assert!(keys.iter().all(|k| net.hosts[1].requests.contains(k)), "{:?}", net.hosts[1].requests);
}

#[test]
fn a_listener_that_wants_only_ipv6_and_one_for_ipv4_beside_it() {
    let mut net = Net::ideal();
    let now = net.now;
    let stack = net.b();
    let six = stack.tcp_socket(1).unwrap();
    stack.set_option(now, six, OptName::V6Only, Value::Int(1)).unwrap();
    stack.bind(six, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80))).unwrap();
    assert_eq!(stack.set_option(now, six, OptName::V6Only, Value::Int(0)), Err(SocketError::Invalid));
    stack.listen(six, 16).unwrap();
    let refused = net.connecting(0, 80);
    net.run_ms(5);
    assert_eq!(net.a().take_error(refused), Some(SocketError::ConnectionRefused));
    // One for IPv4 goes before one for both.
    let four = net.b().tcp_socket(2).unwrap();
    net.b().bind(four, SocketAddr::from(([0, 0, 0, 0], 80))).unwrap();
    net.b().listen(four, 16).unwrap();
    for (family, listener) in [(Family::V4, four), (Family::V6, six)] {
        net = net.over(family);
        net.connecting(0, 80);
        net.run_ms(5);
        let now = net.now;
        assert!(net.b().accept(now, listener).is_ok(), "{family:?}");
    }
}

#[test]
fn a_socket_of_one_family_cannot_reach_the_other() {
    let mut net = v6();
    let now = net.now;
    let stack = net.a();
    let six = stack.tcp_socket(1).unwrap();
    stack.set_option(now, six, OptName::V6Only, Value::Int(1)).unwrap();
    stack.bind(six, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1000))).unwrap();
    let to_v4 = at(Family::V4, 2, 80);
    assert_eq!(stack.connect(now, six, to_v4), Err(SocketError::NetworkUnreachable));
    let mapped = stack.tcp_socket(1).unwrap();
    // IPv4-mapped names are IPv4's.
    let SocketAddr::V4(own) = at(Family::V4, 1, 1001) else { unreachable!() };
    stack.bind(mapped, SocketAddr::from((own.ip().to_ipv6_mapped(), 1001))).unwrap();
    assert_eq!(stack.local(mapped), Ok(Some(own.into())));
    let to_v6 = at(Family::V6, 2, 80);
    assert_eq!(stack.connect(now, mapped, to_v6), Err(SocketError::FamilyNotSupported));
}

/// RFC 4007 §6: the same address on two links is two hosts.
#[test]
fn link_local_ends_carry_their_link() {
    let mut net = v6();
    let link = |n: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n);
    for (host, n) in net.hosts.iter_mut().zip(1u8..) {
        let now = Instant::ZERO;
        let address = link(n.into()).into();
        let deprecated = false;
        host.stack.control(now, ControlEvent::Address { iface: IFACE, address, prefix: 64, deprecated });
        let other = link((3 - n).into()).into();
        host.stack.control(now, ControlEvent::Neighbour { iface: IFACE, address: other, mac: mac(3 - n) });
        let route = |network: IpAddr| Route {
            network,
            prefix: 64,
            gateway: None,
            iface: IFACE,
            source: None,
            mtu: None,
        };
        host.stack.control(now, ControlEvent::Routes(vec![route(link(0).into()), route(Family::V6.of(0))]));
    }
    let listener = net.b().tcp_socket(1).unwrap();
    net.b().bind(listener, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80))).unwrap();
    net.b().listen(listener, 4).unwrap();
    let client = net.a().tcp_socket(2).unwrap();
    net.a().bind(client, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1000))).unwrap();
    let end = |n, port, scope| SocketAddr::V6(SocketAddrV6::new(link(n), port, 0, scope));
    let now = net.now;
    assert_eq!(net.a().connect(now, client, end(2, 80, 0)), Err(SocketError::NetworkUnreachable));
    assert_eq!(net.a().connect(now, client, end(2, 80, 7)), Err(SocketError::NetworkUnreachable));
    assert_eq!(net.a().connect(now, client, end(2, 80, IFACE.0)), Err(SocketError::InProgress));
    net.run_ms(5);
    assert_eq!(net.a().local(client), Ok(Some(end(1, 1000, IFACE.0))));
    let now = net.now;
    let accepted = net.b().accept(now, listener).unwrap();
    assert_eq!((accepted.local, accepted.remote), (end(2, 80, IFACE.0), end(1, 1000, IFACE.0)));
    net.transfer(0, client, accepted.id, &common::pattern(5000, 1), Duration::from_secs(5));
    net.close(1, accepted.id);
    net.close(0, client);
    net.close(1, listener);
    net.run_for(Duration::from_secs(200));
    net.assert_whole();
}

#[test]
fn a_neighbour_of_ipv6_is_asked_for() {
    let mut host = Host::new(1, Config::default());
    let now = Instant::from_millis(1);
    let id = host.stack.tcp_socket(1).unwrap();
    host.stack.bind(id, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1000))).unwrap();
    assert_eq!(host.stack.connect(now, id, at(Family::V6, 2, 80)), Err(SocketError::InProgress));
    assert!(host.drain().is_empty());
    let address = Family::V6.of(2);
    assert!(host.requests.contains(&Request::Neighbour { iface: IFACE, address }), "{:?}", host.requests);
    host.stack.control(now, ControlEvent::Neighbour { iface: IFACE, address, mac: mac(2) });
    let frames = host.drain();
    assert_eq!((frames.len(), &frames[0][..6], sum(&frames[0])), (1, &mac(2)[..], 0xffff));
}

/// RFC 4443 §3.1, §2.2, §2.3, §2.4 (e): told to whoever sent it, not to groups, not without end.
#[test]
fn port_unreachable_is_told_and_heard() {
    let mut net = v6();
    let asker = udp(&mut net, 0, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 1000)));
    let now = net.now;
    net.a().connect(now, asker, at(Family::V6, 2, 53)).unwrap();
    net.hosts[1].capture = true;
    send_to(&mut net, 0, asker, at(Family::V6, 2, 53)).unwrap();
    net.run_ms(5);
    let answer = &net.hosts[1].sent[0];
    assert_eq!((answer[20], &answer[54..56], sum(answer)), (58, &[1, 4][..], 0xffff));
    let IpAddr::V6(own) = Family::V6.of(2) else { unreachable!() };
    assert_eq!(answer[22..38], own.octets());
    assert_eq!(net.a().take_error(asker), Some(SocketError::ConnectionRefused));
    net.hosts[1].sent.clear();
    let now = net.now;
    for _ in 0..2000 {
        net.hosts[1].receive(now, &datagram(b"anybody?"));
        net.pump();
    }
    assert!(net.hosts[1].sent.len() <= 1000, "{}", net.hosts[1].sent.len());
    assert!(net.b().stats().answers_limited >= 1000);
    let mut group = datagram(b"everybody?");
    group[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    net.run_ms(2000);
    net.hosts[1].sent.clear();
    let now = net.now;
    net.hosts[1].receive(now, &group);
    net.pump();
    assert!(net.hosts[1].sent.is_empty());
}

/// RFC 8200 §4.2, RFC 4443 §3.4.
#[test]
fn an_option_that_must_be_known_is_answered() {
    let mut net = v6();
    let hearer = udp(&mut net, 1, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 53)));
    net.hosts[1].capture = true;
    let now = net.now;
    let good = datagram(b"hello");
    let with = |option: u8| {
        let mut frame = packet(60, &[&[17, 0, option, 4, 0, 0, 0, 0][..], &good[54..]].concat());
        frame.truncate(1514);
        frame
    };
    // Skipped, dropped in silence, answered.
    for option in [0x1e, 0x5e, 0x9e] {
        net.hosts[1].receive(now, &with(option));
        net.pump();
    }
    assert_eq!(recv_from(&mut net, 1, hearer).unwrap(), (5, at(Family::V6, 1, 1000)));
    assert_eq!(recv_from(&mut net, 1, hearer), Err(SocketError::WouldBlock));
    assert_eq!(net.b().stats().drop_unrecognised, 2);
    assert_eq!(net.hosts[1].sent.len(), 1);
    let answer = &net.hosts[1].sent[0];
    assert_eq!((&answer[54..56], &answer[58..62], sum(answer)), (&[4, 2][..], &[0, 0, 0, 42][..], 0xffff));
    assert_eq!(answer[62..], with(0x9e)[14..]);
}

/// RFC 8200 §8.1: a checksum is not optional; RFC 6946: a fragment may be the whole.
#[test]
fn checksums_are_wanted_and_lone_fragments_are_whole() {
    let mut net = v6();
    let hearer = udp(&mut net, 1, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 53)));
    let now = net.now;
    let mut unsummed = datagram(b"hello");
    unsummed[60..62].fill(0);
    net.hosts[1].receive(now, &unsummed);
    assert_eq!(recv_from(&mut net, 1, hearer), Err(SocketError::WouldBlock));
    assert_eq!(net.b().stats().drop_l4_checksum, 1);
    let good = datagram(b"hello");
    let fragment = |word: u16| {
        let [a, b] = word.to_be_bytes();
        packet(44, &[&[17, 0, a, b, 0, 0, 0, 9][..], &good[54..]].concat())
    };
    net.hosts[1].receive(now, &fragment(0));
    assert_eq!(recv_from(&mut net, 1, hearer).unwrap().0, 5);
    net.hosts[1].receive(now, &fragment(1));
    assert_eq!(recv_from(&mut net, 1, hearer), Err(SocketError::WouldBlock));
}

#[test]
fn datagrams_of_both_families_meet_on_one_socket() {
    let mut net = Net::ideal();
    let both = udp(&mut net, 1, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 53)));
    for family in Family::BOTH {
        let asker = udp(&mut net, 0, at(family, 1, 1000));
        send_to(&mut net, 0, asker, at(family, 2, 53)).unwrap();
        net.run_ms(2);
        let (_, from) = recv_from(&mut net, 1, both).unwrap();
        assert_eq!(from, at(family, 1, 1000));
        send_to(&mut net, 1, both, from).unwrap();
        net.run_ms(2);
        assert_eq!(recv_from(&mut net, 0, asker).unwrap(), (4, at(family, 2, 53)));
    }
}

/// RFC 4861 §6.3.4: the hop limit and the MTU of a link are what its routers say, for whoever has not chosen; a hop limit
/// that a socket has chosen stays (RFC 3542 §6.3, RFC 3493 §5.1).
#[test]
fn a_link_s_hop_limit_and_mtu_count_where_nobody_chose() {
    let mut net = v6();
    let now = net.now;
    let six = ControlEvent::IfaceSix { iface: IFACE, mtu: 1400, hop_limit: 33 };
    net.a().control(now, six);
    let socket = net.a().udp_socket(0).unwrap();
    net.a().bind(socket, at(Family::V6, 1, 1000)).unwrap();
    let to = Some(at(Family::V6, 2, 53));
    let sent = |net: &mut Net| {
        net.a()
            .send_to(now, socket, to, 4, &mut |room| {
                room[..4].fill(7);
                Ok(4)
            })
            .unwrap();
        header(&net.hosts[0].drain()[0]).2
    };
    assert_eq!(sent(&mut net), 33);
    assert_eq!(net.a().option(socket, OptName::Hops), Ok(Value::Int(64)));
    net.a().set_option(now, socket, OptName::Hops, Value::Int(9)).unwrap();
    assert_eq!(sent(&mut net), 9);
    // Linux: zero is a hop limit as any.
    net.a().set_option(now, socket, OptName::Hops, Value::Int(0)).unwrap();
    assert_eq!((sent(&mut net), net.a().option(socket, OptName::Hops)), (0, Ok(Value::Int(0))));
    net.a().set_option(now, socket, OptName::Hops, Value::Int(-1)).unwrap();
    assert_eq!(sent(&mut net), 33);
    net.a().connect(now, socket, at(Family::V6, 2, 53)).unwrap();
    assert_eq!(net.a().option(socket, OptName::MtuV6), Ok(Value::Int(1400)));
}
