//! Was a recovery for nothing? The echo of a timestamp tells that the original arrived before the copy was sent
//! (Eifel, RFC 3522), D-SACK that every copy came on top of an original (RFC 3708).

use crate::seq::Seq;
use crate::wire::tcp::SackBlock;

/// What is known of the first retransmission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum First {
    /// There was none yet.
    #[default]
    None,
    /// It was sent, and no ACK has shown what became of it.
    Open,
    /// Nothing more can be learnt of it.
    Judged,
}

/// What would show that the recovery, or the last one, was spurious.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubt {
    /// TSval of the first retransmission, while that is open.
    val: u32,
    /// SND.UNA when the recovery began: no copy lies before it.
    una: Seq,
    /// SND.NXT when the recovery ended: once more than that is acknowledged, reports are of something else.
    until: Seq,
    /// Retransmissions that were not reported as duplicates yet.
    copies: u16,
    first: First,
    /// The recovery is over.
    ended: bool,
}

impl Doubt {
    /// A recovery begins at `una`, with so many copies in flight from before.
    pub(super) fn begin(una: Seq, copies: u32) -> Self {
        Self { una, copies: u16::try_from(copies).unwrap_or(u16::MAX), ..Self::default() }
    }

    /// Nothing was sent again of which it is not known whether it had to be.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.copies == 0
    }

    /// The recovery is over, with SND.NXT at `nxt`.
    pub(super) fn end(&mut self, nxt: Seq) {
        self.first = First::Judged;
        (self.ended, self.until) = (true, nxt);
    }

    /// SND.UNA is at `una`: forgets what cannot be reported any more.
    pub(super) fn on_ack(&mut self, una: Seq) {
        if self.ended && una.after(self.until) {
            *self = Self::default();
        }
    }

    /// A segment is sent again; with timestamps, `val` is its TSval.
    pub(super) fn on_resend(&mut self, val: Option<u32>) {
        if self.first == First::None {
            match val {
                Some(val) => (self.first, self.val) = (First::Open, val),
                None => self.first = First::Judged,
            }
        }
        self.copies = self.copies.saturating_add(1);
    }

    /// The first ACK that advances after the first retransmission echoes `ecr`. True: it was sent for an
    /// original (RFC 3522 §3.2, step 5). Within the same tick of the clock nothing is proved.
    pub(super) fn eifel(&mut self, ecr: u32) -> bool {
        let open = self.first == First::Open;
        self.first = if open { First::Judged } else { self.first };
        open && (ecr.wrapping_sub(self.val) as i32) < 0
    }

    /// A duplicate was reported, of segments of `mss` octets. True when it was the last of the copies: none was
    /// needed.
    pub(super) fn on_duplicate(&mut self, dsack: SackBlock, mss: u32) -> bool {
        if self.copies == 0 || self.copies == u16::MAX || !dsack.right.after(self.una) {
            return false;
        }
        let segments = (dsack.right.since(dsack.left)).div_ceil(mss.max(1)).max(1);
        self.copies = self.copies.saturating_sub(u16::try_from(segments).unwrap_or(u16::MAX));
        self.copies == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(left: u32, right: u32) -> SackBlock {
        SackBlock { left: Seq(left), right: Seq(right) }
    }

    /// RFC 3522 §3.2.
    #[test]
    fn an_echo_from_before_the_first_copy_proves_it_needless_once() {
        let mut doubt = Doubt::begin(Seq(1), 0);
        doubt.on_resend(Some(5));
        doubt.on_resend(Some(9));
        assert!(doubt.eifel(4));
        assert!(!doubt.eifel(4));
        doubt = Doubt::begin(Seq(1), 0);
        doubt.on_resend(Some(5));
        assert!(!doubt.eifel(5));
        doubt.on_resend(Some(9));
        assert!(!doubt.eifel(8), "only the first copy can prove it");
    }

    #[test]
    fn a_window_after_the_end_nothing_is_doubted() {
        let mut doubt = Doubt::default();
        doubt.on_resend(None);
        doubt.end(Seq(500));
        doubt.on_ack(Seq(500));
        assert!(!doubt.is_settled());
        doubt.on_ack(Seq(501));
        assert!(doubt.is_settled() && !doubt.on_duplicate(block(1, 2), 100));
    }

    /// RFC 3708 §3.
    #[test]
    fn all_copies_must_be_duplicates() {
        let mut doubt = Doubt::begin(Seq(1000), 1);
        doubt.on_resend(None);
        doubt.on_resend(None);
        assert!(!doubt.on_duplicate(block(0, 1000), 1000), "from before");
        assert!(!doubt.on_duplicate(block(1000, 1900), 1000));
        assert!(doubt.on_duplicate(block(2000, 4000), 1000), "two in one block");
        assert!(!doubt.on_duplicate(block(1000, 2000), 1000));
    }

    /// RFC 3522 §3.2: what the first copy does not prove, nothing does; nor does anything once the recovery is over.
    #[test]
    fn without_a_stamp_on_the_first_copy_and_after_the_end_no_echo_proves_anything() {
        let mut doubt = Doubt::begin(Seq(1), 0);
        doubt.on_resend(None);
        assert!(!doubt.eifel(u32::MAX));
        doubt.on_resend(Some(5));
        assert!(!doubt.eifel(4));
        let mut doubt = Doubt::begin(Seq(1), 0);
        doubt.on_resend(Some(5));
        doubt.end(Seq(500));
        assert!(!doubt.eifel(4));
        doubt.on_resend(Some(5));
        assert!(!doubt.eifel(4));
    }

    #[test]
    fn copies_beyond_counting_are_never_all_duplicates() {
        for copies in [u32::from(u16::MAX), 70_000] {
            let mut doubt = Doubt::begin(Seq(1000), copies);
            assert!(!doubt.on_duplicate(block(1000, 1000 + 65_535), 1));
            assert!(!doubt.on_duplicate(block(1000, 1000 + 65_535), 1));
            assert!(!doubt.is_settled());
        }
    }

    /// A peer may report any range; what it reports counts for one copy at least.
    #[test]
    fn reports_of_nothing_and_of_very_much_are_counted() {
        let report = |copies, dsack, mss| Doubt::begin(Seq(1000), copies).on_duplicate(dsack, mss);
        assert!(report(1, block(2000, 2000), 1000), "an empty one");
        assert!(!report(2, block(2000, 2000), 1000));
        assert!(report(1, block(2000, 2001), 0), "before the segments' size is known");
        assert!(report(2, block(2000, 2002), 0));
        assert!(report(9000, block(2000, 2000 + 70_000), 1), "more than there were copies");
    }
}
