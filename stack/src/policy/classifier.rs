//! The rules of one table, direction and protocol: remote address and ports → the first rule that matches.
//!
//! The remote prefixes of the rules nest. One search finds the innermost prefix that holds an address; the rules
//! that may match are those of it and of the prefixes round it. To look at each in turn would cost as much as
//! the nest is deep; to gather them all at each prefix would copy the rules of wide prefixes without end. So a
//! prefix takes in what lies round it as far as that is a few times its own size, and leaves the rest to be
//! looked at after: memory stays linear, and few groups are left to look at.

use core::net::IpAddr;
use std::collections::HashMap;

use super::nest::{Block, NONE, Steps, nest};
use super::ports::{Cell, LIST, Link, Ports, first_of};
use super::ready::{Ready, Room, Source};
use crate::types::{Direction, Protocol};

/// A prefix takes in what lies round it up to so many times its own size.
const TAKE_IN: usize = 8;

/// What is to be tried for addresses that lie in this prefix and in no smaller one.
#[derive(Clone, Copy, Debug)]
enum Node {
    /// `cells[start..end]`, in the order of their rules.
    List { start: u32, end: u32 },
    /// The groups that `links[start..end]` name, in the order of their first rules.
    Groups { start: u32, end: u32 },
}

/// Nodes by remote address.
#[derive(Debug)]
enum Remotes {
    V4(Steps<u32>),
    V6(Box<Steps<u128>>),
}

/// A searchable set of rules.
#[derive(Debug)]
pub(super) struct Classifier {
    remotes: Remotes,
    nodes: Vec<Node>,
    cells: Vec<Cell>,
    links: Vec<Link>,
    groups: Vec<Ports>,
}

impl Default for Classifier {
    /// Without rules.
    fn default() -> Self {
        let remotes = Remotes::V4(Steps::renamed(&[(0, NONE)], |at| at));
        Self { remotes, nodes: Vec::new(), cells: Vec::new(), links: Vec::new(), groups: Vec::new() }
    }
}

impl Classifier {
    /// From the rules of a table for such flows between IPv4 (`v4`) or IPv6 addresses. Takes what it needs from
    /// `room`; `None` when there is too little.
    pub(super) fn new(
        v4: bool,
        ready: &Ready<'_>,
        direction: Direction,
        protocol: Protocol,
        room: &mut Room,
    ) -> Option<Self> {
        let pairs = ready.prefixes(v4, direction, protocol);
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
            (sources, move || ready.cells(sources, direction, protocol))
        };
        let mut remotes = |parents: &[u32]| gathered.gather(parents, own, &mut room.copies);
        let (remotes, nodes) = if v4 {
            let (cuts, parents) = nest::<u32>(&blocks);
            let nodes = remotes(&parents)?;
            (Remotes::V4(Steps::renamed(&cuts, |block| nodes[block as usize])), nodes.len())
        } else {
            let (cuts, parents) = nest::<u128>(&blocks);
            let nodes = remotes(&parents)?;
            (Remotes::V6(Box::new(Steps::renamed(&cuts, |block| nodes[block as usize]))), nodes.len())
        };
        let mut classifier = Self { remotes, nodes: Vec::with_capacity(nodes), ..Self::default() };
        classifier.lay_out(&gathered);
        Some(classifier)
    }

    fn lay_out(&mut self, gathered: &Gathered) {
        // Groups that are no prefix's only list, by their place in `groups`.
        let mut placed = vec![NONE; gathered.groups.len()];
        for chain in &gathered.chains {
            if let [only] = chain[..]
                && gathered.groups[only as usize].len() <= LIST
            {
                let start = self.cells.len() as u32;
                self.cells.extend(&gathered.groups[only as usize]);
                self.nodes.push(Node::List { start, end: self.cells.len() as u32 });
                continue;
            }
            let start = self.links.len() as u32;
            for &group in chain {
                let cells = &gathered.groups[group as usize];
                let at = &mut placed[group as usize];
                if *at == NONE {
                    *at = self.groups.len() as u32;
                    self.groups.push(Ports::new(cells));
                }
                self.links.push(Link { first: cells[0].rule, at: *at });
            }
            self.links[start as usize..].sort_unstable_by_key(|link| link.first);
            self.nodes.push(Node::Groups { start, end: self.links.len() as u32 });
        }
    }

    /// The first rule that matches, or [`NONE`]. An address of the other family matches none.
    #[inline]
    pub(super) fn find(&self, remote: IpAddr, local_port: u16, remote_port: u16) -> u32 {
        let block = match (&self.remotes, remote) {
            (Remotes::V4(steps), IpAddr::V4(v4)) => steps.find(v4.to_bits()),
            (Remotes::V6(steps), IpAddr::V6(v6)) => steps.find(v6.to_bits()),
            _ => NONE,
        };
        match self.nodes.get(block as usize) {
            None => NONE,
            Some(&Node::List { start, end }) => {
                first_of(&self.cells[start as usize..end as usize], local_port, remote_port)
            }
            Some(&Node::Groups { start, end }) => {
                let mut best = NONE;
                for link in &self.links[start as usize..end as usize] {
                    if link.first >= best {
                        break;
                    }
                    best = best.min(self.groups[link.at as usize].find(local_port, remote_port));
                }
                best
            }
        }
    }
}

