//! Single-producer single-consumer rings in memory shared with the kernel.
//!
//! Both indices run freely through all of `u32` and wrap; the slot is the index modulo the ring's length.
//! Each side owns one index. Publishing an index is a release store, seeing it an acquire load: an entry
//! is written before the producer index that covers it, and read before the consumer index that frees it.
//! The kernel pairs with the same barriers (`net/xdp/xsk_queue.h`).

use crate::sync::{AtomicU32, Ordering};

/// Where a ring lives: two index words and `len` slots.
///
/// The indices say who may touch a slot; [`Producer`] and [`Consumer`] ask for no other.
pub(crate) trait RingMemory {
    /// What a slot holds.
    type Entry: Copy;
    /// Slots, a power of two.
    fn len(&self) -> u32;
    /// The producer's index word.
    fn producer(&self) -> &AtomicU32;
    /// The consumer's index word.
    fn consumer(&self) -> &AtomicU32;
    /// Whether the kernel asks to be woken.
    fn needs_wakeup(&self) -> bool;
    /// Reads the slot of `index`.
    fn read(&self, index: u32) -> Self::Entry;
    /// Writes the slot of `index`.
    fn write(&self, index: u32, entry: Self::Entry);
}

/// Our side of a ring that we fill and the kernel empties (fill, tx).
#[derive(Debug)]
pub(crate) struct Producer<M> {
    memory: M,
    /// The slot to be written next.
    next: u32,
    /// What the consumer has been told.
    published: u32,
    /// The consumer's index when last looked at.
    consumed: u32,
}

impl<M: RingMemory> Producer<M> {
    /// Takes the producing side over where it was left.
    pub(crate) fn new(memory: M) -> Self {
        let next = memory.producer().load(Ordering::Relaxed);
        let consumed = memory.consumer().load(Ordering::Acquire);
        Self { memory, next, published: next, consumed }
    }

    /// Goes on where the producing side was left meanwhile by others; what was pushed and not published is
    /// forgotten.
    #[inline]
    pub(crate) fn resume(&mut self) {
        self.next = self.memory.producer().load(Ordering::Acquire);
        self.published = self.next;
        self.refresh();
    }

    /// An index that is more than a ring ahead of the consumer's nobody who keeps the rules has left: the consumer would go
    /// round the ring without end, over entries of long ago. They are taken for consumed. Whether there were any.
    pub(crate) fn mend(&mut self) -> bool {
        if self.refresh() <= self.len() {
            return false;
        }
        (self.next, self.published) = (self.consumed, self.consumed);
        self.memory.producer().store(self.consumed, Ordering::Release);
        true
    }

    /// Entries that the consumer has still to consume, on a side that others fill too.
    #[inline]
    pub(crate) fn waiting(&self) -> u32 {
        let produced = self.memory.producer().load(Ordering::Relaxed);
        produced.wrapping_sub(self.memory.consumer().load(Ordering::Relaxed))
    }

    /// The entry in the slot of `index`, whoever wrote it.
    pub(crate) fn peek(&self, index: u32) -> M::Entry {
        self.memory.read(index)
    }

    /// Takes `count` entries that were written from the published index on as pushed.
    pub(crate) fn take_as_pushed(&mut self, count: u32) {
        self.next = self.next.wrapping_add(count);
    }

    /// Entries pushed and not known to be consumed. Only as fresh as the last look.
    #[inline]
    pub(crate) fn in_use(&self) -> u32 {
        self.next.wrapping_sub(self.consumed)
    }

    /// Looks at the consumer's index again and returns the entries it has still to consume.
    #[inline]
    pub(crate) fn refresh(&mut self) -> u32 {
        self.consumed = self.memory.consumer().load(Ordering::Acquire);
        self.in_use()
    }

    /// Slots in the ring.
    pub(crate) fn len(&self) -> u32 {
        self.memory.len()
    }

    /// Room for at least one more entry; looks at the consumer's index only when there seems to be none.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        self.in_use() < self.memory.len() || self.refresh() < self.memory.len()
    }

    /// Writes an entry; the consumer sees it after [`Producer::publish`]. False when the ring is full.
    #[inline]
    pub(crate) fn push(&mut self, entry: M::Entry) -> bool {
        if !self.has_room() {
            return false;
        }
        self.memory.write(self.next, entry);
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Shows the consumer what was pushed. True when there was something new.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        if self.published == self.next {
            return false;
        }
        self.memory.producer().store(self.next, Ordering::Release);
        self.published = self.next;
        true
    }

    /// Whether the consumer has to be woken to notice.
    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.memory.needs_wakeup()
    }

    /// The index that was published last.
    pub(crate) fn index(&self) -> u32 {
        self.published
    }

    /// The index that is written next.
    #[inline]
    pub(crate) fn written(&self) -> u32 {
        self.next
    }
}

/// Our side of a ring that the kernel fills and we empty (rx, completion).
#[derive(Debug)]
pub(crate) struct Consumer<M> {
    memory: M,
    /// The slot to be read next.
    next: u32,
    /// What the producer has been told.
    released: u32,
    /// The producer's index when last looked at.
    produced: u32,
}

impl<M: RingMemory> Consumer<M> {
    /// Takes the consuming side over where it was left.
    pub(crate) fn new(memory: M) -> Self {
        let next = memory.consumer().load(Ordering::Relaxed);
        Self { memory, next, released: next, produced: next }
    }

    /// Goes on where the consuming side was left meanwhile by others.
    #[inline]
    pub(crate) fn resume(&mut self) {
        self.next = self.memory.consumer().load(Ordering::Acquire);
        self.released = self.next;
        self.available();
    }

    /// Entries that wait, looking at the producer's index.
    #[inline]
    pub(crate) fn available(&mut self) -> u32 {
        self.produced = self.memory.producer().load(Ordering::Acquire);
        self.produced.wrapping_sub(self.next)
    }

    /// Whether entries wait, changing nothing.
    #[inline]
    pub(crate) fn has_entries(&self) -> bool {
        self.memory.producer().load(Ordering::Acquire) != self.next
    }

    /// Whether entries wait that nobody has consumed, on a side that others consume too.
    #[inline]
    pub(crate) fn has_unconsumed(&self) -> bool {
        let produced = self.memory.producer().load(Ordering::Acquire);
        produced != self.memory.consumer().load(Ordering::Relaxed)
    }

    /// The next entry; the slot is the producer's again after [`Consumer::release`].
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<M::Entry> {
        if self.produced == self.next && self.available() == 0 {
            return None;
        }
        let entry = self.memory.read(self.next);
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Gives the slots of what was popped back to the producer.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.released != self.next {
            self.memory.consumer().store(self.next, Ordering::Release);
            self.released = self.next;
        }
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
