//! The retransmission timer as an onlooker sees it: RFC 6298.

use super::drills;
use crate::{Drill, On};

drills![
    a_round_trip_of_a_copy_is_not_measured,
    an_ack_of_everything_stops_the_timer,
    an_ack_of_something_starts_it_anew,
    round_trips_are_smoothed,
];

/// RFC 6298 §3; RFC 9293 MUST-18
fn a_round_trip_of_a_copy_is_not_measured(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.at(210);
    d.expect("P. 1:101(100)");
    d.at(260);
    d.inject(". 1:1(0) ack 101");
    assert!(d.info().rtt < 40_000, "{}", d.info().rtt);
}

/// RFC 6298 §5.1, §5.2
fn an_ack_of_everything_stops_the_timer(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.inject(". 1:1(0) ack 101");
    d.at(1000);
    d.silent();
}

/// RFC 6298 §5.3
fn an_ack_of_something_starts_it_anew(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 2000).unwrap();
    d.expect_all(&[".p 1:1001(1000)", "P. 1001:2001(1000)"]);
    d.at(150);
    d.inject(". 1:1(0) ack 1001");
    d.at(320);
    d.silent();
    d.wait(400);
    let again = d.sent();
    assert!(!again.is_empty() && again.iter().all(|seg| d.range(seg).0 == 1001), "{again:?}");
}

/// RFC 6298 §2.2, §2.3
fn round_trips_are_smoothed(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    d.at(80);
    d.inject(". 1:1(0) ack 1");
    let first = d.info();
    assert!((78_000..95_000).contains(&first.rtt), "{first:?}");
    assert!((first.rtt / 2).abs_diff(first.rttvar) < 6_000, "{first:?}");
    assert!(first.rto > 200_000, "{first:?}");
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.wait(160);
    d.inject(". 1:1(0) ack 101");
    // 7/8 of 80 and 1/8 of 160.
    assert!((87_000..105_000).contains(&d.info().rtt), "{:?}", d.info());
}
