//! RACK: a segment is lost when one that was sent later has arrived, and some time for reordering has passed
//! (RFC 8985 §6). Which segments those are is the scoreboard's to find ([`Sent::detect_loss`]).
//!
//! [`Sent::detect_loss`]: super::sent::Sent::detect_loss

use core::time::Duration;

use super::min_rtt::MinRtt;
use crate::seq::Seq;
use crate::time::Instant;

/// SACKed segments that make up for the time when no reordering was ever seen (RFC 8985 §6.2, step 4).
const DUP_THRESH: u32 = 3;
/// Recoveries for which a window that D-SACK widened stays so.
const REO_WND_PERSIST: u8 = 16;

/// When a segment was sent last, and where it ends: the order of transmission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Xmit {
    /// Segment.xmit_ts.
    pub(super) xmit_ts: Instant,
    /// Segment.end_seq.
    pub(super) end_seq: Seq,
}

impl Xmit {
    /// RACK_sent_after.
    #[inline]
    pub(super) fn after(self, other: Xmit) -> bool {
        self.xmit_ts > other.xmit_ts || (self.xmit_ts == other.xmit_ts && self.end_seq.after(other.end_seq))
    }
}

/// RACK.*
#[derive(Clone, Copy, Debug)]
pub(super) struct Rack {
    /// RACK.xmit_ts and RACK.end_seq: the most recently sent segment that has arrived.
    xmit_ts: Instant,
    end_seq: Seq,
    /// It was sent once only.
    original: bool,
    /// RACK.rtt: its round trip, in microseconds.
    rtt: u32,
    /// RACK.min_RTT.
    pub(super) min_rtt: MinRtt,
    /// RACK.fack: one past the highest octet that has arrived.
    fack: Seq,
    /// RACK.dsack_round: until SND.UNA is here, D-SACK widens the window no more. It is no further back than SND.UNA.
    dsack_round: Seq,
    /// RACK.reo_wnd_mult.
    reo_wnd_mult: u8,
    /// RACK.reo_wnd_persist.
    reo_wnd_persist: u8,
    /// RACK.reordering_seen.
    pub(super) reordering_seen: bool,
}

/// What the reordering window depends on besides RACK's own state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// In fast recovery, or after a time-out.
    pub(super) recovering: bool,
    /// RACK.segs_sacked.
    pub(super) segs_sacked: u32,
    pub(super) srtt: Duration,
}

impl Rack {
    /// For a connection whose first octet of data will be `una`.
    pub(super) fn new(una: Seq) -> Self {
        Self {
            xmit_ts: Instant::ZERO,
            end_seq: una,
            original: true,
            rtt: 0,
            min_rtt: MinRtt::default(),
            fack: una,
            dsack_round: una,
            reo_wnd_mult: 1,
            reo_wnd_persist: 0,
            reordering_seen: false,
        }
    }

    /// Step 2: `newest` is the most recently sent of the segments that an ACK says have arrived; `original`: it was
    /// sent once only.
    #[inline]
    pub(super) fn update(&mut self, newest: Xmit, original: bool, now: Instant) {
        self.arrived(newest, original, now.micros_since(newest.xmit_ts));
    }

    /// As [`Rack::update`], with its round trip at hand, in microseconds.
    #[inline]
    pub(super) fn arrived(&mut self, newest: Xmit, original: bool, rtt: u32) {
        self.rtt = rtt;
        if newest.after(self.newest()) {
            (self.xmit_ts, self.end_seq, self.original) = (newest.xmit_ts, newest.end_seq, original);
        }
    }

    /// RACK_sent_after, for what arrived most recently and a segment in flight.
    #[inline]
    pub(super) fn is_after(&self, segment: Xmit) -> bool {
        self.newest().after(segment)
    }

    #[inline]
    fn newest(&self) -> Xmit {
        Xmit { xmit_ts: self.xmit_ts, end_seq: self.end_seq }
    }

    /// Whether RACK.segment was sent once only, at this instant.
    #[inline]
    pub(super) fn left_with_original(&self, sent_at: Instant) -> bool {
        self.original && self.xmit_ts == sent_at
    }

