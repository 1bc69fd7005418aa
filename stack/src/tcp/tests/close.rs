//! RFC 9293 §3.6, §3.10.4, §3.10.5, §3.10.7.4 eighth; RFC 2525 §2.17; RFC 1122 §4.2.2.13.

use super::drill::Drill;
use crate::error::SocketError;
use crate::tcp::{State, call};
use crate::types::Readiness;

#[test]
fn we_close_first() {
    let mut d = Drill::established();
    d.close();
    d.expect_all(&["F. 1:1(0) ack 1"]);
    assert_eq!(d.state(), State::FinWait1);
    d.inject(". 1:1(0) ack 2");
    assert_eq!(d.state(), State::FinWait2);
    d.inject("F. 1:1(0) ack 2");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
    d.at(59_999);
    assert_eq!(d.state(), State::TimeWait);
    d.at(60_000);
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

#[test]
fn the_peer_closes_first() {
    let mut d = Drill::established();
    d.inject("F. 1:1(0) ack 1");
    d.expect_all(&[". 1:1(0) ack 2"]);
    assert_eq!(d.state(), State::CloseWait);
    assert_eq!(d.wakes(), Readiness::IN | Readiness::RDHUP);
    assert_eq!(d.host.recv(10), Ok(vec![]));
    d.write(1, 100).unwrap();
    d.expect_all(&["P. 1:101(100) ack 2"]);
    d.close();
    d.expect_all(&["F. 101:101(0) ack 2"]);
    assert_eq!(d.state(), State::LastAck);
    d.inject(". 2:2(0) ack 102");
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

#[test]
fn both_close_at_once() {
    let mut d = Drill::established();
    d.close();
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.inject("F. 1:1(0) ack 1");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::Closing);
    d.inject(". 2:2(0) ack 2");
    assert_eq!(d.state(), State::TimeWait);
}

#[test]
fn a_fin_that_acknowledges_ours_skips_fin_wait_2() {
    let mut d = Drill::established();
    d.close();
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.inject("F. 1:1(0) ack 2");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
}

#[test]
fn half_closed_we_go_on_reading() {
    let mut d = Drill::established();
    d.write(1, 10).unwrap();
    d.shutdown();
    d.expect_all(&["P. 1:11(10) ack 1", "F. 11:11(0) ack 1"]);
    assert_eq!(d.host.send(b"x"), Err(SocketError::BrokenPipe));
    d.inject(". 1:1(0) ack 12");
    assert_eq!(d.state(), State::FinWait2);
    d.inject("P. 1:501(500) ack 12");
    d.inject("PF. 501:601(100) ack 12");
    d.expect_all(&[". 12:12(0) ack 602"]);
    assert_eq!(d.state(), State::TimeWait);
    assert!(d.wakes().contains(Readiness::IN | Readiness::RDHUP | Readiness::HUP));
    d.read(1, 600);
    assert_eq!(d.host.recv(1), Ok(vec![]));
}

#[test]
fn the_fin_rides_on_the_last_data() {
    let mut d = Drill::new();
    d.host.options.cork = true;
    d.accept("<mss 1000>");
    d.write(1, 1500).unwrap();
    d.expect_all(&[". 1:1001(1000) ack 1"]);
    d.close();
    d.expect_all(&["FP. 1001:1501(500) ack 1"]);
    d.inject(". 1:1(0) ack 1502");
    assert_eq!(d.state(), State::FinWait2);
}

#[test]
fn a_lost_fin_is_sent_again_until_the_end() {
    let mut d = Drill::established();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.at(201);
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.at(201 + 402);
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.at(300_000);
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.host.wire.sent.len(), 6);
}

#[test]
fn a_fin_before_its_turn_waits_for_the_hole() {
    let mut d = Drill::established();
    d.inject("FP. 101:201(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1"]);
    assert_eq!(d.state(), State::Established);
    d.inject("P. 1:101(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 202"]);
    assert_eq!(d.state(), State::CloseWait);
    d.read(1, 200);
    assert_eq!(d.host.recv(1), Ok(vec![]));
}

#[test]
fn a_fin_that_comes_twice_is_acknowledged_twice() {
    let mut d = Drill::established();
    d.inject("F. 1:1(0) ack 1");
    d.inject("F. 1:1(0) ack 1");
    d.expect_all(&[". 1:1(0) ack 2", ". 1:1(0) ack 2"]);
    assert_eq!(d.state(), State::CloseWait);
}

#[test]
fn unread_data_turns_close_into_a_reset() {
    let mut d = Drill::established();
    d.inject("P. 1:101(100) ack 1");
    d.close();
    d.expect_all(&["R. 1:1(0) ack 101"]);
    assert_eq!(d.state(), State::Closed);
}

#[test]
fn data_for_nobody_is_answered_with_a_reset() {
    let mut d = Drill::established();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.inject(". 1:1(0) ack 2");
    d.inject("P. 1:101(100) ack 2");
    d.expect_all(&["R. 2:2(0)"]);
    assert_eq!(d.state(), State::Closed);
}

#[test]
fn an_orphan_does_not_wait_for_ever() {
    let mut d = Drill::established();
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.at(100);
    d.inject(". 1:1(0) ack 2");
    d.at(60_099);
    assert_eq!(d.state(), State::FinWait2);
    d.at(60_100);
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

#[test]
fn an_abort_resets_where_the_peer_must_hear_of_it() {
    let mut d = Drill::established();
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.host.with(call::abort);
    d.expect_all(&["R. 101:101(0) ack 1"]);
    assert_eq!(d.state(), State::Closed);
}

#[test]
fn a_reset_from_the_peer_is_an_error_after_what_can_be_read() {
    let mut d = Drill::established();
    d.inject("P. 1:11(10) ack 1");
    d.inject("R. 11:11(0) ack 1");
    assert!(d.wakes().contains(Readiness::IN | Readiness::OUT | Readiness::ERR | Readiness::HUP));
    d.read(1, 10);
    assert_eq!(d.host.recv(1), Err(SocketError::ConnectionReset));
    assert_eq!(d.host.recv(1), Ok(vec![]));
    assert_eq!(d.host.send(b"x"), Err(SocketError::BrokenPipe));
    d.silent();
}

#[test]
fn closing_before_the_handshake_is_over_ends_it() {
    let mut d = Drill::new();
    d.host.connect().unwrap();
    d.expect("S 0:0(0)");
    d.close();
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

#[test]
fn a_close_in_syn_received_sends_its_fin_after_the_ack() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 1000");
    d.expect("S. 0:0(0) ack 1");
    d.close();
    d.silent();
    d.inject(". 1:1(0) ack 1 win 1000");
    d.expect_all(&["F. 1:1(0) ack 1"]);
    assert_eq!(d.state(), State::FinWait1);
}

/// RFC 9293 §3.10.7.4: a reset in CLOSE-WAIT. Found by a fuzzer.
#[test]
fn a_reset_behind_the_peers_end_is_no_reader_s_business() {
    let mut d = Drill::established();
    d.inject("F. 1:1(0) ack 1");
    d.expect(". 1:1(0) ack 2");
    d.inject("R 2:2(0)");
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.host.recv(100), Ok(vec![]));
    assert_eq!(d.host.recv(100), Ok(vec![]));
    assert_eq!(d.host.tcb().error, Some(SocketError::BrokenPipe), "for SO_ERROR, or a write");
    assert_eq!(d.host.send(b"x"), Err(SocketError::BrokenPipe));
}
