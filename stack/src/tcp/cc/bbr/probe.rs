//! BBR's states, and when one follows another.

use core::time::Duration;

use super::bounds::{BETA, Bounds};
use super::model::NO_BOUND;
use super::{Bbr, CWND_GAIN, Delivery, FullPipe, MIN_PIPE};
use crate::tcp::rate::Sample;
use crate::time::Instant;

/// BBR.ProbeRTTDuration.
const PROBE_RTT: Duration = Duration::from_millis(200);
/// BBR.ProbeRTTCwndGain.
const PROBE_RTT_GAIN: f64 = 0.5;
/// BBR.StartupFullLossCnt.
const STARTUP_LOSSES: u8 = 6;
/// Growth of the bandwidth that shows room in the pipe, and rounds without it that show there is none.
const FULL_GROWTH: f64 = 1.25;
const FULL_ROUNDS: u8 = 3;
/// The longest a Reno flow of the same share would take to lose once, in rounds: as often BBR probes too.
const RENO_ROUNDS: u32 = 63;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The rate doubles each round trip.
    Startup,
    /// The queue that made is emptied.
    Drain,
    /// PROBE_BW: below the bandwidth, to leave room.
    Down,
    /// PROBE_BW: at the bandwidth.
    Cruise,
    /// PROBE_BW: the pipe is filled, without a queue.
    Refill,
    /// PROBE_BW: above the bandwidth, to see whether there is more.
    Up,
    /// A small flight, to see the round trip of the empty path.
    ProbeRtt,
}

impl State {
    pub(super) fn pacing_gain(self) -> f64 {
        match self {
            // 4 ln 2.
            State::Startup => 2.77,
            State::Drain => 0.35,
            State::Down => 0.9,
            State::Up => 1.25,
            State::Cruise | State::Refill | State::ProbeRtt => 1.0,
        }
    }

    fn cwnd_gain(self) -> f64 {
        match self {
            State::Up => 2.25,
            State::ProbeRtt => PROBE_RTT_GAIN,
            _ => CWND_GAIN,
        }
    }

    pub(super) fn is_in_probe_bw(self) -> bool {
        matches!(self, State::Down | State::Cruise | State::Refill | State::Up)
    }

    /// IsProbingBW: losses are looked for.
    pub(super) fn is_probing_bw(self) -> bool {
        matches!(self, State::Startup | State::Refill | State::Up)
    }
}

/// What the ACKs that come now were sent under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AckPhase {
    Init,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    ProbeStopping,
}

/// PROBE_BW's cycle and PROBE_RTT's clock.
#[derive(Clone, Debug)]
pub(super) struct Cycle {
    random: u32,
    stamp: Instant,
    /// How long after a probe the next comes, if Reno's pace does not ask for it earlier.
    wait: Duration,
    /// Rounds since the last probe.
    pub(super) rounds: u32,
    phase: AckPhase,
    /// ACKs tell what the probe has found.
    samples: bool,
    up_rounds: u32,
    /// Octets to be acknowledged for each segment more of `inflight_hi`, and those acknowledged so far.
    up_cost: u32,
    up_acked: u32,
    probe_rtt_done: Option<Instant>,
    probe_rtt_round_done: bool,
}

impl Cycle {
    pub(super) fn new(seed: u32, now: Instant) -> Self {
        Self {
            random: seed | 1,
            stamp: now,
            wait: Duration::ZERO,
            rounds: 0,
            phase: AckPhase::Init,
            samples: false,
            up_rounds: 0,
            up_cost: u32::MAX,
            up_acked: 0,
            probe_rtt_done: None,
            probe_rtt_round_done: false,
        }
    }

    /// xorshift32: flows that share a path must not probe at the same time.
    fn below(&mut self, n: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random % n
    }
}

