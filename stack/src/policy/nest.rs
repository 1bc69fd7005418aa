//! Prefixes that lie in one another, cut into intervals, so that one search finds the innermost.
//!
//! Prefixes either nest or are disjoint. Their bounds cut the number line into at most twice as many intervals
//! plus one; in each the same prefix is innermost, and whatever else matches is an ancestor of it.

use core::hint::select_unpredictable;
use core::ops::Range;

use nic::Frozen;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::image::{Item, Reader, Writer, put_part};

/// No prefix.
pub(super) const NONE: u32 = u32::MAX;

/// A number that prefixes are prefixes of.
pub(super) trait Bits: Item + Ord + Send + Sync + 'static {
    /// Its width.
    const WIDTH: u32;
    /// Whether it is better guessed where one is: a right guess lets the processor go on to the next wait for memory, a place
    /// that is computed does not, and to compare wide numbers takes long.
    const GUESSED: bool = Self::WIDTH > 64;
    /// From the low bits of `wide`.
    fn narrow(wide: u128) -> Self;
    /// How far it is beyond `low`, in units of two to the `shift`; everything too far is far.
    fn beyond(self, low: Self, shift: u32) -> usize;
    /// The first of all.
    const ZERO: Self;
}

macro_rules! bits {
    ($($number:ty),*) => {$(
        impl Bits for $number {
            const WIDTH: u32 = Self::BITS;
            const ZERO: Self = 0;
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
///
/// Steps are found through an index of equal parts of where they are. Addresses come in clusters: a part in which
/// many steps are has an index of its own, which is as wide as they lie apart.
#[derive(Debug)]
pub(super) struct Steps<T> {
    /// The first begins at zero.
    steps: Frozen<Step<T>>,
    /// Of all steps but the first; none when there are few.
    root: Option<Node<T>>,
    /// Those of parts; each before that in whose part it is.
    nodes: Frozen<Node<T>>,
    /// The parts of all nodes, as [`Part`] says.
    index: Frozen<Part>,
}

/// Where an interval begins, and the value in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Step<T> {
    pub(super) at: T,
    pub(super) value: u32,
}

impl<T: Item> Item for Step<T> {
    fn put(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        self.at.put(bytes);
        put_part(&self.value, start, bytes);
    }
}

/// An index of a stretch, from one step to another.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Node<T> {
    /// The first step in it.
    low: T,
    /// How many steps are before it.
    from: u32,
    /// The size of a part, as a power of two.
    shift: u32,
    /// Where its parts begin, and how many come after the first. Behind them is one for where it ends.
    parts: u32,
    last: u32,
}

impl<T: Item> Item for Node<T> {
    fn put(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        self.low.put(bytes);
        for part in [self.from, self.shift, self.parts, self.last] {
            put_part(&part, start, bytes);
        }
    }
}

/// What is in a part: a node, or so many steps after so many others.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(transparent)]
struct Part(u32);

impl Item for Part {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.0.put(bytes);
    }
}

impl Part {
    const NODE: u32 = 1 << 31;
    /// Bits for how many steps are before it.
    const FROM: u32 = 23;
    /// So many steps or more: up to where the next part begins.
    const MANY: usize = 0xff;

    fn of_steps(from: usize, count: usize) -> Self {
        Self((count.min(Self::MANY) << Self::FROM | from) as u32)
    }

    fn node(self) -> Option<usize> {
        (self.0 & Self::NODE != 0).then_some((self.0 & !Self::NODE) as usize)
    }

    fn from(self) -> usize {
        (self.0 & ((1 << Self::FROM) - 1)) as usize
    }

    fn count(self) -> usize {
        (self.0 >> Self::FROM) as usize
    }
}

/// Up to so many intervals, searching is quicker than an index; beyond so many there is no room in it.
const UNINDEXED: usize = 16;
const MOST: usize = 1 << Part::FROM;
/// Parts of a node at the most, as a power of two.
const PARTS: u32 = 18;
/// Steps in a part that are searched, which is quicker than a guess where the way ends; and nodes in one another at the
/// most.
const FEW: usize = 31;
const DEPTH: u32 = 4;

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
        let step = |&(start, value): &(u128, u32)| Step { at: T::narrow(start), value };
        let steps = cuts.iter().map(step).collect::<Vec<_>>().into();
        let mut index = Index { nodes: Vec::new(), parts: Vec::new() };
        let is_indexed = (UNINDEXED + 1..MOST).contains(&cuts.len());
        let root = is_indexed.then(|| index.grow(cuts, 1..cuts.len(), 1));
        Self { steps, root, nodes: index.nodes.into(), index: index.parts.into() }
    }
    /// The value at `number`.
    #[inline(always)]
    pub(super) fn find(&self, number: T) -> u32 {
        let (mut begun, mut to) = (1, self.steps.len());
        let mut node = self.root.as_ref();
        while let Some(Node { low, from: before, shift, parts, last }) = node {
            if number < *low {
                return self.steps[*before as usize - 1].value;
            }
            let at = *parts as usize + number.beyond(*low, *shift).min(*last as usize);
            let part = self.index[at];
            node = part.node().and_then(|node| self.nodes.get(node));
            (begun, to) = (part.from(), part.from() + part.count());
            if node.is_none() && part.count() == Part::MANY {
                to = self.begins(self.index[at + 1]);
            }
        }
        // At least one begins at or before `number`: the first of all is at zero.
        let (mut at, mut left) = (begun - 1, to + 1 - begun);
        while left > 1 {
            let half = left / 2;
            let is_beyond = self.steps[at + half].at <= number;
            at = match T::GUESSED {
                true if is_beyond => at + half,
                true => at,
                false => select_unpredictable(is_beyond, at + half, at),
            };
            left -= half;
        }
        self.steps[at].value
    }
    /// How many steps are before a part.
    fn begins(&self, part: Part) -> usize {
        part.node().map_or(part.from(), |node| self.nodes[node].from as usize)
    }

    /// Whether there is nothing anywhere.
    pub(super) fn is_nothing(&self) -> bool {
        self.steps.len() == 1 && self.steps[0].value == NONE
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.list(&self.steps);
        to.list(self.root.as_slice());
        to.list(&self.nodes);
        to.list(&self.index);
    }

    /// One whose values are `right`.
    pub(super) fn read(from: &mut Reader<'_>, right: impl Fn(u32) -> bool) -> Option<Self> {
        let steps: Frozen<Step<T>> = from.list()?;
        let root: Frozen<Node<T>> = from.list()?;
        let all = Self { steps, root: root.first().copied(), nodes: from.list()?, index: from.list()? };
        let steps = &all.steps;
        let begins = steps.first().is_some_and(|first| first.at == T::ZERO);
        let is_right = begins
            && steps.is_sorted_by(|a, b| a.at < b.at)
            && steps.iter().all(|step| step.value == NONE || right(step.value))
            && all.is_indexed_rightly();
        is_right.then_some(all)
    }

    /// Whether all nodes lead to steps that are there, and on to those before them.
    fn is_indexed_rightly(&self) -> bool {
        let (steps, index) = (self.steps.len(), &*self.index);
        // No part belongs to two nodes, so this is no longer than the index.
        let mut left = index.len();
        let is_right = |(number, node): (usize, &Node<T>)| {
            let count = node.last as usize + 2;
            let Some(parts) =
                (node.parts as usize).checked_add(count).and_then(|end| index.get(node.parts as usize..end))
            else {
                return false;
            };
            let Some(after) = left.checked_sub(count) else { return false };
            left = after;
            let leads = |part: &Part| part.node().is_none_or(|other| other < number);
            if node.from == 0
                || node.from as usize > steps
                || node.shift >= T::WIDTH
                || !parts.iter().all(leads)
            {
                return false;
            }
            parts.windows(2).all(|pair| {
                let [part, next] = [pair[0], pair[1]];
                let (from, count) = (part.from(), part.count());
                let to = if count == Part::MANY { self.begins(next) } else { from + count };
                part.node().is_some() || (1 <= from && from <= to && to <= steps)
            })
        };
        self.nodes.iter().chain(self.root.as_ref()).enumerate().all(is_right)
    }
}

