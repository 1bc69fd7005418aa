//! CUBIC (RFC 9438).
//!
//! After a loss the window climbs along a cubic of time: fast at first, flat near the size at which it was lost
//! (`w_max`), then faster again. Where Reno would be faster (small windows, short paths), it keeps up with Reno.

use core::num::NonZeroU32;
use core::time::Duration;

use super::window::{Phase, Window};
use crate::time::Instant;

/// Multiplicative decrease, §4.6.
const BETA: f64 = 0.7;
/// The same for ECN's echo (RFC 8511 §3.1).
const BETA_ECN: f64 = 0.85;
/// How steep the cubic is, in segments a second cubed, §5.1.
const C: f64 = 0.4;
/// Additive increase that makes the Reno-friendly estimate fair to Reno at this β, §4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// A stage of congestion avoidance, §4.2. Windows in bytes. What is not added to with every ACK is kept in
/// single precision: a seven-digit window is exact to the byte.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// When it began, moved on by the time in which the application sent too little.
    start: Instant,
    /// What Reno's window would be, §4.3.
    w_est: f64,
    /// The plateau of the cubic.
    w_max: f32,
    /// Seconds until the plateau.
    k: f32,
    /// When it was last heard of, in milliseconds after `start`, and one.
    seen: NonZeroU32,
}

/// What a reduction takes away, kept to be given back, §4.9.
#[derive(Clone, Copy, Debug)]
struct Saved {
    /// Never zero: so no word is needed to say whether there is something saved. (One would be so wide that the compiler
    /// kept in it, far behind what segments look at, what a slot of the socket table holds.)
    window: NonZeroU32,
    ssthresh: u32,
    w_max: f32,
    cwnd_prior: f32,
    epoch: Option<Epoch>,
}

/// CUBIC's state besides the window.
#[derive(Clone, Debug, Default)]
pub(super) struct Cubic {
    /// The window before the last reduction, lowered by fast convergence.
    w_max: f32,
    /// The window before the last reduction.
    cwnd_prior: f32,
    epoch: Option<Epoch>,
    saved: Option<Saved>,
    /// The next stage follows a time-out, §4.8.
    after_timeout: bool,
}

impl Cubic {
    /// Congestion avoidance, §4.2 to §4.5.
    pub(super) fn avoid(&mut self, window: &mut Window, acked: f64, srtt: Duration, now: Instant) {
        let mss = f64::from(window.mss);
        let mut epoch = self.epoch.unwrap_or_else(|| self.begin(window, now));
        let t = now.since(epoch.start).as_secs_f64();
        let cubic = |t: f64| C * mss * (t - f64::from(epoch.k)).powi(3) + f64::from(epoch.w_max);

        let alpha = if epoch.w_est >= f64::from(self.cwnd_prior) { 1.0 } else { ALPHA };
        epoch.w_est += alpha * mss * (acked / window.bytes);
        if cubic(t) < epoch.w_est {
            window.bytes = window.bytes.max(epoch.w_est);
        } else {
            let target = cubic(t + srtt.as_secs_f64()).clamp(window.bytes, 1.5 * window.bytes);
            window.bytes += (target - window.bytes) * (acked / window.bytes).min(1.0);
        }
        epoch.seen = since(epoch.start, now);
        self.epoch = Some(epoch);
    }

    /// The first ACK of congestion avoidance.
    fn begin(&mut self, window: &Window, now: Instant) -> Epoch {
        let bytes = window.bytes;
        let w_max = f64::from(self.w_max);
        let mut epoch = Epoch { start: now, w_est: bytes, w_max: self.w_max, k: 0.0, seen: NonZeroU32::MIN };
        // §4.8, §4.10: after a time-out, and when slow start ended without a loss, the plateau is here.
        if self.after_timeout || bytes >= w_max {
            epoch.w_max = bytes as f32;
            self.cwnd_prior = self.cwnd_prior.max(bytes as f32);
        } else {
            epoch.k = cube_root((w_max - bytes) / (C * f64::from(window.mss))) as f32;
        }
        self.after_timeout = false;
        epoch
    }

    /// §4.2: while the application sends too little the stage's clock stands still.
    pub(super) fn stand_still(&mut self, now: Instant) {
        if let Some(epoch) = &mut self.epoch {
            let silent = since(epoch.start, now).get().saturating_sub(epoch.seen.get());
            epoch.start += Duration::from_millis(silent.into());
        }
    }

