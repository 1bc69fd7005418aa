//! The rules of a table, made ready for its classifiers: merged ranges of ports, and sets with who names them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::HashMap;
use std::sync::Arc;

use super::nest::Block;
use super::piles::Piles;
use super::ports::Cell;
use super::spec::{AddressSet, PortRange, Prefix, RuleSpec};
use crate::types::{Direction, Protocol};

/// How much more of a policy may be compiled.
pub(super) struct Room {
    /// Rectangles of rules.
    pub(super) cells: usize,
    /// Prefixes to look at.
    pub(super) prefixes: usize,
    /// Rectangles repeated in prefixes that lie in others.
    pub(super) copies: usize,
    pub(super) tangled: usize,
}

/// The flows that a classifier is for.
#[derive(Clone, Copy)]
pub(super) struct Flows<'s> {
    /// Between IPv4 addresses, or IPv6 ones.
    pub(super) v4: bool,
    pub(super) direction: Direction,
    pub(super) protocol: Protocol,
    /// By this interface; `None`: one that no rule names.
    pub(super) interface: Option<&'s str>,
}

impl Flows<'_> {
    fn are_of(&self, rule: &RuleSpec) -> bool {
        rule.direction.includes(self.direction)
            && rule.protocol.includes(self.protocol)
            && rule.holds_by(self.interface)
    }
}

/// The rules of a table.
pub(super) struct Ready<'s> {
    rules: &'s [RuleSpec],
    /// Local and remote ports of each rule in the fewest ranges, one after the other.
    ports: Piles<PortRange>,
    sets: Vec<&'s AddressSet>,
    /// The rules that name each set, in order.
    users: Vec<Vec<u32>>,
}

/// Why a prefix is in a table: a rule that names it, or a set that holds it.
pub(super) type Source = u32;
/// Marks sources that are sets.
const SET: Source = 1 << 31;

