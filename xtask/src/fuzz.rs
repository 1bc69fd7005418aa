//! `cargo xtask fuzz`: builds the targets with coverage counters and lets libFuzzer look for inputs that break them.
//!
//! The flags are those that cargo-fuzz gives, but for the sanitizers, which need a nightly compiler: the stack has no
//! unsafe code, and overflow and debug assertions are on.

use std::path::PathBuf;
use std::process::{Child, Command};

use crate::run;

const TARGETS: [&str; 5] = ["segments", "calls", "wire", "policy", "image"];
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";
/// Files of a corpus that are kept in the repository.
const KEPT: usize = 150;

/// What to do.
pub(crate) struct Plan {
    /// These targets; none stands for all.
    pub(crate) targets: Vec<String>,
    /// How long each.
    pub(crate) seconds: u32,
    /// Run this input once instead.
    pub(crate) input: Option<PathBuf>,
    /// Keep the least inputs that cover as much in `fuzz/corpus`.
    pub(crate) minimise: bool,
    /// The dice: the same number rolls the same. None: others each time.
    pub(crate) seed: Option<u32>,
}

impl Plan {
    /// All targets, a minute each, with the same dice every time: a change is judged by what it changed.
    pub(crate) fn of_ci() -> Self {
        Self { targets: vec![], seconds: 60, input: None, minimise: false, seed: Some(1) }
    }
}

/// Does it, two targets at a time; whether nothing broke.
pub(crate) fn run(plan: &Plan) -> bool {
    if let Some(unknown) = plan.targets.iter().find(|t| !TARGETS.contains(&t.as_str())) {
        println!("no target {unknown}; there are {}", TARGETS.join(", "));
        return false;
    }
    let chosen = |target: &&str| plan.targets.is_empty() || plan.targets.iter().any(|t| t == *target);
    let targets: Vec<&str> = TARGETS.into_iter().filter(|t| chosen(t)).collect();
    if !build() {
        return false;
    }
    if let Some(input) = &plan.input {
        return targets.iter().all(|target| program(target).arg(input).status().is_ok_and(|s| s.success()));
    }
    if plan.minimise {
        return targets.iter().all(|target| minimise(target));
    }
    let mut well = true;
    for pair in targets.chunks(2) {
        let running: Vec<Option<Child>> = pair.iter().map(|target| start(target, plan)).collect();
        for (target, child) in pair.iter().zip(running) {
            let ended = child.and_then(|mut child| child.wait().ok());
            well &= report(target, ended.is_some_and(|status| status.success()));
        }
    }
    well
}

fn build() -> bool {
    let mut cargo = run::cargo();
    cargo.current_dir(crate::root().join("fuzz")).env("RUSTFLAGS", FLAGS);
    cargo
        .args(["build", "--release", "--locked", "--target", TRIPLE, "--target-dir"])
        .arg(folder("target/fuzz"));
    cargo.status().is_ok_and(|status| status.success())
}

fn folder(path: &str) -> PathBuf {
    crate::root().join(path)
}

fn program(target: &str) -> Command {
    Command::new(folder(&format!("target/fuzz/{TRIPLE}/release/{target}")))
}

/// Where a target's findings go while it runs; the corpus in the repository is only read.
fn found(target: &str) -> PathBuf {
    folder(&format!("target/fuzz/found/{target}"))
}

fn corpus(target: &str) -> PathBuf {
    folder(&format!("fuzz/corpus/{target}"))
}

fn start(target: &str, plan: &Plan) -> Option<Child> {
    let (found, log) = (found(target), folder(&format!("target/fuzz/{target}.log")));
    std::fs::create_dir_all(&found).ok()?;
    std::fs::create_dir_all(corpus(target)).ok()?;
    let log = std::fs::File::create(log).ok()?;
    let mut command = program(target);
    command.arg(found).arg(corpus(target)).arg(format!("-max_total_time={}", plan.seconds));
    command.args(plan.seed.map(|seed| format!("-seed={seed}")));
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    command.arg(format!("-artifact_prefix={}/{target}-", folder("target/fuzz").display()));
    command.stderr(log).spawn().ok()
}

/// What a run came to, as one line; of one that broke also the end of its log, and how to repeat it.
fn report(target: &str, well: bool) -> bool {
    let log = std::fs::read(folder(&format!("target/fuzz/{target}.log"))).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let stat =
        |name: &str| log.lines().rev().find_map(|l| l.strip_prefix(name)).unwrap_or(" ?").trim().to_owned();
    let runs = stat("stat::number_of_executed_units:");
    if well {
        println!("fuzz {target}: {runs} inputs, nothing broke");
        return true;
    }
    let lines: Vec<&str> = log.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(60)).for_each(|line| println!("{line}"));
    let prefix = "Test unit written to ";
    let input = log.lines().find_map(|l| Some(l.split_once(prefix)?.1.trim().to_owned()));
    println!("fuzz {target}: BROKEN after {runs} inputs");
    println!("again: cargo xtask fuzz {target} --input {}", input.unwrap_or_else(|| "FILE".to_owned()));
    false
}

/// The corpus becomes the least files of it and of what was found that cover as much, the shortest first.
fn minimise(target: &str) -> bool {
    let least = folder(&format!("target/fuzz/least/{target}"));
    let _ = std::fs::remove_dir_all(&least);
    let folders = [&least, &corpus(target), &found(target)];
    if folders.into_iter().any(|folder| std::fs::create_dir_all(folder).is_err()) {
        return false;
    }
    let mut command = program(target);
    command.arg("-merge=1").arg(&least).arg(corpus(target)).arg(found(target));
    if !run::quietly(&mut command) {
        return false;
    }
    let mut files: Vec<(u64, PathBuf)> = std::fs::read_dir(&least)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.metadata().map_or(0, |m| m.len()), entry.path()))
        .collect();
    files.sort();
    let _ = std::fs::remove_dir_all(corpus(target));
    let made = std::fs::create_dir_all(corpus(target)).is_ok();
    // The shortest and the longest: what is long goes deep.
    let half = KEPT / 2;
    let long = files.len().saturating_sub(half).max(half);
    let kept = files.iter().take(half).chain(files.iter().skip(long));
    let copied = kept.filter(|(_, file)| {
        let name = file.file_name().unwrap_or_default();
        std::fs::copy(file, corpus(target).join(name)).is_ok()
    });
    println!("fuzz {target}: {} of {} inputs kept", copied.count(), files.len());
    made
}
