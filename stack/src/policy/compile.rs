//! From what a policy says to what answers in nanoseconds.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::HashSet;
use std::sync::Arc;

use super::classifier::Classifier;
use super::nest::{Block, NONE, Steps, nest};
use super::ready::{Ready, Room, block};
use super::refusals::Refusal;
use super::spec::{Action, Mode, PolicySpec, Prefix, TableSpec};
use crate::types::{Direction, FlowKey, Protocol};

/// Rules in a policy at the most.
pub const MAX_RULES: usize = 1 << 17;
/// Rectangles in a policy at the most: each rule takes one for each combination of its remote prefixes, local
/// port ranges and remote port ranges, once for each direction and protocol that it is for. The prefixes of a set
/// count once, however many rules name it.
pub const MAX_CELLS: usize = 1 << 19;
/// Prefixes in a policy at the most: those of each set count once for each table, direction and protocol that it is
/// named for.
pub const MAX_PREFIXES: usize = 1 << 21;
/// Rectangles copied into prefixes that lie in those they belong to, at the most.
const MAX_COPIES: usize = 1 << 22;

/// Why a policy cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// More than [`MAX_RULES`] rules.
    TooManyRules,
    /// The lists in this rule and those before it multiply to more than [`MAX_CELLS`].
    TooManyCells {
        /// The table.
        table: String,
        /// The rule at which the limit was passed.
        rule: String,
    },
    /// The sets that this table names hold, with those of the tables before it, more than [`MAX_PREFIXES`], or lie
    /// in one another in so many ways that the rules would have to be copied without end.
    TooManyPrefixes {
        /// The table.
        table: String,
    },
    /// Two tables for one address or network.
    SameAddress(Prefix),
    /// Two tables of one name.
    SameTable(String),
    /// Two rules of one name in a table.
    SameName {
        /// The table.
        table: String,
        /// The name.
        rule: String,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyRules => write!(f, "more than {MAX_RULES} rules"),
            Self::TooManyCells { table, rule } => write!(
                f,
                "table {table}, rule {rule:?}: the lists of ports and addresses multiply to more than \
                 {MAX_CELLS} combinations; split or merge ranges"
            ),
            Self::TooManyPrefixes { table } => {
                write!(f, "table {table}: its sets make more than {MAX_PREFIXES} prefixes to look at")
            }
            Self::SameAddress(prefix) => write!(f, "two tables for {prefix}"),
            Self::SameTable(table) => write!(f, "two tables are named {table}"),
            Self::SameName { table, rule } => write!(f, "table {table}: two rules are named {rule:?}"),
        }
    }
}

impl core::error::Error for PolicyError {}

/// What was decided for a flow, and by which counter row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) allowed: bool,
    /// Whether it is not permitted, even if it passes.
    pub(super) refused: bool,
    pub(super) row: u32,
}

/// What a policy says to a flow, and where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether its packets pass.
    pub allowed: bool,
    /// The table that answers, by its place; `None`: the policy's default does.
    pub table: Option<usize>,
    /// The first rule that matches, by its place in the table; `None`: none does.
    pub rule: Option<usize>,
}

/// A counter row: whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The row that sums up what the table denies, when this row's packets belong there too.
    pub(super) denied: Option<u32>,
}

/// How many flows a second may begin from one source by a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// The rule's counter row.
    pub(super) row: u32,
    /// That of what its table denies.
    pub(super) denied: u32,
    pub(super) rate: u32,
    /// Whether the rest is denied, or only counted.
    pub(super) mode: Mode,
}

/// A table with its rules compiled.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: Arc<str>,
    pub(super) mode: Mode,
    pub(super) rules: Vec<Rule>,
    /// The counter row of the first rule; that of what is denied comes after the last.
    pub(super) first_row: u32,
    /// By family, then by direction and protocol.
    classifiers: [[Classifier; 4]; 2],
}

