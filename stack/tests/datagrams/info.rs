//! What comes beside the bytes of a datagram, both ways: IP_PKTINFO, TTL, TOS, drops (RFC 1122 §4.1.3.5, §4.1.4).

use std::net::{IpAddr, SocketAddr};

use ringroad_stack::control::ControlEvent;
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{OptName, Outbound, RecvFlags};
use ringroad_stack::types::IfaceId;

use crate::common::{self, Net};
use crate::{address, recv_from, send_msg, send_to, set, udp};

#[test]
fn a_datagram_says_how_it_came() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    set(&mut net, 0, a, OptName::Ttl, 9);
    set(&mut net, 0, a, OptName::Tos, 0xb8);
    send_to(&mut net, 0, a, Some(address(1, 53)), b"x").unwrap();
    net.run_ms(1);
    let told = recv_from(&mut net, 1, b, 10).unwrap().1;
    assert_eq!((told.ttl, told.tos, told.iface), (9, 0xb8, Some(common::IFACE)));
    assert_eq!((told.local, told.answer_from), (address(1, 53), Some(address(1, 53).ip())));
    assert!(told.at < net.now && net.now.since(told.at).as_micros() < 1000);
}

#[test]
fn one_send_may_differ_from_the_socket() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    let remote = Some(address(1, 53));
    let other = IpAddr::from([10, 0, 0, 77]);
    let out = Outbound { remote, ttl: Some(3), tos: Some(0x20), ..Outbound::default() };
    send_msg(&mut net, 0, a, &out, b"x").unwrap();
    send_to(&mut net, 0, a, remote, b"y").unwrap();
    // RFC 1122 §4.1.3.5: the application may choose the source, among the addresses of the host.
    let from = Outbound { remote, source: Some(other), ..Outbound::default() };
    assert_eq!(send_msg(&mut net, 0, a, &from, b"z"), Err(SocketError::NetworkUnreachable));
    let now = net.now;
    net.a().control(
        now,
        ControlEvent::Address { iface: common::IFACE, address: other, prefix: 24, deprecated: false },
    );
    assert_eq!(send_msg(&mut net, 0, a, &from, b"z"), Ok(1));
    net.run_ms(1);
    let mut next = || recv_from(&mut net, 1, b, 10).unwrap().1;
    let first = next();
    assert_eq!((first.ttl, first.tos), (3, 0x20));
    let second = next();
    assert_eq!((second.ttl, second.tos), (64, 0));
    assert_eq!(next().remote, SocketAddr::new(other, 1000));
}

#[test]
fn the_way_out_may_be_named() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    let by = |iface| Outbound { remote: Some(address(1, 53)), iface: Some(iface), ..Outbound::default() };
    assert_eq!(send_msg(&mut net, 0, a, &by(common::IFACE), b"x"), Ok(1));
    let elsewhere = send_msg(&mut net, 0, a, &by(IfaceId(77)), b"x");
    assert_eq!(elsewhere, Err(SocketError::NetworkUnreachable));
}

#[test]
fn drops_are_counted_for_the_datagram_that_follows() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    set(&mut net, 1, b, OptName::RecvBuffer, 1200);
    for _ in 0..9 {
        send_to(&mut net, 0, a, Some(address(1, 53)), &[0; 100]).unwrap();
    }
    net.run_ms(1);
    let mut taken = 0;
    while let Ok((_, told)) = recv_from(&mut net, 1, b, 100) {
        assert_eq!(told.drops, 0);
        taken += 1;
    }
    assert_eq!(taken, 4, "2400 bytes of buffer, 676 each, and the last may go over");
    send_to(&mut net, 0, a, Some(address(1, 53)), b"x").unwrap();
    net.run_ms(1);
    assert_eq!(recv_from(&mut net, 1, b, 100).unwrap().1.drops, 5);
}

#[test]
fn a_datagram_whose_reader_faults_is_lost_unless_it_peeked() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    send_to(&mut net, 0, a, Some(address(1, 53)), b"x").unwrap();
    net.run_ms(1);
    let now = net.now;
    let mut fault = |peek| {
        let flags = RecvFlags { peek, ..RecvFlags::default() };
        net.b().recv_from(now, b, 10, flags, &mut |_| Err(ringroad_stack::error::Fault)).unwrap_err()
    };
    assert_eq!(fault(true), SocketError::Fault);
    assert_eq!(fault(false), SocketError::Fault);
    assert_eq!(fault(false), SocketError::WouldBlock);
    net.run_ms(1);
    net.assert_whole();
}

/// RFC 1122 §4.1.3.4
#[test]
fn a_checksum_may_be_left_out() {
    let mut net = Net::ideal();
    let (a, b) = (udp(&mut net, 0, 1000), udp(&mut net, 1, 53));
    net.hosts[0].capture = true;
    set(&mut net, 0, a, OptName::NoCheck, 1);
    send_to(&mut net, 0, a, Some(address(1, 53)), b"x").unwrap();
    net.run_ms(1);
    assert_eq!(net.hosts[0].sent[0][40..42], [0, 0], "RFC 768: zero says that there is none");
    assert_eq!(recv_from(&mut net, 1, b, 10).unwrap().0, b"x");
}
