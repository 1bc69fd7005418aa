//! The rules of one table, direction and protocol: remote address and ports → the first rule that matches.
//!
//! The remote prefixes of the rules nest. One search finds the innermost prefix that holds an address; the rules
//! that may match are those of it and of the prefixes round it. To look at each in turn would cost as much as
//! the nest is deep; to gather them all at each prefix would copy the rules of wide prefixes without end. So a
//! prefix takes in what lies round it as far as that is a few times its own size, and leaves the rest to be
//! looked at after: memory stays linear, and few groups are left to look at.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::nest::{Block, NONE, Steps, nest};
use super::ports::{Cell, LIST, Link, Ports, first_of};

/// A prefix takes in what lies round it up to so many times its own size.
const TAKE_IN: usize = 8;

/// Rules by remote prefix: the address as a number, its bits, and its rectangles in the order of their rules.
pub(super) type Cells = BTreeMap<Block, Vec<Cell>>;

/// What is to be tried for addresses that lie in this prefix and in no smaller one.
#[derive(Clone, Copy, Debug)]
enum Node {
    /// `cells[start..end]`, in the order of their rules.
    List { start: u32, end: u32 },
    /// The groups that `links[start..end]` name, in the order of their first rules.
    Groups { start: u32, end: u32 },
}

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

impl Classifier {
    /// From the rules of a table whose local address is IPv4 (`v4`) or IPv6.
    pub(super) fn new(v4: bool, prefixes: &Cells) -> Self {
        let blocks: Vec<Block> = prefixes.keys().copied().collect();
        let (remotes, parents) = if v4 {
            let (steps, parents) = nest::<u32>(&blocks);
            (Remotes::V4(steps), parents)
        } else {
            let (steps, parents) = nest::<u128>(&blocks);
            (Remotes::V6(Box::new(steps)), parents)
        };
        let own: Vec<&[Cell]> = prefixes.values().map(Vec::as_slice).collect();
        let gathered = Gathered::new(&own, &parents);
        let mut classifier =
            Self { remotes, nodes: Vec::new(), cells: Vec::new(), links: Vec::new(), groups: Vec::new() };
        classifier.lay_out(&gathered);
        classifier
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
struct Gathered {
    /// Each in the order of its rules, never empty.
    groups: Vec<Vec<Cell>>,
    /// Of each prefix: the groups that hold all that can match in it.
    chains: Vec<Vec<u32>>,
}

impl Gathered {
    /// `own` rectangles of each prefix, and the parents as [`nest`] returns them: before their children.
    fn new(own: &[&[Cell]], parents: &[u32]) -> Self {
        let mut gathered =
            Self { groups: Vec::with_capacity(own.len()), chains: Vec::with_capacity(own.len()) };
        for (own, &parent) in own.iter().zip(parents) {
            let round: &[u32] = match parent {
                NONE => &[],
                parent => &gathered.chains[parent as usize],
            };
            let (group, mut chain) = gathered.take_in(own, round);
            chain.push(gathered.groups.len() as u32);
            gathered.groups.push(group);
            gathered.chains.push(chain);
        }
        gathered
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
