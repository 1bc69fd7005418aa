//! The send queue: what the application wrote and the peer has not acknowledged, oldest first, and the
//! scoreboard over the part in flight (RFC 2018, RFC 6675).
//!
//! ```text
//! head ──────── in flight ────────▶ unsent ──── not sent yet ────▶ tail        end
//! ```
//!
//! Sums are kept, so that nothing is counted over the window; what has to be looked for is looked for from
//! where the last search ended.

use nic::{FrameIndex, Pkt, Pool};

use super::segs::{List, Mark, NONE, SegTable};
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::tcp::{SackBlock, SackBlocks};

/// The send queue of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    list: List,
    /// First segment that was never sent.
    unsent: FrameIndex,
    /// One past the last octet queued.
    pub(super) end: Seq,
    /// Octets queued.
    pub(super) octets: u32,
    /// Octets in flight that the peer has, above a hole.
    pub(super) sacked: u32,
    /// Octets in flight that are held to be lost.
    lost: u32,
    /// Those of the lost that are in flight again.
    resent: u32,
    /// The highest SACKed segment.
    top: FrameIndex,
    /// Where the scoreboard was touched last: the next search begins near it.
    near: FrameIndex,
    /// All segments before this one have been judged lost or not.
    judged: FrameIndex,
    /// No lost segment before this one waits to be resent.
    resend: FrameIndex,
    /// The SACK blocks of the last ACK: they say nothing new.
    seen: SackBlocks,
}

/// What an acknowledgment brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// Octets that left the queue.
    pub(super) acked: u32,
    /// Octets that are known to have arrived only now.
    pub(super) octets: u32,
    /// When the oldest segment of them, sent once only, was sent.
    pub(super) sent_at: Option<Instant>,
    /// One of them was sent more than once.
    pub(super) ambiguous: bool,
    /// The frame of the one that was sent last, and when that was.
    pub(super) newest: Option<(FrameIndex, Instant)>,
}

impl Delivered {
    fn take(&mut self, at: FrameIndex, len: u32, mark: Mark, sent_at: Instant) {
        self.octets += len;
        if self.newest.is_none_or(|(_, newest)| sent_at >= newest) {
            self.newest = Some((at, sent_at));
        }
        if mark.ambiguous {
            self.ambiguous = true;
        } else if self.sent_at.is_none() {
            self.sent_at = Some(sent_at);
        }
    }
}

impl Sent {
    /// An empty queue whose first octet will be `end`.
    pub(super) fn new(end: Seq) -> Self {
        Self {
            list: List::default(),
            unsent: NONE,
            end,
            octets: 0,
            sacked: 0,
            lost: 0,
            resent: 0,
            top: NONE,
            near: NONE,
            judged: NONE,
            resend: NONE,
            seen: SackBlocks::default(),
        }
    }

    /// Packets in the queue.
    pub(super) fn frames(&self) -> u32 {
        self.list.count
    }

    /// The oldest segment, if it was sent.
    pub(super) fn head(&self) -> Option<FrameIndex> {
        (self.list.head != NONE && self.list.head != self.unsent).then_some(self.list.head)
    }

    /// The first segment that was never sent.
    #[inline]
    pub(super) fn next_unsent(&self) -> Option<FrameIndex> {
        (self.unsent != NONE).then_some(self.unsent)
    }

    /// The last segment, if it was not sent yet: more can be appended to it.
    pub(super) fn open_tail(&self) -> Option<FrameIndex> {
        (self.unsent != NONE).then_some(self.list.tail)
    }

    pub(super) fn is_tail(&self, at: FrameIndex) -> bool {
        self.list.tail == at
    }

    /// Octets of `outstanding` that are held to be on their way (RFC 6675 §4, SetPipe).
    #[inline]
    pub(super) fn pipe(&self, outstanding: u32) -> u32 {
        (outstanding + self.resent).saturating_sub(self.sacked + self.lost)
    }

    /// Octets that are held to be lost.
    pub(super) fn lost_octets(&self) -> u32 {
        self.lost
    }

    /// Whether something is held to be lost.
    #[inline]
    pub(super) fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Queues a packet.
    pub(super) fn push(&mut self, segs: &mut SegTable, pkt: Pkt) {
        let len = pkt.len() as u32;
        let at = self.list.push(segs, pkt, self.end);
        if self.unsent == NONE {
            self.unsent = at;
        }
        self.grew(len);
    }

    /// The tail grew by `len` octets.
    pub(super) fn grew(&mut self, len: u32) {
        self.end += len;
        self.octets += len;
    }

