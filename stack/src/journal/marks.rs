//! Slots in lists that run through them.

use super::Traffic;

/// Slots in a chunk: growing moves nothing.
const CHUNK: usize = 64;
/// The end of a list.
const END: u32 = u32::MAX;
/// In no list.
const OUT: u32 = u32::MAX - 1;

/// What is kept of a slot.
#[derive(Clone, Copy, Debug)]
struct Mark {
    told: Traffic,
    next: u32,
}

const BLANK: Mark = Mark {
    told: Traffic { bytes_in: 0, bytes_out: 0, packets_in: 0, packets_out: 0, retransmits: 0 },
    next: OUT,
};

/// What each slot was told with last; a list of those that were noted since, and one of those to be told of.
#[derive(Debug)]
pub(super) struct Marks {
    chunks: Vec<Box<[Mark]>>,
    noted: u32,
    telling: u32,
    /// The last that was noted before all others: where another list can be joined.
    oldest: u32,
}

impl Default for Marks {
    fn default() -> Self {
        Self { chunks: Vec::new(), noted: END, telling: END, oldest: END }
    }
}

impl Marks {
    pub(super) fn new(slots: usize) -> Self {
        let chunks = (0..slots.div_ceil(CHUNK)).map(|_| blank()).collect();
        Self { chunks, ..Self::default() }
    }

    /// Whether no list has anybody.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.noted == END && self.telling == END
    }

    /// Puts a slot into the list of those that were noted, unless it is in a list.
    #[inline]
    pub(super) fn note(&mut self, slot: u32) {
        let noted = self.noted;
        let mark = self.at(slot);
        if mark.next != OUT {
            return;
        }
        mark.next = noted;
        if noted == END {
            self.oldest = slot;
        }
        self.noted = slot;
    }

    /// Whether the slot is in a list, or was told with something.
    pub(super) fn knows(&self, slot: u32) -> bool {
        let mark = self.chunks.get(slot as usize / CHUNK).map(|chunk| chunk[slot as usize % CHUNK]);
        mark.is_some_and(|mark| mark.next != OUT || !mark.told.is_none())
    }

    /// What the slot was told with last; from now on, with `told`.
    pub(super) fn replace(&mut self, slot: u32, told: Traffic) -> Traffic {
        std::mem::replace(&mut self.at(slot).told, told)
    }

    /// Those that were noted join those that are to be told of.
    pub(super) fn turn(&mut self) {
        if self.noted == END {
            return;
        }
        let (oldest, rest) = (self.oldest, self.telling);
        self.at(oldest).next = rest;
        self.telling = std::mem::replace(&mut self.noted, END);
    }

    /// The next that is to be told of; it is in no list any more.
    pub(super) fn next(&mut self) -> Option<u32> {
        let slot = self.telling;
        if slot == END {
            return None;
        }
        self.telling = std::mem::replace(&mut self.at(slot).next, OUT);
        Some(slot)
    }

    /// Grows with the table, and no more often: with a slot that was never taken before.
    #[inline]
    fn at(&mut self, slot: u32) -> &mut Mark {
        let (chunk, within) = (slot as usize / CHUNK, slot as usize % CHUNK);
        while self.chunks.len() <= chunk {
            self.chunks.push(blank());
        }
        &mut self.chunks[chunk][within]
    }
}

fn blank() -> Box<[Mark]> {
    vec![BLANK; CHUNK].into()
}
