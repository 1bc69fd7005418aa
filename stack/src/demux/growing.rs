//! Open addressing in an array of words that grows a little at a time: what `table` and `index` share.
//!
//! An entry is one run of words, so that a lookup of a flow that nobody asked for lately costs one cache miss, at ten
//! flows as at a million. Collisions go to the next slot; removing closes the gap, so there are no tombstones to
//! slow lookups down as flows come and go.
//!
//! When the array is five eighths full, one twice as long takes its place: new entries go there, and every change moves
//! some old entries over. The new array is zeroed memory, which the allocator gets from the system untouched, so that
//! no single insertion pays for all of it. (Zeroes of that kind are to be had for integers and arrays of them only.)

/// Slots of a new array.
pub(super) const SMALLEST: usize = 16;
/// Old slots moved per change. Any more than 8/5 empties the old array before the new one is full.
const MOVES: usize = 16;
/// An old slot whose entry has moved or was removed: look further.
const GONE: u64 = u64::MAX;

/// What an entry of `W` words means.
pub(super) trait Layout<const W: usize> {
    /// The word that is neither zero nor all ones in an entry: a slot is empty where it is zero.
    const MARK: usize;

    /// The hash by which an entry has its place; the lower 32 bits are enough.
    fn hash(&self, entry: &[u64; W]) -> u64;
}

/// An array of entries.
#[derive(Debug)]
pub(super) struct Growing<L, const W: usize> {
    pub(super) layout: L,
    slots: Vec<[u64; W]>,
    /// Entries, those in `old` included.
    len: usize,
    /// What the array grew out of; empty when all has moved.
    old: Vec<[u64; W]>,
    /// Old slots before this one have moved.
    moved: usize,
}

impl<L: Layout<W>, const W: usize> Growing<L, W> {
    /// An array of `slots` slots, which is a power of two.
    pub(super) fn new(layout: L, slots: usize) -> Self {
        Self { layout, slots: vec![[0; W]; slots], len: 0, old: Vec::new(), moved: 0 }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot at which the search for a hash begins.
    #[inline]
    pub(super) fn first(&self, hash: u64) -> Option<&[u64; W]> {
        self.slots.get(hash as usize & (self.slots.len() - 1))
    }

    /// The entry with this hash that is `wanted`, which no slot without an entry may be.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, wanted: impl Fn(&[u64; W]) -> bool) -> Option<&[u64; W]> {
        match search::<L, W>(&self.slots, hash, &wanted) {
            Some(at) => self.slots.get(at),
            None if self.old.is_empty() => None,
            None => self.find_old(hash, &wanted),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_old(&self, hash: u64, wanted: &impl Fn(&[u64; W]) -> bool) -> Option<&[u64; W]> {
        search::<L, W>(&self.old, hash, wanted).and_then(|at| self.old.get(at))
    }

    /// As [`Growing::find`], to be changed in what neither its hash nor its mark comes from.
    pub(super) fn find_mut(
        &mut self,
        hash: u64,
        wanted: impl Fn(&[u64; W]) -> bool,
    ) -> Option<&mut [u64; W]> {
        if let Some(at) = search::<L, W>(&self.slots, hash, &wanted) {
            return self.slots.get_mut(at);
        }
        search::<L, W>(&self.old, hash, &wanted).and_then(|at| self.old.get_mut(at))
    }

    /// Keeps an entry that is not held yet.
    pub(super) fn add(&mut self, entry: [u64; W]) {
        debug_assert!(entry[L::MARK] != 0 && entry[L::MARK] != GONE);
        self.move_some();
        if self.len >= self.slots.len() / 8 * 5 {
            self.grow();
        }
        put(&self.layout, &mut self.slots, entry);
        self.len += 1;
    }

    /// Removes what [`Growing::find`] finds.
    pub(super) fn remove(&mut self, hash: u64, wanted: impl Fn(&[u64; W]) -> bool) -> Option<[u64; W]> {
        self.move_some();
        let entry = if let Some(at) = search::<L, W>(&self.slots, hash, &wanted) {
            let entry = self.slots[at];
            self.close_gap(at);
            entry
        } else {
            let at = search::<L, W>(&self.old, hash, &wanted)?;
            let entry = self.old[at];
            self.old[at][L::MARK] = GONE;
            entry
        };
        self.len -= 1;
        Some(entry)
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
            if holds::<L, W>(&entry) {
                put(&self.layout, &mut self.slots, entry);
                // What was empty stays so: there a search ends.
                self.old[self.moved][L::MARK] = GONE;
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
            if entry[L::MARK] == 0 {
                break;
            }
            let home = self.layout.hash(&entry) as usize & mask;
            // The entry may move up when its home is not behind the gap, counted round the ring.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.slots[gap] = entry;
                gap = at;
            }
        }
        self.slots[gap] = [0; W];
    }

    /// Slots of the array, of the one it grew out of, and how many of both hold entries.
    #[cfg(test)]
    pub(super) fn shape(&self) -> (usize, usize, usize) {
        let held = self.slots.iter().chain(&self.old).filter(|slot| holds::<L, W>(slot)).count();
        (self.slots.len(), self.old.len(), held)
    }
}

#[inline]
fn holds<L: Layout<W>, const W: usize>(slot: &[u64; W]) -> bool {
    slot[L::MARK] != 0 && slot[L::MARK] != GONE
}

/// Where in a run the entry is that is wanted. An array is never full, so the search ends.
#[inline(always)]
fn search<L: Layout<W>, const W: usize>(
    slots: &[[u64; W]],
    hash: u64,
    wanted: &impl Fn(&[u64; W]) -> bool,
) -> Option<usize> {
    let mask = slots.len().checked_sub(1)?;
    let mut at = hash as usize & mask;
    loop {
        let slot = slots.get(at)?;
        if slot[L::MARK] == 0 {
            return None;
        }
        if wanted(slot) {
            return Some(at);
        }
        at = (at + 1) & mask;
    }
}

#[inline]
fn put<L: Layout<W>, const W: usize>(layout: &L, slots: &mut [[u64; W]], entry: [u64; W]) {
    let mask = slots.len() - 1;
    let mut at = layout.hash(&entry) as usize & mask;
    while slots[at][L::MARK] != 0 {
        at = (at + 1) & mask;
    }
    slots[at] = entry;
}
