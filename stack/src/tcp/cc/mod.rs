//! Congestion control: how many bytes may be in flight.
//!
//! A control hears of ACKs, losses and time-outs and answers with a window. Windows are counted in bytes
//! (RFC 3465), so that it does not matter how many segments an ACK covers. What is sent during a recovery
//! (RFC 6675, RFC 6937) is the recovery's business.

mod bbr;
mod cubic;
mod hystart;
mod reno;
mod window;

use core::time::Duration;

use crate::seq::Seq;
use crate::time::Instant;
pub use crate::types::CongestionControl as Algorithm;
pub use bbr::{Delivery, Told};

use bbr::Bbr;
use cubic::Cubic;
use hystart::{HyStart, Pace};
use reno::Reno;
use window::{Phase, Window};

/// `ssthresh` before the first loss.
pub const NO_THRESHOLD: u32 = u32::MAX;
/// No window grows beyond what window scaling can announce (RFC 7323 §2.3).
pub const MAX_WINDOW: u32 = 1 << 30;

/// What an ACK of new data tells.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// Bytes that are known to have arrived only now.
    pub acked: u32,
    /// The flight did not fill the window when the bytes were sent: the window proves nothing (RFC 7661).
    pub app_limited: bool,
    /// SND.UNA.
    pub una: Seq,
    /// SND.NXT.
    pub nxt: Seq,
    /// The round trip that this ACK measured, if it did.
    pub rtt: Option<Duration>,
    /// The smoothed round trip; zero while nothing was measured.
    pub srtt: Duration,
}

/// A connection's congestion control.
#[derive(Clone, Debug)]
pub struct Congestion {
    window: Window,
    law: Law,
}

/// How the window grows and shrinks.
#[derive(Clone, Debug)]
enum Law {
    /// The initial slow start, alike for both; HyStart++ ends it (RFC 9406 §4.3: afterwards `ssthresh` says
    /// where to end).
    Start(HyStart, Algorithm),
    Cubic(Cubic),
    Reno(Reno),
    /// Chosen by a call, which made the box.
    Bbr(Box<Bbr>),
}

impl Law {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Reno => Law::Reno(Reno::default()),
            // BBR takes over when a call says so; nothing of it is made for a packet.
            Algorithm::Cubic | Algorithm::Bbr => Law::Cubic(Cubic::default()),
        }
    }
}

impl Congestion {
    /// A new connection: the initial window (RFC 6928), slow start.
    pub fn new(algorithm: Algorithm, mss: u32) -> Self {
        Self { window: Window::new(mss), law: Law::Start(HyStart::default(), algorithm) }
    }

    /// Which control this is.
    pub fn algorithm(&self) -> Algorithm {
        match self.law {
            Law::Start(_, algorithm) => algorithm,
            Law::Cubic(_) => Algorithm::Cubic,
            Law::Reno(_) => Algorithm::Reno,
            Law::Bbr(_) => Algorithm::Bbr,
        }
    }

    /// Begins anew with segments of `mss`: what the peer takes is known now.
    pub fn restart(&mut self, mss: u32) {
        match &mut self.law {
            Law::Bbr(bbr) => bbr.restart(mss),
            _ => *self = Self::new(self.algorithm(), mss),
        }
    }

    /// The handshake took more than one try: the network takes little (RFC 5681 §3.1).
    pub fn syn_was_lost(&mut self) {
        match &mut self.law {
            Law::Bbr(bbr) => bbr.syn_was_lost(),
            _ => self.window.bytes = self.window.mss.into(),
        }
    }

