//! Neighbours, routes, path MTUs.

use std::net::{IpAddr, SocketAddr};

use ringroad_stack::config::Config;
use ringroad_stack::control::{ControlEvent, Request};
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::time::Instant;

use crate::common::{self, Host, Net};
use crate::{address, recv_from, send_to, set, udp};

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
    // One that waited is lost silently, as on Linux, but for who asked for errors.
    let now = net.now;
    net.a().control(now, gone.clone());
    assert_eq!(net.a().take_error(a), None);
    net.run_ms(1000);
    assert_eq!(send_to(&mut net, 0, a, None, b"x"), Err(SocketError::HostUnreachable));
    net.run_ms(1000);
    set(&mut net, 0, a, OptName::RecvError, 1);
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
fn each_interface_has_its_own_way_out() {
    use ringroad_stack::control::Route;
    use ringroad_stack::types::{IfaceId, Protocol};
    let mut host = Host::new(1, Config::default());
    host.knows(254);
    let (now, second) = (Instant::from_millis(1), IfaceId(7));
    let (mac, mtu) = ([2, 0, 0, 0, 9, 9], 1000);
    let stack = &mut host.stack;
    stack.control(now, ControlEvent::Iface { iface: second, mac, mtu, up: true, tx_checksum: false });
    stack.control(
        now,
        ControlEvent::Address { iface: second, address: [10, 1, 0, 1].into(), prefix: 24, deprecated: false },
    );
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
    let source = |stack: &ringroad_stack::Stack, to: [u8; 4]| stack.source_for(Protocol::Udp, (to, 0).into());
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

/// RFC 791 §3.1: DF says that a packet must not be cut. RFC 6864 §4.2: without it, the identification counts.
#[test]
fn routers_may_cut_what_the_socket_lets_them() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    net.hosts[0].capture = true;
    let mut ids = Vec::new();
    for (discover, df) in [(0, false), (0, false), (1, true), (2, true), (3, true), (4, false), (5, false)] {
        set(&mut net, 0, a, OptName::MtuDiscover, discover);
        send_to(&mut net, 0, a, Some(address(1, 53)), b"x").unwrap();
        net.run_ms(1);
        assert_eq!(recv_from(&mut net, 1, b, 9).unwrap().0, b"x");
        let frame = net.hosts[0].sent.last().unwrap();
        assert_eq!(frame[20] & 0x40 != 0, df, "{discover}");
        let id = u16::from_be_bytes([frame[18], frame[19]]);
        assert!(!df || id == 0);
        ids.extend((!df).then_some(id));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}
