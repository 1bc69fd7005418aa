//! Calls that have no place where they stand, and marks of unfinished work.

use super::tables::{FORBIDDEN, MARKS};
use super::{Fault, line_of, occurrences};
use crate::source::Source;

/// Checks the calls of one file.
pub(super) fn check(source: &Source, faults: &mut Vec<Fault>) {
    for rule in FORBIDDEN {
        if !rule.place.is_empty() && !rule.place.iter().any(|p| source.path.starts_with(p)) {
            continue;
        }
        let code = if rule.place.is_empty() { &source.code } else { &source.product };
        for at in occurrences(code, rule.call) {
            faults.push(Fault::new(&source.path, line_of(code, at), format!("{}: {}", rule.call, rule.why)));
        }
    }
    for mark in MARKS {
        for at in occurrences(&source.text, mark) {
            let line = line_of(&source.text, at);
            faults.push(Fault::new(&source.path, line, format!("{mark}: finish it, or say it as a fact")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::faults_of;

    #[test]
    fn the_stack_has_no_clock() {
        let found = faults_of(check, "stack/src/engine.rs", "fn x() { std::time::Instant::now(); }");
        assert_eq!(found.len(), 2);
        assert!(faults_of(check, "ringroad/src/clock.rs", "fn x() { Instant::now(); }").is_empty());
    }

    #[test]
    fn words_in_comments_and_tests_do_not_count() {
        let text = "// std::fs\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert!(faults_of(check, "stack/src/engine.rs", text).is_empty());
    }

    #[test]
    fn unfinished_work_is_a_fault_even_in_tests() {
        let call = concat!("#[cfg(test)] mod tests { fn x() { to", "do!() } }");
        assert_eq!(faults_of(check, "nic/src/a.rs", call).len(), 1);
        assert_eq!(faults_of(check, "nic/src/a.rs", concat!("// TO", "DO later")).len(), 1);
    }
}
