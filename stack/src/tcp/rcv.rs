//! The receive sequence space (RFC 9293 §3.3.1), what is acceptable in it (§3.4), and the window that is
//! offered (§3.8.6).

use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Segment};

/// RCV.*
#[derive(Clone, Debug, Default)]
pub(super) struct Rcv {
    /// Initial sequence number of the peer.
    pub(super) irs: Seq,
    /// Next octet expected.
    pub(super) nxt: Seq,
    /// Right edge of the window: one past the last octet we ever promised to take. It never moves back.
    pub(super) edge: Seq,
    /// Our window shift.
    pub(super) shift: u8,
    /// RCV.NXT as we told it last (RFC 7323: Last.ACK.sent).
    pub(super) last_ack: Seq,
    /// Where the peer's FIN is, once seen; it may be behind a hole.
    pub(super) fin: Option<Seq>,
    /// The FIN was reached: the stream is complete.
    pub(super) finished: bool,
    /// The application will not read (SHUT_RD).
    pub(super) shut: bool,
    /// The largest payload seen, in octets: what counts as a full segment.
    pub(super) mss: u16,
    /// When something arrived last.
    pub(super) heard_at: Instant,
}

/// Whether a segment is acceptable (RFC 9293 §3.4, table 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// All or part of it lies in the window.
    Inside,
    /// The window is shut and the segment stands at its edge: ACK and RST count, its text does not.
    AtShutWindow,
    /// It does not.
    Outside,
}

impl Rcv {
    pub(super) fn new(irs: Seq) -> Self {
        Self { irs, nxt: irs + 1, edge: irs + 1, last_ack: irs + 1, ..Self::default() }
    }

    /// RCV.WND.
    #[inline]
    pub(super) fn wnd(&self) -> u32 {
        self.edge.since(self.nxt)
    }

    #[inline]
    pub(super) fn fit(&self, seg: &Segment) -> Fit {
        let (wnd, space) = (self.wnd(), seg.space());
        match (space, wnd) {
            (0, 0) if seg.seq == self.nxt => Fit::Inside,
            (0, 0) => Fit::Outside,
            (0, _) if seg.seq.within(self.nxt, wnd) => Fit::Inside,
            (0, _) => Fit::Outside,
            // "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made
            // to accept valid ACKs, URGs, and RSTs."
            (_, 0) if seg.seq == self.nxt => Fit::AtShutWindow,
            (_, 0) => Fit::Outside,
            _ if seg.seq.within(self.nxt, wnd) || (seg.end() - 1).within(self.nxt, wnd) => Fit::Inside,
            // Begins before the window and ends behind it.
            _ if seg.seq.before(self.nxt) && seg.end().after(self.edge) => Fit::Inside,
            _ => Fit::Outside,
        }
    }

    /// Moves the right edge as far as `room` octets of free buffer allow, but not by less than is worth
    /// telling (RFC 9293 §3.8.6.2.2), and gives the window field for a header.
    #[inline]
    pub(super) fn offer(&mut self, room: u32, buffer: u32, flags: Flags) -> u16 {
        let edge = self.nxt + self.tellable(room);
        if edge.since(self.edge) >= self.step(buffer) {
            self.edge = edge;
        }
        // The window in a SYN is never scaled (RFC 7323 §2.2). What it cannot tell, the next ACK does.
        let shift = if flags.has(Flags::SYN) { 0 } else { self.shift };
        (self.wnd() >> shift).min(u32::from(u16::MAX)) as u16
    }

    /// Whether the peer should be told of the room that reading has made: when it is worth a segment, and
    /// doubles what the peer may still send. (It hears of the rest with the next ACK.)
    pub(super) fn update_is_due(&self, room: u32, buffer: u32) -> bool {
        let gain = (self.nxt + self.tellable(room)).since(self.edge);
        gain >= self.step(buffer).max(self.wnd())
    }

    /// As much of `room` as the window field can express.
    fn tellable(&self, room: u32) -> u32 {
        room.min(u32::from(u16::MAX) << self.shift)
    }

