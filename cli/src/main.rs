//! The `ringroad` command: run a program on the road, see what the stacks do, and what their gate lets through.

mod agent;
mod alerts;
mod args;
mod capture;
mod dump;
mod flows;
mod import;
mod keep;
#[cfg(test)]
mod pages;
mod policy;
mod run;
mod sockets;
mod stat;
mod table;
mod top;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;

use args::{Args, Task};

fn main() -> ExitCode {
    match Args::parse().task {
        Task::Run(flags) => run::run(&flags),
        Task::Stat(flags) => stat::run(&flags),
        Task::Sockets(flags) => sockets::run(&flags),
        Task::Top(flags) => top::run(&flags),
        Task::Dump(flags) => dump::run(&flags),
        Task::Alerts(flags) => alerts::run(&flags),
        Task::Flows(flags) => flows::run(&flags),
        Task::Capture(flags) => capture::run(&flags),
        Task::Policy { task } => policy::run(&task),
        Task::Agent(flags) => agent::run(&flags),
        Task::Keep(flags) => keep::run(&flags),
    }
}

/// Becomes true when the command is told to end by a signal.
///
/// # Errors
/// The operating system's.
fn told_to_end() -> io::Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&told))?;
    }
    Ok(told)
}

/// Prints to standard output; a reader that has gone away is no error.
fn print(text: &str) {
    let _ = io::stdout().write_all(shown(text).as_bytes());
}

/// Says what went wrong, in one line.
fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "ringroad: {}", shown(&what.to_string()));
}

/// Text as a terminal may have it: names come from other processes, and what it takes for commands is not let through.
fn shown(text: &str) -> String {
    let one =
        |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(one).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_let_through() {
        assert_eq!(shown("a\tb\u{1b}[2J\u{9b}1m\r\u{7}é\n"), "a\tb\u{fffd}[2J\u{fffd}1m\u{fffd}\u{fffd}é\n");
    }
}
