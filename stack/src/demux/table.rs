//! A hash table of words: keys and values lie in one array, `growing`'s.

use super::growing::{Growing, Layout, SMALLEST};
use crate::hash::HashKey;

/// Entries of `W` words: `W − 1` of key, the last of which is neither zero nor all ones, and a value.
#[derive(Debug)]
pub(super) struct Table<const W: usize>(Growing<Words, W>);

/// Entries have their places by all words of their keys.
#[derive(Debug)]
struct Words(HashKey);

impl<const W: usize> Layout<W> for Words {
    const MARK: usize = W - 2;

    #[inline]
    fn hash(&self, entry: &[u64; W]) -> u64 {
        self.0.sip13(&entry[..W - 1])
    }
}

impl<const W: usize> Table<W> {
    /// A table that holds `entries` before it grows.
    pub(super) fn new(key: HashKey, entries: usize) -> Self {
        Self(Growing::new(Words(key), (entries * 8 / 5 + 1).next_power_of_two().max(SMALLEST)))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value of the entry whose key words are those of `key`.
    #[inline]
    pub(super) fn get(&self, key: &[u64; W]) -> Option<u64> {
        self.0.find(self.0.layout.hash(key), |entry| is_of(entry, key)).map(|entry| entry[W - 1])
    }

    /// Keeps `entry`; returns the value it replaced.
    pub(super) fn insert(&mut self, entry: [u64; W]) -> Option<u64> {
        let hash = self.0.layout.hash(&entry);
        if let Some(held) = self.0.find_mut(hash, |held| is_of(held, &entry)) {
            return Some(core::mem::replace(&mut held[W - 1], entry[W - 1]));
        }
        self.0.add(entry);
        None
    }

    /// Removes the entry whose key words are those of `key`; returns its value.
    pub(super) fn remove(&mut self, key: &[u64; W]) -> Option<u64> {
        let hash = self.0.layout.hash(key);
        self.0.remove(hash, |entry| is_of(entry, key)).map(|entry| entry[W - 1])
    }
}

#[inline]
fn is_of<const W: usize>(entry: &[u64; W], key: &[u64; W]) -> bool {
    entry[..W - 1] == key[..W - 1]
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
        assert!(table.0.shape().0 >= 16_384, "{} slots: the test grew nothing", table.0.shape().0);
        for ((a, b), value) in model {
            assert_eq!(table.remove(&[a, b, 0]), Some(value));
        }
        assert_eq!((table.len(), table.0.shape().2), (0, 0));
    }

    #[test]
    fn a_table_made_for_n_entries_does_not_grow_for_them() {
        let mut table = Table::<2>::new(HashKey::new([1; 16]), 1000);
        assert_eq!(table.0.shape().0, 2048);
        for n in 1..=1000 {
            table.insert([n, n]);
        }
        assert_eq!(table.0.shape(), (2048, 0, 1000));
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
