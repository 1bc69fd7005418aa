//! Loss recovery: when it begins and ends (RFC 5681, RFC 6582, RFC 6675, RFC 8985).

use super::doubt::Doubt;
use super::frto::Frto;
use super::prr::{Ack, Prr};
use crate::seq::Seq;

/// DupThresh (RFC 5681 §3.2), until the path shows that it reorders more. Without SACK only: RACK counts time.
const DUP_THRESH: u8 = 3;
/// Beyond this much reordering, losses are left to the timer.
const DUP_THRESH_MAX: u8 = 64;

/// What the connection is recovering from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing.
    Open,
    /// Nothing, but the window is being reduced because a packet met congestion (RFC 3168 §6.1.2).
    Cwr,
    /// A loss that RACK or duplicate ACKs told of.
    Fast,
    /// A time-out.
    Loss,
}

/// The state of loss recovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    pub(super) phase: Phase,
    /// SND.NXT when the recovery (the last one, when none is on) began: RecoveryPoint, "recover".
    point: Seq,
    /// There was a recovery.
    began: bool,
    /// Duplicate ACKs in a row.
    dup_acks: u8,
    /// Octets that duplicate ACKs without SACK speak of.
    unseen: u32,
    /// Duplicate ACKs without SACK that mean a loss.
    dup_thresh: u8,
    prr: Prr,
    /// The recovery, or the last one, was a fast one.
    fast: bool,
    pub(super) frto: Frto,
    pub(super) doubt: Doubt,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            phase: Phase::Open,
            point: Seq(0),
            began: false,
            dup_acks: 0,
            unseen: 0,
            dup_thresh: DUP_THRESH,
            prr: Prr::default(),
            fast: false,
            frto: Frto::Off,
            doubt: Doubt::default(),
        }
    }
}

