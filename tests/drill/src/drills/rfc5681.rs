//! Congestion control as an onlooker sees it: RFC 5681, RFC 6928.

use super::drills;
use crate::{Drill, On};

drills![
    the_first_window_is_ten_segments,
    in_slow_start_each_ack_lets_as_much_again_go,
    three_duplicate_acks_mean_a_loss,
    what_is_out_of_order_is_acknowledged_at_once,
    what_fills_a_hole_is_acknowledged_at_once,
    a_time_out_leaves_one_segment,
];

/// RFC 5681 §3.1; RFC 6928 §2
fn the_first_window_is_ten_segments(on: On) {
    let mut d = Drill::new(on);
    d.accept_window("<mss 1000>", 60_000);
    d.write(1, 30_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    assert_eq!(d.info().snd_cwnd, 10);
}

/// RFC 5681 §3.1; RFC 9293 MUST-19
fn in_slow_start_each_ack_lets_as_much_again_go(on: On) {
    let mut d = Drill::new(on);
    d.accept_window("<mss 1000>", 60_000);
    d.write(1, 30_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d.inject(". 1:1(0) ack 2001 win 60000");
    assert_eq!(d.sent().len(), 4);
    d.inject(". 1:1(0) ack 4001 win 60000");
    assert_eq!(d.sent().len(), 4);
}

/// RFC 5681 §3.2
fn three_duplicate_acks_mean_a_loss(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000>");
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d.wait(5);
    for _ in 0..2 {
        d.inject(". 1:1(0) ack 1");
        d.silent();
    }
    d.inject(". 1:1(0) ack 1");
    d.expect_all(&[".p 1:1001(1000)"]);
    assert!(d.info().snd_ssthresh < 10);
}

/// RFC 5681 §4.2; RFC 9293 MAY-13, SHLD-31
fn what_is_out_of_order_is_acknowledged_at_once(on: On) {
    let mut d = Drill::established(on);
    d.inject("P. 101:201(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1"]);
    d.inject("P. 301:401(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 1"]);
}

/// RFC 5681 §4.2; RFC 9293 MUST-58, MUST-59
fn what_fills_a_hole_is_acknowledged_at_once(on: On) {
    let mut d = Drill::established(on);
    d.inject("P. 101:201(100) ack 1");
    d.inject("P. 301:401(100) ack 1");
    d.sent();
    d.inject("P. 1:101(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 201"]);
    d.inject("P. 201:301(100) ack 1");
    d.expect_all(&[". 1:1(0) ack 401"]);
    d.read(1, 400);
}

/// RFC 5681 §3.1 (4); RFC 6298 §5.4, §5.5, §5.6
fn a_time_out_leaves_one_segment(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000>");
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    // A tail loss probe may come first where there is SACK; here there is none.
    d.at(190);
    d.silent();
    d.at(230);
    d.expect_all(&[".p 1:1001(1000)"]);
    d.at(560);
    d.silent();
    d.at(640);
    d.expect_all(&[".p 1:1001(1000)"]);
}
