//! The scoreboard: what is known of the segments in flight (RFC 2018, RFC 6675 §3, RFC 8985 §5).
//!
//! An ACK costs what it tells and what it lets conclude, not what is in flight. Only time-outs look at the whole
//! window.

use core::time::Duration;

use nic::FrameIndex;

use super::rack::{Rack, Verdict};
use super::segs::{Chain, Mark, NONE, SegTable};
use super::sent::{Delivered, Sent, Tally};
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::tcp::{SACK_BLOCKS, SackBlock, SackBlocks};

/// What RACK found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Segments were marked lost.
    pub(super) any: bool,
    /// So many copies of lost segments are among them.
    pub(super) copies: u32,
    /// Others have been overtaken and get some time yet.
    pub(super) waiting: bool,
}

fn is_sacked(segs: &SegTable, at: FrameIndex) -> bool {
    at != NONE && segs.slot(at).mark.sacked
}

/// Makes a run of SACKed segments known at its ends. (They are in no chain, so the links are free.)
pub(super) fn join(segs: &mut SegTable, first: FrameIndex, last: FrameIndex) {
    segs.slot_mut(first).newer = last;
    segs.slot_mut(last).older = first;
}

/// The last of the run of SACKed segments of which `at` is the first; else `at` itself.
pub(super) fn run_end(segs: &SegTable, at: FrameIndex) -> FrameIndex {
    let slot = segs.slot(at);
    if slot.mark.sacked && !is_sacked(segs, slot.prev) { slot.newer } else { at }
}

/// The first of the run of SACKed segments of which `at` is the last; else `at` itself.
pub(super) fn run_begin(segs: &SegTable, at: FrameIndex) -> FrameIndex {
    let slot = segs.slot(at);
    if slot.mark.sacked && !is_sacked(segs, slot.next) { slot.older } else { at }
}

impl Sent {
    /// Octets of `outstanding` that are held to be on their way (RFC 6675 §4, SetPipe).
    #[inline]
    pub(super) fn pipe(&self, outstanding: u32) -> u32 {
        (outstanding + self.resent.octets).saturating_sub(self.sacked.octets + self.lost.octets)
    }

    /// Octets that are held to be lost and were not sent again.
    pub(super) fn missing_octets(&self) -> u32 {
        self.lost.octets - self.resent.octets
    }

    /// Whether something is held to be lost.
    #[inline]
    pub(super) fn has_lost(&self) -> bool {
        self.lost.octets > 0
    }

    /// Takes over what the blocks of an ACK say. `una` is the ACK's own number; blocks that cannot be true of
    /// `[una, nxt)` are ignored (among them duplicates reported by RFC 2883).
    pub(super) fn sack(
        &mut self,
        segs: &mut SegTable,
        blocks: &SackBlocks,
        (una, nxt): (Seq, Seq),
        delivered: &mut Delivered,
    ) {
        let mut near = [NONE; SACK_BLOCKS];
        for (block, near) in blocks.as_slice().iter().zip(&mut near) {
            let valid = block.left.before(block.right)
                && block.left.at_or_after(una)
                && block.right.at_or_before(nxt)
                && self.head().is_some();
            if valid {
                *near = self.sack_block(segs, *block, delivered);
            }
        }
        self.near = near;
    }

    /// Where the block begins. What is SACKed already is passed over run by run.
    fn sack_block(&mut self, segs: &mut SegTable, block: SackBlock, delivered: &mut Delivered) -> FrameIndex {
        let begin = self.seek(segs, block.left);
        let mut at = begin;
        while at != NONE && at != self.unsent {
            let slot = segs.slot(at);
            if slot.seq.at_or_after(block.right) {
                break;
            }
            let covered = slot.seq.at_or_after(block.left) && slot.end().at_or_before(block.right);
            let last = match (slot.mark.sacked, covered) {
                (true, _) => run_end(segs, at),
                (false, true) => self.arrived(segs, at, delivered),
                (false, false) => at,
            };
            at = segs.slot(last).next;
        }
        begin
    }

