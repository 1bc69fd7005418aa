//! `unsafe` stands only in the files of the table, and every file of the table still needs it.

use super::tables::UNSAFE_FILES;
use super::{Fault, line_of, occurrences};
use crate::source::Source;

/// Checks that a file which is not in the table holds no `unsafe`.
pub(super) fn check(source: &Source, faults: &mut Vec<Fault>) {
    if !listed(&source.path)
        && let Some(at) = occurrences(&source.code, "unsafe").next()
    {
        let what = "unsafe in a file that is not listed in xtask/src/tidy/tables.rs";
        faults.push(Fault::new(&source.path, line_of(&source.code, at), what));
    }
    if source.path == "stack/src/lib.rs" && !source.code.contains("#![forbid(unsafe_code)]") {
        faults.push(Fault::new(&source.path, 1, "the stack forbids unsafe code: #![forbid(unsafe_code)]"));
    }
}

/// Checks that every row of the table names a file that is there and needs its row.
pub(super) fn check_table(sources: &[Source], faults: &mut Vec<Fault>) {
    for (path, _) in UNSAFE_FILES {
        let held = sources.iter().find(|s| s.path == *path);
        if held.is_none_or(|s| occurrences(&s.code, "unsafe").next().is_none()) {
            faults.push(Fault::new(path, 0, "listed as a file with unsafe, and is none: take the row out"));
        }
    }
}

fn listed(path: &str) -> bool {
    UNSAFE_FILES.iter().any(|(listed, _)| *listed == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::faults_of;

    #[test]
    fn unsafe_outside_the_table_is_a_fault() {
        let found = faults_of(check, "nic/src/pool.rs", "\nfn x() { unsafe { y() } }");
        assert_eq!(
            found,
            ["nic/src/pool.rs:2: unsafe in a file that is not listed in xtask/src/tidy/tables.rs"]
        );
        assert!(faults_of(check, "nic/src/arena.rs", "unsafe {}").is_empty());
        assert!(
            faults_of(check, "nic/src/pool.rs", "// unsafe\n#![deny(unsafe_op_in_unsafe_fn)]").is_empty()
        );
    }

    #[test]
    fn a_row_without_need_is_a_fault() {
        let mut faults = Vec::new();
        check_table(&[Source::new("nic/src/arena.rs", "fn safe() {}")], &mut faults);
        assert!(faults.iter().any(|f| f.path == "nic/src/arena.rs"));
    }
}
