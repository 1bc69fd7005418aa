//! Pacing: segments leave a quantum at a time, as the rate allows, instead of a window at once. Only connections
//! under BBR, and those with SO_MAX_PACING_RATE, have a pacer.

use core::time::Duration;

use crate::time::Instant;

/// No limit.
pub(super) const UNLIMITED: u64 = u64::MAX;
/// A quantum lasts a millisecond, unless that would be less than two segments or more than 64 KiB (Linux:
/// tcp_tso_autosize).
const QUANTUM: Duration = Duration::from_millis(1);
const QUANTUM_MAX: u64 = 65_536;

/// A connection's pacer.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    /// Octets a second.
    rate: u64,
    /// Octets that may still leave before `release` is looked at.
    budget: u32,
    /// When what has left would have left at `rate`: the next quantum begins then.
    release: Instant,
    /// When to look again; [`Instant::NEVER`] when nothing waits.
    pub(super) timer: Instant,
}

impl Default for Pacer {
    fn default() -> Self {
        Self { rate: UNLIMITED, budget: 0, release: Instant::ZERO, timer: Instant::NEVER }
    }
}

impl Pacer {
    /// Octets a second; [`UNLIMITED`] holds nothing back.
    pub(super) fn set_rate(&mut self, rate: u64) {
        self.rate = rate.max(1);
    }

    /// Whether a segment may leave now. If not, the timer is set.
    pub(super) fn allows(&mut self, mss: u32, now: Instant) -> bool {
        if self.rate == UNLIMITED {
            return true;
        }
        if self.budget == 0 {
            if now < self.release {
                self.timer = self.release;
                return false;
            }
            self.budget = quantum(self.rate, mss);
        }
        true
    }

    /// A segment of `len` octets left.
    pub(super) fn on_sent(&mut self, len: u32, now: Instant) {
        if self.rate == UNLIMITED {
            return;
        }
        self.budget = self.budget.saturating_sub(len);
        let nanos = u128::from(len) * 1_000_000_000 / u128::from(self.rate);
        let lasts = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // A timer that comes a little late is made up for, within a quantum; idleness earns nothing.
        self.release = self.release.max(now - QUANTUM) + lasts;
    }
}

/// Octets that leave together at this rate.
pub(super) fn quantum(rate: u64, mss: u32) -> u32 {
    let least = 2 * u64::from(mss);
    (rate / (1_000_000_000 / QUANTUM.as_nanos() as u64)).clamp(least, least.max(QUANTUM_MAX)) as u32
}

/// The rate at which a window-based control is paced (Linux: tcp_update_pacing_rate): twice what the window makes
/// of a round trip in slow start, so that it can double, and a fifth more later.
pub(super) fn rate_of_window(cwnd: u32, ssthresh: u32, srtt: Option<Duration>) -> u64 {
    let Some(srtt) = srtt else { return UNLIMITED };
    let percent = if cwnd < ssthresh / 2 { 200 } else { 120 };
    let micros = u64::try_from(srtt.as_micros()).unwrap_or(u64::MAX).max(1);
    u64::from(cwnd) * 10_000 * percent / micros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_the_rate_through() {
        let mut pacer = Pacer::default();
        pacer.set_rate(1_000_000);
        let (mut now, mut sent) = (Instant::from_millis(5000), 0);
        let end = now + Duration::from_secs(1);
        while now < end {
            while pacer.allows(1000, now) {
                pacer.on_sent(1000, now);
                sent += 1000;
            }
            assert!(pacer.timer > now);
            now = pacer.timer;
        }
        assert!((1_000_000..=1_003_000).contains(&sent), "{sent}");
    }

    #[test]
    fn idleness_earns_no_burst() {
        let mut pacer = Pacer::default();
        pacer.set_rate(1_000_000);
        let mut burst = 0;
        let now = Instant::from_millis(60_000);
        while pacer.allows(1000, now) {
            pacer.on_sent(1000, now);
            burst += 1000;
        }
        assert!(burst <= 4000, "{burst}");
    }

    #[test]
    fn a_quantum_is_a_millisecond_within_bounds() {
        for (rate, octets) in [(1, 2000), (5_000_000, 5000), (1 << 40, 65_536)] {
            assert_eq!(quantum(rate, 1000), octets);
        }
        assert_eq!(quantum(u64::MAX, 40_000), 80_000);
    }

    #[test]
    fn no_rate_holds_nothing_back() {
        let mut pacer = Pacer::default();
        for _ in 0..10_000 {
            assert!(pacer.allows(1000, Instant::ZERO));
            pacer.on_sent(1000, Instant::ZERO);
        }
        assert_eq!(pacer.timer, Instant::NEVER);
    }

    #[test]
    fn windows_are_paced_as_linux_does() {
        let rtt = Some(Duration::from_millis(100));
        assert_eq!(rate_of_window(10_000, u32::MAX, rtt), 200_000);
        assert_eq!(rate_of_window(10_000, 12_000, rtt), 120_000);
        assert_eq!(rate_of_window(10_000, 12_000, None), UNLIMITED);
    }
}