impl Recovery {
    /// Nothing lost and nothing suspected: header prediction may be used.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.phase == Phase::Open && self.dup_acks == 0
    }

    /// No retransmission is under suspicion of having been needless.
    #[inline]
    pub(super) fn is_trusted(&self) -> bool {
        self.doubt.is_settled()
    }

    /// Octets that left the network though no number says which (RFC 5681 §3.2, step 4).
    #[inline]
    pub(super) fn unseen(&self) -> u32 {
        self.unseen
    }

    /// Whether `una` has passed all that was in flight when the recovery began.
    pub(super) fn is_passed(&self, una: Seq) -> bool {
        !self.began || una.at_or_after(self.point)
    }

    /// Whether a segment that ends at `end` was in flight when the recovery began.
    pub(super) fn concerns(&self, end: Seq) -> bool {
        self.began && end.at_or_before(self.point)
    }

    /// Whether something was sent since the recovery began, or since F-RTO moved the mark, with SND.NXT at `nxt`.
    pub(super) fn has_sent_new(&self, nxt: Seq) -> bool {
        self.began && nxt.after(self.point)
    }

    /// F-RTO, step 2b: what is sent from here on is new (RFC 5682 §3.1).
    pub(super) fn move_point(&mut self, nxt: Seq) {
        (self.began, self.point) = (true, nxt);
    }

    /// A duplicate ACK (RFC 5681 §2). `mss` is what it stands for when there is no SACK.
    pub(super) fn on_dup_ack(&mut self, mss: Option<u32>, outstanding: u32) {
        self.dup_acks = self.dup_acks.saturating_add(1);
        if let Some(mss) = mss {
            self.unseen = (self.unseen + mss).min(outstanding.saturating_sub(mss));
        }
    }

    /// How many duplicate ACKs mean a loss, with `in_flight` segments out: never more than can come (RFC 5827's
    /// reason), never under three.
    pub(super) fn threshold(&self, in_flight: u32) -> u32 {
        u32::from(self.dup_thresh).min(in_flight.saturating_sub(1)).max(u32::from(DUP_THRESH))
    }

    /// Enough duplicate ACKs, and not the echo of an earlier recovery: SND.UNA must have passed "recover"
    /// (RFC 6582 §3.2, step 1).
    pub(super) fn enough_dup_acks(&self, una: Seq, threshold: u32) -> bool {
        u32::from(self.dup_acks) >= threshold && self.is_passed(una)
    }

    /// The recovery turned out to be for nothing. After a fast one more patience is shown to a path that
    /// reorders: true then.
    pub(super) fn undo(&mut self) -> bool {
        if self.fast {
            self.dup_thresh = (self.dup_thresh + self.dup_thresh / 2 + 1).min(DUP_THRESH_MAX);
        }
        self.phase = Phase::Open;
        self.dup_acks = 0;
        self.unseen = 0;
        self.frto = Frto::Off;
        self.doubt = Doubt::default();
        self.fast
    }

    /// SND.UNA moved by `acked` octets. True when that ends the recovery.
    pub(super) fn on_advance(&mut self, una: Seq, acked: u32, mss: u32) -> bool {
        self.dup_acks = 0;
        match self.phase {
            Phase::Open => {
                self.unseen = 0;
                false
            }
            // Until something later is acknowledged: with it CWR has come through (as in Linux).
            Phase::Cwr if una == self.point => false,
            _ if self.is_passed(una) => {
                self.unseen = 0;
                self.phase = Phase::Open;
                self.frto = Frto::Off;
                true
            }
            Phase::Loss => {
                self.unseen = 0;
                false
            }
            Phase::Cwr => {
                self.unseen = 0;
                false
            }
            Phase::Fast => {
                // RFC 6582 §3.2, step 3: of what a partial ACK covers, one segment was the hole.
                self.unseen = self.unseen.saturating_sub(acked.saturating_sub(mss));
                false
            }
        }
    }

    /// A loss was found. `recover_fs` octets were in flight before the ACK that told of it; `copies` segments are
    /// in flight that were sent again before.
    pub(super) fn enter(&mut self, (una, nxt): (Seq, Seq), recover_fs: u32, copies: u32) {
        if self.phase != Phase::Cwr {
            self.prr = Prr::new(recover_fs);
        }
        self.phase = Phase::Fast;
        self.fast = true;
        (self.began, self.point) = (true, nxt);
        self.frto = Frto::Off;
        self.doubt = Doubt::begin(una, copies);
    }

    /// A packet met congestion: the window is reduced in proportion to what arrives, once a round trip.
    pub(super) fn slow_down(&mut self, nxt: Seq, flight: u32) {
        self.phase = Phase::Cwr;
        self.fast = false;
        (self.began, self.point) = (true, nxt);
        self.prr = Prr::new(flight);
        self.doubt = Doubt::default();
    }

    /// The retransmission timer expired, for the first time in a row or not.
    pub(super) fn on_timeout(&mut self, (una, nxt): (Seq, Seq), again: bool) {
        let was_lost = matches!(self.phase, Phase::Fast | Phase::Loss);
        // RFC 5682 §3.1, step 1: not when a fast recovery is under way, whose copies would confuse it.
        self.frto = Frto::begin(self.phase != Phase::Fast && (!was_lost || again));
        if !was_lost {
            self.doubt = Doubt::begin(una, 0);
        }
        self.phase = Phase::Loss;
        self.fast = false;
        (self.began, self.point) = (true, nxt);
        self.dup_acks = 0;
        self.unseen = 0;
    }

    /// An ACK during a fast recovery, or while the window is reduced for ECN.
    pub(super) fn on_delivered(&mut self, ack: Ack, ssthresh: u32, mss: u32) {
        self.prr.on_ack(ack, ssthresh, mss);
    }

    /// `len` octets were sent.
    #[inline]
    pub(super) fn on_sent(&mut self, len: u32) {
        if matches!(self.phase, Phase::Fast | Phase::Cwr) {
            self.prr.on_sent(len);
        }
    }

    /// The window: congestion control's, or PRR's while it is in charge.
    #[inline]
    pub(super) fn cwnd(&self, cc: u32) -> u32 {
        if matches!(self.phase, Phase::Fast | Phase::Cwr) { self.prr.cwnd() } else { cc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNA: Seq = Seq(0);

    /// RFC 6582 §3.2.
    #[test]
    fn three_duplicate_acks_count_once_per_window() {
        let mut r = Recovery::default();
        for _ in 0..3 {
            assert!(!r.enough_dup_acks(Seq(1000), r.threshold(10)));
            r.on_dup_ack(Some(1000), 10_000);
        }
        assert!(r.enough_dup_acks(Seq(1000), r.threshold(10)));
        assert_eq!(r.unseen(), 3000);
        r.enter((UNA, Seq(11_000)), 10_000, 0);
        assert!(!r.on_advance(Seq(4000), 3000, 1000));
        assert_eq!(r.unseen(), 1000);
        assert!(r.on_advance(Seq(11_000), 7000, 1000));
        assert_eq!((r.phase, r.unseen()), (Phase::Open, 0));
    }

    /// RFC 6582 §3.2, step 1.
    #[test]
    fn duplicate_acks_of_a_window_that_timed_out_begin_nothing() {
        let mut r = Recovery::default();
        r.on_timeout((UNA, Seq(5000)), false);
        for _ in 0..3 {
            r.on_dup_ack(None, 5000);
        }
        assert!(!r.enough_dup_acks(Seq(4999), 3));
        assert!(r.enough_dup_acks(Seq(5000), 3));
    }

    #[test]
    fn a_path_that_reorders_earns_patience_within_what_can_arrive() {
        let mut r = Recovery::default();
        assert_eq!(r.threshold(100), 3);
        r.on_timeout((UNA, Seq(0)), false);
        assert!(!r.undo());
        assert_eq!(r.threshold(100), 3);
        let mut seen = Vec::new();
        for _ in 0..9 {
            r.enter((UNA, Seq(0)), 1, 0);
            assert!(r.undo());
            seen.push(r.threshold(100));
        }
        assert_eq!(seen, [5, 8, 13, 20, 31, 47, 64, 64, 64]);
        assert_eq!([20, 4, 1, 0].map(|n| r.threshold(n)), [19, 3, 3, 3]);
    }

    /// RFC 5682 §3.1, step 1.
    #[test]
    fn a_time_out_is_doubted_unless_a_fast_recovery_was_under_way() {
        let mut r = Recovery::default();
        r.on_timeout((UNA, Seq(5000)), false);
        assert_eq!(r.frto, Frto::Begun);
        r.frto = Frto::Off;
        r.on_timeout((UNA, Seq(5000)), false);
        assert_eq!(r.frto, Frto::Off, "an earlier time-out whose loss was real");
        r.on_timeout((UNA, Seq(5000)), true);
        assert_eq!(r.frto, Frto::Begun);
        r.enter((UNA, Seq(6000)), 1000, 0);
        r.on_timeout((UNA, Seq(6000)), false);
        assert_eq!(r.frto, Frto::Off);
    }
}
