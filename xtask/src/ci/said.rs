//! What cargo and libtest say of tests: how many passed, which failed, in which target, and in what words.

use std::collections::BTreeMap;

/// A test that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// As libtest names it.
    pub(super) name: String,
    /// The package and the words that select its target: `ringroad --lib`, `ringroad-tests --test gate`.
    pub(super) target: String,
    /// The file that was run.
    pub(super) binary: String,
    /// What the test said, its panic among it.
    pub(super) words: String,
}

/// Reads the output of `cargo test --no-fail-fast`, standard output and error in the order in which they were written.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Tests that passed and failed, in all targets.
    pub(super) passed: u64,
    pub(super) failed: u64,
    now: Target,
    /// Binaries in which tests passed.
    went_well: Vec<String>,
    failures: Vec<Failure>,
    /// Targets that failed and told all the names.
    named: u64,
    /// Targets that failed, as cargo counts them when all have run.
    counted: Option<u64>,
    /// Parts of tests that failed, and held when the test itself tried them again.
    unsteady: Vec<String>,
}

/// What is said of the target that runs.
#[derive(Debug, Default)]
struct Target {
    binary: String,
    place: Place,
    failed: u64,
    names: Vec<String>,
    words: BTreeMap<String, String>,
}

/// Where in libtest's output a line is.
#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    /// Behind the word `failures:`, which begins what the tests said, and then the list of their names.
    Failures,
    Names,
    WordsOf(String),
}

impl Said {
    /// One more line.
    pub(super) fn hear(&mut self, line: &str) {
        if let Some(part) = line.strip_prefix(lab::UNSTEADY) {
            self.unsteady.push(part.to_owned());
        } else if let Some(binary) = runs(line) {
            self.now = Target { binary: binary.to_owned(), ..Target::default() };
        } else if let Some(counted) = targets_failed(line) {
            self.counted = Some(counted);
        } else if let Some(target) = again(line) {
            self.target_failed(target);
        } else if let Some((passed, failed)) = self.now.hear(line) {
            (self.passed, self.failed) = (self.passed + passed, self.failed + failed);
            if passed > 0 && failed == 0 {
                self.went_well.push(self.now.binary.clone());
            }
        }
    }

    fn target_failed(&mut self, target: &str) {
        let now = std::mem::take(&mut self.now);
        if now.failed == 0 || now.names.len() as u64 != now.failed || now.binary.is_empty() {
            return;
        }
        self.named += 1;
        let mut words = now.words;
        self.failures.extend(now.names.into_iter().map(|name| Failure {
            words: words.remove(&name).unwrap_or_default(),
            target: target.to_owned(),
            binary: now.binary.clone(),
            name,
        }));
    }

    /// The tests that failed, when nothing else did: no target that would not build, crashed or was ended, and no test of
    /// documentation.
    pub(super) fn only_these(&self) -> Option<&[Failure]> {
        let all = self.counted == Some(self.named) && self.failures.len() as u64 == self.failed;
        (all && self.failed > 0).then_some(&*self.failures)
    }

    /// The parts of tests that failed, and held when the test itself tried them again.
    pub(super) fn unsteady(&self) -> &[String] {
        &self.unsteady
    }

    /// Whether a test passed in this binary, and none failed there.
    pub(super) fn went_well_in(&self, binary: &str) -> bool {
        self.went_well.iter().any(|went| went == binary)
    }
}

impl Target {
    /// A line of libtest's; the tests that passed and failed, when it is the sum.
    fn hear(&mut self, line: &str) -> Option<(u64, u64)> {
        if line == "failures:" {
            // The last one counts: a test may have said so itself.
            self.place = Place::Failures;
            self.names.clear();
        } else if let Some(name) = begins(line)
            && matches!(self.place, Place::Failures | Place::WordsOf(_))
        {
            self.place = Place::WordsOf(name.to_owned());
        } else if let Place::WordsOf(name) = &self.place {
            let words = self.words.entry(name.clone()).or_default();
            words.push_str(line);
            words.push('\n');
        } else if let Some(name) = line.strip_prefix("    ")
            && matches!(self.place, Place::Failures | Place::Names)
        {
            self.place = Place::Names;
            self.names.push(name.to_owned());
        } else if let Some((passed, failed)) = result(line) {
            self.place = Place::Elsewhere;
            self.failed = failed;
            return Some((passed, failed));
        }
        None
    }
}

/// Whose words begin, of `---- tests::name stdout ----`; the drills of the kernel have it without `stdout`.
fn begins(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

/// The binary, of `     Running unittests src/lib.rs (target/debug/deps/stack-0a1b)`; nothing, of `   Doc-tests stack`.
fn runs(line: &str) -> Option<&str> {
    if line.starts_with("   Doc-tests ") {
        return Some("");
    }
    line.strip_prefix("     Running ")?.strip_suffix(')')?.rsplit_once(" (").map(|(_, binary)| binary)
}

/// Package and target, of ``error: test failed, to rerun pass `-p stack --lib` ``.
fn again(line: &str) -> Option<&str> {
    let (what, target) = line.strip_prefix("error: ")?.split_once(" failed, to rerun pass `-p ")?;
    matches!(what, "test" | "doctest").then(|| target.strip_suffix('`')).flatten()
}

/// How many, of `error: 2 targets failed:`.
fn targets_failed(line: &str) -> Option<u64> {
    let (count, what) = line.strip_prefix("error: ")?.split_once(' ')?;
    matches!(what, "target failed:" | "targets failed:").then(|| count.parse().ok()).flatten()
}

/// The tests that passed and failed, of `test result: ok. 3 passed; 0 failed; …`.
pub(super) fn result(line: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = line.strip_prefix("test result: ")?.split_whitespace().collect();
    let before = |word: &str| {
        let at = words.iter().position(|w| w.trim_end_matches(';') == word);
        at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
    };
    Some((before("passed"), before("failed")))
}

#[cfg(test)]
#[path = "said_tests.rs"]
mod tests;
