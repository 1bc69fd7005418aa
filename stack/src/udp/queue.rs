//! Received datagrams: one slot a frame, linked by frame number, so that no queue allocates.

use core::net::SocketAddr;

use nic::{FrameIndex, Pkt, Pool};

use crate::time::Instant;
use crate::types::IfaceId;

const NONE: FrameIndex = FrameIndex::MAX;

/// What a datagram costs its socket's receive buffer besides its payload, in bytes; about what Linux charges.
const OVERHEAD: usize = 576;

/// A datagram that waits; the packet's window is exactly its payload.
#[derive(Debug)]
pub struct Waiting {
    /// The frame.
    pub pkt: Pkt,
    /// Who sent it.
    pub remote: SocketAddr,
    /// Where it was sent to.
    pub local: SocketAddr,
    /// The interface it arrived on.
    pub iface: IfaceId,
    /// Time to live, or hop limit, as it arrived.
    pub ttl: u8,
    /// Type of service, or traffic class, as it arrived.
    pub tos: u8,
    /// When it arrived.
    pub at: Instant,
    /// What its socket had dropped by then.
    pub drops: u32,
}

impl Waiting {
    /// Whether it may ride in one train with `first` (UDP_GRO): the same ends, the same header fields.
    pub fn follows(&self, first: &Waiting) -> bool {
        (self.remote, self.local, self.ttl, self.tos) == (first.remote, first.local, first.ttl, first.tos)
    }

    /// A copy in a frame of its own; none when there is no frame.
    pub fn twin(&self, pool: &mut Pool) -> Option<Waiting> {
        let mut pkt = pool.alloc()?;
        if !pool.copy(&self.pkt, 0..self.pkt.len(), &mut pkt, 0) {
            pool.free(pkt);
            return None;
        }
        let Waiting { remote, local, iface, ttl, tos, at, drops, .. } = *self;
        Some(Waiting { pkt, remote, local, iface, ttl, tos, at, drops })
    }
}

#[derive(Debug)]
struct Slot {
    waiting: Option<Waiting>,
    next: FrameIndex,
}

/// One slot for each frame of a pool.
#[derive(Debug)]
pub struct DatagramTable {
    slots: Box<[Slot]>,
}

impl DatagramTable {
    /// A table for a pool of `frames` frames.
    pub fn new(frames: u32) -> Self {
        Self { slots: (0..frames).map(|_| Slot { waiting: None, next: NONE }).collect() }
    }
}

/// The datagrams that wait on one socket, oldest first.
#[derive(Debug)]
pub struct Queue {
    head: FrameIndex,
    tail: FrameIndex,
    charged: usize,
    count: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, charged: 0, count: 0 }
    }
}

impl Queue {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.head == NONE
    }

    /// Datagrams that wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the receive buffer of `limit` bytes is used up. A datagram is let in as long as it is not, as
    /// in Linux, so that one always fits.
    pub fn is_full(&self, limit: usize) -> bool {
        self.charged >= limit
    }

    /// Bytes charged to the receive buffer.
    pub fn charged(&self) -> usize {
        self.charged
    }

    /// Adds a datagram.
    pub fn push(&mut self, table: &mut DatagramTable, waiting: Waiting) {
        let at = waiting.pkt.frame();
        self.charged += waiting.pkt.len() + OVERHEAD;
        self.count += 1;
        table.slots[at as usize] = Slot { waiting: Some(waiting), next: NONE };
        match self.tail {
            NONE => self.head = at,
            tail => table.slots[tail as usize].next = at,
        }
        self.tail = at;
    }

    /// The oldest datagram.
    pub fn front<'t>(&self, table: &'t DatagramTable) -> Option<&'t Waiting> {
        table.slots.get(self.head as usize)?.waiting.as_ref()
    }

    /// All that wait, oldest first.
    pub fn iter<'t>(&self, table: &'t DatagramTable) -> impl Iterator<Item = &'t Waiting> {
        let mut at = self.head;
        core::iter::from_fn(move || {
            let slot = table.slots.get(at as usize)?;
            at = slot.next;
            slot.waiting.as_ref()
        })
    }

    /// Takes the oldest datagram.
    pub fn pop(&mut self, table: &mut DatagramTable) -> Option<Waiting> {
        let slot = table.slots.get_mut(self.head as usize)?;
        let waiting = slot.waiting.take()?;
        self.head = slot.next;
        if self.head == NONE {
            self.tail = NONE;
        }
        self.charged -= waiting.pkt.len() + OVERHEAD;
        self.count -= 1;
        Some(waiting)
    }

    /// Frees everything that waits.
    pub fn clear(&mut self, table: &mut DatagramTable, pool: &mut Pool) {
        while let Some(waiting) = self.pop(table) {
            pool.free(waiting.pkt);
        }
    }
}

#[cfg(test)]
mod tests {
    use nic::Arena;

    use super::*;
    use core::net::{IpAddr, Ipv4Addr};

    const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

    fn waiting(pkt: Pkt) -> Waiting {
        let (remote, local, iface, at) = (NOWHERE, NOWHERE, IfaceId(1), Instant::ZERO);
        Waiting { pkt, remote, local, iface, ttl: 64, tos: 0, at, drops: 0 }
    }

    #[test]
    fn a_copy_is_equal_and_has_a_frame_of_its_own() {
        let mut pool = Pool::new(Arena::new(3, 2048).unwrap());
        let mut pkt = pool.alloc().unwrap();
        let bytes: Vec<u8> = (0..1000).map(|n| n as u8).collect();
        let _ = pool.append_with(&mut pkt, 1000, |room| {
            room.copy_from_slice(&bytes);
            Ok::<_, ()>(1000)
        });
        let first = waiting(pkt);
        let second = first.twin(&mut pool).unwrap();
        assert!(second.pkt.frame() != first.pkt.frame() && second.follows(&first));
        assert_eq!(pool.bytes(&second.pkt), bytes);
        let third = first.twin(&mut pool).unwrap();
        assert!(first.twin(&mut pool).is_none());
        [first, second, third].into_iter().for_each(|w| pool.free(w.pkt));
        assert_eq!(pool.available(), 3);
    }

    #[test]
    fn first_in_first_out_and_all_frames_come_back() {
        let mut pool = Pool::new(Arena::new(8, 2048).unwrap());
        let mut table = DatagramTable::new(8);
        let mut queue = Queue::default();
        for n in 0..3u8 {
            let mut pkt = pool.alloc().unwrap();
            let _ = pool.append_with(&mut pkt, 1, |b| {
                b[0] = n;
                Ok::<_, ()>(1)
            });
            queue.push(&mut table, waiting(pkt));
        }
        assert_eq!((queue.len(), queue.charged()), (3, 3 * 577));
        assert!(queue.is_full(3 * 577) && !queue.is_full(3 * 577 + 1));
        assert_eq!(pool.bytes(&queue.front(&table).unwrap().pkt), [0]);
        let all: Vec<u8> = queue.iter(&table).map(|w| pool.bytes(&w.pkt)[0]).collect();
        assert_eq!(all, [0, 1, 2]);
        let first = queue.pop(&mut table).unwrap();
        assert_eq!(pool.bytes(&first.pkt), [0]);
        pool.free(first.pkt);
        queue.clear(&mut table, &mut pool);
        assert!(queue.is_empty() && queue.pop(&mut table).is_none());
        assert_eq!((queue.charged(), pool.available()), (0, 8));
    }
}
