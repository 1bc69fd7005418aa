//! Waiting for what happens elsewhere: look again until it has happened or the time is up.

use std::thread;
use std::time::{Duration, Instant};

use crate::nics::Nics;

/// How often a condition is looked at.
const TURN: Duration = Duration::from_millis(5);

/// How much longer all takes in a machine in software, whose one processor may be shared besides.
const IN_SOFTWARE: u64 = 6;

/// Looks at `condition` until it holds.
///
/// # Panics
/// With `what`, when it does not hold within `seconds`.
#[track_caller]
pub fn eventually(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    eventually_some(what, seconds, || condition().then_some(()));
}

/// Looks at `condition` until it has something to give.
///
/// # Panics
/// With `what`, when it gives nothing within `seconds`.
#[track_caller]
pub fn eventually_some<T>(what: &str, seconds: u64, mut condition: impl FnMut() -> Option<T>) -> T {
    let seconds = if Nics::are_given() { seconds * IN_SOFTWARE } else { seconds };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        thread::park_timeout(TURN);
    }
}
