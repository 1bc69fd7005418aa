//! Where tables and rules are named.

use std::collections::HashMap;
use std::ops::Range;

use stack::policy::{PolicyError, PolicySpec};

/// The tables of a file without faults, in its order.
#[derive(Default)]
pub(super) struct Places {
    tables: Vec<(Range<usize>, Vec<Range<usize>>)>,
    named: HashMap<String, usize>,
}

impl Places {
    /// Where the table of this name is.
    pub(super) fn of_table(&self, name: &str) -> Option<Range<usize>> {
        Some(self.tables.get(*self.named.get(name)?)?.0.clone())
    }

    /// Where a rule is, by the places of its table and of itself.
    pub(super) fn of_rule(&self, table: usize, rule: usize) -> Option<Range<usize>> {
        self.tables.get(table)?.1.get(rule).cloned()
    }

    /// Where what cannot be compiled is; nowhere in particular is all of it.
    pub(super) fn of_error(&self, error: &PolicyError, spec: &PolicySpec) -> Option<Range<usize>> {
        match error {
            PolicyError::TooManyCells { table, rule } | PolicyError::SameName { table, rule } => {
                let at = spec.tables.iter().position(|other| other.name == *table)?;
                let rule = spec.tables[at].rules.iter().position(|other| other.name == *rule)?;
                self.of_rule(at, rule)
            }
            PolicyError::TooManyPrefixes { table } | PolicyError::SameTable(table) => self.of_table(table),
            PolicyError::TooManyRules
            | PolicyError::TooManyTables
            | PolicyError::TooManyInterfaces
            | PolicyError::SameAddress(_) => None,
        }
    }

    /// There is a table of this name, which no other has, at `at`. Its number.
    pub(super) fn add(&mut self, name: &str, at: Range<usize>) -> usize {
        let number = self.tables.len();
        self.named.insert(name.to_owned(), number);
        self.tables.push((at, Vec::new()));
        number
    }

    /// The rules of a table are there.
    pub(super) fn put_rules(&mut self, table: usize, rules: Vec<Range<usize>>) {
        if let Some((_, places)) = self.tables.get_mut(table) {
            *places = rules;
        }
    }
}

/// The names of the rules of a table that is being read.
#[derive(Default)]
pub(super) struct Names {
    /// Where each stands; nothing when nobody looks whether one stands twice.
    first: HashMap<String, usize>,
    pub(super) places: Vec<Range<usize>>,
}

impl Names {
    /// Where the name stands already.
    pub(super) fn first(&self, name: &str) -> Option<usize> {
        self.first.get(name).copied()
    }

    /// It stands there. `look`: whether it may stand anywhere else is going to be asked.
    pub(super) fn add(&mut self, name: &str, at: Range<usize>, look: bool) {
        if look {
            self.first.insert(name.to_owned(), at.start);
        }
        self.places.push(at);
    }
}
