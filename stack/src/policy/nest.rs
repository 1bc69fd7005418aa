//! Prefixes that lie in one another, cut into intervals, so that one search finds the innermost.
//!
//! Prefixes either nest or are disjoint. Their bounds cut the number line into at most twice as many intervals
//! plus one; in each the same prefix is innermost, and whatever else matches is an ancestor of it.

/// No prefix.
pub(super) const NONE: u32 = u32::MAX;

/// A number that prefixes are prefixes of.
pub(super) trait Bits: Copy + Ord {
    /// Its width.
    const WIDTH: u32;
    /// From the low bits of `wide`.
    fn narrow(wide: u128) -> Self;
    /// How far it is beyond `low`, in units of two to the `shift`; everything too far is far.
    fn beyond(self, low: Self, shift: u32) -> usize;
}

macro_rules! bits {
    ($($number:ty),*) => {$(
        impl Bits for $number {
            const WIDTH: u32 = Self::BITS;
            fn narrow(wide: u128) -> Self {
                wide as Self
            }
            #[inline]
            fn beyond(self, low: Self, shift: u32) -> usize {
                usize::try_from((self - low) >> shift).unwrap_or(usize::MAX)
            }
        }
    )*};
}

bits!(u16, u32, u128);

/// A prefix: the first number in it, and how many bits its numbers share.
pub(super) type Block = (u128, u8);

/// A function of a number that is constant between a few steps.
#[derive(Debug)]
pub(super) struct Steps<T> {
    /// Where each interval begins; the first at zero.
    starts: Vec<T>,
    /// The value in each.
    values: Vec<u32>,
    /// The stretch from the second start to the last in equal parts: how many intervals begin before each. Empty when
    /// there are few intervals.
    index: Vec<u32>,
    /// The size of a part, as a power of two.
    shift: u32,
}

/// Up to so many intervals, searching is quicker than an index.
const UNINDEXED: usize = 16;
/// Parts of an index at the most, as a power of two.
const PARTS: u32 = 18;

impl<T: Bits> Steps<T> {
    /// From the bounds as [`nest`] returns them, with other names for what it found.
    pub(super) fn renamed(cuts: &[(u128, u32)], name: impl Fn(u32) -> u32) -> Self {
        let named = |value| if value == NONE { NONE } else { name(value) };
        let mut cuts: Vec<(u128, u32)> = cuts.iter().map(|&(start, value)| (start, named(value))).collect();
        cuts.dedup_by_key(|cut| cut.1);
        Self::new(&cuts)
    }

    /// From the bounds and the value from each on; the first bound is zero.
    pub(super) fn new(cuts: &[(u128, u32)]) -> Self {
        debug_assert!(cuts.first().is_some_and(|cut| cut.0 == 0) && cuts.is_sorted_by(|a, b| a.0 < b.0));
        let starts: Vec<T> = cuts.iter().map(|&(start, _)| T::narrow(start)).collect();
        let values = cuts.iter().map(|&(_, value)| value).collect();
        if starts.len() <= UNINDEXED {
            return Self { starts, values, index: Vec::new(), shift: 0 };
        }
        // Where the starts are, one to four parts an interval.
        let (low, high) = (cuts[1].0, cuts[cuts.len() - 1].0);
        let parts = (starts.len().ilog2() + 1).min(PARTS);
        let shift = (128 - (high - low).leading_zeros()).saturating_sub(parts);
        let mut at = 0;
        let before = |part: u128| {
            while at < cuts.len() && cuts[at].0 < low + (part << shift) {
                at += 1;
            }
            at as u32
        };
        let mut index: Vec<u32> = (0..=(high - low) >> shift).map(before).collect();
        index.push(starts.len() as u32);
        Self { starts, values, index, shift }
    }

    /// The value at `number`.
    #[inline]
    pub(super) fn find(&self, number: T) -> u32 {
        let (from, to) = match self.starts.get(1) {
            Some(&low) if !self.index.is_empty() => {
                if number < low {
                    return self.values[0];
                }
                let part = number.beyond(low, self.shift).min(self.index.len() - 2);
                (self.index[part] as usize, self.index[part + 1] as usize)
            }
            _ => (0, self.starts.len()),
        };
        // The first interval begins at zero, so that at least one begins at or before `number`.
        let begun = from + self.starts[from..to].partition_point(|start| *start <= number);
        self.values[begun - 1]
    }
}

