//! From what a policy says to what answers in nanoseconds.

use core::fmt;
use core::net::IpAddr;
use std::collections::HashSet;
use std::sync::Arc;

use super::classifier::{Classifier, Number};
use super::gate::Count;
use super::marked::Marked;
use super::nest::NONE;
use super::owners::{Owners, interfaces, owners, told_apart};
use super::ready::{Flows, Ready, Room};
use super::refusals::Refusal;
use super::roads::{Via, closest};
use super::rules::Rules;
use super::spec::{Action, Mode, PolicySpec, Prefix, TableSpec};
use crate::types::{Direction, FlowKey, Protocol, VerdictMemo};

/// Rules in a policy at the most.
pub const MAX_RULES: usize = 1 << 17;
/// Tables in a policy at the most.
pub const MAX_TABLES: usize = 1 << 17;
// A counter row for each rule, for what each table denies, and for what is for no table.
const _: () = assert!(MAX_RULES + MAX_TABLES < VerdictMemo::ROWS as usize);
/// Rectangles in a policy at the most: each rule takes one for each combination of its remote prefixes, local
/// port ranges and remote port ranges, once for each direction and protocol that it is for. The prefixes of a set
/// count once, however many rules name it.
pub const MAX_CELLS: usize = 1 << 19;
/// Prefixes in a policy at the most: those of each rule and set count once for each table, direction and protocol that
/// they are named for, and where rules of a table name interfaces once more for each that these tell apart.
pub const MAX_PREFIXES: usize = 1 << 21;
/// Interfaces and patterns of such that the rules and tables of a policy name at the most.
pub const MAX_INTERFACES: usize = 64;
/// Rectangles copied into prefixes that lie in those they belong to, at the most.
const MAX_COPIES: usize = 1 << 22;
/// Rectangles, and copies of such, at the most that overlap at both ends in so many ways that it takes long to find which is
/// first: some 8,000 rules made for that; none of the rule sets that providers have.
const MAX_TANGLED: usize = 1 << 15;

/// Why a policy cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// More than [`MAX_RULES`] rules.
    TooManyRules,
    /// More than [`MAX_TABLES`] tables.
    TooManyTables,
    /// The lists in this rule and those before it multiply to more than [`MAX_CELLS`].
    TooManyCells {
        /// The table.
        table: String,
        /// The rule at which the limit was passed.
        rule: String,
    },
    /// What the rules and sets of this table hold is, with those of the tables before it, more than [`MAX_PREFIXES`], or
    /// lies in one another, or overlaps by its ports, in so many ways that it would take without end.
    TooManyPrefixes {
        /// The table.
        table: String,
    },
    /// Rules and tables name more than [`MAX_INTERFACES`] interfaces.
    TooManyInterfaces,
    /// Two tables for one address or network, by the same interfaces.
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
            Self::TooManyTables => write!(f, "more than {MAX_TABLES} tables"),
            Self::TooManyPrefixes { table } => write!(
                f,
                "table {table}: its addresses, rules and sets make more than {MAX_PREFIXES} prefixes to look at, those \
                 of each interface that they tell apart by themselves, or overlap by networks and ranges of ports in \
                 too many ways"
            ),
            Self::TooManyInterfaces => {
                write!(f, "rules and tables for more than {MAX_INTERFACES} interfaces")
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
    /// Whether it is told of, though it is permitted.
    pub(super) logged: bool,
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

/// What a policy says to a flow, by name.
#[derive(Clone, Copy, Debug)]
pub struct Told<'p> {
    /// Whether it passes.
    pub allowed: bool,
    /// Whether it is not permitted, even if it passes.
    pub refused: bool,
    /// The table that answers; none: the default does.
    pub table: Option<&'p str>,
    /// The first rule that matches.
    pub rule: Option<&'p str>,
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
    pub(super) mode: Mode,
    pub(super) rules: Rules,
    /// The counter row of the first rule; that of what is denied comes after the last.
    pub(super) first_row: u32,
    /// For interfaces that no rule of it names: of most tables all.
    pub(super) classifiers: View,
    /// For those that its rules tell apart.
    pub(super) views: Vec<View>,
    /// One more than the place among `views` of each interface that the policy names, zero: `classifiers`; empty where
    /// no rule of the table names any.
    pub(super) view_of: Vec<u8>,
}

/// The rules of a table that hold by an interface: by family, then by direction and protocol.
pub(super) type View = [[Classifier; 4]; 2];

impl Table {
    /// What it is called in counters.
    pub(super) fn name(&self) -> &str {
        self.rules.name(self.rules.len())
    }

