//! What TCP_INFO counts of a connection (RFC 4898). What can be told from sequence numbers is not counted again; what
//! few ask for is counted from when the connection gets its [`Ledger`].

use crate::time::Instant;

/// Counted from the first segment on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Segments received, those without data included.
    pub(super) segs_in: u32,
    /// Of these, with data.
    pub(super) data_segs_in: u32,
    /// Segments sent, those without data included.
    pub(super) segs_out: u32,
    /// Of these, with data.
    pub(super) data_segs_out: u32,
    /// Octets sent again; no more are told than fit here.
    pub(super) retrans: u32,
    /// Milliseconds from first time-outs to the ends of what followed them; and since when one is not over, or zero.
    pub(super) timed_out: u32,
    pub(super) timed_out_at: u32,
    /// Time-outs, those in a row and of SYNs included, and how many of them began it. (These three stay at the most that
    /// they can say.)
    pub(super) timeouts: u16,
    pub(super) stalls: u16,
    /// Times when segments overtook others.
    pub(super) reorderings: u16,
    /// How often SND.UNA and RCV.NXT have passed zero.
    pub(super) una_wraps: u16,
    pub(super) nxt_wraps: u16,
}

impl Tally {
    /// A time-out; `first`: what came before it was answered.
    pub(super) fn timed_out(&mut self, first: bool, now: Instant) {
        self.timeouts = self.timeouts.saturating_add(1);
        if first {
            self.stalls = self.stalls.saturating_add(1);
            self.timed_out_at = now.as_millis() as u32 | 1;
        }
    }

    /// What followed a time-out is over.
    pub(super) fn goes_on(&mut self, now: Instant) {
        self.timed_out = self.millis_timed_out(now);
        self.timed_out_at = 0;
    }

    /// Milliseconds that time-outs have cost so far.
    pub(super) fn millis_timed_out(&self, now: Instant) -> u32 {
        let open = match self.timed_out_at {
            0 => 0,
            at => (now.as_millis() as u32 | 1).wrapping_sub(at),
        };
        self.timed_out.saturating_add(open)
    }

    /// SND.UNA moves.
    #[inline]
    pub(super) fn acked(&mut self, from: u32, to: u32) {
        self.una_wraps = self.una_wraps.wrapping_add(u16::from(to < from));
    }

    /// RCV.NXT moves.
    #[inline]
    pub(super) fn received(&mut self, from: u32, to: u32) {
        self.nxt_wraps = self.nxt_wraps.wrapping_add(u16::from(to < from));
    }

    /// Sequence numbers from `first` to SND.UNA, however often they wrapped.
    pub(super) fn bytes_acked(&self, first: u32, una: u32) -> u64 {
        span(self.una_wraps, first, una)
    }

    /// Sequence numbers from `first` to RCV.NXT, likewise.
    pub(super) fn bytes_received(&self, first: u32, nxt: u32) -> u64 {
        span(self.nxt_wraps, first, nxt)
    }
}

fn span(wraps: u16, from: u32, to: u32) -> u64 {
    (u64::from(wraps) << 32).wrapping_add(to.into()).wrapping_sub(from.into())
}

/// What keeps a connection that has something to send from sending it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Limit {
    /// There is nothing to send.
    #[default]
    Idle,
    /// The network, or nothing.
    Busy,
    /// The peer's window.
    Window,
    /// Our send buffer.
    Buffer,
}

/// Counted from when somebody asks, or the connection carries much.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ledger {
    limit: Limit,
    since: Instant,
    /// Time in nanoseconds with something to send: in all, held by the peer's window, held by our buffer.
    busy: u64,
    window: u64,
    buffer: u64,
    /// Segments that arrived out of order.
    pub(super) out_of_order: u32,
    /// Segments that the peer reported to have received twice (RFC 2883).
    pub(super) duplicates: u32,
    /// Segments delivered while the peer reported congestion (RFC 3168).
    pub(super) delivered_ce: u32,
}

impl Ledger {
    /// From now on it is `limit` that holds the connection.
    #[inline]
    pub(super) fn turn(&mut self, limit: Limit, now: Instant) {
        if limit == self.limit {
            return;
        }
        self.settle(now);
        self.limit = limit;
    }

    fn settle(&mut self, now: Instant) {
        let time = u64::try_from(now.since(self.since).as_nanos()).unwrap_or(u64::MAX);
        self.since = now;
        if self.limit == Limit::Idle {
            return;
        }
        self.busy += time;
        match self.limit {
            Limit::Window => self.window += time,
            Limit::Buffer => self.buffer += time,
            Limit::Idle | Limit::Busy => {}
        }
    }

    /// Microseconds with something to send: in all, held by the peer's window, held by our buffer.
    pub(super) fn times(mut self, now: Instant) -> [u64; 3] {
        self.settle(now);
        [self.busy, self.window, self.buffer].map(|nanos| nanos / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_told_across_the_wrap() {
        let mut tally = Tally::default();
        assert_eq!(tally.bytes_acked(u32::MAX - 9, u32::MAX), 9);
        tally.acked(u32::MAX, 5);
        assert_eq!(tally.bytes_acked(u32::MAX - 9, 5), 15);
        tally.acked(5, u32::MAX);
        tally.acked(u32::MAX, 0);
        assert_eq!(tally.bytes_acked(u32::MAX - 9, 0), 10 + (1 << 32));
        tally.received(7, 9);
        assert_eq!(tally.bytes_received(1, 9), 8);
    }

    #[test]
    fn time_is_booked_on_what_held_the_connection() {
        let at = |ms: u64| Instant::from_millis(1000 + ms);
        let mut ledger = Ledger { since: at(0), ..Ledger::default() };
        ledger.turn(Limit::Busy, at(10));
        ledger.turn(Limit::Window, at(12));
        ledger.turn(Limit::Buffer, at(17));
        assert_eq!(ledger.times(at(18)), [8000, 5000, 1000]);
        ledger.turn(Limit::Idle, at(20));
        assert_eq!(ledger.times(at(99)), [10_000, 5000, 3000]);
    }
}
