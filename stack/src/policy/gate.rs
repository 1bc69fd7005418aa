//! The policy in force: verdicts, their memory, and what is counted.

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::Arc;

use super::compile::{Policy, Row};
use super::spec::{Mode, PolicySpec};
use crate::types::{Direction, FlowKey, VerdictMemo};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    #[inline]
    fn add(&mut self, len: usize) {
        self.packets += 1;
        self.bytes += len as u64;
    }
}

/// Judges packets by the current policy and counts them.
#[derive(Debug)]
pub struct Gate {
    policy: Arc<Policy>,
    generation: u32,
    rows: Vec<(Count, Row)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::open()
    }
}

impl Gate {
    /// A gate that lets everything pass.
    ///
    /// # Panics
    /// Never: the empty policy compiles.
    pub fn open() -> Self {
        Self::new(Policy::compile(&PolicySpec::open()).expect("the empty policy compiles"))
    }

    /// A gate with `policy` as its first.
    pub fn new(policy: Arc<Policy>) -> Self {
        let rows = policy.rows.iter().map(|&row| (Count::default(), row)).collect();
        Self { policy, generation: 1, rows }
    }

    /// Whether a packet of `len` bytes of the flow `key`, which began in `direction`, may pass. Counts it. The
    /// verdict is taken from `memo` while that is of this gate's generation, and kept there.
    #[inline]
    pub fn judge(&mut self, memo: &mut VerdictMemo, key: &FlowKey, direction: Direction, len: usize) -> bool {
        if memo.generation != self.generation {
            let decision = self.policy.decide(key, direction);
            *memo = VerdictMemo { generation: self.generation, allowed: decision.allowed, row: decision.row };
        }
        let (count, row) = &mut self.rows[memo.row as usize];
        count.add(len);
        if let Some(denied) = row.denied {
            self.rows[denied as usize].0.add(len);
        }
        memo.allowed
    }

    /// Puts `policy` in force. Every flow is judged anew at its next packet. Rules that have the address of
    /// their table and their name in common with a rule before go on counting where that stood.
    pub fn swap(&mut self, policy: Arc<Policy>) {
        let mut next = Self::new(policy);
        let before: HashMap<(IpAddr, Option<&str>), Count> = self.named_rows().collect();
        let kept: Vec<(u32, Count)> = next
            .named_rows_with_numbers()
            .filter_map(|(name, row)| before.get(&name).map(|count| (row, *count)))
            .collect();
        for (row, count) in kept {
            next.rows[row as usize].0 = count;
        }
        // Zero means "never judged".
        next.generation = self.generation.checked_add(1).unwrap_or(1);
        *self = next;
    }

    /// Whether nothing is denied to anybody.
    pub fn is_open(&self) -> bool {
        self.policy.is_open()
    }

    /// The number of the policy in force: the first is 1.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What was counted, table by table.
    pub fn snapshot(&self) -> GateSnapshot {
        let count = |row: u32| self.rows[row as usize].0;
        let tables = self.policy.tables.iter().map(|table| TableSnapshot {
            local: table.local,
            mode: table.mode,
            rules: (table.first_row..)
                .zip(&table.rules)
                .map(|(row, (name, _))| RuleSnapshot { name: name.clone(), count: count(row) })
                .collect(),
            denied: count(table.denied_row()),
        });
        GateSnapshot {
            generation: self.generation,
            no_table: count(super::compile::NO_TABLE),
            tables: tables.collect(),
        }
    }

    /// The name of each counter row: its table's address and its rule's name, none for what the table denies.
    fn named_rows_with_numbers(&self) -> impl Iterator<Item = ((IpAddr, Option<&str>), u32)> {
        self.policy.tables.iter().flat_map(|table| {
            let rules = table.rules.iter().map(|(name, _)| Some(&**name));
            rules.chain([None]).map(|name| (table.local, name)).zip(table.first_row..)
        })
    }

    fn named_rows(&self) -> impl Iterator<Item = ((IpAddr, Option<&str>), Count)> {
        self.named_rows_with_numbers().map(|(name, row)| (name, self.rows[row as usize].0))
    }
}

/// What a gate counted, in the shape in which `ringroad stat` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSnapshot {
    /// The number of the policy in force.
    pub generation: u32,
    /// Packets for local addresses that have no table.
    pub no_table: Count,
    /// In the order of the policy.
    pub tables: Vec<TableSnapshot>,
}

/// What one table counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSnapshot {
    /// The address it answers for.
    pub local: IpAddr,
    /// Whether its verdicts are carried out.
    pub mode: Mode,
    /// In the order of the table.
    pub rules: Vec<RuleSnapshot>,
    /// What was denied, by a rule or by none; in monitor mode what would have been.
    pub denied: Count,
}

/// What one rule counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// What it matched.
    pub count: Count,
}
