//! What losses say of the path: `bw_lo` and `inflight_lo`, which hold for the moment, and `inflight_hi`, beyond
//! which it was seen to lose too much.

use super::model::{NO_BOUND, NO_BOUND_RATE};
use crate::tcp::rate::Sample;

/// BBR.LossThresh: so much of a flight may be lost.
const LOSS_THRESH: f64 = 0.02;
/// What chance may add to that, in standard deviations. (The draft has no such allowance. In a flight of a hundred
/// segments three losses are too many by its rule, and one in a hundred is lost so often by chance that probes end as
/// soon as they begin; a queue that overflows loses many more at once.)
const NOISE: f64 = 2.0;
/// BBR.Beta: what a bound keeps of itself.
pub(super) const BETA: f64 = 0.7;
/// BBR.Headroom: what is left to others below `inflight_hi`.
const HEADROOM: f64 = 0.15;

/// The bounds, and what of this round they are made from.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    pub(super) bw_lo: u64,
    pub(super) inflight_lo: u32,
    pub(super) inflight_hi: u32,
    pub(super) loss_in_round: bool,
    /// ACKs of this round that told of losses.
    pub(super) loss_events: u8,
    /// A round of losses is over.
    pub(super) loss_round_start: bool,
    loss_round_end: u32,
    bw_latest: u64,
    pub(super) inflight_latest: u32,
    /// As they were before the last recovery.
    kept: (u64, u32, u32),
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            bw_lo: NO_BOUND_RATE,
            inflight_lo: NO_BOUND,
            inflight_hi: NO_BOUND,
            loss_in_round: false,
            loss_events: 0,
            loss_round_start: false,
            loss_round_end: 0,
            bw_latest: 0,
            inflight_latest: 0,
            kept: (NO_BOUND_RATE, NO_BOUND, NO_BOUND),
        }
    }
}

impl Bounds {
    /// BBRNoteLoss: the first loss begins a round, so that a whole round trip shows what the path delivers beside it.
    pub(super) fn note_loss(&mut self, delivered: u32) {
        if !self.loss_in_round {
            self.loss_round_end = delivered;
        }
        self.loss_in_round = true;
    }

    /// BBRUpdateLatestDeliverySignals.
    pub(super) fn latest(&mut self, sample: &Sample, delivered: u32) {
        if sample.newly_lost > 0 {
            self.note_loss(delivered);
            self.loss_events = self.loss_events.saturating_add(1);
        }
        self.loss_round_start = false;
        self.bw_latest = self.bw_latest.max(sample.rate);
        self.inflight_latest = self.inflight_latest.max(sample.delivered);
        if sample.delivered > 0 && sample.prior_delivered.wrapping_sub(self.loss_round_end) as i32 >= 0 {
            self.loss_round_end = delivered;
            self.loss_round_start = true;
        }
    }

    /// BBRAdvanceLatestDeliverySignals.
    pub(super) fn advance_latest(&mut self, sample: &Sample) {
        if self.loss_round_start {
            self.bw_latest = sample.rate;
            self.inflight_latest = sample.delivered;
        }
    }

    /// BBRUpdateCongestionSignals, BBRAdaptLowerBoundsFromCongestion. While `probing` for bandwidth losses are
    /// expected, and `inflight_hi` learns from them.
    pub(super) fn on_losses(&mut self, bw: u64, cwnd: u32, probing: bool) {
        if !self.loss_round_start {
            return;
        }
        if self.loss_in_round && !probing {
            if self.bw_lo == NO_BOUND_RATE {
                self.bw_lo = bw;
            }
            if self.inflight_lo == NO_BOUND {
                self.inflight_lo = cwnd;
            }
            self.bw_lo = self.bw_latest.max((BETA * self.bw_lo as f64) as u64);
            self.inflight_lo = self.inflight_latest.max((BETA * f64::from(self.inflight_lo)) as u32);
        }
        self.loss_in_round = false;
    }

    /// IsInflightTooHigh.
    pub(super) fn is_too_high(sample: &Sample, mss: u32) -> bool {
        let mss = f64::from(mss);
        let expected = f64::from(sample.tx_in_flight) * LOSS_THRESH;
        f64::from(sample.lost) > expected + NOISE * (expected * mss).sqrt()
    }

    /// BBRResetLowerBounds.
    pub(super) fn reset_lower(&mut self) {
        self.bw_lo = NO_BOUND_RATE;
        self.inflight_lo = NO_BOUND;
    }

    /// BBRResetCongestionSignals.
    pub(super) fn reset_signals(&mut self) {
        self.loss_in_round = false;
        self.bw_latest = 0;
        self.inflight_latest = 0;
    }

    /// BBRInflightWithHeadroom, not under `least`.
    pub(super) fn with_headroom(&self, least: u32) -> u32 {
        match self.inflight_hi {
            NO_BOUND => NO_BOUND,
            hi => (f64::from(hi) * (1.0 - HEADROOM)) as u32,
        }
        .max(least)
    }

    /// A recovery begins.
    pub(super) fn keep(&mut self) {
        self.kept = (self.bw_lo, self.inflight_lo, self.inflight_hi);
    }

    /// It was for nothing.
    pub(super) fn undo(&mut self) {
        let (bw_lo, inflight_lo, inflight_hi) = self.kept;
        self.bw_lo = self.bw_lo.max(bw_lo);
        self.inflight_lo = self.inflight_lo.max(inflight_lo);
        self.inflight_hi = self.inflight_hi.max(inflight_hi);
        self.loss_in_round = false;
    }
}
