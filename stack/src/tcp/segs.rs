//! Queued segments of all connections: one slot a frame, linked by index, so that no queue allocates.

use nic::{FrameIndex, Pkt};

use super::crumbs::Crumbs;
use super::rack::Xmit;
use super::rate::Stamp;
use crate::seq::Seq;
use crate::time::Instant;

/// No frame.
pub(super) const NONE: FrameIndex = FrameIndex::MAX;

/// What the scoreboard knows of a segment in flight (RFC 6675 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The peer has it, above a hole.
    pub(super) sacked: bool,
    /// Held to be lost.
    pub(super) lost: bool,
    /// Sent again since it was held to be lost, and that copy is in flight.
    pub(super) resent: bool,
    /// Sent more than once at some time: its round trip is ambiguous (Karn).
    pub(super) ambiguous: bool,
}

impl Mark {
    /// Lost, and not sent again yet.
    pub(super) fn is_missing(self) -> bool {
        self.lost && !self.resent
    }
}

/// A queued packet, its place in the sequence space and in its list.
#[derive(Debug)]
pub(super) struct Slot {
    pkt: Option<Pkt>,
    /// Sequence number of the window's first octet.
    pub(super) seq: Seq,
    /// When it was sent last.
    pub(super) sent_at: Instant,
    pub(super) prev: FrameIndex,
    pub(super) next: FrameIndex,
    /// Neighbours in a [`Chain`].
    pub(super) older: FrameIndex,
    pub(super) newer: FrameIndex,
    pub(super) mark: Mark,
}

impl Slot {
    /// A packet that was not sent yet, between two others.
    #[inline]
    fn new(pkt: Pkt, seq: Seq, (prev, next): (FrameIndex, FrameIndex)) -> Self {
        let (sent_at, mark) = (Instant::ZERO, Mark::default());
        Self { pkt: Some(pkt), seq, sent_at, prev, next, older: NONE, newer: NONE, mark }
    }

    /// The packet. Only slots in a list are asked.
    #[inline]
    pub(super) fn pkt(&self) -> &Pkt {
        self.pkt.as_ref().expect("a linked slot holds a packet")
    }

    #[inline]
    pub(super) fn pkt_mut(&mut self) -> &mut Pkt {
        self.pkt.as_mut().expect("a linked slot holds a packet")
    }

    /// Takes the packet out; the list is for the caller to mend.
    #[inline]
    pub(super) fn take(&mut self) -> Pkt {
        self.pkt.take().expect("a linked slot holds a packet")
    }

    /// Whether the scoreboard knows anything of it.
    #[inline]
    pub(super) fn is_marked(&self) -> bool {
        let Mark { sacked, lost, resent, ambiguous } = self.mark;
        // Without a branch for each.
        sacked | lost | resent | ambiguous
    }

    /// Octets queued here.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.pkt().len() as u32
    }

    /// One past the last sequence number.
    #[inline]
    pub(super) fn end(&self) -> Seq {
        self.seq + self.len()
    }

    /// Its place in the order of transmission.
    #[inline]
    pub(super) fn xmit(&self) -> Xmit {
        Xmit { xmit_ts: self.sent_at, end_seq: self.end() }
    }
}

/// One slot for each frame of a pool. Send queues, receive queues and reassembly are lists in it.
#[derive(Debug)]
pub struct SegTable {
    slots: Box<[Slot]>,
    /// What small receive queues hold without a frame.
    pub(super) crumbs: Crumbs,
    /// For rate samples; empty until a connection takes some.
    stamps: Box<[Stamp]>,
}

impl SegTable {
    /// A table for a pool of `frames` frames.
    pub fn new(frames: u32) -> Self {
        let empty = |_| Slot {
            pkt: None,
            seq: Seq(0),
            sent_at: Instant::ZERO,
            prev: NONE,
            next: NONE,
            older: NONE,
            newer: NONE,
            mark: Mark::default(),
        };
        let slots = (0..frames).map(empty).collect();
        Self { slots, crumbs: Crumbs::new(frames), stamps: Box::default() }
    }

    /// Makes room for stamps, if there is none. Not to be called for a packet: it allocates.
    pub(super) fn keep_stamps(&mut self) {
        if self.stamps.is_empty() {
            self.stamps = vec![Stamp::default(); self.slots.len()].into();
        }
    }

    /// The stamp of the segment at `at`.
    pub(super) fn stamp(&self, at: FrameIndex) -> Stamp {
        self.stamps.get(at as usize).copied().unwrap_or_default()
    }

    pub(super) fn set_stamp(&mut self, at: FrameIndex, stamp: Stamp) {
        if let Some(place) = self.stamps.get_mut(at as usize) {
            *place = stamp;
        }
    }

    #[inline]
    pub(super) fn slot(&self, at: FrameIndex) -> &Slot {
        &self.slots[at as usize]
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, at: FrameIndex) -> &mut Slot {
        &mut self.slots[at as usize]
    }
}

