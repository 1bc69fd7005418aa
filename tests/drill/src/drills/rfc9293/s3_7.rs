//! Segmentation: RFC 9293 §3.7.1 (MSS), §3.7.4 (Nagle); RFC 6691; TCP_MAXSEG, TCP_CORK, MSG_MORE.

use stack::socket::{OptName, SendFlags};

use super::drills;
use crate::{Drill, Knob, On};

drills![
    segments_are_as_long_as_both_ends_and_the_path_allow,
    a_maximum_of_the_application_is_kept,
    nagle_joins_small_writes_while_one_is_unacknowledged,
    nodelay_sends_every_write,
    more_holds_what_is_not_full,
    an_ack_ends_what_more_holds,
    an_ack_does_not_end_a_cork,
    more_does_not_hold_for_ever,
    cork_holds_what_is_not_full_for_a_while,
    uncorking_sends,
];

/// RFC 9293 MUST-14, MUST-15, MUST-16; RFC 6691 §2
fn segments_are_as_long_as_both_ends_and_the_path_allow(on: On) {
    let ip = u32::from(on.ip_header());
    for (mtu, offer, len) in [
        (1500, "<mss 1460>", 1480 - ip),
        (1500, "<mss 1460,TS 1 0>", 1480 - 12 - ip),
        (1300, "<mss 1460>", 1280 - ip),
        (1500, "<mss 500>", 500),
    ] {
        let mut d = Drill::with(on, &[Knob::Mtu(mtu)]);
        d.accept(offer);
        d.write(1, 4000).unwrap();
        let seg = d.sent().swap_remove(0);
        assert_eq!(seg.len(), len.min(1460), "{mtu} {offer}");
    }
}

/// TCP_MAXSEG
fn a_maximum_of_the_application_is_kept(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::MaxSeg, 700);
    d.inject("S 0:0(0) win 20000 <mss 1460>");
    d.expect("S. 0:0(0) ack 1 <mss 700>");
    d.inject(". 1:1(0) ack 1 win 20000");
    d.write(1, 2000).unwrap();
    d.expect(". 1:701(700) ack 1");
    d.sent();
}

/// RFC 9293 MAY-16, SHLD-27; RFC 9293 SHLD-7, MUST-17; RFC 1122 §4.2.3.4
fn nagle_joins_small_writes_while_one_is_unacknowledged(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 10).unwrap();
    d.expect_all(&["P. 1:11(10) ack 1"]);
    d.write(11, 10).unwrap();
    d.write(21, 10).unwrap();
    d.silent();
    d.inject(". 1:1(0) ack 11");
    d.expect_all(&["P. 11:31(20) ack 1"]);
    d.write(31, 1500).unwrap();
    d.expect_all(&[". 31:1031(1000) ack 1"]);
    d.inject(". 1:1(0) ack 31");
    d.expect_all(&["P. 1031:1531(500) ack 1"]);
}

/// RFC 9293 MUST-17
fn nodelay_sends_every_write(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::NoDelay, 1);
    d.accept("<mss 1000>");
    for n in 0..3 {
        d.write(n * 10 + 1, 10).unwrap();
    }
    d.expect_all(&["P. 1:11(10) ack 1", "P. 11:21(10) ack 1", "P. 21:31(10) ack 1"]);
}

/// MSG_MORE as Linux has it
fn more_holds_what_is_not_full(on: On) {
    let mut d = Drill::established(on);
    d.write_with(1, 1200, SendFlags { more: true, ..SendFlags::default() }).unwrap();
    d.expect_all(&[". 1:1001(1000) ack 1"]);
    d.write(1201, 100).unwrap();
    d.expect_all(&["P. 1001:1301(300) ack 1"]);
}

const MORE: SendFlags = SendFlags { more: true, oob: false };

/// MSG_MORE as Linux has it: it is the call's, so the next chance to send is not bound by it
fn an_ack_ends_what_more_holds(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 2000).unwrap();
    d.expect_all(&[". 1:1001(1000) ack 1", "P. 1001:2001(1000) ack 1"]);
    d.write_with(2001, 100, MORE).unwrap();
    d.silent();
    // Though more is in flight.
    d.inject(". 1:1(0) ack 1001");
    d.expect_all(&[".p 2001:2101(100) ack 1"]);
    // Nagle's rule is another.
    d.write_with(2101, 100, MORE).unwrap();
    d.inject(". 1:1(0) ack 2001");
    d.silent();
    d.inject(". 1:1(0) ack 2101");
    d.expect_all(&[".p 2101:2201(100) ack 1"]);
}

/// TCP_CORK as Linux has it: the socket's, until it is taken off
fn an_ack_does_not_end_a_cork(on: On) {
    let mut d = Drill::established(on);
    d.write(1, 1000).unwrap();
    d.expect_all(&["P. 1:1001(1000) ack 1"]);
    d.set(OptName::Cork, 1);
    d.write(1001, 100).unwrap();
    d.inject(". 1:1(0) ack 1001");
    d.silent();
    d.set(OptName::Cork, 0);
    d.expect_all(&["P. 1001:1101(100) ack 1"]);
}

/// MSG_MORE as Linux has it: 200 ms
fn more_does_not_hold_for_ever(on: On) {
    let mut d = Drill::established(on);
    d.write_with(1, 100, MORE).unwrap();
    d.at(190);
    d.silent();
    d.at(230);
    d.expect_all(&[".p 1:101(100) ack 1"]);
}

/// TCP_CORK as Linux has it: 200 ms
fn cork_holds_what_is_not_full_for_a_while(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::Cork, 1);
    d.accept("<mss 1000>");
    d.write(1, 100).unwrap();
    d.at(190);
    d.silent();
    d.at(210);
    d.expect_all(&["P. 1:101(100) ack 1"]);
}

/// TCP_CORK as Linux has it
fn uncorking_sends(on: On) {
    let mut d = Drill::new(on);
    d.set(OptName::Cork, 1);
    d.accept("<mss 1000>");
    d.write(1, 100).unwrap();
    d.silent();
    d.set(OptName::Cork, 0);
    d.expect_all(&["P. 1:101(100) ack 1"]);
}