    /// §4.6 and §4.7.
    fn reduce(&mut self, window: &mut Window, beta: f64) {
        let bytes = window.bytes;
        self.saved = NonZeroU32::new(bytes as u32).map(|before| Saved {
            window: before,
            ssthresh: window.ssthresh,
            w_max: self.w_max,
            cwnd_prior: self.cwnd_prior,
            epoch: self.epoch,
        });
        // Fast convergence: a flow that lost earlier than last time leaves room to newcomers.
        let early = bytes < f64::from(self.w_max);
        self.w_max = if early { bytes * (1.0 + beta) / 2.0 } else { bytes } as f32;
        self.cwnd_prior = bytes as f32;
        self.epoch = None;
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
        self.epoch = None;
        self.after_timeout = true;
    }

    /// §4.9.
    pub(super) fn undo(&mut self, window: &mut Window) {
        let Some(saved) = self.saved.take() else { return };
        window.restore(saved.window.get().into(), saved.ssthresh);
        self.w_max = saved.w_max;
        self.cwnd_prior = saved.cwnd_prior;
        self.epoch = saved.epoch;
        self.after_timeout = false;
    }

    /// Nothing was in flight for `idle`. Too short to forget the path, it was still no time in which the window
    /// was tried; longer, and a new stage begins.
    pub(super) fn after_idle(&mut self, idle: Duration, forgotten: bool) {
        match &mut self.epoch {
            Some(epoch) if !forgotten => epoch.start += idle,
            epoch => *epoch = None,
        }
    }
}

