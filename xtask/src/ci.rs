//! `cargo xtask test`: everything that must hold, and a summary of it.

use std::time::Instant;

use crate::{fuzz, guest, licences, lwip, packages, rfc, run, suites, tidy};

/// The longest that one step may take, in seconds.
const LIMIT: u32 = 1500;

/// What became of one step.
struct Step {
    name: &'static str,
    /// Tests that passed and failed; a check that is no test counts nothing when it holds, one when it fails.
    passed: u64,
    failed: u64,
    seconds: u64,
    note: String,
}

/// Runs every check and test, prints a summary; whether all of them hold.
pub(crate) fn run() -> bool {
    let root = run::is_root();
    let mut steps = vec![check("packages", || {
        packages::install().map_or_else(|e| (true, e), |()| (true, String::new()))
    })];
    steps.push(check("lwip", || lwip::fetch().map_or_else(|e| (true, e), |()| (true, String::new()))));
    steps.push(cargo("fmt", &["fmt", "--all", "--check"], &[]));
    steps.push(cargo(
        "clippy",
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-Dwarnings"],
        &[],
    ));
    steps.push(check("tidy", tidy_step));
    steps.push(check("rfc", rfc_step));
    steps.push(check("licences", licences_step));
    steps.push(cargo(
        "doc",
        &["doc", "--workspace", "--no-deps", "--locked"],
        &[("RUSTDOCFLAGS", "-Dwarnings")],
    ));
    steps.push(cargo("build", &["build", "--release", "--locked"], &[]));
    let mut rooms = vec!["test", "--workspace", "--exclude=ringroad-tests", "--locked", "--no-fail-fast"];
    if !root {
        rooms.extend(["--lib", "--bins", "--examples"]);
    }
    steps.push(cargo("tests of the rooms", &rooms, &[]));
    if !root {
        steps.push(cargo("drills", &["test", "--package=ringroad-drill", "--test=stack", "--locked"], &[]));
        println!("drills of the kernel: not run, they need root (network namespaces, TUN)");
    }
    steps.push(cargo("tests under loom", LOOM, &[("RUSTFLAGS", "--cfg loom")]));
    steps.push(check("fuzz", || (fuzz::run(&fuzz::Plan::of_ci()), String::new())));
    if root {
        let lab =
            ["test", "--package=ringroad-tests", "--locked", "--no-fail-fast", "--", "--test-threads=1"];
        steps.push(cargo("tests in the lab", &lab, &[]));
    } else {
        println!("tests in the lab: not run, they need root (network namespaces, AF_XDP)");
    }
    steps.push(counted("other projects' tests", suites::short));
    steps.push(counted("guest", |each| guest::run(&[], guest::LIMIT, each)));
    summary(&steps)
}

const LOOM: &[&str] =
    &["test", "--package=ringroad-af-xdp", "--lib", "--release", "--locked", "--target-dir=target/loom"];

fn check(name: &'static str, what: impl FnOnce() -> (bool, String)) -> Step {
    println!("== {name}");
    let start = Instant::now();
    let (held, note) = what();
    if !note.is_empty() {
        println!("{note}");
    }
    Step { name, passed: 0, failed: u64::from(!held), seconds: start.elapsed().as_secs(), note }
}

fn cargo(name: &'static str, args: &[&str], env: &[(&str, &str)]) -> Step {
    let mut command = run::cargo();
    command.args(args).envs(env.iter().copied());
    counted(name, |each| Ok(run::stream(&mut run::limited(&command, LIMIT), each)))
}

/// A step whose tests are counted from the lines that it says. Why it does not run here is no failure.
fn counted(name: &'static str, run: impl FnOnce(&mut dyn FnMut(&str)) -> Result<bool, String>) -> Step {
    println!("== {name}");
    let start = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    let ended = run(&mut |line| {
        let (p, f) = result_of(line);
        passed += p;
        failed += f;
    });
    if ended == Ok(false) && failed == 0 {
        failed = 1;
    }
    let note = ended.err().unwrap_or_default();
    if !note.is_empty() {
        println!("{note}");
    }
    Step { name, passed, failed, seconds: start.elapsed().as_secs(), note }
}

/// The tests that passed and failed, from a line `test result: ok. 3 passed; 0 failed; …`.
fn result_of(line: &str) -> (u64, u64) {
    let Some(rest) = line.strip_prefix("test result: ") else { return (0, 0) };
    let words: Vec<&str> = rest.split_whitespace().collect();
    let before = |word: &str| {
        let at = words.iter().position(|w| w.trim_end_matches(';') == word);
        at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
    };
    (before("passed"), before("failed"))
}

fn tidy_step() -> (bool, String) {
    match tidy::check(&crate::root()) {
        Ok(faults) => {
            let lines: Vec<String> = faults.iter().map(tidy::Fault::to_string).collect();
            (faults.is_empty(), lines.join("\n"))
        }
        Err(error) => (false, error.to_string()),
    }
}

fn rfc_step() -> (bool, String) {
    match rfc::check(&crate::root()) {
        Ok(faults) => (faults.is_empty(), faults.join("\n")),
        Err(error) => (false, error.to_string()),
    }
}

/// Our own check of licences, and cargo-deny's wider one where it is installed.
fn licences_step() -> (bool, String) {
    let ours = match licences::check() {
        Ok(refused) => (refused.is_empty(), refused.join("\n")),
        Err(error) => (false, error),
    };
    if !ours.0 || !run::found("cargo-deny") {
        return ours;
    }
    let mut command = run::cargo();
    command.args(["deny", "--offline", "check", "bans", "licenses", "sources"]);
    (run::stream(&mut command, |_| ()), String::new())
}

fn summary(steps: &[Step]) -> bool {
    println!("\n== summary");
    for step in steps {
        let verdict = if step.failed == 0 { "ok" } else { "FAILED" };
        let counts = if step.passed + step.failed > 1 || step.passed == 1 {
            format!("{} passed, {} failed", step.passed, step.failed)
        } else {
            step.note.lines().next().unwrap_or_default().to_owned()
        };
        println!("{:20} {verdict:7} {:5} s  {counts}", step.name, step.seconds);
    }
    let (passed, failed) = steps.iter().fold((0, 0), |(p, f), s| (p + s.passed, f + s.failed));
    println!("{passed} passed, {failed} failed");
    failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_as_cargo_prints_them() {
        let line = "test result: FAILED. 17 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.09s";
        assert_eq!(result_of(line), (17, 1));
        assert_eq!(result_of("test result_of ... ok"), (0, 0));
    }
}
