//! Connections by five-tuple, eight bytes each: half of the tuple's hash, and where the connection lies, which knows
//! its tuple. A lookup costs one cache miss before that of the connection, at ten flows as at a million, and both
//! families cost the same.
//!
//! Open addressing, as in `table`: collisions go to the next slot, removing closes the gap, and an array that is
//! five eighths full is replaced by one twice as long, into which every change moves some old entries over. Half a
//! hash is enough for all of that, so the connections are left alone.

use crate::hash::{FlowWords, HashKey};

/// Slots of a new index.
const SMALLEST: usize = 16;
/// Old slots moved per change. Any more than 8/5 empties the old array before the new one is full.
const MOVES: usize = 16;

/// Half of a hash in the upper half, one more than the place in the lower: zero is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Slot(u64);

impl Slot {
    const EMPTY: Slot = Slot(0);
    /// An old slot whose entry has moved or was removed: look further.
    const GONE: Slot = Slot(u64::MAX);

    fn new(hash: u64, place: u32) -> Self {
        Self(hash << 32 | (u64::from(place) + 1))
    }

    #[inline]
    fn has(self, hash: u64) -> bool {
        self.0 >> 32 == hash & 0xffff_ffff
    }

    #[inline]
    fn hash(self) -> u64 {
        self.0 >> 32
    }

    #[inline]
    fn place(self) -> Option<u32> {
        (self != Self::EMPTY && self != Self::GONE).then(|| (self.0 as u32).wrapping_sub(1))
    }
}

/// Where connections lie, by the hash of their flows.
#[derive(Debug)]
pub struct FlowIndex {
    key: HashKey,
    slots: Vec<u64>,
    /// Entries, those in `old` included.
    len: usize,
    /// What the index grew out of; empty when all has moved.
    old: Vec<u64>,
    /// Old slots before this one have moved.
    moved: usize,
}

impl FlowIndex {
    /// An empty index.
    pub fn new(key: HashKey) -> Self {
        Self { key, slots: vec![0; SMALLEST], len: 0, old: Vec::new(), moved: 0 }
    }

    /// Flows held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What the other calls know a flow by.
    #[inline]
    pub fn hash(&self, flow: &FlowWords) -> u64 {
        flow.hash(&self.key)
    }

    /// The place of a flow with this hash, of those of which `is_it` says that they are the one.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let wanted = |slot: Slot| slot.has(hash) && slot.place().is_some_and(&is_it);
        let found = match search(&self.slots, hash, wanted) {
            None if !self.old.is_empty() => search(&self.old, hash, wanted),
            found => found,
        };
        found?.1.place()
    }

    /// The place that a flow with this hash most likely has: what is there was not asked.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Asks the processor to fetch the slot at which the search for this hash begins.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(slot) = self.slots.get(hash as usize & (self.slots.len() - 1)) {
            nic::prefetch(slot, nic::LINE);
        }
    }

    /// Notes that a flow with this hash, which is not held yet, lies at `place`.
    pub fn insert(&mut self, hash: u64, place: u32) {
        debug_assert!(place < u32::MAX - 1, "a place is that of a socket");
        self.move_some();
        if self.len >= self.slots.len() / 8 * 5 {
            self.grow();
        }
        put(&mut self.slots, Slot::new(hash, place));
        self.len += 1;
    }

    /// Forgets the flow with this hash that lies at `place`. False when there was none.
    pub fn remove(&mut self, hash: u64, place: u32) -> bool {
        self.move_some();
        let wanted = Slot::new(hash, place);
        if let Some((at, _)) = search(&self.slots, hash, |slot| slot == wanted) {
            self.close_gap(at);
        } else if let Some((at, _)) = search(&self.old, hash, |slot| slot == wanted) {
            self.old[at] = Slot::GONE.0;
        } else {
            return false;
        }
        self.len -= 1;
        true
    }

    fn grow(&mut self) {
        // Sixteen moves a change finish long before the new array fills; were that to change, finish here.
        while !self.old.is_empty() {
            self.move_some();
        }
        // Zeroed memory, which the allocator gets from the system untouched: no single insertion pays for all of it.
        let twice = vec![0; self.slots.len() * 2];
        self.old = core::mem::replace(&mut self.slots, twice);
        self.moved = 0;
    }

    #[inline]
    fn move_some(&mut self) {
        if self.old.is_empty() {
            return;
        }
        for _ in 0..MOVES {
            let slot = Slot(self.old[self.moved]);
            if slot.place().is_some() {
                put(&mut self.slots, slot);
                // What was empty stays so: there a search ends.
                self.old[self.moved] = Slot::GONE.0;
            }
            self.moved += 1;
            if self.moved == self.old.len() {
                self.old = Vec::new();
                return;
            }
        }
    }

    /// Empties slot `gap` and moves later entries of its run up, so that none is cut off from its first slot.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.slots.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let slot = Slot(self.slots[at]);
            if slot == Slot::EMPTY {
                break;
            }
            let home = slot.hash() as usize & mask;
            // The entry may move up when its home is not behind the gap, counted round the ring.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.slots[gap] = slot.0;
                gap = at;
            }
        }
        self.slots[gap] = Slot::EMPTY.0;
    }
}

