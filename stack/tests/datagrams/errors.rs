//! Errors of datagrams that did not arrive (RFC 1122 §4.1.3.3): SO_ERROR, and the error queue.

use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{ErrorReport, OptName, Origin};
use ringroad_stack::types::{Readiness, SocketId};

use crate::common::{self, Net};
use crate::{address, recv_from, send_to, set, udp};

fn recv_error(net: &mut Net, id: SocketId) -> Result<(Vec<u8>, ErrorReport), SocketError> {
    let mut got = Vec::new();
    let report = net.a().recv_error(id, 100, &mut |bytes| {
        got.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok((got, report))
}

#[test]
fn what_may_not_be_fragmented_is_refused_with_the_path_s_mtu() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    assert!(net.a().may_fragment(a));
    set(&mut net, 0, a, OptName::MtuDiscover, 2);
    set(&mut net, 0, a, OptName::RecvError, 1);
    assert!(!net.a().may_fragment(a));
    let long = send_to(&mut net, 0, a, Some(address(1, 53)), &[0; 1473]);
    assert_eq!(long, Err(SocketError::MessageSize));
    assert!(net.a().readiness(a).contains(Readiness::REPORT));
    let (bytes, report) = recv_error(&mut net, a).unwrap();
    assert_eq!((bytes.len(), report.errno, report.origin, report.info), (0, 90, Origin::Local, 1500));
    assert_eq!((report.remote, report.offender), (address(1, 0), None));
    assert_eq!(recv_error(&mut net, a).unwrap_err(), SocketError::WouldBlock);
    assert!(!net.a().readiness(a).intersects(Readiness::ERR | Readiness::REPORT));
}

/// RFC 1122 §4.1.3.3: errors go up to the application. Linux keeps them in a queue for who asks for them.
#[test]
fn a_refusal_is_told_with_what_was_refused() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    set(&mut net, 0, a, OptName::RecvError, 1);
    send_to(&mut net, 0, a, Some(address(1, 99)), b"anybody?").unwrap();
    net.run_ms(1);
    assert!(net.a().readiness(a).contains(Readiness::ERR));
    // Not connected, and told all the same: once by the next call, once by the queue.
    assert_eq!(recv_from(&mut net, 0, a, 9).unwrap_err(), SocketError::ConnectionRefused);
    let (bytes, report) = recv_error(&mut net, a).unwrap();
    assert_eq!(bytes, b"anybody?");
    assert_eq!((report.errno, report.origin, report.kind, report.code), (111, Origin::Icmp, 3, 3));
    assert_eq!((report.remote, report.offender), (address(1, 99), Some(address(1, 0).ip())));
    assert_eq!((report.iface, report.local), (Some(common::IFACE), Some(address(0, 1000))));
    assert_eq!(recv_error(&mut net, a).unwrap_err(), SocketError::WouldBlock);
    net.assert_whole();
}

#[test]
fn each_error_is_so_error_until_it_is_read() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    set(&mut net, 0, a, OptName::RecvError, 1);
    for port in [98, 99] {
        send_to(&mut net, 0, a, Some(address(1, port)), b"x").unwrap();
        net.run_ms(1);
        assert_eq!(net.a().take_error(a), Some(SocketError::ConnectionRefused));
    }
    assert_eq!(recv_error(&mut net, a).unwrap().1.remote, address(1, 98));
    assert_eq!(net.a().take_error(a), Some(SocketError::ConnectionRefused));
    assert_eq!(recv_error(&mut net, a).unwrap().1.remote, address(1, 99));
    assert_eq!(net.a().take_error(a), None);
}

#[test]
fn frames_of_errors_that_nobody_reads_come_back() {
    let mut net = Net::ideal();
    let a = udp(&mut net, 0, 1000);
    set(&mut net, 0, a, OptName::RecvError, 1);
    for _ in 0..200 {
        let _ = send_to(&mut net, 0, a, Some(address(1, 99)), b"x");
        net.run_ms(2);
    }
    assert_eq!(net.a().pool().census().owned, 64, "the queue is bounded");
    net.close(0, a);
    net.run_ms(1);
    net.assert_whole();
}
