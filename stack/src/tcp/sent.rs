//! The send queue: what the application wrote and the peer has not acknowledged, oldest first. What is known of
//! the part in flight is in `scoreboard`.
//!
//! ```text
//! head ──────── in flight ────────▶ unsent ──── not sent yet ────▶ tail        end
//! ```
//!
//! Sums are kept, so that nothing is counted over the window, and what has to be looked for in another order than
//! that of the list is chained in that order.

use nic::{FrameIndex, Pkt, Pool};

use super::rack::Xmit;
use super::scoreboard::{join, run_end};
use super::segs::{Chain, List, Mark, NONE, SegTable};
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::tcp::SACK_BLOCKS;

/// Octets of some segments, and how many they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) octets: u32,
    pub(super) segments: u32,
}

impl Tally {
    pub(super) fn add(&mut self, len: u32) {
        self.octets += len;
        self.segments += 1;
    }

    pub(super) fn sub(&mut self, len: u32) {
        self.octets -= len;
        self.segments -= 1;
    }
}

/// The send queue of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) list: List,
    /// First segment that was never sent.
    pub(super) unsent: FrameIndex,
    /// One past the last octet queued.
    pub(super) end: Seq,
    /// Octets queued.
    pub(super) octets: u32,
    /// Segments that were sent.
    pub(super) segments: u32,
    /// In flight once, and the peer has it, above a hole.
    pub(super) sacked: Tally,
    /// Held to be lost.
    pub(super) lost: Tally,
    /// Those of the lost that are in flight again.
    pub(super) resent: Tally,
    /// What is held to be on its way, by the time at which it was sent: neither SACKed nor in `missing`.
    pub(super) flight: Chain,
    /// What is lost and was not sent again yet, by sequence number.
    pub(super) missing: Chain,
    /// Where the SACK blocks of the last ACK begin: the next ones are near them.
    pub(super) near: [FrameIndex; SACK_BLOCKS],
}

/// What an acknowledgment brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(super) latest: Option<(FrameIndex, Instant)>,
    /// The same, copies left out that were sent too late to be what is acknowledged.
    pub(super) newest: Option<Xmit>,
    /// When `newest` was sent, if that was the only time.
    pub(super) newest_once: Option<Instant>,
    /// Where the lowest one ends that was sent once only.
    pub(super) original: Option<Seq>,
    /// One past the highest.
    pub(super) highest: Option<Seq>,
    /// Copies sent later than this cannot have been answered yet.
    answered: Instant,
}

impl Delivered {
    /// Nothing yet, in an ACK that can only answer copies sent by `answered`.
    pub(super) fn new(answered: Instant) -> Self {
        Self {
            acked: 0,
            octets: 0,
            sent_at: None,
            ambiguous: false,
            latest: None,
            newest: None,
            newest_once: None,
            original: None,
            highest: None,
            answered,
        }
    }

    /// From here on copies sent by `answered` are believed.
    pub(super) fn believe(&mut self, answered: Instant) {
        self.answered = answered;
    }

    /// `len` octets of the segment at `at` are acknowledged for the first time.
    #[inline]
    pub(super) fn take(&mut self, at: FrameIndex, len: u32, mark: Mark, xmit: Xmit) {
        self.octets += len;
        let Xmit { xmit_ts, end_seq } = xmit;
        if self.latest.is_none_or(|(_, latest)| xmit_ts >= latest) {
            self.latest = Some((at, xmit_ts));
        }
        self.highest = Some(self.highest.map_or(end_seq, |high| high.max(end_seq)));
        if mark.ambiguous {
            self.ambiguous = true;
            if xmit_ts > self.answered {
                return;
            }
        } else {
            self.sent_at = self.sent_at.or(Some(xmit_ts));
            self.newest_once = self.newest_once.max(Some(xmit_ts));
            self.original = Some(self.original.map_or(end_seq, |low| low.min(end_seq)));
        }
        if self.newest.is_none_or(|newest| xmit.after(newest)) {
            self.newest = Some(xmit);
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
            segments: 0,
            sacked: Tally::default(),
            lost: Tally::default(),
            resent: Tally::default(),
            flight: Chain::default(),
            missing: Chain::default(),
            near: [NONE; SACK_BLOCKS],
        }
    }

    /// Packets in the queue.
    pub(super) fn frames(&self) -> u32 {
        self.list.count
    }

    /// The oldest segment, if it was sent.
    #[inline]
    pub(super) fn head(&self) -> Option<FrameIndex> {
        (self.list.head != NONE && self.list.head != self.unsent).then_some(self.list.head)
    }

    /// The youngest segment that was sent: the highest, not the one sent last.
    pub(super) fn last_sent(&self, segs: &SegTable) -> Option<FrameIndex> {
        let at = if self.unsent == NONE { self.list.tail } else { segs.slot(self.unsent).prev };
        (at != NONE).then_some(at)
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
        let at = self.unsent;
        let slot = segs.slot_mut(at);
        slot.sent_at = now;
        self.unsent = slot.next;
        self.segments += 1;
        self.flight.push(segs, at);
    }

