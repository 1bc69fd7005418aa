//! BBR's model of the path: the bandwidth, the round trip, and the bounds that losses have shown.

use core::time::Duration;

use crate::time::Instant;

/// No bound was seen yet.
pub(super) const NO_BOUND: u32 = u32::MAX;
pub(super) const NO_BOUND_RATE: u64 = u64::MAX;

/// BBR.MinRTTFilterLen and BBR.ProbeRTTInterval.
const MIN_RTT_FILTER: Duration = Duration::from_secs(10);
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// BBR.ExtraAckedFilterLen: in rounds.
const EXTRA_ACKED_ROUNDS: u32 = 10;

/// The greatest delivery rate of the current ProbeBW cycle and the one before (BBR.MaxBwFilterLen is 2).
#[derive(Clone, Debug, Default)]
pub(super) struct MaxBw {
    now: u64,
    before: u64,
}

impl MaxBw {
    pub(super) fn get(&self) -> u64 {
        self.now.max(self.before)
    }

    pub(super) fn update(&mut self, rate: u64) {
        self.now = self.now.max(rate);
    }

    /// A cycle is over.
    pub(super) fn advance(&mut self) {
        if self.now > 0 {
            self.before = core::mem::take(&mut self.now);
        }
    }
}

/// The least round trip of the last ten seconds, and of the last five: when that grows old, it is time to look.
#[derive(Clone, Debug)]
pub(super) struct MinRtt {
    min: Option<Duration>,
    stamp: Instant,
    recent: Option<Duration>,
    pub(super) recent_stamp: Instant,
    /// `recent` was older than five seconds when the last ACK came.
    pub(super) expired: bool,
}

impl MinRtt {
    pub(super) fn new(rtt: Option<Duration>, now: Instant) -> Self {
        Self { min: rtt, stamp: now, recent: rtt, recent_stamp: now, expired: false }
    }

    pub(super) fn get(&self) -> Option<Duration> {
        self.min
    }

    /// BBRUpdateMinRTT.
    pub(super) fn update(&mut self, rtt: Option<Duration>, now: Instant) {
        self.expired = now > self.recent_stamp + PROBE_RTT_INTERVAL;
        if let Some(rtt) = rtt
            && (self.expired || self.recent.is_none_or(|recent| rtt < recent))
        {
            self.recent = Some(rtt);
            self.recent_stamp = now;
        }
        let old = now > self.stamp + MIN_RTT_FILTER;
        if let Some(recent) = self.recent
            && (old || self.min.is_none_or(|min| recent < min))
        {
            self.min = Some(recent);
            self.stamp = self.recent_stamp;
        }
    }
}

/// Packet-timed round trips: one is over when something is delivered that was sent after it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    end: u32,
    pub(super) count: u32,
    /// This ACK began one.
    pub(super) start: bool,
}

impl Round {
    pub(super) fn begin(&mut self, delivered: u32) {
        self.end = delivered;
    }

    pub(super) fn update(&mut self, prior_delivered: u32, delivered: u32) {
        self.start = prior_delivered.wrapping_sub(self.end) as i32 >= 0;
        if self.start {
            self.begin(delivered);
            self.count = self.count.wrapping_add(1);
        }
    }
}

/// How much more comes at once than the bandwidth would deliver: ACKs are aggregated somewhere.
#[derive(Clone, Debug)]
pub(super) struct Aggregation {
    since: Instant,
    delivered: u64,
    /// The greatest excess of this span of rounds and of the one before, and when this one began.
    most: (u32, u32),
    round: u32,
}

impl Aggregation {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, delivered: 0, most: (0, 0), round: 0 }
    }

    pub(super) fn restart(&mut self, now: Instant) {
        self.since = now;
        self.delivered = 0;
    }

    pub(super) fn extra(&self) -> u32 {
        self.most.0.max(self.most.1)
    }

    /// BBRUpdateACKAggregation: `acked` came, with the bandwidth at `bw` and `cwnd` as the most that is believed.
    pub(super) fn update(&mut self, acked: u32, bw: u64, cwnd: u32, round: (u32, bool), now: Instant) {
        let (round, filled) = round;
        let span = if filled { EXTRA_ACKED_ROUNDS / 2 } else { 1 };
        if round.wrapping_sub(self.round) >= span {
            self.most = (0, self.most.0);
            self.round = round;
        }
        let elapsed = u64::try_from(now.since(self.since).as_micros()).unwrap_or(u64::MAX);
        let mut expected = bw.saturating_mul(elapsed) / 1_000_000;
        if self.delivered <= expected {
            self.restart(now);
            expected = 0;
        }
        self.delivered += u64::from(acked);
        let extra = self.delivered.saturating_sub(expected).min(u64::from(cwnd));
        self.most.0 = self.most.0.max(extra as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_bandwidth_is_the_greatest_of_two_cycles() {
        let mut bw = MaxBw::default();
        bw.update(100);
        bw.update(50);
        bw.advance();
        bw.update(70);
        assert_eq!(bw.get(), 100);
        bw.advance();
        assert_eq!(bw.get(), 70);
        bw.advance();
        assert_eq!(bw.get(), 70, "a cycle without samples forgets nothing");
    }

    #[test]
    fn the_round_trip_is_looked_for_after_five_seconds_and_forgotten_after_ten() {
        let mut rtt = MinRtt::new(Some(ms(40)), at(0));
        rtt.update(Some(ms(50)), at(5_000));
        assert!(!rtt.expired);
        rtt.update(Some(ms(50)), at(5_001));
        assert!(rtt.expired);
        assert_eq!(rtt.get(), Some(ms(40)));
        rtt.update(Some(ms(60)), at(10_001));
        assert_eq!(rtt.get(), Some(ms(50)), "the least of the last five seconds takes its place");
    }

    #[test]
    fn rounds_end_when_what_was_sent_in_them_is_delivered() {
        let mut round = Round::default();
        round.update(0, 1000);
        assert!(round.start);
        round.update(500, 2000);
        assert!(!round.start);
        round.update(1000, 3000);
        assert!(round.start && round.count == 2);
    }

    #[test]
    fn what_comes_at_once_is_extra() {
        let mut aggregation = Aggregation::new(at(0));
        // 1000 octets a millisecond, but ten milliseconds' worth at a time.
        for n in 1..=10 {
            aggregation.update(10_000, 1_000_000, 100_000, (n, true), at(u64::from(n) * 10));
        }
        assert_eq!(aggregation.extra(), 10_000);
    }
}
