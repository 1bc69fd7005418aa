//! Instructions, as callgrind counts them: of all that is measured here they are what repeats on a busy machine.

use std::process::Command;

/// Instructions of one piece of work: this program is run with `args`, does its work, and prints how many pieces there were.
/// What happens inside [`workload`](crate::workload)'s `watched` counts. `None` without valgrind.
#[must_use]
pub fn counted(args: &[&str]) -> Option<f64> {
    let exe = std::env::current_exe().ok()?;
    let mut command = Command::new("valgrind");
    command.args([
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--toggle-collect=*workload::watched*",
    ]);
    let out = command.arg(exe).args(args).output().ok()?;
    let units: f64 = String::from_utf8_lossy(&out.stdout).trim().parse().ok()?;
    let log = String::from_utf8_lossy(&out.stderr).into_owned();
    let collected = log.lines().find_map(|line| line.split("Collected :").nth(1))?;
    Some(collected.trim().parse::<f64>().ok()? / units)
}
