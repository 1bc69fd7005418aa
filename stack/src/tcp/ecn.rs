//! Explicit congestion notification: routers mark instead of dropping, the receiver echoes the marks, the sender slows
//! down as for a loss and says so (RFC 3168 §6.1; RFC 8311 leaves this use of ECT(0) and CE as it is).

use crate::types::Ecn as Codepoint;
use crate::wire::tcp::Flags;

/// SYN bits that offer ECN; ECE alone in a SYN-ACK accepts it (§6.1.1).
pub(super) const OFFER: Flags = Flags(Flags::ECE.0 | Flags::CWR.0);

/// What a connection knows of ECN: one octet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ecn(pub(super) u8);

/// Both ends take part.
const ON: u8 = 1;
/// CE was met: ECE goes out with every ACK until the peer answers with CWR (§6.1.3).
const ECHOES: u8 = 2;
/// The window was reduced: CWR goes out with the next new data (§6.1.2).
const OWES_CWR: u8 = 4;
/// The peer has sent an ECN-capable packet.
const SEEN: u8 = 8;

/// Whether a SYN offers ECN in a way that we answer. One that is itself ECN-capable comes from something else, or was
/// meddled with on the way (§6.1.1: "A host MUST NOT set ECT on SYN or SYN-ACK packets"; as Linux).
pub(super) fn is_offered(flags: Flags, codepoint: Codepoint) -> bool {
    flags.0 & OFFER.0 == OFFER.0 && codepoint == Codepoint::NotEct
}

/// Whether a SYN-ACK accepts what our SYN offered. With both bits it is an echo by a peer that knows no better.
pub(super) fn is_accepted(flags: Flags) -> bool {
    flags.0 & OFFER.0 == Flags::ECE.0
}

impl Ecn {
    /// The handshake's outcome.
    pub(super) fn agreed(on: bool) -> Self {
        Self(if on { ON } else { 0 })
    }

    #[inline]
    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    #[inline]
    fn set(&mut self, bit: u8, holds: bool) {
        self.0 = if holds { self.0 | bit } else { self.0 & !bit };
    }

    /// Both ends take part.
    #[inline]
    pub(super) fn is_on(self) -> bool {
        self.has(ON)
    }

    /// The peer has sent an ECN-capable packet.
    pub(super) fn is_seen(self) -> bool {
        self.has(SEEN)
    }

    /// Data arrived that is not known yet. True: the ACK must not wait, since the sender's window may be very small,
    /// or this was a retransmission, which is never ECN-capable (Linux: tcp_ecn_check_ce, tcp_ecn_accept_cwr).
    #[inline]
    pub(super) fn on_data(&mut self, flags: Flags, codepoint: Codepoint) -> bool {
        if !self.is_on() {
            return false;
        }
        let answered = flags.has(Flags::CWR);
        if answered {
            self.set(ECHOES, false);
        }
        let again = codepoint == Codepoint::NotEct && self.has(SEEN);
        let first = codepoint == Codepoint::Ce && !self.has(ECHOES);
        if codepoint == Codepoint::Ce {
            self.set(ECHOES, true);
        }
        if codepoint != Codepoint::NotEct {
            self.set(SEEN, true);
        }
        answered || again || first
    }

    /// Whether an ACK with these bits tells of a mark that a packet of ours met.
    #[inline]
    pub(super) fn is_echo(self, flags: Flags) -> bool {
        self.is_on() && flags.has(Flags::ECE) && !flags.has(Flags::SYN)
    }

    /// The window was reduced, for whatever reason (§6.1.2).
    pub(super) fn on_reduction(&mut self) {
        self.set(OWES_CWR, self.is_on());
    }

    /// The reduction was undone before it was told.
    pub(super) fn on_undo(&mut self) {
        self.set(OWES_CWR, false);
    }

