//! UDP, ICMP and the gate, between two stacks.

mod common;

use std::net::{IpAddr, SocketAddr};

use common::{Host, Net};
use ringroad_stack::config::Config;
use ringroad_stack::control::{ControlEvent, Request};
use ringroad_stack::error::SocketError;
use ringroad_stack::policy::{
    Action, Mode, Policy, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec, TableSpec,
};
use ringroad_stack::socket::{Datagram, OptName, RecvFlags, Result, Value};
use ringroad_stack::time::Instant;
use ringroad_stack::types::{LocalKey, Protocol, Readiness, SocketId};

fn address(host: usize, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + host as u8], port))
}

fn udp(net: &mut Net, h: usize, port: u16) -> SocketId {
    let id = net.hosts[h].stack.udp_socket(9).unwrap();
    net.hosts[h].stack.bind(id, SocketAddr::from(([0, 0, 0, 0], port))).unwrap();
    id
}

fn send_to(net: &mut Net, h: usize, id: SocketId, to: Option<SocketAddr>, data: &[u8]) -> Result<usize> {
    let now = net.now;
    net.hosts[h].stack.send_to(now, id, to, data.len(), &mut |room| {
        room.copy_from_slice(data);
        Ok(room.len())
    })
}

fn recv_from(net: &mut Net, h: usize, id: SocketId, want: usize) -> Result<(Vec<u8>, Datagram)> {
    let (now, mut got) = (net.now, Vec::new());
    let flags = RecvFlags::default();
    let told = net.hosts[h].stack.recv_from(now, id, want, flags, &mut |bytes| {
        got.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok((got, told))
}

fn rule(name: &str, direction: RuleDirection, port: PortRange, action: Action) -> RuleSpec {
    RuleSpec {
        name: name.into(),
        direction,
        protocol: RuleProtocol::Any,
        local_ports: vec![port],
        remotes: vec![Prefix::new(IpAddr::from([10, 0, 0, 0]), 24).unwrap()],
        remote_ports: vec![PortRange::ANY],
        action,
    }
}

fn guard(net: &mut Net, h: usize, mode: Mode, rules: Vec<RuleSpec>) {
    let local = IpAddr::V4(net.hosts[h].address);
    let spec = PolicySpec { default: Action::Allow, tables: vec![TableSpec { local, mode, rules }] };
    net.hosts[h].stack.set_policy(Policy::compile(&spec).unwrap());
}

#[test]
fn datagrams_keep_their_borders_and_their_senders() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    assert_eq!(send_to(&mut net, 0, a, Some(address(1, 53)), b"one"), Ok(3));
    assert_eq!(send_to(&mut net, 0, a, Some(address(1, 53)), b""), Ok(0));
    assert_eq!(send_to(&mut net, 0, a, Some(address(1, 53)), b"three"), Ok(5));
    net.run_ms(1);
    assert_eq!(net.b().recv_queue(b), Ok(3));
    let (got, told) = recv_from(&mut net, 1, b, 100).unwrap();
    assert_eq!((got.as_slice(), told.remote, told.local), (&b"one"[..], address(0, 1000), address(1, 53)));
    assert_eq!(recv_from(&mut net, 1, b, 100).unwrap().0, b"");
    let (got, told) = recv_from(&mut net, 1, b, 2).unwrap();
    assert_eq!((got.as_slice(), told.copied, told.len), (&b"th"[..], 2, 5));
    assert_eq!(recv_from(&mut net, 1, b, 2).unwrap_err(), SocketError::WouldBlock);
    assert_eq!(send_to(&mut net, 1, b, Some(told.remote), b"back"), Ok(4));
    net.run_ms(1);
    assert!(net.a().readiness(a).contains(Readiness::IN));
    assert_eq!(recv_from(&mut net, 0, a, 100).unwrap().0, b"back");
    net.close(0, a);
    net.close(1, b);
    net.pump();
    let key = LocalKey { protocol: Protocol::Udp, address: [0, 0, 0, 0].into(), port: 53 };
    assert_eq!(net.hosts[1].requests, [Request::SteerPort(key), Request::UnsteerPort(key)]);
    net.assert_whole();
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    let mut net = Net::ideal();
    let (a, other, b) = (udp(&mut net, 0, 1000), udp(&mut net, 0, 1001), udp(&mut net, 1, 53));
    let now = net.now;
    net.b().connect(now, b, address(0, 1000)).unwrap();
    assert_eq!(net.b().local(b), Ok(Some(address(1, 53))));
    send_to(&mut net, 0, other, Some(address(1, 53)), b"stranger").unwrap();
    send_to(&mut net, 0, a, Some(address(1, 53)), b"friend").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, b, 100).unwrap().0, b"friend");
    assert_eq!(recv_from(&mut net, 1, b, 100).unwrap_err(), SocketError::WouldBlock);
    assert_eq!(net.b().stats().drop_no_socket, 1);
    assert_eq!(send_to(&mut net, 1, b, None, b"hi"), Ok(2));
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 0, a, 100).unwrap().0, b"hi");
    net.b().connect(now, b, SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
    assert_eq!(send_to(&mut net, 1, b, None, b"hi"), Err(SocketError::DestinationRequired));
    send_to(&mut net, 0, other, Some(address(1, 53)), b"stranger").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, b, 100).unwrap().0, b"stranger");
}

