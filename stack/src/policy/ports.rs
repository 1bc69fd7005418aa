//! Which rule is first for a pair of ports, among the rules for one remote prefix.
//!
//! Each rule is one or more rectangles of local × remote ports. A few are tried in turn ([`Lists`]). Many are
//! cut into rows: the bounds of one port divide it into classes, and for each class the first rule is a step
//! function of the other port, up to the first rectangle that covers all of that; mostly it is one rule for all. Where
//! rectangles overlap so much that rows would repeat most of them, ranges of the local port are cut into blocks of powers
//! of two instead (at most thirty a range), a step function for each, and the blocks that hold a port are looked at in the
//! order of their first rules.

use std::collections::{BTreeMap, BTreeSet};

use nic::Frozen;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::image::{Item, Reader, Writer, are_ends, is_below};
use super::nest::{Block, NONE, Step, Steps, nest};
use super::spec::PortRange;

/// Up to so many rectangles are tried in turn.
pub(super) const LIST: usize = 16;
/// Rows are made when they hold at most so many steps a rectangle…
const ROW_STEPS: usize = 32;
/// …or so many altogether.
const ROW_STEPS_ALWAYS: usize = 4096;

/// A rectangle of ports that belongs to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
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

impl Item for Cell {
    fn put(&self, bytes: &mut Vec<u8>) {
        for port in [self.local.first, self.local.last, self.remote.first, self.remote.last] {
            port.put(bytes);
        }
        self.rule.put(bytes);
    }
}

/// Lists of rectangles, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Lists(Frozen<Cell>);

/// Marks the rule of a list's last rectangle.
const LAST: u32 = 1 << 31;

impl Lists {
    /// From lists as [`Lists::push`] has appended them.
    pub(super) fn new(cells: Vec<Cell>) -> Self {
        Self(cells.into())
    }

    /// Appends a list of rectangles, at least one, in the order of their rules, to others; where it begins.
    pub(super) fn push(lists: &mut Vec<Cell>, cells: &[Cell]) -> u32 {
        let at = lists.len();
        lists.extend(cells);
        if let Some(last) = lists.last_mut() {
            last.rule |= LAST;
        }
        at as u32
    }

    /// Where no list begins.
    pub(super) fn end(&self) -> usize {
        self.0.len()
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.list(&self.0);
    }