    /// Goes on by other rules from the window as it is (as Linux's tcp_reinit_congestion_control). BBR is told the
    /// smoothed round trip and a number that differs from connection to connection. It may allocate: for calls only.
    pub fn change(&mut self, algorithm: Algorithm, srtt: Option<Duration>, seed: u32, now: Instant) {
        let (cwnd, current) = (self.cwnd(), self.algorithm());
        match (&mut self.law, algorithm) {
            (Law::Bbr(_), Algorithm::Bbr) => {}
            (_, Algorithm::Bbr) => {
                self.window.ssthresh = NO_THRESHOLD;
                self.law = Law::Bbr(Box::new(Bbr::new(self.window.mss, cwnd, srtt, seed, now)));
            }
            (Law::Bbr(_), _) => {
                self.window.bytes = cwnd.into();
                self.window.phase = Phase::Open;
                self.law = Law::Start(HyStart::default(), algorithm);
            }
            (Law::Start(_, chosen), _) => *chosen = algorithm,
            _ if algorithm != current => self.law = Law::new(algorithm),
            _ => {}
        }
    }

    /// Goes on from the window that another stack had on the same path.
    pub fn resume(&mut self, cwnd: u32, ssthresh: u32) {
        self.window.bytes = f64::from(cwnd.clamp(self.window.mss, MAX_WINDOW));
        self.window.ssthresh = ssthresh.max(2 * self.window.mss);
        if cwnd >= ssthresh {
            self.leave_start();
        }
    }

    /// The congestion window, in bytes.
    #[inline]
    pub fn cwnd(&self) -> u32 {
        match &self.law {
            Law::Bbr(bbr) => bbr.cwnd(),
            _ => self.window.bytes as u32,
        }
    }

    /// Whether this control's window holds during a recovery, too, instead of proportional rate reduction's.
    #[inline]
    pub fn rules_recovery(&self) -> bool {
        matches!(self.law, Law::Bbr(_))
    }

    /// Octets a second at which it wants segments to leave; none: as the window allows.
    pub fn pacing_rate(&self) -> Option<u64> {
        match &self.law {
            Law::Bbr(bbr) => Some(bbr.pacing_rate()),
            _ => None,
        }
    }

    /// What BBR tells of itself.
    pub fn told(&self) -> Option<Told> {
        match &self.law {
            Law::Bbr(bbr) => Some(bbr.told()),
            _ => None,
        }
    }

    /// The least round trip that BBR has seen: rates over less time are no rates.
    pub fn min_rtt(&self) -> Duration {
        match &self.law {
            Law::Bbr(bbr) => bbr.min_rtt(),
            _ => Duration::ZERO,
        }
    }

    /// Whether it sends less than it could, to learn: what is delivered then is no measure.
    pub fn is_holding_back(&self) -> bool {
        matches!(&self.law, Law::Bbr(bbr) if bbr.is_holding_back())
    }

    /// An ACK, with its rate sample: what BBR lives on.
    pub fn on_delivery(&mut self, delivery: &Delivery) {
        if let Law::Bbr(bbr) = &mut self.law {
            bbr.on_ack(delivery);
        }
    }

    /// Sending begins again where the application had left it, with nothing in flight.
    pub fn on_restart(&mut self, now: Instant) {
        if let Law::Bbr(bbr) = &mut self.law {
            bbr.on_restart(now);
        }
    }

    /// The slow start threshold, in bytes; [`NO_THRESHOLD`] before the first loss.
    #[inline]
    pub fn ssthresh(&self) -> u32 {
        self.window.ssthresh
    }

    /// New data was acknowledged. Nothing happens between [`on_congestion`](Self::on_congestion) and
    /// [`on_recovery_exit`](Self::on_recovery_exit).
    pub fn on_ack(&mut self, ack: &Ack, now: Instant) {
        if self.window.phase == Phase::Recovery || self.rules_recovery() {
            return;
        }
        if ack.app_limited {
            return self.stand_still(now);
        }
        let pace = match &mut self.law {
            Law::Start(start, _) => start.on_ack(ack.una, ack.nxt, ack.rtt),
            _ => Pace::Fast,
        };
        let rest = self.window.slow_start(ack, pace);
        if rest > 0.0 {
            self.leave_start();
            match &mut self.law {
                Law::Start(..) | Law::Bbr(_) => {}
                Law::Cubic(cubic) => cubic.avoid(&mut self.window, rest, ack.srtt, now),
                Law::Reno(_) => Reno::avoid(&mut self.window, rest),
            }
        }
        self.window.bound();
    }