#[test]
fn port_unreachable_refuses_a_connected_socket() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let now = net.now;
    net.a().connect(now, a, address(1, 99)).unwrap();
    send_to(&mut net, 0, a, None, b"anybody?").unwrap();
    net.run_ms(1);
    assert!(net.a().readiness(a).contains(Readiness::ERR));
    assert_eq!(recv_from(&mut net, 0, a, 10).unwrap_err(), SocketError::ConnectionRefused);
    assert_eq!(recv_from(&mut net, 0, a, 10).unwrap_err(), SocketError::WouldBlock);
    assert_eq!((net.a().stats().icmp_errors_in, net.b().stats().icmp_errors_out), (1, 1));
    // An error for nobody is counted and believed by none.
    let b = udp(&mut net, 0, 1001);
    send_to(&mut net, 0, b, Some(address(1, 99)), b"anybody?").unwrap();
    net.run_ms(1);
    assert_eq!(net.a().stats().icmp_errors_stray, 1);
    net.assert_whole();
}

#[test]
fn what_does_not_fit_is_told() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let to = Some(address(1, 53));
    assert_eq!(send_to(&mut net, 0, a, to, &[0; 1472]), Ok(1472));
    assert_eq!(send_to(&mut net, 0, a, to, &[0; 1473]), Err(SocketError::MessageSize));
    let broadcast = Some(SocketAddr::from(([10, 0, 0, 255], 53)));
    assert_eq!(send_to(&mut net, 0, a, broadcast, b"all"), Err(SocketError::Access));
    let now = net.now;
    net.a().set_option(now, a, OptName::Broadcast, Value::Int(1)).unwrap();
    assert_eq!(send_to(&mut net, 0, a, broadcast, b"all"), Ok(3));
    let b = udp(&mut net, 1, 53);
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, b, 2000).unwrap().0.len(), 1472);
    assert_eq!(recv_from(&mut net, 1, b, 2000).unwrap().1.local, SocketAddr::from(([10, 0, 0, 255], 53)));
}

#[test]
fn the_receive_buffer_is_bounded() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    let now = net.now;
    net.b().set_option(now, b, OptName::RecvBuffer, Value::Int(5000)).unwrap();
    assert_eq!(net.b().option(b, OptName::RecvBuffer), Ok(Value::Int(10_000)));
    for _ in 0..50 {
        send_to(&mut net, 0, a, Some(address(1, 53)), &[7; 100]).unwrap();
    }
    net.run_ms(1);
    let got = (0..50).filter(|_| recv_from(&mut net, 1, b, 100).is_ok()).count();
    // Each costs 100 + 576 bytes of 10,000; the last may go over.
    assert_eq!((got, net.b().stats().drop_buffer_full), (15, 35));
    net.assert_whole();
}

