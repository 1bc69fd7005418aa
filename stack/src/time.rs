//! The one clock: whatever the caller says it is.

use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// A moment, in nanoseconds since an origin of the caller's choosing. Never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Instant = Instant(0);
    /// Later than every moment: a deadline that never comes.
    pub const NEVER: Instant = Instant(u64::MAX);

    /// `ns` nanoseconds after the origin.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// `ms` milliseconds after the origin.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the origin.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// `us` microseconds later.
    #[inline]
    #[must_use]
    pub const fn plus_micros(self, us: u32) -> Self {
        Self(self.0.saturating_add(us as u64 * 1000))
    }

    /// `us` microseconds earlier, or the origin.
    #[inline]
    #[must_use]
    pub const fn minus_micros(self, us: u32) -> Self {
        Self(self.0.saturating_sub(us as u64 * 1000))
    }

    /// Whole microseconds from `earlier` to `self`, as many as fit; zero when `earlier` is later.
    #[inline]
    pub const fn micros_since(self, earlier: Instant) -> u32 {
        let micros = self.0.saturating_sub(earlier.0) / 1000;
        if micros > u32::MAX as u64 { u32::MAX } else { micros as u32 }
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    #[inline]
    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(d)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, d: Duration) {
        *self = *self + d;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    #[inline]
    fn sub(self, d: Duration) -> Instant {
        Instant(self.0.saturating_sub(nanos(d)))
    }
}

/// As many nanoseconds as fit: without the 128 bits that `as_nanos` takes.
#[inline]
const fn nanos(d: Duration) -> u64 {
    d.as_secs().saturating_mul(1_000_000_000).saturating_add(d.subsec_nanos() as u64)
}

/// As many microseconds as fit.
#[inline]
pub(crate) const fn micros(d: Duration) -> u32 {
    let micros = d.as_secs().saturating_mul(1_000_000).saturating_add(d.subsec_micros() as u64);
    if micros > u32::MAX as u64 { u32::MAX } else { micros as u32 }
}
