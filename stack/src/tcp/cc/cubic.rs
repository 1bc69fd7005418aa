//! CUBIC (RFC 9438).
//!
//! After a loss the window climbs along a cubic of time: fast at first, flat near the size at which it was lost
//! (`w_max`), then faster again. Where Reno would be faster (small windows, short paths), it keeps up with Reno.

use core::time::Duration;

use super::{CongestionControl, MAX_WINDOW, NO_THRESHOLD, initial_window};
use crate::time::Instant;

/// Multiplicative decrease, §4.6.
const BETA: f64 = 0.7;
/// How steep the cubic is, in segments a second cubed, §5.1.
const C: f64 = 0.4;
/// Additive increase that makes the Reno-friendly estimate fair to Reno at this β, §4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The window follows the ACKs.
    Open,
    /// Between a loss and the end of its recovery.
    Recovery,
    /// After a time-out: slow start while the lost is sent again.
    Loss,
}

/// A stage of congestion avoidance, §4.2. Windows in bytes.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// When it began, moved on by the time in which the application sent too little.
    start: Instant,
    /// When it was last heard of.
    seen: Instant,
    /// The plateau of the cubic.
    w_max: f64,
    /// Seconds until the plateau.
    k: f64,
    /// What Reno's window would be, §4.3.
    w_est: f64,
}

/// What a reduction takes away, kept to be given back, §4.9.
#[derive(Clone, Copy, Debug)]
struct Saved {
    window: f64,
    ssthresh: u32,
    w_max: f64,
    cwnd_prior: f64,
    epoch: Option<Epoch>,
}

/// CUBIC's state for one connection.
#[derive(Clone, Debug)]
pub struct Cubic {
    mss: u32,
    ssthresh: u32,
    /// The congestion window in bytes, with the fraction that is still too small to send.
    window: f64,
    /// The window before the last reduction, lowered by fast convergence.
    w_max: f64,
    /// The window before the last reduction.
    cwnd_prior: f64,
    epoch: Option<Epoch>,
    phase: Phase,
    /// The next stage follows a time-out, §4.8.
    after_timeout: bool,
    saved: Option<Saved>,
}

impl Cubic {
    /// A new connection: the initial window, slow start.
    pub fn new(mss: u32) -> Self {
        let mss = mss.max(1);
        Self {
            mss,
            ssthresh: NO_THRESHOLD,
            window: f64::from(initial_window(mss)),
            w_max: 0.0,
            cwnd_prior: 0.0,
            epoch: None,
            phase: Phase::Open,
            after_timeout: false,
            saved: None,
        }
    }

    /// Congestion avoidance, §4.2 to §4.5.
    fn avoid(&mut self, acked: f64, srtt: Duration, now: Instant) {
        let mss = f64::from(self.mss);
        let mut epoch = self.epoch.unwrap_or_else(|| self.begin(now));
        let t = now.since(epoch.start).as_secs_f64();
        let cubic = |t: f64| C * mss * (t - epoch.k).powi(3) + epoch.w_max;

        let alpha = if epoch.w_est >= self.cwnd_prior { 1.0 } else { ALPHA };
        epoch.w_est += alpha * mss * (acked / self.window);
        if cubic(t) < epoch.w_est {
            self.window = self.window.max(epoch.w_est);
        } else {
            let target = cubic(t + srtt.as_secs_f64()).clamp(self.window, 1.5 * self.window);
            self.window += (target - self.window) * (acked / self.window).min(1.0);
        }
        epoch.seen = now;
        self.epoch = Some(epoch);
    }

    /// The first ACK of congestion avoidance.
    fn begin(&mut self, now: Instant) -> Epoch {
        let window = self.window;
        let mut epoch = Epoch { start: now, seen: now, w_max: self.w_max, k: 0.0, w_est: window };
        // §4.8, §4.10: after a time-out, and when slow start ended without a loss, the plateau is here.
        if self.after_timeout || window >= self.w_max {
            epoch.w_max = window;
            self.cwnd_prior = self.cwnd_prior.max(window);
        } else {
            epoch.k = cube_root((self.w_max - window) / (C * f64::from(self.mss)));
        }
        self.after_timeout = false;
        epoch
    }

