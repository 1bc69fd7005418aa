//! What is wrong with a policy file, and where.

use std::cell::OnceCell;
use std::fmt::{self, Write};
use std::ops::Range;

/// Faults told at the most; the rest is counted.
const TOLD: usize = 100;
/// Characters of a line of the file shown at the most.
const SHOWN: usize = 120;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters from there on are meant; they do not leave the line.
    pub width: usize,
    /// What is wrong, with the text that is.
    pub what: String,
    /// What may have been meant, or what to do; empty when there is nothing to say.
    pub suggestion: String,
}

impl Fault {
    /// The same, with a suggestion.
    pub(super) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = suggestion.into();
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)?;
        if !self.suggestion.is_empty() {
            write!(f, "; {}", self.suggestion)?;
        }
        Ok(())
    }
}

/// The text of a policy file, with its lines known.
#[derive(Debug)]
pub(super) struct Source<'t> {
    text: &'t str,
    /// Where each line begins, once anybody has asked.
    lines: OnceCell<Vec<usize>>,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, lines: OnceCell::new() }
    }

    fn lines(&self) -> &[usize] {
        let after = || self.text.match_indices('\n').map(|(at, _)| at + 1);
        self.lines.get_or_init(|| std::iter::once(0).chain(after()).collect())
    }

    /// The line that holds byte `at`, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.lines().partition_point(|&start| start <= at)
    }

    /// The text of line `line`.
    pub(super) fn text_of(&self, line: usize) -> &'t str {
        let end = self.lines().get(line).copied().unwrap_or(self.text.len());
        self.text[self.lines()[line - 1]..end].trim_end_matches(['\n', '\r'])
    }

    /// A fault of the bytes `span`.
    pub(super) fn fault(&self, span: Range<usize>, what: impl Into<String>) -> Fault {
        let start = self.floor(span.start);
        let line = self.line(start);
        let line_start = self.lines()[line - 1];
        let line_end = line_start + self.text_of(line).len();
        let end = self.floor(span.end).min(line_end).max(start);
        Fault {
            line,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end].chars().count().max(1),
            what: what.into(),
            suggestion: String::new(),
        }
    }

    /// The boundary of a character at or before byte `at`.
    fn floor(&self, at: usize) -> usize {
        (0..=at.min(self.text.len())).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0)
    }
}

/// Every fault of a file, in the order of the text; at least one. Of very many only the first hundred are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    list: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// A single fault.
    pub(super) fn one(fault: Fault) -> Self {
        Self { list: vec![fault], more: 0 }
    }

    /// Sorted; `None` when there is no fault. `more` were found that are not in the list.
    pub(super) fn collect(mut list: Vec<Fault>, more: usize) -> Option<Self> {
        list.sort_by_key(|fault| (fault.line, fault.column));
        let more = more + list.len().saturating_sub(TOLD);
        list.truncate(TOLD);
        (!list.is_empty()).then_some(Self { list, more })
    }

    /// The faults.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.list.iter()
    }

    /// For people: each fault with the line of `text`, the contents of the file called `name`, and its place
    /// marked.
    pub fn render(&self, name: &str, text: &str) -> String {
        let (mut out, source) = (String::new(), Source::new(text));
        for fault in &self.list {
            let _ = writeln!(out, "{name}:{fault}");
            if fault.line <= source.lines().len() {
                excerpt(&mut out, fault, source.text_of(fault.line));
            }
        }
        if self.more > 0 {
            let _ = writeln!(out, "and {} more", self.more);
        }
        out
    }
}

/// The line with the place marked. Control characters are shown as dots: a terminal must not obey a file.
fn excerpt(out: &mut String, fault: &Fault, line: &str) {
    if fault.column > SHOWN || line.trim().is_empty() {
        return;
    }
    let shown: String = line.chars().take(SHOWN).map(|c| if c.is_control() { '·' } else { c }).collect();
    let marks = "^".repeat(fault.width.min(SHOWN + 1 - fault.column));
    let _ = writeln!(out, "{:>5} | {shown}", fault.line);
    let _ = writeln!(out, "      | {}{marks}", " ".repeat(fault.column - 1));
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.list.iter().enumerate() {
            write!(f, "{}{fault}", if i == 0 { "" } else { "\n" })?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
