//! Delayed acknowledgments (RFC 9293 §3.8.6.3, RFC 5681 §4.2).

/// Segments acknowledged at once when a stream begins: its sender is in slow start and lives on our ACKs, or its next
/// segment waits for one (Linux: TCP_MAX_QUICKACKS).
const QUICK: u8 = 16;

/// What we owe the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    /// Octets that arrived in order since our last ACK.
    octets: u32,
    /// Segments to be acknowledged at once yet.
    quick: u8,
    /// An ACK must go out now.
    pub(super) now: bool,
    /// It must not even wait for the end of a burst: the peer counts it.
    urgent: bool,
    /// Requests and answers go to and fro: an answer will carry the ACK (Linux: pingpong).
    interactive: bool,
}

/// When an ACK goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At once.
    Now,
    /// With the next segment, or when the delayed-ACK timer expires.
    Later,
}

impl Default for Owed {
    fn default() -> Self {
        Self { octets: 0, quick: QUICK, now: false, urgent: false, interactive: false }
    }
}

impl Owed {
    /// `len` octets arrived in order; a full segment has `mss`.
    ///
    /// At least every second full segment is acknowledged at once; the first ones of a stream all are, until there are
    /// answers to carry the ACKs.
    #[inline]
    pub(super) fn on_data(&mut self, len: u32, mss: u16) -> When {
        self.octets += len;
        if self.octets > u32::from(mss) {
            self.now = true;
        } else if self.quick > 0 && !self.interactive {
            self.quick -= 1;
            self.now = true;
        }
        if self.now { When::Now } else { When::Later }
    }

    /// Whether an ACK waits for company.
    pub(super) fn is_owed(&self) -> bool {
        self.octets > 0
    }

    /// Whether answers are expected to carry the ACKs.
    #[inline]
    pub(super) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Answers carry the ACKs from now on, or not any more.
    pub(super) fn set_interactive(&mut self, on: bool) {
        self.interactive = on;
    }

    /// No answer came in time to carry the ACK: it goes now, and the next ones need not wait for answers either.
    pub(super) fn waited_in_vain(&mut self) {
        (self.now, self.interactive) = (true, false);
    }

    /// TCP_QUICKACK: the next ACKs do not wait. It does not last: an answer ends it, or that many segments.
    pub(super) fn hurry(&mut self) {
        (self.interactive, self.quick) = (false, QUICK);
    }

    /// The peer has to hear from us at once: a duplicate, a hole, a challenge, a FIN.
    pub(super) fn demand(&mut self) {
        self.now = true;
        self.urgent = true;
    }

    /// Whether the ACK may wait for the other segments of a burst.
    #[inline]
    pub(super) fn may_wait(&self) -> bool {
        !self.urgent
    }

    /// A segment with our ACK went out.
    #[inline]
    pub(super) fn sent(&mut self) {
        self.octets = 0;
        self.now = false;
        self.urgent = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_full_segment_is_acknowledged_at_once() {
        let mut owed = Owed { quick: 0, ..Owed::default() };
        for _ in 0..3 {
            assert_eq!(owed.on_data(1000, 1000), When::Later);
            assert_eq!(owed.on_data(1000, 1000), When::Now);
            owed.sent();
        }
    }

    #[test]
    fn a_stream_that_begins_is_acknowledged_eagerly_until_there_are_answers() {
        let mut owed = Owed::default();
        for n in 0..QUICK {
            assert_eq!(owed.on_data(if n % 2 == 0 { 1 } else { 1448 }, 1448), When::Now);
            owed.sent();
        }
        assert_eq!(owed.on_data(1448, 1448), When::Later);
        let mut owed = Owed::default();
        owed.set_interactive(true);
        assert_eq!(owed.on_data(80, 1448), When::Later);
        owed.waited_in_vain();
        owed.sent();
        assert_eq!(owed.on_data(80, 1448), When::Now);
    }

    #[test]
    fn quickack_waits_for_nothing_until_an_answer_or_so_many_segments() {
        let mut owed = Owed::default();
        owed.hurry();
        for _ in 0..QUICK {
            assert_eq!(owed.on_data(1, 1448), When::Now);
            owed.sent();
        }
        assert_eq!(owed.on_data(1, 1448), When::Later);
        owed.sent();
        owed.hurry();
        owed.set_interactive(true);
        assert_eq!(owed.on_data(1, 1448), When::Later);
    }
}
