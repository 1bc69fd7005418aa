//! An open-addressing hash table of words that grows a little at a time.
//!
//! Keys and values lie in one array, so that a lookup of a flow that nobody asked for lately costs one cache
//! miss, at ten flows as at a million. Collisions go to the next slot; removing closes the gap, so there are
//! no tombstones to slow lookups down as flows come and go.
//!
//! When the array is five eighths full, one twice as long takes its place: new entries go there, and every
//! change of the table moves some old entries over. The new array is zeroed memory, which the allocator gets
//! from the system untouched, so that no single insertion pays for all of it.

use crate::hash::HashKey;

/// Slots of a new table.
const SMALLEST: usize = 16;
/// Old slots moved per change. Any more than 8/5 empties the old array before the new one is full.
const MOVES: usize = 16;
/// In the last key word of an old slot: its entry has moved or was removed; look further.
const GONE: u64 = u64::MAX;

/// Entries of `W` words: `W − 1` of key, the last of which is neither zero nor all ones, and a value.
#[derive(Debug)]
pub(super) struct Table<const W: usize> {
    key: HashKey,
    slots: Vec<[u64; W]>,
    /// Entries, those in `old` included.
    len: usize,
    /// What the table grew out of; empty when all has moved.
    old: Vec<[u64; W]>,
    /// Old slots before this one have moved.
    moved: usize,
}

impl<const W: usize> Table<W> {
    /// A table that holds `entries` before it grows.
    pub(super) fn new(key: HashKey, entries: usize) -> Self {
        let slots = (entries * 8 / 5 + 1).next_power_of_two().max(SMALLEST);
        Self { key, slots: vec![[0; W]; slots], len: 0, old: Vec::new(), moved: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value of the entry whose key words are those of `key`.
    #[inline]
    pub(super) fn get(&self, key: &[u64; W]) -> Option<u64> {
        let hash = self.hash(key);
        if let Some(at) = find(&self.slots, key, hash) {
            return Some(self.slots[at][W - 1]);
        }
        if self.old.is_empty() {
            return None;
        }
        find(&self.old, key, hash).map(|at| self.old[at][W - 1])
    }

    /// Keeps `entry`; returns the value it replaced.
    pub(super) fn insert(&mut self, entry: [u64; W]) -> Option<u64> {
        debug_assert!(entry[W - 2] != 0 && entry[W - 2] != GONE);
        self.move_some();
        let hash = self.hash(&entry);
        if let Some(at) = find(&self.slots, &entry, hash) {
            return Some(core::mem::replace(&mut self.slots[at][W - 1], entry[W - 1]));
        }
        if let Some(at) = find(&self.old, &entry, hash) {
            return Some(core::mem::replace(&mut self.old[at][W - 1], entry[W - 1]));
        }
        if self.len >= self.slots.len() / 8 * 5 {
            self.grow();
        }
        place(&mut self.slots, entry, hash);
        self.len += 1;
        None
    }

    /// Removes the entry whose key words are those of `key`; returns its value.
    pub(super) fn remove(&mut self, key: &[u64; W]) -> Option<u64> {
        self.move_some();
        let hash = self.hash(key);
        let value = if let Some(at) = find(&self.slots, key, hash) {
            let value = self.slots[at][W - 1];
            self.close_gap(at);
            value
        } else {
            let at = find(&self.old, key, hash)?;
            self.old[at][W - 2] = GONE;
            self.old[at][W - 1]
        };
        self.len -= 1;
        Some(value)
    }

    #[inline]
    fn hash(&self, entry: &[u64; W]) -> u64 {
        self.key.sip13(&entry[..W - 1])
    }

    fn grow(&mut self) {
        // Sixteen moves a change finish long before the new array fills; were that to change, finish here.
        while !self.old.is_empty() {
            self.move_some();
        }
        let twice = vec![[0; W]; self.slots.len() * 2];
        self.old = core::mem::replace(&mut self.slots, twice);
        self.moved = 0;
    }

    #[inline]
    fn move_some(&mut self) {
        if self.old.is_empty() {
            return;
        }
        for _ in 0..MOVES {
            let entry = self.old[self.moved];
            if entry[W - 2] != 0 && entry[W - 2] != GONE {
                place(&mut self.slots, entry, self.key.sip13(&entry[..W - 1]));
                self.old[self.moved][W - 2] = GONE;
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
            let entry = self.slots[at];
            if entry[W - 2] == 0 {
                break;
            }
            let home = self.hash(&entry) as usize & mask;
            // The entry may move up when its home is not behind the gap, counted round the ring.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.slots[gap] = entry;
                gap = at;
            }
        }
        self.slots[gap] = [0; W];
    }
}

#[inline]
fn find<const W: usize>(slots: &[[u64; W]], key: &[u64; W], hash: u64) -> Option<usize> {
    let mask = slots.len().checked_sub(1)?;
    let mut at = hash as usize & mask;
    loop {
        let slot = slots.get(at)?;
        if slot[..W - 1] == key[..W - 1] {
            return Some(at);
        }
        if slot[W - 2] == 0 {
            return None;
        }
        at = (at + 1) & mask;
    }
}

#[inline]
fn place<const W: usize>(slots: &mut [[u64; W]], entry: [u64; W], hash: u64) {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at][W - 2] != 0 {
        at = (at + 1) & mask;
    }
    slots[at] = entry;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn random(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut x = seed;
        move |below| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % below
        }
    }

    /// A HashMap is the judge, over sizes that grow and shrink across many growths.
    #[test]
    fn equals_a_hash_map() {
        let mut random = random(42);
        let mut table = Table::<3>::new(HashKey::new([1; 16]), 0);
        let mut model = HashMap::new();
        for step in 0..300_000_u64 {
            let keys = 1 + step / 10;
            let (a, b) = (random(keys), 1 + random(2));
            match random(5) {
                0..2 => assert_eq!(table.insert([a, b, step]), model.insert((a, b), step)),
                2 => assert_eq!(table.remove(&[a, b, 0]), model.remove(&(a, b))),
                _ => assert_eq!(table.get(&[a, b, 0]), model.get(&(a, b)).copied()),
            }
            assert_eq!(table.len(), model.len());
        }
        assert!(table.slots.len() >= 16_384, "{} slots: the test grew nothing", table.slots.len());
        for ((a, b), value) in model {
            assert_eq!(table.remove(&[a, b, 0]), Some(value));
        }
        assert_eq!(table.len(), 0);
        let left = table.slots.iter().chain(&table.old).filter(|s| s[1] != 0 && s[1] != GONE).count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_table_made_for_n_entries_does_not_grow_for_them() {
        let mut table = Table::<2>::new(HashKey::new([1; 16]), 1000);
        assert_eq!(table.slots.len(), 2048);
        for n in 1..=1000 {
            table.insert([n, n]);
        }
        assert_eq!((table.slots.len(), table.old.len()), (2048, 0));
    }

    #[test]
    fn entries_are_found_in_the_middle_of_growing() {
        let mut table = Table::<2>::new(HashKey::new([3; 16]), 0);
        let mut inserted = 0;
        for n in 1..5_000 {
            table.insert([n, n * 2]);
            inserted += 1;
            assert_eq!(table.len(), inserted);
            for probe in [1, n / 2 + 1, n] {
                assert_eq!(table.get(&[probe, 0]), Some(probe * 2), "{probe} of {n}");
            }
        }
    }
}
