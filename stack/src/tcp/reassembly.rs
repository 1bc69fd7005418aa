//! Segments that arrived before their turn (RFC 9293 §3.10.7.4, seventh) and what is told of them: SACK
//! (RFC 2018 §4) and duplicates (RFC 2883).

use nic::{FrameIndex, Pkt, Pool};

use super::segs::{List, NONE, SegTable};
use super::sent::copy;
use crate::seq::Seq;
use crate::wire::tcp::{SackBlock, SackBlocks};

/// Out-of-order segments of a connection: sorted, disjoint, all behind RCV.NXT.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reassembly {
    list: List,
    /// Where the last one went: the next is likely its neighbour.
    near: FrameIndex,
    /// The blocks to tell, the most recent first.
    blocks: SackBlocks,
    /// A duplicate that has not been reported; empty: none.
    duplicate: SackBlock,
}

impl Default for Reassembly {
    fn default() -> Self {
        Self {
            list: List::default(),
            near: NONE,
            blocks: SackBlocks::default(),
            duplicate: SackBlock::default(),
        }
    }
}

impl Reassembly {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Packets held.
    pub(super) fn frames(&self) -> u32 {
        self.list.count
    }

    /// Reports `[left, right)` as received twice.
    pub(super) fn note_duplicate(&mut self, left: Seq, right: Seq) {
        if left.before(right) {
            self.duplicate = SackBlock { left, right };
        }
    }

    fn has_duplicate(&self) -> bool {
        self.duplicate.left != self.duplicate.right
    }

