//! Received datagrams: one slot a frame, linked by frame number, so that no queue allocates.

use core::net::SocketAddr;

use nic::{FrameIndex, Pkt, Pool};

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
            queue.push(&mut table, Waiting { pkt, remote: NOWHERE, local: NOWHERE });
        }
        assert_eq!((queue.len(), queue.charged()), (3, 3 * 577));
        assert!(queue.is_full(3 * 577) && !queue.is_full(3 * 577 + 1));
        assert_eq!(pool.bytes(&queue.front(&table).unwrap().pkt), [0]);
        let first = queue.pop(&mut table).unwrap();
        assert_eq!(pool.bytes(&first.pkt), [0]);
        pool.free(first.pkt);
        queue.clear(&mut table, &mut pool);
        assert!(queue.is_empty() && queue.pop(&mut table).is_none());
        assert_eq!((queue.charged(), pool.available()), (0, 8));
    }
}