#[test]
fn options_read_back_as_linux_has_them() {
    let mut host = Host::new(1, Config::default());
    let stack = &mut host.stack;
    let (tcp, udp) = (stack.tcp_socket(0).unwrap(), stack.udp_socket(0).unwrap());
    let now = Instant::ZERO;
    for &name in OptName::ALL {
        let (level, number) = name.raw();
        assert_eq!(OptName::from_raw(level, number), Some(name));
        assert!(stack.option(tcp, name).is_ok() || name == OptName::Mtu, "{name:?}");
        assert_eq!(stack.option(udp, name).is_ok(), level != 6 && name != OptName::Mtu, "{name:?}");
    }
    let round = |stack: &mut ringroad_stack::Stack, name, value| {
        stack.set_option(now, tcp, name, Value::Int(value)).and_then(|()| stack.option(tcp, name)?.int())
    };
    assert_eq!(round(stack, OptName::NoDelay, 5), Ok(1));
    assert_eq!(round(stack, OptName::KeepIdle, 30), Ok(30));
    assert_eq!(round(stack, OptName::KeepIdle, 0), Err(SocketError::Invalid));
    assert_eq!(round(stack, OptName::KeepIdle, 32_768), Err(SocketError::Invalid));
    assert_eq!(round(stack, OptName::MaxSeg, 1000), Ok(1000));
    assert_eq!(round(stack, OptName::MaxSeg, 40), Err(SocketError::Invalid));
    assert_eq!(round(stack, OptName::UserTimeout, 5000), Ok(5000));
    assert_eq!(round(stack, OptName::Ttl, 9), Ok(9));
    assert_eq!(round(stack, OptName::Ttl, 256), Err(SocketError::Invalid));
    assert_eq!(round(stack, OptName::Type, 1), Err(SocketError::NoProtocolOption));
    let name = |text: &[u8]| Value::Name(std::array::from_fn(|i| text.get(i).copied().unwrap_or(0)));
    assert_eq!(stack.set_option(now, tcp, OptName::Congestion, name(b"cubic")), Ok(()));
    assert_eq!(stack.set_option(now, tcp, OptName::Congestion, name(b"vegas")), Err(SocketError::NoEntry));
    assert_eq!(stack.option(tcp, OptName::Congestion), Ok(name(b"cubic")));
    assert_eq!(stack.set_option(now, tcp, OptName::Congestion, name(b"reno")), Ok(()));
    assert_eq!(stack.option(tcp, OptName::Congestion), Ok(name(b"reno")));
    let linger = Value::Linger(Some(3));
    assert_eq!(stack.set_option(now, tcp, OptName::Linger, linger), Ok(()));
    assert_eq!(stack.option(tcp, OptName::Linger), Ok(linger));
    assert_eq!(
        stack.set_option(now, udp, OptName::NoDelay, Value::Int(1)),
        Err(SocketError::NoProtocolOption)
    );
}

#[test]
fn the_gate_lets_answers_in_and_strangers_out() {
    let mut net = Net::ideal();
    guard(&mut net, 0, Mode::Enforce, vec![rule("ask", RuleDirection::Out, PortRange::ANY, Action::Allow)]);
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    // Nobody asked: silence.
    send_to(&mut net, 1, b, Some(address(0, 1000)), b"unasked").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 0, a, 100).unwrap_err(), SocketError::WouldBlock);
    assert_eq!(net.a().stats().drop_denied_in, 1);
    // The same tuple, once we have begun.
    send_to(&mut net, 0, a, Some(address(1, 53)), b"question").unwrap();
    net.run_ms(1);
    send_to(&mut net, 1, b, Some(address(0, 1000)), b"answer").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 0, a, 100).unwrap().0, b"answer");
    let told = net.a().policy();
    assert_eq!(told.tables[0].rules[0].count.packets, 2);
    assert_eq!(told.tables[0].denied.packets, 1);
}

