//! `cargo xtask test`: everything that must hold, and a summary of it.

mod again;
mod said;

use std::time::Instant;

use again::Tests;

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
    /// Tests that failed, and passed when they were tried again.
    unsteady: Vec<String>,
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
    steps.push(if root { ROOMS } else { ROOMS_WITHOUT_ROOT }.step("tests of the rooms"));
    if !root {
        steps.push(DRILLS.step("drills"));
        println!("drills of the kernel: not run, they need root (network namespaces, TUN)");
    }
    steps.push(cargo("tests under loom", LOOM, LOOSE));
    steps.push(check("fuzz", || (fuzz::run(&fuzz::Plan::of_ci()), String::new())));
    if root {
        steps.push(LAB.step("tests in the lab"));
    } else {
        println!("tests in the lab: not run, they need root (network namespaces, AF_XDP)");
    }
    steps.push(counted("other projects' tests", suites::short));
    steps.push(guest_step());
    summary(&steps)
}

const OF_ROOMS: &[&str] = &["--workspace", "--exclude=ringroad-tests"];
const ROOMS: Tests = Tests { packages: OF_ROOMS, targets: &[], words: &[] };
const ROOMS_WITHOUT_ROOT: Tests = Tests { targets: &["--lib", "--bins", "--examples"], ..ROOMS };
const DRILLS: Tests =
    Tests { packages: &["--package=ringroad-drill"], targets: &["--test=stack"], words: &[] };
const LAB: Tests =
    Tests { packages: &["--package=ringroad-tests"], targets: &[], words: &["--test-threads=1"] };

const LOOM: &[&str] =
    &["test", "--package=ringroad-af-xdp", "--lib", "--release", "--locked", "--target-dir=target/loom"];
/// They take two seconds, and to compile them as the product is compiled a minute.
const LOOSE: &[(&str, &str)] = &[
    ("RUSTFLAGS", "--cfg loom"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
];

fn check(name: &'static str, what: impl FnOnce() -> (bool, String)) -> Step {
    println!("== {name}");
    let start = Instant::now();
    let (held, note) = what();
    if !note.is_empty() {
        println!("{note}");
    }
    Step {
        name,
        passed: 0,
        failed: u64::from(!held),
        seconds: start.elapsed().as_secs(),
        note,
        unsteady: Vec::new(),
    }
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
        let (p, f) = said::result(line).unwrap_or_default();
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
    Step { name, passed, failed, seconds: start.elapsed().as_secs(), note, unsteady: Vec::new() }
}

/// A machine in software is at the mercy of this one, and its kernel of Debian's tests: one that fails is booted once more,
/// and has to do all.
fn guest_step() -> Step {
    let boot = || counted("guest", |each| guest::run(&[], guest::LIMIT, each));
    let first = boot();
    if first.failed == 0 {
        return first;
    }
    let said = format!("{} passed, {} failed", first.passed, first.failed);
    let step = booted_again(&first, boot());
    step.unsteady.iter().for_each(|what| lab::tell_unsteady(what, &said));
    step
}

/// What a guest that failed has come to by a second boot. One that did not run then, or not as far, has not held.
fn booted_again(first: &Step, again: Step) -> Step {
    let seconds = first.seconds + again.seconds;
    if again.failed > 0 || again.passed < first.passed.max(1) {
        return Step { seconds, failed: again.failed.max(1), ..again };
    }
    Step { seconds, unsteady: vec!["guest".to_owned()], ..again }
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
    for unsteady in steps.iter().flat_map(|step| &step.unsteady) {
        println!("unsteady: {unsteady}: it failed once; mend it next");
    }
    let (passed, failed) = steps.iter().fold((0, 0), |(p, f), s| (p + s.passed, f + s.failed));
    println!("{passed} passed, {failed} failed");
    failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(passed: u64, failed: u64) -> Step {
        Step { name: "guest", passed, failed, seconds: 1, note: String::new(), unsteady: Vec::new() }
    }

    #[test]
    fn a_guest_that_does_not_run_again_has_not_held() {
        let of = |first: (u64, u64), again: (u64, u64)| {
            let step = booted_again(&step(first.0, first.1), step(again.0, again.1));
            (step.failed, step.unsteady.len())
        };
        assert_eq!(of((3, 1), (9, 0)), (0, 1));
        // Its kernel died before the first test.
        assert_eq!(of((0, 1), (9, 0)), (0, 1));
        assert_eq!([of((3, 1), (9, 2)), of((3, 1), (2, 0)), of((0, 1), (0, 0))], [(2, 0), (1, 0), (1, 0)]);
    }
}