    #[inline]
    fn view(&self, via: Via) -> &View {
        let at = self.view_of.get(via.index()).and_then(|view| usize::from(*view).checked_sub(1));
        at.and_then(|at| self.views.get(at)).unwrap_or(&self.classifiers)
    }

    /// The counter row of what the table denies and no rule of it.
    pub(super) fn denied_row(&self) -> u32 {
        self.first_row + self.rules.len() as u32
    }
}

/// A compiled policy: immutable, shared by whoever judges with it.
#[derive(Debug)]
pub struct Policy {
    pub(super) default: Action,
    /// The interfaces that rules and tables name, in the order of their names.
    pub(super) interfaces: Vec<Arc<str>>,
    pub(super) marked: Option<Arc<Marked>>,
    pub(super) tables: Vec<Table>,
    /// Tables by local address: first for interfaces that no table names, then for those that tables tell apart.
    pub(super) owners: Vec<Owners>,
    /// The place among `owners` of each interface that the policy names; empty where no table names any.
    pub(super) owners_of: Vec<u8>,
    /// Counter rows.
    pub(super) rows: u32,
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
        if spec.tables.len() > MAX_TABLES {
            return Err(PolicyError::TooManyTables);
        }
        let mut room =
            Room { cells: MAX_CELLS, prefixes: MAX_PREFIXES, copies: MAX_COPIES, tangled: MAX_TANGLED };
        let interfaces = interfaces(spec)?;
        let (owners, owners_of) = owners(&spec.tables, &interfaces, &mut room)?;
        let mut policy = Self {
            default: spec.default,
            interfaces,
            marked: Marked::of(&spec.shadow).map(Arc::new),
            tables: Vec::with_capacity(spec.tables.len()),
            owners,
            owners_of,
            rows: NO_TABLE + 1,
            limits: Vec::new(),
        };
        if let Some(same) = twice(spec.tables.iter().map(|table| table.name.as_str())) {
            return Err(PolicyError::SameTable(same.to_owned()));
        }
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
        let mut view = |interface| {
            view(spec, &ready, interface, room)
                .ok_or_else(|| PolicyError::TooManyPrefixes { table: spec.name.clone() })
        };
        let holding = |by: Option<&str>| {
            spec.rules.iter().map(|rule| spec.holds_by(by) && rule.holds_by(by)).collect::<Vec<_>>()
        };
        let (view_of, meant) = told_apart(&self.interfaces, holding);
        let classifiers = view(None)?;
        let views = meant.into_iter().map(|name| view(Some(name))).collect::<Result<_, _>>()?;
        let (rules, first_row) = (Rules::of(spec), self.rows);
        let table = Table { mode: spec.mode, rules, first_row, classifiers, views, view_of };
        let denied = table.denied_row();
        let limit =
            |(row, rate): (u32, Option<u32>)| Some(Limit { row, denied, rate: rate?, mode: spec.mode });
        self.limits.extend((table.first_row..).zip(spec.rules.iter().map(|r| r.limit)).filter_map(limit));
        self.rows = denied + 1;
        self.tables.push(table);
        Ok(())
    }

    /// The table that answers for a flow, and the first rule of it that matches, or [`NONE`].
    #[inline(always)]
    fn answer(&self, key: &FlowKey, direction: Direction, via: Via) -> Option<(&Table, usize, u32)> {
        let at = self.table_of(key.local.ip(), via)?;
        let table = &self.tables[at];
        let remote = Number::of(key.remote.ip());
        let family = &table.view(via)[usize::from(matches!(remote, Number::V6(_)))];
        let classifier = &family[which(direction, key.protocol)];
        Some((table, at, classifier.find(remote, key.local.port(), key.remote.port())))
    }

    /// Judges a flow from nothing but its tuple and where it began.
    pub fn judge(&self, key: &FlowKey, direction: Direction, via: Via) -> Judgement {
        let Some((table, at, rule)) = self.answer(key, direction, via) else {
            return Judgement { allowed: self.default == Action::Allow, table: None, rule: None };
        };
        let rule = (rule != NONE).then_some(rule as usize);
        let allows = rule.is_some_and(|rule| table.rules.allows(rule));
        Judgement { allowed: allows || table.mode == Mode::Monitor, table: Some(at), rule }
    }

    /// The same, with the row that counts it.
    #[inline(always)]
    pub(super) fn decide(&self, key: &FlowKey, direction: Direction, via: Via) -> Decision {
        let Some((table, _, rule)) = self.answer(key, direction, via) else {
            let allowed = self.default == Action::Allow;
            return Decision { allowed, refused: !allowed, logged: false, row: NO_TABLE };
        };
        let (row, allows) = match rule {
            NONE => (table.denied_row(), false),
            rule => (table.first_row + rule, table.rules.allows(rule as usize)),
        };
        let logged = allows && table.rules.is_logged(rule as usize);
        Decision { allowed: allows || table.mode == Mode::Monitor, refused: !allows, logged, row }
    }

    /// The names of a table and of a rule of it, by their places; none for what is not there.
    pub fn names_at(&self, table: usize, rule: Option<usize>) -> (Option<&str>, Option<&str>) {
        let Some(table) = self.tables.get(table) else { return (None, None) };
        let rule = rule.filter(|rule| *rule < table.rules.len());
        (Some(table.name()), rule.map(|rule| table.rules.name(rule)))
    }

    /// What is said to a flow, by name: whether it passes, whether it is permitted, and the table and the rule that say so.
    pub fn tell(&self, key: &FlowKey, direction: Direction, via: Via) -> Told<'_> {
        let Decision { allowed, refused, row, .. } = self.decide(key, direction, via);
        let (table, rule) = self.names_of(row);
        Told { allowed, refused, table, rule }
    }

    /// The names of the table and the rule by which something was refused; none for what no table or rule is for.
    pub fn names(&self, refusal: &Refusal) -> (Option<&str>, Option<&str>) {
        self.names_of(refusal.row)
    }

    /// The names of the table and the rule of a counter row.
    pub(super) fn names_of(&self, row: u32) -> (Option<&str>, Option<&str>) {
        self.place_of(row).map_or((None, None), |(table, rule)| self.names_at(table, Some(rule)))
    }

    /// Whether what is counted in a row is not permitted by a table, even if it passes.
    pub(super) fn is_refusal(&self, row: u32) -> bool {
        self.place_of(row).is_some_and(|(table, rule)| {
            let rules = &self.tables[table].rules;
            rule >= rules.len() || rules.denies(rule)
        })
    }

    /// Counters for its rows, and for its limits.
    pub(super) fn nothing_counted(&self) -> (Vec<Count>, Vec<u64>) {
        (vec![Count::default(); self.rows as usize], vec![0; self.limits.len()])
    }

    /// The table and the rule of a counter row; beyond the last rule: what else the table denies.
    fn place_of(&self, row: u32) -> Option<(usize, usize)> {
        let at = self.tables.partition_point(|table| table.first_row <= row).checked_sub(1)?;
        let table = &self.tables[at];
        (row <= table.denied_row()).then(|| (at, (row - table.first_row) as usize))
    }

    /// The table that answers for a local address by an interface, by its place.
    #[inline]
    pub fn table_of(&self, local: IpAddr, via: Via) -> Option<usize> {
        let owners = self.owners_of.get(via.index()).copied().unwrap_or(0);
        let owners = self.owners.get(usize::from(owners))?;
        let at = match Number::of(local) {
            Number::V4(number) => owners.v4.find(number),
            Number::V6(number) => owners.v6.find(number),
        };
        self.tables.get(at as usize).map(|_| at as usize)
    }

    /// An interface by its name, as this policy knows it.
    pub fn via(&self, interface: Option<&str>) -> Via {
        let place = interface.and_then(|name| closest(self.interfaces.iter().map(|entry| &**entry), name));
        place.map_or(Via::OTHER, |at| Via::named(at as u8))
    }

    /// Whose flows are recorded in full, if anybody's are.
    pub fn marked(&self) -> Option<&Arc<Marked>> {
        self.marked.as_ref()
    }

    /// Whether any rule or table names an interface.
    pub fn tells_interfaces_apart(&self) -> bool {
        !self.interfaces.is_empty()
    }

    /// Whether it denies nothing to anybody.
    pub(super) fn is_open(&self) -> bool {
        self.default == Action::Allow && self.tables.is_empty()
    }
}

/// The rules of a table that hold by `interface`; `None` when there is too little room.
fn view(spec: &TableSpec, ready: &Ready<'_>, interface: Option<&str>, room: &mut Room) -> Option<View> {
    let mut view = View::default();
    for (family, v4) in view.iter_mut().zip([true, false]) {
        if !spec.locals.iter().any(|local| local.address().is_ipv4() == v4) {
            continue;
        }
        for (direction, protocol) in FLOWS {
            let flows = Flows { v4, direction, protocol, interface };
            family[which(direction, protocol)] = Classifier::new(ready, &flows, room)?;
        }
    }
    Some(view)
}

/// The first name that was there before.
fn twice<'n>(names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut seen = HashSet::with_capacity(names.size_hint().0);
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