#[test]
fn an_outbound_flow_that_no_rule_permits() {
    let mut net = Net::ideal();
    guard(&mut net, 0, Mode::Enforce, vec![]);
    let a = udp(&mut net, 0, 1000);
    assert_eq!(send_to(&mut net, 0, a, Some(address(1, 53)), b"x"), Err(SocketError::NotPermitted));
    let now = net.now;
    let tcp = net.a().tcp_socket(0).unwrap();
    net.a().bind(tcp, SocketAddr::from(([0, 0, 0, 0], 2000))).unwrap();
    assert_eq!(net.a().connect(now, tcp, address(1, 80)), Err(SocketError::NotPermitted));
    net.run_ms(1000);
    assert_eq!(net.b().stats().rx_frames, 0);
    net.assert_whole();
}

#[test]
fn denied_inbound_is_silence_and_monitored_is_served() {
    for (mode, served) in [(Mode::Enforce, false), (Mode::Monitor, true)] {
        let mut net = Net::ideal();
        guard(&mut net, 1, mode, vec![rule("no", RuleDirection::In, PortRange::one(80), Action::Deny)]);
        net.listen(1, 80, 5);
        let client = net.connecting(0, 80);
        // Nobody listens there, and the gate does not even say that.
        net.connecting(0, 81);
        net.run_ms(100);
        assert_eq!(net.a().readiness(client).contains(Readiness::OUT), served);
        assert_eq!(net.a().stats().rx_frames > 0, served);
        let told = net.b().policy();
        assert!(told.tables[0].denied.packets >= 2);
        assert!(told.tables[0].rules[0].count.packets >= 1);
    }
}

#[test]
fn a_new_policy_judges_old_flows_anew() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    send_to(&mut net, 0, a, Some(address(1, 53)), b"1").unwrap();
    net.run_ms(1);
    guard(&mut net, 1, Mode::Enforce, vec![]);
    send_to(&mut net, 0, a, Some(address(1, 53)), b"2").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, b, 10).unwrap().0, b"1");
    assert_eq!(recv_from(&mut net, 1, b, 10).unwrap_err(), SocketError::WouldBlock);
    assert_eq!(net.b().stats().drop_denied_in, 1);
}

#[test]
fn the_first_datagram_waits_for_the_neighbour() {
    let mut net = Net::ideal();
    net.hosts[0] = Host::new(1, Config::default());
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    let iface = common::IFACE;
    let address_b = IpAddr::from([10, 0, 0, 2]);
    for n in 0..3u8 {
        send_to(&mut net, 0, a, Some(address(1, 53)), &[n]).unwrap();
    }
    net.run_ms(500);
    assert_eq!(net.b().stats().rx_frames, 0);
    let asked: Vec<_> =
        net.hosts[0].requests.iter().filter(|r| matches!(r, Request::Neighbour { .. })).collect();
    assert_eq!(asked.len(), 1);
    net.hosts[0].knows(2);
    net.run_ms(1);
    for n in 0..3u8 {
        assert_eq!(recv_from(&mut net, 1, b, 10).unwrap().0, [n]);
    }
    // Gone for good: those who send hear of it, and a second later it is asked for again.
    let gone = ControlEvent::NeighbourGone { iface, address: address_b, failed: true };
    let now = net.now;
    net.a().connect(now, a, address(1, 53)).unwrap();
    net.a().control(now, gone.clone());
    assert_eq!(send_to(&mut net, 0, a, None, b"x"), Err(SocketError::HostUnreachable));
    net.run_ms(1000);
    assert_eq!(send_to(&mut net, 0, a, None, b"x"), Ok(1));
    let now = net.now;
    net.a().control(now, gone);
    assert_eq!(net.a().take_error(a), Some(SocketError::HostUnreachable));
    net.run_ms(1000);
    assert_eq!(send_to(&mut net, 0, a, None, b"x"), Err(SocketError::HostUnreachable));
    net.run_ms(1000);
    assert_eq!(send_to(&mut net, 0, a, None, b"x"), Ok(1));
    net.run_ms(4000);
    assert_eq!(net.a().stats().tx_parked_dropped, 1);
    net.assert_whole();
}

