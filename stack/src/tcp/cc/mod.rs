//! Congestion control: how many bytes may be in flight.
//!
//! An algorithm hears of ACKs, losses and time-outs and answers with a window. Windows are counted in bytes
//! (RFC 3465), so that it does not matter how many segments an ACK covers. What is sent during a recovery
//! (RFC 6675, RFC 6937) is the recovery's business.

mod cubic;

pub use cubic::Cubic;

use core::time::Duration;

use crate::time::Instant;

/// `ssthresh` before the first loss.
pub const NO_THRESHOLD: u32 = u32::MAX;
/// No window grows beyond what window scaling can announce (RFC 7323 §2.3).
pub const MAX_WINDOW: u32 = 1 << 30;

/// A congestion control algorithm.
pub trait CongestionControl {
    /// The congestion window, in bytes.
    fn cwnd(&self) -> u32;

    /// The slow start threshold, in bytes; [`NO_THRESHOLD`] before the first loss.
    fn ssthresh(&self) -> u32;

    /// `acked` bytes were newly acknowledged. `srtt` is zero while nothing was measured. `app_limited` says
    /// that the flight did not fill the window when the bytes were sent: then the window proves nothing and
    /// stays as it is. Nothing happens between [`on_congestion`](Self::on_congestion) and
    /// [`on_recovery_exit`](Self::on_recovery_exit).
    fn on_ack(&mut self, acked: u32, srtt: Duration, now: Instant, app_limited: bool);

    /// A loss (or ECN's echo) begins a recovery: call it once for each.
    fn on_congestion(&mut self);

    /// All that was in flight when the recovery began is acknowledged.
    fn on_recovery_exit(&mut self);

    /// The retransmission timer expired: one segment, then slow start. In a recovery, and when called again
    /// before [`on_recovery_exit`](Self::on_recovery_exit), it leaves `ssthresh` alone (RFC 5681 §3.1).
    fn on_timeout(&mut self);

    /// The last reduction turned out to be spurious (D-SACK, Eifel): as if it had never been.
    fn undo(&mut self);

    /// Sending begins again after `idle` with nothing in flight (RFC 2861, as Linux's
    /// `tcp_slow_start_after_idle`): the window is halved for each RTO of silence, down to the initial window.
    fn after_idle(&mut self, idle: Duration, rto: Duration);

    /// The path's segment size changed.
    fn set_mss(&mut self, mss: u32);
}

/// The initial window: ten segments, or 14,600 bytes if they are large (RFC 6928).
pub fn initial_window(mss: u32) -> u32 {
    mss.saturating_mul(10).min(mss.saturating_mul(2).max(14_600))
}

#[cfg(test)]
mod tests {
    use super::initial_window;

    #[test]
    fn initial_window_is_rfc_6928s() {
        assert_eq!([536, 1448, 1460, 8960].map(initial_window), [5_360, 14_480, 14_600, 17_920]);
    }
}