    /// Whether an ACK has blocks to carry.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.has_duplicate() || !self.blocks.is_empty()
    }

    /// The blocks for the next ACK. A duplicate is told once, first (RFC 2883 §4).
    pub(super) fn report(&mut self) -> SackBlocks {
        let mut report = SackBlocks::default();
        if self.has_duplicate() {
            report.push(core::mem::take(&mut self.duplicate));
        }
        for block in self.blocks.as_slice() {
            report.push(*block);
        }
        report
    }

    /// Keeps `pkt`, whose first octet is `seq`, behind RCV.NXT; what is known already is cut off, and the first of
    /// it reported (RFC 2883 §4.2).
    pub(super) fn insert(&mut self, segs: &mut SegTable, pool: &mut Pool, mut pkt: Pkt, mut seq: Seq) {
        let (left, right) = (seq, seq + pkt.len() as u32);
        let after = self.seek(segs, seq);
        let mut twice = None;
        if after != NONE {
            let known = segs.slot(after).end().since(seq);
            if known >= pkt.len() as u32 {
                self.note_duplicate(left, right);
                self.tell(segs, after, left, right);
                pool.free(pkt);
                return;
            }
            twice = (known > 0).then_some((seq, seq + known));
            pkt.trim_front(known as usize);
            seq += known;
        }
        let swallowed = self.swallow(segs, pool, after, right);
        let next = if after == NONE { self.list.head } else { segs.slot(after).next };
        let mut cut = None;
        if next != NONE {
            let start = segs.slot(next).seq;
            cut = start.before(right).then_some((start, right));
            pkt.truncate((start - seq) as usize);
        }
        if let Some((left, right)) = twice.or(swallowed).or(cut) {
            self.note_duplicate(left, right);
        }
        if pkt.is_empty() {
            self.tell(segs, after, left, right);
            pool.free(pkt);
            return;
        }
        if after != NONE && segs.slot(after).end() == seq {
            let tail = segs.slot_mut(after).pkt_mut();
            if pool.tailroom(tail) >= pkt.len() && !pool.is_lent(tail) {
                copy(pool, &pkt, 0, tail);
                pool.free(pkt);
                self.tell(segs, after, left, right);
                return;
            }
        }
        self.near = self.list.insert(segs, after, pkt, seq);
        self.tell(segs, self.near, left, right);
    }

    /// Frees segments behind `after` that end at or before `right`: the new one covers them. The first of them.
    fn swallow(
        &mut self,
        segs: &mut SegTable,
        pool: &mut Pool,
        after: FrameIndex,
        right: Seq,
    ) -> Option<(Seq, Seq)> {
        let mut first = None;
        loop {
            let next = if after == NONE { self.list.head } else { segs.slot(after).next };
            if next == NONE || segs.slot(next).end().after(right) {
                return first;
            }
            first = first.or(Some((segs.slot(next).seq, segs.slot(next).end())));
            self.drop_at(segs, pool, next);
        }
    }

    fn drop_at(&mut self, segs: &mut SegTable, pool: &mut Pool, at: FrameIndex) {
        if self.near == at {
            self.near = NONE;
        }
        let pkt = self.list.remove(segs, at);
        pool.free(pkt);
    }

    /// The last segment that begins at or before `seq`; [`NONE`] when all begin later.
    fn seek(&self, segs: &SegTable, seq: Seq) -> FrameIndex {
        let mut at = if self.near == NONE { self.list.tail } else { self.near };
        while at != NONE && segs.slot(at).seq.after(seq) {
            at = segs.slot(at).prev;
        }
        let mut next = if at == NONE { self.list.head } else { segs.slot(at).next };
        while next != NONE && segs.slot(next).seq.at_or_before(seq) {
            at = next;
            next = segs.slot(at).next;
        }
        at
    }

    /// Adds a range, which `at` holds (or ends before), to the blocks: it comes first, joined with all that touch
    /// it (RFC 2018 §4).
    fn tell(&mut self, segs: &SegTable, at: FrameIndex, left: Seq, right: Seq) {
        let mut first = self.contiguous(segs, at, SackBlock { left, right });
        // Joining one block may reach another that did not touch before: go round until nothing changes.
        let mut others = self.blocks;
        loop {
            let (before, mut apart) = (first, SackBlocks::default());
            for block in others.as_slice() {
                if block.left.at_or_before(first.right) && first.left.at_or_before(block.right) {
                    first.left = first.left.min(block.left);
                    first.right = first.right.max(block.right);
                } else {
                    apart.push(*block);
                }
            }
            others = apart;
            if before == first {
                break;
            }
        }
        let mut blocks = SackBlocks::default();
        blocks.push(first);
        for block in others.as_slice() {
            blocks.push(*block);
        }
        self.blocks = blocks;
    }

    /// `range` with all that is kept next to it on either side. (What the blocks have forgotten is looked up; what
    /// they know is joined by [`tell`](Self::tell).)
    fn contiguous(&self, segs: &SegTable, at: FrameIndex, range: SackBlock) -> SackBlock {
        let SackBlock { mut left, mut right } = range;
        let known = |edge: Seq| {
            self.blocks.as_slice().iter().any(|b| b.left.at_or_before(edge) && edge.at_or_before(b.right))
        };
        let mut prev = at;
        while prev != NONE && segs.slot(prev).end().at_or_after(left) && !known(left) {
            left = left.min(segs.slot(prev).seq);
            prev = segs.slot(prev).prev;
        }
        let mut next = at;
        while next != NONE && segs.slot(next).seq.at_or_before(right) && !known(right) {
            right = right.max(segs.slot(next).end());
            next = segs.slot(next).next;
        }
        SackBlock { left, right }
    }

    /// The next segment that is in order now, cut to begin at `nxt`. Call until it says none, with RCV.NXT
    /// moved on each time.
    pub(super) fn take(&mut self, segs: &mut SegTable, pool: &mut Pool, nxt: Seq) -> Option<Pkt> {
        loop {
            let at = self.list.head;
            if at == NONE || segs.slot(at).seq.after(nxt) {
                return None;
            }
            let known = nxt - segs.slot(at).seq;
            if known >= segs.slot(at).len() {
                self.drop_at(segs, pool, at);
                continue;
            }
            if self.near == at {
                self.near = NONE;
            }
            let mut pkt = self.list.remove(segs, at);
            pkt.trim_front(known as usize);
            return Some(pkt);
        }
    }

    /// RCV.NXT moved: forgets the blocks before it.
    pub(super) fn moved(&mut self, nxt: Seq) {
        let mut blocks = SackBlocks::default();
        for block in self.blocks.as_slice() {
            if block.right.after(nxt) {
                blocks.push(*block);
            }
        }
        self.blocks = blocks;
    }

    /// Frees everything.
    pub(super) fn clear(&mut self, segs: &mut SegTable, pool: &mut Pool) {
        while !self.list.is_empty() {
            self.drop_at(segs, pool, self.list.head);
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use nic::Arena;
    use proptest::prelude::*;

    use super::*;

    const BASE: u32 = u32::MAX - 300;

    fn octet(n: u32) -> u8 {
        (n ^ (n >> 8)) as u8
    }

    fn pkt(pool: &mut Pool, from: u32, len: u32) -> Pkt {
        let mut pkt = pool.alloc().unwrap();
        let _ = pool.append_with(&mut pkt, len as usize, |room| {
            room.iter_mut().enumerate().for_each(|(n, byte)| *byte = octet(from + n as u32));
            Ok::<_, ()>(room.len())
        });
        pkt
    }

    proptest! {
        /// Whatever arrives in whatever order: what comes out is what a bitmap says, with the right bytes, and
        /// the blocks are true.
        #[test]
        fn it_is_a_bitmap(ranges in prop::collection::vec((1..700u32, 1..120u32), 1..60)) {
            let mut pool = Pool::new(Arena::new(128, 2048).unwrap());
            let mut segs = SegTable::new(128);
            let mut r = Reassembly::default();
            let mut have = vec![false; 1000];
            for &(from, len) in &ranges {
                let k = pkt(&mut pool, from, len);
                r.insert(&mut segs, &mut pool, k, Seq(BASE) + from);
                have[from as usize..(from + len) as usize].fill(true);
                let first = r.report();
                let has = |b: &SackBlock| (b.left - Seq(BASE)..b.right - Seq(BASE)).all(|n| have[n as usize]);
                prop_assert!(first.as_slice().iter().all(has), "{:?}", first);
                // RFC 2018 §4: the first block (behind a duplicate's) holds the segment that just came.
                let holds = |b: &SackBlock| {
                    b.left.at_or_before(Seq(BASE) + from) && b.right.at_or_after(Seq(BASE) + from + len)
                };
                prop_assert!(first.as_slice().iter().take(2).any(holds), "{:?} {} {}", first, from, len);
                // All of what is contiguous with it.
                let ends = |b: &SackBlock| {
                    let (l, r) = ((b.left - Seq(BASE)) as usize, (b.right - Seq(BASE)) as usize);
                    !have[l - 1] && !have[r]
                };
                prop_assert!(first.as_slice().iter().take(2).any(|b| holds(b) && ends(b)), "{:?}", first);
            }
            let mut nxt = 0;
            while nxt < 1000 {
                let got = r.take(&mut segs, &mut pool, Seq(BASE) + nxt);
                prop_assert_eq!(got.is_some(), have[nxt as usize], "at {}", nxt);
                match got {
                    None => nxt += 1,
                    Some(k) => {
                        for &byte in pool.bytes(&k) {
                            prop_assert!(have[nxt as usize]);
                            prop_assert_eq!(byte, octet(nxt));
                            nxt += 1;
                        }
                        pool.free(k);
                    }
                }
                r.moved(Seq(BASE) + nxt);
            }
            prop_assert!(r.is_empty());
            prop_assert_eq!(pool.available(), 128);
        }
    }
}
