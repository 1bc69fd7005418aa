//! Was a recovery for nothing? The echo of a timestamp tells that the original arrived before the copy was sent
//! (Eifel, RFC 3522), D-SACK that every copy came on top of an original (RFC 3708).

use crate::seq::Seq;

/// What would show that the recovery, or the last one, was spurious.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubt {
    /// TSval of the first retransmission, until an ACK has shown what became of it.
    first: Option<u32>,
    /// A retransmission was sent: later ones are not the first.
    begun: bool,
    /// Retransmissions that were not reported as duplicates yet.
    copies: u32,
    /// SND.NXT when the recovery ended: once more than that is acknowledged, reports are of something else.
    until: Option<Seq>,
}

impl Doubt {
    /// A recovery begins.
    pub(super) fn begin(&mut self) {
        *self = Self::default();
    }

    /// Nothing was sent again of which it is not known whether it had to be.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.copies == 0
    }

    /// The recovery is over, with SND.NXT at `nxt`.
    pub(super) fn end(&mut self, nxt: Seq) {
        self.first = None;
        self.until = Some(nxt);
    }

    /// SND.UNA is at `una`: forgets what cannot be reported any more.
    pub(super) fn on_ack(&mut self, una: Seq) {
        if self.until.is_some_and(|until| una.after(until)) {
            self.begin();
        }
    }

    /// A segment is sent again; with timestamps, `val` is its TSval.
    pub(super) fn on_resend(&mut self, val: Option<u32>) {
        if !self.begun {
            self.begun = true;
            self.first = val;
        }
        self.copies += 1;
    }

    /// The first ACK that advances after the first retransmission echoes `ecr`. True: it was sent for an
    /// original (RFC 3522 §3.2, step 5). Within the same tick of the clock nothing is proved.
    pub(super) fn eifel(&mut self, ecr: u32) -> bool {
        self.first.take().is_some_and(|first| (ecr.wrapping_sub(first) as i32) < 0)
    }

    /// A duplicate was reported. True when it was the last of the copies: none was needed.
    pub(super) fn on_duplicate(&mut self) -> bool {
        let last = self.copies == 1;
        self.copies = self.copies.saturating_sub(1);
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_from_before_the_first_copy_proves_it_needless_once() {
        let mut doubt = Doubt::default();
        doubt.begin();
        doubt.on_resend(Some(5));
        doubt.on_resend(Some(9));
        assert!(doubt.eifel(4));
        assert!(!doubt.eifel(4));
        doubt.begin();
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
        assert!(doubt.is_settled() && !doubt.on_duplicate());
    }

    #[test]
    fn all_copies_must_be_duplicates() {
        let mut doubt = Doubt::default();
        assert!(!doubt.on_duplicate());
        doubt.on_resend(None);
        doubt.on_resend(None);
        assert!(!doubt.on_duplicate());
        assert!(doubt.on_duplicate());
        assert!(!doubt.on_duplicate());
    }
}
