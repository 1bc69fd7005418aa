//! HyStart++: RFC 9406.

use super::drills;
use crate::{Drill, On};

drills![a_steady_round_trip_doubles_the_window, a_longer_round_trip_slows_slow_start_down];

/// A connection, and the next octet that the application writes.
struct Busy {
    d: Drill,
    next: u32,
}

/// A connection 60 ms away whose first ten segments were acknowledged after as long; twenty are in flight.
fn second_round(on: On) -> Busy {
    let mut d = Drill::listening(on);
    d.inject("S 0:0(0) win 65535 <mss 1000>");
    d.expect("S. 0:0(0) ack 1");
    d.wait(60);
    d.inject(". 1:1(0) ack 1 win 65535");
    let mut busy = Busy { d, next: 1 };
    busy.write();
    assert_eq!(busy.d.sent().len(), 10);
    assert_eq!(busy.round(1, 10, 60), 20);
    busy
}

impl Busy {
    /// Writes all that the socket takes.
    fn write(&mut self) {
        while let Ok(n) = self.d.write(self.next, 10_000) {
            self.next += n as u32;
        }
    }

    /// A round trip later, an ACK for each of `n` segments from number `first` on; how many were sent for them.
    fn round(&mut self, first: u32, n: u32, ms: u64) -> usize {
        self.d.wait(ms);
        for segment in first..first + n {
            self.d.inject(&format!(". 1:1(0) ack {} win 65535", segment * 1000 + 1));
            self.write();
        }
        self.d.sent().len()
    }
}

/// RFC 9406 §4.2
fn a_steady_round_trip_doubles_the_window(on: On) {
    let mut busy = second_round(on);
    assert_eq!(busy.round(11, 20, 60), 40);
    assert_eq!(busy.d.info().snd_cwnd, 40);
}

/// RFC 9406 §4.2: a least round trip that is an eighth longer, in eight samples, ends the doubling before anything is
/// lost.
fn a_longer_round_trip_slows_slow_start_down(on: On) {
    let mut busy = second_round(on);
    let sent = busy.round(11, 20, 90);
    assert!((20..36).contains(&sent), "{sent}");
    assert!(busy.d.info().snd_cwnd < 36, "{:?}", busy.d.info());
}
