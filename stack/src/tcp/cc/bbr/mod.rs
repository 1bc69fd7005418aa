//! BBRv3 (draft-ietf-ccwg-bbr): sends at the rate at which the path delivers, with little more in flight than the
//! path holds, instead of filling it until something is lost.
//!
//! | file | |
//! |---|---|
//! | `model` | filters: bandwidth, round trip, rounds, aggregation |
//! | `probe` | the states: STARTUP, DRAIN, PROBE_BW (DOWN, CRUISE, REFILL, UP), PROBE_RTT |
//! | `bounds` | what losses say: the lower and upper bounds |
//! | here | the pacing rate and the window that follow |

mod bounds;
mod model;
mod probe;
#[cfg(test)]
mod tests;

use core::time::Duration;

use super::{MAX_WINDOW, initial_window};
use crate::tcp::pacing::quantum;
use crate::tcp::rate::Sample;
use crate::time::Instant;
use bounds::Bounds;
use model::{Aggregation, MaxBw, MinRtt, NO_BOUND, Round};
use probe::{Cycle, State};

/// BBR.MinPipeCwnd, in segments.
const MIN_PIPE: u32 = 4;
/// BBR.PacingMarginPercent.
const MARGIN: f64 = 0.99;
/// BBR.DefaultCwndGain.
const CWND_GAIN: f64 = 2.0;
/// The round trip that is assumed while none was measured.
const NO_RTT: Duration = Duration::from_millis(1);

/// What an ACK tells BBR.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// The rate sample.
    pub sample: Sample,
    /// Octets delivered in all, wrapping.
    pub delivered: u32,
    /// Octets in flight after the ACK.
    pub in_flight: u32,
    /// The window was in use.
    pub cwnd_limited: bool,
    /// The round trip that it measured.
    pub rtt: Option<Duration>,
    /// The time.
    pub now: Instant,
}

/// What TCP_CC_INFO tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The bandwidth, in octets a second.
    pub bw: u64,
    /// The least round trip, in microseconds.
    pub min_rtt: u32,
    /// In 256ths.
    pub pacing_gain: u32,
    /// In 256ths.
    pub cwnd_gain: u32,
}

/// BBR's state for one connection.
#[derive(Clone, Debug)]
pub(super) struct Bbr {
    mss: u32,
    cwnd: u32,
    /// The window before a recovery or PROBE_RTT.
    prior_cwnd: u32,
    /// Octets delivered in all, wrapping, when the last ACK came.
    delivered: u32,
    /// Octets in flight then, and when that was.
    in_flight: u32,
    seen: Instant,
    /// Octets a second.
    pacing_rate: u64,
    state: State,
    pacing_gain: f64,
    cwnd_gain: f64,
    max_bw: MaxBw,
    min_rtt: MinRtt,
    round: Round,
    aggregation: Aggregation,
    bounds: Bounds,
    cycle: Cycle,
    full: FullPipe,
    recovery: Recovering,
    /// Sending begins again after silence, until something is delivered.
    idle_restart: bool,
}

/// Whether the pipe is full: bandwidth no longer grows by a quarter in three rounds.
#[derive(Clone, Debug, Default)]
struct FullPipe {
    bw: u64,
    count: u8,
    /// In the current probe.
    now: bool,
    /// Once since the connection began: STARTUP is over.
    reached: bool,
}

/// How a recovery goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovering {
    No,
    /// The first round of a fast recovery: as much goes out as was delivered.
    Conserving,
    /// Its later rounds.
    Fast,
    /// After a time-out.
    Loss,
}

impl Bbr {
    /// Takes over a connection whose window is `cwnd`. `seed` makes the times of probing differ.
    pub(super) fn new(mss: u32, cwnd: u32, srtt: Option<Duration>, seed: u32, now: Instant) -> Self {
        let mut bbr = Self {
            mss,
            cwnd,
            prior_cwnd: 0,
            delivered: 0,
            in_flight: 0,
            seen: now,
            pacing_rate: 0,
            state: State::Startup,
            pacing_gain: State::Startup.pacing_gain(),
            cwnd_gain: CWND_GAIN,
            max_bw: MaxBw::default(),
            min_rtt: MinRtt::new(srtt, now),
            round: Round::default(),
            aggregation: Aggregation::new(now),
            bounds: Bounds::default(),
            cycle: Cycle::new(seed, now),
            full: FullPipe::default(),
            recovery: Recovering::No,
            idle_restart: false,
        };
        bbr.init_pacing_rate(srtt);
        bbr
    }