/// The ICMP error of type 3, code 4 that a router would send about `frame`, as a frame to host 0.
fn too_big(frame: &[u8], mtu: u16) -> Vec<u8> {
    let mut message = vec![3, 4, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(&frame[14..42]);
    let sum = ringroad_stack::wire::checksum::sum(&message);
    message[2..4].copy_from_slice(&(!sum).to_be_bytes());
    let header = ringroad_stack::wire::ipv4::Emit {
        tos: 0,
        ttl: 60,
        protocol: 1,
        source: [192, 0, 2, 9].into(),
        destination: [10, 0, 0, 1].into(),
        payload: message.len() as u16,
    };
    let mut error = ringroad_stack::wire::ethernet::header(common::mac(1), common::mac(2), 0x0800).to_vec();
    error.extend(header.bytes());
    error.extend(message);
    error
}

#[test]
fn a_narrow_path_is_learnt_from_the_router() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let now = net.now;
    net.a().connect(now, a, address(1, 53)).unwrap();
    net.hosts[0].capture = true;
    assert_eq!(send_to(&mut net, 0, a, None, &[0; 1400]), Ok(1400));
    net.pump();
    let error = too_big(&net.hosts[0].sent[0].clone(), 1300);
    net.hosts[0].receive(now, &error);
    assert_eq!(net.a().take_error(a), Some(SocketError::MessageSize));
    assert_eq!(send_to(&mut net, 0, a, None, &[0; 1273]), Err(SocketError::MessageSize));
    assert_eq!(send_to(&mut net, 0, a, None, &[0; 1272]), Ok(1272));
}

#[test]
fn a_stream_sends_shorter_segments_on_a_narrow_path() {
    let mut net = Net::ideal();
    let (client, server, _) = net.connected();
    net.hosts[0].capture = true;
    let data = common::pattern(20_000, 5);
    assert_eq!(net.send(0, client, &data), Ok(20_000));
    // The first flight meets a router that cannot pass it on.
    let flight = net.hosts[0].drain();
    assert!(flight.iter().all(|f| f.len() == 1514));
    let (now, error) = (net.now, too_big(&flight[0], 1000));
    net.hosts[0].receive(now, &error);
    net.hosts[0].sent.clear();
    let mut got = Vec::new();
    assert!(net.run_until(std::time::Duration::from_secs(60), |net| {
        while let Ok(bytes) = net.recv(1, server, 65_536) {
            got.extend(bytes);
        }
        got.len() == data.len()
    }));
    assert!(got == data);
    assert!(net.hosts[0].sent.iter().all(|f| f.len() <= 1014), "a packet of more than 1000 bytes was sent");
    assert_eq!(net.a().stats().icmp_errors_in, 1);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let mut net = Net::new(common::Link::bad(), 42);
        (net.hosts[0].capture, net.hosts[1].capture) = (true, true);
        let (client, server, _) = net.connected();
        net.transfer(0, client, server, &common::pattern(50_000, 1), std::time::Duration::from_secs(600));
        net.close(0, client);
        net.close(1, server);
        net.run_ms(5000);
        [std::mem::take(&mut net.hosts[0].sent), std::mem::take(&mut net.hosts[1].sent)]
    };
    let (first, second) = (run(), run());
    assert!(first == second);
    assert!(first[0].len() > 40);
}