    /// Of a table with so many rules.
    pub(super) fn read(from: &mut Reader<'_>, rules: usize) -> Option<Self> {
        let cells: Frozen<Cell> = from.list()?;
        let is_right = |cell: &Cell| {
            let ranges = [cell.local, cell.remote];
            ranges.iter().all(|range| range.first <= range.last) && ((cell.rule & !LAST) as usize) < rules
        };
        cells.iter().all(is_right).then_some(Self(cells))
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
    /// From rectangles in the order of their rules. Those that overlap in many ways take from `room`; `None` when there is too
    /// little.
    pub(super) fn new(cells: &[Cell], room: &mut usize) -> Option<Self> {
        let most = ROW_STEPS_ALWAYS.max(ROW_STEPS * cells.len());
        if let Some(rows) = Rows::new(cells, most) {
            return Some(Self::Rows(rows));
        }
        let turned: Vec<Cell> = cells.iter().map(Cell::turned).collect();
        match Rows::new(&turned, most) {
            Some(columns) => Some(Self::Columns(columns)),
            None => {
                *room = room.checked_sub(cells.len())?;
                Some(Self::Layers(Layers::new(cells)))
            }
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

/// The forms, as an image has them.
const FORMS: [u32; 3] = [0, 1, 2];

impl Ports {
    pub(super) fn write(&self, to: &mut Writer) {
        let [rows, columns, layers] = FORMS;
        match self {
            Self::Rows(of) => {
                to.word(rows);
                of.write(to);
            }
            Self::Columns(of) => {
                to.word(columns);
                of.write(to);
            }
            Self::Layers(of) => {
                to.word(layers);
                of.write(to);
            }
        }
    }

    /// Of a table with so many rules.
    pub(super) fn read(from: &mut Reader<'_>, rules: usize) -> Option<Self> {
        let [rows, columns, layers] = FORMS;
        match from.word()? {
            form if form == rows => Rows::read(from, rules).map(Self::Rows),
            form if form == columns => Rows::read(from, rules).map(Self::Columns),
            form if form == layers => Layers::read(from, rules).map(Self::Layers),
            _ => None,
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
        let (mut cuts, mut lines, mut left) = (Vec::new(), Draft::default(), most);
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
        Some(Self { class: Steps::new(&cuts), lines: lines.done() })
    }

    fn write(&self, to: &mut Writer) {
        self.lines.write(to);
        self.class.write(to);
    }

    fn read(from: &mut Reader<'_>, rules: usize) -> Option<Self> {
        let lines = Lines::read(from, rules)?;
        let right = |value: u32| match value & LINE {
            0 => (value as usize) < rules,
            _ => ((value & !LINE) as usize) < lines.ends.len(),
        };
        Some(Self { class: Steps::read(from, right)?, lines })
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
#[derive(Debug)]
struct Lines {
    steps: Frozen<Step<u16>>,
    /// Where each ends.
    ends: Frozen<u32>,
}

/// The same in the making.
#[derive(Default)]
struct Draft {
    steps: Vec<Step<u16>>,
    ends: Vec<u32>,
}

impl Draft {
    fn done(self) -> Lines {
        Lines { steps: self.steps.into(), ends: self.ends.into() }
    }

    /// Appends the first rule for each port, among ranges in the order of their rules; which line it is.
    fn push(&mut self, ranges: &[(PortRange, u32)]) -> u32 {
        let mut open: BTreeSet<u32> = BTreeSet::new();
        let start = self.steps.len();
        for (bound, (begin, end)) in bounds(ranges.iter().map(|r| r.0)) {
            end.iter().for_each(|range| _ = open.remove(range));
            open.extend(begin);
            let rule = open.first().map_or(NONE, |&first| ranges[first as usize].1);
            if self.steps[start..].last().is_none_or(|last| last.value != rule) {
                self.steps.push(Step { at: bound as u16, value: rule });
            }
        }
        self.ends.push(self.steps.len() as u32);
        self.ends.len() as u32 - 1
    }
}

impl Lines {
    fn write(&self, to: &mut Writer) {
        to.list(&self.steps);
        to.list(&self.ends);
    }

    fn read(from: &mut Reader<'_>, rules: usize) -> Option<Self> {
        let lines = Self { steps: from.list()?, ends: from.list()? };
        let begins = |start: &u32| lines.steps.get(*start as usize).is_some_and(|first| first.at == 0);
        // Each has a step at zero at the least, with which it begins.
        let starts = [0].iter().chain(&*lines.ends).take(lines.ends.len());
        let is_right = are_ends(&lines.ends, lines.steps.len())
            && starts.zip(&*lines.ends).all(|(start, end)| start < end && begins(start))
            && lines.steps.iter().all(|step| is_below(step.value, rules));
        is_right.then_some(lines)
    }

    #[inline]
    fn find(&self, line: u32, port: u16) -> u32 {
        let line = line as usize;
        let start = line.checked_sub(1).map_or(0, |before| self.ends[before]);
        let steps = &self.steps[start as usize..self.ends[line] as usize];
        // The first step is at zero.
        steps[steps.partition_point(|step| step.at <= port) - 1].value
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
#[derive(Clone, Copy, Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Link {
    /// The first rule that can be found there.
    pub(super) first: u32,
    /// Which.
    pub(super) at: u32,
}

impl Item for Link {
    fn put(&self, bytes: &mut Vec<u8>) {
        self.first.put(bytes);
        self.at.put(bytes);
    }
}

/// Blocks of local ports with a step function of the remote port each.
#[derive(Debug)]
pub(super) struct Layers {
    /// Local port → the innermost block that holds it.
    inner: Steps<u16>,
    /// Of each block: itself and what it lies in, in the order of their first rules, up to where the next begins.
    links: Frozen<Link>,
    starts: Frozen<u32>,
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
        let mut lines = Draft::default();
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
        Self { inner, links: links.into(), starts: starts.into(), lines: lines.done() }
    }

    fn write(&self, to: &mut Writer) {
        self.lines.write(to);
        to.list(&self.links);
        to.list(&self.starts);
        self.inner.write(to);
    }

    fn read(from: &mut Reader<'_>, rules: usize) -> Option<Self> {
        let (lines, links, starts) = (Lines::read(from, rules)?, from.list()?, from.list()?);
        let blocks = starts.len().checked_sub(1)?;
        let inner = Steps::read(from, |value| is_below(value, blocks))?;
        let layers = Self { inner, links, starts, lines };
        let is_right = are_ends(&layers.starts, layers.links.len())
            && layers.links.iter().all(|link| (link.at as usize) < layers.lines.ends.len());
        is_right.then_some(layers)
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
            let mut room = cells.len();
            let (ports, mut lists) = (Ports::new(&cells, &mut room).unwrap(), Vec::new());
            let is_tangled = matches!(ports, Ports::Layers(_));
            assert_eq!(room, if is_tangled { 0 } else { cells.len() });
            assert!(!is_tangled || Ports::new(&cells, &mut (cells.len() - 1)).is_none());
            let list = (Lists::push(&mut lists, &cells[..1]), Lists::push(&mut lists, &cells)).1;
            let lists = Lists::new(lists);
            forms.insert(match &ports {
                Ports::Rows(_) => "rows",
                Ports::Columns(_) => "columns",
                Ports::Layers(_) => "layers",
            });
            let mut image = Writer::new();
            ports.write(&mut image);
            let image = Frozen::copied(&image.finish());
            let read = Ports::read(&mut Reader::new(&image).unwrap(), count as usize).unwrap();
            let edges = |range: PortRange| {
                [range.first, range.first.wrapping_sub(1), range.last, range.last.wrapping_add(1)]
            };
            for i in 0..cells.len() {
                let other = cells[(i * 7 + 3) % cells.len()];
                for local in edges(cells[i].local) {
                    for remote in edges(cells[i].remote).into_iter().chain(edges(other.remote)) {
                        let expected = first_of(&cells, local, remote);
                        assert_eq!(ports.find(local, remote), expected, "{count} {local} {remote}");
                        assert_eq!(read.find(local, remote), expected, "{count} {local} {remote}");
                        assert_eq!(lists.find(list, local, remote), expected, "{count} {local} {remote}");
                    }
                }
            }
        }
        assert_eq!(forms.into_iter().collect::<Vec<_>>(), ["columns", "layers", "rows"]);
    }
}
