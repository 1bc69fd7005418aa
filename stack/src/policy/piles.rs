//! Very many short lists, one behind the other: a place of its own for each would cost more than what is in it.

/// Lists of `T`; the last one is still open.
#[derive(Debug)]
pub(super) struct Piles<T> {
    items: Vec<T>,
    /// Where each closed one ends.
    ends: Vec<u32>,
}

impl<T> Default for Piles<T> {
    fn default() -> Self {
        Self { items: Vec::new(), ends: Vec::new() }
    }
}

impl<T: Copy> Piles<T> {
    /// Closed ones.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn begins(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// A closed one.
    #[inline]
    pub(super) fn get(&self, at: usize) -> &[T] {
        &self.items[self.begins(at)..self.ends[at] as usize]
    }

    /// The open one.
    pub(super) fn open(&mut self) -> &mut [T] {
        let begins = self.begins(self.ends.len());
        &mut self.items[begins..]
    }

    /// Puts one more into the open one.
    pub(super) fn push(&mut self, item: T) {
        self.items.push(item);
    }

    /// Puts all of a closed one into the open one.
    pub(super) fn repeat(&mut self, at: usize) {
        self.items.extend_from_within(self.begins(at)..self.ends[at] as usize);
    }

    /// Leaves the first `len` in the open one.
    pub(super) fn truncate(&mut self, len: usize) {
        self.items.truncate(self.begins(self.ends.len()) + len);
    }

    /// Closes the open one; its number.
    pub(super) fn close(&mut self) -> u32 {
        self.ends.push(self.items.len() as u32);
        self.ends.len() as u32 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_lie_one_behind_the_other() {
        let mut piles = Piles::default();
        assert!(piles.open().is_empty());
        [3, 1, 2].into_iter().for_each(|item| piles.push(item));
        piles.open().sort_unstable();
        assert_eq!((piles.close(), piles.close()), (0, 1));
        piles.push(7);
        piles.repeat(0);
        piles.truncate(3);
        assert_eq!(piles.open(), [7, 1, 2]);
        assert_eq!((piles.close(), piles.len()), (2, 3));
        assert_eq!([0, 1, 2].map(|at| piles.get(at)), [&[1, 2, 3][..], &[], &[7, 1, 2]]);
    }
}
