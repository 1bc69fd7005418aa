//! The retransmission time-out (RFC 6298), with Linux's floor: four deviations count as at least the minimum,
//! so that RTO ≥ SRTT + 200 ms, where the RFC would round the whole up to a second.

use core::time::Duration;

use crate::config::TcpConfig;
use crate::time::{Instant, micros};

/// After a SYN was lost, the first RTO for data (RFC 6298 §5.7).
const AFTER_LOST_SYN_US: u32 = 3_000_000;

/// Round-trip estimate and time-out of one connection. Times are kept in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Rto {
    /// 8 × SRTT; zero before the first sample.
    srtt8: u32,
    /// 4 × RTTVAR.
    rttvar4: u32,
    base: u32,
    min: u32,
    max: u32,
    backoff: u8,
}

impl Rto {
    /// Nothing measured: RTO is `config.rto_initial`.
    pub fn new(config: &TcpConfig) -> Self {
        let max = micros(config.rto_max);
        Self {
            srtt8: 0,
            rttvar4: 0,
            base: micros(config.rto_initial).min(max),
            min: micros(config.rto_min),
            max,
            backoff: 0,
        }
    }

    /// A round trip was measured (never one of a retransmitted segment without timestamps: Karn). Only this ends
    /// the back-off.
    #[inline]
    pub fn on_sample(&mut self, rtt: Duration) {
        self.on_micros(micros(rtt));
    }

    /// As [`Rto::on_sample`], in microseconds.
    #[inline]
    pub fn on_micros(&mut self, rtt: u32) {
        // Above 2^29 − 1 µs (nine minutes) the eightfold would not fit; no round trip takes that long.
        let rtt = rtt.clamp(1, (1 << 29) - 1);
        if self.srtt8 == 0 {
            // (2.2) SRTT ← R, RTTVAR ← R/2.
            self.srtt8 = rtt << 3;
            self.rttvar4 = rtt << 1;
        } else {
            // (2.3) RTTVAR ← 3/4 RTTVAR + 1/4 |SRTT − R|, then SRTT ← 7/8 SRTT + 1/8 R.
            let deviation = (self.srtt8 >> 3).abs_diff(rtt);
            self.rttvar4 = self.rttvar4 - (self.rttvar4 >> 2) + deviation;
            self.srtt8 = self.srtt8 - (self.srtt8 >> 3) + rtt;
        }
        self.base = (self.srtt8 >> 3).saturating_add(self.rttvar4.max(self.min)).min(self.max);
        self.backoff = 0;
    }

    /// Goes on from what was measured elsewhere; without an `srtt` nothing was.
    pub fn resume(&mut self, srtt: Duration, rttvar: Duration) {
        let most = Duration::from_micros((1 << 28) - 1);
        if !srtt.is_zero() {
            (self.srtt8, self.rttvar4) = (micros(srtt.min(most)) << 3, micros(rttvar.min(most)) << 2);
            self.base = (self.srtt8 >> 3).saturating_add(self.rttvar4.max(self.min)).min(self.max);
        }
    }

    /// The time-out now, back-off included.
    pub fn rto(&self) -> Duration {
        Duration::from_micros(self.micros().into())
    }

    #[inline]
    fn micros(&self) -> u32 {
        (u64::from(self.base) << self.backoff).min(u64::from(self.max)) as u32
    }

    /// What four deviations count for at least, in microseconds.
    #[inline]
    pub(super) fn least_micros(&self) -> u32 {
        self.min
    }

    /// When the time-out falls due that begins at `from`.
    #[inline]
    pub fn due(&self, from: Instant) -> Instant {
        from.plus_micros(self.micros())
    }

    /// (5.5) The timer expired: double the time-out, up to the maximum.
    pub fn back_off(&mut self) {
        if u64::from(self.base) << self.backoff < u64::from(self.max) {
            self.backoff += 1;
        }
    }

    /// (5.7) The SYN had to be sent again and nothing was measured: begin data with three seconds.
    pub fn syn_was_lost(&mut self) {
        if self.srtt8 == 0 {
            self.base = AFTER_LOST_SYN_US.min(self.max);
            self.backoff = 0;
        }
    }

    /// How often the timer expired in a row.
    pub fn back_offs(&self) -> u8 {
        self.backoff
    }

    /// The smoothed round trip, once measured.
    #[inline]
    pub fn srtt(&self) -> Option<Duration> {
        self.srtt_micros().map(|micros| Duration::from_micros(micros.into()))
    }

    /// As [`Rto::srtt`], in microseconds.
    #[inline]
    pub fn srtt_micros(&self) -> Option<u32> {
        (self.srtt8 != 0).then_some(self.srtt8 >> 3)
    }

    /// The smoothed mean deviation.
    pub fn rttvar(&self) -> Duration {
        Duration::from_micros(u64::from(self.rttvar4 >> 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn rto() -> Rto {
        Rto::new(&TcpConfig::default())
    }

    #[test]
    fn before_the_first_sample_it_is_one_second() {
        assert_eq!((rto().rto(), rto().srtt()), (ms(1000), None));
    }

    #[test]
    fn the_first_sample_sets_both() {
        let mut r = rto();
        r.on_sample(ms(400));
        assert_eq!((r.srtt(), r.rttvar(), r.rto()), (Some(ms(400)), ms(200), ms(1200)));
    }

    /// RFC 6298 §4
    #[test]
    fn later_samples_are_smoothed() {
        let mut r = rto();
        r.on_sample(ms(400));
        r.on_sample(ms(480));
        // RTTVAR = 3/4·200 + 1/4·80 = 170; SRTT = 7/8·400 + 1/8·480 = 410; RTO = 410 + 4·170.
        assert_eq!((r.srtt(), r.rttvar(), r.rto()), (Some(ms(410)), ms(170), ms(1090)));
    }

    #[test]
    fn a_steady_path_keeps_200_ms_above_srtt() {
        let mut r = rto();
        for _ in 0..100 {
            r.on_sample(ms(10));
        }
        assert_eq!((r.srtt(), r.rto()), (Some(ms(10)), ms(210)));
    }

    #[test]
    fn backing_off_doubles_up_to_the_maximum() {
        let mut r = rto();
        r.on_sample(Duration::from_micros(100));
        let mut seen = Vec::new();
        for _ in 0..12 {
            seen.push(r.rto().as_micros());
            r.back_off();
        }
        assert_eq!(seen[..3], [200_100, 400_200, 800_400]);
        assert_eq!(seen[9..], [102_451_200, 120_000_000, 120_000_000]);
        assert_eq!(r.back_offs(), 10);
    }

    #[test]
    fn a_sample_ends_the_back_off() {
        let mut r = rto();
        r.back_off();
        assert_eq!((r.rto(), r.back_offs()), (ms(2000), 1));
        r.on_sample(ms(1));
        assert_eq!((r.rto(), r.back_offs()), (ms(201), 0));
    }

    #[test]
    fn a_lost_syn_makes_data_begin_with_three_seconds() {
        let mut r = rto();
        r.back_off();
        r.syn_was_lost();
        assert_eq!(r.rto(), ms(3000));
        let mut measured = rto();
        measured.on_sample(ms(1));
        measured.syn_was_lost();
        assert_eq!(measured.rto(), ms(201));
    }

    #[test]
    fn absurd_samples_do_no_harm() {
        let mut r = rto();
        for sample in [Duration::MAX, Duration::ZERO, Duration::MAX, Duration::MAX] {
            r.on_sample(sample);
            assert!(r.rto() <= Duration::from_secs(120) && r.rto() >= ms(200), "{:?}", r.rto());
        }
    }
}
