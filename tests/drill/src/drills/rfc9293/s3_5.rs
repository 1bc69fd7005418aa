//! Establishing a connection: RFC 9293 §3.5, §3.10.7.2, §3.10.7.3.

use stack::error::SocketError;
use stack::types::Readiness;

use super::drills;
use crate::{Drill, Family, Knob, On, State};

drills![
    a_listener_answers_with_what_was_offered,
    what_was_not_offered_is_not_answered,
    connect_is_answered_and_acknowledged,
    data_on_the_syn_ack_is_taken,
    a_syn_is_sent_again_with_doubled_patience_and_then_given_up,
    a_syn_ack_is_sent_again_when_asked,
    a_syn_ack_is_sent_again_by_itself,
    a_refused_connect_says_so,
    in_syn_sent_only_our_own_syn_can_be_acknowledged,
    in_syn_sent_other_resets_are_not_heard,
    both_ends_may_open_at_once,
    a_reset_ends_a_listeners_attempt_without_a_word,
    an_ack_of_something_else_is_reset_in_syn_received,
    a_connection_is_accepted_only_when_it_is_established,
    a_listener_ignores_resets_and_resets_acks,
];

fn connecting(on: On) -> Drill {
    connecting_with(on, &[])
}

fn connecting_with(on: On, knobs: &[Knob]) -> Drill {
    let mut d = Drill::with(on, knobs);
    assert_eq!(d.connect(), Err(SocketError::InProgress.into()));
    let mss = d.mss();
    d.expect(&format!("S 0:0(0) <mss {mss},sackOK,wscale,TS * 0>"));
    d
}

/// RFC 9293 §3.5; RFC 7323 §2.2, §3.2; RFC 2018 §2
fn a_listener_answers_with_what_was_offered(on: On) {
    let mut d = Drill::listening(on);
    let mss = d.mss();
    d.inject("S 0:0(0) win 65535 <mss 1000,sackOK,wscale 7,TS 100 0>");
    d.expect(&format!("S. 0:0(0) ack 1 <mss {mss},sackOK,wscale,TS * 100>"));
    assert_eq!(d.state(), State::SynReceived);
    d.inject(". 1:1(0) ack 1 win 502 <TS 101 last>");
    assert_eq!(d.state(), State::Established);
    d.silent();
    assert!(d.ready().contains(Readiness::OUT));
    let info = d.info();
    assert_eq!((info.snd_mss, info.wscale.0), (988, 7));
}

/// RFC 9293 MUST-15: 536 for IPv4, 1220 for IPv6; RFC 7323 §1.3
fn what_was_not_offered_is_not_answered(on: On) {
    let mut d = Drill::listening(on);
    let mss = d.mss();
    d.inject("S 0:0(0)");
    d.expect(&format!("S. 0:0(0) ack 1 <mss {mss},no wscale,no TS,no sackOK>"));
    d.inject(". 1:1(0) ack 1");
    d.write(1, 2000).unwrap();
    let len = if on.family() == Family::V4 { 536 } else { 1220 };
    d.expect(&format!(". 1:{}({len}) ack 1", len + 1));
    d.sent();
}

/// RFC 9293 §3.5; RFC 6298 §2.2
fn connect_is_answered_and_acknowledged(on: On) {
    let mut d = connecting(on);
    d.at(30);
    d.inject("S. 0:0(0) ack 1 win 65535 <mss 1460,sackOK,wscale 7,TS 9 last>");
    d.expect_all(&[". 1:1(0) ack 1 <TS * 9>"]);
    assert_eq!(d.state(), State::Established);
    assert!((28_000..45_000).contains(&d.info().rtt), "{:?}", d.info().rtt);
    assert_eq!(d.ready(), Readiness::OUT);
    assert_eq!(d.error(), 0);
}

/// RFC 9293 §3.10.7.3: text may come with the SYN
fn data_on_the_syn_ack_is_taken(on: On) {
    let mut d = connecting(on);
    d.inject("S. 0:5(5) ack 1 win 1000 <mss 1460>");
    d.expect(". 1:1(0) ack 6");
    assert_eq!(d.recv(9).map(|b| b.len()), Ok(5));
}

/// RFC 9293 MUST-22, MUST-23; RFC 6298 §5.5, §5.7; RFC 1122 §4.2.3.5
fn a_syn_is_sent_again_with_doubled_patience_and_then_given_up(on: On) {
    let mut d = connecting_with(on, &[Knob::SynRetries(2), Knob::KernelOnly("tcp_syn_linear_timeouts", "0")]);
    for at in [1000, 3000] {
        d.at(at - 20);
        d.silent();
        d.at(at);
        d.expect("S 0:0(0)");
    }
    d.at(6_950);
    assert_eq!(d.state(), State::SynSent);
    d.at(7_700);
    d.silent();
    assert_eq!(d.state(), State::Closed);
    assert!(d.ready().contains(Readiness::ERR | Readiness::HUP));
    assert_eq!(d.error(), SocketError::TimedOut.errno());
}

