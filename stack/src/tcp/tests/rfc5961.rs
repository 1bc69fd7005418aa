//! Blind attacks: RFC 5961 §3, §4, §5, §7; PAWS and missing timestamps: RFC 7323 §3.2, §5.3.

use super::drill::Drill;
use crate::tcp::State;

#[test]
fn a_reset_must_hit_exactly() {
    let mut d = Drill::established();
    d.inject("R 2:2(0)");
    d.expect_all(&[". 1:1(0) ack 1"]);
    d.inject("R 60000:60000(0)");
    d.expect_all(&[". 1:1(0) ack 1"]);
    d.inject("R 70000:70000(0)");
    d.inject("R 0:0(0)");
    d.silent();
    assert_eq!(d.state(), State::Established);
    assert_eq!(d.host.stats.tcp_challenge_acks, 2);
    d.inject("R 1:1(0)");
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

#[test]
fn a_syn_is_challenged_wherever_it_hits() {
    let mut d = Drill::established();
    d.inject("S 1:1(0)");
    d.inject("S 50:50(0)");
    d.inject("S. 100:100(0) ack 1");
    d.expect_all(&[". 1:1(0) ack 1"; 3]);
    d.inject("S 0:0(0)");
    d.inject("S 900000:900000(0)");
    d.expect_all(&[". 1:1(0) ack 1"; 2]);
    assert_eq!(d.state(), State::Established);
}

#[test]
fn data_with_an_ack_from_nowhere_is_not_taken() {
    let mut d = Drill::established();
    d.write(1, 500).unwrap();
    d.expect("P. 1:501(500)");
    d.inject("P. 1:101(100) ack 502");
    d.expect_all(&[". 501:501(0) ack 1"]);
    d.inject("P. 1:101(100) ack -30000");
    d.expect_all(&[". 501:501(0) ack 1"]);
    assert_eq!(d.host.tcb().recv_queue(), 0);
    // An old ACK within the largest window is merely old.
    d.inject("P. 1:101(100) ack -10000");
    assert_eq!(d.host.tcb().recv_queue(), 100);
    assert_eq!(d.host.tcb().send_queue(), 500);
}

#[test]
fn challenges_are_limited() {
    let mut d = Drill::new();
    d.host.config.challenge_acks_per_second = 3;
    d.accept("<mss 1000>");
    for _ in 0..10 {
        d.inject("R 2:2(0)");
    }
    d.expect_all(&[". 1:1(0) ack 1"; 3]);
    d.at(1000);
    d.inject("R 2:2(0)");
    d.expect_all(&[". 1:1(0) ack 1"]);
}

#[test]
fn empty_segments_outside_the_window_cannot_make_an_ack_storm() {
    let mut d = Drill::new();
    d.host.config.challenge_acks_per_second = 3;
    d.accept("<mss 1000>");
    for _ in 0..10 {
        d.inject(". 0:0(0) ack 1");
    }
    d.expect_all(&[". 1:1(0) ack 1"; 3]);
    // Text is another matter: our ACK may have been lost.
    d.inject("P. 1:11(10) ack 1");
    for _ in 0..5 {
        d.inject("P. 1:11(10) ack 1");
    }
    d.expect_all(&[". 1:1(0) ack 11"; 5]);
    d.read(1, 10);
}

#[test]
fn segments_without_an_ack_are_dropped() {
    let mut d = Drill::established();
    d.inject("P 1:101(100)");
    d.inject("F 1:1(0)");
    d.silent();
    assert_eq!(d.host.tcb().recv_queue(), 0);
    assert_eq!(d.state(), State::Established);
}

#[test]
fn paws_refuses_the_old_and_keeps_what_is_due() {
    let mut d = Drill::new();
    d.inject("S 0:0(0) win 20000 <mss 1000,TS 100 0>");
    d.expect("S. 0:0(0) ack 1 <TS>");
    d.inject(". 1:1(0) ack 1 <TS 101 0>");
    assert_eq!(d.state(), State::Established);
    d.inject("P. 1:11(10) ack 1 <TS 99 0>");
    let seg = d.expect(". 1:1(0) ack 1");
    assert_eq!(seg.options.timestamps.unwrap().ecr, 101);
    assert_eq!(d.host.stats.tcp_paws, 1);
    // Without its timestamp a segment is of another time (RFC 7323 §3.2).
    d.inject("P. 1:11(10) ack 1");
    d.silent();
    // A reset is not subject to PAWS.
    d.inject("P. 11:21(10) ack 1 <TS 200 0>");
    let seg = d.expect(". 1:1(0) ack 1");
    assert_eq!(seg.options.timestamps.unwrap().ecr, 101, "out of order: not echoed");
    d.inject("P. 1:11(10) ack 1 <TS 150 0>");
    let seg = d.expect(". 1:1(0) ack 21");
    assert_eq!(seg.options.timestamps.unwrap().ecr, 150, "of the segment that filled the hole");
    d.inject("R 21:21(0) <TS 1 0>");
    assert_eq!(d.state(), State::Closed);
}
