//! The `ringroad` command: run a program on the road, see what the stacks do, and what their gate lets through.

mod agent;
mod alerts;
mod args;
mod import;
mod policy;
mod run;
mod stat;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Task};

fn main() -> ExitCode {
    match Args::parse().task {
        Task::Run(flags) => run::run(&flags),
        Task::Stat(flags) => stat::run(&flags),
        Task::Alerts(flags) => alerts::run(&flags),
        Task::Policy { task } => policy::run(&task),
        Task::Agent(flags) => agent::run(&flags),
    }
}

/// Prints to standard output; a reader that has gone away is no error.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Says what went wrong, in one line.
fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "ringroad: {what}");
}

/// Prints what was asked for, or says why there is none.
fn tell<E: std::fmt::Display>(text: Result<String, E>) -> ExitCode {
    match text {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