    /// The segment at `at` is SACKed for the first time. The last one of the run that it belongs to.
    fn arrived(&mut self, segs: &mut SegTable, at: FrameIndex, delivered: &mut Delivered) -> FrameIndex {
        let slot = segs.slot_mut(at);
        let (len, mark, xmit) = (slot.len(), slot.mark, slot.xmit());
        slot.mark = Mark { sacked: true, ambiguous: mark.ambiguous, ..Mark::default() };
        delivered.take(at, len, mark, xmit);
        self.uncount(len, mark);
        self.sacked.add(len);
        if let Some(chain) = self.chain_of(mark) {
            chain.remove(segs, at);
        }
        let (prev, next) = (segs.slot(at).prev, segs.slot(at).next);
        let first = if is_sacked(segs, prev) { segs.slot(prev).older } else { at };
        let last = if is_sacked(segs, next) { segs.slot(next).newer } else { at };
        join(segs, first, last);
        last
    }

    /// The segment that holds `seq`, found from the nearest known place. The queue is not empty.
    fn seek(&self, segs: &SegTable, seq: Seq) -> FrameIndex {
        let distance = |at: FrameIndex| {
            let start = segs.slot(at).seq;
            seq.since(start).max(start.since(seq))
        };
        let known = self.near.iter().chain([&self.list.head]);
        let nearest = known.filter(|&&at| at != NONE).min_by_key(|&&at| distance(at));
        let mut at = nearest.copied().unwrap_or(NONE);
        while at != NONE && segs.slot(at).seq.after(seq) && segs.slot(at).prev != NONE {
            let first = run_begin(segs, at);
            at = if segs.slot(first).seq.after(seq) { first } else { at };
            at = if segs.slot(at).seq.after(seq) && segs.slot(at).prev != NONE {
                segs.slot(at).prev
            } else {
                at
            };
        }
        while at != NONE && segs.slot(at).end().at_or_before(seq) {
            let last = run_end(segs, at);
            at = if segs.slot(last).end().at_or_before(seq) { last } else { at };
            at = segs.slot(at).next;
        }
        at
    }

    /// Whether anything that is on its way was sent before what arrived most recently.
    #[inline]
    pub(super) fn is_overtaken(&self, segs: &SegTable, rack: &Rack) -> bool {
        self.flight.first != NONE && rack.is_after(segs.slot(self.flight.first).xmit())
    }

    /// RACK_detect_loss (RFC 8985 §6.2, step 5): the segments that were sent before one that has arrived, by more
    /// than a round trip and `reo_wnd`. They are at the old end of the chain, so nothing else is looked at.
    pub(super) fn detect_loss(
        &mut self,
        segs: &mut SegTable,
        rack: &Rack,
        reo_wnd: Duration,
        now: Instant,
    ) -> Losses {
        let mut losses = Losses::default();
        while self.flight.first != NONE {
            let at = self.flight.first;
            let slot = segs.slot(at);
            if slot.mark.resent && rack.left_with_original(slot.sent_at) {
                // Of a copy and an original that left at the same instant, numbers do not tell which was first.
                break;
            }
            match rack.judge(slot.xmit(), reo_wnd, now) {
                Verdict::NotOvertaken => break,
                Verdict::Late => {
                    losses.waiting = true;
                    break;
                }
                Verdict::Lost => {
                    losses.any = true;
                    losses.copies += u32::from(slot.mark.resent);
                    self.lose(segs, at);
                }
            }
        }
        losses
    }

    /// A segment that was on its way is lost.
    fn lose(&mut self, segs: &mut SegTable, at: FrameIndex) {
        self.flight.remove(segs, at);
        let slot = segs.slot_mut(at);
        let (len, mark) = (slot.len(), slot.mark);
        (slot.mark.lost, slot.mark.resent) = (true, false);
        if mark.resent {
            self.resent.sub(len);
        }
        if !mark.lost {
            self.lost.add(len);
        }
        self.miss(segs, at);
    }

