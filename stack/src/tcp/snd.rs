//! The send sequence space (RFC 9293 §3.3.1) and what may be sent in it (§3.7.4, §3.8.6.2.1).

use core::net::SocketAddr;

use crate::error::SocketError;
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::tcp::Segment;

/// The smallest MSS we let a peer or a path force on us, in octets (Linux: tcp_min_snd_mss).
const MSS_MIN: u16 = 48;
/// RFC 9293 §3.7.1, MUST-15: what a peer that says nothing can receive, over IPv4.
pub(super) const MSS_DEFAULT: u16 = 536;
/// The same over IPv6.
const MSS_DEFAULT_V6: u16 = 1220;

/// What a peer that offers no MSS can receive (RFC 9293 MUST-15).
pub(super) fn default_mss(remote: SocketAddr) -> u16 {
    if remote.is_ipv4() { MSS_DEFAULT } else { MSS_DEFAULT_V6 }
}

/// SND.*
#[derive(Clone, Debug, Default)]
pub(super) struct Snd {
    /// Initial sequence number.
    pub(super) iss: Seq,
    /// Oldest octet that is not acknowledged.
    pub(super) una: Seq,
    /// Next to be sent for the first time.
    pub(super) nxt: Seq,
    /// The peer's window, scaled to octets.
    pub(super) wnd: u32,
    /// SEG.SEQ of the last window update.
    pub(super) wl1: Seq,
    /// SEG.ACK of the last window update.
    pub(super) wl2: Seq,
    /// The largest window the peer ever offered.
    pub(super) max_wnd: u32,
    /// The peer's window shift.
    pub(super) shift: u8,
    /// Octets of payload in a full segment.
    pub(super) mss: u16,
    /// The MSS the peer announced.
    pub(super) peer_mss: u16,
    /// Longest packet that the path takes, as far as is known.
    pub(super) path_mtu: u16,
    /// What was known of paths then: [`PathMtus::epoch`](crate::ip::path_mtu::PathMtus::epoch).
    pub(super) path_epoch: u8,
    /// One past the last segment sent that was not full (Minshall's SND.SML).
    pub(super) small_end: Seq,
    /// The application will send no more: a FIN belongs behind the queue.
    pub(super) shut: bool,
    /// That FIN was sent; SND.NXT counts it.
    pub(super) fin_sent: bool,
    /// Time-outs since something was acknowledged.
    pub(super) retries: u8,
    /// The window of congestion control stopped us since the last ACK: it is in use.
    pub(super) cwnd_limited: bool,
    /// When SYN or SYN-ACK, later any data, was sent last.
    pub(super) sent_at: Instant,
    /// When the first of the time-outs in a row happened to data sent at this time.
    pub(super) stalled_at: Instant,
    /// What ICMP said and nobody was told yet (RFC 9293 §3.9.2.2).
    pub(super) soft_error: Option<SocketError>,
}

/// Where SEG.ACK lies (RFC 9293 §3.10.7.4, fifth; RFC 5961 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckPlace {
    /// Older than any segment still under way could be.
    Stale,
    /// At or before SND.UNA.
    Duplicate,
    /// Acknowledges something new.
    New,
    /// Acknowledges what was never sent.
    Future,
}

/// Whether a segment of new data goes out (RFC 9293 §3.8.6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// So many octets now.
    Send(u32),
    /// It waits for company or for an ACK.
    Wait,
    /// The peer's window is too small.
    NoWindow,
}

/// What the decision about the next segment depends on besides the send variables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Octets queued in it.
    pub(super) len: u32,
    /// It is the last of the queue: more may still be appended.
    pub(super) last: bool,
    /// It may not wait (TCP_NODELAY, FIN behind it).
    pub(super) urgent: bool,
    /// It has to wait for more (TCP_CORK, MSG_MORE).
    pub(super) held: bool,
}

impl Snd {
    pub(super) fn new(iss: Seq) -> Self {
        Self {
            iss,
            una: iss,
            nxt: iss + 1,
            small_end: iss,
            mss: MSS_DEFAULT,
            peer_mss: MSS_DEFAULT,
            ..Self::default()
        }
    }

    #[inline]
    pub(super) fn place(&self, ack: Seq) -> AckPlace {
        if ack.after(self.nxt) {
            AckPlace::Future
        } else if ack.after(self.una) {
            AckPlace::New
        } else if ack.before(self.una - self.max_wnd) {
            AckPlace::Stale
        } else {
            AckPlace::Duplicate
        }
    }

    /// Takes SEG.WND over unless an older segment brings it. True when the window changed.
    #[inline]
    pub(super) fn update_window(&mut self, seg: &Segment, wnd: u32) -> bool {
        let newer = self.wl1.before(seg.seq) || (self.wl1 == seg.seq && self.wl2.at_or_before(seg.ack));
        if !newer {
            return false;
        }
        (self.wl1, self.wl2) = (seg.seq, seg.ack);
        self.max_wnd = self.max_wnd.max(wnd);
        core::mem::replace(&mut self.wnd, wnd) != wnd
    }

    /// One past the last octet that the peer's window takes.
    #[inline]
    pub(super) fn wnd_end(&self) -> Seq {
        self.una + self.wnd
    }

