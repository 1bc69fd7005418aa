//! A table that forgets: bounded, and at no moment slow.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations of entries. When the young are many they become the old ones, and the old are let go; who is looked
/// at is young again.
#[derive(Debug)]
pub(super) struct Young<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    most: usize,
}

impl<K: Hash + Eq + Clone, V> Young<K, V> {
    /// Holds at least `most` entries, and at most twice as many.
    pub(super) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most }
    }

    /// The entry of `key`, made when there is none; and what is let go for it.
    pub(super) fn entry(&mut self, key: &K, make: impl FnOnce() -> V) -> (&mut V, Vec<(K, V)>) {
        let mut gone = Vec::new();
        let mut kept = None;
        if !self.young.contains_key(key) {
            kept = self.old.remove(key);
            if self.young.len() >= self.most {
                let young = std::mem::take(&mut self.young);
                gone = std::mem::replace(&mut self.old, young).into_iter().collect();
            }
        }
        (self.young.entry(key.clone()).or_insert_with(|| kept.unwrap_or_else(make)), gone)
    }

    /// The entry of `key`, as young or old as it is.
    pub(super) fn peek(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The same, to be changed.
    pub(super) fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.young.iter().chain(self.old.iter())
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.young.iter_mut().chain(self.old.iter_mut())
    }

    /// Keeps those for which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.young.retain(&mut keep);
        self.old.retain(&mut keep);
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}