    /// Chains the segment at `at` among the missing. Losses are found in the order of transmission, so its place
    /// is near one of the ends.
    fn miss(&mut self, segs: &mut SegTable, at: FrameIndex) {
        let seq = segs.slot(at).seq;
        let (mut up, mut down) = (self.missing.first, self.missing.last);
        let after = loop {
            if down == NONE || segs.slot(down).seq.before(seq) {
                break down;
            }
            if segs.slot(up).seq.after(seq) {
                break segs.slot(up).older;
            }
            (up, down) = (segs.slot(up).newer, segs.slot(down).older);
        };
        self.missing.insert(segs, after, at);
    }

    /// Holds the oldest segment to be lost: what three duplicate ACKs (RFC 5681) or a partial ACK (RFC 6582)
    /// say. False when nothing is in flight.
    pub(super) fn lose_head(&mut self, segs: &mut SegTable) -> bool {
        let Some(at) = self.head() else { return false };
        let mark = segs.slot(at).mark;
        if mark.sacked {
            return false;
        }
        if !mark.is_missing() {
            self.lose(segs, at);
        }
        true
    }

    /// Whether the peer has thrown away what it had SACKed (RFC 2018 §8): the oldest segment is one of those, yet
    /// it is not acknowledged.
    #[inline]
    pub(super) fn is_reneged(&self, segs: &SegTable) -> bool {
        self.head().is_some_and(|at| segs.slot(at).mark.sacked)
    }

    /// The retransmission timer expired: the oldest segment, and all that were sent by `expired`, are lost
    /// (RFC 8985 §6.3). If the receiver has reneged, nothing of the scoreboard is believed (RFC 2018 §8).
    pub(super) fn time_out(&mut self, segs: &mut SegTable, expired: Instant) {
        let reneged = self.is_reneged(segs);
        if reneged {
            self.sacked = Tally::default();
        }
        (self.lost, self.resent, self.missing) = (Tally::default(), Tally::default(), Chain::default());
        let mut at = self.list.head;
        while at != NONE && at != self.unsent {
            let slot = segs.slot_mut(at);
            let (len, mark, next) = (slot.len(), slot.mark, slot.next);
            if mark.sacked && !reneged {
                at = next;
                continue;
            }
            let recent = slot.sent_at > expired && at != self.list.head && !mark.sacked;
            if recent && !mark.is_missing() {
                // It goes on, as a copy or as an original.
                if mark.resent {
                    self.lost.add(len);
                    self.resent.add(len);
                }
            } else {
                slot.mark = Mark { lost: true, ambiguous: mark.ambiguous, ..Mark::default() };
                self.lost.add(len);
                if !mark.sacked && !mark.is_missing() {
                    self.flight.remove(segs, at);
                }
                let last = self.missing.last;
                self.missing.insert(segs, last, at);
            }
            at = next;
        }
    }

    /// Holds all segments longer than `mss` to be lost: the path turned out to be narrower (RFC 1191 §6.1).
    pub(super) fn lose_longer_than(&mut self, segs: &mut SegTable, mss: u32) {
        let mut at = self.list.head;
        while at != NONE && at != self.unsent {
            let slot = segs.slot(at);
            if slot.len() > mss && !slot.mark.sacked && !slot.mark.is_missing() {
                self.lose(segs, at);
            }
            at = segs.slot(at).next;
        }
    }

