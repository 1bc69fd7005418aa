//! HyStart++ (RFC 9406): slow start ends when the round trips of a round grow, before the queue is full and a
//! window of packets is lost in it.
//!
//! Rounds are told by sequence numbers: one ends when what was SND.NXT at its beginning is acknowledged.

use core::time::Duration;

use crate::seq::Seq;
use crate::time::micros;

/// RFC 9406 §4.3. Times in microseconds.
const MIN_RTT_THRESH: u32 = 4_000;
const MAX_RTT_THRESH: u32 = 16_000;
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u8 = 8;
/// Growth in conservative slow start is this much slower.
pub(super) const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;
/// No round trip was measured.
const NONE: u32 = u32::MAX;

/// What an ACK shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Slow start goes on.
    Fast,
    /// Conservative slow start: a quarter of the growth, while it is seen whether the delay was real.
    Conservative,
    /// It was: congestion avoidance begins here.
    Enough,
}

/// The state of the initial slow start.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    /// SND.NXT when the round began; none before the first ACK.
    window_end: Option<Seq>,
    last_round_min: u32,
    current_round_min: u32,
    /// `cssBaselineMinRtt`; [`NONE`] outside conservative slow start.
    css_baseline: u32,
    samples: u8,
    /// Rounds in conservative slow start, the one it began in included.
    css_rounds: u8,
}

impl Default for HyStart {
    fn default() -> Self {
        Self {
            window_end: None,
            last_round_min: NONE,
            current_round_min: NONE,
            css_baseline: NONE,
            samples: 0,
            css_rounds: 0,
        }
    }
}

impl HyStart {
    /// An ACK of new data in slow start: SND.UNA and SND.NXT as they are now, and the round trip it measured.
    pub(super) fn on_ack(&mut self, una: Seq, nxt: Seq, rtt: Option<Duration>) -> Pace {
        if let Some(rtt) = rtt {
            let rtt = micros(rtt).min(NONE - 1);
            self.current_round_min = self.current_round_min.min(rtt);
            self.samples = self.samples.saturating_add(1);
            self.judge();
        }
        match self.window_end {
            None => self.window_end = Some(nxt),
            // What this ACK measured was sent in the round that it ends.
            Some(end) if una.at_or_after(end) => {
                self.next_round(nxt);
                if self.css_rounds > CSS_ROUNDS {
                    return Pace::Enough;
                }
            }
            Some(_) => {}
        }
        if self.css_baseline == NONE { Pace::Fast } else { Pace::Conservative }
    }

    fn next_round(&mut self, nxt: Seq) {
        self.window_end = Some(nxt);
        self.last_round_min = self.current_round_min;
        self.current_round_min = NONE;
        self.samples = 0;
        if self.css_baseline != NONE {
            self.css_rounds += 1;
        }
    }

    /// RFC 9406 §4.2: into conservative slow start when the least round trip of this round is clearly above
    /// that of the last, out of it when it falls below where it was.
    fn judge(&mut self) {
        if self.samples < N_RTT_SAMPLE {
            return;
        }
        if self.css_baseline != NONE {
            if self.current_round_min < self.css_baseline {
                self.css_baseline = NONE;
                self.css_rounds = 0;
            }
            return;
        }
        if self.last_round_min == NONE {
            return;
        }
        let thresh = (self.last_round_min / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
        if self.current_round_min >= self.last_round_min.saturating_add(thresh) {
            self.css_baseline = self.current_round_min;
            self.css_rounds = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round of `n` ACKs, each of which measured `ms`; the last pace.
    fn round(h: &mut HyStart, at: &mut u32, n: u32, ms: u64) -> Pace {
        let mut pace = Pace::Fast;
        for i in 0..n {
            // The round's last ACK reaches the window's end; what is sent meanwhile lies a window ahead.
            pace = h.on_ack(Seq(*at + i), Seq(*at + n + i), Some(Duration::from_millis(ms)));
            if pace == Pace::Enough {
                break;
            }
        }
        *at += n;
        pace
    }

    /// RFC 9406 §4.2: eight samples, a rise of an eighth of the round trip within 4 and 16 ms.
    #[test]
    fn a_rise_of_an_eighth_begins_conservative_slow_start() {
        for (base, less, enough) in [(10, 13, 14), (80, 89, 90), (400, 415, 416)] {
            for (ms, pace) in [(less, Pace::Fast), (enough, Pace::Conservative)] {
                let (mut h, mut at) = (HyStart::default(), 1000);
                assert_eq!(round(&mut h, &mut at, 10, base), Pace::Fast);
                assert_eq!(round(&mut h, &mut at, 20, ms), pace, "{base} ms, then {ms}");
            }
        }
    }

    /// RFC 9406 §4.3: N_RTT_SAMPLE.
    #[test]
    fn seven_samples_prove_nothing() {
        let (mut h, mut at) = (HyStart::default(), 1000);
        round(&mut h, &mut at, 10, 10);
        assert_eq!(round(&mut h, &mut at, 7, 90), Pace::Fast);
    }

    /// RFC 9406 §4.2: one sample as low as before and the delay was a burst's own.
    #[test]
    fn the_least_of_a_round_counts() {
        let (mut h, mut at) = (HyStart::default(), 1000);
        round(&mut h, &mut at, 10, 50);
        for _ in 0..2 {
            // The first of the two ends the round before.
            h.on_ack(Seq(at), Seq(at + 30), Some(Duration::from_millis(50)));
            at += 1;
        }
        assert_eq!(round(&mut h, &mut at, 20, 100), Pace::Fast);
    }

    /// RFC 9406 §4.2: five rounds, that in which it began included; then congestion avoidance.
    /// RFC 9438 §4.10
    #[test]
    fn five_conservative_rounds_end_slow_start() {
        let (mut h, mut at) = (HyStart::default(), 1000);
        round(&mut h, &mut at, 10, 50);
        for _ in 0..5 {
            assert_eq!(round(&mut h, &mut at, 10, 70), Pace::Conservative);
        }
        assert_eq!(round(&mut h, &mut at, 10, 70), Pace::Enough);
    }

    /// RFC 9406 §4.2: a round trip below the baseline takes it back.
    #[test]
    fn a_false_alarm_goes_back_to_slow_start() {
        let (mut h, mut at) = (HyStart::default(), 1000);
        round(&mut h, &mut at, 10, 50);
        round(&mut h, &mut at, 10, 70);
        assert_eq!(round(&mut h, &mut at, 10, 60), Pace::Fast);
        // And may begin again.
        assert_eq!(round(&mut h, &mut at, 10, 80), Pace::Conservative);
    }
}