/// The first slot of a run that is `wanted`, and where it is.
#[inline]
fn search(slots: &[u64], hash: u64, wanted: impl Fn(Slot) -> bool) -> Option<(usize, Slot)> {
    let mask = slots.len().checked_sub(1)?;
    let mut at = hash as usize & mask;
    // An array is never full, so this ends sooner.
    for _ in 0..slots.len() {
        let slot = Slot(*slots.get(at)?);
        if slot == Slot::EMPTY {
            return None;
        }
        if wanted(slot) {
            return Some((at, slot));
        }
        at = (at + 1) & mask;
    }
    debug_assert!(false, "an array has empty slots");
    None
}

#[inline]
fn put(slots: &mut [u64], slot: Slot) {
    let mask = slots.len() - 1;
    let mut at = slot.hash() as usize & mask;
    while slots[at] != Slot::EMPTY.0 {
        at = (at + 1) & mask;
    }
    slots[at] = slot.0;
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// The last slots of every array are full, and what is looked for is not there: the search goes round.
    #[test]
    fn a_search_ends_while_the_index_moves() {
        let mut index = FlowIndex::new(HashKey::new([1; 16]));
        for place in 0..2000_u32 {
            let hash = if place < 40 { 0xffff_fff0 } else { u64::from(place) };
            index.insert(hash, place);
            for absent in [0xffff_fff0, u64::from(place), 7] {
                assert_eq!(index.find(absent, |_| false), None);
            }
            assert_eq!(index.find(hash, |at| at == place), Some(place));
        }
        assert_eq!(index.len(), 2000);
    }

    /// A HashMap is the judge, over sizes that grow and shrink across many growths; hashes of few bits make long
    /// runs, and flows that differ where their hashes do not.
    #[test]
    fn equals_a_hash_map() {
        for bits in [64, 12] {
            let (mut x, mut index) = (42_u64, FlowIndex::new(HashKey::new([1; 16])));
            let mut random = move |below: u64| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x % below
            };
            let hash = |flow: u64| flow.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32) >> (64 - bits);
            let (mut model, mut flows) = (HashMap::<u64, u32>::new(), HashMap::<u32, u64>::new());
            for step in 0..60_000_u32 {
                let flow = random(1 + u64::from(step) / 10);
                let found = index.find(hash(flow), |place| flows.get(&place) == Some(&flow));
                assert_eq!(found, model.get(&flow).copied());
                match found {
                    None if random(3) > 0 => {
                        index.insert(hash(flow), step);
                        model.insert(flow, step);
                        flows.insert(step, flow);
                    }
                    Some(place) if random(3) == 0 => {
                        assert!(index.remove(hash(flow), place));
                        assert!(!index.remove(hash(flow), place));
                        model.remove(&flow);
                        flows.remove(&place);
                    }
                    _ => {}
                }
                assert_eq!(index.len(), model.len());
            }
            assert!(index.slots.len() >= 4096, "{} slots: the test grew nothing", index.slots.len());
            for (flow, place) in model {
                assert!(index.remove(hash(flow), place));
            }
            let left =
                index.slots.iter().chain(&index.old).filter(|slot| Slot(**slot).place().is_some()).count();
            assert_eq!((index.len(), left), (0, 0));
        }
    }
}
