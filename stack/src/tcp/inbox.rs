//! The receive queue: what arrived in order and the application has not read.

use core::ops::Range;

use nic::{Pkt, Pool};

use super::crumbs;
use super::segs::{List, NONE, SegTable};
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbox {
    list: List,
    /// Octets queued.
    pub(super) octets: u32,
    /// The cell that holds the first of them, when they came while frames were scarce.
    crumb: u32,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { list: List::default(), octets: 0, crumb: NONE }
    }
}

impl Inbox {
    /// Queues the payload of a segment. A queue that holds little in many frames, and every queue while frames are
    /// scarce, copies it behind the last one's, if it fits there: the frame is free at once, and however small
    /// the segments are, they cannot pin the pool. (Linux: tcp_try_coalesce, and tcp_collapse under pressure.)
    #[inline(always)]
    pub(super) fn push(&mut self, segs: &mut SegTable, pool: &mut Pool, pkt: Pkt, seq: Seq) {
        self.octets += pkt.len() as u32;
        let scarce = pool.available() < pool.frames() as usize / SCARCE;
        if self.list.is_empty() {
            if scarce && pkt.len() <= crumbs::SIZE && self.push_crumb(segs, pool.bytes(&pkt)) {
                return pool.free(pkt);
            }
        } else if (scarce || self.is_wasteful()) && self.joins_last(segs, pool, &pkt) {
            return pool.free(pkt);
        }
        self.list.push(segs, pkt, seq);
    }

    /// Copies a payload behind the last one's. False when it does not fit there.
    #[inline(never)]
    fn joins_last(&self, segs: &mut SegTable, pool: &mut Pool, pkt: &Pkt) -> bool {
        let tail = segs.slot_mut(self.list.tail).pkt_mut();
        let fits = pool.tailroom(tail) >= pkt.len() && !pool.is_lent(tail);
        if fits {
            copy(pool, pkt, 0, tail);
        }
        fits
    }

    /// Keeps a little outside of frames. False when there is no place for it.
    #[inline(never)]
    fn push_crumb(&mut self, segs: &mut SegTable, bytes: &[u8]) -> bool {
        if self.crumb != NONE {
            return segs.crumbs.append(self.crumb, bytes);
        }
        match segs.crumbs.keep(bytes) {
            Some(at) => self.crumb = at,
            None => return false,
        }
        true
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
        if self.crumb != NONE && want > 0 {
            let bytes = segs.crumbs.bytes(self.crumb);
            let len = bytes.len().min(want);
            sink(&bytes[..len])?;
            done = len;
            self.octets -= len as u32;
            if segs.crumbs.read(self.crumb, len) {
                self.crumb = NONE;
            }
        }
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
        let mut crumb = self.crumb;
        while done < want && (crumb != NONE || at != NONE) {
            let whole = match core::mem::replace(&mut crumb, NONE) {
                NONE => {
                    let slot = segs.slot(at);
                    at = slot.next;
                    pool.bytes(slot.pkt())
                }
                cell => segs.crumbs.bytes(cell),
            };
            let bytes = &whole[skip.min(whole.len())..];
            skip -= skip.min(whole.len());
            let len = bytes.len().min(want - done);
            if len > 0
                && let Err(fault) = sink(&bytes[..len])
            {
                return if done > 0 { Ok(done) } else { Err(fault) };
            }
            done += len;
        }
        Ok(done)
    }

    /// Frees everything.
    pub(super) fn clear(&mut self, segs: &mut SegTable, pool: &mut Pool) {
        while !self.list.is_empty() {
            let pkt = self.list.remove(segs, self.list.head);
            pool.free(pkt);
        }
        if self.crumb != NONE {
            segs.crumbs.release(self.crumb);
            self.crumb = NONE;
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
        let say = |inbox: &mut Inbox, pool: &mut Pool, segs: &mut SegTable, bytes: &[u8]| {
            let k = pkt(pool, bytes);
            inbox.push(segs, pool, k, Seq(0));
        };
        for byte in b"one by one" {
            say(&mut inbox, &mut pool, &mut segs, &[*byte]);
        }
        // A little needs no frame at all.
        assert_eq!((inbox.octets, pool.available()), (10, 3));
        say(&mut inbox, &mut pool, &mut segs, &[b'.'; 1000]);
        say(&mut inbox, &mut pool, &mut segs, b"!");
        assert_eq!((inbox.octets, pool.available()), (1011, 2));
        let mut seen = Vec::new();
        let peeked = inbox.peek(&segs, &pool, 4..1011, |piece| {
            seen.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!((peeked, &seen[..8], seen.last()), (Ok(1007), &b"by one.."[..], Some(&b'!')));
        let read = inbox.read(&mut segs, &mut pool, 4, |piece| {
            assert_eq!(piece, b"one ");
            Ok(())
        });
        assert_eq!((read, inbox.octets), (Ok(4), 1007));
        seen.clear();
        let read = inbox.read(&mut segs, &mut pool, 2000, |piece| {
            seen.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!((read, &seen[..8], pool.available()), (Ok(1007), &b"by one.."[..], 3));
        say(&mut inbox, &mut pool, &mut segs, b"again");
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
