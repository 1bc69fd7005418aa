//! `cargo xtask soak`: the mixed load of `tests/tests/mixed_load.rs` for longer.

use crate::run;

/// Runs it for so many minutes; whether all that was used was given back.
pub(crate) fn run(minutes: u64) -> bool {
    let mut command = run::cargo();
    command.args(["test", "--locked", "--package=ringroad-tests", "--test=mixed_load", "--", "--nocapture"]);
    command.env("RINGROAD_SOAK_SECONDS", (minutes * 60).to_string());
    run::stream(&mut command, |_| ())
}