    /// §4.6 and §4.7. The window itself, not the flight, is reduced: it never grows beyond what was in use.
    fn reduce(&mut self) {
        let window = self.window;
        self.saved = Some(Saved {
            window,
            ssthresh: self.ssthresh,
            w_max: self.w_max,
            cwnd_prior: self.cwnd_prior,
            epoch: self.epoch,
        });
        // Fast convergence: a flow that lost earlier than last time leaves room to newcomers.
        self.w_max = if window < self.w_max { window * (1.0 + BETA) / 2.0 } else { window };
        self.cwnd_prior = window;
        self.ssthresh = ((window * BETA) as u32).max(2 * self.mss);
        self.epoch = None;
    }
}

impl CongestionControl for Cubic {
    fn cwnd(&self) -> u32 {
        self.window as u32
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    fn on_ack(&mut self, acked: u32, srtt: Duration, now: Instant, app_limited: bool) {
        if self.phase == Phase::Recovery {
            return;
        }
        if app_limited {
            // §4.2: the stage's clock stands still.
            if let Some(epoch) = &mut self.epoch {
                epoch.start += now.since(epoch.seen);
                epoch.seen = now;
            }
            return;
        }
        let mut acked = f64::from(acked);
        let threshold = f64::from(self.ssthresh);
        if self.window < threshold {
            let growth = acked.min(threshold - self.window);
            self.window += growth;
            acked -= growth;
        }
        if acked > 0.0 {
            self.avoid(acked, srtt, now);
        }
        self.window = self.window.min(f64::from(MAX_WINDOW));
    }

    fn on_congestion(&mut self) {
        self.reduce();
        self.window = f64::from(self.ssthresh);
        self.phase = Phase::Recovery;
    }

    fn on_recovery_exit(&mut self) {
        if self.phase == Phase::Recovery {
            self.window = f64::from(self.ssthresh);
        }
        self.phase = Phase::Open;
    }

    fn on_timeout(&mut self) {
        // A recovery that fails was reduced for already; Linux's tcp_enter_loss does not do it twice either.
        if self.phase == Phase::Open {
            self.reduce();
        }
        self.window = f64::from(self.mss);
        self.epoch = None;
        self.after_timeout = true;
        self.phase = Phase::Loss;
    }

    fn undo(&mut self) {
        let Some(saved) = self.saved.take() else { return };
        self.window = self.window.max(saved.window);
        self.ssthresh = saved.ssthresh;
        self.w_max = saved.w_max;
        self.cwnd_prior = saved.cwnd_prior;
        self.epoch = saved.epoch;
        self.after_timeout = false;
        self.phase = Phase::Open;
    }

    fn after_idle(&mut self, idle: Duration, rto: Duration) {
        if idle <= rto {
            // Too short to forget the path, but no time in which the window was tried.
            if let Some(epoch) = &mut self.epoch {
                epoch.start += idle;
                epoch.seen += idle;
            }
            return;
        }
        let restart = f64::from(initial_window(self.mss)).min(self.window);
        if self.ssthresh != NO_THRESHOLD {
            self.ssthresh = self.ssthresh.max((self.window * 0.75) as u32);
        }
        let mut left = idle;
        while left > rto && self.window > restart {
            left -= rto;
            self.window /= 2.0;
        }
        self.window = self.window.max(restart);
        self.epoch = None;
    }

    fn set_mss(&mut self, mss: u32) {
        self.mss = mss.max(1);
        self.window = self.window.max(f64::from(self.mss));
    }
}

/// By Newton's method, with operations that IEEE 754 rounds alike everywhere: libm's results differ by platform,
/// and equal inputs must give equal outputs.
fn cube_root(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    // A third of the exponent makes a guess that is right to some per cent; each step doubles the digits.
    let mut root = f64::from_bits(x.to_bits() / 3 + (0x2aa0_0000 << 32));
    for _ in 0..5 {
        root -= (root - x / (root * root)) / 3.0;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;
    const RTT: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    /// A window of `segments` in congestion avoidance, just reduced from it.
    fn reduced_from(segments: u32) -> Cubic {
        let mut cc = Cubic::new(MSS);
        cc.on_ack((segments - 10) * MSS, RTT, at(0), false);
        assert_eq!(cc.cwnd(), segments * MSS);
        cc.on_congestion();
        cc.on_recovery_exit();
        cc
    }

    /// Acknowledges a window a round trip until `until` milliseconds.
    fn run(cc: &mut Cubic, rtt_ms: u64, from: u64, until: u64) {
        for now in (from..=until).step_by(rtt_ms as usize) {
            cc.on_ack(cc.cwnd(), Duration::from_millis(rtt_ms), at(now), false);
        }
    }

    #[test]
    fn slow_start_doubles() {
        let mut cc = Cubic::new(MSS);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (10_000, NO_THRESHOLD));
        cc.on_ack(10_000, RTT, at(0), false);
        assert_eq!(cc.cwnd(), 20_000);
        cc.on_ack(1, RTT, at(0), false);
        assert_eq!(cc.cwnd(), 20_001);
    }

    #[test]
    fn a_loss_takes_three_tenths() {
        let mut cc = reduced_from(100);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (70_000, 70_000));
        cc.on_congestion();
        assert_eq!(cc.cwnd(), 49_000);
        cc.on_ack(49_000, RTT, at(5), false);
        assert_eq!(cc.cwnd(), 49_000, "no growth in recovery");
        for _ in 0..20 {
            cc.on_congestion();
        }
        assert_eq!(cc.cwnd(), 2_000);
    }

