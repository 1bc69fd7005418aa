//! CUBIC as an onlooker sees it: RFC 9438; and Reno beside it.

use stack::socket::{OptName, Value};

use super::drills;
use crate::{Drill, Errno, On};

drills![
    a_loss_takes_three_tenths_of_the_window,
    reno_takes_half_of_it,
    after_the_loss_the_window_climbs_slowly,
    a_control_is_chosen_by_its_name,
    a_change_of_control_leaves_the_window,
];

/// What TCP_CONGESTION takes and gives.
fn name(text: &str) -> Value {
    Value::Name(std::array::from_fn(|i| text.as_bytes().get(i).copied().unwrap_or(0)))
}

/// A connection under this control that has ten segments in flight and lost the first.
fn that_lost(on: On, control: &str) -> Drill {
    let mut d = Drill::new(on);
    d.try_set(OptName::Congestion, name(control)).unwrap();
    d.accept_window("<mss 1000,sackOK>", 60_000);
    d.write(1, 40_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d.wait(20);
    for right in [2001, 3001, 4001, 5001] {
        d.inject(&format!(". 1:1(0) ack 1 win 60000 <sack 1001:{right}>"));
    }
    let first = d.sent();
    assert!(first.iter().any(|seg| d.range(seg) == (1, 1001)), "{first:?}");
    d
}

/// RFC 9438 §4.6
fn a_loss_takes_three_tenths_of_the_window(on: On) {
    let mut d = that_lost(on, "cubic");
    assert_eq!(d.info().snd_ssthresh, 7);
}

/// RFC 5681 §3.1, eq. 4
fn reno_takes_half_of_it(on: On) {
    let mut d = that_lost(on, "reno");
    assert_eq!(d.info().snd_ssthresh, 5);
}

/// RFC 9438 §4.2, §4.3: no more than a segment a round trip from there.
fn after_the_loss_the_window_climbs_slowly(on: On) {
    let mut d = that_lost(on, "cubic");
    d.wait(20);
    d.inject(". 1:1(0) ack 10001 win 60000");
    d.sent();
    assert_eq!(d.info().snd_cwnd, 7);
    d.wait(20);
    d.inject(". 1:1(0) ack 14001 win 60000");
    assert!((7..=8).contains(&d.info().snd_cwnd), "{:?}", d.info());
}

/// Not an RFC's: tcp(7), TCP_CONGESTION
fn a_control_is_chosen_by_its_name(on: On) {
    let mut d = Drill::new(on);
    for control in ["reno", "cubic"] {
        d.try_set(OptName::Congestion, name(control)).unwrap();
    }
    assert_eq!(d.try_set(OptName::Congestion, name("nosuch")), Err(Errno(2)));
    d.try_set(OptName::Congestion, name("reno")).unwrap();
    // Whoever is accepted has it from the listener.
    d.accept("<mss 1000>");
    assert_eq!(d.get(OptName::Congestion), Ok(name("reno")));
}

/// Not an RFC's: tcp(7), TCP_CONGESTION may be set at any time
fn a_change_of_control_leaves_the_window(on: On) {
    let mut d = Drill::new(on);
    d.accept_window("<mss 1000>", 60_000);
    d.write(1, 40_000).unwrap();
    assert_eq!(d.sent().len(), 10);
    d.inject(". 1:1(0) ack 5001 win 60000");
    d.inject(". 1:1(0) ack 10001 win 60000");
    assert_eq!(d.info().snd_cwnd, 20);
    d.sent();
    d.try_set(OptName::Congestion, name("reno")).unwrap();
    assert_eq!(d.info().snd_cwnd, 20);
    assert_eq!(d.get(OptName::Congestion), Ok(name("reno")));
}
