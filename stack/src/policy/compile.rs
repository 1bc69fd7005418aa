//! From what a policy says to what answers in nanoseconds.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::classifier::{Cells, Classifier};
use super::nest::NONE;
use super::ports::Cell;
use super::spec::{Action, Mode, PolicySpec, PortRange, Prefix, RuleSpec, TableSpec};
use crate::types::{Direction, FlowKey, Protocol};

/// Rules in a policy at the most.
pub const MAX_RULES: usize = 1 << 16;
/// Rectangles in a policy at the most: each rule takes one for each combination of its remote prefixes, local
/// port ranges and remote port ranges, once for each direction and protocol that it is for.
pub const MAX_CELLS: usize = 1 << 18;

/// Why a policy cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// More than [`MAX_RULES`] rules.
    TooManyRules,
    /// The lists in this rule and those before it multiply to more than [`MAX_CELLS`].
    TooManyCells {
        /// The table's address.
        local: IpAddr,
        /// The rule at which the limit was passed.
        rule: String,
    },
    /// Two tables for one address.
    SameAddress(IpAddr),
    /// Two rules of one name in a table.
    SameName {
        /// The table's address.
        local: IpAddr,
        /// The name.
        rule: String,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRules => write!(f, "more than {MAX_RULES} rules"),
            Self::TooManyCells { local, rule } => write!(
                f,
                "table {local}, rule {rule:?}: the lists of ports and addresses multiply to more than \
                 {MAX_CELLS} combinations; split or merge ranges"
            ),
            Self::SameAddress(local) => write!(f, "two tables for {local}"),
            Self::SameName { local, rule } => write!(f, "table {local}: two rules are named {rule:?}"),
        }
    }
}

impl core::error::Error for PolicyError {}

/// What was decided for a flow, and by which counter row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) allowed: bool,
    pub(super) row: u32,
}

/// A counter row: whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The row that sums up what the table denies, when this row's packets belong there too.
    pub(super) denied: Option<u32>,
}

/// A table with its rules compiled, one classifier for each direction and protocol.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) local: IpAddr,
    pub(super) mode: Mode,
    /// Name and action of each rule, in order.
    pub(super) rules: Vec<(Arc<str>, Action)>,
    /// The counter row of the first rule; that of what is denied comes after the last.
    pub(super) first_row: u32,
    classifiers: [Classifier; 4],
}

impl Table {
    /// The counter row of what the table denies.
    pub(super) fn denied_row(&self) -> u32 {
        self.first_row + self.rules.len() as u32
    }
}

/// A compiled policy: immutable, shared by whoever judges with it.
#[derive(Debug)]
pub struct Policy {
    default: Action,
    pub(super) tables: Vec<Table>,
    /// Tables by address, sorted.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u32)>,
    pub(super) rows: Vec<Row>,
}

/// The counter row of packets for local addresses that have no table.
pub(super) const NO_TABLE: u32 = 0;

impl Policy {
    /// Compiles `spec`.
    ///
    /// # Errors
    /// [`PolicyError`], when it contradicts itself or would take an absurd amount of memory.
    pub fn compile(spec: &PolicySpec) -> Result<Arc<Self>, PolicyError> {
        if spec.tables.iter().map(|table| table.rules.len()).sum::<usize>() > MAX_RULES {
            return Err(PolicyError::TooManyRules);
        }
        let mut policy = Self {
            default: spec.default,
            tables: Vec::with_capacity(spec.tables.len()),
            v4: Vec::new(),
            v6: Vec::new(),
            rows: vec![Row { denied: None }],
        };
        let mut cells = 0;
        for table in &spec.tables {
            policy.add(table, &mut cells)?;
        }
        policy.v4.sort_unstable();
        policy.v6.sort_unstable();
        let twice_v4 = policy.v4.windows(2).find(|w| w[0].0 == w[1].0).map(|w| w[0].1);
        let twice_v6 = policy.v6.windows(2).find(|w| w[0].0 == w[1].0).map(|w| w[0].1);
        match twice_v4.or(twice_v6) {
            Some(table) => Err(PolicyError::SameAddress(policy.tables[table as usize].local)),
            None => Ok(Arc::new(policy)),
        }
    }

    /// Rules in all tables.
    pub fn rules(&self) -> usize {
        self.tables.iter().map(|table| table.rules.len()).sum()
    }

    fn add(&mut self, spec: &TableSpec, cells: &mut usize) -> Result<(), PolicyError> {
        let local = spec.local.to_canonical();
        let mut names: Vec<&str> = spec.rules.iter().map(|rule| rule.name.as_str()).collect();
        names.sort_unstable();
        if let Some(same) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(PolicyError::SameName { local, rule: same[0].to_owned() });
        }
        let mut sets: [Cells; 4] = Default::default();
        for (number, rule) in spec.rules.iter().enumerate() {
            let too_many = || PolicyError::TooManyCells { local, rule: rule.name.clone() };
            insert(&mut sets, local.is_ipv4(), rule, number as u32, cells).ok_or_else(too_many)?;
        }