    /// The first unsent segment went out.
    #[inline]
    pub(super) fn sent(&mut self, segs: &mut SegTable, now: Instant) {
        let slot = segs.slot_mut(self.unsent);
        slot.sent_at = now;
        self.unsent = slot.next;
    }

    /// The lost segment at `at` went out again.
    pub(super) fn sent_again(&mut self, segs: &mut SegTable, at: FrameIndex, now: Instant) {
        let slot = segs.slot_mut(at);
        let len = slot.len();
        slot.sent_at = now;
        slot.mark.ambiguous = true;
        if slot.mark.lost && !slot.mark.resent {
            slot.mark.resent = true;
            self.resent += len;
        }
    }

    /// Cuts the segment at `at` after `n` octets; the rest becomes a segment behind it. False when there is no
    /// frame for it.
    pub(super) fn split(&mut self, segs: &mut SegTable, pool: &mut Pool, at: FrameIndex, n: u32) -> bool {
        let Some(mut rest) = pool.alloc() else { return false };
        copy(pool, segs.slot(at).pkt(), n as usize, &mut rest);
        let slot = segs.slot_mut(at);
        let (seq, mark, sent_at) = (slot.seq + n, slot.mark, slot.sent_at);
        slot.pkt_mut().truncate(n as usize);
        let behind = self.list.insert(segs, at, rest, seq);
        let slot = segs.slot_mut(behind);
        (slot.mark, slot.sent_at) = (mark, sent_at);
        segs.set_stamp(behind, segs.stamp(at));
        if self.top == at {
            self.top = behind;
        }
        true
    }

    /// Everything before `ack` has arrived.
    #[inline]
    pub(super) fn acknowledge(&mut self, segs: &mut SegTable, pool: &mut Pool, ack: Seq) -> Delivered {
        let mut delivered = Delivered::default();
        while let Some(at) = self.head() {
            let slot = segs.slot_mut(at);
            if ack.at_or_before(slot.seq) {
                break;
            }
            let len = slot.len().min(ack - slot.seq);
            let (mark, sent_at) = (slot.mark, slot.sent_at);
            let whole = len == slot.len();
            if !whole {
                slot.pkt_mut().trim_front(len as usize);
                slot.seq += len;
            }
            delivered.acked += len;
            if !mark.sacked {
                delivered.take(at, len, mark, sent_at);
            }
            self.uncount(len, mark);
            if !whole {
                break;
            }
            self.forget(at);
            let pkt = self.list.remove(segs, at);
            pool.free(pkt);
        }
        self.octets -= delivered.acked;
        delivered
    }

    fn uncount(&mut self, len: u32, mark: Mark) {
        self.sacked -= if mark.sacked { len } else { 0 };
        self.lost -= if mark.lost { len } else { 0 };
        self.resent -= if mark.resent { len } else { 0 };
    }

    /// The oldest segment leaves: what pointed to it points to the beginning again.
    fn forget(&mut self, at: FrameIndex) {
        for place in [&mut self.top, &mut self.near, &mut self.judged, &mut self.resend] {
            if *place == at {
                *place = NONE;
            }
        }
    }

    /// Takes over what the blocks of an ACK say. `una` is the ACK's own number; blocks that cannot be true of
    /// `[una, nxt)` are ignored (among them duplicates reported by RFC 2883).
    pub(super) fn sack(&mut self, segs: &mut SegTable, blocks: &SackBlocks, una: Seq, nxt: Seq) -> Delivered {
        let mut delivered = Delivered::default();
        for block in blocks.as_slice() {
            let valid = block.left.before(block.right)
                && block.left.at_or_after(una)
                && block.right.at_or_before(nxt)
                && self.head().is_some();
            if valid {
                self.sack_block(segs, *block, &mut delivered);
            }
        }
        self.seen = *blocks;
        delivered
    }

    fn sack_block(&mut self, segs: &mut SegTable, block: SackBlock, delivered: &mut Delivered) {
        let SackBlock { mut left, mut right } = block;
        for old in self.seen.as_slice() {
            if old.left.at_or_before(left) && left.before(old.right) {
                left = old.right;
            }
            if old.left.before(right) && right.at_or_before(old.right) {
                right = old.left;
            }
        }
        if left.at_or_after(right) {
            return;
        }
        let mut at = self.seek(segs, left);
        while at != NONE && at != self.unsent {
            let slot = segs.slot_mut(at);
            if slot.seq.at_or_after(right) {
                break;
            }
            let covered = slot.seq.at_or_after(block.left) && slot.end().at_or_before(block.right);
            if covered && !slot.mark.sacked {
                let (len, mark, sent_at, seq) = (slot.len(), slot.mark, slot.sent_at, slot.seq);
                slot.mark = Mark { sacked: true, ambiguous: mark.ambiguous, ..Mark::default() };
                delivered.take(at, len, mark, sent_at);
                self.uncount(len, mark);
                self.sacked += len;
                if self.top == NONE || seq.after(segs.slot(self.top).seq) {
                    self.top = at;
                }
            }
            self.near = at;
            at = segs.slot(at).next;
        }
    }