impl Bbr {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.pacing_gain = state.pacing_gain();
        self.cwnd_gain = state.cwnd_gain();
    }

    /// BBRCheckFullBWReached.
    pub(super) fn check_full_pipe(&mut self, sample: &Sample) {
        if self.full.now || sample.app_limited || sample.rate == 0 {
            return;
        }
        if sample.rate as f64 >= self.full.bw as f64 * FULL_GROWTH {
            self.reset_full_pipe(sample.rate);
            return;
        }
        if !self.round.start {
            return;
        }
        self.full.count += 1;
        self.full.now = self.full.count >= FULL_ROUNDS;
        self.full.reached |= self.full.now;
    }

    fn reset_full_pipe(&mut self, bw: u64) {
        self.full = FullPipe { bw, count: 0, now: false, reached: self.full.reached };
    }

    /// BBRCheckStartupDone, BBRCheckStartupHighLoss.
    pub(super) fn check_startup_done(&mut self, d: &Delivery) {
        if self.bounds.loss_round_start {
            let events = core::mem::take(&mut self.bounds.loss_events);
            if !self.full.reached && events >= STARTUP_LOSSES && Bounds::is_too_high(&d.sample, self.mss) {
                self.full.reached = true;
                self.bounds.inflight_hi = self.bdp(self.max_bw.get(), 1.0).max(self.bounds.inflight_latest);
            }
        }
        if self.state == State::Startup && self.full.reached {
            self.enter(State::Drain);
        }
    }

    /// BBRCheckDrainDone.
    pub(super) fn check_drain_done(&mut self, d: &Delivery) {
        if self.state == State::Drain && d.in_flight <= self.inflight(self.max_bw.get(), 1.0) {
            self.start_down(d.now);
        }
    }

    fn start_down(&mut self, now: Instant) {
        self.bounds.reset_signals();
        self.cycle.up_cost = u32::MAX;
        // BBRPickProbeWait.
        self.cycle.rounds = self.cycle.below(2);
        self.cycle.wait = Duration::from_millis(u64::from(2000 + self.cycle.below(1001)));
        self.cycle.stamp = now;
        self.cycle.phase = AckPhase::ProbeStopping;
        self.round.begin(self.delivered);
        self.enter(State::Down);
    }

    fn start_refill(&mut self) {
        self.bounds.reset_lower();
        self.cycle.up_rounds = 0;
        self.cycle.up_acked = 0;
        self.cycle.phase = AckPhase::Refilling;
        self.round.begin(self.delivered);
        self.enter(State::Refill);
    }

    fn start_up(&mut self, d: &Delivery) {
        self.cycle.phase = AckPhase::ProbeStarting;
        self.round.begin(self.delivered);
        self.reset_full_pipe(d.sample.rate);
        self.cycle.stamp = d.now;
        self.enter(State::Up);
        self.raise_slope();
    }

    /// BBRUpdateProbeBWCyclePhase.
    pub(super) fn update_probe_bw(&mut self, d: &Delivery) {
        if !self.full.reached {
            return;
        }
        self.adapt_upper_bounds(d);
        match self.state {
            State::Down | State::Cruise if self.is_time_to_probe(d) => self.start_refill(),
            State::Down if self.is_time_to_cruise(d) => self.enter(State::Cruise),
            State::Refill if self.round.start => {
                self.cycle.samples = true;
                self.start_up(d);
            }
            State::Up => self.go_down_if_due(d),
            _ => {}
        }
    }

    /// BBRIsTimeToProbeBW.
    fn is_time_to_probe(&self, d: &Delivery) -> bool {
        let reno = (self.target_inflight() / self.mss).min(RENO_ROUNDS);
        d.now > self.cycle.stamp + self.cycle.wait || self.cycle.rounds >= reno
    }

    fn is_time_to_cruise(&self, d: &Delivery) -> bool {
        d.in_flight <= self.bounds.with_headroom(MIN_PIPE * self.mss)
            && d.in_flight <= self.inflight(self.max_bw.get(), 1.0)
    }

    /// BBRIsTimeToGoDown.
    fn go_down_if_due(&mut self, d: &Delivery) {
        if d.cwnd_limited && self.cwnd >= self.bounds.inflight_hi {
            // The bound holds the bandwidth down: that it does not grow shows nothing.
            self.reset_full_pipe(d.sample.rate);
        } else if self.full.now {
            self.start_down(d.now);
        }
    }

    /// BBRAdaptUpperBounds.
    fn adapt_upper_bounds(&mut self, d: &Delivery) {
        if self.round.start {
            match self.cycle.phase {
                AckPhase::ProbeStarting => self.cycle.phase = AckPhase::ProbeFeedback,
                AckPhase::ProbeStopping => {
                    self.cycle.samples = false;
                    self.cycle.phase = AckPhase::Init;
                    if self.state.is_in_probe_bw() && !d.sample.app_limited {
                        self.max_bw.advance();
                    }
                }
                _ => {}
            }
        }
        if Bounds::is_too_high(&d.sample, self.mss) {
            if self.cycle.samples {
                self.too_high(d);
            }
            return;
        }
        if self.bounds.inflight_hi == NO_BOUND {
            return;
        }
        self.bounds.inflight_hi = self.bounds.inflight_hi.max(d.sample.tx_in_flight);
        if self.state == State::Up {
            self.probe_upward(d);
        }
    }

    /// BBRHandleInflightTooHigh.
    fn too_high(&mut self, d: &Delivery) {
        self.cycle.samples = false;
        if !d.sample.app_limited {
            let floor = (f64::from(self.target_inflight()) * BETA) as u32;
            self.bounds.inflight_hi = d.sample.tx_in_flight.max(floor);
        }
        if self.state == State::Up {
            self.start_down(d.now);
        }
    }

    /// What is in flight is too much, by a mark.
    pub(super) fn end_probe(&mut self) {
        self.cycle.samples = false;
        let floor = (f64::from(self.target_inflight()) * BETA) as u32;
        self.bounds.inflight_hi = self.bounds.inflight_hi.min(self.in_flight.max(floor));
        self.start_down(self.seen);
    }

    /// BBRRaiseInflightHiSlope: twice as fast each round.
    fn raise_slope(&mut self) {
        let growth = self.mss.saturating_mul(1 << self.cycle.up_rounds.min(20));
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(30);
        self.cycle.up_cost = (u64::from(self.cwnd) * u64::from(self.mss) / u64::from(growth))
            .clamp(u64::from(self.mss), u64::from(u32::MAX)) as u32;
    }

    /// BBRProbeInflightHiUpward.
    fn probe_upward(&mut self, d: &Delivery) {
        if !d.cwnd_limited || self.cwnd < self.bounds.inflight_hi {
            return;
        }
        self.cycle.up_acked = self.cycle.up_acked.saturating_add(d.sample.newly_acked);
        let segments = self.cycle.up_acked / self.cycle.up_cost;
        self.cycle.up_acked %= self.cycle.up_cost;
        let more = segments.saturating_mul(self.mss);
        self.bounds.inflight_hi = self.bounds.inflight_hi.saturating_add(more).min(NO_BOUND - 1);
        if self.round.start {
            self.raise_slope();
        }
    }

    pub(super) fn probe_rtt_cwnd(&self) -> u32 {
        self.bdp(self.bw(), PROBE_RTT_GAIN).max(MIN_PIPE * self.mss)
    }

    /// BBRCheckProbeRTT.
    pub(super) fn check_probe_rtt(&mut self, d: &Delivery) {
        if self.state != State::ProbeRtt && self.min_rtt.expired && !self.idle_restart {
            self.save_cwnd();
            self.enter(State::ProbeRtt);
            if self.cycle.phase == AckPhase::ProbeFeedback {
                // The draft lets the cut-off cycle's bandwidth live on. On a path that became slow, with a deep
                // queue, every probe is cut off: what it was once would never be forgotten.
                self.max_bw.advance();
            }
            self.cycle.probe_rtt_done = None;
            self.cycle.phase = AckPhase::ProbeStopping;
            self.round.begin(self.delivered);
        }
        if self.state == State::ProbeRtt {
            self.probe_rtt(d);
        }
        if d.sample.delivered > 0 {
            self.idle_restart = false;
        }
    }

    /// BBRHandleProbeRTT: 200 ms and a round trip with a small flight.
    fn probe_rtt(&mut self, d: &Delivery) {
        match self.cycle.probe_rtt_done {
            None if d.in_flight <= self.probe_rtt_cwnd() => {
                self.cycle.probe_rtt_done = Some(d.now + PROBE_RTT);
                self.cycle.probe_rtt_round_done = false;
                self.round.begin(self.delivered);
            }
            None => {}
            Some(_) => {
                self.cycle.probe_rtt_round_done |= self.round.start;
                if self.cycle.probe_rtt_round_done {
                    self.check_probe_rtt_done(d.now);
                }
            }
        }
    }

    /// BBRCheckProbeRTTDone, BBRExitProbeRTT.
    pub(super) fn check_probe_rtt_done(&mut self, now: Instant) {
        if self.cycle.probe_rtt_done.is_none_or(|done| now <= done) {
            return;
        }
        self.min_rtt.recent_stamp = now;
        self.restore_cwnd();
        self.bounds.reset_lower();
        if self.full.reached {
            self.start_down(now);
            self.enter(State::Cruise);
        } else {
            self.enter(State::Startup);
        }
    }
}
