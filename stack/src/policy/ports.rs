//! Which rule is first for a pair of ports, among the rules for one remote prefix.
//!
//! Each rule is one or more rectangles of local × remote ports. A few rectangles are tried in turn. Many are
//! cut into rows: the bounds of one port divide it into classes, and for each class the first rule is a step
//! function of the other port. Where rectangles overlap so much that rows would repeat most of them, ranges of
//! the local port are cut into blocks of powers of two instead (at most thirty a range), a step function for
//! each, and the blocks that hold a port are looked at in the order of their first rules.

use std::collections::{BTreeMap, BTreeSet};

use super::nest::{Block, NONE, Steps, nest};
use super::spec::PortRange;

/// Up to so many rectangles are tried in turn.
pub(super) const LIST: usize = 16;
/// Rows are made when they hold at most so many steps a rectangle…
const ROW_STEPS: usize = 32;
/// …or so many altogether.
const ROW_STEPS_ALWAYS: usize = 4096;

/// A rectangle of ports that belongs to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) local: PortRange,
    pub(super) remote: PortRange,
    /// The rule's place in its table: the lower, the earlier.
    pub(super) rule: u32,
}

impl Cell {
    #[inline]
    fn covers(&self, local: u16, remote: u16) -> bool {
        self.local.contains(local) & self.remote.contains(remote)
    }

    /// Whether nothing after it can be reached.
    pub(super) fn covers_all(&self) -> bool {
        self.local == PortRange::ANY && self.remote == PortRange::ANY
    }
}

/// The first rule among `cells`, which are in the order of their rules; [`NONE`] when none matches.
#[inline]
pub(super) fn first_of(cells: &[Cell], local: u16, remote: u16) -> u32 {
    cells.iter().find(|cell| cell.covers(local, remote)).map_or(NONE, |cell| cell.rule)
}

/// The rectangles of one remote prefix, ready to be searched.
#[derive(Debug)]
pub(super) enum Ports {
    /// Few: in the order of their rules.
    List(Box<[Cell]>),
    /// Local port → row, remote port → rule.
    Rows { class: Steps<u16>, rows: Vec<Steps<u16>> },
    /// The same with the ports changed round.
    Columns { class: Steps<u16>, rows: Vec<Steps<u16>> },
    /// Local port → blocks that hold it, remote port → rule.
    Layers(Layers),
}

impl Ports {
    /// From rectangles in the order of their rules.
    pub(super) fn new(cells: &[Cell]) -> Self {
        if cells.len() <= LIST {
            return Self::List(cells.into());
        }
        let turned: Vec<Cell> =
            cells.iter().map(|c| Cell { local: c.remote, remote: c.local, rule: c.rule }).collect();
        let (by_local, by_remote) = (row_steps(cells), row_steps(&turned));
        if by_local.min(by_remote) > ROW_STEPS_ALWAYS.max(ROW_STEPS * cells.len()) {
            Self::Layers(Layers::new(cells))
        } else if by_local <= by_remote {
            let (class, rows) = rows(cells);
            Self::Rows { class, rows }
        } else {
            let (class, rows) = rows(&turned);
            Self::Columns { class, rows }
        }
    }

    /// The first rule that matches, or [`NONE`].
    #[inline]
    pub(super) fn find(&self, local: u16, remote: u16) -> u32 {
        match self {
            Self::List(cells) => first_of(cells, local, remote),
            Self::Rows { class, rows } => rows[class.find(local) as usize].find(remote),
            Self::Columns { class, rows } => rows[class.find(remote) as usize].find(local),
            Self::Layers(layers) => layers.find(local, remote),
        }
    }
}

/// Where the local ranges begin and end: the cells that begin and that end at each bound.
fn bounds(ranges: impl Iterator<Item = PortRange>) -> BTreeMap<u32, (Vec<u32>, Vec<u32>)> {
    let mut bounds: BTreeMap<u32, (Vec<u32>, Vec<u32>)> = BTreeMap::from([(0, Default::default())]);
    for (i, range) in ranges.enumerate() {
        bounds.entry(u32::from(range.first)).or_default().0.push(i as u32);
        if range.last < u16::MAX {
            bounds.entry(u32::from(range.last) + 1).or_default().1.push(i as u32);
        }
    }
    bounds
}

/// At most how many steps the rows by local port would have.
fn row_steps(cells: &[Cell]) -> usize {
    let (mut open, mut steps) = (0, 0);
    for (begin, end) in bounds(cells.iter().map(|c| c.local)).values() {
        open = open + begin.len() - end.len();
        steps += 2 * open + 1;
    }
    steps
}

/// Classes of the local port, and for each the first rule by remote port.
fn rows(cells: &[Cell]) -> (Steps<u16>, Vec<Steps<u16>>) {
    let mut open: BTreeSet<u32> = BTreeSet::new();
    let (mut cuts, mut rows) = (Vec::new(), Vec::new());
    for (bound, (begin, end)) in bounds(cells.iter().map(|c| c.local)) {
        end.iter().for_each(|cell| _ = open.remove(cell));
        open.extend(begin);
        cuts.push((u128::from(bound), rows.len() as u32));
        rows.push(line(open.iter().map(|&cell| {
            let cell = &cells[cell as usize];
            (cell.remote, cell.rule)
        })));
    }
    (Steps::new(&cuts), rows)
}

