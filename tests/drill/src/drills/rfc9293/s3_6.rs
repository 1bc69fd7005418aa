//! Closing a connection: RFC 9293 §3.6, §3.10.4, §3.10.5, §3.10.7.4 eighth; RFC 2525 §2.17; RFC 1122 §4.2.2.13.

use stack::error::SocketError;
use stack::socket::{How, OptName};
use stack::types::Readiness;

use super::drills;
use crate::{Drill, Knob, On, State};

drills![
    we_close_first,
    the_peer_closes_first,
    both_close_at_once,
    a_fin_that_acknowledges_ours_skips_fin_wait_2,
    half_closed_we_go_on_reading,
    the_fin_rides_on_the_last_data,
    a_lost_fin_is_sent_again,
    a_fin_before_its_turn_waits_for_the_hole,
    a_fin_that_comes_twice_is_acknowledged_twice,
    unread_data_turns_close_into_a_reset,
    data_for_nobody_is_answered_with_a_reset,
    an_orphan_does_not_wait_for_ever,
    an_abort_resets_where_the_peer_must_hear_of_it,
    a_reset_from_the_peer_is_an_error_after_what_can_be_read,
    a_reset_may_carry_text,
    closing_before_the_handshake_is_over_ends_it,
    time_wait_ends_after_a_minute,
    shutting_the_reading_side_answers_the_end,
    a_fin_that_is_seen_again_is_acknowledged_in_time_wait,
    a_reset_does_not_end_time_wait,
    old_text_is_acknowledged_in_time_wait,
    a_newer_syn_takes_the_place_of_time_wait,
    an_older_syn_does_not_take_the_place_of_time_wait,
    a_later_timestamp_lets_a_syn_take_the_place,
];

/// RFC 9293 §3.6 case 1
fn we_close_first(on: On) {
    let mut d = Drill::established(on);
    d.shutdown();
    d.expect_all(&["F. 1:1(0) ack 1"]);
    assert_eq!(d.state(), State::FinWait1);
    d.inject(". 1:1(0) ack 2");
    assert_eq!(d.state(), State::FinWait2);
    d.inject("F. 1:1(0) ack 2");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
    d.silent();
}

/// RFC 9293 MUST-13, §3.6.1
fn time_wait_ends_after_a_minute(on: On) {
    let mut d = Drill::established(on);
    d.close();
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.inject(". 1:1(0) ack 2");
    d.inject("F. 1:1(0) ack 2");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d.at(59_900);
    assert_eq!(d.state(), State::TimeWait);
    d.at(60_100);
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

/// RFC 9293 §3.6 case 2
fn the_peer_closes_first(on: On) {
    let mut d = Drill::established(on);
    d.inject("F. 1:1(0) ack 1");
    d.expect_all(&[". 1:1(0) ack 2"]);
    assert_eq!(d.state(), State::CloseWait);
    assert!(d.wakes().contains(Readiness::IN | Readiness::RDHUP));
    assert_eq!(d.recv(10), Ok(vec![]));
    d.write(1, 100).unwrap();
    d.expect_all(&["P. 1:101(100) ack 2"]);
    d.close();
    d.expect_all(&["F. 101:101(0) ack 2"]);
    assert_eq!(d.state(), State::LastAck);
    d.inject(". 2:2(0) ack 102");
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

/// RFC 9293 §3.6 case 3
fn both_close_at_once(on: On) {
    let mut d = Drill::established(on);
    d.close();
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.inject("F. 1:1(0) ack 1");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::Closing);
    d.inject(". 2:2(0) ack 2");
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 9293 §3.10.7.4 fifth, eighth
fn a_fin_that_acknowledges_ours_skips_fin_wait_2(on: On) {
    let mut d = Drill::established(on);
    d.close();
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.inject("F. 1:1(0) ack 2");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 9293 §3.6: one may go on receiving until told that the other has closed, too
fn half_closed_we_go_on_reading(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 10).unwrap();
    d.shutdown();
    d.expect_all(&["P. 1:11(10) ack 1", "F. 11:11(0) ack 1"]);
    assert_eq!(d.write(11, 1), Err(SocketError::BrokenPipe.into()));
    d.inject(". 1:1(0) ack 12");
    assert_eq!(d.state(), State::FinWait2);
    d.inject("P. 1:501(500) ack 12");
    d.inject("PF. 501:601(100) ack 12");
    let acks = d.sent();
    assert_eq!(
        acks.last().map(|s| s.ack.wrapping_sub(acks[0].ack)),
        Some(if acks.len() > 1 { 101 } else { 0 })
    );
    assert!(d.ready().contains(Readiness::IN | Readiness::RDHUP | Readiness::HUP));
    d.read(1, 600);
    assert_eq!(d.recv(1), Ok(vec![]));
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 9293 §3.10.4: the FIN follows what was sent before
fn the_fin_rides_on_the_last_data(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::Cork, 1);
    d.accept("<mss 1000>");
    d.write(1, 1500).unwrap();
    d.expect_all(&[". 1:1001(1000) ack 1"]);
    d.close();
    d.expect_all(&["FP. 1001:1501(500) ack 1"]);
    d.inject(". 1:1(0) ack 1502");
    assert_eq!(d.state(), State::FinWait2);
}

/// RFC 9293 §3.8.1: a FIN takes a number and is retransmitted as text is
fn a_lost_fin_is_sent_again(on: On) {
    let mut d = Drill::established(on);
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.at(190);
    d.silent();
    d.at(202);
    d.expect_all(&["F. 1:1(0) ack 1"]);
    d.at(590);
    d.silent();
    d.at(604);
    d.expect_all(&["F. 1:1(0) ack 1"]);
}

/// RFC 9293 §3.10.7.4 eighth
fn a_fin_before_its_turn_waits_for_the_hole(on: On) {
    let mut d = Drill::established(on);
    d.inject("FP. 101:201(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1"]);
    assert_eq!(d.state(), State::Established);
    d.inject("P. 1:101(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 202"]);
    assert_eq!(d.state(), State::CloseWait);
    d.read(1, 200);
    assert_eq!(d.recv(1), Ok(vec![]));
}

