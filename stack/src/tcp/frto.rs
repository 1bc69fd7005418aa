//! F-RTO: was a time-out for nothing? New data is sent before all is sent again; if what was sent before the
//! time-out arrives after all, it was late and not lost (RFC 5682, the SACK-enhanced form of §3.1, which Linux uses
//! without SACK too).

/// Where the algorithm stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Frto {
    /// Not on: the loss is taken for real.
    #[default]
    Off,
    /// Step 1: the oldest segment was sent again, and nothing else.
    Begun,
    /// Step 2b: new data is sent; what is missing waits for the next ACK.
    Probing,
}

/// What an ACK after a time-out shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// Octets have arrived that were sent before the time-out, and only then.
    pub(super) original: bool,
    /// SND.UNA moved on.
    pub(super) advance: bool,
    /// The ACK is a duplicate, or has news in SACK blocks.
    pub(super) duplicate: bool,
    /// All that was in flight at the time-out is acknowledged.
    pub(super) recovered: bool,
    /// Something was sent since step 2b.
    pub(super) sent_new: bool,
    /// There is new data, and the peer's window takes it.
    pub(super) may_send: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The time-out was spurious.
    Spurious,
    /// Send new data (step 2b).
    SendNew,
    /// Send what is missing.
    Resend,
}

impl Frto {
    /// The timer expired. `applies`: there was no recovery before that is not over, save by a time-out.
    pub(super) fn begin(applies: bool) -> Self {
        if applies { Self::Begun } else { Self::Off }
    }

    /// Whether what is missing has to wait.
    #[inline]
    pub(super) fn holds_back(self) -> bool {
        self == Self::Probing
    }

    /// An ACK arrived while the connection recovers from a time-out (Linux: tcp_process_loss).
    pub(super) fn on_ack(&mut self, e: Evidence) -> Verdict {
        let before = core::mem::replace(self, Self::Begun);
        if before == Self::Off {
            *self = Self::Off;
        } else if e.original {
            // Step 3b.
            *self = Self::Off;
            return Verdict::Spurious;
        } else if before == Self::Probing && e.sent_new {
            // Step 3a: the new data came through, the old did not.
            if e.duplicate {
                *self = Self::Off;
            }
        } else if e.advance && !e.recovered {
            if e.may_send {
                *self = Self::Probing;
                return Verdict::SendNew;
            }
            *self = Self::Off;
        }
        Verdict::Resend
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIAL: Evidence = Evidence {
        original: false,
        advance: true,
        duplicate: false,
        recovered: false,
        sent_new: false,
        may_send: true,
    };

    /// RFC 5682 §3.1, steps 2b and 3a: new data counts only once F-RTO has sent it, and it has to have been sent.
    #[test]
    fn only_what_was_sent_as_a_test_is_one() {
        let mut frto = Frto::begin(true);
        assert_eq!(frto.on_ack(Evidence { sent_new: true, ..PARTIAL }), Verdict::SendNew);
        assert_eq!(frto.on_ack(PARTIAL), Verdict::SendNew);
        assert!(frto.holds_back());
    }

    /// RFC 5682 §3.1, steps 1, 2b and 3b.
    #[test]
    fn an_original_that_arrives_after_new_data_was_sent() {
        let mut frto = Frto::begin(true);
        assert!(!frto.holds_back());
        assert_eq!(frto.on_ack(PARTIAL), Verdict::SendNew);
        assert!(frto.holds_back());
        assert_eq!(frto.on_ack(Evidence { original: true, sent_new: true, ..PARTIAL }), Verdict::Spurious);
        assert_eq!(frto, Frto::Off);
    }

    /// RFC 5682 §3.1, step 3a.
    #[test]
    fn a_duplicate_after_new_data_means_a_loss() {
        let mut frto = Frto::begin(true);
        frto.on_ack(PARTIAL);
        let dup = Evidence { advance: false, duplicate: true, sent_new: true, ..PARTIAL };
        assert_eq!(frto.on_ack(dup), Verdict::Resend);
        assert_eq!((frto, frto.holds_back()), (Frto::Off, false));
        assert_eq!(frto.on_ack(Evidence { original: true, ..PARTIAL }), Verdict::Resend);
    }

    /// RFC 5682 §3.1, step 2b: without new data the conventional recovery goes on.
    #[test]
    fn nothing_new_to_send() {
        let mut frto = Frto::begin(true);
        assert_eq!(frto.on_ack(Evidence { may_send: false, ..PARTIAL }), Verdict::Resend);
        assert_eq!(frto, Frto::Off);
    }

    /// RFC 5682 §3.1, step 2a, and step 1: a duplicate of what the copy met decides nothing.
    #[test]
    fn everything_acknowledged_or_nothing() {
        let mut frto = Frto::begin(true);
        let nothing = Evidence { advance: false, duplicate: true, ..PARTIAL };
        assert_eq!(frto.on_ack(nothing), Verdict::Resend);
        assert_eq!(frto, Frto::Begun);
        assert_eq!(frto.on_ack(Evidence { recovered: true, ..PARTIAL }), Verdict::Resend);
        assert!(!frto.holds_back());
    }

    #[test]
    fn a_recovery_that_timed_out_is_not_doubted() {
        let mut frto = Frto::begin(false);
        assert_eq!(frto.on_ack(PARTIAL), Verdict::Resend);
        assert_eq!(frto.on_ack(Evidence { original: true, ..PARTIAL }), Verdict::Resend);
        assert_eq!(frto, Frto::Off);
    }
}
