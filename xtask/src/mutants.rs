//! `cargo xtask mutants`: cargo-mutants on the parts that recover losses. What survives is listed in
//! `target/mutants/mutants.out/missed.txt`.

use crate::run;

/// The parts, by what they are called in `stack/src/tcp`.
const PARTS: [&str; 7] = ["recovery", "rack", "prr", "frto", "tlp", "rto", "detect"];

/// Runs it on these files of `stack/src/tcp`; none stands for all parts that recover losses. It takes hours for all.
pub(crate) fn run(parts: &[String]) -> bool {
    if !run::found("cargo-mutants") {
        println!("cargo install cargo-mutants --locked");
        return false;
    }
    let chosen: Vec<&str> =
        if parts.is_empty() { PARTS.to_vec() } else { parts.iter().map(String::as_str).collect() };
    let mut command = run::cargo();
    command.args(["mutants", "--package=ringroad-stack", "--baseline=skip", "--timeout=120", "--no-shuffle"]);
    command.args(["--output=target/mutants", "--colors=never"]);
    chosen.iter().for_each(|part| _ = command.arg(format!("--file=stack/src/tcp/{part}.rs")));
    // The tests that see these parts: the rest would only take time.
    command.args(["--", "--lib", "tcp::"]);
    run::stream(&mut command, |_| ())
}
