//! Files and functions that a reader can hold in mind.

use super::tables::{FILE_LINES, FUNCTION_LINES};
use super::{Fault, line_of, occurrences};
use crate::source::{Source, matching, words};

/// Checks the sizes of one file and of the functions in it, tests not counted.
pub(super) fn check(source: &Source, faults: &mut Vec<Fault>) {
    if source.product.is_empty() {
        return;
    }
    let lines = product_lines(source);
    if lines > FILE_LINES {
        faults.push(Fault::new(
            &source.path,
            0,
            format!("{lines} lines without tests; {FILE_LINES} is the limit"),
        ));
    }
    let code = &source.product;
    for at in occurrences(code, "fn") {
        let Some(body) = body(code, at) else { continue };
        let lines = code[at..matching(code, body, b'{', b'}')].lines().count();
        if lines > FUNCTION_LINES {
            let name = words(&code[at + 2..]).next().unwrap_or_default();
            let what = format!("fn {name} has {lines} lines; {FUNCTION_LINES} is the limit");
            faults.push(Fault::new(&source.path, line_of(code, at), what));
        }
    }
}

/// Lines of the file, without those that hold nothing but a test.
fn product_lines(source: &Source) -> usize {
    let gone = |(product, code): &(&str, &str)| product.trim().is_empty() && !code.trim().is_empty();
    let in_tests = source.product.lines().zip(source.code.lines()).filter(gone).count();
    source.text.lines().count() - in_tests
}

/// The brace that opens the body of the function declared at `at`.
fn body(code: &str, at: usize) -> Option<usize> {
    let named = code[at + 2..].trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_');
    let open = at + code[at..].find([';', '{'])?;
    (named && code.as_bytes()[open] == b'{').then_some(open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::faults_of;

    #[test]
    fn a_long_file_is_a_fault_and_its_tests_are_not_counted() {
        let lines = |n: usize| "const X: u8 = 0;\n".repeat(n);
        assert!(faults_of(check, "a/src/b.rs", &lines(600)).is_empty());
        assert_eq!(faults_of(check, "a/src/b.rs", &lines(601)).len(), 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(500), lines(500));
        assert!(faults_of(check, "a/src/b.rs", &tested).is_empty());
    }

    #[test]
    fn a_long_function_is_a_fault() {
        let function = |n: usize| format!("fn f(x: fn(u8) -> u8) {{\n{}}}\n", "    x(1);\n".repeat(n));
        assert!(faults_of(check, "a/src/b.rs", &function(68)).is_empty());
        let found = faults_of(check, "a/src/b.rs", &function(69));
        assert_eq!(found, ["a/src/b.rs:1: fn f has 71 lines; 70 is the limit"]);
    }
}
