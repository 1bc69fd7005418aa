//! Window scaling, timestamps, PAWS: RFC 7323.

use super::drills;
use crate::{Drill, On, State};

drills![
    a_window_is_scaled_both_ways,
    the_window_of_a_syn_is_not_scaled,
    a_shift_over_fourteen_counts_as_fourteen,
    scaling_is_not_answered_unasked,
    without_scaling_a_window_is_what_it_says,
    timestamps_are_not_answered_unasked,
    every_segment_carries_timestamps,
    a_segment_without_is_dropped,
    the_echo_is_that_of_the_segment_that_moved_the_edge,
    a_segment_out_of_order_is_not_echoed,
    the_segment_that_fills_a_hole_is_echoed,
    a_delayed_ack_echoes_the_first,
    paws_refuses_the_old,
    paws_compares_on_the_circle,
    a_reset_is_not_subject_to_paws,
    after_24_days_paws_says_nothing,
    a_timestamp_that_jumps_ahead_is_taken,
    the_round_trip_of_a_retransmission_is_known,
    the_window_of_a_syn_ack_is_not_scaled,
    a_timestamp_tells_which_copy_arrived,
];

/// RFC 7323 §2.3
fn a_window_is_scaled_both_ways(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000,wscale 3>");
    let shift = d.expect("S. 0:0(0) ack 1 <wscale>").wscale().unwrap();
    d.inject(". 1:1(0) ack 1 win 300");
    let info = d.info();
    assert_eq!(info.wscale, (3, shift));
    // 2,400 octets: two segments of a thousand, and what is left is too little for now.
    d.write(1, 5000).unwrap();
    d.expect("p. 1:1001(1000)");
    d.expect("p. 1001:2001(1000)");
    let ours = d.sent();
    assert!(ours.iter().all(|s| s.len() <= 400), "more than the window");
}

/// RFC 7323 §2.2
fn the_window_of_a_syn_is_not_scaled(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 1500 <mss 1000,wscale 7>");
    let syn_ack = d.expect("S. 0:0(0) ack 1 <wscale>");
    assert!(syn_ack.wnd > 2000, "{}: scaled", syn_ack.wnd);
    d.inject(". 1:1(0) ack 1 win 8");
    d.write(1, 3000).unwrap();
    let first = d.expect("p. ack 1").len();
    let all: u32 = first + d.sent().iter().map(|s| s.len()).sum::<u32>();
    assert!(all <= 1024, "{all} octets");
}

/// RFC 7323 §2.3
fn a_shift_over_fourteen_counts_as_fourteen(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,wscale 15>");
    assert_eq!(d.info().wscale.0, 14);
}

/// RFC 7323 §2.2
fn scaling_is_not_answered_unasked(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1 <no wscale>"]);
}

/// RFC 7323 §2.2
fn without_scaling_a_window_is_what_it_says(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 2000 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 1 win 2000");
    d.write(1, 5000).unwrap();
    d.expect("p. 1:1001(1000)");
    d.expect("p. 1001:2001(1000)");
    d.silent();
}

/// RFC 7323 §3.2
fn timestamps_are_not_answered_unasked(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 1 <no TS>"]);
    d.inject(". 1:1(0) ack 1");
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100) <no TS>");
}

/// RFC 7323 §3.2
fn every_segment_carries_timestamps(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100) ack 1 <TS * 2>");
    d.inject("P. 1:11(10) ack 101 <TS 5 last>");
    d.wait(300);
    d.expect(". 101:101(0) ack 11 <TS * 5>");
    d.close();
    // What was not read turns the end into a reset, which may do without.
    d.sent();
}

/// RFC 7323 §3.2
fn a_segment_without_is_dropped(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1");
    d.wait(300);
    d.silent();
    assert!(d.recv(100).is_err(), "nothing was taken");
}

/// RFC 7323 §4.3 (2)
fn the_echo_is_that_of_the_segment_that_moved_the_edge(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:1001(1000) ack 1 <TS 10 last>");
    d.inject("P. 1001:2001(1000) ack 1 <TS 12 last>");
    d.wait(300);
    let last = d.sent().pop().unwrap();
    assert!(matches!(last.ts(), Some((_, 10 | 12))), "{last:?}");
    d.inject("P. 2001:3001(1000) ack 1 <TS 20 last>");
    d.inject("P. 3001:4001(1000) ack 1 <TS 21 last>");
    d.wait(300);
    d.sent();
    d.inject("P. 1:1001(1000) ack 1 <TS 30 last>");
    // An old segment does not move the edge; its clock counts all the same: it is not older.
    let echo = d.expect(". 1:1(0) ack 4001").ts().unwrap().1;
    assert!((20..=30).contains(&echo));
}

/// RFC 7323 §4.3 (2)
fn a_segment_out_of_order_is_not_echoed(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1001:2001(1000) ack 1 <TS 10 last>");
    d.expect(". 1:1(0) ack 1 <TS * 2>");
}

