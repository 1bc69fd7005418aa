//! Loss recovery: when it begins and ends (RFC 5681, RFC 6582, RFC 6675) and how much is sent meanwhile
//! (proportional rate reduction, RFC 6937).

use super::doubt::Doubt;
use crate::seq::Seq;

/// DupThresh (RFC 5681 §3.2, RFC 6675 §2), until the path shows that it reorders more.
const DUP_THRESH: u32 = 3;
/// Beyond this much reordering, losses are left to the timer.
const DUP_THRESH_MAX: u32 = 64;

/// What the connection is recovering from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing.
    Open,
    /// A loss that duplicate ACKs or SACK told of.
    Fast,
    /// A time-out.
    Loss,
}

/// The state of loss recovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    pub(super) phase: Phase,
    /// SND.NXT when the recovery (the last one, when none is on) began: RecoveryPoint, "recover".
    point: Option<Seq>,
    /// Duplicate ACKs in a row.
    dup_acks: u8,
    /// Octets that duplicate ACKs without SACK speak of.
    unseen: u32,
    /// Segments that must arrive before an older one counts as lost.
    dup_thresh: u32,
    prr: Prr,
    /// The recovery, or the last one, was a fast one.
    fast: bool,
    pub(super) doubt: Doubt,
}

/// RFC 6937 §3.1, in octets.
#[derive(Clone, Copy, Debug, Default)]
struct Prr {
    delivered: u32,
    out: u32,
    flight: u32,
    cwnd: u32,
}

