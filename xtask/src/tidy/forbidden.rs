//! Calls that have no place where they stand, and marks of unfinished work.

use super::tables::{FORBIDDEN, FORBIDDEN_IN_TESTS, Forbidden, MARKS};
use super::{Fault, line_of, occurrences};
use crate::source::Source;

/// Checks the calls of one file.
pub(super) fn check(source: &Source, faults: &mut Vec<Fault>) {
    for rule in FORBIDDEN {
        let code = if rule.place.is_empty() { &source.code } else { &source.product };
        faults.extend(lines(rule, source, code).map(|line| fault(rule, source, line)));
    }
    for rule in FORBIDDEN_IN_TESTS {
        let product: Vec<usize> = lines(rule, source, &source.product).collect();
        let tests = lines(rule, source, &source.code).filter(|line| !product.contains(line));
        faults.extend(tests.map(|line| fault(rule, source, line)));
    }
    for mark in MARKS {
        for at in occurrences(&source.text, mark) {
            let line = line_of(&source.text, at);
            faults.push(Fault::new(&source.path, line, format!("{mark}: finish it, or say it as a fact")));
        }
    }
}

/// The lines of `code` with the call, where it is forbidden.
fn lines<'a>(rule: &'a Forbidden, source: &Source, code: &'a str) -> impl Iterator<Item = usize> + 'a {
    let applies = rule.place.is_empty() || rule.place.iter().any(|p| source.path.starts_with(p));
    let code = if applies { code } else { "" };
    occurrences(code, rule.call).map(move |at| line_of(code, at))
}

fn fault(rule: &Forbidden, source: &Source, line: usize) -> Fault {
    Fault::new(&source.path, line, format!("{}: {}", rule.call, rule.why))
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
    fn what_tests_must_not_call_is_no_matter_to_the_rest() {
        let product = "fn x() { std::env::temp_dir(); }\n";
        let test = "#[cfg(test)]\nmod tests { fn x() { std::env::temp_dir(); } }\n";
        assert!(faults_of(check, "ringroad/src/a.rs", product).is_empty());
        let found = faults_of(check, "ringroad/src/a.rs", &format!("{product}{test}"));
        assert!(found.len() == 1 && found[0].contains("a.rs:3"), "{found:?}");
        assert_eq!(faults_of(check, "ringroad/src/a/tests.rs", product).len(), 1);
        assert!(faults_of(check, "ringroad/tests/lab/main.rs", product).is_empty(), "alone in its process");
    }

    #[test]
    fn unfinished_work_is_a_fault_even_in_tests() {
        let call = concat!("#[cfg(test)] mod tests { fn x() { to", "do!() } }");
        assert_eq!(faults_of(check, "nic/src/a.rs", call).len(), 1);
        assert_eq!(faults_of(check, "nic/src/a.rs", concat!("// TO", "DO later")).len(), 1);
    }
}