/// What is left of a rule when it has matched.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) action: Action,
    /// The named counter that it counts for, too.
    pub(super) counter: Option<Arc<str>>,
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
    /// Tables by local address.
    v4: Steps<u32>,
    v6: Steps<u128>,
    pub(super) rows: Vec<Row>,
    /// In the order of their rows.
    pub(super) limits: Vec<Limit>,
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
            v4: by_address(&spec.tables, true)?,
            v6: by_address(&spec.tables, false)?,
            rows: vec![Row { denied: None }],
            limits: Vec::new(),
        };
        if let Some(same) = twice(spec.tables.iter().map(|table| table.name.as_str())) {
            return Err(PolicyError::SameTable(same.to_owned()));
        }
        let mut room = Room { cells: MAX_CELLS, prefixes: MAX_PREFIXES, copies: MAX_COPIES };
        for table in &spec.tables {
            policy.add(table, &mut room)?;
        }
        Ok(Arc::new(policy))
    }

    /// Rules in all tables.
    pub fn rules(&self) -> usize {
        self.tables.iter().map(|table| table.rules.len()).sum()
    }

    fn add(&mut self, spec: &TableSpec, room: &mut Room) -> Result<(), PolicyError> {
        let table = || spec.name.clone();
        if let Some(same) = twice(spec.rules.iter().map(|rule| rule.name.as_str())) {
            return Err(PolicyError::SameName { table: table(), rule: same.to_owned() });
        }
        let ready = Ready::new(&spec.rules, room)
            .map_err(|rule| PolicyError::TooManyCells { table: table(), rule: rule.name.clone() })?;
        let mut classifiers: [[Classifier; 4]; 2] = Default::default();
        for (family, v4) in classifiers.iter_mut().zip([true, false]) {
            if !spec.locals.iter().any(|local| local.address().is_ipv4() == v4) {
                continue;
            }
            for (direction, protocol) in FLOWS {
                family[which(direction, protocol)] =
                    Classifier::new(v4, &ready, direction, protocol, room)
                        .ok_or_else(|| PolicyError::TooManyPrefixes { table: table() })?;
            }
        }
        let rules = spec.rules.iter().map(|rule| Rule {
            name: rule.name.as_str().into(),
            action: rule.action,
            counter: rule.counter.as_deref().map(Into::into),
        });
        let table = Table {
            name: spec.name.as_str().into(),
            mode: spec.mode,
            rules: rules.collect(),
            first_row: self.rows.len() as u32,
            classifiers,
        };
        let denied = table.denied_row();
        let limit =
            |(row, rate): (u32, Option<u32>)| Some(Limit { row, denied, rate: rate?, mode: spec.mode });
        self.limits.extend((table.first_row..).zip(spec.rules.iter().map(|r| r.limit)).filter_map(limit));
        let of_rule = |rule: &Rule| Row { denied: (rule.action == Action::Deny).then_some(denied) };
        self.rows.extend(table.rules.iter().map(of_rule));
        self.rows.push(Row { denied: None });
        self.tables.push(table);
        Ok(())
    }

    /// Judges a flow from nothing but its tuple and where it began.
    pub fn judge(&self, key: &FlowKey, direction: Direction) -> Judgement {
        let at = match key.local.ip().to_canonical() {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()),
        };
        let Some(table) = self.tables.get(at as usize) else {
            return Judgement { allowed: self.default == Action::Allow, table: None, rule: None };
        };
        let remote = key.remote.ip().to_canonical();
        let family = &table.classifiers[usize::from(remote.is_ipv6())];
        let classifier = &family[which(direction, key.protocol)];
        let rule = classifier.find(remote, key.local.port(), key.remote.port());
        let rule = (rule != NONE).then_some(rule as usize);
        let allows = rule.is_some_and(|rule| table.rules[rule].action == Action::Allow);
        Judgement { allowed: allows || table.mode == Mode::Monitor, table: Some(at as usize), rule }
    }

    /// The same, with the row that counts it.
    pub(super) fn decide(&self, key: &FlowKey, direction: Direction) -> Decision {
        let Judgement { allowed, table, rule } = self.judge(key, direction);
        let (row, refused) = match (table.map(|table| &self.tables[table]), rule) {
            (None, _) => (NO_TABLE, !allowed),
            (Some(table), None) => (table.denied_row(), true),
            (Some(table), Some(rule)) => {
                (table.first_row + rule as u32, table.rules[rule].action == Action::Deny)
            }
        };
        Decision { allowed, refused, row }
    }

    /// The names of the table and the rule by which something was refused; none for what no table or rule is for.
    pub fn names(&self, refusal: &Refusal) -> (Option<&Arc<str>>, Option<&Arc<str>>) {
        let at = self.tables.partition_point(|table| table.first_row <= refusal.row);
        let Some(table) = at.checked_sub(1).and_then(|at| self.tables.get(at)) else { return (None, None) };
        let rule = table.rules.get((refusal.row - table.first_row) as usize);
        (Some(&table.name), rule.map(|rule| &rule.name))
    }

    /// Whether it denies nothing to anybody.
    pub(super) fn is_open(&self) -> bool {
        self.default == Action::Allow && self.tables.is_empty()
    }
}

/// The table for each local address of a family.
fn by_address<T: super::nest::Bits>(tables: &[TableSpec], v4: bool) -> Result<Steps<T>, PolicyError> {
    let mut owners: Vec<(Block, u32)> = (0..)
        .zip(tables)
        .flat_map(|(n, table)| table.locals.iter().map(move |local| (local, n)))
        .filter(|(local, _)| local.address().is_ipv4() == v4)
        .map(|(local, n)| (block(local), n))
        .collect();
    owners.sort_unstable();
    owners.dedup();
    if let Some(same) = owners.windows(2).find(|w| w[0].0 == w[1].0) {
        let (bits, len) = same[0].0;
        let address: IpAddr =
            if v4 { Ipv4Addr::from_bits(bits as u32).into() } else { Ipv6Addr::from_bits(bits).into() };
        let prefix = Prefix::new(address, len).unwrap_or(Prefix::host(address));
        return Err(PolicyError::SameAddress(prefix));
    }
    let blocks: Vec<Block> = owners.iter().map(|owner| owner.0).collect();
    let (cuts, _) = nest::<T>(&blocks);
    Ok(Steps::renamed(&cuts, |block| owners[block as usize].1))
}

/// The first name that was there before.
fn twice<'n>(names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

const FLOWS: [(Direction, Protocol); 4] = [
    (Direction::In, Protocol::Tcp),
    (Direction::In, Protocol::Udp),
    (Direction::Out, Protocol::Tcp),
    (Direction::Out, Protocol::Udp),
];

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