impl<'s> Ready<'s> {
    /// Takes what its rectangles need from `room`.
    ///
    /// # Errors
    /// The rule for which there is no room.
    pub(super) fn new(rules: &'s [RuleSpec], room: &mut Room) -> Result<Self, &'s RuleSpec> {
        let mut ready = Self { rules, ports: Piles::default(), sets: Vec::new(), users: Vec::new() };
        let mut known: HashMap<*const AddressSet, usize> = HashMap::new();
        for (number, rule) in (0..).zip(rules) {
            let [local, remote] = [&rule.local_ports, &rule.remote_ports].map(|ranges| {
                merge(ranges, &mut ready.ports);
                ready.ports.close() as usize
            });
            let [local, remote] = [local, remote].map(|at| ready.ports.get(at).len());
            let needed = rectangles(rule, local, remote).and_then(|n| room.cells.checked_sub(n));
            room.cells = needed.ok_or(rule)?;
            for set in &rule.remote_sets {
                let at = *known.entry(Arc::as_ptr(set)).or_insert_with(|| {
                    ready.sets.push(set);
                    ready.users.push(Vec::new());
                    ready.sets.len() - 1
                });
                if ready.users[at].last() != Some(&number) {
                    ready.users[at].push(number);
                }
            }
        }
        Ok(ready)
    }

    /// Every prefix of their family that rules for `flows` are for, with its source, sorted.
    pub(super) fn prefixes(&self, flows: &Flows<'_>) -> Vec<(Block, Source)> {
        let of_family = |prefix: &&Prefix| prefix.address().is_ipv4() == flows.v4;
        let is_meant = |rule: u32| self.is_meant(rule, flows);
        let mut pairs = Vec::new();
        for (number, rule) in (0..).zip(self.rules).filter(|(number, _)| is_meant(*number)) {
            pairs.extend(rule.remotes.iter().filter(of_family).map(|prefix| (block(prefix), number)));
        }
        for ((number, set), users) in (0..).zip(&self.sets).zip(&self.users) {
            if users.iter().any(|&rule| is_meant(rule)) {
                pairs.extend(set.prefixes.iter().filter(of_family).map(|p| (block(p), SET | number)));
            }
        }
        // Of IPv4 all is in one number, which is compared without a guess.
        match flows.v4 {
            true => pairs.sort_unstable_by_key(|&((bits, len), source)| {
                bits << 40 | u128::from(len) << 32 | u128::from(source)
            }),
            false => pairs.sort_unstable(),
        }
        pairs.dedup();
        pairs
    }

    /// Whether no other prefix than one is there for these sources.
    pub(super) fn are_alone(&self, sources: &[Source]) -> bool {
        matches!(*sources, [rule] if rule & SET == 0 && self.rules[rule as usize].remotes.len() == 1)
    }

    /// Local and remote ports of a rule.
    fn ports(&self, rule: u32) -> (&[PortRange], &[PortRange]) {
        let at = 2 * rule as usize;
        (self.ports.get(at), self.ports.get(at + 1))
    }

    /// Hands on the rectangles of rules for `flows` that come from `sources`, in the order of the rules.
    pub(super) fn cells(&self, sources: &[Source], flows: &Flows<'_>, mut each: impl FnMut(Cell)) {
        let mut add = |rule: u32| {
            let (local, remote) = self.ports(rule);
            for &local in local {
                remote.iter().for_each(|&remote| each(Cell { local, remote, rule }));
            }
        };
        if let [rule] = *sources
            && rule & SET == 0
        {
            return add(rule);
        }
        let mut rules: Vec<u32> = Vec::new();
        for &source in sources {
            match source & SET {
                0 => rules.push(source),
                _ => rules.extend(&self.users[(source & !SET) as usize]),
            }
        }
        rules.sort_unstable();
        rules.dedup();
        rules.into_iter().filter(|&rule| self.is_meant(rule, flows)).for_each(add);
    }

    fn is_meant(&self, rule: u32, flows: &Flows<'_>) -> bool {
        let (rule, (local, remote)) = (&self.rules[rule as usize], self.ports(rule));
        let possible = !local.is_empty() && !remote.is_empty();
        possible && flows.are_of(rule)
    }
}

/// How many rectangles a rule takes.
fn rectangles(rule: &RuleSpec, local: usize, remote: usize) -> Option<usize> {
    let flows = [Direction::In, Direction::Out].into_iter().filter(|d| rule.direction.includes(*d)).count()
        * [Protocol::Tcp, Protocol::Udp].into_iter().filter(|p| rule.protocol.includes(*p)).count();
    // "Anywhere" is a prefix of either family.
    let named = rule.remotes.iter().filter(|prefix| prefix.len() > 0).count();
    let sources = named + rule.remote_sets.len() + usize::from(named < rule.remotes.len());
    sources.checked_mul(local)?.checked_mul(remote)?.checked_mul(flows)
}

/// A prefix as a number and its length.
pub(super) fn block(prefix: &Prefix) -> Block {
    let bits = match prefix.address() {
        IpAddr::V4(v4) => u128::from(Ipv4Addr::to_bits(v4)),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    };
    (bits, prefix.len())
}

/// Puts the same ports in the fewest ranges into the open list.
fn merge(ranges: &[PortRange], into: &mut Piles<PortRange>) {
    ranges.iter().filter(|range| range.first <= range.last).for_each(|range| into.push(*range));
    let sorted = into.open();
    if sorted.len() < 2 {
        return;
    }
    sorted.sort_unstable();
    let mut last = 0;
    for at in 1..sorted.len() {
        let range = sorted[at];
        if u32::from(range.first) <= u32::from(sorted[last].last) + 1 {
            sorted[last].last = sorted[last].last.max(range.last);
        } else {
            last += 1;
            sorted[last] = range;
        }
    }
    into.truncate(last + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge() {
        let range = |first, last| PortRange { first, last };
        let mut piles = Piles::default();
        let mut merged = |ranges: &[PortRange]| {
            merge(ranges, &mut piles);
            let at = piles.close() as usize;
            piles.get(at).to_vec()
        };
        assert_eq!(
            merged(&[range(90, 95), range(80, 80), range(81, 89), range(5, 4), range(65535, 65535)]),
            [range(80, 95), range(65535, 65535)]
        );
        assert_eq!(merged(&[range(100, 200), range(120, 130), range(0, 65535)]), [PortRange::ANY]);
        assert_eq!(merged(&[range(7, 9)]), [range(7, 9)]);
        assert_eq!(merged(&[range(2, 1)]), []);
        assert_eq!(merged(&[]), []);
    }
}
