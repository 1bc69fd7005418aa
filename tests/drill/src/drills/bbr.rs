//! BBR as an onlooker sees it: draft-ietf-ccwg-bbr.

use std::time::Duration;

use stack::socket::{OptName, Value};

use super::drills;
use crate::{Drill, On};

drills![the_first_window_is_paced, a_loss_does_not_take_the_window, a_pace_may_be_set];

/// A connection under BBR, 50 ms away.
fn far(on: On) -> Drill {
    let mut d = Drill::listening(on);
    let bbr = Value::Name(std::array::from_fn(|i| b"bbr".get(i).copied().unwrap_or(0)));
    d.try_set(OptName::Congestion, bbr).unwrap();
    d.inject("S 0:0(0) win 60000 <mss 1000,sackOK>");
    d.expect("S. 0:0(0) ack 1");
    d.wait(50);
    d.inject(". 1:1(0) ack 1 win 60000");
    assert_eq!(d.take(), Ok(()));
    d
}

/// draft-ietf-ccwg-bbr §5.6.2: 2.77 windows in a round trip, two segments at a time.
fn the_first_window_is_paced(on: On) {
    let mut d = far(on);
    d.write(1, 10_000).unwrap();
    assert_eq!(d.sent().len(), 2);
    let rate = 2.77 * 10_000.0 / 0.05;
    let rest = Duration::from_secs_f64(8_000.0 / rate);
    d.wait(rest.as_millis() as u64 / 2);
    assert!((3..7).contains(&d.sent().len()));
    d.wait(rest.as_millis() as u64);
    assert!(!d.sent().is_empty());
    let pace = d.info().pacing_rate as f64;
    assert!((0.9..1.1).contains(&(pace / rate)), "{pace}");
}

/// draft-ietf-ccwg-bbr §2.4, §5.6.4.4: a loss alone is no reason to send less than is delivered.
fn a_loss_does_not_take_the_window(on: On) {
    let mut d = far(on);
    d.write(1, 40_000).unwrap();
    d.wait(50);
    assert_eq!(d.sent().len(), 10);
    for right in [2001, 3001, 4001, 5001, 6001, 7001, 8001, 9001, 10_001] {
        d.inject(&format!(". 1:1(0) ack 1 win 60000 <sack 1001:{right}>"));
        d.wait(2);
    }
    d.inject(". 1:1(0) ack 10001 win 60000");
    assert!(d.info().snd_cwnd >= 10, "{:?}", d.info());
    let Ok(Value::ControlInfo(Some(told))) = d.get(OptName::ControlInfo) else { panic!("nothing told") };
    assert!((49_000..55_000).contains(&told.min_rtt), "{told:?}");
    assert!(told.bw > 100_000 && told.pacing_gain > 600, "{told:?}");
}

/// Not an RFC's: socket(7), SO_MAX_PACING_RATE
fn a_pace_may_be_set(on: On) {
    let mut d = far(on);
    d.try_set(OptName::MaxPacingRate, Value::Rate(100_000)).unwrap();
    assert_eq!(d.get(OptName::MaxPacingRate), Ok(Value::Rate(100_000)));
    d.write(1, 10_000).unwrap();
    d.sent();
    d.wait(40);
    assert!((3..=5).contains(&d.sent().len()));
}
