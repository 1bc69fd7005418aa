//! The receive queue: what arrived in order and the application has not read.

use core::ops::Range;

use nic::{Pkt, Pool};

use super::segs::{List, SegTable};
use super::sent::copy;
use crate::error::Fault;
use crate::seq::Seq;

/// Frames that a queue may hold, however little is in them.
const FEW: u32 = 4;
/// Octets a frame should hold on average, if there are more.
const FULL: u32 = 1024;
/// Frames are scarce when less than one in so many is free.
const SCARCE: usize = 2;

/// The receive queue of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inbox {
    list: List,
    /// Octets queued.
    pub(super) octets: u32,
}

impl Inbox {
    /// Queues the payload of a segment. A queue that holds little in many frames, and every queue while frames are
    /// scarce, copies it behind the last one's, if it fits there: the frame is free at once, and however small
    /// the segments are, they cannot pin the pool. (Linux: tcp_try_coalesce, and tcp_collapse under pressure.)
    #[inline]
    pub(super) fn push(&mut self, segs: &mut SegTable, pool: &mut Pool, pkt: Pkt, seq: Seq) {
        self.octets += pkt.len() as u32;
        if !self.list.is_empty() && (self.is_wasteful() || pool.available() < pool.frames() as usize / SCARCE)
        {
            let tail = segs.slot_mut(self.list.tail).pkt_mut();
            if pool.tailroom(tail) >= pkt.len() && !pool.is_lent(tail) {
                copy(pool, &pkt, 0, tail);
                pool.free(pkt);
                return;
            }
        }
        self.list.push(segs, pkt, seq);
    }

    /// Whether the frames hold so little that it is worth a copy to save one.
    #[inline]
    fn is_wasteful(&self) -> bool {
        self.list.count >= FEW && self.octets < self.list.count * FULL
    }

    /// Hands up to `want` octets to `sink` and frees what it took.
    ///
    /// # Errors
    /// Fault, when `sink` refused the first piece.
    pub(super) fn read(
        &mut self,
        segs: &mut SegTable,
        pool: &mut Pool,
        want: usize,
        mut sink: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<usize, Fault> {
        let mut done = 0;
        while done < want && !self.list.is_empty() {
            let slot = segs.slot_mut(self.list.head);
            let len = slot.pkt().len().min(want - done);
            if let Err(fault) = sink(&pool.bytes(slot.pkt())[..len]) {
                return if done > 0 { Ok(done) } else { Err(fault) };
            }
            done += len;
            self.octets -= len as u32;
            slot.pkt_mut().trim_front(len);
            if slot.pkt().is_empty() {
                let pkt = self.list.remove(segs, self.list.head);
                pool.free(pkt);
            }
        }
        Ok(done)
    }

    /// As [`Inbox::read`], but everything stays; the octets of `range`, counted from the next to be read.
    ///
    /// # Errors
    /// As [`Inbox::read`].
    pub(super) fn peek(
        &self,
        segs: &SegTable,
        pool: &Pool,
        range: Range<usize>,
        mut sink: impl FnMut(&[u8]) -> Result<(), Fault>,
    ) -> Result<usize, Fault> {
        let (want, mut skip) = (range.len(), range.start);
        let (mut done, mut at) = (0, self.list.head);
        while done < want && at != super::segs::NONE {
            let bytes = pool.bytes(segs.slot(at).pkt());
            let bytes = &bytes[skip.min(bytes.len())..];
            skip -= skip.min(segs.slot(at).pkt().len());
            let len = bytes.len().min(want - done);
            if len > 0
                && let Err(fault) = sink(&bytes[..len])
            {
                return if done > 0 { Ok(done) } else { Err(fault) };
            }
            done += len;
            at = segs.slot(at).next;
        }
        Ok(done)
    }

    /// Frees everything.
    pub(super) fn clear(&mut self, segs: &mut SegTable, pool: &mut Pool) {
        while !self.list.is_empty() {
            let pkt = self.list.remove(segs, self.list.head);
            pool.free(pkt);
        }
        self.octets = 0;
    }
}

#[cfg(test)]
mod tests {
    use nic::Arena;

    use super::*;

    fn pkt(pool: &mut Pool, bytes: &[u8]) -> Pkt {
        let mut pkt = pool.alloc().unwrap();
        let _ = pool.append_with(&mut pkt, bytes.len(), |room| {
            room.copy_from_slice(bytes);
            Ok::<_, Fault>(bytes.len())
        });
        pkt
    }

    #[test]
    fn small_segments_share_a_frame_and_come_out_in_order() {
        let mut pool = Pool::new(Arena::new(32, 2048).unwrap());
        let mut segs = SegTable::new(32);
        let mut inbox = Inbox::default();
        let stream: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
        for chunk in stream.chunks(100) {
            let k = pkt(&mut pool, chunk);
            inbox.push(&mut segs, &mut pool, k, Seq(0));
        }
        // Three with 100 octets each, one filled up, and the rest.
        assert_eq!((inbox.octets, pool.available()), (3000, 32 - 5));
        let mut seen = Vec::new();
        let peeked = inbox.peek(&segs, &pool, 0..2500, |piece| {
            seen.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(peeked, Ok(2500));
        assert_eq!(seen, stream[..2500]);
        seen.clear();
        while inbox.octets > 0 {
            let read = inbox.read(&mut segs, &mut pool, 700, |piece| {
                seen.extend_from_slice(piece);
                Ok(())
            });
            assert!(read.is_ok());
        }
        assert_eq!(seen, stream);
        assert_eq!(pool.available(), 32);
    }

    #[test]
    fn while_frames_are_scarce_every_segment_joins_the_one_before() {
        let mut pool = Pool::new(Arena::new(8, 2048).unwrap());
        let mut segs = SegTable::new(8);
        let held: Vec<Pkt> = (0..5).map(|_| pool.alloc().unwrap()).collect();
        let mut inbox = Inbox::default();
        for byte in b"one by one" {
            let k = pkt(&mut pool, &[*byte]);
            inbox.push(&mut segs, &mut pool, k, Seq(0));
        }
        assert_eq!((inbox.octets, pool.available()), (10, 2));
        inbox.clear(&mut segs, &mut pool);
        held.into_iter().for_each(|pkt| pool.free(pkt));
    }

    #[test]
    fn a_fault_loses_nothing() {
        let mut pool = Pool::new(Arena::new(2, 2048).unwrap());
        let mut segs = SegTable::new(2);
        let mut inbox = Inbox::default();
        let k = pkt(&mut pool, b"hello");
        inbox.push(&mut segs, &mut pool, k, Seq(0));
        assert_eq!(inbox.read(&mut segs, &mut pool, 9, |_| Err(Fault)), Err(Fault));
        assert_eq!(inbox.octets, 5);
        inbox.clear(&mut segs, &mut pool);
        assert_eq!(pool.available(), 2);
    }
}