    /// As [`on_ack`](Self::on_ack), of an ACK whose window proves nothing: that is all it tells.
    #[inline]
    pub fn on_ack_of_little(&mut self, now: Instant) {
        if self.window.phase != Phase::Recovery && !self.rules_recovery() {
            self.stand_still(now);
        }
    }

    #[inline]
    fn stand_still(&mut self, now: Instant) {
        if let Law::Cubic(cubic) = &mut self.law {
            cubic.stand_still(now);
        }
    }

    /// The initial slow start is over.
    fn leave_start(&mut self) {
        if let Law::Start(_, algorithm) = self.law {
            self.law = Law::new(algorithm);
        }
    }

    /// A loss (or ECN's echo) begins a recovery: call it once for each.
    pub fn on_congestion(&mut self) {
        self.leave_start();
        match &mut self.law {
            Law::Start(..) => {}
            Law::Cubic(cubic) => cubic.on_congestion(&mut self.window),
            Law::Reno(reno) => reno.on_congestion(&mut self.window),
            Law::Bbr(bbr) => bbr.on_congestion(),
        }
    }

    /// ECN's echo begins a reduction, which is over at [`on_recovery_exit`](Self::on_recovery_exit) and is never
    /// undone. A mark says that a queue is building, a loss that it was full: the window shrinks less (RFC 8511 §3).
    pub fn on_echo(&mut self) {
        self.leave_start();
        match &mut self.law {
            Law::Start(..) => {}
            Law::Bbr(bbr) => bbr.on_echo(),
            Law::Cubic(cubic) => cubic.on_echo(&mut self.window),
            Law::Reno(reno) => reno.on_echo(&mut self.window),
        }
    }

    /// All that was in flight when the recovery began is acknowledged.
    pub fn on_recovery_exit(&mut self) {
        match &mut self.law {
            Law::Bbr(bbr) => bbr.on_recovery_exit(),
            _ => self.window.on_recovery_exit(),
        }
    }

    /// The retransmission timer expired: one segment, then slow start. In a recovery, and when called again
    /// before [`on_recovery_exit`](Self::on_recovery_exit), it leaves `ssthresh` alone (RFC 5681 §3.1).
    pub fn on_timeout(&mut self) {
        self.leave_start();
        match &mut self.law {
            Law::Start(..) => {}
            Law::Cubic(cubic) => cubic.on_timeout(&mut self.window),
            Law::Reno(reno) => reno.on_timeout(&mut self.window),
            Law::Bbr(bbr) => bbr.on_timeout(),
        }
    }

    /// The last reduction turned out to be spurious (D-SACK, Eifel): as if it had never been.
    pub fn undo(&mut self) {
        match &mut self.law {
            Law::Start(..) => {}
            Law::Cubic(cubic) => cubic.undo(&mut self.window),
            Law::Reno(reno) => reno.undo(&mut self.window),
            Law::Bbr(bbr) => return bbr.undo(),
        }
        if self.window.ssthresh == NO_THRESHOLD {
            self.law = Law::Start(HyStart::default(), self.algorithm());
        }
    }

    /// Sending begins again after `idle` with nothing in flight (RFC 2861, as Linux's
    /// `tcp_slow_start_after_idle`): the window is halved for each RTO of silence, down to the initial window.
    pub fn after_idle(&mut self, idle: Duration, rto: Duration) {
        let forgotten = idle > rto;
        if let Law::Cubic(cubic) = &mut self.law {
            cubic.after_idle(idle, forgotten);
        }
        if forgotten && !self.rules_recovery() {
            self.window.after_idle(idle, rto);
        }
    }

    /// The path's segment size changed.
    pub fn set_mss(&mut self, mss: u32) {
        self.window.set_mss(mss);
        if let Law::Bbr(bbr) = &mut self.law {
            bbr.set_mss(mss);
        }
    }
}