/// The first rule for each port, among ranges in the order of their rules.
fn line(ranges: impl Iterator<Item = (PortRange, u32)>) -> Steps<u16> {
    let ranges: Vec<_> = ranges.collect();
    let mut open: BTreeSet<u32> = BTreeSet::new();
    let mut cuts: Vec<(u128, u32)> = Vec::new();
    for (bound, (begin, end)) in bounds(ranges.iter().map(|r| r.0)) {
        end.iter().for_each(|range| _ = open.remove(range));
        open.extend(begin);
        let rule = open.first().map_or(NONE, |&first| ranges[first as usize].1);
        if cuts.last().is_none_or(|last| last.1 != rule) {
            cuts.push((u128::from(bound), rule));
        }
    }
    Steps::new(&cuts)
}

/// Something to be looked at, unless what was found comes before its first rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The first rule that can be found there.
    pub(super) first: u32,
    /// Which.
    pub(super) at: u32,
}

/// Blocks of local ports with a step function of the remote port each.
#[derive(Debug)]
pub(super) struct Layers {
    /// Local port → the innermost block that holds it.
    inner: Steps<u16>,
    /// Of each block: itself and what it lies in, in the order of their first rules, up to where the next begins.
    links: Vec<Link>,
    starts: Vec<u32>,
    lines: Vec<Steps<u16>>,
}

impl Layers {
    fn new(cells: &[Cell]) -> Self {
        let mut blocks: BTreeMap<Block, Vec<(PortRange, u32)>> = BTreeMap::new();
        for cell in cells {
            for block in blocks_of(cell.local) {
                blocks.entry(block).or_default().push((cell.remote, cell.rule));
            }
        }
        let names: Vec<Block> = blocks.keys().copied().collect();
        let (cuts, parents) = nest::<u16>(&names);
        let inner = Steps::new(&cuts);
        let firsts: Vec<u32> = blocks.values().map(|ranges| ranges[0].1).collect();
        let lines = blocks.into_values().map(|ranges| line(ranges.into_iter())).collect();
        let (mut links, mut starts) = (Vec::new(), vec![0]);
        for block in 0..parents.len() as u32 {
            let start = links.len();
            let up = |&at: &u32| Some(parents[at as usize]).filter(|&parent| parent != NONE);
            let chain = core::iter::successors(Some(block), up);
            links.extend(chain.map(|at| Link { first: firsts[at as usize], at }));
            links[start..].sort_unstable_by_key(|link: &Link| link.first);
            starts.push(links.len() as u32);
        }
        Self { inner, links, starts, lines }
    }

    fn find(&self, local: u16, remote: u16) -> u32 {
        let block = self.inner.find(local);
        if block == NONE {
            return NONE;
        }
        let (start, end) = (self.starts[block as usize], self.starts[block as usize + 1]);
        let mut best = NONE;
        for link in &self.links[start as usize..end as usize] {
            if link.first >= best {
                break;
            }
            best = best.min(self.lines[link.at as usize].find(remote));
        }
        best
    }
}

/// The range as the fewest blocks of powers of two.
fn blocks_of(range: PortRange) -> impl Iterator<Item = Block> {
    let (mut at, end) = (u32::from(range.first), u32::from(range.last) + 1);
    core::iter::from_fn(move || {
        let left = end.checked_sub(at).filter(|left| *left > 0)?;
        let bits = at.trailing_zeros().min(left.ilog2()).min(16);
        let block = (u128::from(at), (16 - bits) as u8);
        at += 1 << bits;
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_blocks() {
        let blocks = |first, last| blocks_of(PortRange { first, last }).collect::<Vec<_>>();
        assert_eq!(blocks(0, 65535), [(0, 0)]);
        assert_eq!(blocks(80, 80), [(80, 16)]);
        assert_eq!(blocks(1, 6), [(1, 16), (2, 15), (4, 15), (6, 16)]);
        assert_eq!(blocks(1, 65534).len(), 30);
        assert_eq!(blocks(2, 1), []);
    }

    /// Trying all rectangles is the judge, for shapes that lead to each of the four forms.
    #[test]
    fn equals_trying_each() {
        let mut x = 1_u64;
        let mut random = move |below: u32| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((x >> 33) % u64::from(below)) as u16
        };
        let mut forms = BTreeSet::new();
        for (count, wide_local, wide_remote) in [
            (5, 1000, 1000),
            (16, 60_000, 60_000),
            (100, 1, 65_535),
            (100, 65_535, 1),
            (300, 1, 1),
            (400, 60_000, 60_000),
        ] {
            let mut range = |wide: u32| {
                let first = random(65_536);
                PortRange { first, last: first.saturating_add(random(wide)) }
            };
            let cells: Vec<Cell> = (0..count)
                .map(|rule| Cell { local: range(wide_local), remote: range(wide_remote), rule })
                .collect();
            let ports = Ports::new(&cells);
            forms.insert(match &ports {
                Ports::List(_) => "list",
                Ports::Rows { .. } => "rows",
                Ports::Columns { .. } => "columns",
                Ports::Layers(_) => "layers",
            });
            let edges = |range: PortRange| {
                [range.first, range.first.wrapping_sub(1), range.last, range.last.wrapping_add(1)]
            };
            for i in 0..cells.len() {
                let other = cells[(i * 7 + 3) % cells.len()];
                for local in edges(cells[i].local) {
                    for remote in edges(cells[i].remote).into_iter().chain(edges(other.remote)) {
                        let expected = first_of(&cells, local, remote);
                        assert_eq!(ports.find(local, remote), expected, "{count} {local} {remote}");
                    }
                }
            }
        }
        assert_eq!(forms.into_iter().collect::<Vec<_>>(), ["columns", "layers", "list", "rows"]);
    }
}