/// RFC 9293 §3.10.7.4 eighth: remain in the CLOSE-WAIT state
fn a_fin_that_comes_twice_is_acknowledged_twice(on: On) {
    let mut d = Drill::established(on);
    d.inject("F. 1:1(0) ack 1");
    d.expect_all(&[". 1:1(0) ack 2"]);
    d.inject("F. 1:1(0) ack 1");
    d.expect_all(&[". 1:1(0) ack 2"]);
    assert_eq!(d.state(), State::CloseWait);
}

/// RFC 9293 SHLD-3; RFC 2525 §2.17; RFC 1122 §4.2.2.13
fn unread_data_turns_close_into_a_reset(on: On) {
    let mut d = Drill::established(on);
    d.inject("P. 1:101(100) ack 1");
    d.sent();
    d.close();
    d.expect_all(&["R. 1:1(0) ack 101"]);
    assert_eq!(d.state(), State::Closed);
}

/// RFC 9293 SHLD-3; RFC 1122 §4.2.2.13
fn data_for_nobody_is_answered_with_a_reset(on: On) {
    let mut d = Drill::established(on);
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.inject(". 1:1(0) ack 2");
    d.inject("P. 1:101(100) ack 2");
    d.expect_one_of(&["R 2:2(0)", "R. 2:2(0)"]);
    d.silent();
    assert_eq!(d.state(), State::Closed);
}

