//! Buffers that fit themselves to the path, as Linux's do: the send buffer to the congestion window
//! (tcp_sndbuf_expand), the receive buffer to what is read in a round trip (dynamic right-sizing,
//! tcp_rcv_space_adjust). What SO_SNDBUF or SO_RCVBUF has set stays.
//!
//! A connection gets this with the first call that finds its send buffer full, or when much was read; one that
//! does little never does.

use core::time::Duration;

use super::plpmtud::Probe;
use super::tally::Ledger;
use crate::seq::Seq;
use crate::time::{Instant, micros};

/// What a segment takes of a kernel's memory besides its octets, before the whole is rounded up: what makes the
/// buffer that SO_SNDBUF tells the same as there.
const HEADERS: u32 = 640;
/// As above, after rounding.
const BOOKKEEPING: u32 = 256;
/// Segments that the send buffer has room for at least (TCP_INIT_CWND).
const SEGMENTS: u32 = 10;

/// The sizes of a connection's buffers, in octets, once they have grown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Buffers {
    pub(super) send: u32,
    /// Twice what was read in the busiest round trip.
    pub(super) recv: u32,
    /// Where reading stood when this round trip began, and when that was.
    from: Seq,
    from_at: u32,
    /// The round trip as a receiver sees it, in microseconds; zero: not known.
    rtt: u32,
    /// The end of the window that was offered, or with timestamps the echo that gave the last measurement.
    mark: u32,
    /// When that window was offered.
    mark_at: u32,
    /// What TCP_INFO tells besides: a connection that carries much is asked more.
    pub(super) ledger: Ledger,
    /// A longer packet under way: only who has much to send tries the path.
    pub(super) probe: Option<Probe>,
}

/// A segment of data as the receive buffer's measurement sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The time.
    pub(super) now: Instant,
    /// RCV.NXT, this segment not counted.
    pub(super) nxt: Seq,
    /// RCV.WND likewise.
    pub(super) wnd: u32,
    /// What it echoes and how old that is, with timestamps.
    pub(super) echo: Option<(u32, Duration)>,
}

fn stamp(now: Instant) -> u32 {
    (now.as_nanos() / 1000) as u32
}

impl Buffers {
    /// Somebody waits for room: there shall be some for twice what the congestion window lets out, `segments`
    /// of `mss` octets.
    pub(super) fn grow_send(&mut self, segments: u32, mss: u16, most: usize) {
        let each = (u32::from(mss) + HEADERS).next_power_of_two() + BOOKKEEPING;
        let room = u64::from(segments.max(SEGMENTS)) * u64::from(each);
        self.send = self.send.max(u32::try_from(room.min(most as u64)).unwrap_or(u32::MAX));
    }

    /// The round trip as it was measured; zero before that.
    pub(super) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.rtt.into())
    }

    /// Measures the round trip: by the timestamp that comes back or, without, by the time that it takes to fill a
    /// window, which is no less.
    #[inline]
    pub(super) fn on_data(&mut self, arrival: Arrival) {
        match arrival.echo {
            Some((echo, _)) if echo == self.mark => {}
            Some((echo, age)) => {
                self.mark = echo;
                let sample = micros(age).max(1);
                self.rtt = if self.rtt == 0 { sample } else { self.rtt - self.rtt / 8 + sample / 8 };
            }
            None => self.by_window(arrival),
        }
    }

    fn by_window(&mut self, arrival: Arrival) {
        let now = stamp(arrival.now);
        let filled = self.mark != 0 && arrival.nxt.at_or_after(Seq(self.mark));
        if filled {
            let sample = now.wrapping_sub(self.mark_at).max(1);
            self.rtt = if self.rtt == 0 { sample } else { self.rtt.min(sample) };
        }
        if filled || self.mark == 0 {
            (self.mark, self.mark_at) = ((arrival.nxt + arrival.wnd).0.max(1), now);
        }
    }

    /// The application has read up to `copied`, `queued` octets are left. Once a round trip: when more was read
    /// than ever in one, there shall be room for twice that, so that the sender can double its rate.
    pub(super) fn on_read(&mut self, now: Instant, copied: Seq, queued: u32, most: usize) {
        let now = stamp(now);
        if self.rtt == 0 || now.wrapping_sub(self.from_at) < self.rtt {
            return;
        }
        let read = copied.since(self.from).saturating_sub(queued);
        // The first measurement has no beginning.
        if self.from_at != 0 {
            let room = (u64::from(read) * 2).min(most as u64);
            self.recv = self.recv.max(u32::try_from(room).unwrap_or(u32::MAX));
        }
        (self.from, self.from_at) = (copied, now.max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    fn at(micros: u64) -> Instant {
        Instant::from_millis(1000) + Duration::from_micros(micros)
    }

    fn arrival(micros: u64, nxt: u32) -> Arrival {
        Arrival { now: at(micros), nxt: Seq(nxt), wnd: 10_000, echo: None }
    }

    #[test]
    fn the_send_buffer_holds_what_linux_s_does() {
        let mut buffers = Buffers::default();
        buffers.grow_send(1, 1460, 2 << 20);
        assert_eq!(buffers.send * 2, 87_040, "at first, with an MSS of 1460");
        buffers.grow_send(20, 1448, 2 << 20);
        assert_eq!(buffers.send * 2, 2 * 20 * 4352);
        buffers.grow_send(3, 1448, 2 << 20);
        assert_eq!(buffers.send * 2, 2 * 20 * 4352, "it never shrinks");
        buffers.grow_send(u32::MAX, 1448, 2 << 20);
        assert_eq!(buffers.send, 2 << 20);
    }

    #[test]
    fn a_window_that_was_filled_gives_a_round_trip() {
        let mut buffers = Buffers::default();
        buffers.on_data(arrival(0, 1));
        buffers.on_data(arrival(9 * MS, 9_000));
        assert_eq!(buffers.rtt, 0);
        buffers.on_data(arrival(20 * MS, 10_001));
        assert_eq!(buffers.rtt, 20_000);
        buffers.on_data(arrival(70 * MS, 20_001));
        assert_eq!(buffers.rtt, 20_000, "the shortest counts");
    }

    #[test]
    fn an_echo_counts_once() {
        let mut buffers = Buffers::default();
        let echo = |echo, ms| Arrival { echo: Some((echo, Duration::from_millis(ms))), ..arrival(0, 1) };
        buffers.on_data(echo(7, 40));
        buffers.on_data(echo(7, 90));
        assert_eq!(buffers.rtt, 40_000);
        buffers.on_data(echo(8, 48));
        assert_eq!(buffers.rtt, 41_000);
    }

    #[test]
    fn what_is_read_in_a_round_trip_fits_twice() {
        let mut buffers = Buffers { rtt: 10_000, ..Buffers::default() };
        let most = 1 << 20;
        buffers.on_read(at(0), Seq(1), 0, most);
        buffers.on_read(at(9 * MS), Seq(50_001), 0, most);
        assert_eq!(buffers.recv, 0, "the round trip is not over");
        buffers.on_read(at(10 * MS), Seq(60_001), 0, most);
        assert_eq!(buffers.recv, 120_000);
        buffers.on_read(at(20 * MS), Seq(130_001), 65_000, most);
        assert_eq!(buffers.recv, 120_000, "what is left in the queue was not read in time");
        buffers.on_read(at(30 * MS), Seq(1_130_001), 0, most);
        assert_eq!(buffers.recv, 1 << 20);
    }
}
