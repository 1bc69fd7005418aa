//! The error queue of a socket with IP_RECVERR: what became of datagrams that did not arrive.

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use nic::{Pkt, Pool};

use crate::time::Instant;
use crate::types::IfaceId;

/// Errors that wait at the most; further ones are dropped, as where Linux's receive buffer is full.
const MOST: usize = 64;

/// An error that waits to be told.
#[derive(Debug)]
pub struct Pending {
    /// The errno.
    pub errno: i32,
    /// `SO_EE_ORIGIN_*`.
    pub origin: u8,
    /// ICMP's type and code.
    pub kind: (u8, u8),
    /// The path MTU, for EMSGSIZE.
    pub info: u32,
    /// Who sent it.
    pub offender: Option<IpAddr>,
    /// Where the datagram was going.
    pub remote: SocketAddr,
    /// The interface the error arrived on.
    pub iface: Option<IfaceId>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// Time to live and type of service of the error's own packet.
    pub hops: (u8, u8),
    /// When it came.
    pub at: Instant,
    /// The frame it came in; its window is what it quotes of the datagram's payload. None for local errors.
    pub quote: Option<Pkt>,
}

/// Errors, oldest first. The room is taken when the option is set, so that no packet makes it grow.
#[derive(Debug)]
pub struct ErrorQueue {
    waiting: VecDeque<Pending>,
}

impl Default for ErrorQueue {
    fn default() -> Self {
        Self { waiting: VecDeque::with_capacity(MOST) }
    }
}

impl ErrorQueue {
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds one. False when there was no room; its frame is free again then.
    pub fn push(&mut self, pool: &mut Pool, error: Pending) -> bool {
        if self.waiting.len() < MOST {
            self.waiting.push_back(error);
            return true;
        }
        error.free(pool);
        false
    }

    /// The oldest.
    pub fn front(&self) -> Option<&Pending> {
        self.waiting.front()
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Pending> {
        self.waiting.pop_front()
    }

    /// Frees all.
    pub fn clear(&mut self, pool: &mut Pool) {
        self.waiting.drain(..).for_each(|e| e.free(pool));
    }
}

impl Pending {
    /// Gives its frame back.
    pub fn free(self, pool: &mut Pool) {
        if let Some(pkt) = self.quote {
            pool.free(pkt);
        }
    }
}

#[cfg(test)]
mod tests {
    use nic::Arena;

    use super::*;

    #[test]
    fn memory_is_bounded_and_frames_come_back() {
        let mut pool = Pool::new(Arena::new(128, 2048).unwrap());
        let mut queue = ErrorQueue::default();
        let remote = SocketAddr::from(([10, 0, 0, 2], 53));
        for n in 0..100 {
            let error = Pending {
                errno: n,
                origin: 2,
                kind: (3, 3),
                info: 0,
                offender: None,
                remote,
                iface: None,
                local: None,
                hops: (64, 0),
                at: Instant::ZERO,
                quote: pool.alloc(),
            };
            assert_eq!(queue.push(&mut pool, error), n < MOST as i32);
        }
        assert_eq!(pool.available(), 128 - MOST);
        assert_eq!(queue.front().map(|e| e.errno), Some(0));
        queue.pop().unwrap().free(&mut pool);
        assert_eq!(queue.front().map(|e| e.errno), Some(1));
        queue.clear(&mut pool);
        assert!(queue.is_empty());
        assert_eq!(pool.available(), 128);
    }
}
