//! Waiting for what happens elsewhere: look again until it has happened or the time is up.

use std::thread;
use std::time::{Duration, Instant};

use crate::nics::Nics;

/// How often a condition is looked at.
const TURN: Duration = Duration::from_millis(5);

/// How much longer all takes in a machine in software, whose one processor may be shared besides.
const IN_SOFTWARE: u64 = 6;

/// What is to happen is given so many seconds at the least: others may have the processors, the disk and the network.
const LEAST: u64 = 60;

/// Looks at `condition` until it holds.
///
/// # Panics
/// With `what`, when it does not hold within `seconds`, nor within a minute.
#[track_caller]
pub fn eventually(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    eventually_some(what, seconds, || condition().then_some(()));
}

/// Looks at `condition` until it has something to give.
///
/// # Panics
/// With `what`, when it gives nothing within `seconds`, nor within a minute.
#[track_caller]
pub fn eventually_some<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let seconds = seconds.max(LEAST) * if Nics::are_given() { IN_SOFTWARE } else { 1 };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        thread::park_timeout(TURN);
    }
}