/// The index of steps, in the making.
struct Index<T> {
    nodes: Vec<Node<T>>,
    parts: Vec<Part>,
}

impl<T: Bits> Index<T> {
    /// The node of some of the steps, with those of its parts.
    fn grow(&mut self, cuts: &[(u128, u32)], steps: Range<usize>, depth: u32) -> Node<T> {
        let (low, high) = (cuts[steps.start].0, cuts[steps.end - 1].0);
        // One to four parts a step: most then have one or none, and which it is, is guessed well.
        let parts = (steps.len().ilog2() + 2).min(PARTS);
        let shift = (128 - (high - low).leading_zeros()).saturating_sub(parts);
        let (first, last) = (self.parts.len(), ((high - low) >> shift) as usize);
        self.parts.resize(first + last + 2, Part::of_steps(steps.end, 0));
        let mut to = steps.start;
        for part in 0..=last {
            let from = to;
            to +=
                cuts[from..steps.end].iter().take_while(|cut| (cut.0 - low) >> shift == part as u128).count();
            self.parts[first + part] = if to - from <= FEW || depth == DEPTH {
                Part::of_steps(from, to - from)
            } else {
                let node = self.grow(cuts, from..to, depth + 1);
                self.nodes.push(node);
                Part(Part::NODE | (self.nodes.len() - 1) as u32)
            };
        }
        let [from, parts, last] = [steps.start, first, last].map(|number| number as u32);
        Node { low: T::narrow(low), from, shift, parts, last }
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

    /// Clusters in clusters, down to more nodes in one another than there may be.
    #[test]
    fn steps_in_clusters_are_found_by_any_number_near_them() {
        let mut cuts = vec![(0, NONE)];
        let mut deepest = 0;
        for cluster in 0..9_u128 {
            // Each lies where the one before ends, and is a hundred thousand times as wide.
            let (start, wide) = (100_000_u128.pow(cluster as u32 % 8) * (1 + cluster), 1 << (cluster * 12));
            let last = cuts.last().map_or(0, |cut: &(u128, u32)| cut.0);
            cuts.extend((1..=600).map(|n| (last + start + n * wide, (cluster * 600 + n) as u32)));
        }
        let steps = Steps::<u128>::new(&cuts);
        let mut node = steps.root.as_ref();
        while let Some(found) = node {
            deepest += 1;
            let parts = &steps.index[found.parts as usize..=(found.parts + found.last) as usize];
            node = parts.iter().find_map(|part| steps.nodes.get(part.node()?));
        }
        assert_eq!(deepest, DEPTH);
        assert!(steps.index.iter().any(|part| part.node().is_none() && part.count() == Part::MANY));
        for at in 1..cuts.len() {
            assert_eq!([cuts[at].0 - 1, cuts[at].0, cuts[at].0 + 1].map(|n| steps.find(n)), {
                let after =
                    cuts.get(at + 1).filter(|cut| cut.0 == cuts[at].0 + 1).map_or(cuts[at].1, |cut| cut.1);
                [cuts[at - 1].1, cuts[at].1, after]
            });
        }
        assert_eq!(steps.find(u128::MAX), cuts[cuts.len() - 1].1);
    }
}
