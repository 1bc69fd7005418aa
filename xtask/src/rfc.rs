//! `cargo xtask rfc`: COMPLIANCE.md, made from tags in code and tests.
//!
//! A tag is `RFC 8985 §7.2` or `RFC 9293 MUST-57` in a comment; several may follow one number, `RFC 9293 MUST-35,
//! MUST-36, §3.8.6.1`. What can be tagged is in `xtask/rfc/`, one table an RFC.

mod page;
mod table;
mod tags;

use std::fs;
use std::io;
use std::path::Path;

use crate::source;

const PAGE: &str = "COMPLIANCE.md";

/// What a run found.
pub(crate) struct Found {
    /// The page as it should be.
    page: String,
    /// What is wrong: tags of nothing, requirements without a test or an exception.
    pub(crate) faults: Vec<String>,
}

/// Reads the tables, the code and the tests below `root`.
///
/// # Errors
/// The operating system's, and what is wrong with a table.
fn look(root: &Path) -> io::Result<Found> {
    let mut tables = table::load(&root.join("xtask/rfc"))?;
    let mut faults = Vec::new();
    for source in source::load(root)? {
        for tag in tags::of(&source) {
            if !table::place(&mut tables, &tag) {
                faults.push(format!("{}:{}: no requirement {}", source.path, tag.line, tag.name()));
            }
        }
    }
    for table in &tables {
        for row in &table.rows {
            let name = format!("RFC {} {}", table.number, row.id);
            if row.is_bare_must() {
                faults.push(format!("{name} has neither a test nor an exception: {}", row.words));
            }
            if row.is_done_after_all() {
                faults
                    .push(format!("{name} is excused with \"not yet\", and there is a test: take that out"));
            }
        }
    }
    Ok(Found { page: page::of(&tables), faults })
}

/// Writes COMPLIANCE.md; the faults that were found.
///
/// # Errors
/// The operating system's, and what is wrong with a table.
pub(crate) fn write(root: &Path) -> io::Result<Vec<String>> {
    let found = look(root)?;
    fs::write(root.join(PAGE), &found.page)?;
    Ok(found.faults)
}

/// Checks that COMPLIANCE.md is what `write` would write; the faults.
///
/// # Errors
/// The operating system's, and what is wrong with a table.
pub(crate) fn check(root: &Path) -> io::Result<Vec<String>> {
    let mut found = look(root)?;
    if fs::read_to_string(root.join(PAGE)).unwrap_or_default() != found.page {
        found.faults.push(format!("{PAGE} is stale: cargo xtask rfc"));
    }
    Ok(found.faults)
}