/// The initial window: ten segments, or 14,600 bytes if they are large (RFC 6928).
pub fn initial_window(mss: u32) -> u32 {
    mss.saturating_mul(10).min(mss.saturating_mul(2).max(14_600))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) const MSS: u32 = 1000;

    pub(super) fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    pub(super) fn acked(acked: u32, srtt: Duration) -> Ack {
        Ack { acked, app_limited: false, una: Seq(0), nxt: Seq(0), rtt: None, srtt }
    }

    /// Acknowledges `octets`, a segment an ACK.
    pub(super) fn slowly(cc: &mut Congestion, octets: u32, srtt: Duration, now: Instant) {
        let mut left = octets;
        while left > 0 {
            let n = left.min(MSS);
            cc.on_ack(&acked(n, srtt), now);
            left -= n;
        }
    }

    /// RFC 6928 §2.
    #[test]
    fn initial_window_is_rfc_6928s() {
        assert_eq!([536, 1448, 1460, 8960].map(initial_window), [5_360, 14_480, 14_600, 17_920]);
    }

    /// RFC 5681 §3.1, RFC 3465 §2.2: by what is acknowledged, eight segments an ACK at the most.
    #[test]
    fn slow_start_doubles() {
        for &algorithm in Algorithm::ALL {
            let mut cc = Congestion::new(algorithm, MSS);
            assert_eq!((cc.cwnd(), cc.ssthresh()), (10_000, NO_THRESHOLD));
            slowly(&mut cc, 10_000, Duration::ZERO, at(0));
            assert_eq!(cc.cwnd(), 20_000);
            cc.on_ack(&acked(1, Duration::ZERO), at(0));
            assert_eq!(cc.cwnd(), 20_001);
            cc.on_ack(&acked(20_000, Duration::ZERO), at(0));
            assert_eq!(cc.cwnd(), 28_001);
        }
    }

    /// RFC 5681 §3.1, eq. 3 and 4; RFC 3465 §2.1.
    #[test]
    fn reno_adds_a_segment_a_round_trip_and_halves() {
        let mut cc = Congestion::new(Algorithm::Reno, MSS);
        slowly(&mut cc, 30_000, Duration::ZERO, at(0));
        cc.on_congestion();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (20_000, 20_000));
        cc.on_recovery_exit();
        for n in 1..=10 {
            let window = cc.cwnd();
            slowly(&mut cc, window, Duration::ZERO, at(0));
            assert!(cc.cwnd().abs_diff(20_000 + n * 1000) < 60 * n, "{} after {n}", cc.cwnd());
        }
        cc.undo();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (40_000, NO_THRESHOLD));
        cc.on_timeout();
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1_000, 20_000));
    }

    /// RFC 3465 §2.3: one segment an ACK while what a time-out lost is sent again.
    #[test]
    fn a_stretched_ack_after_a_timeout_opens_by_one_segment() {
        let mut cc = Congestion::new(Algorithm::Cubic, MSS);
        cc.on_timeout();
        cc.on_ack(&acked(8_000, Duration::ZERO), at(0));
        assert_eq!(cc.cwnd(), 2_000);
    }

    /// RFC 9293 MAY-18
    #[test]
    fn a_change_of_control_keeps_the_window() {
        let mut cc = Congestion::new(Algorithm::Cubic, MSS);
        slowly(&mut cc, 30_000, Duration::ZERO, at(0));
        cc.on_congestion();
        cc.on_recovery_exit();
        cc.change(Algorithm::Reno, None, 1, at(0));
        assert_eq!((cc.algorithm(), cc.cwnd(), cc.ssthresh()), (Algorithm::Reno, 28_000, 28_000));
        cc.undo();
        assert_eq!(cc.cwnd(), 28_000, "what the other control did is not undone");
    }

    #[test]
    fn the_state_is_small() {
        assert!(size_of::<Congestion>() <= 120, "{} bytes", size_of::<Congestion>());
    }

    /// RFC 9293 MAY-18
    #[test]
    fn names() {
        for &algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name().as_bytes()), Some(algorithm));
        }
        assert_eq!(Algorithm::from_name(b"vegas"), None);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Ack(u32, bool, u32),
        Congestion,
        Exit,
        Timeout,
        Undo,
        Idle(u32),
        Mss(u32),
        Change(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => (0..200_000u32, any::<bool>(), 1..500_000u32).prop_map(|(a, l, r)| Event::Ack(a, l, r)),
            1 => Just(Event::Ack(u32::MAX, false, u32::MAX)),
            2 => Just(Event::Congestion),
            2 => Just(Event::Exit),
            1 => Just(Event::Timeout),
            1 => Just(Event::Undo),
            1 => (0..100_000u32).prop_map(Event::Idle),
            1 => (1..9000u32).prop_map(Event::Mss),
            1 => (0..Algorithm::ALL.len()).prop_map(Event::Change),
        ]
    }

    proptest! {
        /// RFC 5681 §3.1: never under one segment, `ssthresh` never under two; RFC 9438 §4.6.
        #[test]
        fn windows_keep_their_floors_and_bounds(
            events in proptest::collection::vec(event(), 1..300),
            first in 0..Algorithm::ALL.len(),
        ) {
            let mut cc = Congestion::new(Algorithm::ALL[first], MSS);
            let (mut now, mut seq, mut mss) = (at(1000), Seq(u32::MAX - 5000), MSS);
            for event in events {
                let before = (cc.cwnd(), cc.ssthresh());
                match event {
                    Event::Ack(n, app_limited, rtt) => {
                        now += Duration::from_micros(rtt.into());
                        seq += n & 0xf_ffff;
                        let rtt = Duration::from_micros(rtt.into());
                        cc.on_ack(
                            &Ack { acked: n, app_limited, una: seq, nxt: seq + cc.cwnd(), rtt: Some(rtt), srtt: rtt },
                            now,
                        );
                        prop_assert!(cc.cwnd() >= before.0, "an ACK shrank the window");
                        if app_limited {
                            prop_assert_eq!(cc.cwnd(), before.0);
                        }
                    }
                    Event::Congestion => {
                        cc.on_congestion();
                        prop_assert!(cc.ssthresh() >= 2 * mss);
                        prop_assert!(cc.cwnd() <= before.0.max(2 * mss));
                    }
                    Event::Exit => cc.on_recovery_exit(),
                    Event::Timeout => {
                        cc.on_timeout();
                        prop_assert_eq!(cc.cwnd(), mss);
                    }
                    Event::Undo => {
                        cc.undo();
                        prop_assert!(cc.cwnd() >= before.0);
                    }
                    Event::Idle(ms) => {
                        cc.after_idle(Duration::from_millis(ms.into()), Duration::from_millis(200));
                        prop_assert!(cc.cwnd() <= before.0);
                        prop_assert!(cc.cwnd() >= before.0.min(initial_window(mss)));
                    }
                    Event::Mss(n) => {
                        mss = n;
                        cc.set_mss(n);
                    }
                    Event::Change(to) => {
                        cc.change(Algorithm::ALL[to], None, 1, now);
                        prop_assert_eq!(cc.cwnd(), before.0);
                    }
                }
                prop_assert!(cc.cwnd() >= 1 && cc.cwnd() <= MAX_WINDOW);
            }
        }

        /// RFC 9438 §4.9, RFC 4015 §3: an undone reduction leaves the window where it was, or further.
        #[test]
        fn an_undone_reduction_leaves_no_trace(
            first in 0..Algorithm::ALL.len(),
            acks in proptest::collection::vec(1..20_000u32, 0..50),
            timeout in any::<bool>(),
        ) {
            let mut cc = Congestion::new(Algorithm::ALL[first], MSS);
            for (n, acked_) in acks.into_iter().enumerate() {
                cc.on_ack(&acked(acked_, Duration::from_millis(50)), at(n as u64 * 50));
            }
            let before = (cc.cwnd(), cc.ssthresh());
            if timeout { cc.on_timeout() } else { cc.on_congestion() }
            cc.undo();
            prop_assert_eq!((cc.cwnd(), cc.ssthresh()), before);
        }
    }
}