/// Cuts at the bounds of `blocks`, which are sorted and distinct. Returns the bounds with the innermost block (by
/// position, or [`NONE`]) from each on, and each block's parent: the smallest one that it lies in.
pub(super) fn nest<T: Bits>(blocks: &[Block]) -> (Vec<(u128, u32)>, Vec<u32>) {
    debug_assert!(blocks.is_sorted_by(|a, b| a < b));
    let mut cuts: Vec<(u128, u32)> = vec![(0, NONE)];
    let mut cut = |start: u128, inner: u32| match cuts.last_mut() {
        Some(last) if last.0 == start => last.1 = inner,
        _ => cuts.push((start, inner)),
    };
    let mut parents = Vec::with_capacity(blocks.len());
    let mut open: Vec<u32> = Vec::new();
    let end = |block: u32| last_of::<T>(blocks[block as usize]);
    let innermost = |open: &[u32]| open.last().copied().unwrap_or(NONE);
    for (i, &(start, _)) in blocks.iter().enumerate() {
        while open.last().is_some_and(|&top| end(top) < start) {
            let closed = open.pop().map_or(0, end);
            cut(closed + 1, innermost(&open));
        }
        parents.push(innermost(&open));
        open.push(i as u32);
        cut(start, i as u32);
    }
    while let Some(top) = open.pop() {
        if end(top) < last_of::<T>((0, 0)) {
            cut(end(top) + 1, innermost(&open));
        }
    }
    (cuts, parents)
}

/// The highest number of `block`.
fn last_of<T: Bits>((start, len): Block) -> u128 {
    let free = T::WIDTH - u32::from(len);
    start | 1_u128.checked_shl(free).map_or(u128::MAX, |size| size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_prefixes_are_found_innermost_first() {
        // 0/0 ⊃ 10/8 ⊃ 10.1/16 ⊃ 10.1.0.0/32, and 255.255.255.255/32.
        let blocks = [(0, 0), (0x0a00_0000, 8), (0x0a01_0000, 16), (0x0a01_0000, 32), (0xffff_ffff, 32)];
        let (cuts, parents) = nest::<u32>(&blocks);
        let steps = Steps::<u32>::new(&cuts);
        assert_eq!(parents, [NONE, 0, 1, 2, 0]);
        for (number, block) in [
            (0, 0),
            (0x09ff_ffff, 0),
            (0x0a00_0000, 1),
            (0x0a00_ffff, 1),
            (0x0a01_0000, 3),
            (0x0a01_0001, 2),
            (0x0a01_ffff, 2),
            (0x0a02_0000, 1),
            (0x0b00_0000, 0),
            (0xffff_fffe, 0),
            (0xffff_ffff, 4),
        ] {
            assert_eq!(steps.find(number), block, "{number:x}");
        }
    }

    #[test]
    fn without_prefixes_nothing_is_found() {
        let (cuts, parents) = nest::<u128>(&[]);
        let steps = Steps::<u128>::new(&cuts);
        assert_eq!((steps.find(0), steps.find(u128::MAX), parents.len()), (NONE, NONE, 0));
    }

    /// All prefixes of a set are tried in turn: the longest that holds the number is the judge.
    fn equals_the_longest<T: Bits + core::fmt::Debug>(mut random: impl FnMut() -> u128, count: usize) {
        let mut blocks: Vec<Block> = (0..count)
            .map(|_| {
                let len = (random() % (u128::from(T::WIDTH) + 1)) as u8;
                let mask = u128::MAX.checked_shl(T::WIDTH - u32::from(len)).unwrap_or(0);
                let all = u128::MAX >> (128 - T::WIDTH);
                (random() & all & mask, len)
            })
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        let steps = Steps::<T>::new(&nest::<T>(&blocks).0);
        let near: Vec<u128> = blocks
            .iter()
            .flat_map(|&b| [b.0, b.0.wrapping_sub(1), last_of::<T>(b), last_of::<T>(b).wrapping_add(1)])
            .collect();
        for number in near.into_iter().chain((0..1000).map(|_| random())) {
            let number = number & (u128::MAX >> (128 - T::WIDTH));
            let longest = (0..blocks.len())
                .filter(|&i| blocks[i].0 <= number && number <= last_of::<T>(blocks[i]))
                .max_by_key(|&i| blocks[i].1);
            assert_eq!(steps.find(T::narrow(number)), longest.map_or(NONE, |i| i as u32), "{number:x}");
        }
    }

    #[test]
    fn equals_a_linear_search() {
        let mut x = 7_u128;
        let mut random = move || {
            x = x.wrapping_mul(0xda94_2042_e4dd_58b5).wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            x.rotate_left(64) ^ x >> 17
        };
        for count in [1, 5, 16, 100, 700] {
            equals_the_longest::<u16>(&mut random, count);
            equals_the_longest::<u32>(&mut random, count);
            equals_the_longest::<u128>(&mut random, count);
        }
    }
}
