//! What became of each test, read from what a suite wrote.

use std::collections::BTreeMap;

/// What became of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// By the names of tests.
pub(super) type Verdicts = BTreeMap<String, Verdict>;

/// unittest's results as XML, of JUnit's kind.
pub(super) fn junit(text: &str) -> Verdicts {
    let cases = text.split("<testcase ").skip(1);
    let named = cases.filter_map(|case| Some((case.split_once("name=\"")?.1.split_once('"')?.0, case)));
    named
        .map(|(name, case)| {
            let case = case.split_once("</testcase>").map_or(case, |(case, _)| case);
            let verdict = if case.contains("<failure") || case.contains("<error") {
                Verdict::Failed
            } else if case.contains("<skipped") {
                Verdict::Skipped
            } else {
                Verdict::Passed
            };
            (name.to_owned(), verdict)
        })
        .collect()
}

/// The Test Anything Protocol: `ok 3 - NAME`, `not ok 4 - NAME`, `ok 5 - NAME # SKIP why`.
pub(super) fn tap(text: &str) -> Verdicts {
    let read = |line: &str| {
        let (result, name) = line.split_once(" - ")?;
        let failed = result.starts_with("not ok ");
        if !failed && !result.starts_with("ok ") {
            return None;
        }
        let (name, skipped) = name.split_once(" # SKIP").map_or((name, false), |(name, _)| (name, true));
        let passed = if skipped { Verdict::Skipped } else { Verdict::Passed };
        Some((name.trim().to_owned(), if failed { Verdict::Failed } else { passed }))
    };
    text.lines().filter_map(read).collect()
}

/// tinytest, which libevent has: `GROUP/NAME: [forking] OK`, SKIPPED, DISABLED, or what failed on lines of their own.
/// Where something was said before it ended, the word stands on a line by itself.
pub(super) fn tinytest(text: &str) -> Verdicts {
    let mut verdicts = Verdicts::new();
    let mut last = None;
    for line in text.lines() {
        let verdict = match line.split_whitespace().last() {
            Some("OK") => Verdict::Passed,
            Some("SKIPPED" | "DISABLED") => Verdict::Skipped,
            _ => Verdict::Failed,
        };
        let name = line.split_once(": ").map(|(name, _)| name).filter(|name| is_test(name));
        match (name, &last) {
            (Some(name), _) => {
                last = Some(name.to_owned());
                verdicts.insert(name.to_owned(), verdict);
            }
            (None, Some(name)) if verdict != Verdict::Failed && !line.contains(' ') => {
                verdicts.insert(name.clone(), verdict);
            }
            _ => {}
        }
    }
    verdicts
}

/// Whether these are a group and a test of it.
fn is_test(name: &str) -> bool {
    name.contains('/') && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(verdicts: &Verdicts) -> Vec<(&str, Verdict)> {
        verdicts.iter().map(|(name, verdict)| (name.as_str(), *verdict)).collect()
    }

    #[test]
    fn junit_is_read_as_regrtest_writes_it() {
        let text = "<testsuites tests=\"3\"><testsuite><testcase name=\"t.A.x\" status=\"run\" time=\"0.1\">\
                    <system-out>a line</system-out></testcase><testcase name=\"t.A.y\" status=\"run\" time=\"0.1\">\
                    <failure message=\"m\">no</failure></testcase><testcase name=\"t.A.z\" time=\"0.1\">\
                    <skipped>why</skipped></testcase></testsuite></testsuites>";
        let expected = [("t.A.x", Verdict::Passed), ("t.A.y", Verdict::Failed), ("t.A.z", Verdict::Skipped)];
        assert_eq!(told(&junit(text)), expected);
    }

    #[test]
    fn tap_is_read_as_libuv_writes_it() {
        let text = "1..3\nok 1 - active\n# Output from process `x`:\nnot ok 2 - tcp_oob\n# exit code 6\n\
                    ok 3 - tty # SKIP no terminal\n";
        let expected = [("active", Verdict::Passed), ("tcp_oob", Verdict::Failed), ("tty", Verdict::Skipped)];
        assert_eq!(told(&tap(text)), expected);
    }

    #[test]
    fn tinytest_is_read_as_libevent_writes_it() {
        let text = "main/one: [forking] OK\nmain/two: [forking] \n  FAIL ../regress.c:7: assert(x)\n  [two FAILED]\n\
                    dns/three: SKIPPED\nmain/four: DISABLED\nmain/five: [forking] a line of words\nOK\n314 tests ok.  (33 skipped)\n";
        let expected = [
            ("dns/three", Verdict::Skipped),
            ("main/five", Verdict::Passed),
            ("main/four", Verdict::Skipped),
            ("main/one", Verdict::Passed),
            ("main/two", Verdict::Failed),
        ];
        assert_eq!(told(&tinytest(text)), expected);
    }
}
