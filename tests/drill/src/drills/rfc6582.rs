//! Without SACK: limited transmit (RFC 3042) and NewReno (RFC 6582). The path is 100 ms long.

use super::{drills, in_flight, ranges};
use crate::On;

drills![two_duplicates_let_two_segments_out, one_hole_a_round_trip, an_ack_with_text_is_no_duplicate];

/// RFC 3042 §2; RFC 5681 §3.2
fn two_duplicates_let_two_segments_out(on: On) {
    let mut d = in_flight(on, "<mss 1000>", 14);
    d.wait(100);
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[".p 10001:11001(1000)"]);
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[".p 11001:12001(1000)"]);
    d.inject(". 1:1(0) ack 1");
    assert!(ranges(&mut d).starts_with(&[(1, 1001)]));
}

/// RFC 6582 §3.2, step 3
fn one_hole_a_round_trip(on: On) {
    let mut d = in_flight(on, "<mss 1000>", 10);
    d.wait(100);
    for _ in 0..3 {
        d.inject(". 1:1(0) ack 1");
    }
    assert_eq!(ranges(&mut d), [(1, 1001)]);
    for hole in [3001, 5001, 7001] {
        d.inject(&format!(". 1:1(0) ack {hole}"));
        assert_eq!(ranges(&mut d), [(hole, hole + 1000)]);
    }
    d.inject(". 1:1(0) ack 10001");
    d.silent();
}

/// RFC 5681 §2
fn an_ack_with_text_is_no_duplicate(on: On) {
    let mut d = in_flight(on, "<mss 1000>", 10);
    for n in 0..5 {
        d.inject(&format!(". {}:{}(100) ack 1", n * 100 + 1, n * 100 + 101));
    }
    assert!(ranges(&mut d).iter().all(|(from, to)| from == to));
}