/// RFC 9293 §3.6: Linux gives up an orphan in FIN-WAIT-2 after tcp_fin_timeout
fn an_orphan_does_not_wait_for_ever(on: On) {
    let mut d = Drill::with(on, &[Knob::FinTimeout(2)]);
    d.accept("<mss 1000>");
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.at(100);
    d.inject(". 1:1(0) ack 2");
    d.at(1_900);
    assert_eq!(d.state(), State::FinWait2);
    d.at(2_900);
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

/// RFC 9293 §3.10.5
fn an_abort_resets_where_the_peer_must_hear_of_it(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.abort();
    d.expect_all(&["R. 101:101(0) ack 1"]);
    assert_eq!(d.state(), State::Closed);
}

/// RFC 9293 MUST-12, §3.10.7.4 second
fn a_reset_from_the_peer_is_an_error_after_what_can_be_read(on: On) {
    let mut d = Drill::established(on);
    d.inject("P. 1:11(10) ack 1");
    d.inject("R. 11:11(0) ack 1");
    d.sent();
    assert!(d.wakes().contains(Readiness::IN | Readiness::OUT | Readiness::ERR | Readiness::HUP));
    d.read(1, 10);
    assert_eq!(d.recv(1), Err(SocketError::ConnectionReset.into()));
    assert_eq!(d.recv(1), Ok(vec![]));
    assert_eq!(d.write(1, 1), Err(SocketError::BrokenPipe.into()));
    d.silent();
}

/// RFC 9293 §3.10.4: SYN-SENT
fn closing_before_the_handshake_is_over_ends_it(on: On) {
    let mut d = Drill::new(on);
    assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
    d.expect("S 0:0(0)");
    d.close();
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

/// SHUT_RD as Linux has it: the reader sees the end, the peer nothing
fn shutting_the_reading_side_answers_the_end(on: On) {
    let mut d = Drill::established(on);
    d.shutdown_with(How::Read).unwrap();
    d.silent();
    assert_eq!(d.recv(1), Ok(vec![]));
    assert!(d.ready().contains(Readiness::IN | Readiness::RDHUP));
    d.write(1, 10).unwrap();
    d.expect_all(&["P. 1:11(10) ack 1"]);
    assert_eq!(d.state(), State::Established);
}

/// A connection in TIME-WAIT; the next numbers are 2 and 2.
fn waiting(on: On, options: &str, ts: &str) -> Drill {
    let mut d = Drill::accepted(on, options);
    wait_out(&mut d, ts);
    d
}

fn wait_out(d: &mut Drill, ts: &str) {
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.inject(&format!("F. 1:1(0) ack 2 {ts}"));
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 9293 §3.10.7.4 eighth
fn a_fin_that_is_seen_again_is_acknowledged_in_time_wait(on: On) {
    let mut d = waiting(on, "<mss 1000>", "");
    d.inject("F. 1:1(0) ack 2");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 1337 §3 (F1)
fn a_reset_does_not_end_time_wait(on: On) {
    // Linux does so when asked, and by default kills TIME-WAIT (RFC 9293 §3.10.7.4 allows either).
    let mut d = Drill::with(on, &[Knob::KernelOnly("tcp_rfc1337", "1")]);
    d.accept("<mss 1000>");
    wait_out(&mut d, "");
    d.inject("R 2:2(0)");
    d.inject("R. 2:2(0) ack 2");
    d.silent();
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 9293 §3.10.7.4 first
fn old_text_is_acknowledged_in_time_wait(on: On) {
    let mut d = waiting(on, "<mss 1000>", "");
    d.inject("P. 1:11(10) ack 1");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d.inject(". 2:2(0) ack 2");
    d.silent();
}

/// RFC 9293 MAY-2; RFC 1122 §4.2.2.13
fn a_newer_syn_takes_the_place_of_time_wait(on: On) {
    let mut d = waiting(on, "<mss 1000>", "");
    d.inject("S 3:3(0) win 20000 <mss 1000>");
    let seg = d.sent().pop().expect("an answer");
    assert!(seg.has(crate::segment::SYN | crate::segment::ACK), "{seg:?}");
    assert_eq!(d.state(), State::SynReceived);
}

/// RFC 9293 §3.10.7.4 fourth
fn an_older_syn_does_not_take_the_place_of_time_wait(on: On) {
    let mut d = waiting(on, "<mss 1000>", "");
    d.inject("S 1:1(0) win 20000 <mss 1000>");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 9293 SHLD-4; RFC 6191 §2
fn a_later_timestamp_lets_a_syn_take_the_place(on: On) {
    let mut d = waiting(on, "<mss 1000,TS 1 0>", "<TS 3 last>");
    d.inject("S -100:-100(0) win 20000 <mss 1000,TS 2 0>");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d.inject("S -100:-100(0) win 20000 <mss 1000,TS 4 0>");
    let seg = d.sent().pop().expect("an answer");
    assert!(seg.has(crate::segment::SYN), "{seg:?}");
    assert_eq!(d.state(), State::SynReceived);
}

/// RFC 9293 SHLD-2
fn a_reset_may_carry_text(on: On) {
    let mut d = Drill::established(on);
    d.inject("R. 1:21(20) ack 1");
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.recv(1), Err(SocketError::ConnectionReset.into()));
    d.silent();
}
