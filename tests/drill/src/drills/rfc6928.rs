//! The initial window: RFC 6928.

use super::drills;
use crate::{Drill, On};

drills![ten_segments_of_whatever_size, a_window_after_lost_syns_is_one_segment];

/// RFC 6928 §2
fn ten_segments_of_whatever_size(on: On) {
    for mss in [536, 1000, 1400] {
        let mut d = Drill::new(on);
        d.accept_window(&format!("<mss {mss}>"), 60_000);
        d.write(1, 30_000).unwrap();
        let sent: u32 = d.sent().iter().map(crate::Segment::len).sum();
        assert_eq!(sent, 10 * mss);
    }
}

/// RFC 5681 §3.1, with Linux's patience for one that RFC 6298's short first time-out may have sent for nothing
fn a_window_after_lost_syns_is_one_segment(on: On) {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 60000 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    for again in [1100, 3200] {
        d.at(again);
        d.expect("S. 0:0(0) ack 1");
    }
    d.inject(". 1:1(0) ack 1 win 60000");
    d.write(1, 10_000).unwrap();
    d.expect_all(&[".p 1:1001(1000)"]);
}
