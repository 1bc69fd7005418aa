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
    #[inline]
    fn seek(&self, segs: &SegTable, seq: Seq) -> FrameIndex {
        // As nearly always: the newest block has only grown, to the right.
        if self.near[0] != NONE && segs.slot(self.near[0]).seq == seq {
            return self.near[0];
        }
        self.seek_from_nearest(segs, seq)
    }

    #[inline(never)]
    fn seek_from_nearest(&self, segs: &SegTable, seq: Seq) -> FrameIndex {
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
mod tests;
