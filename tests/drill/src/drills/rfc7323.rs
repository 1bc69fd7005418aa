//! Window scale, timestamps, PAWS: RFC 7323.

use super::drills;
use crate::{Drill, On, State};

drills![
    a_scaled_window_is_read_scaled,
    the_window_of_a_syn_is_not_scaled,
    a_shift_over_fourteen_counts_as_fourteen,
    every_segment_has_timestamps_once_agreed,
    a_segment_without_is_dropped,
    the_echo_is_that_of_what_advances_the_window,
    paws_refuses_the_old,
    a_reset_is_not_subject_to_paws,
    a_timestamp_tells_which_copy_arrived,
];

/// RFC 7323 §2.2, §2.3
fn a_scaled_window_is_read_scaled(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000,wscale 4>");
    d.expect("S. 0:0(0) ack 1 <wscale>");
    // 1,600 octets: one segment, and a part.
    d.inject(". 1:1(0) ack 1 win 100");
    d.write(1, 5000).unwrap();
    let sent: u32 = d.sent().iter().map(crate::Segment::len).sum();
    assert!((1000..=1600).contains(&sent), "{sent}");
}

/// RFC 7323 §2.2
fn the_window_of_a_syn_is_not_scaled(on: On) {
    let mut d = Drill::new(on);
    assert!(d.connect().is_err());
    d.expect("S 0:0(0) <wscale>");
    d.inject("S. 0:0(0) ack 1 win 3000 <mss 1000,wscale 7>");
    d.expect(". 1:1(0) ack 1");
    d.write(1, 10_000).unwrap();
    let sent: u32 = d.sent().iter().map(crate::Segment::len).sum();
    assert!(sent <= 3000, "{sent}");
}

/// RFC 7323 §2.3
fn a_shift_over_fourteen_counts_as_fourteen(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000,wscale 15>");
    d.expect("S. 0:0(0) ack 1 <wscale>");
    d.inject(". 1:1(0) ack 1 win 1");
    assert_eq!(d.info().wscale.0, 14);
}

/// RFC 7323 §3.2
fn every_segment_has_timestamps_once_agreed(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.write(1, 10).unwrap();
    d.expect("P. 1:11(10) <TS * 2>");
    d.inject("P. 1:11(10) ack 11 <TS 5 last>");
    d.wait(300);
    d.expect(". 11:11(0) ack 11 <TS * 5>");
    d.read(1, 10);
    d.close();
    d.expect("F. 11:11(0) <TS * 5>");
}

/// RFC 7323 §3.2
fn a_segment_without_is_dropped(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1");
    assert!(d.recv(1).is_err());
}

/// RFC 7323 §4.3
fn the_echo_is_that_of_what_advances_the_window(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 11:21(10) ack 1 <TS 200 last>");
    d.expect_all(&[". 1:1(0) ack 1 <TS * 2>"]);
    d.inject("P. 1:11(10) ack 1 <TS 150 last>");
    d.expect_all(&[". 1:1(0) ack 21 <TS * 150>"]);
    d.read(1, 20);
}

/// RFC 7323 §5.3
fn paws_refuses_the_old(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1 <TS 500 last>");
    d.sent();
    d.read(1, 10);
    d.inject("P. 11:21(10) ack 1 <TS 498 last>");
    d.expect_all(&[". 1:1(0) ack 11 <TS * 500>"]);
    assert!(d.recv(1).is_err());
    d.inject("P. 11:21(10) ack 1 <TS 500 last>");
    d.read(11, 10);
}

/// RFC 7323 §5.2, §5.3
fn a_reset_is_not_subject_to_paws(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1 <TS 500 last>");
    d.sent();
    d.inject("R 11:11(0) <TS 1 last>");
    assert_eq!(d.state(), State::Closed);
}

/// RFC 7323 §4.1; RFC 6298 §3
fn a_timestamp_tells_which_copy_arrived(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.at(215);
    d.expect("P. 1:101(100)");
    d.inject(". 1:1(0) ack 101 <TS 3 last>");
    assert_eq!(d.info().backoff, 0);
    assert!(d.info().rtt < 60_000, "{:?}", d.info());
}