/// Rectangles gathered into groups.
#[derive(Default)]
struct Gathered {
    /// Each in the order of its rules, never empty.
    groups: Vec<Vec<Cell>>,
    /// The groups that hold all that can match in a prefix.
    chains: Vec<Vec<u32>>,
}

impl Gathered {
    /// Makes the chains of all prefixes, and says which is whose. `own`: the sources of a prefix, and how to get
    /// their rectangles; `parents` as [`nest`] returns them, before their children. Prefixes that have their sources
    /// and their parent's chain in common have theirs in common. `None` when more would be copied than there is room.
    fn gather<'s, C: Fn() -> Vec<Cell>>(
        &mut self,
        parents: &[u32],
        own: impl Fn(usize) -> (&'s [Source], C),
        room: &mut usize,
    ) -> Option<Vec<u32>> {
        let mut known: HashMap<(&[Source], u32), u32> = HashMap::with_capacity(parents.len().min(1 << 12));
        let mut chains: Vec<u32> = Vec::with_capacity(parents.len());
        for (at, &parent) in parents.iter().enumerate() {
            let parent = if parent == NONE { NONE } else { chains[parent as usize] };
            let (sources, cells) = own(at);
            let next = self.chains.len() as u32;
            let chain = *known.entry((sources, parent)).or_insert(next);
            if chain == next {
                let round: &[u32] = if parent == NONE { &[] } else { &self.chains[parent as usize] };
                let (group, mut chain) = self.take_in(&cells(), round);
                *room = room.checked_sub(group.len() + chain.len())?;
                chain.push(self.groups.len() as u32);
                self.groups.push(group);
                self.chains.push(chain);
            }
            chains.push(chain);
        }
        Some(chains)
    }

    /// A group of `own` rectangles and of groups `round` them, the smallest first, as far as it may grow; and the
    /// groups that are left.
    fn take_in(&self, own: &[Cell], round: &[u32]) -> (Vec<Cell>, Vec<u32>) {
        let len = |group: u32| self.groups[group as usize].len();
        let mut left: Vec<u32> = round.to_vec();
        left.sort_by_key(|&group| len(group));
        let (mut group, room) = (own.to_vec(), LIST.max(own.len() * (1 + TAKE_IN)));
        let fits = left
            .iter()
            .scan(own.len(), |sum, &group| {
                *sum += len(group);
                Some(*sum)
            })
            .take_while(|sum| *sum <= room)
            .count();
        for taken in left.drain(..fits) {
            group.extend(&self.groups[taken as usize]);
        }
        group.sort_by_key(|cell| cell.rule);
        // What comes after a rectangle that covers all ports cannot be reached.
        if let Some(last) = group.iter().position(Cell::covers_all) {
            group.truncate(last + 1);
            left.retain(|&other| self.groups[other as usize][0].rule < group[last].rule);
        }
        (group, left)
    }
}
