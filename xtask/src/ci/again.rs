//! Steps of cargo's tests. A test that fails is tried again, alone: one racy test must not hide thousands of good ones. It
//! is told, loudly, when it passes then; it is a defect to be mended next.

use std::time::Instant;

use super::said::{Failure, Said};
use super::{LIMIT, Step};
use crate::run;

/// More tests than that which fail in one step are no accident.
const MOST: usize = 3;
/// So often each of them is tried again. Once is not enough for one that fails every other time.
const TRIES: usize = 2;
/// Lines of a test's words that are shown again.
const LINES: usize = 20;

/// Tests that cargo builds and runs in one step.
pub(super) struct Tests {
    /// What selects the packages.
    pub(super) packages: &'static [&'static str],
    /// What selects targets of theirs; empty: all.
    pub(super) targets: &'static [&'static str],
    /// Words for libtest.
    pub(super) words: &'static [&'static str],
}

impl Tests {
    /// Runs them, and those that fail again.
    pub(super) fn step(&self, name: &'static str) -> Step {
        println!("== {name}");
        let start = Instant::now();
        let (held, said) = self.run(self.targets, &[]);
        let (mut passed, mut failed, mut unsteady) = (said.passed, said.failed, said.unsteady().to_vec());
        if !held && failed == 0 {
            failed = 1;
        }
        for failure in said.only_these().filter(|all| all.len() <= MOST).unwrap_or_default() {
            let what = format!("{} ({})", failure.name, failure.target);
            let passes = |tried| {
                println!("== again, alone, {tried} of {TRIES}: {what}");
                self.passes_alone(failure)
            };
            if (1..=TRIES).any(passes) {
                (passed, failed) = (passed + 1, failed - 1);
                tell(&what, failure);
                unsteady.push(what);
            }
        }
        let seconds = start.elapsed().as_secs();
        Step { name, passed, failed, seconds, note: String::new(), unsteady }
    }

    fn passes_alone(&self, failure: &Failure) -> bool {
        let targets: Vec<&str> = failure.target.split_whitespace().skip(1).collect();
        let (held, said) = self.run(&targets, &["--exact", &failure.name]);
        held && said.failed == 0 && said.went_well_in(&failure.binary)
    }

    /// The same packages, so that nothing is built anew.
    fn run(&self, targets: &[&str], words: &[&str]) -> (bool, Said) {
        let mut command = run::cargo();
        command.args(["test", "--locked", "--no-fail-fast"]).args(self.packages).args(targets).arg("--");
        command.args(self.words).args(words).env("CARGO_TERM_COLOR", "never");
        let mut said = Said::default();
        let held = run::stream_all(run::limited(&command, LIMIT), |line| said.hear(line));
        (held, said)
    }
}

fn tell(what: &str, failure: &Failure) {
    let of_the_test = failure.words.lines().take_while(|line| *line != "stack backtrace:");
    lab::tell_unsteady(what, &of_the_test.take(LINES).collect::<Vec<_>>().join("\n"));
}