    /// RACK.rtt.
    pub(super) fn rtt(&self) -> Duration {
        Duration::from_micros(u64::from(self.rtt))
    }

    /// Step 3: an ACK says that everything up to `highest` has arrived as far as it has; `original` is the end of
    /// the lowest segment among the news that was sent once only. True when that one came late.
    #[inline]
    pub(super) fn detect_reordering(&mut self, original: Option<Seq>, highest: Seq) -> bool {
        let late = original.is_some_and(|end| end.before(self.fack));
        self.fack = self.fack.max(highest);
        self.reordering_seen |= late;
        late
    }

    /// Step 4, first part: a D-SACK says that patience was too short. It grows once a round trip.
    #[inline]
    pub(super) fn on_ack(&mut self, una: Seq, nxt: Seq, dsack: bool) {
        self.dsack_round = self.dsack_round.max(una);
        if dsack && self.dsack_round == una {
            self.dsack_round = nxt;
            self.reo_wnd_mult = self.reo_wnd_mult.saturating_add(1);
            self.reo_wnd_persist = REO_WND_PERSIST;
        }
    }

    /// Step 4: a recovery ended. After sixteen of them the window is narrow again.
    pub(super) fn on_recovery_exit(&mut self) {
        self.reo_wnd_persist = self.reo_wnd_persist.saturating_sub(1);
        if self.reo_wnd_persist == 0 {
            self.reo_wnd_mult = 1;
        }
    }

    /// RACK_update_reo_wnd: how long a segment that was overtaken is waited for.
    pub(super) fn reo_wnd(&self, path: Path) -> Duration {
        if !self.reordering_seen && (path.recovering || path.segs_sacked >= DUP_THRESH) {
            return Duration::ZERO;
        }
        (self.min_rtt.get() / 4).saturating_mul(u32::from(self.reo_wnd_mult)).min(path.srtt)
    }

    /// Step 5 for one segment in flight.
    #[inline]
    pub(super) fn judge(&self, segment: Xmit, reo_wnd: Duration, now: Instant) -> Verdict {
        if !self.is_after(segment) {
            Verdict::NotOvertaken
        } else if segment.xmit_ts + self.rtt() + reo_wnd <= now {
            Verdict::Lost
        } else {
            Verdict::Late
        }
    }

    /// When every segment that has been overtaken by now counts as lost: none of them was sent after RACK.xmit_ts.
    /// (RFC 8985 takes the maximum over the segments, which this bounds without looking at them.)
    pub(super) fn reordering_ends(&self, reo_wnd: Duration) -> Instant {
        self.xmit_ts + self.rtt() + reo_wnd
    }
}

