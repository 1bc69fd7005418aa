//! Appropriate byte counting: RFC 3465.

use super::drills;
use crate::{Drill, On};

drills![
    acks_of_pieces_open_no_more_than_an_ack_of_the_whole,
    an_ack_of_several_segments_opens_by_as_many,
    after_a_time_out_an_ack_opens_by_one_segment,
];

fn with_ten_in_flight(on: On) -> Drill {
    let mut d = Drill::new(on);
    d.accept_window("<mss 1000>", 60_000);
    d.write(1, 30_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d
}

/// RFC 3465 §1: a receiver that divides its ACKs gains nothing.
fn acks_of_pieces_open_no_more_than_an_ack_of_the_whole(on: On) {
    let mut d = with_ten_in_flight(on);
    for ack in (101..=1001).step_by(100) {
        d.inject(&format!(". 1:1(0) ack {ack} win 60000"));
    }
    assert_eq!(d.sent().len(), 2);
    assert_eq!(d.info().snd_cwnd, 11);
}

/// RFC 3465 §2.2
fn an_ack_of_several_segments_opens_by_as_many(on: On) {
    let mut d = with_ten_in_flight(on);
    d.inject(". 1:1(0) ack 3001 win 60000");
    assert_eq!(d.sent().len(), 6);
    assert_eq!(d.info().snd_cwnd, 13);
}

/// RFC 3465 §2.3
fn after_a_time_out_an_ack_opens_by_one_segment(on: On) {
    let mut d = Drill::new(on);
    d.accept_window("<mss 1000>", 60_000);
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d.at(300);
    d.expect_all(&[".p 1:1001(1000)"]);
    d.inject(". 1:1(0) ack 1001 win 60000");
    d.expect_all(&[".p 1001:2001(1000)", ".p 2001:3001(1000)"]);
    d.inject(". 1:1(0) ack 3001 win 60000");
    assert_eq!(d.sent().len(), 3);
}
