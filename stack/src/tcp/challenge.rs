//! Challenge ACKs (RFC 5961 §7, §10): a blind attacker learns nothing, and cannot make us shout.

use core::time::Duration;

use crate::time::Instant;

const PERIOD: Duration = Duration::from_secs(1);

/// How many challenge ACKs all connections together may still send in this period.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChallengeLimit {
    period_ends: Instant,
    left: u32,
}

impl ChallengeLimit {
    /// Takes one from the budget of `per_second`. False: say nothing.
    pub fn take(&mut self, now: Instant, per_second: u32) -> bool {
        if now >= self.period_ends {
            self.period_ends = now + PERIOD;
            self.left = per_second;
        }
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_filled_once_a_second() {
        let mut limit = ChallengeLimit::default();
        let now = Instant::from_millis(10);
        assert_eq!((0..5).filter(|_| limit.take(now, 3)).count(), 3);
        assert!(!limit.take(Instant::from_millis(1009), 3));
        assert!(limit.take(Instant::from_millis(1010), 3));
    }
}
