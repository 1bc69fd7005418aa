//! Urgent data (RFC 9293 §3.8.5) as RFC 6093 found it and Linux has it: the pointer names the octet behind the
//! last urgent one, and that one octet is what `MSG_OOB` reads, out of the stream or (SO_OOBINLINE) in it.

use crate::seq::Seq;

/// What is known of the octet that the peer's pointer marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Octet {
    /// There is none.
    #[default]
    None,
    /// It was announced and has not arrived.
    Awaited,
    /// It can be read.
    Here(u8),
    /// It was read; the mark stands until the stream has been read past it.
    Read,
}

/// Urgent data of both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Urgent {
    pub(super) octet: Octet,
    /// Where that octet is, the mark (RCV.UP − 1).
    pub(super) at: Seq,
    /// SND.UP: one past the urgent octet that we send.
    pub(super) up: Seq,
    /// SND.UP is ahead of SND.UNA.
    pub(super) sending: bool,
}

impl Urgent {
    /// Nothing is urgent among what arrives.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.octet == Octet::None
    }

    /// The mark is the next octet to be read, `copied`.
    pub(super) fn is_at_mark(&self, copied: Seq) -> bool {
        !self.is_quiet() && self.at == copied
    }

    /// Octets from `copied`, the next to be read, up to the mark; none when there is no mark ahead.
    pub(super) fn ahead(&self, copied: Seq) -> Option<u32> {
        (!self.is_quiet() && self.at.after(copied)).then(|| self.at - copied)
    }

    /// A segment announces urgent data whose last octet is `at` (RFC 9293 §3.10.7.4, sixth). True when that is
    /// news: older pointers, and those to what was read or passed already, are not.
    pub(super) fn announce(&mut self, at: Seq, copied: Seq, nxt: Seq) -> bool {
        let known = !self.is_quiet() && at.at_or_before(self.at);
        if copied.after(at) || at.before(nxt) || known {
            return false;
        }
        (self.octet, self.at) = (Octet::Awaited, at);
        true
    }

    /// Looks for the announced octet in `payload`, which begins at `seq`. True when it is there.
    pub(super) fn find(&mut self, seq: Seq, payload: &[u8]) -> bool {
        if self.octet != Octet::Awaited || self.at.before(seq) {
            return false;
        }
        let found = payload.get((self.at - seq) as usize);
        if let Some(&octet) = found {
            self.octet = Octet::Here(octet);
        }
        found.is_some()
    }

    /// The stream was read up to `copied`: a mark that lies behind is history.
    pub(super) fn passed(&mut self, copied: Seq) {
        if copied.after(self.at) {
            self.octet = Octet::None;
        }
    }

    /// The octet before `end` is urgent (SEND with the URGENT flag, RFC 9293 §3.9.1.2).
    pub(super) fn mark(&mut self, end: Seq) {
        (self.up, self.sending) = (end, true);
    }

    /// Whether urgent data of ours is not acknowledged: Nagle's rule does not hold it.
    #[inline]
    pub(super) fn is_sending(&self) -> bool {
        self.sending
    }

    /// SND.UNA moved on.
    pub(super) fn acknowledged(&mut self, una: Seq) {
        self.sending &= self.up.after(una);
    }

    /// The urgent pointer for a segment at `seq`, when it has one: the distance to the octet *behind* the urgent
    /// one (RFC 6093 §3.1, RFC 9293 MUST-62). What lies further than the field reaches is announced later.
    pub(super) fn pointer(&self, seq: Seq) -> Option<u16> {
        if !self.sending || !self.up.after(seq) {
            return None;
        }
        u16::try_from(self.up - seq).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NXT: Seq = Seq(u32::MAX - 3);

    #[test]
    fn a_newer_pointer_replaces_an_older_one_and_old_ones_are_no_news() {
        let mut urgent = Urgent::default();
        assert!(!urgent.announce(NXT - 1, NXT - 5, NXT), "it was passed already");
        assert!(urgent.announce(NXT + 3, NXT - 5, NXT));
        assert!(!urgent.announce(NXT + 3, NXT - 5, NXT), "a repetition");
        assert!(!urgent.announce(NXT + 2, NXT - 5, NXT), "an older one");
        assert!(urgent.announce(NXT + 9, NXT - 5, NXT));
        assert_eq!(urgent.ahead(NXT - 5), Some(14));
    }

    #[test]
    fn the_octet_is_found_wherever_it_arrives() {
        let mut urgent = Urgent::default();
        urgent.announce(NXT + 5, NXT, NXT);
        assert!(!urgent.find(NXT, b"abcde") && !urgent.find(NXT + 6, b"xyz"));
        assert!(urgent.find(NXT + 3, b"12345"));
        assert_eq!(urgent.octet, Octet::Here(b'3'));
        urgent.passed(NXT + 5);
        assert!(urgent.is_at_mark(NXT + 5));
        urgent.passed(NXT + 6);
        assert!(urgent.is_quiet());
    }

    #[test]
    fn the_pointer_names_the_octet_behind_until_it_is_acknowledged() {
        let mut urgent = Urgent::default();
        assert_eq!(urgent.pointer(NXT), None);
        urgent.mark(NXT + 10);
        assert_eq!(urgent.pointer(NXT), Some(10));
        assert_eq!(urgent.pointer(NXT + 10), None);
        assert_eq!(urgent.pointer(NXT - 65_526), None, "further than the field reaches");
        urgent.acknowledged(NXT + 9);
        assert_eq!(urgent.pointer(NXT + 9), Some(1));
        urgent.acknowledged(NXT + 10);
        assert!(!urgent.is_sending());
    }
}
