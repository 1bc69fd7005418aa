//! What is left of the rules of a table when one has matched: what becomes of the flow, and what it is called.

use core::fmt;
use core::ops::{Deref, Range};

use nic::Frozen;

use super::image::{Reader, Writer, are_ends, is_below};
use super::nest::NONE;
use super::spec::{Action, RuleSpec, TableSpec};

/// A name in a policy, which has it as long as anybody does.
#[derive(Clone)]
pub struct Name {
    text: Frozen<u8>,
    at: Range<usize>,
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        text(&self.text, self.at.clone())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

/// Names that are there were looked at, so that this is one.
fn text(bytes: &[u8], at: Range<usize>) -> &str {
    bytes.get(at).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default()
}

/// Names by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// One behind the other.
    text: Frozen<u8>,
    /// Where each ends.
    ends: Frozen<u32>,
}

impl Names {
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let (mut text, mut ends) = (Vec::new(), Vec::new());
        for name in names {
            text.extend_from_slice(name.as_bytes());
            ends.push(text.len() as u32);
        }
        Self { text: text.into(), ends: ends.into() }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn place(&self, at: usize) -> Range<usize> {
        let end = |at: usize| self.ends.get(at).map_or(0, |end| *end as usize);
        at.checked_sub(1).map_or(0, end)..end(at)
    }

    /// Empty for what is not there.
    pub(super) fn get(&self, at: usize) -> &str {
        text(&self.text, self.place(at))
    }

    pub(super) fn name(&self, at: usize) -> Name {
        Name { text: self.text.clone(), at: self.place(at) }
    }

    pub(super) fn write(&self, to: &mut Writer) {
        to.list(&self.text);
        to.list(&self.ends);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let names = Self { text: from.list()?, ends: from.list()? };
        let is_name = |at: usize| str::from_utf8(&names.text[names.place(at)]).is_ok();
        (are_ends(&names.ends, names.text.len()) && (0..names.len()).all(is_name)).then_some(names)
    }
}

/// The rules of a table, by their places.
#[derive(Debug)]
pub(super) struct Rules {
    /// A bit a rule, set where it allows: read for every new flow, what else there is of a rule is not.
    allowing: Frozen<u64>,
    /// A bit a rule, set where it is logged; empty where none is.
    logged: Frozen<u64>,
    /// Their names, and behind the last the table's.
    names: Names,
    /// The place of the counter of each, or [`NONE`]; empty where none has one.
    counting: Frozen<u32>,
    counters: Names,
}

impl Rules {
    pub(super) fn of(table: &TableSpec) -> Self {
        let rules = &table.rules;
        let bits = |is: fn(&RuleSpec) -> bool| {
            let bits =
                |some: &[RuleSpec]| some.iter().rev().fold(0, |bits, rule| bits << 1 | u64::from(is(rule)));
            rules.chunks(64).map(bits).collect::<Vec<u64>>()
        };
        let logs = rules.iter().any(|rule| rule.log);
        let mut known: Vec<&str> = rules.iter().filter_map(|rule| rule.counter.as_deref()).collect();
        known.sort_unstable();
        known.dedup();
        let counter = |rule: &RuleSpec| {
            let at = rule.counter.as_deref().and_then(|name| known.binary_search(&name).ok());
            at.map_or(NONE, |at| at as u32)
        };
        let counting = if known.is_empty() { Vec::new() } else { rules.iter().map(counter).collect() };
        Self {
            allowing: bits(|rule| rule.action == Action::Allow).into(),
            logged: if logs { bits(|rule| rule.log).into() } else { Frozen::default() },
            names: Names::new(rules.iter().map(|rule| rule.name.as_str()).chain([table.name.as_str()])),
            counting: counting.into(),
            counters: Names::new(known.iter().copied()),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.names.len() - 1
    }

    #[inline]
    pub(super) fn allows(&self, rule: usize) -> bool {
        self.allowing[rule / 64] >> (rule % 64) & 1 == 1
    }

    pub(super) fn denies(&self, rule: usize) -> bool {
        !self.allows(rule)
    }

    #[inline]
    pub(super) fn is_logged(&self, rule: usize) -> bool {
        !self.logged.is_empty() && self.logged[rule / 64] >> (rule % 64) & 1 == 1
    }

    /// The names of rules, and behind the last that of the table.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn name(&self, rule: usize) -> &str {
        self.names.get(rule)
    }

    /// The named counter that a rule counts for, too, by its place among these.
    pub(super) fn counter(&self, rule: usize) -> Option<usize> {
        self.counting.get(rule).filter(|counter| **counter != NONE).map(|counter| *counter as usize)
    }

    /// The names of counters.
    pub(super) fn counters(&self) -> &Names {
        &self.counters
    }

    pub(super) fn write(&self, to: &mut Writer) {
        self.names.write(to);
        to.list(&self.allowing);
        to.list(&self.logged);
        to.list(&self.counting);
        self.counters.write(to);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let names = Names::read(from)?;
        let count = names.len().checked_sub(1)?;
        let rules = Self {
            names,
            allowing: from.list()?,
            logged: from.list()?,
            counting: from.list()?,
            counters: Names::read(from)?,
        };
        let words = count.div_ceil(64);
        let is_right = rules.allowing.len() == words
            && (rules.logged.is_empty() || rules.logged.len() == words)
            && (rules.counting.is_empty() || rules.counting.len() == count)
            && rules.counting.iter().all(|counter| is_below(*counter, rules.counters.len()));
        is_right.then_some(rules)
    }
}