/// RFC 9293 §3.10.7.4: a SYN that comes again
fn a_syn_ack_is_sent_again_when_asked(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 1000 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    d.inject("S 0:0(0) win 1000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1"]);
}

/// RFC 9293 MUST-23; RFC 6298 §5.5
fn a_syn_ack_is_sent_again_by_itself(on: On) {
    let mut d = Drill::with(on, &[Knob::SynAckRetries(2)]);
    d.inject("S 0:0(0) win 1000 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    for at in [1000, 3000] {
        d.at(at - 20);
        d.silent();
        d.at(at);
        d.expect_all(&["S. 0:0(0) ack 1"]);
    }
    d.at(7_800);
    d.silent();
    assert_eq!(d.state(), State::Closed);
}

/// RFC 9293 §3.10.7.3
fn a_refused_connect_says_so(on: On) {
    let mut d = connecting(on);
    d.inject("R. 0:0(0) ack 1 win 0");
    assert_eq!(d.state(), State::Closed);
    assert_eq!(d.recv(1), Err(SocketError::ConnectionRefused.into()));
    assert_eq!(d.recv(1), Ok(vec![]));
    assert_eq!(d.write(1, 1), Err(SocketError::BrokenPipe.into()));
    d.silent();
}

/// RFC 9293 §3.10.7.3
fn in_syn_sent_only_our_own_syn_can_be_acknowledged(on: On) {
    let mut d = connecting(on);
    d.inject(". 0:0(0) ack 0");
    d.expect("R 0:0(0)");
    d.inject("S. 0:0(0) ack 7 win 0");
    d.expect("R 7:7(0)");
    d.silent();
    assert_eq!(d.state(), State::SynSent);
}

/// RFC 9293 §3.10.7.3; RFC 5961 §3.2
fn in_syn_sent_other_resets_are_not_heard(on: On) {
    let mut d = connecting(on);
    d.inject("R. 0:0(0) ack 2 win 0");
    d.inject("R 0:0(0) win 0");
    d.inject(". 0:0(0) ack 1");
    assert_eq!(d.state(), State::SynSent);
}

/// RFC 9293 MUST-10
fn both_ends_may_open_at_once(on: On) {
    let mut d = connecting(on);
    d.inject("S 0:0(0) win 5000 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    assert_eq!(d.state(), State::SynReceived);
    d.inject("S. 0:0(0) ack 1 win 5000 <mss 1000>");
    d.expect(". 1:1(0) ack 1");
    d.inject(". 1:1(0) ack 1 win 5000");
    assert_eq!(d.state(), State::Established);
    d.silent();
}

/// RFC 9293 MUST-11, §3.10.7.4
fn a_reset_ends_a_listeners_attempt_without_a_word(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 1000");
    d.expect("S. 0:0(0) ack 1");
    d.inject("R 1:1(0)");
    assert_eq!(d.state(), State::Closed);
    d.silent();
    d.inject("S 0:0(0) win 1000");
    d.expect("S. 0:0(0) ack 1");
}

/// RFC 9293 §3.10.7.4
fn an_ack_of_something_else_is_reset_in_syn_received(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 1000");
    d.expect("S. 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 9");
    d.expect("R 9:9(0)");
    assert_eq!(d.state(), State::SynReceived);
}

/// Several connections on one port; accept(2) as Linux has it
fn a_connection_is_accepted_only_when_it_is_established(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 1000");
    d.expect("S. 0:0(0) ack 1");
    assert_eq!(d.take(), Err(SocketError::WouldBlock.into()));
    d.inject(". 1:1(0) ack 1");
    assert_eq!(d.take(), Ok(()));
    assert_eq!(d.state(), State::Established);
}

/// RFC 9293 §3.10.7.2
fn a_listener_ignores_resets_and_resets_acks(on: On) {
    let mut d = Drill::listening(on);
    d.inject("R 5:5(0)");
    d.inject("RS 5:5(0)");
    d.silent();
    d.inject(". 5:5(0) ack 77");
    d.expect_all(&["R 77:77(0)"]);
    d.inject("S. 5:5(0) ack 77");
    d.expect_all(&["R 77:77(0)"]);
    d.inject("F 5:5(0)");
    d.silent();
    assert_eq!(d.state(), State::Listen);
}