    /// The loss was a false alarm: what is missing counts as on its way again. (So do the copies already.)
    pub(super) fn forgive(&mut self, segs: &mut SegTable) {
        // Nearly all of it was sent before all that is in flight: its place is at the old end.
        while self.missing.last != NONE {
            let at = self.missing.last;
            self.missing.remove(segs, at);
            let slot = segs.slot_mut(at);
            slot.mark.lost = false;
            let (len, xmit) = (slot.len(), slot.xmit());
            self.lost.sub(len);
            let (mut after, mut next) = (NONE, self.flight.first);
            while next != NONE && xmit.after(segs.slot(next).xmit()) {
                (after, next) = (next, segs.slot(next).newer);
            }
            self.flight.insert(segs, after, at);
        }
    }

    /// The next lost segment to be sent again: the lowest (RFC 6675 §4, NextSeg, (1)).
    #[inline]
    pub(super) fn next_lost(&self) -> Option<FrameIndex> {
        (self.missing.first != NONE).then_some(self.missing.first)
    }
}

#[cfg(test)]
mod tests {
    use nic::{Arena, Pool};
    use proptest::prelude::*;

    use super::*;
    use crate::tcp::rack::Xmit;

    const FIRST: Seq = Seq(u32::MAX - 2000);
    const LEN: u32 = 100;
    const REO_WND: Duration = Duration::from_millis(3);

