//! Losses, and paths that change.

use super::drill::Drill;
use crate::error::SocketError;
use crate::ip::Unsent;
use crate::tcp::State;

/// Ten segments of 1,000 octets in flight.
fn in_flight(options: &str) -> Drill {
    let mut d = Drill::accepted(options);
    d.write(1, 10_000).unwrap();
    assert_eq!(d.host.wire.sent.len(), 10);
    d.host.wire.sent.clear();
    d
}

#[test]
fn a_part_of_a_segment_can_be_acknowledged() {
    let mut d = in_flight("<mss 1000>");
    d.inject(". 1:1(0) ack 501");
    d.at(210);
    d.expect_all(&[". 501:1001(500)"]);
    d.inject(". 1:1(0) ack 10001");
}

#[test]
fn a_frame_that_the_nic_still_has_is_copied() {
    let mut d = Drill::new();
    d.host.wire.slow_nic = true;
    d.accept("<mss 1000>");
    d.write(1, 500).unwrap();
    d.expect("P. 1:501(500)");
    d.at(201);
    d.expect_all(&["P. 1:501(500)"]);
    // Acknowledged while still lent: the frame comes back when the NIC is done.
    d.inject(". 1:1(0) ack 501");
    d.host.complete();
    assert_eq!(d.host.pool.available(), d.host.pool.frames() as usize);
}

#[test]
fn a_refused_way_out_is_tried_again() {
    let mut d = Drill::established();
    for why in [Unsent::NoFrames, Unsent::NoNeighbour] {
        d.host.wire.refuse = Some(why);
        let from = d.host.tcb().info().send_queue + 1;
        d.write(from, 100).unwrap();
        d.silent();
        d.host.wire.refuse = None;
        let soon = d.host.now.as_millis() - 1_000_000 + 1;
        d.at(soon);
        assert_eq!(d.host.wire.sent.len(), 1, "{why:?}");
        d.host.wire.sent.clear();
        d.host.with(|tcb, _| tcb.options.nodelay = true);
    }
    d.host.wire.refuse = Some(Unsent::Denied);
    d.write(201, 100).unwrap();
    d.host.wire.refuse = None;
    // As good as lost: the retransmission timer sends it.
    d.at(210);
    d.expect(". 1:101(100)");
    d.host.wire.sent.clear();
}

#[test]
fn an_ack_that_found_no_frame_is_not_forgotten() {
    let mut d = Drill::established();
    d.host.wire.refuse = Some(Unsent::NoFrames);
    d.inject(". 101:201(100) ack 1");
    d.at(1);
    d.host.wire.refuse = None;
    d.at(3);
    d.expect_all(&[". 1:1(0) ack 1"]);
}

#[test]
fn a_narrower_path_cuts_what_is_queued() {
    let mut d = Drill::accepted("<mss 1460>");
    d.host.wire.mtu = 1500;
    d.write(1, 3000).unwrap();
    d.expect_all(&[". 1:1461(1460)", ". 1461:2921(1460)", "P. 2921:3001(80)"]);
    let una = d.host.tcb().snd.una;
    d.host.with(|tcb, env| {
        use crate::tcp::input::{PathError, unreachable};
        unreachable(tcb, PathError::TooBig { mtu: 1000 }, una - 1, env);
        unreachable(tcb, PathError::TooBig { mtu: 1000 }, una + 5000, env);
    });
    d.silent();
    d.host.with(|tcb, env| {
        use crate::tcp::input::{PathError, unreachable};
        unreachable(tcb, PathError::TooBig { mtu: 1000 }, una, env);
    });
    d.expect(". 1:961(960)");
    d.expect(". 961:1461(500)");
    d.expect(". 1461:2421(960)");
    d.expect(". 2421:2921(500)");
    d.host.wire.sent.clear();
    d.inject(". 1:1(0) ack 3001");
}

#[test]
fn the_interface_itself_may_become_narrower() {
    let mut d = Drill::accepted("<mss 1460>");
    d.write(1, 1460).unwrap();
    d.expect("P. 1:1461(1460)");
    d.host.wire.mtu = 1000;
    d.at(210);
    d.expect_all(&[". 1:961(960)", "P. 961:1461(500)"]);
}

#[test]
fn what_icmp_said_is_the_reason_when_time_runs_out() {
    let mut d = Drill::established();
    d.write(1, 100).unwrap();
    d.host.with(|tcb, env| {
        use crate::tcp::input::{PathError, unreachable};
        unreachable(tcb, PathError::Unreachable(SocketError::HostUnreachable), tcb.snd.una, env);
    });
    assert_eq!(d.state(), State::Established);
    d.at(3_000_000);
    assert_eq!(d.host.tcb().error, Some(SocketError::HostUnreachable));
    d.host.wire.sent.clear();
}

#[test]
fn icmp_ends_a_connect() {
    let mut d = Drill::new();
    d.host.connect().unwrap();
    d.expect("S 0:0(0)");
    d.host.with(|tcb, env| {
        use crate::tcp::input::{PathError, unreachable};
        unreachable(tcb, PathError::Unreachable(SocketError::ConnectionRefused), tcb.snd.iss + 9, env);
        assert_eq!(tcb.state, State::SynSent);
        unreachable(tcb, PathError::Unreachable(SocketError::ConnectionRefused), tcb.snd.iss, env);
    });
    assert_eq!(d.host.tcb().error, Some(SocketError::ConnectionRefused));
}