    /// Sequence numbers sent and not acknowledged, SYN and FIN included.
    #[inline]
    pub(super) fn outstanding(&self) -> u32 {
        self.nxt - self.una
    }

    /// Sets the MSS from the packet size that the path takes, the headers in front of the payload, and what
    /// the application allows (RFC 9293 §3.7.1; RFC 6691: options are not in the MSS, but take from it).
    pub(super) fn set_mss(&mut self, mtu: u16, headers: u16, options: u16, limit: Option<u16>) {
        self.path_mtu = mtu;
        let mss = self.peer_mss.min(mtu.saturating_sub(headers)).min(limit.unwrap_or(u16::MAX));
        self.mss = mss.saturating_sub(options).max(MSS_MIN);
    }

    /// Whether the next segment of new data goes out: silly windows are avoided, and Nagle's rule (§3.7.4)
    /// in Minshall's form holds a segment that is not full only while another such is unacknowledged.
    #[inline(always)]
    pub(super) fn decide(&self, next: Candidate) -> Decision {
        let usable = self.wnd_end().since(self.nxt);
        let mss = u32::from(self.mss);
        let len = next.len.min(mss);
        if len > usable {
            // (3) of §3.8.6.2.1: half of the largest window is worth a segment.
            return match usable >= self.max_wnd / 2 && usable > 0 {
                true => Decision::Send(usable),
                false => Decision::NoWindow,
            };
        }
        if len == mss || !next.last {
            return Decision::Send(len);
        }
        let small_unacknowledged = self.small_end.after(self.una);
        if next.held || (small_unacknowledged && !next.urgent) {
            return Decision::Wait;
        }
        Decision::Send(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Snd {
        let mut snd = Snd::new(Seq(u32::MAX - 10));
        snd.una = snd.nxt;
        (snd.wnd, snd.max_wnd, snd.mss) = (10_000, 10_000, 1000);
        snd
    }

    const LAST: Candidate = Candidate { len: 10, last: true, urgent: false, held: false };

    #[test]
    fn acks_are_placed_across_the_wrap() {
        let mut snd = open();
        let una = snd.una;
        snd.nxt = una + 100;
        for (ack, place) in [
            (una, AckPlace::Duplicate),
            (una + 1, AckPlace::New),
            (una + 100, AckPlace::New),
            (una + 101, AckPlace::Future),
            (una - 10_000, AckPlace::Duplicate),
            (una - 10_001, AckPlace::Stale),
        ] {
            assert_eq!(snd.place(ack), place, "{ack:?}");
        }
    }

    #[test]
    fn an_older_segment_does_not_change_the_window() {
        let mut snd = open();
        let seg = |seq, ack| Segment { seq: Seq(seq), ack: Seq(ack), ..Segment::default() };
        snd.wl1 = Seq(50);
        snd.wl2 = Seq(7);
        assert!(!snd.update_window(&seg(49, 9), 1));
        assert!(!snd.update_window(&seg(50, 6), 1));
        assert!(snd.update_window(&seg(50, 7), 1));
        assert!(snd.update_window(&seg(51, 6), 20_000));
        assert_eq!((snd.wnd, snd.max_wnd), (20_000, 20_000));
    }

    #[test]
    fn nagle_holds_the_second_small_segment_only() {
        let mut snd = open();
        assert_eq!(snd.decide(LAST), Decision::Send(10));
        snd.nxt += 10;
        snd.small_end = snd.nxt;
        assert_eq!(snd.decide(LAST), Decision::Wait);
        assert_eq!(snd.decide(Candidate { urgent: true, ..LAST }), Decision::Send(10));
        assert_eq!(snd.decide(Candidate { len: 3000, ..LAST }), Decision::Send(1000));
        assert_eq!(snd.decide(Candidate { last: false, ..LAST }), Decision::Send(10));
        snd.una = snd.nxt;
        assert_eq!(snd.decide(LAST), Decision::Send(10));
        assert_eq!(snd.decide(Candidate { held: true, urgent: true, ..LAST }), Decision::Wait);
    }

    #[test]
    fn silly_windows_are_not_used() {
        let mut snd = open();
        snd.wnd = 400;
        assert_eq!(snd.decide(Candidate { len: 1000, ..LAST }), Decision::NoWindow);
        snd.max_wnd = 800;
        assert_eq!(snd.decide(Candidate { len: 1000, ..LAST }), Decision::Send(400));
        snd.wnd = 0;
        snd.max_wnd = 0;
        assert_eq!(snd.decide(LAST), Decision::NoWindow);
    }

    #[test]
    fn the_mss_is_the_least_of_all_limits_and_never_silly() {
        let mut snd = open();
        snd.peer_mss = 1460;
        snd.set_mss(1500, 40, 12, None);
        assert_eq!(snd.mss, 1448);
        snd.set_mss(9000, 40, 0, None);
        assert_eq!(snd.mss, 1460);
        snd.set_mss(1500, 40, 12, Some(1000));
        assert_eq!(snd.mss, 988);
        snd.set_mss(600, 40, 0, None);
        assert_eq!(snd.mss, 560);
        snd.peer_mss = 0;
        snd.set_mss(1500, 40, 12, None);
        assert_eq!(snd.mss, 48);
    }
}
