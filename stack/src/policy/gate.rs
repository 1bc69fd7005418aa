//! The policy in force: verdicts, their memory, and what is counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::compile::{Decision, Policy, Row};
use super::limit::Limits;
use super::refusals::{Refusal, Refusals};
use super::spec::{Mode, PolicySpec};
use crate::hash::HashKey;
use crate::time::Instant;
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
    /// Flows beyond each limit of the policy, in the order of its limits.
    limited: Vec<u64>,
    limits: Limits,
    refusals: Refusals,
    /// Of the segment in hand that is of no known connection.
    flags: Option<u8>,
}

impl Gate {
    /// A gate that lets everything pass. `key`: where sources of flows are remembered.
    ///
    /// # Panics
    /// Never: the empty policy compiles.
    pub fn open(key: HashKey) -> Self {
        Self::new(Policy::compile(&PolicySpec::open()).expect("the empty policy compiles"), key)
    }

    /// A gate with `policy` as its first.
    pub fn new(policy: Arc<Policy>, key: HashKey) -> Self {
        let mut limits = Limits::new(key);
        limits.prepare(!policy.limits.is_empty());
        let mut refusals = Refusals::default();
        refusals.prepare(!policy.is_open());
        let (rows, limited) = (rows_of(&policy), vec![0; policy.limits.len()]);
        Self { generation: 1, rows, limited, limits, refusals, flags: None, policy }
    }

    /// Whether a packet of `len` bytes of the flow `key`, which began in `direction`, may pass. Counts it. The
    /// verdict is taken from `memo` while that is of this gate's generation, and kept there.
    #[inline]
    pub fn judge(&mut self, memo: &mut VerdictMemo, key: &FlowKey, direction: Direction, len: usize) -> bool {
        if memo.generation != self.generation {
            self.decide(memo, key, direction);
        }
        let (count, row) = &mut self.rows[memo.row as usize];
        count.add(len);
        if let Some(denied) = row.denied {
            self.rows[denied as usize].0.add(len);
        }
        memo.allowed
    }

    #[inline(never)]
    fn decide(&mut self, memo: &mut VerdictMemo, key: &FlowKey, direction: Direction) {
        let Decision { allowed, refused, row } = self.policy.decide(key, direction);
        *memo = VerdictMemo { generation: self.generation, allowed, row };
        if refused {
            let flags = self.flags.take();
            let refusal = Refusal { key: *key, direction, flags, limited: false, dropped: !allowed, row };
            self.refusals.push(refusal);
        }
    }

    /// The flags of the segment that will be judged next, which is of no known connection; none when it has been.
    pub fn in_hand(&mut self, flags: Option<u8>) {
        self.flags = flags;
    }

    /// Whether there is something to [take away](Gate::take_refusals).
    #[inline]
    pub fn has_refusals(&self) -> bool {
        self.refusals.wait()
    }

    /// Moves what was refused lately to `into`. How many more there were that were only counted.
    pub fn take_refusals(&mut self, into: &mut Vec<Refusal>) -> u64 {
        self.refusals.take(into)
    }

    /// Whether a flow that was judged, and let pass, by `memo` may begin: asked once, by its first packet of `len`
    /// bytes. No when its source has begun too many lately.
    #[inline]
    pub fn begins(&mut self, now: Instant, memo: &VerdictMemo, key: &FlowKey, len: usize) -> bool {
        self.limited.is_empty() || self.is_within(now, memo.row, key, len)
    }

    fn is_within(&mut self, now: Instant, row: u32, key: &FlowKey, len: usize) -> bool {
        let Ok(at) = self.policy.limits.binary_search_by_key(&row, |limit| limit.row) else { return true };
        let limit = self.policy.limits[at];
        if self.limits.take(now, limit.row, key.remote.ip(), limit.rate) {
            return true;
        }
        self.limited[at] += 1;
        self.rows[limit.denied as usize].0.add(len);
        let (flags, dropped) = (self.flags.take(), limit.mode == Mode::Enforce);
        self.refusals.push(Refusal {
            key: *key,
            direction: Direction::In,
            flags,
            limited: true,
            dropped,
            row,
        });
        !dropped
    }

    /// Puts `policy` in force. Every flow is judged anew at its next packet. Rules that have the name of their table
    /// and their own in common with a rule before go on counting where that stood.
    pub fn swap(&mut self, policy: Arc<Policy>) {
        self.succeed(Successor::new(&self.policy, policy));
    }