    /// The bits and the codepoint of a segment with an ACK. Only new data is ECN-capable and brings CWR: neither pure
    /// ACKs (§6.1.4) nor retransmissions (§6.1.5) nor probes (§6.1.6).
    #[inline]
    pub(super) fn dress(self, new_data: bool) -> (Flags, Codepoint) {
        let mut flags = Flags::default();
        if self.has(ECHOES) {
            flags = flags | Flags::ECE;
        }
        if new_data && self.has(OWES_CWR) {
            flags = flags | Flags::CWR;
        }
        (flags, if new_data && self.is_on() { Codepoint::Ect0 } else { Codepoint::NotEct })
    }

    /// A segment with these bits went out.
    #[inline]
    pub(super) fn on_sent(&mut self, flags: Flags) {
        if flags.has(Flags::CWR) {
            self.set(OWES_CWR, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: Flags = Flags::ACK;

    /// RFC 3168 §6.1.1.
    #[test]
    fn offers_and_answers() {
        let syn = |bits: u8| Flags(Flags::SYN.0 | bits);
        assert!(is_offered(syn(OFFER.0), Codepoint::NotEct));
        assert!(!is_offered(syn(OFFER.0), Codepoint::Ect0));
        for bits in [0, Flags::ECE.0, Flags::CWR.0] {
            assert!(!is_offered(syn(bits), Codepoint::NotEct), "{bits}");
            assert_eq!(is_accepted(syn(bits)), bits == Flags::ECE.0);
        }
        assert!(!is_accepted(syn(OFFER.0)));
    }

    /// RFC 3168 §6.1.3.
    #[test]
    fn a_mark_is_echoed_until_cwr() {
        let mut ecn = Ecn::agreed(true);
        assert!(!ecn.on_data(ACK, Codepoint::Ect0));
        assert_eq!(ecn.dress(false), (Flags::default(), Codepoint::NotEct));
        assert!(ecn.on_data(ACK, Codepoint::Ce), "the first is told at once");
        assert!(!ecn.on_data(ACK, Codepoint::Ce));
        assert!(!ecn.on_data(ACK, Codepoint::Ect0));
        assert_eq!(ecn.dress(false).0, Flags::ECE);
        assert!(ecn.on_data(ACK | Flags::CWR, Codepoint::Ect0));
        assert_eq!(ecn.dress(false).0, Flags::default());
        // A mark on the segment that brings CWR is a new one.
        assert!(ecn.on_data(ACK | Flags::CWR, Codepoint::Ce));
        assert_eq!(ecn.dress(true).0, Flags::ECE);
    }

    /// RFC 3168 §6.1.2, §6.1.4, §6.1.5.
    #[test]
    fn only_new_data_is_capable_and_brings_cwr_once() {
        let mut ecn = Ecn::agreed(true);
        assert_eq!(ecn.dress(true), (Flags::default(), Codepoint::Ect0));
        ecn.on_reduction();
        assert_eq!(ecn.dress(false), (Flags::default(), Codepoint::NotEct));
        ecn.on_sent(ACK);
        assert_eq!(ecn.dress(true), (Flags::CWR, Codepoint::Ect0));
        ecn.on_sent(ACK | Flags::CWR);
        assert_eq!(ecn.dress(true), (Flags::default(), Codepoint::Ect0));
        ecn.on_reduction();
        ecn.on_undo();
        assert_eq!(ecn.dress(true).0, Flags::default());
    }

    #[test]
    fn a_segment_that_is_not_capable_was_sent_again() {
        let mut ecn = Ecn::agreed(true);
        assert!(
            !ecn.on_data(ACK, Codepoint::NotEct),
            "the peer may take part without sending capable packets"
        );
        ecn.on_data(ACK, Codepoint::Ect1);
        assert!(ecn.on_data(ACK, Codepoint::NotEct));
    }

    #[test]
    fn without_agreement_nothing_is_read_or_said() {
        let mut ecn = Ecn::agreed(false);
        assert!(!ecn.on_data(ACK | Flags::CWR, Codepoint::Ce));
        ecn.on_reduction();
        assert_eq!(ecn.dress(true), (Flags::default(), Codepoint::NotEct));
        assert!(!ecn.is_echo(ACK | Flags::ECE) && Ecn::agreed(true).is_echo(ACK | Flags::ECE));
        assert!(!Ecn::agreed(true).is_echo(Flags::SYN | Flags::ECE));
    }
}
