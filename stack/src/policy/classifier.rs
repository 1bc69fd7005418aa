//! The rules of one table, direction, protocol and interface: remote address and ports → the first rule that matches.
//!
//! The remote prefixes of the rules nest. One search finds the innermost prefix that holds an address; the rules
//! that may match are those of it and of the prefixes round it. To look at each in turn would cost as much as
//! the nest is deep; to gather them all at each prefix would copy the rules of wide prefixes without end. So a
//! prefix takes in what lies round it as far as that is a few times its own size, and leaves the rest to be
//! looked at after: memory stays linear, and few groups are left to look at.
//!
//! A new flow waits for memory more than for anything else, so what is found leads straight to what is needed next: the
//! interval of an address says where its list of rectangles begins, if it has but one.

use core::net::IpAddr;
use std::collections::HashMap;

use nic::Frozen;

use super::image::{Reader, Writer};
use super::nest::{Block, NONE, Steps, nest};
use super::piles::Piles;
use super::ports::{Cell, LIST, Link, Lists, Ports};
use super::ready::{Flows, Ready, Room, Source};

/// A prefix takes in what lies round it up to so many times its own size.
const TAKE_IN: usize = 8;

/// Marks, in the value of an address, where a chain begins among `links`; in a link, a place among `groups`. Without it it
/// is where a list begins.
const MANY: u32 = 1 << 31;
/// Marks, in a link, the last one of its chain.
const LAST: u32 = 1 << 30;

/// An address as the number that prefixes are prefixes of: of IPv4 also where it is mapped into IPv6.
#[derive(Clone, Copy)]
pub(super) enum Number {
    V4(u32),
    V6(u128),
}

impl Number {
    #[inline(always)]
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            // ::ffff:0:0/96
            IpAddr::V6(v6) if v6.to_bits() >> 32 == 0xffff => Self::V4(v6.to_bits() as u32),
            IpAddr::V6(v6) => Self::V6(v6.to_bits()),
        }
    }
}

/// What is to be tried, by remote address: a list, or the groups of a chain.
#[derive(Debug)]
enum Remotes {
    V4(Steps<u32>),
    V6(Box<Steps<u128>>),
}

/// A searchable set of rules.
#[derive(Debug)]
pub(super) struct Classifier {
    remotes: Remotes,
    /// Groups of few rectangles.
    lists: Lists,
    /// Of one chain behind the other; those of each are in the order of their first rules.
    links: Frozen<Link>,
    /// Groups of many.
    groups: Vec<Ports>,
}

impl Default for Classifier {
    /// Without rules.
    fn default() -> Self {
        let remotes = Remotes::V4(Steps::renamed(&[(0, NONE)], |at| at));
        Self { remotes, lists: Lists::default(), links: Frozen::default(), groups: Vec::new() }
    }
}

impl Classifier {
    /// From the rules of a table for `flows`. Takes what it needs from `room`; `None` when there is too little.
    pub(super) fn new(ready: &Ready<'_>, flows: &Flows<'_>, room: &mut Room) -> Option<Self> {
        let pairs = ready.prefixes(flows);
        room.prefixes = room.prefixes.checked_sub(pairs.len())?;
        let sources: Vec<Source> = pairs.iter().map(|pair| pair.1).collect();
        let (mut blocks, mut ends): (Vec<Block>, Vec<usize>) = (Vec::new(), Vec::new());
        for same in pairs.chunk_by(|a, b| a.0 == b.0) {
            blocks.push(same[0].0);
            ends.push(ends.last().copied().unwrap_or(0) + same.len());
        }
        drop(pairs);
        let mut gathered = Gathered::default();
        let own = |at: usize| {
            let start = at.checked_sub(1).map_or(0, |before| ends[before]);
            let sources = &sources[start..ends[at]];
            let hand_on =
                move |groups: &mut Piles<Cell>| ready.cells(sources, flows, |cell| groups.push(cell));
            (sources, ready.are_alone(sources), hand_on)
        };
        let mut classifier = Self::default();
        let mut lay_out = |parents: &[u32]| {
            let chains = gathered.gather(parents, own, &mut room.copies)?;
            let values = classifier.lay_out(&gathered, &mut room.tangled)?;
            Some(move |block: u32| values[chains[block as usize] as usize])
        };
        let remotes = if flows.v4 {
            let (cuts, parents) = nest::<u32>(&blocks);
            Remotes::V4(Steps::renamed(&cuts, lay_out(&parents)?))
        } else {
            let (cuts, parents) = nest::<u128>(&blocks);
            Remotes::V6(Box::new(Steps::renamed(&cuts, lay_out(&parents)?)))
        };
        classifier.remotes = remotes;
        Some(classifier)
    }

