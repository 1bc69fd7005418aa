//! The two handles of a frame: owned, and lent to a NIC.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

/// A frame's number in its arena.
pub type FrameIndex = u32;

static LEAKED: AtomicU64 = AtomicU64::new(0);

/// Handles that were dropped instead of given back to their pool, since the process began. Always zero,
/// unless there is a bug.
pub fn leaked() -> u64 {
    LEAKED.load(Ordering::Relaxed)
}

/// The one owner of a frame, with the window `[offset, offset + len)` of bytes that mean something.
///
/// Eight bytes, move-only. Give it back with [`Pool::free`](crate::Pool::free).
#[must_use = "a frame that is dropped is leaked: give it back to its pool"]
#[derive(Debug)]
pub struct Pkt {
    pub(crate) frame: FrameIndex,
    pub(crate) offset: u16,
    pub(crate) len: u16,
}

impl Pkt {
    pub(crate) fn new(frame: FrameIndex, offset: u16, len: u16) -> Self {
        Self { frame, offset, len }
    }

    /// The frame's number: a key for side tables, unique among the live packets of a pool.
    #[inline]
    pub fn frame(&self) -> FrameIndex {
        self.frame
    }

    /// Where the window begins in the frame, in bytes: also the headroom in front of it.
    #[inline]
    pub fn offset(&self) -> usize {
        usize::from(self.offset)
    }

    /// Bytes in the window.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether the window is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// As [`Pkt::truncate`] to `end` bytes and [`Pkt::trim_front`] of `start`, in one go.
    ///
    /// # Panics
    /// When the window is shorter than `start` then.
    #[inline(always)]
    pub fn window(self, start: usize, end: usize) -> Self {
        let end = end.min(self.len());
        assert!(start <= end, "trim of {start} bytes from a window of {end}");
        let (offset, frame) = (self.offset + start as u16, self.into_frame());
        Self { frame, offset, len: (end - start) as u16 }
    }

    /// Drops `n` bytes from the front of the window.
    ///
    /// # Panics
    /// When the window is shorter than `n`.
    #[inline]
    pub fn trim_front(&mut self, n: usize) {
        assert!(n <= self.len(), "trim of {n} bytes from a window of {}", self.len);
        self.offset += n as u16;
        self.len -= n as u16;
    }

    /// Cuts the window to its first `n` bytes; a longer `n` changes nothing.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(n.try_into().unwrap_or(u16::MAX));
    }

    #[inline]
    pub(crate) fn into_frame(self) -> FrameIndex {
        let frame = self.frame;
        mem::forget(self);
        frame
    }
}

/// What is left of the L4 checksum of a frame that is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TxChecksum {
    /// Nothing: the checksum is in the frame.
    #[default]
    Complete,
    /// The field holds the folded sum of the pseudo-header (not complemented); the NIC sums from `start` to
    /// the end of the frame and stores the complement at `start + offset`. Both in bytes, `start` from the
    /// first byte of the frame as sent.
    Partial {
        /// First byte of the L4 header.
        start: u16,
        /// The checksum field's place in the L4 header.
        offset: u16,
    },
}

/// A frame lent for transmission: its bytes stay as they are until the NIC returns it.
#[must_use = "a lent frame that is dropped never comes back: hand it to a NIC or Pool::take_back"]
#[derive(Debug)]
pub struct TxPkt {
    pub(crate) frame: FrameIndex,
    pub(crate) offset: u16,
    pub(crate) len: u16,
    /// What the NIC has still to do to the checksum.
    pub checksum: TxChecksum,
}

impl TxPkt {
    pub(crate) fn new(frame: FrameIndex, offset: u16, len: u16, checksum: TxChecksum) -> Self {
        Self { frame, offset, len, checksum }
    }

    /// The frame's number.
    #[inline]
    pub fn frame(&self) -> FrameIndex {
        self.frame
    }

    /// Where the bytes to send begin in the frame.
    #[inline]
    pub fn offset(&self) -> usize {
        usize::from(self.offset)
    }

    /// Bytes to send.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there is nothing to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A driver took the frame over; it answers for it with [`Pool::returned`](crate::Pool::returned).
    #[inline]
    pub fn into_frame(self) -> FrameIndex {
        let frame = self.frame;
        mem::forget(self);
        frame
    }
}

fn dropped(what: &str, frame: FrameIndex) {
    LEAKED.fetch_add(1, Ordering::Relaxed);
    // While another panic unwinds, a dropped handle is its consequence, not a second bug.
    if cfg!(debug_assertions) && !std::thread::panicking() {
        panic!("{what} of frame {frame} was dropped, not given back");
    }
}

impl Drop for Pkt {
    fn drop(&mut self) {
        dropped("the packet", self.frame);
    }
}

impl Drop for TxPkt {
    fn drop(&mut self) {
        dropped("the loan", self.frame);
    }
}