    /// BBRInitPacingRate: the window in a round trip.
    fn init_pacing_rate(&mut self, srtt: Option<Duration>) {
        let rtt = srtt.unwrap_or(NO_RTT).max(Duration::from_micros(1));
        self.pacing_rate = (f64::from(self.cwnd) / rtt.as_secs_f64() * self.pacing_gain) as u64;
    }

    /// The handshake told how long segments may be.
    pub(super) fn restart(&mut self, mss: u32) {
        self.mss = mss.max(1);
        self.cwnd = initial_window(self.mss);
        self.init_pacing_rate(self.min_rtt.get());
    }

    pub(super) fn syn_was_lost(&mut self) {
        self.cwnd = self.mss;
    }

    pub(super) fn min_rtt(&self) -> Duration {
        self.min_rtt.get().unwrap_or(Duration::ZERO)
    }

    pub(super) fn cwnd(&self) -> u32 {
        self.cwnd
    }

    pub(super) fn pacing_rate(&self) -> u64 {
        self.pacing_rate
    }

    pub(super) fn told(&self) -> Told {
        let gain = |gain: f64| (gain * 256.0) as u32;
        Told {
            bw: self.bw(),
            min_rtt: self.min_rtt.get().map_or(0, |rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)),
            pacing_gain: gain(self.pacing_gain),
            cwnd_gain: gain(self.cwnd_gain),
        }
    }

    /// BBRUpdateOnACK.
    pub(super) fn on_ack(&mut self, d: &Delivery) {
        (self.delivered, self.in_flight, self.seen) = (d.delivered, d.in_flight, d.now);
        let had_no_rtt = self.min_rtt.get().is_none() && self.max_bw.get() == 0;
        self.update_model(d);
        if had_no_rtt && d.rtt.is_some() {
            self.init_pacing_rate(d.rtt);
        }
        self.set_pacing_rate();
        self.set_cwnd(d);
    }

    /// BBRUpdateModelAndState.
    fn update_model(&mut self, d: &Delivery) {
        let probing = self.state.is_probing_bw();
        self.bounds.latest(&d.sample, d.delivered);
        self.update_max_bw(d);
        let (bw, cwnd) = (self.max_bw.get(), self.cwnd);
        self.bounds.on_losses(bw, cwnd, probing);
        let round = (self.round.count, self.full.reached);
        self.aggregation.update(d.sample.newly_acked, self.bw(), cwnd, round, d.now);
        self.check_full_pipe(&d.sample);
        self.check_startup_done(d);
        self.check_drain_done(d);
        self.update_probe_bw(d);
        self.min_rtt.update(d.rtt, d.now);
        self.check_probe_rtt(d);
        self.bounds.advance_latest(&d.sample);
    }

    /// BBRUpdateRound, BBRUpdateMaxBw.
    fn update_max_bw(&mut self, d: &Delivery) {
        self.round.start = false;
        if d.sample.delivered == 0 {
            return;
        }
        self.round.update(d.sample.prior_delivered, d.delivered);
        if self.round.start {
            self.cycle.rounds = self.cycle.rounds.wrapping_add(1);
            if self.recovery == Recovering::Conserving {
                // A round trip after the loss: the window may grow again.
                self.recovery = Recovering::Fast;
                self.restore_cwnd();
            }
        }
        if !d.sample.app_limited || d.sample.rate >= self.max_bw.get() {
            self.max_bw.update(d.sample.rate);
        }
    }

    /// The bandwidth that is believed: BBR.bw.
    fn bw(&self) -> u64 {
        self.max_bw.get().min(self.bounds.bw_lo)
    }

    /// BBRBDPMultiple: what the path holds, `gain` times.
    fn bdp(&self, bw: u64, gain: f64) -> u32 {
        match self.min_rtt.get() {
            Some(rtt) if bw > 0 => (bw as f64 * rtt.as_secs_f64() * gain).min(f64::from(MAX_WINDOW)) as u32,
            _ => initial_window(self.mss),
        }
    }

    /// BBRInflight: with room for quanta, and for what keeps it going.
    fn inflight(&self, bw: u64, gain: f64) -> u32 {
        let burst = 3 * quantum(self.pacing_rate, self.mss);
        let mut inflight = self.bdp(bw, gain).max(burst).max(MIN_PIPE * self.mss);
        if self.state == State::Up {
            inflight += 2 * self.mss;
        }
        inflight
    }

    fn target_inflight(&self) -> u32 {
        self.bdp(self.bw(), 1.0).min(self.cwnd)
    }

    /// BBRSetPacingRate: in STARTUP it only grows.
    fn set_pacing_rate(&mut self) {
        let rate = (self.pacing_gain * self.bw() as f64 * MARGIN) as u64;
        if rate > 0 && (self.full.reached || rate > self.pacing_rate) {
            self.pacing_rate = rate;
        }
    }

    /// BBRSetCwnd.
    fn set_cwnd(&mut self, d: &Delivery) {
        let acked = d.sample.newly_acked;
        let most = self.inflight(self.bw(), self.cwnd_gain).saturating_add(self.aggregation.extra());
        if self.recovery == Recovering::Conserving {
            self.cwnd = self.cwnd.max(d.in_flight.saturating_add(acked));
        } else if self.full.reached {
            self.cwnd = self.cwnd.saturating_add(acked).min(most);
        } else if self.cwnd < most || d.delivered < initial_window(self.mss) {
            self.cwnd = self.cwnd.saturating_add(acked);
        }
        self.cwnd = self.cwnd.max(MIN_PIPE * self.mss);
        self.bound_cwnd();
    }

    /// BBRBoundCwndForProbeRTT, BBRBoundCwndForModel.
    fn bound_cwnd(&mut self) {
        if self.state == State::ProbeRtt {
            self.cwnd = self.cwnd.min(self.probe_rtt_cwnd());
        }
        let headroom = self.bounds.with_headroom(MIN_PIPE * self.mss);
        let cap = match self.state {
            State::Startup | State::Drain => NO_BOUND,
            State::Cruise | State::ProbeRtt => headroom,
            State::Down | State::Refill | State::Up => self.bounds.inflight_hi,
        };
        let cap = cap.min(self.bounds.inflight_lo).max(MIN_PIPE * self.mss);
        self.cwnd = self.cwnd.min(cap).min(MAX_WINDOW);
    }

    fn save_cwnd(&mut self) {
        let undisturbed = self.recovery == Recovering::No && self.state != State::ProbeRtt;
        self.prior_cwnd = if undisturbed { self.cwnd } else { self.prior_cwnd.max(self.cwnd) };
    }

    fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
    }

    /// BBROnEnterFastRecovery.
    pub(super) fn on_congestion(&mut self) {
        self.bounds.keep();
        self.save_cwnd();
        self.bounds.note_loss(self.delivered);
        self.recovery = Recovering::Conserving;
        self.round.begin(self.delivered);
        self.cwnd = self.in_flight.saturating_add(self.mss).max(MIN_PIPE * self.mss).min(self.cwnd);
    }

    /// A queue is building, as losses would show (RFC 3168 §6.1.2; the draft has no words for it): the bounds come
    /// down as for a round of losses, and a probe ends.
    pub(super) fn on_echo(&mut self) {
        self.bounds.note_loss(self.delivered);
        match self.state {
            State::Startup => {
                self.full.reached = true;
                self.bounds.inflight_hi = self.bdp(self.max_bw.get(), 1.0).max(self.bounds.inflight_latest);
            }
            State::Refill | State::Up => self.end_probe(),
            _ => {}
        }
    }

    /// BBROnEnterRTO.
    pub(super) fn on_timeout(&mut self) {
        if self.recovery != Recovering::Loss {
            self.bounds.keep();
            self.save_cwnd();
        }
        self.bounds.note_loss(self.delivered);
        self.full.bw = 0;
        self.recovery = Recovering::Loss;
        self.cwnd = self.mss;
    }

    pub(super) fn on_recovery_exit(&mut self) {
        if self.recovery != Recovering::No {
            self.recovery = Recovering::No;
            self.restore_cwnd();
        }
    }

    /// The loss was none.
    pub(super) fn undo(&mut self) {
        self.recovery = Recovering::No;
        self.restore_cwnd();
        self.full.bw = 0;
        self.full.count = 0;
        self.bounds.undo();
    }

    /// BBRHandleRestartFromIdle: nothing was in flight for want of data.
    pub(super) fn on_restart(&mut self, now: Instant) {
        self.idle_restart = true;
        self.aggregation.restart(now);
        if self.state.is_in_probe_bw() {
            self.pacing_rate = ((self.bw() as f64 * MARGIN) as u64).max(1);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done(now);
        }
    }

    pub(super) fn set_mss(&mut self, mss: u32) {
        self.mss = mss.max(1);
        self.cwnd = self.cwnd.max(self.mss);
    }

    /// Whether PROBE_RTT keeps the flight small, so that what is delivered says nothing of the bandwidth.
    pub(super) fn is_holding_back(&self) -> bool {
        self.state == State::ProbeRtt
    }
}
