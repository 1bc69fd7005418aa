//! What the compiler does not check: arrows between rooms, places for unsafe, sizes, forbidden calls.

mod arrows;
mod floors;
mod forbidden;
mod sizes;
mod tables;
mod unsafe_code;

use std::fmt;
use std::io;
use std::path::Path;

use crate::source;

/// Something that is not as the project wants it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    /// The file, from the root of the workspace.
    pub(crate) path: String,
    /// The line, from 1; 0 for the file as a whole.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) what: String,
}

impl Fault {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Every fault of the tree at `root`, sorted.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn check(root: &Path) -> io::Result<Vec<Fault>> {
    let sources = source::load(root)?;
    let mut faults = arrows::check(root)?;
    for source in &sources {
        floors::check(source, &mut faults);
        forbidden::check(source, &mut faults);
        sizes::check(source, &mut faults);
        unsafe_code::check(source, &mut faults);
    }
    unsafe_code::check_table(&sources, &mut faults);
    faults.sort();
    Ok(faults)
}

/// The line, from 1, of byte `at` of `text`.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
}

/// Where `needle` stands in `code` as a path or word of its own, not as part of a longer one.
fn occurrences<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(needle).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + needle.len()..].chars().next();
        let opens = needle.starts_with(is_word) && before.is_some_and(is_word);
        let runs_on = needle.ends_with(is_word) && after.is_some_and(is_word);
        !opens && !runs_on
    })
}

/// The faults in one piece of code, for the tests of the checks.
#[cfg(test)]
fn faults_of(check: fn(&source::Source, &mut Vec<Fault>), path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    check(&source::Source::new(path, text), &mut faults);
    faults.iter().map(Fault::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let faults = check(&crate::root()).unwrap();
        let list: Vec<String> = faults.iter().map(Fault::to_string).collect();
        assert!(list.is_empty(), "{} faults:\n{}", list.len(), list.join("\n"));
    }

    #[test]
    fn words_are_found_whole() {
        assert_eq!(occurrences("unsafe_op unsafe { not_unsafe }", "unsafe").collect::<Vec<_>>(), [10]);
        assert_eq!(occurrences("std::fs::read; std::fsx", "std::fs").collect::<Vec<_>>(), [0]);
    }
}