    /// As [`Gate::swap`], when what takes long was done before. What comes back is no longer needed: dropping it takes
    /// long, too.
    pub fn succeed(&mut self, mut next: Successor) -> Retired {
        if !Arc::ptr_eq(&self.policy, &next.old) {
            next = Successor::new(&self.policy, next.policy);
        }
        for &(old, new) in &next.rows_kept {
            next.rows[new as usize].0 = self.rows[old as usize].0;
        }
        for &(old, new) in &next.limits_kept {
            next.limited[new] = self.limited[old];
        }
        self.limits.prepare(!next.policy.limits.is_empty());
        self.refusals.prepare(!next.policy.is_open());
        self.refusals.forget();
        // Zero means "never judged".
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let rows = std::mem::replace(&mut self.rows, next.rows);
        self.limited = next.limited;
        let policy = std::mem::replace(&mut self.policy, next.policy);
        Retired { _policy: policy, _rows: rows, _kept: next.rows_kept }
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
        let limited = |row: u32| {
            let at = self.policy.limits.binary_search_by_key(&row, |limit| limit.row).ok()?;
            self.limited.get(at).copied()
        };
        let mut counters: BTreeMap<&Arc<str>, Count> = BTreeMap::new();
        let mut tables = Vec::with_capacity(self.policy.tables.len());
        for table in &self.policy.tables {
            let mut rules = Vec::with_capacity(table.rules.len());
            for (row, rule) in (table.first_row..).zip(&table.rules) {
                let count = count(row);
                if let Some(name) = &rule.counter {
                    let sum = counters.entry(name).or_default();
                    (sum.packets, sum.bytes) = (sum.packets + count.packets, sum.bytes + count.bytes);
                }
                rules.push(RuleSnapshot {
                    name: rule.name.clone(),
                    count,
                    limited: limited(row).unwrap_or(0),
                });
            }
            let (name, mode, denied) = (table.name.clone(), table.mode, count(table.denied_row()));
            tables.push(TableSnapshot { name, mode, rules, denied });
        }
        GateSnapshot {
            generation: self.generation,
            no_table: count(super::compile::NO_TABLE),
            tables,
            counters: counters
                .into_iter()
                .map(|(name, count)| CounterSnapshot { name: name.clone(), count })
                .collect(),
        }
    }
}

fn rows_of(policy: &Policy) -> Vec<(Count, Row)> {
    policy.rows.iter().map(|&row| (Count::default(), row)).collect()
}

/// The name of each counter row: its table's and its rule's, none for what the table denies.
fn named_rows(policy: &Policy) -> impl Iterator<Item = ((&str, Option<&str>), u32)> {
    policy.tables.iter().flat_map(|table| {
        let rules = table.rules.iter().map(|rule| Some(&*rule.name));
        rules.chain([None]).map(|name| (&*table.name, name)).zip(table.first_row..)
    })
}

/// A policy about to take the place of another, with all that can be made ready before.
#[derive(Debug)]
pub struct Successor {
    old: Arc<Policy>,
    policy: Arc<Policy>,
    rows: Vec<(Count, Row)>,
    limited: Vec<u64>,
    /// Counters that go on: where they stood, and where they will.
    rows_kept: Vec<(u32, u32)>,
    limits_kept: Vec<(usize, usize)>,
}

impl Successor {
    /// Makes `policy` ready to take the place of `old`.
    pub fn new(old: &Arc<Policy>, policy: Arc<Policy>) -> Self {
        let before: HashMap<_, u32> = named_rows(old).collect();
        let rows_kept: Vec<(u32, u32)> =
            named_rows(&policy).filter_map(|(name, row)| Some((*before.get(&name)?, row))).collect();
        let at = |policy: &Policy, row| policy.limits.binary_search_by_key(&row, |limit| limit.row).ok();
        let limits_kept =
            rows_kept.iter().filter_map(|&(was, row)| Some((at(old, was)?, at(&policy, row)?))).collect();
        Self {
            old: Arc::clone(old),
            rows: rows_of(&policy),
            limited: vec![0; policy.limits.len()],
            rows_kept,
            limits_kept,
            policy,
        }
    }
}

/// What a policy leaves behind.
#[derive(Debug)]
pub struct Retired {
    _policy: Arc<Policy>,
    _rows: Vec<(Count, Row)>,
    _kept: Vec<(u32, u32)>,
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
    /// The named counters, in the order of their names.
    pub counters: Vec<CounterSnapshot>,
}

/// What one table counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSnapshot {
    /// Its name: as a rule, the address it answers for.
    pub name: Arc<str>,
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
    /// Flows that it would have let pass, had their source not begun too many.
    pub limited: u64,
}

/// What the rules that name one counter counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// The sum.
    pub count: Count,
}
