//! Explicit congestion notification: RFC 3168.

use super::{drills, ranges};
use crate::segment::{ACK, CWR, ECE, SYN};
use crate::{Drill, Knob, On};

drills![
    who_wants_it_asks_and_is_answered,
    who_is_asked_agrees,
    who_is_not_asked_does_not,
    text_is_ect_and_acknowledgements_are_not,
    congestion_is_echoed_until_it_is_heard,
    an_echo_halves_the_window_once_and_is_answered,
    what_is_sent_again_is_not_ect,
    a_peer_that_answers_nonsense_is_not_believed,
];

fn agreed(on: On) -> Drill {
    let mut d = Drill::listening(on);
    d.inject("SEW 0:0(0) win 20000 <mss 1000,sackOK>");
    d.expect("[noecn] SE. 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 1 win 20000");
    assert_eq!(d.take(), Ok(()));
    d
}

/// RFC 9293 SHLD-8; RFC 3168 §6.1, §6.1.1
fn who_is_asked_agrees(on: On) {
    let mut d = agreed(on);
    d.write(1, 10).unwrap();
    d.expect("[ect0] P. 1:11(10)");
}

/// RFC 3168 §6.1.1
fn who_wants_it_asks_and_is_answered(on: On) {
    let mut d = Drill::with(on, &[Knob::Ecn(1)]);
    assert!(d.connect().is_err());
    d.expect("[noecn] SEW 0:0(0)");
    d.inject("SE. 0:0(0) ack 1 <mss 1000>");
    d.expect("[noecn] . 1:1(0) ack 1");
    d.write(1, 10).unwrap();
    d.expect("[ect0] P. 1:11(10)");
}

/// RFC 3168 §6.1, §6.1.1
fn who_is_not_asked_does_not(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 10).unwrap();
    d.expect("[noecn] P. 1:11(10)");
    d.inject("[ce] P. 1:11(10) ack 11");
    d.wait(300);
    d.expect("[noecn] . 11:11(0) ack 11");
}

/// RFC 3168 §6.1.4
fn text_is_ect_and_acknowledgements_are_not(on: On) {
    let mut d = agreed(on);
    d.inject("[ect0] P. 1:11(10) ack 1");
    d.wait(300);
    d.expect("[noecn] . 1:1(0) ack 11");
    d.write(1, 10).unwrap();
    d.expect("[ect0] P. 1:11(10)");
}

/// RFC 3168 §6.1.3
fn congestion_is_echoed_until_it_is_heard(on: On) {
    let mut d = agreed(on);
    d.inject("[ce] P. 1:11(10) ack 1");
    d.wait(300);
    d.expect("E. 1:1(0) ack 11");
    d.inject("[ect0] P. 11:21(10) ack 1");
    d.wait(300);
    d.expect("E. 1:1(0) ack 21");
    d.inject("[ect0] PW. 21:31(10) ack 1");
    d.wait(300);
    d.expect(". 1:1(0) ack 31");
}

/// RFC 3168 §6.1.2
fn an_echo_halves_the_window_once_and_is_answered(on: On) {
    let mut d = agreed(on);
    d.write(1, 14_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    let before = d.info().snd_cwnd;
    d.inject("E. 1:1(0) ack 1001");
    d.inject("E. 1:1(0) ack 2001");
    d.inject("E. 1:1(0) ack 9001");
    let mut sent = d.sent();
    d.inject(". 1:1(0) ack 10001");
    sent.extend(d.sent());
    let answers = sent.iter().filter(|seg| seg.has(CWR)).count();
    assert_eq!(answers, 1, "{sent:?}");
    let after = d.info();
    assert!(after.snd_ssthresh < before && after.snd_ssthresh * 2 >= before, "{before} {after:?}");
}

/// RFC 3168 §6.1.5
fn what_is_sent_again_is_not_ect(on: On) {
    let mut d = agreed(on);
    d.write(1, 100).unwrap();
    d.expect("[ect0] P. 1:101(100)");
    d.wait(230);
    d.expect("[noecn] P. 1:101(100)");
    assert!(ranges(&mut d).is_empty());
}

/// RFC 3168 §6.1.1: a SYN-ACK that only reflects the flags of the SYN
fn a_peer_that_answers_nonsense_is_not_believed(on: On) {
    let mut d = Drill::new(on);
    assert!(d.connect().is_err());
    let syn = d.expect_one_of(&["S 0:0(0)", "SEW 0:0(0)"]);
    assert_eq!(syn.has(ECE), syn.has(CWR));
    d.inject("SEW. 0:0(0) ack 1 <mss 1000>");
    d.expect(". 1:1(0) ack 1");
    d.write(1, 10).unwrap();
    let seg = d.expect("[noecn] P. 1:11(10)");
    assert!(seg.has(ACK) && !seg.has(SYN));
}