        let index = self.tables.len() as u32;
        match local {
            IpAddr::V4(v4) => self.v4.push((v4.to_bits(), index)),
            IpAddr::V6(v6) => self.v6.push((v6.to_bits(), index)),
        }
        let table = Table {
            local,
            mode: spec.mode,
            rules: spec.rules.iter().map(|rule| (rule.name.as_str().into(), rule.action)).collect(),
            first_row: self.rows.len() as u32,
            classifiers: sets.map(|set| Classifier::new(local.is_ipv4(), &set)),
        };
        let denied = table.denied_row();
        let of_rule = |(_, action): &(_, Action)| Row { denied: (*action == Action::Deny).then_some(denied) };
        self.rows.extend(table.rules.iter().map(of_rule));
        self.rows.push(Row { denied: None });
        self.tables.push(table);
        Ok(())
    }

    /// Judges a flow from nothing but its tuple and where it began.
    pub(super) fn decide(&self, key: &FlowKey, direction: Direction) -> Decision {
        let Some(table) = self.table(key.local.ip()) else {
            return Decision { allowed: self.default == Action::Allow, row: NO_TABLE };
        };
        let table = &self.tables[table];
        let classifier = &table.classifiers[which(direction, key.protocol)];
        let rule = classifier.find(key.remote.ip().to_canonical(), key.local.port(), key.remote.port());
        let (action, row) = match rule {
            NONE => (Action::Deny, table.denied_row()),
            rule => (table.rules[rule as usize].1, table.first_row + rule),
        };
        Decision { allowed: action == Action::Allow || table.mode == Mode::Monitor, row }
    }

    /// Whether it denies nothing to anybody.
    pub(super) fn is_open(&self) -> bool {
        self.default == Action::Allow && self.tables.is_empty()
    }

    #[inline]
    fn table(&self, local: IpAddr) -> Option<usize> {
        fn search<T: Ord + Copy>(tables: &[(T, u32)], address: T) -> Option<usize> {
            let at = tables.partition_point(|table| table.0 < address);
            tables.get(at).filter(|table| table.0 == address).map(|table| table.1 as usize)
        }
        match local.to_canonical() {
            IpAddr::V4(v4) => search(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => search(&self.v6, v6.to_bits()),
        }
    }
}

/// Which of a table's classifiers answers.
const fn which(direction: Direction, protocol: Protocol) -> usize {
    let direction = match direction {
        Direction::In => 0,
        Direction::Out => 2,
    };
    match protocol {
        Protocol::Tcp => direction,
        Protocol::Udp => direction + 1,
    }
}

/// Adds the rectangles of one rule to the sets that it is for. `None` when there are too many.
fn insert(sets: &mut [Cells; 4], v4: bool, rule: &RuleSpec, number: u32, cells: &mut usize) -> Option<()> {
    let (local, remote) = (merge(&rule.local_ports), merge(&rule.remote_ports));
    let mut blocks: Vec<_> =
        rule.remotes.iter().filter(|prefix| prefix.address().is_ipv4() == v4).map(block).collect();
    blocks.sort_unstable();
    blocks.dedup();
    for direction in [Direction::In, Direction::Out] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            if !rule.direction.includes(direction) || !rule.protocol.includes(protocol) {
                continue;
            }
            *cells += blocks.len().checked_mul(local.len())?.checked_mul(remote.len())?;
            if *cells > MAX_CELLS {
                return None;
            }
            let set = &mut sets[which(direction, protocol)];
            for &block in blocks.iter().filter(|_| !local.is_empty() && !remote.is_empty()) {
                let own = set.entry(block).or_default();
                for &local in &local {
                    own.extend(remote.iter().map(|&remote| Cell { local, remote, rule: number }));
                }
            }
        }
    }
    Some(())
}

fn block(prefix: &Prefix) -> (u128, u8) {
    let bits = match prefix.address() {
        IpAddr::V4(v4) => u128::from(Ipv4Addr::to_bits(v4)),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    };
    (bits, prefix.len())
}

/// The same ports in the fewest ranges.
fn merge(ranges: &[PortRange]) -> Vec<PortRange> {
    let mut sorted: Vec<PortRange> = ranges.iter().copied().filter(|r| r.first <= r.last).collect();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if u32::from(range.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge() {
        let range = |first, last| PortRange { first, last };
        assert_eq!(
            merge(&[range(90, 95), range(80, 80), range(81, 89), range(5, 4), range(65535, 65535)]),
            [range(80, 95), range(65535, 65535)]
        );
        assert_eq!(merge(&[range(100, 200), range(120, 130), range(0, 65535)]), [PortRange::ANY]);
        assert_eq!(merge(&[]), []);
    }
}
