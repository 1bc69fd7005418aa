//! A policy as an image, and an image as a policy.

use std::sync::Arc;

use nic::Frozen;

use super::classifier::Classifier;
use super::compile::{Limit, MAX_INTERFACES, MAX_RULES, MAX_TABLES, NO_TABLE, Policy, Table, View};
use super::image::{Reader, Writer};
use super::marked::Marked;
use super::nest::Steps;
use super::owners::Owners;
use super::rules::{Names, Rules};
use super::spec::{Action, Mode};

impl Policy {
    /// What another process can judge by, see [`Policy::from_image`].
    pub fn image(&self) -> Vec<u8> {
        let mut to = Writer::new();
        to.word(u32::from(self.default == Action::Allow));
        Names::new(self.interfaces.iter().map(|name| &**name)).write(&mut to);
        to.word(u32::from(self.marked.is_some()));
        if let Some(marked) = &self.marked {
            marked.write(&mut to);
        }
        to.word(self.tables.len() as u32);
        self.tables.iter().for_each(|table| table.write(&mut to));
        to.word(self.owners.len() as u32);
        for owners in &self.owners {
            owners.v4.write(&mut to);
            owners.v6.write(&mut to);
        }
        to.list(&self.owners_of);
        to.word(self.limits.len() as u32);
        for limit in &self.limits {
            to.word(limit.row);
            to.word(limit.rate);
        }
        to.finish()
    }

    /// The policy of an image, whose lists are searched where they are; `None`: it is none, or one of another version.
    /// Whoever wrote it, no search in it fails.
    pub fn from_image(image: &Frozen<u8>) -> Option<Arc<Self>> {
        let from = &mut Reader::new(image)?;
        let default = if from.truth()? { Action::Allow } else { Action::Deny };
        let names = Names::read(from)?;
        if names.len() > MAX_INTERFACES {
            return None;
        }
        let interfaces = (0..names.len()).map(|at| Arc::from(names.get(at))).collect();
        let marked = if from.truth()? { Some(Arc::new(Marked::read(from)?)) } else { None };
        let mut rows = NO_TABLE + 1;
        let tables = from.each(|from| Table::read(from, &mut rows))?;
        let rules = tables.iter().map(|table| table.rules.len()).sum::<usize>();
        if tables.len() > MAX_TABLES || rules > MAX_RULES {
            return None;
        }
        let any = |_| true;
        let owners =
            from.each(|from| Some(Owners { v4: Steps::read(from, any)?, v6: Steps::read(from, any)? }))?;
        let owners_of = from.list::<u8>()?.to_vec();
        let limits = from.each(|from| limit(&tables, from.word()?, from.word()?))?;
        let is_right = from.is_over() && limits.is_sorted_by(|a, b| a.row < b.row);
        let policy = Self { default, interfaces, marked, tables, owners, owners_of, rows, limits };
        is_right.then(|| Arc::new(policy))
    }
}

/// That of the rule of a row.
fn limit(tables: &[Table], row: u32, rate: u32) -> Option<Limit> {
    let at = tables.partition_point(|table| table.first_row <= row).checked_sub(1)?;
    let table = &tables[at];
    (row < table.denied_row()).then(|| Limit { row, denied: table.denied_row(), rate, mode: table.mode })
}

impl Table {
    fn write(&self, to: &mut Writer) {
        self.rules.write(to);
        to.word(u32::from(self.mode == Mode::Enforce));
        to.list(&self.view_of);
        to.word(self.views.len() as u32);
        for view in [&self.classifiers].into_iter().chain(&self.views) {
            view.iter().flatten().for_each(|classifier| classifier.write(to));
        }
    }

    /// The next one, with counters in the next of `rows`.
    fn read(from: &mut Reader<'_>, rows: &mut u32) -> Option<Self> {
        let rules = Rules::read(from)?;
        let mode = if from.truth()? { Mode::Enforce } else { Mode::Monitor };
        let view_of = from.list::<u8>()?.to_vec();
        let views = from.word()?;
        if views > MAX_INTERFACES as u32 || rules.len() > MAX_RULES {
            return None;
        }
        let count = rules.len();
        let mut view = || -> Option<View> {
            let mut view = View::default();
            for classifier in view.iter_mut().flatten() {
                *classifier = Classifier::read(from, count)?;
            }
            Some(view)
        };
        let classifiers = view()?;
        let views = (0..views).map(|_| view()).collect::<Option<_>>()?;
        let first_row = *rows;
        *rows = first_row.checked_add(count as u32 + 1)?;
        Some(Self { mode, rules, first_row, classifiers, views, view_of })
    }
}
