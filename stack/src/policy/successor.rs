//! A policy that takes the place of another: what takes long is done before and after it does, and counters go on.

use std::collections::HashMap;
use std::sync::Arc;

use super::compile::{Policy, Table};
use super::gate::Count;

/// A policy about to take the place of another, with all that can be made ready before.
#[derive(Debug)]
pub struct Successor {
    old: Arc<Policy>,
    pub(super) policy: Arc<Policy>,
    pub(super) rows: Vec<Count>,
    pub(super) limited: Vec<u64>,
    pub(super) kept: Kept,
}

impl Successor {
    /// Makes `policy` ready to take the place of `old`.
    pub fn new(old: &Arc<Policy>, policy: Arc<Policy>) -> Self {
        let before: HashMap<&str, &Table> = old.tables.iter().map(|table| (table.name(), table)).collect();
        let mut kept = Kept::default();
        for table in &policy.tables {
            if let Some(before) = before.get(table.name()) {
                kept.follow(before, table);
            }
        }
        let limit = |policy: &Policy, row| policy.limits.binary_search_by_key(&row, |limit| limit.row).ok();
        if !old.limits.is_empty() && !policy.limits.is_empty() {
            let both = |&(was, row): &(u32, u32)| Some((limit(old, was)?, limit(&policy, row)?));
            kept.limits = kept.rows.iter().filter_map(both).collect();
        }
        let (rows, limited) = policy.nothing_counted();
        Self { old: Arc::clone(old), policy, rows, limited, kept }
    }

    /// Whether it was made to take the place of `policy`.
    pub(super) fn follows(&self, policy: &Arc<Policy>) -> bool {
        Arc::ptr_eq(&self.old, policy)
    }

    /// Counts on from where the old policy's counters stand.
    pub(super) fn go_on(&mut self, rows: &[Count], limited: &[u64]) {
        for &(old, new) in &self.kept.rows {
            self.rows[new as usize] = rows[old as usize];
        }
        for &Moved { old, denied, off } in &self.kept.moved {
            let (count, sum) = (rows[old as usize], &mut self.rows[denied as usize]);
            if off { sum.take_off(count) } else { sum.join(count) }
        }
        for &(old, new) in &self.kept.limits {
            self.limited[new] = limited[old];
        }
    }
}

/// Counters that go on: where they stood, and where they will.
#[derive(Debug, Default)]
pub(super) struct Kept {
    rows: Vec<(u32, u32)>,
    limits: Vec<(usize, usize)>,
    moved: Vec<Moved>,
}

/// A table's sum of what it denied goes on, whatever becomes of its rules: what a rule counted is in it by the rule's own
/// row only while that is there and denies.
#[derive(Clone, Copy, Debug)]
struct Moved {
    /// Where the rule counted.
    old: u32,
    /// Where the rest of the sum will be counted.
    denied: u32,
    /// The rule comes to deny: what it let pass is none of the sum. Else it denies no more, or is gone.
    off: bool,
}

impl Kept {
    /// A table that was there before, by its name; its rules likewise.
    fn follow(&mut self, before: &Table, table: &Table) {
        // Mostly they are where they were, or a few places on: only else are names looked up.
        let mut named: Option<HashMap<&str, usize>> = None;
        let (was, is) = (&before.rules, &table.rules);
        let mut places = || (0..was.len()).map(|at| (was.name(at), at)).collect();
        let mut gone = vec![true; was.len()];
        let (mut next, denied) = (0, table.denied_row());
        for (row, rule) in (table.first_row..).zip(0..is.len()) {
            let name = is.name(rule);
            let at = match next < was.len() && was.name(next) == name {
                true => next,
                false => match named.get_or_insert_with(&mut places).get(name) {
                    Some(&at) => at,
                    None => continue,
                },
            };
            (gone[at], next) = (false, at + 1);
            let old = before.first_row + at as u32;
            self.rows.push((old, row));
            if was.denies(at) != is.denies(rule) {
                self.moved.push(Moved { old, denied, off: is.denies(rule) });
            }
        }
        let gone = (before.first_row..).zip(gone.iter().enumerate());
        let gone = gone.filter(|(_, (at, gone))| **gone && was.denies(*at));
        self.moved.extend(gone.map(|(old, _)| Moved { old, denied, off: false }));
        self.rows.push((before.denied_row(), denied));
    }
}

/// What a policy leaves behind.
#[derive(Debug)]
pub struct Retired {
    pub(super) _policy: Arc<Policy>,
    pub(super) _rows: Vec<Count>,
    pub(super) _kept: Kept,
}
