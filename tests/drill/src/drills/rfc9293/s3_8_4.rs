//! Keepalive: RFC 9293 §3.8.4.

use stack::error::SocketError;
use stack::socket::OptName;

use super::drills;
use crate::{Drill, On, State};

drills![
    a_silent_peer_is_asked_and_an_answer_is_enough,
    a_dead_peer_is_reset,
    keepalive_leaves_a_waiting_retransmission_alone,
    keepalive_can_be_turned_on_later,
    without_being_told_nobody_is_asked,
];

fn kept_alive(on: On) -> Drill {
    let mut d = Drill::new(on);
    d.set(OptName::KeepAlive, 1);
    d.set(OptName::KeepIdle, 2);
    d.set(OptName::KeepInterval, 1);
    d.set(OptName::KeepCount, 3);
    d.accept("<mss 1000>");
    d
}

/// RFC 9293 MAY-5; RFC 9293 MUST-26, SHLD-12
fn a_silent_peer_is_asked_and_an_answer_is_enough(on: On) {
    let mut d = kept_alive(on);
    d.at(1_000);
    d.inject("P. 1:11(10) ack 1");
    d.at(2_950);
    d.expect(". 1:1(0) ack 11");
    d.silent();
    d.at(3_100);
    d.expect_all(&[". 0:0(0) ack 11"]);
    d.inject(". 11:11(0) ack 1");
    d.at(4_900);
    d.silent();
    d.at(5_200);
    d.expect_all(&[". 0:0(0) ack 11"]);
    d.read(1, 10);
}

/// RFC 9293 MUST-25, MUST-29
fn a_dead_peer_is_reset(on: On) {
    let mut d = kept_alive(on);
    for at in [2_100, 3_200, 4_300] {
        d.at(at);
        d.expect_all(&[". 0:0(0) ack 1"]);
    }
    d.at(5_500);
    d.expect_all(&["R. 1:1(0) ack 1"]);
    assert_eq!(d.recv(1), Err(SocketError::TimedOut.into()));
    assert_eq!(d.state(), State::Closed);
}

/// RFC 9293 MUST-26: only when nothing is outstanding
fn keepalive_leaves_a_waiting_retransmission_alone(on: On) {
    let mut d = kept_alive(on);
    d.write(1, 10).unwrap();
    d.at(7_000);
    let sent = d.sent();
    assert!(sent.len() >= 4 && sent.iter().all(|s| s.len() == 10), "{sent:?}");
}

/// RFC 9293 MUST-24
fn keepalive_can_be_turned_on_later(on: On) {
    let mut d = Drill::established(on);
    d.at(500);
    d.set(OptName::KeepIdle, 2);
    d.set(OptName::KeepAlive, 1);
    d.at(1_950);
    d.silent();
    d.at(2_700);
    d.expect_all(&[". 0:0(0) ack 1"]);
}

/// RFC 9293 MUST-25: off by default
fn without_being_told_nobody_is_asked(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::KeepIdle, 1);
    d.accept("<mss 1000>");
    d.at(3_000);
    d.silent();
}
