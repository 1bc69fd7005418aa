//! Which rule is first for a pair of ports, among the rules for one remote prefix.
//!
//! Each rule is one or more rectangles of local × remote ports. A few are tried in turn ([`Lists`]). Many are
//! cut into rows: the bounds of one port divide it into classes, and for each class the first rule is a step
//! function of the other port, up to the first rectangle that covers all of that; mostly it is one rule for all. Where
//! rectangles overlap so much that rows would repeat most of them, ranges of the local port are cut into blocks of powers
//! of two instead (at most thirty a range), a step function for each, and the blocks that hold a port are looked at in the
//! order of their first rules.

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
        // One comparison each, and no branch: a range is never empty.
        let holds = |ports: PortRange, port: u16| port.wrapping_sub(ports.first) <= ports.last - ports.first;
        holds(self.local, local) & holds(self.remote, remote)
    }

    /// Whether nothing after it can be reached.
    pub(super) fn covers_all(&self) -> bool {
        self.local == PortRange::ANY && self.remote == PortRange::ANY
    }

    /// The same with the ports changed round.
    fn turned(&self) -> Self {
        Cell { local: self.remote, remote: self.local, rule: self.rule }
    }
}

/// Lists of rectangles, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<Cell>);

/// Marks the rule of a list's last rectangle.
const LAST: u32 = 1 << 31;

impl Lists {
    /// Appends a list of rectangles, at least one, in the order of their rules; where it begins.
    pub(super) fn push(&mut self, cells: &[Cell]) -> u32 {
        let at = self.0.len();
        self.0.extend(cells);
        if let Some(last) = self.0.last_mut() {
            last.rule |= LAST;
        }
        at as u32
    }

    /// The first rule of the list at `at` that matches; [`NONE`] when none does.
    #[inline]
    pub(super) fn find(&self, at: u32, local: u16, remote: u16) -> u32 {
        for cell in &self.0[at as usize..] {
            if cell.covers(local, remote) {
                return cell.rule & !LAST;
            }
            if cell.rule & LAST != 0 {
                break;
            }
        }
        NONE
    }
}

/// The first rule among `cells`, which are in the order of their rules; [`NONE`] when none matches.
#[cfg(test)]
fn first_of(cells: &[Cell], local: u16, remote: u16) -> u32 {
    cells.iter().find(|cell| cell.covers(local, remote)).map_or(NONE, |cell| cell.rule)
}

/// The rectangles of one remote prefix, more than [`LIST`], ready to be searched.
#[derive(Debug)]
pub(super) enum Ports {
    /// Local port → remote port → rule.
    Rows(Rows),
    /// The same with the ports changed round.
    Columns(Rows),
    /// Local port → blocks that hold it, remote port → rule.
    Layers(Layers),
}

impl Ports {
    /// From rectangles in the order of their rules.
    pub(super) fn new(cells: &[Cell]) -> Self {
        let most = ROW_STEPS_ALWAYS.max(ROW_STEPS * cells.len());
        if let Some(rows) = Rows::new(cells, most) {
            return Self::Rows(rows);
        }
        let turned: Vec<Cell> = cells.iter().map(Cell::turned).collect();
        match Rows::new(&turned, most) {
            Some(columns) => Self::Columns(columns),
            None => Self::Layers(Layers::new(cells)),
        }
    }

    /// The first rule that matches, or [`NONE`].
    #[inline]
    pub(super) fn find(&self, local: u16, remote: u16) -> u32 {
        match self {
            Self::Rows(rows) => rows.find(local, remote),
            Self::Columns(columns) => columns.find(remote, local),
            Self::Layers(layers) => layers.find(local, remote),
        }
    }
}

/// Classes of one port, and for each a rule, or the first rule by the other port.
#[derive(Debug)]
pub(super) struct Rows {
    /// A rule, [`NONE`], or [`LINE`] and a line.
    class: Steps<u16>,
    lines: Lines,
}

/// Marks a line among rules.
const LINE: u32 = 1 << 31;