    /// The segment that holds `seq`, found from the nearest known place. The queue is not empty.
    fn seek(&self, segs: &SegTable, seq: Seq) -> FrameIndex {
        let distance = |at: FrameIndex| {
            let start = segs.slot(at).seq;
            seq.since(start).max(start.since(seq))
        };
        let known = [self.list.head, self.top, self.near];
        let nearest = known.into_iter().filter(|&at| at != NONE).min_by_key(|&at| distance(at));
        let mut at = nearest.unwrap_or(NONE);
        while at != NONE && segs.slot(at).seq.after(seq) && segs.slot(at).prev != NONE {
            at = segs.slot(at).prev;
        }
        while at != NONE && segs.slot(at).end().at_or_before(seq) {
            at = segs.slot(at).next;
        }
        at
    }

    /// Judges segments by those SACKed above them: `threshold` of them mean a loss (RFC 6675 §4, IsLost, counted
    /// in segments). True when one more is lost.
    pub(super) fn judge(&mut self, segs: &mut SegTable, threshold: u32) -> bool {
        if self.sacked == 0 || self.top == NONE {
            return false;
        }
        let mut above = 1;
        let mut limit = self.top;
        while above < threshold {
            limit = segs.slot(limit).prev;
            if limit == NONE {
                return false;
            }
            above += u32::from(segs.slot(limit).mark.sacked);
        }
        let limit_seq = segs.slot(limit).seq;
        let before = self.lost;
        let mut at = if self.judged == NONE { self.list.head } else { self.judged };
        while at != NONE && segs.slot(at).seq.before(limit_seq) {
            self.lose(segs, at);
            at = segs.slot(at).next;
        }
        self.judged = at;
        self.lost > before
    }

    fn lose(&mut self, segs: &mut SegTable, at: FrameIndex) {
        let slot = segs.slot_mut(at);
        if !slot.mark.sacked && !slot.mark.lost {
            slot.mark.lost = true;
            self.lost += slot.len();
        }
    }

    /// Holds the oldest segment to be lost: what three duplicate ACKs (RFC 5681) or a partial ACK (RFC 6582)
    /// say. False when nothing is in flight.
    pub(super) fn lose_head(&mut self, segs: &mut SegTable) -> bool {
        let Some(at) = self.head() else { return false };
        let slot = segs.slot_mut(at);
        let len = slot.len();
        if slot.mark.sacked {
            return false;
        }
        if core::mem::take(&mut slot.mark.resent) {
            self.resent -= len;
        }
        self.lose(segs, at);
        self.resend = NONE;
        true
    }

    /// The retransmission timer expired: nothing that was not SACKed counts as on its way. A receiver whose
    /// oldest missing octets it once SACKed has reneged: then nothing of the scoreboard is believed (RFC 2018
    /// §8).
    pub(super) fn lose_all(&mut self, segs: &mut SegTable) {
        let reneged = self.head().is_some_and(|at| segs.slot(at).mark.sacked);
        if reneged {
            self.top = NONE;
            self.sacked = 0;
        }
        (self.lost, self.resent) = (0, 0);
        let mut at = self.list.head;
        while at != NONE && at != self.unsent {
            let slot = segs.slot_mut(at);
            slot.mark.sacked &= !reneged;
            slot.mark.resent = false;
            slot.mark.lost = !slot.mark.sacked;
            if slot.mark.lost {
                self.lost += slot.len();
            }
            at = slot.next;
        }
        self.seen = SackBlocks::default();
        (self.judged, self.resend, self.near) = (NONE, NONE, NONE);
    }

    /// Holds all segments longer than `mss` to be lost: the path turned out to be narrower (RFC 1191 §6.1).
    pub(super) fn lose_longer_than(&mut self, segs: &mut SegTable, mss: u32) {
        let mut at = self.list.head;
        while at != NONE && at != self.unsent {
            if segs.slot(at).len() > mss {
                let slot = segs.slot_mut(at);
                if core::mem::take(&mut slot.mark.resent) {
                    self.resent -= slot.len();
                }
                self.lose(segs, at);
            }
            at = segs.slot(at).next;
        }
        self.resend = NONE;
    }

