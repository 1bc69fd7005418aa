//! `cargo xtask simulate`: the simulation of `tests/tests/simulation.rs` with more seeds.

use crate::run;

/// Runs so many seeds from this one; whether all of them went well. The first that does not prints itself.
pub(crate) fn run(seeds: u64, from: u64) -> bool {
    let mut command = run::cargo();
    command.args(["test", "--release", "--locked", "--package=ringroad-tests", "--test=simulation"]);
    command.env("RINGROAD_SEEDS", format!("{from}:{seeds}"));
    run::stream(&mut command, |_| ())
}
