//! What the window-based controls have in common: slow start, one reduction a recovery, its undoing, idleness.
//! Windows are counted in bytes (RFC 3465).

use core::time::Duration;

use super::hystart::{CSS_GROWTH_DIVISOR, Pace};
use super::{Ack, MAX_WINDOW, NO_THRESHOLD, initial_window};

/// The most full segments by which one ACK opens the window in slow start (RFC 9406 §4.2's L for senders that
/// do not pace).
const LIMIT: u32 = 8;
/// The same while what a time-out lost is sent again: one ACK may cover much that left the network long ago
/// (RFC 3465 §2.3).
const LIMIT_AFTER_TIMEOUT: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The window follows the ACKs.
    Open,
    /// Between a loss and the end of its recovery.
    Recovery,
    /// After a time-out: slow start while the lost is sent again.
    Loss,
}

/// A congestion window.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// In bytes, with the fraction that is still too small to send.
    pub(super) bytes: f64,
    pub(super) mss: u32,
    pub(super) ssthresh: u32,
    pub(super) phase: Phase,
}

impl Window {
    /// A new connection: the initial window, slow start.
    pub(super) fn new(mss: u32) -> Self {
        let mss = mss.max(1);
        Self { bytes: f64::from(initial_window(mss)), mss, ssthresh: NO_THRESHOLD, phase: Phase::Open }
    }

    /// Slow start (RFC 5681 §3.1), at HyStart++'s pace. What of the acknowledged bytes is left for congestion
    /// avoidance.
    pub(super) fn slow_start(&mut self, ack: &Ack, pace: Pace) -> f64 {
        let threshold = f64::from(self.ssthresh);
        if self.bytes >= threshold {
            return f64::from(ack.acked);
        }
        let divisor = match pace {
            Pace::Fast => 1,
            Pace::Conservative => CSS_GROWTH_DIVISOR,
            Pace::Enough => {
                self.ssthresh = self.bytes as u32;
                return f64::from(ack.acked);
            }
        };
        let segments = if self.phase == Phase::Loss { LIMIT_AFTER_TIMEOUT } else { LIMIT };
        let due = ack.acked.min(segments.saturating_mul(self.mss)) / divisor;
        let growth = f64::from(due).min(threshold - self.bytes);
        self.bytes += growth;
        // Only what lies beyond the threshold is congestion avoidance's.
        if growth < f64::from(due) { f64::from(ack.acked) - growth } else { 0.0 }
    }

    /// No window beyond what can be announced.
    pub(super) fn bound(&mut self) {
        self.bytes = self.bytes.min(f64::from(MAX_WINDOW));
    }

    /// `ssthresh` becomes `beta` of the window, never under two segments (RFC 5681 §3.1, eq. 4). The window
    /// itself, not the flight, is reduced: it never grows beyond what was in use (RFC 9438 §4.6 allows it then).
    pub(super) fn reduce(&mut self, beta: f64) {
        self.ssthresh = ((self.bytes * beta) as u32).max(2 * self.mss);
    }

    pub(super) fn on_congestion(&mut self) {
        self.bytes = f64::from(self.ssthresh);
        self.phase = Phase::Recovery;
    }

    pub(super) fn on_recovery_exit(&mut self) {
        if self.phase == Phase::Recovery {
            self.bytes = f64::from(self.ssthresh);
        }
        self.phase = Phase::Open;
    }

    /// The loss window (RFC 5681 §3.1).
    pub(super) fn on_timeout(&mut self) {
        self.bytes = f64::from(self.mss);
        self.phase = Phase::Loss;
    }

    /// Back to `bytes`, if that is more.
    pub(super) fn restore(&mut self, bytes: f64, ssthresh: u32) {
        self.bytes = self.bytes.max(bytes);
        self.ssthresh = ssthresh;
        self.phase = Phase::Open;
    }

    /// RFC 2861: half for each RTO of silence, down to the restart window (RFC 5681 §4.1), and `ssthresh`
    /// remembers where it was.
    pub(super) fn after_idle(&mut self, idle: Duration, rto: Duration) {
        let restart = f64::from(initial_window(self.mss)).min(self.bytes);
        if self.ssthresh != NO_THRESHOLD {
            self.ssthresh = self.ssthresh.max((self.bytes * 0.75) as u32);
        }
        let mut left = idle;
        while left > rto && self.bytes > restart {
            left -= rto;
            self.bytes /= 2.0;
        }
        self.bytes = self.bytes.max(restart);
    }

    pub(super) fn set_mss(&mut self, mss: u32) {
        self.mss = mss.max(1);
        self.bytes = self.bytes.max(f64::from(self.mss));
    }
}