#[test]
fn checksums_are_left_to_an_interface_that_makes_them() {
    use nic::{RxChecksum, RxFrame, RxMeta, TxChecksum};
    let mut net = Net::ideal();
    let (now, mac) = (net.now, common::mac(1));
    let (iface, mtu) = (common::IFACE, 1500);
    net.a().control(now, ControlEvent::Iface { iface, mac, mtu, up: true, tx_checksum: true });
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    send_to(&mut net, 0, a, Some(address(1, 53)), b"unfinished").unwrap();
    let (pool, queue) = net.a().tx_queue(iface).unwrap();
    let frame = queue.pop_front().unwrap();
    assert_eq!(frame.checksum, TxChecksum::Partial { start: 34, offset: 6 });
    let bytes = pool.lent_bytes(&frame).to_vec();
    pool.take_back(frame);
    let pseudo = ringroad_stack::wire::checksum::pseudo([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, 18);
    assert_eq!(bytes[40..42], pseudo.to_be_bytes());
    // A NIC that promised to verify has nothing to verify it with; a virtual one may pass it on.
    net.hosts[1].receive(now, &bytes);
    assert_eq!(net.b().stats().drop_l4_checksum, 1);
    let RxFrame { pkt, .. } = net.hosts[1].frame(&bytes);
    let meta = RxMeta { checksum: RxChecksum::MayBeUnfinished };
    net.b().rx(now, iface, RxFrame { pkt, meta });
    assert_eq!(recv_from(&mut net, 1, b, 100).unwrap().0, b"unfinished");
}

#[test]
fn each_interface_has_its_own_way_out() {
    use ringroad_stack::control::Route;
    use ringroad_stack::types::IfaceId;
    let mut host = Host::new(1, Config::default());
    host.knows(254);
    let (now, second) = (Instant::from_millis(1), IfaceId(7));
    let (mac, mtu) = ([2, 0, 0, 0, 9, 9], 1000);
    let stack = &mut host.stack;
    stack.control(now, ControlEvent::Iface { iface: second, mac, mtu, up: true, tx_checksum: false });
    stack.control(now, ControlEvent::Address { iface: second, address: [10, 1, 0, 1].into(), prefix: 24 });
    let peer = IpAddr::from([10, 1, 0, 2]);
    stack.control(now, ControlEvent::Neighbour { iface: second, address: peer, mac: [2, 0, 0, 0, 9, 8] });
    let route = |network: [u8; 4], prefix, gateway: Option<[u8; 4]>, iface| Route {
        network: network.into(),
        prefix,
        gateway: gateway.map(IpAddr::from),
        iface,
        source: None,
        mtu: None,
    };
    stack.control(
        now,
        ControlEvent::Routes(vec![
            route([10, 0, 0, 0], 24, None, common::IFACE),
            route([10, 1, 0, 0], 24, None, second),
            route([172, 16, 0, 0], 12, None, IfaceId(99)),
            route([0, 0, 0, 0], 0, Some([10, 0, 0, 254]), common::IFACE),
        ]),
    );
    let source = |stack: &ringroad_stack::Stack, to: [u8; 4]| stack.source_for(IpAddr::from(to));
    assert_eq!(source(stack, [10, 1, 0, 77]), Some([10, 1, 0, 1].into()));
    assert_eq!(source(stack, [8, 8, 8, 8]), Some([10, 0, 0, 1].into()));
    assert_eq!(source(stack, [172, 16, 0, 1]), None);
    assert_eq!(source(stack, [10, 1, 0, 1]), None);
    assert!(stack.serves([10, 1, 0, 1].into()) && !stack.serves([172, 16, 0, 1].into()));

    let id = stack.udp_socket(0).unwrap();
    stack.bind(id, ([0, 0, 0, 0], 1000).into()).unwrap();
    let mut say = |to: [u8; 4], len| {
        stack.send_to(now, id, Some(SocketAddr::from((to, 9))), len, &mut |room| Ok(room.len()))
    };
    assert_eq!(say([10, 1, 0, 2], 972), Ok(972));
    assert_eq!(say([10, 1, 0, 2], 973), Err(SocketError::MessageSize));
    assert_eq!(say([8, 8, 8, 8], 1000), Ok(1000));
    assert_eq!(say([172, 16, 0, 1], 1), Err(SocketError::NetworkUnreachable));
    let nowhere = stack.connect(now, id, ([172, 16, 0, 1], 9).into());
    assert_eq!(nowhere, Err(SocketError::NetworkUnreachable));
    for (iface, to) in [(second, [2, 0, 0, 0, 9, 8]), (common::IFACE, common::mac(254))] {
        let (pool, queue) = stack.tx_queue(iface).unwrap();
        let frame = queue.pop_front().unwrap();
        assert_eq!(pool.lent_bytes(&frame)[..6], to);
        pool.take_back(frame);
        assert!(queue.is_empty());
    }
}
