//! A set of the stacks of a port, by slot.

use std::ops::{BitOr, BitOrAssign};

use crate::entry::Slot;

/// Words of a set. A model looks at every order of steps: those in one word are what there is to try.
pub(crate) const WORDS: usize = if cfg!(loom) { 1 } else { 4 };

/// A set of stacks, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots([u64; WORDS]);

/// The word of a set that a slot's bit is in, and the bit.
#[inline]
pub(crate) fn place(slot: Slot) -> (usize, u64) {
    (usize::from(slot / 64), 1 << (slot % 64))
}

impl Slots {
    /// Nobody.
    pub const NONE: Self = Self([0; WORDS]);

    /// As its words are in shared memory.
    #[inline]
    pub(crate) fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }

    /// One more.
    #[inline]
    pub fn insert(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        self.0[word] |= bit;
    }

    /// One less.
    #[inline]
    pub fn remove(&mut self, slot: Slot) {
        let (word, bit) = place(slot);
        self.0[word] &= !bit;
    }

    /// The same without one.
    #[must_use]
    pub fn without(mut self, slot: Slot) -> Self {
        self.remove(slot);
        self
    }

    /// Whether there is nobody in it.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().fold(0, |all, word| all | word) == 0
    }

    /// Whether it is one of them.
    #[inline]
    #[must_use]
    pub fn contains(&self, slot: Slot) -> bool {
        let (word, bit) = place(slot);
        self.0[word] & bit != 0
    }
}

impl BitOr for Slots {
    type Output = Self;

    #[inline]
    fn bitor(mut self, other: Self) -> Self {
        self |= other;
        self
    }
}

impl BitOrAssign for Slots {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, more)| *word |= more);
    }
}

impl FromIterator<Slot> for Slots {
    fn from_iter<T: IntoIterator<Item = Slot>>(slots: T) -> Self {
        let mut all = Self::NONE;
        slots.into_iter().for_each(|slot| all.insert(slot));
        all
    }
}

impl IntoIterator for Slots {
    type Item = Slot;
    type IntoIter = Each;

    #[inline]
    fn into_iter(self) -> Each {
        Each { left: self.0, word: 0 }
    }
}

/// The slots of a set, the lowest first.
#[derive(Debug)]
pub struct Each {
    left: [u64; WORDS],
    word: usize,
}

impl Iterator for Each {
    type Item = Slot;

    #[inline]
    fn next(&mut self) -> Option<Slot> {
        while let Some(left) = self.left.get_mut(self.word) {
            if *left != 0 {
                let slot = self.word * 64 + left.trailing_zeros() as usize;
                *left &= *left - 1;
                return Some(slot as Slot);
            }
            self.word += 1;
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_went_in_comes_out_the_lowest_first() {
        let all = [255, 0, 64, 63, 200, 128];
        let mut slots: Slots = all.into_iter().collect();
        assert!(all.into_iter().all(|slot| slots.contains(slot)) && !slots.contains(1));
        assert_eq!(slots.into_iter().collect::<Vec<_>>(), [0, 63, 64, 128, 200, 255]);
        slots.remove(63);
        assert!(!slots.contains(63) && !slots.is_empty());
        assert_eq!(slots.without(0).into_iter().next(), Some(64));
        assert_eq!(slots | [63].into_iter().collect(), all.into_iter().collect());
        assert!(all.into_iter().fold(slots, Slots::without).is_empty());
        assert_eq!(Slots::NONE.into_iter().next(), None);
    }
}