/// What an ACK means to the rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    /// Octets that arrived.
    pub(super) delivered: u32,
    /// Octets that are left in flight.
    pub(super) pipe: u32,
    /// Octets that must be let through: the first retransmission, and that of the next hole.
    pub(super) floor: u32,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            phase: Phase::Open,
            point: None,
            dup_acks: 0,
            unseen: 0,
            dup_thresh: DUP_THRESH,
            prr: Prr::default(),
            fast: false,
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

    /// A duplicate ACK (RFC 5681 §2). `mss` is what it stands for when there is no SACK.
    pub(super) fn on_dup_ack(&mut self, mss: Option<u32>, outstanding: u32) {
        self.dup_acks = self.dup_acks.saturating_add(1);
        if let Some(mss) = mss {
            self.unseen = (self.unseen + mss).min(outstanding.saturating_sub(mss));
        }
    }

    /// How many segments must arrive before an older one counts as lost, with `in_flight` segments out: never
    /// more than can arrive (RFC 5827's reason), never under three.
    pub(super) fn threshold(&self, in_flight: u32) -> u32 {
        self.dup_thresh.min(in_flight.saturating_sub(1)).max(DUP_THRESH)
    }

    /// Enough duplicate ACKs, and not the echo of an earlier recovery: without SACK, SND.UNA must have passed
    /// "recover" (RFC 6582 §3.2, step 1).
    pub(super) fn enough_dup_acks(&self, una: Seq, threshold: u32) -> bool {
        u32::from(self.dup_acks) >= threshold && self.point.is_none_or(|point| una.at_or_after(point))
    }

    /// The recovery turned out to be for nothing. After a fast one more patience is shown to a path that
    /// reorders.
    pub(super) fn undo(&mut self) {
        if self.fast {
            self.dup_thresh = (self.dup_thresh + self.dup_thresh / 2 + 1).min(DUP_THRESH_MAX);
        }
        self.phase = Phase::Open;
        self.dup_acks = 0;
        self.unseen = 0;
        self.doubt.begin();
    }

    /// SND.UNA moved by `acked` octets. True when that ends the recovery.
    pub(super) fn on_advance(&mut self, una: Seq, acked: u32, mss: u32) -> bool {
        self.dup_acks = 0;
        match self.phase {
            Phase::Open => {
                self.unseen = 0;
                false
            }
            _ if self.point.is_none_or(|point| una.at_or_after(point)) => {
                self.unseen = 0;
                self.phase = Phase::Open;
                true
            }
            _ => {
                // RFC 6582 §3.2, step 3: of what a partial ACK covers, one segment was the hole.
                self.unseen = self.unseen.saturating_sub(acked.saturating_sub(mss));
                false
            }
        }
    }

    /// A loss was found with `pipe` octets in flight (those lost included).
    pub(super) fn enter(&mut self, nxt: Seq, flight: u32) {
        self.phase = Phase::Fast;
        self.fast = true;
        self.point = Some(nxt);
        self.prr = Prr { flight: flight.max(1), ..Prr::default() };
        self.doubt.begin();
    }

    /// The retransmission timer expired.
    pub(super) fn on_timeout(&mut self, nxt: Seq) {
        if self.phase != Phase::Loss {
            self.doubt.begin();
        }
        self.phase = Phase::Loss;
        self.fast = false;
        self.point = Some(nxt);
        self.dup_acks = 0;
        self.unseen = 0;
    }

    /// How much may be in flight after an ACK during a fast recovery.
    pub(super) fn on_delivered(&mut self, ack: Ack, ssthresh: u32, mss: u32) {
        let prr = &mut self.prr;
        let Ack { delivered, pipe, floor } = ack;
        prr.delivered = prr.delivered.saturating_add(delivered);
        let send = if pipe > ssthresh {
            // Proportional rate reduction: sends are to deliveries as ssthresh to the flight.
            let due = u64::from(prr.delivered) * u64::from(ssthresh);
            let due = due.div_ceil(u64::from(prr.flight)).min(u64::from(u32::MAX)) as u32;
            due.saturating_sub(prr.out)
        } else {
            // Slow start reduction bound: catch up, but with one more segment an ACK at the most.
            let limit = prr.delivered.saturating_sub(prr.out).max(delivered) + mss;
            limit.min(ssthresh - pipe)
        };
        prr.cwnd = pipe + send.max(floor);
    }

    /// `len` octets were sent during a fast recovery.
    pub(super) fn on_sent(&mut self, len: u32) {
        if self.phase == Phase::Fast {
            self.prr.out = self.prr.out.saturating_add(len);
        }
    }

    /// The window: congestion control's, or PRR's while it is in charge.
    #[inline]
    pub(super) fn cwnd(&self, cc: u32) -> u32 {
        if self.phase == Phase::Fast { self.prr.cwnd } else { cc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_duplicate_acks_count_once_per_window() {
        let mut r = Recovery::default();
        for _ in 0..3 {
            assert!(!r.enough_dup_acks(Seq(1000), r.threshold(10)));
            r.on_dup_ack(Some(1000), 10_000);
        }
        assert!(r.enough_dup_acks(Seq(1000), r.threshold(10)));
        assert_eq!(r.unseen(), 3000);
        r.enter(Seq(11_000), 10_000);
        assert!(!r.on_advance(Seq(4000), 3000, 1000));
        assert_eq!(r.unseen(), 1000);
        assert!(r.on_advance(Seq(11_000), 7000, 1000));
        assert_eq!((r.phase, r.unseen()), (Phase::Open, 0));
    }

    #[test]
    fn duplicate_acks_of_a_window_that_timed_out_begin_nothing() {
        let mut r = Recovery::default();
        r.on_timeout(Seq(5000));
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
        r.on_timeout(Seq(0));
        r.undo();
        assert_eq!(r.threshold(100), 3);
        let mut seen = Vec::new();
        for _ in 0..9 {
            r.enter(Seq(0), 1);
            r.undo();
            seen.push(r.threshold(100));
        }
        assert_eq!(seen, [5, 8, 13, 20, 31, 47, 64, 64, 64]);
        assert_eq!([20, 4, 1, 0].map(|n| r.threshold(n)), [19, 3, 3, 3]);
    }

    /// RFC 6937 §4 in small: 20 segments in flight, one lost, ssthresh 10: one segment out for two in.
    #[test]
    fn the_rate_is_reduced_in_proportion() {
        let mut r = Recovery::default();
        r.enter(Seq(20_000), 20_000);
        let mut pipe = 19_000;
        let mut sent = 0;
        for ack in 0..19 {
            pipe -= if ack == 0 { 0 } else { 1000 };
            let floor = if ack == 0 { 1000 } else { 0 };
            r.on_delivered(Ack { delivered: 1000, pipe, floor }, 10_000, 1000);
            while pipe + 1000 <= r.cwnd(0) {
                pipe += 1000;
                sent += 1;
                r.on_sent(1000);
            }
        }
        assert_eq!(sent, 9);
        assert_eq!(pipe, 10_000);
        assert!((pipe..pipe + 1000).contains(&r.cwnd(0)));
    }

    #[test]
    fn the_first_retransmission_is_never_held_back() {
        let mut r = Recovery::default();
        r.enter(Seq(4000), 4000);
        r.on_delivered(Ack { delivered: 1000, pipe: 3000, floor: 1000 }, 1000, 1000);
        assert_eq!(r.cwnd(0), 4000);
    }
}