/// Milliseconds of a stage, and one.
fn since(start: Instant, now: Instant) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(u32::try_from(now.since(start).as_millis()).unwrap_or(u32::MAX))
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
    use super::super::tests::{MSS, acked, at, slowly};
    use super::super::{Algorithm, Congestion, Law, MAX_WINDOW, NO_THRESHOLD};
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn cubic(cc: &Congestion) -> &Cubic {
        match &cc.law {
            Law::Cubic(cubic) => cubic,
            law => panic!("{law:?}"),
        }
    }

    fn epoch(cc: &Congestion) -> Epoch {
        cubic(cc).epoch.expect("in congestion avoidance")
    }

    /// In slow start, with a window of `segments`.
    fn grown_to(segments: u32) -> Congestion {
        let mut cc = Congestion::new(Algorithm::Cubic, MSS);
        slowly(&mut cc, (segments - 10) * MSS, RTT, at(0));
        assert_eq!(cc.cwnd(), segments * MSS);
        cc
    }

    /// A window of `segments` in congestion avoidance, just reduced from it.
    fn reduced_from(segments: u32) -> Congestion {
        let mut cc = grown_to(segments);
        cc.on_congestion();
        cc.on_recovery_exit();
        cc
    }

    /// Acknowledges a window a round trip until `until` milliseconds.
    fn run(cc: &mut Congestion, rtt_ms: u64, from: u64, until: u64) {
        for now in (from..=until).step_by(rtt_ms as usize) {
            let window = cc.cwnd();
            slowly(cc, window, Duration::from_millis(rtt_ms), at(now));
        }
    }

    /// RFC 9438 §4.6
    #[test]
    fn a_loss_takes_three_tenths() {
        let mut cc = reduced_from(100);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (70_000, 70_000));
        cc.on_congestion();
        assert_eq!(cc.cwnd(), 49_000);
        cc.on_ack(&acked(49_000, RTT), at(5));
        assert_eq!(cc.cwnd(), 49_000, "no growth in recovery");
        for _ in 0..20 {
            cc.on_congestion();
        }
        assert_eq!(cc.cwnd(), 2_000);
    }

    /// RFC 9438 §4.2, figures 1 and 2: W_cubic(t) = C (t − K)³ + W_max, K = ∛((W_max − cwnd_epoch) / C).
    #[test]
    fn the_window_follows_the_rfcs_formula() {
        // K = ∛((100 − 70) / 0.4) = 4.217 s.
        let mut cc = reduced_from(100);
        run(&mut cc, 100, 0, 100);
        assert!((epoch(&cc).k - 4.217_163).abs() < 1e-5, "{:?}", epoch(&cc));
        for now in (200..=9_000).step_by(100) {
            run(&mut cc, 100, now, now);
            // The window aims at where the cubic will be a round trip later, and comes to it within that.
            let t = now as f64 / 1000.0;
            let formula = |t: f64| 1000.0 * (0.4 * (t - 4.217_163_f64).powi(3) + 100.0);
            let (low, high) = (formula(t - 0.1), formula(t + 0.1));
            // §4.3: 9/17 of a segment a round trip up to the window before, then a whole one.
            let rounds = t / 0.1 + 1.0;
            let reno =
                70_000.0 + 1000.0 * (9.0 / 17.0 * rounds).min(30.0) + 1000.0 * (rounds - 56.6).max(0.0);
            let window = f64::from(cc.cwnd());
            assert!(window >= low - 1.0, "{window} under {low} at {t}");
            assert!(window <= high.max(reno) + 1.0, "{window} over {high} at {t}");
        }
    }

    /// RFC 9438 §4.3
    #[test]
    fn a_short_path_keeps_up_with_reno() {
        // 10 ms: the cubic hardly moves in a second, Reno's estimate grows 9/17 of a segment a round trip until
        // it is where it lost, then a segment a round trip.
        let mut cc = reduced_from(20);
        assert_eq!(cc.cwnd(), 14_000);
        run(&mut cc, 10, 10, 100);
        assert!(cc.cwnd().abs_diff(14_000 + 10 * 9_000 / 17) < 300, "{}", cc.cwnd());
        run(&mut cc, 10, 110, 1_000);
        assert!((cc.cwnd()) > 90_000, "{}", cc.cwnd());
    }

    /// RFC 9438 §4.7
    #[test]
    fn fast_convergence_lowers_the_plateau() {
        let mut cc = reduced_from(100);
        run(&mut cc, 100, 0, 500);
        let window = cc.window.bytes;
        assert!(window < 100_000.0);
        cc.on_congestion();
        assert_eq!(cubic(&cc).w_max, (window * 0.85) as f32);
    }

    #[test]
    fn what_the_application_did_not_use_does_not_grow() {
        let mut cc = reduced_from(100);
        run(&mut cc, 100, 0, 1_000);
        let window = cc.cwnd();
        for now in (1_100..60_000).step_by(100) {
            cc.on_ack(&super::super::Ack { app_limited: true, ..acked(window, RTT) }, at(now));
        }
        assert_eq!(cc.cwnd(), window);
        // A minute later the cubic goes on where it stood: no jump.
        cc.on_ack(&acked(window, RTT), at(60_000));
        assert!(cc.cwnd() < window + 2_500, "{} after {window}", cc.cwnd());
    }

    /// RFC 9438 §4.8
    #[test]
    fn a_timeout_starts_over_once() {
        let mut cc = grown_to(100);
        cc.on_timeout();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1_000, 70_000));
        cc.on_timeout();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1_000, 70_000));
        run(&mut cc, 100, 0, 500);
        assert_eq!(cc.cwnd(), 64_000, "slow start while the lost is sent again");
        cc.on_recovery_exit();
        cc.on_ack(&acked(6_000, RTT), at(600));
        assert_eq!(cc.cwnd(), 70_000);
        cc.on_ack(&acked(1_000, RTT), at(700));
        assert_eq!((epoch(&cc).k, epoch(&cc).w_max), (0.0, 70_000.0));
    }

    #[test]
    fn a_recovery_that_times_out_is_one_reduction() {
        let mut cc = grown_to(100);
        cc.on_congestion();
        cc.on_timeout();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1_000, 70_000));
        cc.undo();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (100_000, NO_THRESHOLD));
    }

    /// RFC 9438 §4.9.
    #[test]
    fn a_spurious_reduction_is_undone() {
        let mut cc = reduced_from(100);
        run(&mut cc, 100, 0, 1_000);
        let before = cc.clone();
        cc.on_timeout();
        cc.on_ack(&acked(500, RTT), at(1_100));
        cc.undo();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (before.cwnd(), before.ssthresh()));
        let (now, then) = (cubic(&cc), cubic(&before));
        assert_eq!((now.w_max, now.cwnd_prior), (then.w_max, then.cwnd_prior));
        cc.undo();
        assert_eq!(cc.cwnd(), before.cwnd(), "nothing is left to undo");
    }

    #[test]
    fn idle_decays_to_the_initial_window() {
        let mut cc = grown_to(100);
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
        let mut cc = reduced_from(100);
        for n in 0..100_000 {
            cc.on_ack(&acked(u32::MAX, RTT), at(n * 100));
        }
        assert_eq!(cc.cwnd(), MAX_WINDOW);
        cc.set_mss(0);
        cc.on_timeout();
        cc.on_ack(&acked(u32::MAX, Duration::MAX), Instant::NEVER);
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
