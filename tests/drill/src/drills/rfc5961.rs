//! Blind attacks: RFC 5961.

use super::drills;
use crate::{Drill, Knob, On, State};

drills![
    a_reset_must_hit_exactly,
    a_syn_is_challenged_wherever_it_hits,
    data_with_an_ack_from_nowhere_is_not_taken,
    data_with_an_ack_of_the_future_is_not_taken,
    challenges_are_limited,
    empty_segments_outside_the_window_cannot_make_an_ack_storm,
];

/// RFC 5961 §3.2
fn a_reset_must_hit_exactly(on: On) {
    let mut d = Drill::established(on);
    d.inject("R 2:2(0)");
    d.expect_all(&[". 1:1(0) ack 1"]);
    d.inject("R 60000:60000(0)");
    d.expect_all(&[". 1:1(0) ack 1"]);
    d.inject("R 70000:70000(0)");
    d.inject("R 0:0(0)");
    d.silent();
    assert_eq!(d.state(), State::Established);
    d.inject("R 1:1(0)");
    assert_eq!(d.state(), State::Closed);
    d.silent();
}

/// RFC 5961 §4.2
fn a_syn_is_challenged_wherever_it_hits(on: On) {
    let mut d = Drill::established(on);
    d.inject("S 1:1(0)");
    d.inject("S 50:50(0)");
    d.inject("S. 100:100(0) ack 1");
    d.expect_all(&[". 1:1(0) ack 1"; 3]);
    d.inject("S 0:0(0)");
    d.inject("S 900000:900000(0)");
    d.expect_all(&[". 1:1(0) ack 1"; 2]);
    assert_eq!(d.state(), State::Established);
}

/// RFC 9293 MAY-12; RFC 5961 §5.2
fn data_with_an_ack_from_nowhere_is_not_taken(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 500).unwrap();
    d.expect("P. 1:501(500)");
    d.inject("P. 1:101(100) ack -30000");
    d.expect_all(&[". 501:501(0) ack 1"]);
    // An old ACK within the largest window is merely old.
    d.inject("P. 1:101(100) ack -10000");
    d.read(1, 100);
}

/// RFC 5961 §5.2
fn data_with_an_ack_of_the_future_is_not_taken(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 500).unwrap();
    d.expect("P. 1:501(500)");
    d.inject("P. 1:101(100) ack 502");
    d.expect_all(&[". 501:501(0) ack 1"]);
    d.inject("P. 1:101(100) ack 501");
    d.read(1, 100);
}

/// RFC 5961 §7
fn challenges_are_limited(on: On) {
    let mut d = Drill::with(on, &[Knob::ChallengeAcks(3)]);
    d.accept("<mss 1000>");
    for _ in 0..10 {
        d.inject("R 2:2(0)");
    }
    let answers = d.sent();
    assert!((2..=5).contains(&answers.len()), "{} challenges", answers.len());
    d.at(1100);
    d.inject("R 2:2(0)");
    d.expect_all(&[". 1:1(0) ack 1"]);
}

/// RFC 5961 §7
fn empty_segments_outside_the_window_cannot_make_an_ack_storm(on: On) {
    let knobs = [Knob::ChallengeAcks(3), Knob::KernelOnly("tcp_invalid_ratelimit", "500")];
    let mut d = Drill::with(on, &knobs);
    d.accept("<mss 1000>");
    for _ in 0..10 {
        d.inject(". 0:0(0) ack 1");
    }
    assert!((1..=3).contains(&d.sent().len()));
    // Text is another matter: our ACK may have been lost.
    d.inject("P. 1:11(10) ack 1");
    d.sent();
    for _ in 0..5 {
        d.inject("P. 1:11(10) ack 1");
    }
    d.expect_all(&[". 1:1(0) ack 11"; 5]);
    d.read(1, 10);
}
