//! RACK-TLP: RFC 8985. Segments are sent over a path of 100 ms, so the reordering window is 25 ms.

use super::{drills, in_flight, ranges};
use crate::On;

drills![
    what_was_overtaken_is_lost_when_the_reordering_window_ends,
    what_comes_late_within_the_window_is_not_sent_again,
    three_sacked_segments_need_no_time,
    a_lost_retransmission_is_sent_again,
    what_left_with_a_retransmission_does_not_overtake_it,
    a_silent_tail_is_probed_once_before_the_time_out,
    a_probe_is_new_data_if_there_is,
    a_single_segment_is_probed_when_the_rto_would_come,
    without_sack_nobody_probes,
    a_lost_tail_needs_no_time_out,
];

const SACK: &str = "<mss 1000,sackOK>";

/// RFC 8985 §6.2, step 5
fn what_was_overtaken_is_lost_when_the_reordering_window_ends(on: On) {
    let mut d = in_flight(on, SACK, 10);
    d.wait(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.wait(15);
    d.silent();
    d.wait(25);
    d.expect_all(&[".p 1:1001(1000)"]);
}

/// RFC 8985 §6.2, step 5
fn what_comes_late_within_the_window_is_not_sent_again(on: On) {
    let mut d = in_flight(on, SACK, 10);
    d.wait(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.wait(8);
    d.inject(". 1:1(0) ack 2001");
    d.wait(70);
    d.silent();
}

/// RFC 8985 §6.2, step 4
fn three_sacked_segments_need_no_time(on: On) {
    let mut d = in_flight(on, SACK, 10);
    d.wait(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:2001>");
    d.inject(". 1:1(0) ack 1 <sack 1001:3001>");
    d.silent();
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    d.expect_all(&[".p 1:1001(1000)"]);
}

/// RFC 8985 §6.2, steps 2 and 5
fn a_lost_retransmission_is_sent_again(on: On) {
    let mut d = in_flight(on, SACK, 10);
    d.write(10_001, 2000).unwrap();
    d.wait(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:4001>");
    assert!(ranges(&mut d).contains(&(1, 1001)));
    d.wait(8);
    d.inject(". 1:1(0) ack 1 <sack 1001:10001>");
    assert!(ranges(&mut d).contains(&(10_001, 11_001)));
    d.wait(100);
    d.inject(". 1:1(0) ack 1 <sack 1001:11001>");
    assert!(ranges(&mut d).contains(&(1, 1001)));
}

/// RFC 8985 §6.2, step 2: RACK_sent_after, where the clock says nothing
fn what_left_with_a_retransmission_does_not_overtake_it(on: On) {
    let mut d = in_flight(on, SACK, 10);
    d.write(10_001, 5000).unwrap();
    d.wait(100);
    // What this ACK releases leaves before the copy that the next ones call for.
    d.inject(". 1:1(0) ack 1001");
    d.inject(". 1:1(0) ack 1001 <sack 2001:5001>");
    let sent = ranges(&mut d);
    assert!(sent.starts_with(&[(10_001, 11_001)]) && sent.contains(&(1001, 2001)), "{sent:?}");
    d.wait(100);
    d.inject(". 1:1(0) ack 1001 <sack 2001:12001>");
    let sent = ranges(&mut d);
    assert!(!sent.contains(&(1001, 2001)), "{sent:?}");
}

/// RFC 8985 §7.2, §7.3
fn a_silent_tail_is_probed_once_before_the_time_out(on: On) {
    let mut d = in_flight(on, SACK, 10);
    d.wait(185);
    d.silent();
    d.wait(45);
    d.expect_all(&["P. 9001:10001(1000)"]);
    d.wait(255);
    d.silent();
    d.wait(90);
    d.expect_all(&[".p 1:1001(1000)"]);
}

/// RFC 8985 §7.3
fn a_probe_is_new_data_if_there_is(on: On) {
    let mut d = in_flight(on, SACK, 12);
    d.wait(185);
    d.silent();
    d.wait(45);
    d.expect_all(&[".p 10001:11001(1000)"]);
}

/// RFC 8985 §7.2
fn a_single_segment_is_probed_when_the_rto_would_come(on: On) {
    let mut d = in_flight(on, SACK, 1);
    d.wait(280);
    d.silent();
    d.wait(60);
    d.expect_all(&["P. 1:1001(1000)"]);
}

/// RFC 8985 §4, §7.2
fn without_sack_nobody_probes(on: On) {
    let mut d = in_flight(on, "<mss 1000>", 10);
    d.wait(280);
    d.silent();
    d.wait(60);
    d.expect_all(&[".p 1:1001(1000)"]);
}

/// RFC 8985 §7.1, §7.4
fn a_lost_tail_needs_no_time_out(on: On) {
    let mut d = in_flight(on, SACK, 10);
    d.wait(100);
    d.inject(". 1:1(0) ack 7001");
    d.wait(235);
    assert_eq!(ranges(&mut d), [(9001, 10_001)]);
    d.wait(100);
    d.inject(". 1:1(0) ack 7001 <sack 9001:10001>");
    assert!(ranges(&mut d).starts_with(&[(7001, 8001)]));
}
