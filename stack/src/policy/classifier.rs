//! The rules of one table, direction and protocol: remote address and ports → the first rule that matches.
//!
//! The remote prefixes of the rules nest. One search finds the innermost prefix that holds an address; the rules
//! that may match are those of it and of the prefixes round it. Where those are few rectangles of ports
//! altogether, they are kept together and tried in turn; else each prefix has its own [`Ports`], which are
//! asked in the order of their first rules until nothing earlier can come.

use core::net::IpAddr;
use std::collections::BTreeMap;

use super::nest::{Block, NONE, Steps, nest};
use super::ports::{Cell, Chains, LIST, Ports, first_of};

/// Rules by remote prefix: the address as a number, its bits, and its rectangles in the order of their rules.
pub(super) type Cells = BTreeMap<Block, Vec<Cell>>;

/// A prefix, with what is to be tried for addresses that lie in no smaller one.
#[derive(Clone, Copy, Debug)]
enum Node {
    /// `cells[start..end]`, in the order of their rules: its own and those of all prefixes round it.
    List { start: u32, end: u32 },
    /// What its chain names.
    Chain,
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
    chains: Chains,
    /// Of each prefix; empty when no chain names it.
    ports: Vec<Ports>,
}

impl Classifier {
    /// From the rules of a table whose local address is IPv4 (`v4`) or IPv6.
    pub(super) fn new(v4: bool, prefixes: &Cells) -> Self {
        let blocks: Vec<Block> = prefixes.keys().copied().collect();
        let own: Vec<&[Cell]> = prefixes.values().map(Vec::as_slice).collect();
        let (remotes, parents) = if v4 {
            let (steps, parents) = nest::<u32>(&blocks);
            (Remotes::V4(steps), parents)
        } else {
            let (steps, parents) = nest::<u128>(&blocks);
            (Remotes::V6(Box::new(steps)), parents)
        };

        let (mut nodes, mut cells, mut chained) = (Vec::new(), Vec::new(), vec![false; own.len()]);
        for block in 0..own.len() {
            if let Some(list) = merged(&own, &parents, block) {
                let start = cells.len() as u32;
                cells.extend(list);
                nodes.push(Node::List { start, end: cells.len() as u32 });
            } else {
                nodes.push(Node::Chain);
                ancestors(&parents, block).for_each(|at| chained[at] = true);
            }
        }
        let ports = own
            .iter()
            .zip(chained)
            .map(|(own, chained)| Ports::new(if chained { own } else { &[] }))
            .collect();
        let chains = Chains::new(
            &parents,
            |block| own[block as usize][0].rule,
            |block| matches!(nodes[block as usize], Node::Chain),
        );
        Self { remotes, nodes, cells, chains, ports }
    }

    /// The first rule that matches, or [`NONE`]. An address of the other family matches none.
    #[inline]
    pub(super) fn find(&self, remote: IpAddr, local_port: u16, remote_port: u16) -> u32 {
        let block = match (&self.remotes, remote) {
            (Remotes::V4(steps), IpAddr::V4(v4)) => steps.find(v4.to_bits()),
            (Remotes::V6(steps), IpAddr::V6(v6)) => steps.find(v6.to_bits()),
            _ => NONE,
        };
        let Some(node) = self.nodes.get(block as usize) else { return NONE };
        match *node {
            Node::List { start, end } => {
                first_of(&self.cells[start as usize..end as usize], local_port, remote_port)
            }
            Node::Chain => self.follow(block, local_port, remote_port),
        }
    }

    fn follow(&self, block: u32, local_port: u16, remote_port: u16) -> u32 {
        let mut best = NONE;
        for link in self.chains.of(block) {
            if link.first >= best {
                break;
            }
            best = best.min(self.ports[link.at as usize].find(local_port, remote_port));
        }
        best
    }
}

/// `block` and what it lies in, innermost first.
fn ancestors(parents: &[u32], block: usize) -> impl Iterator<Item = usize> {
    core::iter::successors(Some(block), |&at| Some(parents[at]).filter(|&p| p != NONE).map(|p| p as usize))
}

/// All that may match in `block`, up to the first rectangle that leaves nothing over, in the order of the rules.
/// `None` when that is too much for a list.
fn merged(own: &[&[Cell]], parents: &[u32], block: usize) -> Option<Vec<Cell>> {
    // Only the first LIST + 1 of each can be among the first LIST + 1 of all.
    let mut list: Vec<Cell> =
        ancestors(parents, block).flat_map(|at| own[at].iter().take(LIST + 1)).copied().collect();
    list.sort_by_key(|cell| cell.rule);
    if let Some(last) = list.iter().position(Cell::covers_all) {
        list.truncate(last + 1);
    }
    (list.len() <= LIST).then_some(list)
}