/// A doubly linked list of slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) head: FrameIndex,
    pub(super) tail: FrameIndex,
    /// Packets in the list.
    pub(super) count: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, count: 0 }
    }
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Takes the packet in behind `after` (in front of all when that is [`NONE`]).
    pub(super) fn insert(
        &mut self,
        segs: &mut SegTable,
        after: FrameIndex,
        pkt: Pkt,
        seq: Seq,
    ) -> FrameIndex {
        let at = pkt.frame();
        let next = if after == NONE { self.head } else { segs.slot(after).next };
        *segs.slot_mut(at) = Slot::new(pkt, seq, (after, next));
        match after {
            NONE => self.head = at,
            _ => segs.slot_mut(after).next = at,
        }
        match next {
            NONE => self.tail = at,
            _ => segs.slot_mut(next).prev = at,
        }
        self.count += 1;
        at
    }

    /// Takes the packet in at the end.
    #[inline]
    pub(super) fn push(&mut self, segs: &mut SegTable, pkt: Pkt, seq: Seq) -> FrameIndex {
        let (at, after) = (pkt.frame(), self.tail);
        *segs.slot_mut(at) = Slot::new(pkt, seq, (after, NONE));
        match after {
            NONE => self.head = at,
            _ => segs.slot_mut(after).next = at,
        }
        self.tail = at;
        self.count += 1;
        at
    }

    /// Takes the packet at `at` out.
    #[inline]
    pub(super) fn remove(&mut self, segs: &mut SegTable, at: FrameIndex) -> Pkt {
        let slot = segs.slot_mut(at);
        let (prev, next, pkt) = (slot.prev, slot.next, slot.take());
        match prev {
            NONE => self.head = next,
            _ => segs.slot_mut(prev).next = next,
        }
        match next {
            NONE => self.tail = prev,
            _ => segs.slot_mut(next).prev = prev,
        }
        self.count -= 1;
        pkt
    }

    /// The first `n` were taken out of their slots: the list begins with what came behind them.
    #[inline]
    pub(super) fn begin_at(&mut self, segs: &mut SegTable, first: FrameIndex, n: u32) {
        self.head = first;
        self.count -= n;
        match first {
            NONE => self.tail = NONE,
            _ => segs.slot_mut(first).prev = NONE,
        }
    }
}

/// A second order of slots that are in a [`List`]: by when they were sent, say. A slot is in one chain at the most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) first: FrameIndex,
    pub(super) last: FrameIndex,
}

impl Default for Chain {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Chain {
    /// Takes `at` in behind `after` (in front of all when that is [`NONE`]).
    pub(super) fn insert(&mut self, segs: &mut SegTable, after: FrameIndex, at: FrameIndex) {
        let newer = if after == NONE { self.first } else { segs.slot(after).newer };
        let slot = segs.slot_mut(at);
        (slot.older, slot.newer) = (after, newer);
        match after {
            NONE => self.first = at,
            _ => segs.slot_mut(after).newer = at,
        }
        match newer {
            NONE => self.last = at,
            _ => segs.slot_mut(newer).older = at,
        }
    }

    /// Takes `at` in at the end.
    #[inline]
    pub(super) fn push(&mut self, segs: &mut SegTable, at: FrameIndex) {
        self.insert(segs, self.last, at);
    }

    /// Those before `first` were taken out: the chain begins with it.
    #[inline]
    pub(super) fn begin_at(&mut self, segs: &mut SegTable, first: FrameIndex) {
        self.first = first;
        match first {
            NONE => self.last = NONE,
            _ => segs.slot_mut(first).older = NONE,
        }
    }

    /// Takes `at` out.
    #[inline]
    pub(super) fn remove(&mut self, segs: &mut SegTable, at: FrameIndex) {
        let slot = segs.slot_mut(at);
        let (older, newer) = (slot.older, slot.newer);
        (slot.older, slot.newer) = (NONE, NONE);
        match older {
            NONE => self.first = newer,
            _ => segs.slot_mut(older).newer = newer,
        }
        match newer {
            NONE => self.last = older,
            _ => segs.slot_mut(newer).older = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use nic::{Arena, Pool};

    use super::*;

    fn order(list: &List, segs: &SegTable) -> Vec<u32> {
        let mut seen = Vec::new();
        let mut at = list.head;
        while at != NONE {
            seen.push(segs.slot(at).seq.0);
            at = segs.slot(at).next;
        }
        seen
    }

    #[test]
    fn a_list_keeps_its_order_through_insertion_and_removal_anywhere() {
        let mut pool = Pool::new(Arena::new(4, 2048).unwrap());
        let mut segs = SegTable::new(4);
        let mut list = List::default();
        let b = list.push(&mut segs, pool.alloc().unwrap(), Seq(20));
        let d = list.push(&mut segs, pool.alloc().unwrap(), Seq(40));
        let c = list.insert(&mut segs, b, pool.alloc().unwrap(), Seq(30));
        let a = list.insert(&mut segs, NONE, pool.alloc().unwrap(), Seq(10));
        assert_eq!(order(&list, &segs), [10, 20, 30, 40]);
        for (at, left) in [(c, vec![10, 20, 40]), (a, vec![20, 40]), (d, vec![20]), (b, vec![])] {
            pool.free(list.remove(&mut segs, at));
            assert_eq!(order(&list, &segs), left);
        }
        assert!(list.is_empty() && list.tail == NONE && list.count == 0);
        assert_eq!(pool.available(), 4);
    }
}
