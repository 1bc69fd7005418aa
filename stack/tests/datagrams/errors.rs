//! Errors of datagrams that did not arrive (RFC 1122 §4.1.3.3): SO_ERROR, and the error queue.

use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{ErrorReport, OptName, Origin};
use ringroad_stack::types::{Readiness, SocketId};

use crate::common::Net;
use crate::{address, send_to, set, udp};

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
    assert!(net.a().readiness(a).contains(Readiness::ERR));
    let (bytes, report) = recv_error(&mut net, a).unwrap();
    assert_eq!((bytes.len(), report.errno, report.origin, report.info), (0, 90, Origin::Local, 1500));
    assert_eq!((report.remote, report.offender), (address(1, 53), None));
    assert_eq!(recv_error(&mut net, a).unwrap_err(), SocketError::WouldBlock);
    assert!(!net.a().readiness(a).contains(Readiness::ERR));
}