    #[test]
    fn the_plateau_is_reached_after_k() {
        // K = ∛((100 − 70) / 0.4) = 4.217 s.
        let mut cc = reduced_from(100);
        run(&mut cc, 100, 0, 100);
        assert!((cc.epoch.unwrap().k - 4.217_163).abs() < 1e-6, "{:?}", cc.epoch);
        run(&mut cc, 100, 200, 4_200);
        assert!(cc.cwnd().abs_diff(100_000) < 500, "{}", cc.cwnd());
        let plateau = cc.cwnd();
        run(&mut cc, 100, 4_300, 8_400);
        // Convex: as far above after 2K as it was below at first, 30 segments.
        assert!(cc.cwnd().abs_diff(plateau + 30_000) < 2_500, "{}", cc.cwnd());
    }

    #[test]
    fn a_short_path_keeps_up_with_reno() {
        // 10 ms: the cubic hardly moves in a second, Reno's estimate grows 9/17 of a segment a round trip until
        // it is where it lost, then a segment a round trip.
        let mut cc = reduced_from(20);
        assert_eq!(cc.cwnd(), 14_000);
        run(&mut cc, 10, 10, 100);
        assert!(cc.cwnd().abs_diff(14_000 + 10 * 9_000 / 17) < 60, "{}", cc.cwnd());
        run(&mut cc, 10, 110, 1_000);
        assert!((cc.cwnd()) > 100_000, "{}", cc.cwnd());
    }

    #[test]
    fn fast_convergence_lowers_the_plateau() {
        let mut cc = reduced_from(100);
        cc.on_ack(0, RTT, at(0), false);
        run(&mut cc, 100, 0, 500);
        let window = cc.window;
        assert!(window < 100_000.0);
        cc.on_congestion();
        assert_eq!(cc.w_max, window * 0.85);
    }

