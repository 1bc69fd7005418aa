//! Datagrams as they come and go.

use std::net::SocketAddr;

use ringroad_stack::control::{ControlEvent, Request};
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::{LocalKey, Protocol, Readiness};

use crate::common::{self, Net};
use crate::{address, recv_from, send_to, udp};

/// RFC 768 §Fields
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

/// RFC 1122 §4.1.3.1, §4.1.3.3
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
fn a_buffer_that_is_forced_passes_the_hosts_limit() {
    let mut net = Net::ideal();
    let b = udp(&mut net, 1, 53);
    let now = net.now;
    let huge = Value::Int(64 << 20);
    net.b().set_option(now, b, OptName::RecvBuffer, huge).unwrap();
    let Ok(Value::Int(asked)) = net.b().option(b, OptName::RecvBuffer) else { panic!("a size") };
    assert!(asked < 128 << 20, "{asked}");
    net.b().set_option(now, b, OptName::RecvBufferForce, huge).unwrap();
    assert_eq!(net.b().option(b, OptName::RecvBuffer), Ok(Value::Int(128 << 20)));
    assert_eq!(net.b().option(b, OptName::RecvBufferForce), Err(SocketError::NoProtocolOption));
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

/// RFC 1122 §4.1.3.4
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