    fn step(&self, buffer: u32) -> u32 {
        (buffer / 2).min(u32::from(self.mss)).max(1)
    }
}

/// The shift with which `buffer` fits the window field (RFC 7323 §2.3).
pub(super) fn shift_for(buffer: u32) -> u8 {
    let bits = u32::BITS - buffer.leading_zeros();
    bits.saturating_sub(u16::BITS).min(14) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rcv(wnd: u32) -> Rcv {
        let mut rcv = Rcv::new(Seq(u32::MAX - 50));
        rcv.edge = rcv.nxt + wnd;
        rcv.mss = 1000;
        rcv
    }

    fn seg(seq: Seq, len: u32) -> Segment {
        Segment { seq, len, flags: Flags::ACK, ..Segment::default() }
    }

    #[test]
    fn table_6_of_rfc_9293() {
        let open = rcv(100);
        let nxt = open.nxt;
        for (at, len, fit) in [
            (nxt, 0, Fit::Inside),
            (nxt + 99, 0, Fit::Inside),
            (nxt + 100, 0, Fit::Outside),
            (nxt - 1, 0, Fit::Outside),
            (nxt, 50, Fit::Inside),
            (nxt - 10, 10, Fit::Outside),
            (nxt - 10, 11, Fit::Inside),
            (nxt + 99, 10, Fit::Inside),
            (nxt + 100, 10, Fit::Outside),
            (nxt - 10, 500, Fit::Inside),
        ] {
            assert_eq!(open.fit(&seg(at, len)), fit, "{at:?} {len}");
        }
        let shut = rcv(0);
        for (at, len, fit) in [
            (nxt, 0, Fit::Inside),
            (nxt + 1, 0, Fit::Outside),
            (nxt, 1, Fit::AtShutWindow),
            (nxt + 1, 1, Fit::Outside),
            (nxt - 5, 20, Fit::Outside),
        ] {
            assert_eq!(shut.fit(&seg(at, len)), fit, "shut {at:?} {len}");
        }
    }

    #[test]
    fn the_right_edge_never_moves_back_and_moves_on_in_worthwhile_steps() {
        let mut r = rcv(8000);
        r.shift = 3;
        assert_eq!(r.offer(8000, 16_000, Flags::ACK), 1000);
        r.nxt += 4000;
        assert_eq!(r.offer(4000, 16_000, Flags::ACK), 500);
        assert_eq!(r.offer(4999, 16_000, Flags::ACK), 500, "999 octets are not worth telling");
        assert_eq!(r.offer(5000, 16_000, Flags::ACK), 625);
        assert_eq!(r.offer(100, 16_000, Flags::ACK), 625);
    }

    #[test]
    fn a_window_update_must_double_the_window() {
        let mut r = rcv(0);
        assert!(!r.update_is_due(999, 16_000));
        assert!(r.update_is_due(1000, 16_000));
        r.edge = r.nxt + 4000;
        assert!(!r.update_is_due(7999, 16_000));
        assert!(r.update_is_due(8000, 16_000));
    }

    #[test]
    fn in_a_syn_the_window_is_not_scaled() {
        let mut r = rcv(0);
        r.shift = 3;
        assert_eq!(r.offer(300_000, 300_000, Flags::SYN), 65535);
        assert_eq!(r.offer(300_000, 300_000, Flags::ACK), 37_500);
    }

    #[test]
    fn without_scaling_no_more_is_promised_than_can_be_told() {
        let mut r = rcv(0);
        assert_eq!(r.offer(300_000, 300_000, Flags::ACK), 65535);
        assert_eq!(r.wnd(), 65535);
        assert!(!r.update_is_due(300_000, 300_000));
    }

    #[test]
    fn shifts() {
        assert_eq!([65535, 65536, 262_144, 1 << 30, u32::MAX].map(shift_for), [0, 1, 3, 14, 14]);
    }
}