    #[test]
    fn what_the_application_did_not_use_does_not_grow() {
        let mut cc = reduced_from(100);
        run(&mut cc, 100, 0, 1_000);
        let window = cc.cwnd();
        for now in (1_100..60_000).step_by(100) {
            cc.on_ack(window, RTT, at(now), true);
        }
        assert_eq!(cc.cwnd(), window);
        // A minute later the cubic goes on where it stood: no jump.
        cc.on_ack(window, RTT, at(60_000), false);
        assert!(cc.cwnd() < window + 2_500, "{} after {window}", cc.cwnd());
    }

    #[test]
    fn a_timeout_starts_over_once() {
        let mut cc = Cubic::new(MSS);
        cc.on_ack(90_000, RTT, at(0), false);
        cc.on_timeout();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1_000, 70_000));
        cc.on_timeout();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1_000, 70_000));
        run(&mut cc, 100, 0, 500);
        assert_eq!(cc.cwnd(), 64_000, "slow start while the lost is sent again");
        cc.on_recovery_exit();
        cc.on_ack(6_000, RTT, at(600), false);
        assert_eq!(cc.cwnd(), 70_000);
        cc.on_ack(1_000, RTT, at(700), false);
        assert_eq!((cc.epoch.unwrap().k, cc.epoch.unwrap().w_max), (0.0, 70_000.0));
    }

    #[test]
    fn a_recovery_that_times_out_is_one_reduction() {
        let mut cc = Cubic::new(MSS);
        cc.on_ack(90_000, RTT, at(0), false);
        cc.on_congestion();
        cc.on_timeout();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1_000, 70_000));
        cc.undo();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (100_000, NO_THRESHOLD));
    }

    #[test]
    fn a_spurious_reduction_is_undone() {
        let mut cc = reduced_from(100);
        run(&mut cc, 100, 0, 1_000);
        let before = cc.clone();
        cc.on_timeout();
        cc.on_ack(500, RTT, at(1_100), false);
        cc.undo();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (before.cwnd(), before.ssthresh()));
        assert_eq!((cc.w_max, cc.cwnd_prior), (before.w_max, before.cwnd_prior));
        cc.undo();
        assert_eq!(cc.cwnd(), before.cwnd(), "nothing is left to undo");
    }

    #[test]
    fn idle_decays_to_the_initial_window() {
        let mut cc = Cubic::new(MSS);
        cc.on_ack(90_000, RTT, at(0), false);
        let ms = Duration::from_millis;
        cc.after_idle(ms(200), ms(200));
        assert_eq!(cc.cwnd(), 100_000);
        cc.after_idle(ms(401), ms(200));
        assert_eq!((cc.cwnd(), cc.ssthresh()), (25_000, NO_THRESHOLD));
        cc.after_idle(ms(60_000), ms(200));
        assert_eq!(cc.cwnd(), 10_000);
        let mut cc = reduced_from(100);
        cc.after_idle(ms(401), ms(200));
        assert_eq!((cc.cwnd(), cc.ssthresh()), (17_500, 70_000));
    }

    #[test]
    fn windows_have_bounds() {
        let mut cc = Cubic::new(MSS);
        for _ in 0..10 {
            cc.on_ack(u32::MAX, RTT, at(0), false);
        }
        assert_eq!(cc.cwnd(), MAX_WINDOW);
        cc.set_mss(0);
        cc.on_timeout();
        cc.on_ack(u32::MAX, Duration::MAX, Instant::NEVER, false);
        assert!(cc.cwnd() >= 1 && cc.cwnd() <= MAX_WINDOW);
    }

    #[test]
    fn cube_roots() {
        for (x, root) in [(1.0, 1.0), (27.0, 3.0), (75.0, 4.217_163_326_508_746), (1e-9, 1e-3), (1e9, 1e3)] {
            assert!((cube_root(x) / root - 1.0).abs() < 1e-14, "{x}: {}", cube_root(x));
        }
        assert_eq!(cube_root(0.0), 0.0);
    }
}