    /// The segment at `at` went out again.
    pub(super) fn sent_again(&mut self, segs: &mut SegTable, at: FrameIndex, now: Instant) {
        let slot = segs.slot_mut(at);
        let (mark, len) = (slot.mark, slot.len());
        slot.mark.ambiguous = true;
        if mark.sacked {
            return;
        }
        slot.sent_at = now;
        if mark.is_missing() {
            slot.mark.resent = true;
            self.resent.add(len);
            self.missing.remove(segs, at);
        } else {
            self.flight.remove(segs, at);
        }
        self.flight.push(segs, at);
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
        // Unsent ones are on the right of the first unsent one: `at` itself then, or behind it.
        if self.unsent == NONE || segs.slot(behind).seq.before(segs.slot(self.unsent).seq) {
            self.segments += 1;
            self.sacked.segments += u32::from(mark.sacked);
            self.lost.segments += u32::from(mark.lost);
            self.resent.segments += u32::from(mark.resent);
            if let Some(chain) = self.chain_of(mark) {
                chain.insert(segs, at, behind);
            } else {
                self.lengthen_run(segs, at, behind);
            }
        }
        true
    }

    /// Lengthens the first unsent segment to `len` octets with what waits behind it. None when there is not enough, or
    /// its frame does not hold them.
    pub(super) fn gather(&mut self, segs: &mut SegTable, pool: &mut Pool, len: u32) -> Option<FrameIndex> {
        let at = self.next_unsent()?;
        loop {
            let slot = segs.slot(at);
            let (missing, next) = (len.saturating_sub(slot.len()), slot.next);
            if missing == 0 {
                return Some(at);
            }
            if next == NONE || (pool.tailroom(slot.pkt()) as u32) < missing {
                return None;
            }
            let seq = segs.slot(next).seq;
            let mut rest = self.list.remove(segs, next);
            let n = rest.len().min(missing as usize);
            let to = segs.slot_mut(at).pkt_mut();
            let end = to.len();
            let moved = pool.copy(&rest, 0..n, to, end);
            rest.trim_front(if moved { n } else { 0 });
            if rest.is_empty() {
                pool.free(rest);
            } else {
                self.list.insert(segs, at, rest, if moved { seq + n as u32 } else { seq });
            }
            if !moved {
                return None;
            }
        }
    }

    /// `behind` was cut off the SACKed segment at `at`.
    fn lengthen_run(&mut self, segs: &mut SegTable, at: FrameIndex, behind: FrameIndex) {
        let next = segs.slot(behind).next;
        if next == NONE || !segs.slot(next).mark.sacked {
            let first = segs.slot(at).older;
            join(segs, first, behind);
        }
    }

    /// Where a sent segment with this mark is chained.
    pub(super) fn chain_of(&mut self, mark: Mark) -> Option<&mut Chain> {
        match (mark.sacked, mark.is_missing()) {
            (true, _) => None,
            (_, true) => Some(&mut self.missing),
            _ => Some(&mut self.flight),
        }
    }

    /// Everything before `ack` has arrived.
    #[inline]
    pub(super) fn acknowledge(
        &mut self,
        segs: &mut SegTable,
        pool: &mut Pool,
        ack: Seq,
        delivered: &mut Delivered,
    ) {
        while let Some(at) = self.head() {
            let slot = segs.slot_mut(at);
            if ack.at_or_before(slot.seq) {
                break;
            }
            let len = slot.len().min(ack - slot.seq);
            let (mark, xmit) = (slot.mark, slot.xmit());
            let whole = len == slot.len();
            if !whole {
                slot.pkt_mut().trim_front(len as usize);
                slot.seq += len;
            }
            delivered.acked += len;
            if !mark.sacked {
                delivered.take(at, len, mark, Xmit { end_seq: xmit.end_seq.min(ack), ..xmit });
            }
            if !whole {
                self.shrink(len, mark);
                break;
            }
            self.uncount(len, mark);
            self.segments -= 1;
            if let Some(chain) = self.chain_of(mark) {
                chain.remove(segs, at);
            } else if run_end(segs, at) != at {
                // The run begins with the next one now.
                let (next, last) = (segs.slot(at).next, run_end(segs, at));
                join(segs, next, last);
            }
            self.forget(at);
            let pkt = self.list.remove(segs, at);
            pool.free(pkt);
        }
        self.octets -= delivered.acked;
    }

    /// The `n` oldest segments, of so many octets, have arrived. They are in no sum, and the oldest in the order of
    /// transmission too.
    #[inline]
    pub(super) fn pop(&mut self, segs: &mut SegTable, pool: &mut Pool, n: u32, octets: u32) {
        let (mut next, mut newer) = (self.list.head, self.flight.first);
        for _ in 0..n {
            let slot = segs.slot_mut(next);
            let pkt = slot.take();
            (next, newer) = (slot.next, slot.newer);
            pool.free(pkt);
        }
        // What points to one of them points to the beginning again; nothing is SACKed that could be near.
        self.near = [NONE; SACK_BLOCKS];
        self.list.begin_at(segs, next, n);
        self.flight.begin_at(segs, newer);
        self.segments -= n;
        self.octets -= octets;
    }

    /// A whole segment with this mark leaves the sums.
    pub(super) fn uncount(&mut self, len: u32, mark: Mark) {
        for (holds, tally) in self.tallies(mark) {
            if holds {
                tally.sub(len);
            }
        }
    }

    /// A segment with this mark lost its first octets.
    fn shrink(&mut self, len: u32, mark: Mark) {
        for (holds, tally) in self.tallies(mark) {
            tally.octets -= if holds { len } else { 0 };
        }
    }

    fn tallies(&mut self, mark: Mark) -> [(bool, &mut Tally); 3] {
        [(mark.sacked, &mut self.sacked), (mark.lost, &mut self.lost), (mark.resent, &mut self.resent)]
    }

    /// The oldest segment leaves: what pointed to it points to the beginning again.
    fn forget(&mut self, at: FrameIndex) {
        for place in &mut self.near {
            if *place == at {
                *place = NONE;
            }
        }
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
