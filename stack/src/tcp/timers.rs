//! The deadlines of a connection. They are moved, never cancelled: whoever drives the wheel asks for the
//! earliest, and a call that comes too early does nothing.

use crate::time::Instant;

/// What the timer for what the peer owes us is set for: one at a time (RFC 8985 §8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Await {
    /// The retransmission time-out (RFC 6298).
    #[default]
    Rto,
    /// The end of the time that reordering is given (RFC 8985 §6.2, step 5).
    Reordering,
    /// A tail loss probe (RFC 8985 §7.2).
    Probe,
    /// With nothing in flight: a probe of a shut window (RFC 9293 §3.8.6.1).
    Persist,
}

/// When what is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    /// The peer has been waited for long enough, for what [`Await`] says.
    pub(super) retransmit: Instant,
    /// Delayed ACK (RFC 9293 §3.8.6.3).
    pub(super) ack: Instant,
    /// Keepalive probe (RFC 9293 §3.8.4).
    pub(super) keepalive: Instant,
    /// End of TIME-WAIT, or of an orphan's FIN-WAIT-2.
    pub(super) state: Instant,
    /// Another try after the way out was blocked, or the end of a cork.
    pub(super) retry: Instant,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            retransmit: Instant::NEVER,
            ack: Instant::NEVER,
            keepalive: Instant::NEVER,
            state: Instant::NEVER,
            retry: Instant::NEVER,
        }
    }
}

impl Timers {
    /// The earliest by its name, `awaits` being what is waited for; none when nothing is due.
    pub(super) fn first(&self, awaits: Await) -> Option<(&'static str, Instant)> {
        let awaited = match awaits {
            Await::Rto => "retransmit",
            Await::Reordering => "reordering",
            Await::Probe => "probe",
            Await::Persist => "persist",
        };
        let all = [
            (awaited, self.retransmit),
            ("ack", self.ack),
            ("keepalive", self.keepalive),
            ("close", self.state),
            ("retry", self.retry),
        ];
        all.into_iter().min_by_key(|(_, at)| *at).filter(|(_, at)| *at != Instant::NEVER)
    }

    /// The earliest.
    #[inline]
    pub(super) fn next(&self) -> Instant {
        let sending = self.retransmit.min(self.retry);
        sending.min(self.ack).min(self.keepalive).min(self.state)
    }
}

/// Whether `deadline` has come; it is cleared then.
pub(super) fn expired(deadline: &mut Instant, now: Instant) -> bool {
    let due = *deadline <= now && *deadline != Instant::NEVER;
    if due {
        *deadline = Instant::NEVER;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_next_and_expires_once() {
        let mut timers = Timers::default();
        assert_eq!(timers.next(), Instant::NEVER);
        assert_eq!(timers.first(Await::Rto), None);
        timers.keepalive = Instant::from_millis(9);
        timers.ack = Instant::from_millis(5);
        assert_eq!(timers.first(Await::Rto), Some(("ack", Instant::from_millis(5))));
        assert_eq!(timers.next(), Instant::from_millis(5));
        assert!(!expired(&mut timers.ack, Instant::from_millis(4)));
        assert!(expired(&mut timers.ack, Instant::from_millis(5)));
        assert!(!expired(&mut timers.ack, Instant::from_millis(6)));
        assert_eq!(timers.next(), Instant::from_millis(9));
    }
}
