//! Path MTU discovery without ICMP: RFC 8899 and RFC 4821, as far as black holes are found.

use super::drills;
use crate::{Drill, Family, Knob, On, State};

drills![
    a_black_hole_is_found_by_time_outs,
    what_is_short_already_is_not_cut,
    nothing_is_cut_unless_it_is_set,
];

fn with(on: On, mode: u8) -> Drill {
    let mut d = Drill::with(on, &[Knob::MtuProbing(mode)]);
    d.accept(&format!("<mss {}>", 1480 - on.ip_header()));
    d
}

/// RFC 4821 §7.7, RFC 8899 §4.3
fn a_black_hole_is_found_by_time_outs(on: On) {
    let mut d = with(on, 1);
    let full = u32::from(1480 - on.ip_header());
    d.write(1, full).unwrap();
    assert_eq!(d.expect("P. ack 1").len(), full);
    d.at(2500);
    assert!(d.sent().iter().all(|s| s.len() == full));
    d.at(9000);
    let safe = if on.family() == Family::V4 { 1024 } else { 1220 };
    let first = d.sent().last().expect("a retransmission").len();
    assert!(first <= safe, "{first} octets");
    // It comes through: the rest follows.
    d.inject(&format!(". 1:1(0) ack {}", first + 1));
    assert!(d.sent().iter().all(|s| s.len() <= safe));
    assert_eq!(d.state(), State::Established);
}

/// RFC 4821 §7.7: what a smaller MTU would not change is no sign of a black hole.
fn what_is_short_already_is_not_cut(on: On) {
    let mut d = with(on, 1);
    let full = u32::from(1480 - on.ip_header());
    d.write(1, 100).unwrap();
    d.expect("P. 1:101(100)");
    d.at(4000);
    assert!(d.sent().iter().all(|s| s.len() == 100));
    d.inject(". 1:1(0) ack 101");
    d.write(101, full).unwrap();
    assert_eq!(d.expect("P.").len(), full);
}

/// Linux's default: tcp_mtu_probing = 0
fn nothing_is_cut_unless_it_is_set(on: On) {
    let mut d = with(on, 0);
    let full = u32::from(1480 - on.ip_header());
    d.write(1, full).unwrap();
    d.expect("P. ack 1");
    d.at(4000);
    assert!(d.sent().iter().all(|s| s.len() == full));
}
