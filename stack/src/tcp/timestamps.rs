//! Timestamps: round trips without ambiguity, and protection against wrapped sequence numbers (RFC 7323).

use core::time::Duration;

use crate::time::Instant;

/// RFC 7323 §5.5: after 24 days of silence TS.Recent says nothing any more.
const OUTDATED: Duration = Duration::from_secs(24 * 86_400);
/// Moments are kept in units of two to so many nanoseconds, 17 ms: they fit half a word for two years.
const UNIT: u32 = 24;

/// TS.*
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timestamps {
    /// Agreed in the handshake.
    pub(super) on: bool,
    /// Added to the clock, so that it tells nothing about others (§5.4).
    pub(super) offset: u32,
    /// TS.Recent.
    pub(super) recent: u32,
    /// When TS.Recent was taken, in units of [`UNIT`].
    pub(super) taken: u32,
}

impl Timestamps {
    /// TSval: the clock ticks in milliseconds.
    #[inline]
    pub(super) fn val(&self, now: Instant) -> u32 {
        (now.as_millis() as u32).wrapping_add(self.offset)
    }

    /// PAWS (§5.3, R1): whether `val` is older than what was seen.
    #[inline]
    pub(super) fn is_old(&self, val: u32, now: Instant) -> bool {
        (val.wrapping_sub(self.recent) as i32) < 0 && self.age(now) < OUTDATED
    }

    /// Takes `val` over as TS.Recent.
    #[inline]
    pub(super) fn take(&mut self, val: u32, now: Instant) {
        self.recent = val;
        self.taken = units(now);
    }

    /// As another stack of the host has them: what was taken later than now was taken now.
    #[must_use]
    pub(super) fn arrived(self, now: Instant) -> Self {
        let late = (units(now).wrapping_sub(self.taken) as i32) < 0;
        Self { taken: if late { units(now) } else { self.taken }, ..self }
    }

    /// How long ago TS.Recent was taken.
    #[inline]
    pub(super) fn age(&self, now: Instant) -> Duration {
        Duration::from_nanos(u64::from(units(now).wrapping_sub(self.taken)) << UNIT)
    }

    /// The last moment at which `ecr` was our TSval: what was sent later is not what it answers.
    pub(super) fn sent_by(&self, ecr: u32, now: Instant) -> Instant {
        let elapsed = self.val(now).wrapping_sub(ecr) as i32;
        let tick = now.as_millis().saturating_sub(u64::try_from(elapsed).unwrap_or(0));
        Instant::from_nanos(tick.saturating_add(1).saturating_mul(1_000_000) - 1)
    }

    /// The round trip of an echoed TSval (§4). None for one that we cannot have sent lately.
    pub(super) fn rtt(&self, ecr: u32, now: Instant) -> Option<Duration> {
        let elapsed = self.val(now).wrapping_sub(ecr);
        // Half the circle is the future; a round trip of ten minutes is a lie.
        (ecr != 0 && elapsed < 600_000).then(|| Duration::from_millis(u64::from(elapsed.max(1))))
    }
}

#[inline]
fn units(now: Instant) -> u32 {
    (now.as_nanos() >> UNIT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7323 §5.3, §5.5
    #[test]
    fn paws_holds_across_the_wrap_and_ends_after_24_days() {
        let mut ts = Timestamps { on: true, ..Timestamps::default() };
        let now = Instant::from_millis(1000);
        ts.take(u32::MAX, now);
        assert!(!ts.is_old(u32::MAX, now) && !ts.is_old(5, now));
        assert!(ts.is_old(u32::MAX - 1, now));
        assert!(!ts.is_old(u32::MAX - 1, now + OUTDATED + Duration::from_nanos(1 << UNIT)));
    }

    /// A connection comes with what another stack says of it: PAWS is not turned off by a moment that has not come yet.
    #[test]
    fn what_was_taken_later_than_now_is_taken_now() {
        let now = Instant::from_millis(5000);
        for late in [Duration::from_millis(17), Duration::from_secs(86_400 * 300)] {
            let mut ts = Timestamps { on: true, ..Timestamps::default() };
            ts.take(100, now + late);
            let ts = ts.arrived(now);
            assert_eq!((ts.recent, ts.age(now), ts.is_old(99, now)), (100, Duration::ZERO, true));
        }
        let mut ts = Timestamps { on: true, ..Timestamps::default() };
        ts.take(100, Instant::from_millis(1000));
        assert!(ts.arrived(now).age(now) > Duration::from_millis(3900), "what is past stays so");
    }

    /// RFC 7323 §4.1
    #[test]
    fn the_echo_gives_the_round_trip() {
        let ts = Timestamps { on: true, offset: u32::MAX, ..Timestamps::default() };
        let (sent, now) = (Instant::from_millis(100), Instant::from_millis(130));
        assert_eq!(ts.val(sent), 99);
        assert_eq!(ts.rtt(ts.val(sent), now), Some(Duration::from_millis(30)));
        assert_eq!(ts.rtt(ts.val(now).wrapping_add(1), now), None);
        assert_eq!(ts.rtt(0, now), None);
    }

    #[test]
    fn an_echo_answers_what_was_sent_in_its_tick_at_the_latest() {
        let ts = Timestamps { on: true, offset: u32::MAX - 50, ..Timestamps::default() };
        let now = Instant::from_millis(130);
        for ms in [100, 129, 130] {
            let tick = Instant::from_millis(ms);
            let last = ts.sent_by(ts.val(tick), now);
            assert_eq!(ts.val(last), ts.val(tick));
            assert_eq!(last + Duration::from_nanos(1), Instant::from_millis(ms + 1));
        }
        // From the future: believed as far as now.
        assert_eq!(ts.sent_by(ts.val(now).wrapping_add(9), now), ts.sent_by(ts.val(now), now));
        assert_eq!(ts.sent_by(ts.val(now).wrapping_sub(u32::MAX / 2), now), Instant::from_nanos(999_999));
    }
}
