//! A new connection on a tuple in TIME-WAIT: RFC 6191, RFC 9293 §3.4.3, MAY-2.

use stack::socket::OptName;

use super::drills;
use crate::{Drill, Knob, On, State};

drills![
    a_later_timestamp_is_enough,
    the_same_timestamp_needs_a_higher_number,
    an_earlier_timestamp_is_not_a_new_connection,
    without_timestamps_a_higher_number_is_asked_for,
    a_syn_without_the_timestamps_of_the_old_one_is_judged_by_its_number,
    the_new_connection_begins_above_the_old,
    connect_reuses_a_tuple_after_a_second,
];

/// A connection that we have closed, and that is waited out; all but the ends of it had no text.
fn waited_out(on: On, options: &str) -> Drill {
    let mut d = Drill::accepted(on, options);
    let ts = if options.contains("TS") { "<TS 3 last>" } else { "" };
    d.close();
    d.expect("F. 1:1(0) ack 1");
    d.inject(&format!("F. 1:1(0) ack 2 {ts}"));
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
    d
}

/// RFC 6191 §2 (1), first case
fn a_later_timestamp_is_enough(on: On) {
    let mut d = waited_out(on, "<mss 1000,TS 1 0>");
    d.inject("S -5000:-5000(0) <mss 1000,TS 4 0>");
    d.expect_all(&["S. 0:0(0) ack -4999 <TS * 4>"]);
    assert_eq!(d.state(), State::SynReceived);
}

/// RFC 6191 §2 (1), second case
fn the_same_timestamp_needs_a_higher_number(on: On) {
    let mut d = waited_out(on, "<mss 1000,TS 1 0>");
    d.inject("S -5000:-5000(0) <mss 1000,TS 3 0>");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
    d.inject("S 5000:5000(0) <mss 1000,TS 3 0>");
    d.expect_all(&["S. 0:0(0) ack 5001"]);
}

/// RFC 6191 §2 (1), third case; RFC 7323 §5.3
fn an_earlier_timestamp_is_not_a_new_connection(on: On) {
    let mut d = waited_out(on, "<mss 1000,TS 1 0>");
    d.inject("S 5000:5000(0) <mss 1000,TS 2 0>");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
}

/// RFC 6191 §2 (2), RFC 1122 §4.2.2.13
fn without_timestamps_a_higher_number_is_asked_for(on: On) {
    let mut d = waited_out(on, "<mss 1000>");
    d.inject("S 1:1(0) <mss 1000>");
    d.expect_all(&[". 2:2(0) ack 2"]);
    assert_eq!(d.state(), State::TimeWait);
    d.inject("S 3:3(0) <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 4"]);
}

/// RFC 6191 §2 (2)
fn a_syn_without_the_timestamps_of_the_old_one_is_judged_by_its_number(on: On) {
    let mut d = waited_out(on, "<mss 1000,TS 1 0>");
    d.inject("S 1:1(0) <mss 1000>");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d.inject("S 3:3(0) <mss 1000>");
    d.expect_all(&["S. 0:0(0) ack 4"]);
}

/// RFC 9293 §3.4.3, MAY-2: above all numbers that the old one used, and out of reach of its segments.
fn the_new_connection_begins_above_the_old(on: On) {
    let mut d = Drill::accepted(on, "<mss 1000>");
    d.write(1, 1000).unwrap();
    let old = d.expect("P. 1:1001(1000)").seq;
    d.inject(". 1:1(0) ack 1001");
    d.close();
    d.expect("F. 1001:1001(0)");
    d.inject("F. 1:1(0) ack 1002");
    d.expect_all(&[". 1002:1002(0) ack 2"]);
    d.inject("S 70000:70000(0) <mss 1000>");
    let new = d.expect("S. 0:0(0) ack 70001").seq;
    let above = new.wrapping_sub(old.wrapping_add(1001));
    assert_eq!(above, 65_535 + 2);
}

/// RFC 6191 §1, as Linux's tcp_tw_reuse
fn connect_reuses_a_tuple_after_a_second(on: On) {
    let mut d = Drill::with(on, &[Knob::KernelOnly("tcp_tw_reuse", "1")]);
    d.set(OptName::ReuseAddr, 1);
    let _ = d.connect();
    let old = d.expect("S 0:0(0) <TS>").seq;
    d.inject("S. 0:0(0) ack 1 <mss 1000,TS 10 last>");
    d.expect(". 1:1(0) ack 1");
    d.close();
    d.expect("F. 1:1(0)");
    d.inject("F. 1:1(0) ack 2 <TS 11 last>");
    d.expect_all(&[". 2:2(0) ack 2"]);
    d.another();
    d.wait(2100);
    let _ = d.connect();
    let new = d.expect("S 0:0(0) <TS>").seq;
    assert!(new.wrapping_sub(old) > 65_535 && new.wrapping_sub(old) < 1 << 31, "{old} then {new}");
}