    /// A segment in the plainest form: one of a list that is walked each time.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Plain {
        sacked: bool,
        lost: bool,
        resent: bool,
        again: bool,
        sent_at: u64,
    }

    struct Model {
        una: u32,
        segments: Vec<Plain>,
        /// RACK's newest: (sent, number), and its round trip.
        newest: (u64, usize),
        rtt: u64,
    }

    impl Model {
        fn range(&self) -> core::ops::Range<usize> {
            (self.una / LEN) as usize..self.segments.len()
        }

        fn count(&self, which: impl Fn(&Plain) -> bool) -> Tally {
            let segments = self.range().filter(|&n| which(&self.segments[n])).count() as u32;
            Tally { octets: segments * LEN, segments }
        }

        fn pipe(&self) -> u32 {
            self.count(|p| !p.sacked && (!p.lost || p.resent)).octets
        }

        /// These have arrived: the newest of them, and the lowest that was sent once.
        fn arrived(&self, which: &[usize]) -> (Option<(u64, usize)>, Option<usize>) {
            let newest = which.iter().map(|&n| (self.segments[n].sent_at, n)).max();
            (newest, which.iter().copied().filter(|&n| !self.segments[n].again).min())
        }

        fn rack(&mut self, newest: Option<(u64, usize)>, now: u64) {
            if let Some(newest) = newest {
                self.rtt = now - newest.0;
                self.newest = self.newest.max(newest);
            }
        }

        /// RFC 8985 §6.2, step 5, as it is written: over all segments.
        fn detect_loss(&mut self, now: u64) -> (u32, bool) {
            let (mut copies, mut waiting) = (0, false);
            for n in self.range() {
                let p = &mut self.segments[n];
                if p.sacked || (p.lost && !p.resent) || self.newest <= (p.sent_at, n) {
                    continue;
                }
                if p.sent_at + self.rtt + REO_WND.as_millis() as u64 <= now {
                    copies += u32::from(p.resent);
                    (p.lost, p.resent) = (true, false);
                } else {
                    waiting = true;
                }
            }
            (copies, waiting)
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Send,
        Wait(u64),
        Ack(u32),
        Sack(Vec<(u32, u32)>),
        Resend,
        Probe,
        TimeOut(u64),
        LoseHead,
        Forgive,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            8 => Just(Event::Send),
            3 => (0..6u64).prop_map(Event::Wait),
            3 => (0..8u32).prop_map(Event::Ack),
            6 => prop::collection::vec((0..40u32, 1..10u32), 1..5).prop_map(Event::Sack),
            5 => Just(Event::Resend),
            1 => Just(Event::Probe),
            1 => (0..20u64).prop_map(Event::TimeOut),
            1 => Just(Event::LoseHead),
            1 => Just(Event::Forgive),
        ]
    }

    struct Bench {
        pool: Pool,
        segs: SegTable,
        sent: Sent,
        rack: Rack,
        model: Model,
        now: u64,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                pool: Pool::new(Arena::new(64, 2048).unwrap()),
                segs: SegTable::new(64),
                sent: Sent::new(FIRST),
                rack: Rack::new(FIRST),
                model: Model { una: 0, segments: Vec::new(), newest: (0, 0), rtt: 0 },
                now: 1000,
            }
        }

        fn at(&self) -> Instant {
            Instant::from_millis(self.now)
        }

        /// No two segments are sent in the same millisecond: the order of transmission has no doubt.
        fn tick(&mut self) -> Instant {
            self.now += 1;
            self.at()
        }

        fn send(&mut self) {
            let Some(mut pkt) = self.pool.alloc() else { return };
            let now = self.tick();
            let _ = self.pool.append_with(&mut pkt, LEN as usize, |room| Ok::<_, ()>(room.len()));
            self.sent.push(&mut self.segs, pkt);
            self.sent.sent(&mut self.segs, now);
            self.model.segments.push(Plain { sent_at: self.now, ..Plain::default() });
        }

        fn nxt(&self) -> u32 {
            self.model.segments.len() as u32 * LEN
        }

        fn number(&self, at: FrameIndex) -> usize {
            ((self.segs.slot(at).seq - FIRST) / LEN) as usize
        }

        fn ack(&mut self, n: u32) {
            let before = self.model.range().start;
            self.model.una = (self.model.una + n * LEN).min(self.nxt());
            let mut delivered = Delivered::new(Instant::NEVER);
            let una = FIRST + self.model.una;
            self.sent.acknowledge(&mut self.segs, &mut self.pool, una, &mut delivered);
            let passed = before..self.model.range().start;
            let news: Vec<usize> = passed.filter(|&n| !self.model.segments[n].sacked).collect();
            self.compare(&delivered, &news);
        }

        fn sack(&mut self, ranges: &[(u32, u32)]) {
            let (base, nxt) = (self.model.una / LEN, self.model.segments.len() as u32);
            let mut blocks = SackBlocks::default();
            let mut news = Vec::new();
            for &(from, len) in ranges {
                // The oldest is missing, else it were acknowledged.
                let (from, to) = (base + 1 + from, (base + 1 + from + len).min(nxt));
                if from < to {
                    blocks.push(SackBlock { left: FIRST + from * LEN, right: FIRST + to * LEN });
                    if blocks.as_slice().len() <= 4 {
                        news.extend((from as usize..to as usize).filter(|&n| !self.model.segments[n].sacked));
                    }
                }
            }
            news.sort_unstable();
            news.dedup();
            let range = (FIRST + self.model.una, FIRST + self.nxt());
            let mut delivered = Delivered::new(Instant::NEVER);
            self.sent.sack(&mut self.segs, &blocks, range, &mut delivered);
            for &n in &news {
                let p = &mut self.model.segments[n];
                (p.sacked, p.lost, p.resent) = (true, false, false);
            }
            self.compare(&delivered, &news);
        }

        /// What arrived, and what RACK concludes.
        fn compare(&mut self, delivered: &Delivered, news: &[usize]) {
            let (newest, original) = self.model.arrived(news);
            let end = |n: usize| FIRST + (n as u32 + 1) * LEN;
            assert_eq!(delivered.octets, news.len() as u32 * LEN);
            assert_eq!(delivered.original, original.map(end));
            assert_eq!(delivered.highest, news.iter().max().map(|&n| end(n)));
            let stamp = |(at, n)| Xmit { xmit_ts: Instant::from_millis(at), end_seq: end(n) };
            assert_eq!(delivered.newest, newest.map(stamp));
            if let Some(newest) = delivered.newest {
                self.rack.update(newest, delivered.newest_once == Some(newest.xmit_ts), self.at());
            }
            self.model.rack(newest, self.now);
            self.detect();
        }

        fn detect(&mut self) {
            let now = self.at();
            let losses = self.sent.detect_loss(&mut self.segs, &self.rack, REO_WND, now);
            let before = self.model.count(|p| p.lost && !p.resent).segments;
            let (copies, waiting) = self.model.detect_loss(self.now);
            let after = self.model.count(|p| p.lost && !p.resent).segments;
            assert_eq!(losses, Losses { any: after > before, copies, waiting });
        }

        fn again(&mut self, at: FrameIndex, n: usize) {
            let now = self.tick();
            self.sent.sent_again(&mut self.segs, at, now);
            let p = &mut self.model.segments[n];
            p.again = true;
            if !p.sacked {
                (p.resent, p.sent_at) = (p.lost, self.now);
            }
        }

        fn time_out(&mut self, back: u64) {
            let sent_by = Instant::from_millis(self.now - back);
            self.sent.time_out(&mut self.segs, sent_by);
            let head = self.model.range().start;
            let reneged = self.model.segments.get(head).is_some_and(|p| p.sacked);
            for n in self.model.range() {
                let p = &mut self.model.segments[n];
                let was_sacked = core::mem::take(&mut p.sacked);
                p.sacked = was_sacked && !reneged;
                let recent = p.sent_at > self.now - back && n != head;
                if !p.sacked && (!recent || was_sacked || (p.lost && !p.resent)) {
                    (p.lost, p.resent) = (true, false);
                }
            }
        }

        fn apply(&mut self, event: &Event) {
            match event {
                Event::Send => self.send(),
                Event::Wait(ms) => {
                    self.now += ms;
                    self.detect();
                }
                Event::Ack(n) => self.ack(*n),
                Event::Sack(ranges) => self.sack(ranges),
                Event::Resend => {
                    let got = self.sent.next_lost();
                    let missing = |&n: &usize| self.model.segments[n].lost && !self.model.segments[n].resent;
                    assert_eq!(got.map(|at| self.number(at)), self.model.range().find(missing));
                    if let Some(at) = got {
                        self.again(at, self.number(at));
                    }
                }
                Event::Probe => {
                    if let Some(at) = self.sent.last_sent(&self.segs) {
                        self.again(at, self.number(at));
                    }
                }
                Event::TimeOut(back) => self.time_out(*back),
                Event::Forgive => {
                    self.sent.forgive(&mut self.segs);
                    for n in self.model.range() {
                        let p = &mut self.model.segments[n];
                        p.lost &= p.resent;
                    }
                }
                Event::LoseHead => {
                    self.sent.lose_head(&mut self.segs);
                    let head = self.model.range().start;
                    if let Some(p) = self.model.segments.get_mut(head).filter(|p| !p.sacked) {
                        (p.lost, p.resent) = (true, false);
                    }
                }
            }
        }
    }

    proptest! {
        /// RFC 6675 §3 and §4, RFC 8985 §6.2: with a list that is walked each time.
        #[test]
        fn the_scoreboard_is_a_plain_list(events in prop::collection::vec(event(), 1..200)) {
            let mut b = Bench::new();
            for event in &events {
                b.apply(event);
                b.runs_are_whole();
                let outstanding = b.nxt() - b.model.una;
                prop_assert_eq!(b.sent.sacked, b.model.count(|p| p.sacked), "{:?}", event);
                prop_assert_eq!(b.sent.lost, b.model.count(|p| p.lost), "{:?}", event);
                prop_assert_eq!(b.sent.resent, b.model.count(|p| p.resent), "{:?}", event);
                prop_assert_eq!(b.sent.pipe(outstanding), b.model.pipe(), "{:?}", event);
                prop_assert_eq!(b.sent.octets, outstanding);
                prop_assert_eq!(b.sent.segments, b.model.count(|_| true).segments);
            }
            b.sent.clear(&mut b.segs, &mut b.pool);
            prop_assert_eq!(b.pool.available(), 64);
        }
    }

    impl Bench {
        /// The ends of every run of SACKed segments know each other.
        fn runs_are_whole(&self) {
            let (mut at, mut first) = (self.sent.list.head, NONE);
            while at != NONE {
                let slot = self.segs.slot(at);
                if slot.mark.sacked {
                    first = if first == NONE { at } else { first };
                    if !is_sacked(&self.segs, slot.next) {
                        assert_eq!((run_end(&self.segs, first), run_begin(&self.segs, at)), (at, first));
                        first = NONE;
                    }
                }
                at = slot.next;
            }
        }
    }

    fn filled(pool: &mut Pool, len: usize) -> nic::Pkt {
        let mut pkt = pool.alloc().unwrap();
        let _ = pool.append_with(&mut pkt, len, |room| {
            room.iter_mut().enumerate().for_each(|(n, byte)| *byte = n as u8);
            Ok::<_, ()>(len)
        });
        pkt
    }

    #[test]
    fn a_cut_segment_keeps_its_bytes_its_marks_and_its_chain() {
        for lost in [true, false] {
            let mut pool = Pool::new(Arena::new(4, 2048).unwrap());
            let mut segs = SegTable::new(4);
            let mut sent = Sent::new(Seq(0));
            let pkt = filled(&mut pool, 1000);
            sent.push(&mut segs, pkt);
            sent.sent(&mut segs, Instant::ZERO);
            if lost {
                sent.time_out(&mut segs, Instant::NEVER);
            }
            let head = sent.head().unwrap();
            assert!(sent.split(&mut segs, &mut pool, head, 300));
            let behind = segs.slot(head).next;
            assert_eq!((segs.slot(behind).seq, segs.slot(behind).len()), (Seq(300), 700));
            assert_eq!(segs.slot(behind).mark.lost, lost);
            assert_eq!(pool.bytes(segs.slot(behind).pkt())[0], 300u32 as u8);
            assert_eq!((sent.segments, sent.lost.segments), (2, 2 * u32::from(lost)));
            let chain = if lost { sent.missing } else { sent.flight };
            assert_eq!((chain.first, chain.last), (head, behind));
            let mut delivered = Delivered::new(Instant::ZERO);
            sent.acknowledge(&mut segs, &mut pool, Seq(1000), &mut delivered);
            assert_eq!(delivered.acked, 1000);
            assert_eq!((sent.lost, sent.octets, pool.available()), (Tally::default(), 0, 4));
            assert_eq!((chain_is_empty(sent.missing), chain_is_empty(sent.flight)), (true, true));
        }
    }

    fn chain_is_empty(chain: Chain) -> bool {
        chain.first == NONE && chain.last == NONE
    }

    /// RFC 8985 §6.2, step 2: a copy that was sent too late to be what is acknowledged is left out.
    #[test]
    fn a_copy_that_cannot_have_been_answered_is_not_the_newest() {
        for (answered, newest) in [(49, 11), (50, 50)] {
            let mut pool = Pool::new(Arena::new(4, 2048).unwrap());
            let mut segs = SegTable::new(4);
            let mut sent = Sent::new(Seq(0));
            for at in [10, 11] {
                let pkt = filled(&mut pool, 100);
                sent.push(&mut segs, pkt);
                sent.sent(&mut segs, Instant::from_millis(at));
            }
            sent.time_out(&mut segs, Instant::from_millis(10));
            let head = sent.head().unwrap();
            sent.sent_again(&mut segs, head, Instant::from_millis(50));
            let mut delivered = Delivered::new(Instant::from_millis(answered));
            sent.acknowledge(&mut segs, &mut pool, Seq(200), &mut delivered);
            assert_eq!(delivered.newest.unwrap().xmit_ts, Instant::from_millis(newest));
            assert_eq!(delivered.newest_once, Some(Instant::from_millis(11)));
            assert!(delivered.ambiguous);
        }
    }
}