    /// Lays out all groups and chains; the value of each chain. `None` when there is too little room for those that overlap
    /// in many ways.
    fn lay_out(&mut self, gathered: &Gathered, room: &mut usize) -> Option<Vec<u32>> {
        let (mut lists, mut links) = (Vec::new(), Vec::new());
        // Where each group lies that was laid out already.
        let mut placed = vec![NONE; gathered.groups.len()];
        let mut place = |group: u32| {
            let cells = gathered.groups.get(group as usize);
            let at = &mut placed[group as usize];
            if *at == NONE && cells.len() <= LIST {
                *at = Lists::push(&mut lists, cells);
            } else if *at == NONE {
                *at = MANY | self.groups.len() as u32;
                self.groups.push(Ports::new(cells, room)?);
            }
            Some(Link { first: cells[0].rule, at: *at })
        };
        let mut values = Vec::with_capacity(gathered.chains.len());
        for chain in (0..gathered.chains.len()).map(|at| gathered.chains.get(at)) {
            let start = links.len();
            for &group in chain {
                links.push(place(group)?);
            }
            if let [Link { at: list, .. }] = links[start..]
                && list & MANY == 0
            {
                links.truncate(start);
                values.push(list);
                continue;
            }
            links[start..].sort_unstable_by_key(|link| link.first);
            if let Some(last) = links.last_mut() {
                last.at |= LAST;
            }
            values.push(MANY | start as u32);
        }
        (self.lists, self.links) = (Lists::new(lists), links.into());
        Some(values)
    }

    /// The first rule that matches, or [`NONE`]. An address of the other family matches none.
    #[inline(always)]
    pub(super) fn find(&self, remote: Number, local_port: u16, remote_port: u16) -> u32 {
        let value = match (&self.remotes, remote) {
            (Remotes::V4(steps), Number::V4(number)) => steps.find(number),
            (Remotes::V6(steps), Number::V6(number)) => steps.find(number),
            _ => NONE,
        };
        if value == NONE {
            return NONE;
        }
        if value & MANY == 0 {
            return self.lists.find(value, local_port, remote_port);
        }
        let mut best = NONE;
        for &Link { first, at } in &self.links[(value & !MANY) as usize..] {
            if first >= best {
                break;
            }
            let found = match at & MANY {
                0 => self.lists.find(at & !LAST, local_port, remote_port),
                _ => self.groups[(at & !(MANY | LAST)) as usize].find(local_port, remote_port),
            };
            best = best.min(found);
            if at & LAST != 0 {
                break;
            }
        }
        best
    }

    pub(super) fn write(&self, to: &mut Writer) {
        match &self.remotes {
            Remotes::V4(steps) if steps.is_nothing() => return to.word(0),
            Remotes::V4(_) => to.word(V4),
            Remotes::V6(_) => to.word(V6),
        }
        self.lists.write(to);
        to.list(&self.links);
        to.word(self.groups.len() as u32);
        self.groups.iter().for_each(|group| group.write(to));
        match &self.remotes {
            Remotes::V4(steps) => steps.write(to),
            Remotes::V6(steps) => steps.write(to),
        }
    }

