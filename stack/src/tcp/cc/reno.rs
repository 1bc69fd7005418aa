//! NewReno's window (RFC 5681, with bytes counted as RFC 3465 has it): a segment more each round trip, half
//! after a loss. How a loss is repaired (RFC 6582, RFC 6675) is the recovery's business.

use super::window::{Phase, Window};

/// Multiplicative decrease (RFC 5681 §3.1, eq. 4), and the same for ECN's echo (RFC 8511 §3.1).
const BETA: f64 = 0.5;
const BETA_ECN: f64 = 0.8;

/// What a reduction takes away, kept to be given back.
#[derive(Clone, Copy, Debug)]
struct Saved {
    bytes: f64,
    ssthresh: u32,
}

/// Reno's state besides the window.
#[derive(Clone, Debug, Default)]
pub(super) struct Reno {
    saved: Option<Saved>,
}

impl Reno {
    /// Congestion avoidance (RFC 5681 §3.1, eq. 3; RFC 3465 §2.1).
    pub(super) fn avoid(window: &mut Window, acked: f64) {
        window.bytes += f64::from(window.mss) * (acked / window.bytes).min(1.0);
    }

    fn reduce(&mut self, window: &mut Window, beta: f64) {
        self.saved = Some(Saved { bytes: window.bytes, ssthresh: window.ssthresh });
        window.reduce(beta);
    }

    pub(super) fn on_congestion(&mut self, window: &mut Window) {
        self.reduce(window, BETA);
        window.on_congestion();
    }

    /// RFC 8511 §3.
    pub(super) fn on_echo(&mut self, window: &mut Window) {
        self.reduce(window, BETA_ECN);
        self.saved = None;
        window.on_congestion();
    }

    pub(super) fn on_timeout(&mut self, window: &mut Window) {
        // A recovery that fails was reduced for already; Linux's tcp_enter_loss does not do it twice either.
        if window.phase == Phase::Open {
            self.reduce(window, BETA);
        }
        window.on_timeout();
    }

    pub(super) fn undo(&mut self, window: &mut Window) {
        if let Some(saved) = self.saved.take() {
            window.restore(saved.bytes, saved.ssthresh);
        }
    }
}