impl Rows {
    /// None when there would be more than `most` steps.
    fn new(cells: &[Cell], most: usize) -> Option<Self> {
        let mut open: BTreeSet<u32> = BTreeSet::new();
        let (mut cuts, mut lines, mut left) = (Vec::new(), Lines::default(), most);
        for (bound, (begin, end)) in bounds(cells.iter().map(|c| c.local)) {
            end.iter().for_each(|cell| _ = open.remove(cell));
            open.extend(begin);
            let mut row: Vec<(PortRange, u32)> = Vec::new();
            for &cell in &open {
                let cell = &cells[cell as usize];
                row.push((cell.remote, cell.rule));
                left = left.checked_sub(1)?;
                if cell.remote == PortRange::ANY {
                    break;
                }
            }
            let value = match row[..] {
                [] => NONE,
                [(PortRange::ANY, rule)] => rule,
                _ => LINE | lines.push(&row),
            };
            if cuts.last().is_none_or(|last: &(u128, u32)| last.1 != value) {
                cuts.push((u128::from(bound), value));
            }
        }
        Some(Self { class: Steps::new(&cuts), lines })
    }

    #[inline]
    fn find(&self, port: u16, other: u16) -> u32 {
        match self.class.find(port) {
            line if line & LINE != 0 && line != NONE => self.lines.find(line & !LINE, other),
            rule => rule,
        }
    }
}

/// Step functions of a port, one behind the other.
#[derive(Debug, Default)]
struct Lines {
    steps: Vec<(u16, u32)>,
    /// Where each ends.
    ends: Vec<u32>,
}

impl Lines {
    /// Appends the first rule for each port, among ranges in the order of their rules; which line it is.
    fn push(&mut self, ranges: &[(PortRange, u32)]) -> u32 {
        let mut open: BTreeSet<u32> = BTreeSet::new();
        let start = self.steps.len();
        for (bound, (begin, end)) in bounds(ranges.iter().map(|r| r.0)) {
            end.iter().for_each(|range| _ = open.remove(range));
            open.extend(begin);
            let rule = open.first().map_or(NONE, |&first| ranges[first as usize].1);
            if self.steps[start..].last().is_none_or(|last| last.1 != rule) {
                self.steps.push((bound as u16, rule));
            }
        }
        self.ends.push(self.steps.len() as u32);
        self.ends.len() as u32 - 1
    }

    #[inline]
    fn find(&self, line: u32, port: u16) -> u32 {
        let line = line as usize;
        let start = line.checked_sub(1).map_or(0, |before| self.ends[before]);
        let steps = &self.steps[start as usize..self.ends[line] as usize];
        // The first step is at zero.
        steps[steps.partition_point(|step| step.0 <= port) - 1].1
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
    lines: Lines,
}

impl Layers {
    fn new(cells: &[Cell]) -> Self {
        let mut blocks: BTreeMap<Block, Vec<(PortRange, u32)>> = BTreeMap::new();
        for cell in cells {
            for (first, len) in cell.local.blocks() {
                blocks.entry((first.into(), len)).or_default().push((cell.remote, cell.rule));
            }
        }
        let names: Vec<Block> = blocks.keys().copied().collect();
        let (cuts, parents) = nest::<u16>(&names);
        let inner = Steps::new(&cuts);
        let firsts: Vec<u32> = blocks.values().map(|ranges| ranges[0].1).collect();
        let mut lines = Lines::default();
        blocks.values().for_each(|ranges| _ = lines.push(ranges));
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
            best = best.min(self.lines.find(link.at, remote));
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let (ports, mut lists) = (Ports::new(&cells), Lists::default());
            let list = (lists.push(&cells[..1]), lists.push(&cells)).1;
            forms.insert(match &ports {
                Ports::Rows(_) => "rows",
                Ports::Columns(_) => "columns",
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
                        assert_eq!(lists.find(list, local, remote), expected, "{count} {local} {remote}");
                    }
                }
            }
        }
        assert_eq!(forms.into_iter().collect::<Vec<_>>(), ["columns", "layers", "rows"]);
    }
}