    /// The loss was a false alarm: everything counts as on its way again.
    pub(super) fn forgive(&mut self, segs: &mut SegTable) {
        let mut at = self.list.head;
        while at != NONE && at != self.unsent && self.lost > 0 {
            let slot = segs.slot_mut(at);
            let len = slot.len();
            self.lost -= if core::mem::take(&mut slot.mark.lost) { len } else { 0 };
            self.resent -= if core::mem::take(&mut slot.mark.resent) { len } else { 0 };
            at = slot.next;
        }
        (self.judged, self.resend) = (NONE, NONE);
    }

    /// The next lost segment to be sent again.
    #[inline]
    pub(super) fn next_lost(&mut self, segs: &SegTable) -> Option<FrameIndex> {
        if self.lost == self.resent {
            return None;
        }
        let mut at = if self.resend == NONE { self.list.head } else { self.resend };
        while at != NONE && at != self.unsent {
            let mark = segs.slot(at).mark;
            if mark.lost && !mark.resent {
                self.resend = at;
                return Some(at);
            }
            at = segs.slot(at).next;
        }
        None
    }

    /// Frees everything.
    pub(super) fn clear(&mut self, segs: &mut SegTable, pool: &mut Pool) {
        while !self.list.is_empty() {
            let pkt = self.list.remove(segs, self.list.head);
            pool.free(pkt);
        }
        *self = Self::new(self.end);
    }
}

/// Appends the bytes of `from` after the first `skip` to `to`, as many as fit; how many that are.
pub(super) fn copy(pool: &mut Pool, from: &Pkt, skip: usize, to: &mut Pkt) -> usize {
    let n = from.len().saturating_sub(skip).min(pool.tailroom(to));
    let end = to.len();
    if pool.copy(from, skip..skip + n, to, end) { n } else { 0 }
}

#[cfg(test)]
mod tests {
    use nic::Arena;
    use proptest::prelude::*;

    use super::*;

    const FIRST: Seq = Seq(u32::MAX - 2000);
    const LEN: u32 = 100;

