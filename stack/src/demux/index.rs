//! Connections by five-tuple, eight bytes each: half of the tuple's hash, and where the connection lies, which knows
//! its tuple. A lookup costs one cache miss before that of the connection, at ten flows as at a million, and both
//! families cost the same. Half a hash is enough for `growing`, so connections are left alone when it grows.

use super::growing::{Growing, Layout, SMALLEST};
use crate::hash::{FlowWords, HashKey};

/// The highest place that there may be.
const HIGHEST: u32 = u32::MAX - 2;

/// Half of a hash in the upper half, one more than the place in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot(u64);

impl Slot {
    fn new(hash: u64, place: u32) -> Self {
        Self(hash << 32 | (u64::from(place) + 1))
    }

    #[inline]
    fn has(self, hash: u64) -> bool {
        self.0 >> 32 == hash & 0xffff_ffff
    }

    /// More than [`HIGHEST`] when the slot holds no entry.
    #[inline]
    fn place(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }
}

/// Entries have their places by the half that they keep.
#[derive(Debug)]
struct Halves;

impl Layout<1> for Halves {
    const MARK: usize = 0;

    #[inline]
    fn hash(&self, entry: &[u64; 1]) -> u64 {
        entry[0] >> 32
    }
}

/// Where connections lie, by the hash of their flows.
#[derive(Debug)]
pub struct FlowIndex {
    key: HashKey,
    entries: Growing<Halves, 1>,
}

impl FlowIndex {
    /// An empty index.
    pub fn new(key: HashKey) -> Self {
        Self { key, entries: Growing::new(Halves, SMALLEST) }
    }

    /// Flows held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the other calls know a flow by.
    #[inline]
    pub fn hash(&self, flow: &FlowWords) -> u64 {
        flow.hash(&self.key)
    }

    /// The place of a flow with this hash, of those of which `is_it` says that they are the one.
    #[inline(always)]
    pub fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let wanted = |&[slot]: &[u64; 1]| {
            let place = Slot(slot).place();
            // A slot that has moved looks like one of the highest hash at a place that is none.
            Slot(slot).has(hash) && place <= HIGHEST && is_it(place)
        };
        self.entries.find(hash, wanted).map(|&[slot]| Slot(slot).place())
    }

    /// The place that a flow with this hash most likely has: what is there was not asked.
    #[inline]
    pub fn guess(&self, hash: u64) -> Option<u32> {
        self.find(hash, |_| true)
    }

    /// Asks the processor to fetch the slot at which the search for this hash begins.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(slot) = self.entries.first(hash) {
            nic::prefetch(slot, nic::LINE);
        }
    }

    /// Notes that a flow with this hash, which is not held yet, lies at `place`.
    pub fn insert(&mut self, hash: u64, place: u32) {
        debug_assert!(place <= HIGHEST, "a place is that of a socket");
        self.entries.add([Slot::new(hash, place).0]);
    }

    /// Forgets the flow with this hash that lies at `place`. False when there was none.
    pub fn remove(&mut self, hash: u64, place: u32) -> bool {
        let wanted = Slot::new(hash, place).0;
        self.entries.remove(hash, |&[slot]| slot == wanted).is_some()
    }
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
            let slots = index.entries.shape().0;
            assert!(slots >= 4096, "{slots} slots: the test grew nothing");
            for (flow, place) in model {
                assert!(index.remove(hash(flow), place));
            }
            assert_eq!((index.len(), index.entries.shape().2), (0, 0));
        }
    }
}
