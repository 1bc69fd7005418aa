//! What failed, and held when it was tried again: told so that it is seen, and does not lose the run.

use std::fmt::Write as _;
use std::io::Write as _;

/// The beginning of the line that names it; `cargo xtask test` counts those lines.
pub const UNSTEADY: &str = "!! unsteady: ";

/// Tells that part of a test failed, in which words, and held when it was tried again, alone. It goes to standard error
/// itself: what the macros print is kept back when the test passes.
pub fn tell_unsteady(what: &str, words: &str) {
    // In one piece, and not behind the name of the test that runs.
    _ = std::io::stderr().write_all(told(what, words).as_bytes());
}

fn told(what: &str, words: &str) -> String {
    let mut text = format!(
        "\n{UNSTEADY}{what}\n!! It held when it was tried again, alone: a defect of the test, or of "
    );
    text.push_str("what it tests. The first time it said:\n");
    words.lines().for_each(|line| _ = writeln!(text, "!!   {line}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_what_was_said_can_be_taken_for_another_s() {
        let text = told("case seven", "--- seven: the kernel\nfailures:\n\ntest result: FAILED\n");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(""));
        assert_eq!(lines.next().and_then(|line| line.strip_prefix(UNSTEADY)), Some("case seven"));
        assert!(
            lines.clone().count() == 5
                && lines.all(|line| line.starts_with("!!") && !line.starts_with(UNSTEADY))
        );
    }
}
