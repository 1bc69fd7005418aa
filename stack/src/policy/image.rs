//! A compiled policy as bytes that another process can judge by where they are, without making any of it anew.
//!
//! Items lie as they are in memory, one list behind the other; behind them words say, in the order in which the parts of a
//! policy ask, where each list is and what is not in lists. There are no pointers. Whoever wrote the bytes may have meant
//! anything: all that a search follows is looked at once, when the parts are put together, so that no search can leave its
//! lists or go round in circles. That what is found is what the rules say is the writer's to see to: it is somebody who may
//! put any policy in force.

use core::mem;

use nic::Frozen;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// How an image begins: what it is, and in which form, which is another one whenever a part is laid out in another way or
/// means something else.
const MAGIC: u32 = 0x5272_6701;
const FORM: u32 = form(env!("CARGO_PKG_VERSION").as_bytes(), 1);
/// Words at the beginning: the two above, where the words are that say what is where, in units of [`UNIT`], and how many.
const HEAD: usize = 4;
/// Every list begins at a multiple of so many bytes.
const UNIT: usize = 16;

/// One number for the version of the product and that of the form.
const fn form(version: &[u8], number: u32) -> u32 {
    let (mut sum, mut at) = (number, 0);
    while at < version.len() {
        sum = sum.wrapping_mul(31).wrapping_add(version[at] as u32);
        at += 1;
    }
    sum
}

/// What can be in a list.
pub(super) trait Item: FromBytes + Immutable + KnownLayout + Copy {
    /// Appends its bytes, as they are in memory; what is missing at its end is filled up.
    fn put(&self, bytes: &mut Vec<u8>);
}

macro_rules! items {
    ($($number:ty),*) => {$(
        impl Item for $number {
            fn put(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}

items!(u8, u16, u32, u64, u128);

/// Appends `part` of an item that begins at `start` where it lies in memory.
pub(super) fn put_part<T: Item>(part: &T, start: usize, bytes: &mut Vec<u8>) {
    let at = (bytes.len() - start).next_multiple_of(mem::align_of::<T>());
    bytes.resize(start + at, 0);
    part.put(bytes);
}

/// An image in the making.
pub(super) struct Writer {
    bytes: Vec<u8>,
    words: Vec<u32>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEAD * mem::size_of::<u32>()], words: Vec::new() }
    }

    pub(super) fn word(&mut self, word: u32) {
        self.words.push(word);
    }

    /// A list of items.
    pub(super) fn list<T: Item>(&mut self, items: &[T]) {
        let start = self.append(items);
        self.words.extend([start, items.len() as u32]);
    }

    /// Where it is.
    fn append<T: Item>(&mut self, items: &[T]) -> u32 {
        let start = self.bytes.len().next_multiple_of(UNIT);
        self.bytes.reserve(start - self.bytes.len() + mem::size_of_val(items));
        self.bytes.resize(start, 0);
        for (number, item) in items.iter().enumerate() {
            item.put(&mut self.bytes);
            self.bytes.resize(start + (number + 1) * mem::size_of::<T>(), 0);
        }
        (start / UNIT) as u32
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let words = mem::take(&mut self.words);
        let head = [MAGIC, FORM, self.append(&words), words.len() as u32];
        for (place, word) in self.bytes.chunks_exact_mut(mem::size_of::<u32>()).zip(head) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        self.bytes
    }
}

/// An image that is read. Nothing of it is believed: whatever is not there, or not right, is `None`.
pub(super) struct Reader<'i> {
    image: &'i Frozen<u8>,
    words: Frozen<u32>,
    at: usize,
}

impl<'i> Reader<'i> {
    pub(super) fn new(image: &'i Frozen<u8>) -> Option<Self> {
        let head: Frozen<u32> = image.view(0, HEAD)?;
        let [MAGIC, FORM, start, count] = head[..] else { return None };
        let words = image.view((start as usize).checked_mul(UNIT)?, count as usize)?;
        Some(Self { image, words, at: 0 })
    }

    pub(super) fn word(&mut self) -> Option<u32> {
        let word = *self.words.get(self.at)?;
        self.at += 1;
        Some(word)
    }

    /// A word that says yes or no.
    pub(super) fn truth(&mut self) -> Option<bool> {
        match self.word()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn list<T: Item>(&mut self) -> Option<Frozen<T>> {
        let start = (self.word()? as usize).checked_mul(UNIT)?;
        let count = self.word()? as usize;
        self.image.view(start, count)
    }

    /// So many parts as the next word says. There is no room made for what may not be there.
    pub(super) fn each<T>(&mut self, mut part: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.word()? as usize;
        // Each part has a word of its own, at the least.
        if count > self.words.len() - self.at {
            return None;
        }
        (0..count).map(|_| part(self)).collect()
    }

    /// Whether all was read.
    pub(super) fn is_over(&self) -> bool {
        self.at == self.words.len()
    }
}

/// Whether `value` is nothing, or below `end`.
pub(super) fn is_below(value: u32, end: usize) -> bool {
    value == super::nest::NONE || (value as usize) < end
}

/// Whether `ends`, where each of some lists ends, go on and on and not beyond `end`.
pub(super) fn are_ends(ends: &[u32], end: usize) -> bool {
    ends.is_sorted() && ends.last().is_none_or(|last| *last as usize <= end)
}
