//! The project's own commands: `cargo xtask tidy`, `test`, `demo`, `bench`.

mod ci;
mod licences;
mod packages;
mod run;
mod source;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check arrows between rooms, places for unsafe, sizes and forbidden calls
    Tidy,
    /// Check and test everything; the last line is `N passed, N failed`
    Test,
}

fn main() -> ExitCode {
    match Args::parse().task {
        Task::Tidy => run_tidy(),
        Task::Test if ci::run() => ExitCode::SUCCESS,
        Task::Test => ExitCode::FAILURE,
    }
}

fn run_tidy() -> ExitCode {
    match tidy::check(&root()) {
        Ok(faults) if faults.is_empty() => {
            println!("tidy");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            faults.iter().for_each(|f| println!("{f}"));
            println!("{} faults", faults.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
