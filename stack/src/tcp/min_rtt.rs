//! The shortest round trip of late: what the path takes with empty queues (RFC 8985 §6.2, step 1; Linux:
//! tcp_min_rtt_wlen, five minutes).

use core::time::Duration;

use crate::time::{Instant, micros};

/// Half of the window; the other half is the bucket before.
const HALF: Duration = Duration::from_secs(150);

/// A minimum over 150 to 300 seconds, in two buckets. Microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRtt {
    /// When the newer bucket began, in seconds.
    since: u32,
    newer: u32,
    older: u32,
}

impl Default for MinRtt {
    fn default() -> Self {
        Self { since: 0, newer: u32::MAX, older: u32::MAX }
    }
}

impl MinRtt {
    /// A round trip was measured.
    #[inline]
    pub(super) fn on_sample(&mut self, rtt: Duration, now: Instant) {
        self.on_micros(micros(rtt), now);
    }

    /// As [`MinRtt::on_sample`], in microseconds.
    #[inline]
    pub(super) fn on_micros(&mut self, rtt: u32, now: Instant) {
        let rtt = rtt.clamp(1, u32::MAX - 1);
        let seconds = (now.as_nanos() / 1_000_000_000) as u32;
        let age = seconds.wrapping_sub(self.since);
        if age >= HALF.as_secs() as u32 {
            // Nothing for a whole window: the older bucket says nothing any more either.
            self.older = if age >= 2 * HALF.as_secs() as u32 { u32::MAX } else { self.newer };
            self.newer = u32::MAX;
            self.since = seconds;
        }
        self.newer = self.newer.min(rtt);
    }

    /// The shortest; zero before the first sample.
    #[inline]
    pub(super) fn get(&self) -> Duration {
        Duration::from_micros(u64::from(self.micros()))
    }

    /// As [`MinRtt::get`], in microseconds.
    #[inline]
    pub(super) fn micros(&self) -> u32 {
        match self.newer.min(self.older) {
            u32::MAX => 0,
            micros => micros,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(1_000_000) + Duration::from_secs(seconds)
    }

    #[test]
    fn the_shortest_counts_until_it_is_old() {
        let mut min = MinRtt::default();
        assert_eq!(min.get(), Duration::ZERO);
        for (second, rtt, shortest) in [
            (0, ms(20), ms(20)),
            (1, ms(10), ms(10)),
            (149, ms(30), ms(10)),
            // The bucket of the 10 ms is the older one now.
            (150, ms(30), ms(10)),
            (299, ms(25), ms(10)),
            (300, ms(40), ms(25)),
            // After a long silence only what is new counts.
            (900, ms(50), ms(50)),
        ] {
            min.on_sample(rtt, at(second));
            assert_eq!(min.get(), shortest, "second {second}");
        }
    }

    #[test]
    fn absurd_samples_do_no_harm() {
        let mut min = MinRtt::default();
        min.on_sample(Duration::MAX, at(0));
        assert!(min.get() > Duration::from_secs(4000));
        min.on_sample(Duration::ZERO, at(0));
        assert_eq!(min.get(), Duration::from_micros(1));
    }
}
