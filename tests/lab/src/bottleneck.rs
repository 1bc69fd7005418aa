//! A bottleneck: a rate and a queue before it. Time is what the caller says, in nanoseconds, so that the relay of the
//! laboratory and the cables of tests in virtual time share it.

use std::collections::VecDeque;

/// What a bottleneck is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bits a second.
    pub rate: u64,
    /// Bytes that wait at the most; a frame that finds no room is lost.
    pub queue: usize,
    /// Frames that wait at the most.
    pub frames: usize,
    /// Bytes of queue from which on frames are marked (RFC 3168) if their senders understand; `usize::MAX`: never.
    pub mark: usize,
}

impl Shape {
    /// So many bits a second, and a queue of so many bytes; nothing is marked.
    #[must_use]
    pub const fn new(rate: u64, queue: usize) -> Self {
        Self { rate, queue, frames: usize::MAX, mark: usize::MAX }
    }
}

/// One direction of a cable that is too thin.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    shape: Shape,
    /// Bytes that wait or are being sent, and when each frame of them will have left.
    waiting: usize,
    leaving: VecDeque<(u64, usize)>,
    free_at: u64,
}

impl Bottleneck {
    /// An empty one.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, waiting: 0, leaving: VecDeque::new(), free_at: 0 }
    }

    /// Bytes in the queue at `now`.
    pub fn queued(&mut self, now: u64) -> usize {
        while let Some(&(at, len)) = self.leaving.front()
            && at <= now
        {
            self.waiting -= len;
            self.leaving.pop_front();
        }
        self.waiting
    }

    /// A frame comes at `now`: when it will have left, or that it is lost. It may be marked.
    pub fn pass(&mut self, now: u64, frame: &mut [u8]) -> Option<u64> {
        let len = frame.len();
        let queued = self.queued(now);
        if queued + len > self.shape.queue || self.leaving.len() >= self.shape.frames {
            return None;
        }
        if queued >= self.shape.mark {
            mark(frame);
        }
        let takes = len as u64 * 8 * 1_000_000_000 / self.shape.rate.max(1);
        self.free_at = self.free_at.max(now) + takes;
        self.waiting += len;
        self.leaving.push_back((self.free_at, len));
        Some(self.free_at)
    }
}

/// Where the network header begins in an Ethernet frame.
const IP: usize = 14;

/// Says "congestion experienced" in a frame whose sender understands it (RFC 3168 §5). Whether it does.
pub fn mark(frame: &mut [u8]) -> bool {
    match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.len() >= IP + 20 => mark_ipv4(&mut frame[IP..]),
        // The traffic class lies across the first two bytes.
        Some([0x86, 0xdd]) if frame.len() >= IP + 40 && frame[IP + 1] & 0x30 != 0 => {
            frame[IP + 1] |= 0x30;
            true
        }
        _ => false,
    }
}

fn mark_ipv4(header: &mut [u8]) -> bool {
    if header[1] & 3 == 0 {
        return false;
    }
    let before = u16::from_be_bytes([header[0], header[1]]);
    header[1] |= 3;
    let after = u16::from_be_bytes([header[0], header[1]]);
    // RFC 1624 §3, eqn. 3.
    let sum = u16::from_be_bytes([header[10], header[11]]);
    let mut new = u32::from(!sum) + u32::from(!before) + u32::from(after);
    while new > 0xffff {
        new = (new & 0xffff) + (new >> 16);
    }
    header[10..12].copy_from_slice(&(!(new as u16)).to_be_bytes());
    true
}
