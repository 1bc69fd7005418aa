//! Initial sequence numbers: RFC 6528, RFC 9293 §3.4.1.

use super::drills;
use crate::{Drill, On, State};

drills![a_tuple_s_numbers_climb_with_the_clock, both_ways_of_opening_have_numbers_of_their_own];

/// RFC 6528 §3, RFC 9293 MUST-8: ISN = M + F(tuple, secret), and M runs on.
fn a_tuple_s_numbers_climb_with_the_clock(on: On) {
    let mut d = Drill::listening(on);
    let mut numbers = Vec::new();
    for _ in 0..4 {
        d.inject("S 0:0(0) <mss 1000>");
        let number = d.expect("S. 0:0(0) ack 1").seq;
        numbers.push((number, d.elapsed_ms()));
        d.inject("R 1:1(0)");
        assert_eq!(d.state(), State::Closed);
        d.wait(20);
    }
    for pair in numbers.windows(2) {
        let (climbed, passed) = (pair[1].0.wrapping_sub(pair[0].0), pair[1].1 - pair[0].1);
        // 64 ns a number: 15,625 a millisecond. A slow machine does not tell the exact time.
        let per_ms = u64::from(climbed) / passed.max(1);
        assert!((7_000..40_000).contains(&per_ms), "{climbed} numbers in {passed} ms");
    }
}

/// RFC 6528 §3
fn both_ways_of_opening_have_numbers_of_their_own(on: On) {
    let first = |on| {
        let mut d = Drill::new(on);
        let _ = d.connect();
        d.expect("S 0:0(0)").seq
    };
    // RFC 9293 MUST-8: not zero, not the clock's own.
    let number = first(on);
    assert_ne!(number, 0);
    assert_ne!(number >> 16, 0);
}