/// RFC 7323 §4.3, example
fn the_segment_that_fills_a_hole_is_echoed(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1001:2001(1000) ack 1 <TS 10 last>");
    d.expect(". 1:1(0) ack 1 <TS * 2>");
    d.inject("P. 1:1001(1000) ack 1 <TS 9 last>");
    d.expect(". 1:1(0) ack 2001 <TS * 9>");
}

/// RFC 7323 §4.3 (A): of two segments that one ACK answers, the first is echoed.
fn a_delayed_ack_echoes_the_first(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1 <TS 10 last>");
    d.inject("P. 11:21(10) ack 1 <TS 11 last>");
    d.wait(300);
    let echo = d.sent().pop().unwrap().ts().unwrap().1;
    assert!(echo == 10 || echo == 11, "{echo}");
    d.read(1, 20);
}

/// RFC 7323 §5.3 R1
fn paws_refuses_the_old(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1 <TS 200 last>");
    d.wait(300);
    d.sent();
    d.inject("P. 11:21(10) ack 1 <TS 150 last>");
    d.expect_all(&[". 1:1(0) ack 11 <TS * 200>"]);
    d.read(1, 10);
    assert!(d.recv(10).is_err());
    d.inject("P. 11:21(10) ack 1 <TS 200 last>");
    d.read(11, 10);
}

/// RFC 7323 §5.2
fn paws_compares_on_the_circle(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 20000 <mss 1000,TS 4294967290 0>");
    d.expect("S. 0:0(0) ack 1");
    d.inject(". 1:1(0) ack 1 <TS 4294967295 last>");
    d.inject("P. 1:11(10) ack 1 <TS 5 last>");
    d.read(1, 10);
    d.sent();
    d.inject("P. 11:21(10) ack 1 <TS 4294967295 last>");
    d.expect(". 1:1(0) ack 11 <TS * 5>");
    assert!(d.recv(10).is_err());
}

/// RFC 7323 §5.2, §5.3 R1
fn a_reset_is_not_subject_to_paws(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1 <TS 200 last>");
    d.read(1, 10);
    d.inject("R 11:11(0) <TS 1 0>");
    assert_eq!(d.state(), State::Closed);
}

/// RFC 7323 §5.5
fn after_24_days_paws_says_nothing(on: On) {
    const DAY: u64 = 86_400_000;
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1 <TS 200 last>");
    d.wait(300);
    d.sent();
    d.wait(24 * DAY - 1000);
    d.inject("P. 11:21(10) ack 1 <TS 199 last>");
    d.expect(". 1:1(0) ack 11");
    d.wait(DAY);
    // The clock may have gone half round meanwhile: what is old cannot be told from what is new.
    d.inject("P. 11:21(10) ack 1 <TS 199 last>");
    d.read(1, 20);
    d.sent();
    // From here on it is judged by that.
    d.inject("P. 21:31(10) ack 1 <TS 198 last>");
    d.expect(". 1:1(0) ack 21 <TS * 199>");
}

/// RFC 7323 §5.2: a clock that leaps (half a circle at the most) is a clock.
fn a_timestamp_that_jumps_ahead_is_taken(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.inject("P. 1:11(10) ack 1 <TS 2147483000 last>");
    d.read(1, 10);
    // TS.Recent follows what was acknowledged.
    d.wait(300);
    d.sent();
    d.inject("P. 11:21(10) ack 1 <TS 4294960000 last>");
    d.read(11, 10);
    d.wait(300);
    d.sent();
    // And back by more than half: on again.
    d.inject("P. 21:31(10) ack 1 <TS 100 last>");
    d.read(21, 10);
}

/// RFC 7323 §3.1, §4: with timestamps Karn's ambiguity is gone.
fn the_round_trip_of_a_retransmission_is_known(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000,TS 1 0>");
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    let before = d.info().rtt;
    d.wait(2500);
    let copies = d.sent();
    let last = copies.last().expect("a retransmission").ts().unwrap().0;
    d.wait(100);
    d.inject(&format!(". 1:1(0) ack 101 <TS 3 {last}>"));
    let after = d.info().rtt;
    assert!(after > before && after < 2_500_000, "{before} then {after} µs");
}

/// RFC 7323 §2.2
fn the_window_of_a_syn_ack_is_not_scaled(on: On) {
    let mut d = Drill::new(on);
    assert!(d.connect().is_err());
    d.expect("S 0:0(0) <wscale>");
    d.inject("S. 0:0(0) ack 1 win 3000 <mss 1000,wscale 7>");
    d.expect(". 1:1(0) ack 1");
    d.write(1, 10_000).unwrap();
    let sent: u32 = d.sent().iter().map(crate::Segment::len).sum();
    assert!(sent <= 3000, "{sent}");
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