/// What became of a segment in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing that was sent later has arrived.
    NotOvertaken,
    /// Something has; it may be reordering.
    Late,
    /// Lost.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn stamp(at: u64, end: u32) -> Xmit {
        Xmit { xmit_ts: Instant::from_millis(at), end_seq: Seq(end) }
    }

    const CALM: Path = Path { recovering: false, segs_sacked: 1, srtt: ms(60) };

    /// The shortest round trip was 40 ms.
    fn measured() -> Rack {
        let mut rack = Rack::new(Seq(1));
        rack.min_rtt.on_sample(ms(40), Instant::ZERO);
        rack
    }

    /// RFC 8985 §6.1: RACK_sent_after.
    #[test]
    fn the_order_of_transmission_is_by_time_then_by_sequence_number() {
        assert!(stamp(2, 5).after(stamp(1, 9)));
        assert!(!stamp(1, 9).after(stamp(2, 5)));
        assert!(stamp(2, 9).after(stamp(2, 5)));
        assert!(!stamp(2, 5).after(stamp(2, 5)));
        let wrapped = Xmit { end_seq: Seq(3), ..stamp(2, 0) };
        assert!(wrapped.after(stamp(2, u32::MAX - 3)));
    }

    /// RFC 8985 §6.2, step 2.
    #[test]
    fn the_newest_arrival_is_kept_and_the_round_trip_is_the_last_one() {
        let mut rack = Rack::new(Seq(1));
        rack.update(stamp(10, 1000), true, Instant::from_millis(50));
        assert_eq!((rack.newest(), rack.rtt()), (stamp(10, 1000), ms(40)));
        rack.update(stamp(5, 2000), true, Instant::from_millis(55));
        assert_eq!((rack.newest(), rack.rtt()), (stamp(10, 1000), ms(50)));
        rack.update(stamp(10, 2000), true, Instant::from_millis(55));
        assert_eq!(rack.newest(), stamp(10, 2000));
    }

    /// RFC 8985 §6.2, step 3.
    #[test]
    fn an_original_below_the_highest_arrival_came_late() {
        let mut rack = Rack::new(Seq(1));
        assert!(!rack.detect_reordering(Some(Seq(2001)), Seq(2001)));
        assert!(!rack.detect_reordering(None, Seq(1001)), "a copy proves nothing");
        assert!(!rack.detect_reordering(Some(Seq(2001)), Seq(2001)));
        assert!(!rack.reordering_seen);
        assert!(rack.detect_reordering(Some(Seq(2000)), Seq(1001)));
        assert!(rack.reordering_seen);
    }

    /// RFC 8985 §6.2, step 4.
    #[test]
    fn without_reordering_three_sacked_segments_or_a_recovery_end_the_wait() {
        let mut rack = measured();
        assert_eq!(rack.reo_wnd(CALM), ms(10));
        assert_eq!(rack.reo_wnd(Path { segs_sacked: 2, ..CALM }), ms(10));
        assert_eq!(rack.reo_wnd(Path { segs_sacked: 3, ..CALM }), Duration::ZERO);
        assert_eq!(rack.reo_wnd(Path { recovering: true, ..CALM }), Duration::ZERO);
        rack.reordering_seen = true;
        assert_eq!(rack.reo_wnd(Path { segs_sacked: 3, recovering: true, ..CALM }), ms(10));
    }

    /// RFC 8985 §6.2, step 4: the window grows by a quarter of the shortest round trip, once a round, up to SRTT,
    /// and stays for sixteen recoveries.
    #[test]
    fn duplicates_widen_the_window_for_sixteen_recoveries() {
        let mut rack = measured();
        rack.on_ack(Seq(1), Seq(5000), true);
        rack.on_ack(Seq(4999), Seq(6000), true);
        assert_eq!(rack.reo_wnd(CALM), ms(20), "once a round trip");
        rack.on_ack(Seq(5000), Seq(9000), true);
        assert_eq!(rack.reo_wnd(CALM), ms(30));
        for _ in 0..9 {
            rack.on_ack(Seq(9000), Seq(9000), true);
        }
        assert_eq!(rack.reo_wnd(CALM), ms(60), "never more than SRTT");
        for _ in 0..15 {
            rack.on_recovery_exit();
        }
        assert_eq!(rack.reo_wnd(CALM), ms(60));
        rack.on_recovery_exit();
        assert_eq!(rack.reo_wnd(CALM), ms(10));
        for _ in 0..300 {
            rack.on_ack(Seq(9000), Seq(9000), true);
        }
        assert_eq!(rack.reo_wnd_mult, u8::MAX);
    }

    /// RFC 8985 §6.2, step 5.
    #[test]
    fn a_segment_is_lost_a_round_trip_and_a_window_after_it_was_sent() {
        let mut rack = Rack::new(Seq(1));
        rack.update(stamp(10, 3000), true, Instant::from_millis(50));
        let now = Instant::from_millis(55);
        assert_eq!(rack.judge(stamp(10, 3000), ms(5), now), Verdict::NotOvertaken);
        assert_eq!(rack.judge(stamp(11, 1000), ms(5), now), Verdict::NotOvertaken);
        assert_eq!(rack.judge(stamp(10, 2000), ms(5), now), Verdict::Lost);
        assert_eq!(rack.judge(stamp(10, 2000), ms(6), now), Verdict::Late);
        assert_eq!(rack.reordering_ends(ms(6)), Instant::from_millis(56));
    }
}