    /// The same in the plainest form: a list that is walked each time.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Plain {
        sacked: bool,
        lost: bool,
        resent: bool,
    }

    struct Model {
        una: u32,
        segments: Vec<Plain>,
    }

    impl Model {
        fn range(&self) -> core::ops::Range<usize> {
            (self.una / LEN) as usize..self.segments.len()
        }

        fn octets(&self, which: impl Fn(&Plain) -> bool) -> u32 {
            self.range().filter(|&n| which(&self.segments[n])).count() as u32 * LEN
        }

        fn pipe(&self) -> u32 {
            self.octets(|p| !p.sacked && (!p.lost || p.resent))
        }

        fn judge(&mut self) {
            for n in self.range() {
                let above = self.segments[n + 1..].iter().filter(|p| p.sacked).count();
                let p = &mut self.segments[n];
                p.lost |= !p.sacked && above >= 3;
            }
        }
    }

    #[derive(Clone, Debug)]
    enum Event {
        Send,
        Ack(u32),
        Sack(Vec<(u32, u32)>),
        Resend,
        TimeOut,
        LoseHead,
        Forgive,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => Just(Event::Send),
            3 => (0..8u32).prop_map(Event::Ack),
            6 => prop::collection::vec((0..40u32, 1..10u32), 1..5).prop_map(Event::Sack),
            4 => Just(Event::Resend),
            1 => Just(Event::TimeOut),
            1 => Just(Event::LoseHead),
            1 => Just(Event::Forgive),
        ]
    }

    struct Bench {
        pool: Pool,
        segs: SegTable,
        sent: Sent,
        model: Model,
    }

    impl Bench {
        fn send(&mut self) {
            let Some(mut pkt) = self.pool.alloc() else { return };
            let _ = self.pool.append_with(&mut pkt, LEN as usize, |room| Ok::<_, ()>(room.len()));
            self.sent.push(&mut self.segs, pkt);
            self.sent.sent(&mut self.segs, Instant::ZERO);
            self.model.segments.push(Plain::default());
        }

        fn nxt(&self) -> u32 {
            self.model.segments.len() as u32 * LEN
        }

        fn sack(&mut self, ranges: &[(u32, u32)]) {
            let (base, nxt) = (self.model.una / LEN, self.model.segments.len() as u32);
            let mut blocks = SackBlocks::default();
            for &(from, len) in ranges {
                // The oldest is missing, else it were acknowledged.
                let (from, to) = (base + 1 + from, (base + 1 + from + len).min(nxt));
                if from < to {
                    blocks.push(SackBlock { left: FIRST + from * LEN, right: FIRST + to * LEN });
                    if blocks.as_slice().len() as u32 <= 4 {
                        for n in from..to {
                            self.model.segments[n as usize] = Plain { sacked: true, ..Plain::default() };
                        }
                    }
                }
            }
            let (una, nxt) = (FIRST + self.model.una, FIRST + self.nxt());
            self.sent.sack(&mut self.segs, &blocks, una, nxt);
            self.sent.judge(&mut self.segs, 3);
            self.model.judge();
        }

        fn apply(&mut self, event: &Event) {
            match event {
                Event::Send => self.send(),
                Event::Ack(n) => {
                    self.model.una = (self.model.una + n * LEN).min(self.nxt());
                    self.sent.acknowledge(&mut self.segs, &mut self.pool, FIRST + self.model.una);
                }
                Event::Sack(ranges) => self.sack(ranges),
                Event::Resend => {
                    let at = self.sent.next_lost(&self.segs);
                    let want = self.model.range().find(|&n| {
                        let p = self.model.segments[n];
                        p.lost && !p.resent
                    });
                    let got = at.map(|at| ((self.segs.slot(at).seq - FIRST) / LEN) as usize);
                    assert_eq!(got, want, "the next to be resent");
                    if let (Some(at), Some(n)) = (at, want) {
                        self.sent.sent_again(&mut self.segs, at, Instant::ZERO);
                        self.model.segments[n].resent = true;
                    }
                }
                Event::TimeOut => {
                    self.sent.lose_all(&mut self.segs);
                    let reneged = self.model.range().next().is_some_and(|n| self.model.segments[n].sacked);
                    for n in self.model.range() {
                        let p = &mut self.model.segments[n];
                        p.sacked &= !reneged;
                        (p.lost, p.resent) = (!p.sacked, false);
                    }
                }
                Event::Forgive => {
                    self.sent.forgive(&mut self.segs);
                    for p in &mut self.model.segments {
                        (p.lost, p.resent) = (false, false);
                    }
                }
                Event::LoseHead => {
                    self.sent.lose_head(&mut self.segs);
                    if let Some(n) = self.model.range().next() {
                        let p = &mut self.model.segments[n];
                        if !p.sacked {
                            (p.lost, p.resent) = (true, false);
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_scoreboard_is_a_plain_list(events in prop::collection::vec(event(), 1..200)) {
            let mut b = Bench {
                pool: Pool::new(Arena::new(64, 2048).unwrap()),
                segs: SegTable::new(64),
                sent: Sent::new(FIRST),
                model: Model { una: 0, segments: Vec::new() },
            };
            for event in &events {
                b.apply(event);
                let outstanding = b.nxt() - b.model.una;
                prop_assert_eq!(b.sent.sacked, b.model.octets(|p| p.sacked), "{:?}", event);
                prop_assert_eq!(b.sent.lost, b.model.octets(|p| p.lost), "{:?}", event);
                prop_assert_eq!(b.sent.pipe(outstanding), b.model.pipe(), "{:?}", event);
                prop_assert_eq!(b.sent.octets, outstanding);
            }
            b.sent.clear(&mut b.segs, &mut b.pool);
            prop_assert_eq!(b.pool.available(), 64);
        }
    }

    #[test]
    fn a_cut_segment_keeps_its_bytes_and_its_marks() {
        let mut pool = Pool::new(Arena::new(4, 2048).unwrap());
        let mut segs = SegTable::new(4);
        let mut sent = Sent::new(Seq(0));
        let mut pkt = pool.alloc().unwrap();
        let _ = pool.append_with(&mut pkt, 1000, |room| {
            room.iter_mut().enumerate().for_each(|(n, byte)| *byte = n as u8);
            Ok::<_, ()>(1000)
        });
        sent.push(&mut segs, pkt);
        sent.sent(&mut segs, Instant::ZERO);
        sent.lose_all(&mut segs);
        let head = sent.head().unwrap();
        assert!(sent.split(&mut segs, &mut pool, head, 300));
        let behind = segs.slot(head).next;
        assert_eq!((segs.slot(behind).seq, segs.slot(behind).len()), (Seq(300), 700));
        assert!(segs.slot(behind).mark.lost);
        assert_eq!(pool.bytes(segs.slot(behind).pkt())[0], 300u32 as u8);
        assert_eq!(sent.acknowledge(&mut segs, &mut pool, Seq(1000)).acked, 1000);
        assert_eq!((sent.lost, sent.octets, pool.available()), (0, 0, 4));
    }
}