    /// Of a table with so many rules.
    pub(super) fn read(from: &mut Reader<'_>, rules: usize) -> Option<Self> {
        let family = from.word()?;
        if family == 0 {
            return Some(Self::default());
        }
        let (lists, links) = (Lists::read(from, rules)?, from.list::<Link>()?);
        let groups = from.each(|from| Ports::read(from, rules))?;
        let leads = |at: u32| match at & MANY {
            0 => ((at & !LAST) as usize) < lists.end(),
            _ => ((at & !(MANY | LAST)) as usize) < groups.len(),
        };
        if !links.iter().all(|link| leads(link.at)) {
            return None;
        }
        let begins = |value: u32| match value & MANY {
            0 => (value as usize) < lists.end(),
            _ => ((value & !MANY) as usize) < links.len(),
        };
        let remotes = match family {
            V4 => Remotes::V4(Steps::read(from, begins)?),
            V6 => Remotes::V6(Box::new(Steps::read(from, begins)?)),
            _ => return None,
        };
        Some(Self { remotes, lists, links, groups })
    }
}

/// The families, as an image has them; zero: there are no rules.
const V4: u32 = 1;
const V6: u32 = 2;

/// Rectangles gathered into groups.
#[derive(Default)]
struct Gathered {
    /// Each in the order of its rules, never empty.
    groups: Piles<Cell>,
    /// The groups that hold all that can match in a prefix.
    chains: Piles<u32>,
}

impl Gathered {
    /// Makes the chains of all prefixes, and says which is whose. `own`: the sources of a prefix, whether no other has
    /// them, and how to get their rectangles; `parents` as [`nest`] returns them, before their children. Prefixes that have
    /// their sources and their parent's chain in common have theirs in common. `None` when more would be copied than there is
    /// room.
    fn gather<'s, C: Fn(&mut Piles<Cell>)>(
        &mut self,
        parents: &[u32],
        own: impl Fn(usize) -> (&'s [Source], bool, C),
        room: &mut usize,
    ) -> Option<Vec<u32>> {
        let mut known: HashMap<(&[Source], u32), u32> = HashMap::new();
        let mut chains: Vec<u32> = Vec::with_capacity(parents.len());
        for (at, &parent) in parents.iter().enumerate() {
            let parent = if parent == NONE { NONE } else { chains[parent as usize] };
            let (sources, alone, hand_on) = own(at);
            let next = self.chains.len() as u32;
            // Most prefixes are of one rule: nothing is looked up for what can be there but once.
            let chain = if alone { next } else { *known.entry((sources, parent)).or_insert(next) };
            if chain == next {
                hand_on(&mut self.groups);
                self.take_in(parent);
                *room = room.checked_sub(self.groups.open().len() + self.chains.open().len())?;
                self.chains.push(self.groups.close());
                self.chains.close();
            }
            chains.push(chain);
        }
        Some(chains)
    }

    /// Has the open group, of a prefix's own rectangles, take in those round it, of the chain `round`, the smallest first, as
    /// far as it may grow; what is left of the chain is put into the open one.
    fn take_in(&mut self, round: u32) {
        if round != NONE {
            self.chains.repeat(round as usize);
        }
        let Self { groups, chains } = self;
        let own = groups.open().len();
        chains.open().sort_by_key(|&group| groups.get(group as usize).len());
        let (room, mut len, mut taken) = (LIST.max(own * (1 + TAKE_IN)), own, 0);
        for &group in &*chains.open() {
            len += groups.get(group as usize).len();
            if len > room {
                break;
            }
            taken += 1;
        }
        for at in 0..taken {
            let group = chains.open()[at];
            groups.repeat(group as usize);
        }
        chains.open().rotate_left(taken);
        let mut left = chains.open().len() - taken;
        let group = groups.open();
        group.sort_by_key(|cell| cell.rule);
        // What comes after a rectangle that covers all ports cannot be reached.
        if let Some(last) = group.iter().position(Cell::covers_all) {
            let rule = group[last].rule;
            groups.truncate(last + 1);
            let mut kept = 0;
            for at in 0..left {
                let other = chains.open()[at];
                if groups.get(other as usize)[0].rule < rule {
                    chains.open()[kept] = other;
                    kept += 1;
                }
            }
            left = kept;
        }
        chains.truncate(left);
    }
}
