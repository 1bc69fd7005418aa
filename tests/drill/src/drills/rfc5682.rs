//! F-RTO: RFC 5682. The path is 100 ms long.

use super::{drills, in_flight, ranges};
use crate::{Drill, On};

drills![
    new_data_goes_first_and_a_late_original_makes_the_time_out_spurious,
    a_duplicate_after_new_data_makes_the_loss_real,
];

/// Ten segments in flight and four more to send; the time-out has come.
fn timed_out(on: On) -> Drill {
    let mut d = in_flight(on, "<mss 1000>", 14);
    d.wait(340);
    assert_eq!(ranges(&mut d), [(1, 1001)]);
    d
}

/// RFC 5682 §3.1, steps 2b and 3b
fn new_data_goes_first_and_a_late_original_makes_the_time_out_spurious(on: On) {
    let mut d = timed_out(on);
    d.inject(". 1:1(0) ack 1001");
    assert_eq!(ranges(&mut d), [(10_001, 11_001), (11_001, 12_001)]);
    d.inject(". 1:1(0) ack 2001");
    // Nothing old is sent again.
    assert!(ranges(&mut d).iter().all(|range| range.0 >= 12_001));
    d.wait(60);
    assert!(ranges(&mut d).iter().all(|range| range.0 >= 12_001));
}

/// RFC 5682 §3.1, step 3a
fn a_duplicate_after_new_data_makes_the_loss_real(on: On) {
    let mut d = timed_out(on);
    d.inject(". 1:1(0) ack 1001");
    assert_eq!(ranges(&mut d).len(), 2);
    d.inject(". 1:1(0) ack 1001");
    assert!(ranges(&mut d).starts_with(&[(1001, 2001)]));
}
