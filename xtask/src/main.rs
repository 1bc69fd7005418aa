//! The project's own commands: `cargo xtask tidy`, `rfc`, `test`, `fuzz`, `simulate`, `suites`, `guest`, `demo`, `bench`.

mod apt;
mod bench;
mod ci;
mod counted;
mod curves;
mod demo;
mod firewalls;
mod fuzz;
mod guest;
mod home;
mod licences;
mod lwip;
mod measure;
mod mutants;
mod packages;
mod plot;
mod rfc;
mod run;
mod simulate;
mod soak;
mod source;
mod suites;
mod talk;
mod tidy;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

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
    /// Write COMPLIANCE.md from the tags in code and tests
    Rfc {
        /// Only check that it is fresh, that no tag is unknown and that every MUST is shown or excused
        #[arg(long)]
        check: bool,
    },
    /// Run nginx on the kernel and on the road side by side, behind a policy
    Demo,
    /// Measure ours and the kernel's: programs on two cores, then the parts with criterion
    Bench {
        /// Only the programs
        #[arg(long, conflicts_with = "parts")]
        system: bool,
        /// Only the parts
        #[arg(long)]
        parts: bool,
        /// Only the engine, beside smoltcp and lwIP: nanoseconds, instructions, bytes of an idle connection
        #[arg(long, conflicts_with_all = ["system", "parts"])]
        engine: bool,
        /// Only congestion control, ours and the kernel's on an emulated link: figures and pictures into docs/congestion
        #[arg(long, conflicts_with_all = ["system", "parts", "engine"])]
        curves: bool,
        /// Only the gate: verdicts beside rules in turn and rte_acl, nftables on a cable, nginx behind thousands of rules
        #[arg(long, conflicts_with_all = ["system", "parts", "engine", "curves"])]
        gate: bool,
        /// Only two programs of one host: by the rings between their stacks, by the loopback device, by a Unix socket
        #[arg(long, conflicts_with_all = ["system", "parts", "engine", "curves", "gate"])]
        home: bool,
        /// Only what several processes and many connections cost: a port that many may drive, a second worker, 10,000 open
        #[arg(long, conflicts_with_all = ["system", "parts", "engine", "curves", "gate", "home"])]
        workers: bool,
        /// The engine with up to 10,000 connections only, and without instructions
        #[arg(long, requires = "engine")]
        quick: bool,
    },
    /// Send as much as a connection takes, or take it: for `bench --curves`
    #[command(hide = true, subcommand)]
    Pump(Pump),
    /// A program that talks to another: for `bench --home`
    #[command(hide = true, subcommand)]
    Talk(talk::Talk),
    /// Look for inputs that break parsers, states, calls or the policy file; two targets at a time
    Fuzz {
        /// segments, calls, wire, policy; all when none is named
        targets: Vec<String>,
        /// How long each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Run this input once, to see what it does
        #[arg(long, requires = "targets")]
        input: Option<PathBuf>,
        /// Keep the least inputs that cover as much in fuzz/corpus
        #[arg(long, conflicts_with = "input")]
        minimise: bool,
    },
    /// Lives of connections over bad cables, many more than CI runs
    Simulate {
        /// How many
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first seed
        #[arg(long, default_value_t = 1)]
        from: u64,
    },
    /// A mixed load in the lab, longer than CI has it: what is used under it is given back
    Soak {
        /// How long
        #[arg(long, default_value_t = 10)]
        minutes: u64,
    },
    /// Boot a machine in software whose NICs do zero-copy, and run the tests of the NICs in it
    Guest {
        /// Only tests whose names hold one of these
        tests: Vec<String>,
        /// How long at most
        #[arg(long, default_value_t = guest::LIMIT)]
        seconds: u32,
    },
    /// Exchange 100 MiB each way with smoltcp and lwIP, as client and as server, at 0 to 5 % loss
    Interop,
    /// Change the parts that recover losses, one place at a time, and see whether a test minds (cargo-mutants)
    Mutants {
        /// Files of stack/src/tcp, without .rs; those that recover losses when none is named
        parts: Vec<String>,
    },
    /// Run other projects' own tests on the kernel and under the shim, and compare them test by test
    Suites {
        /// All when none is named
        suites: Vec<suites::Suite>,
        /// Only the part of `cargo xtask test`
        #[arg(long, conflicts_with = "suites")]
        short: bool,
    },
    /// Fetch lwIP's sources, which tests and benchmarks compile, into target/lwip
    Lwip,
}

#[derive(Subcommand)]
enum Pump {
    /// Send
    Send {
        /// ADDRESS:PORT
        to: String,
        /// Seconds
        time: u64,
        /// TCP_CONGESTION
        congestion: String,
        /// SO_SNDBUF
        buffer: Option<i32>,
    },
    /// Receive
    Receive {
        /// The port
        port: u16,
    },
}

impl Pump {
    fn run(self) -> bool {
        let ended = match self {
            Pump::Send { to, time, congestion, buffer } => {
                let time = Duration::from_secs(time);
                lab::send(&lab::Pump { to, time, congestion, buffer })
            }
            Pump::Receive { port } => lab::receive(port),
        };
        ended.map_err(|error| eprintln!("{error}")).is_ok()
    }
}

fn main() -> ExitCode {
    let well = match Args::parse().task {
        Task::Tidy => run_tidy(),
        Task::Rfc { check } => run_rfc(check),
        Task::Test => ci::run(),
        Task::Demo => demo::run(),
        Task::Bench { engine: true, quick, .. } => lwip_is_here() && bench::engine(quick),
        Task::Bench { curves: true, .. } => measured(curves::run),
        Task::Bench { gate: true, .. } => can_measure() && firewalls::run(),
        Task::Bench { home: true, .. } => measured(home::run),
        Task::Bench { workers: true, .. } => measured(workers::run),
        Task::Pump(pump) => pump.run(),
        Task::Talk(talk) => talk.run().map_err(|error| eprintln!("{error}")).is_ok(),
        Task::Bench { system, parts, .. } => run_bench(!parts, !system),
        Task::Fuzz { targets, seconds, input, minimise } => {
            fuzz::run(&fuzz::Plan { targets, seconds, input, minimise, seed: None })
        }
        Task::Simulate { seeds, from } => simulate::run(seeds, from),
        Task::Soak { minutes } => soak::run(minutes),
        Task::Guest { tests, seconds } => run_guest(&tests, seconds),
        Task::Interop => lwip_is_here() && bench::interop(),
        Task::Mutants { parts } => mutants::run(&parts),
        Task::Suites { short: true, .. } => run_short_suites(),
        Task::Suites { suites, .. } => suites::run(&suites),
        Task::Lwip => lwip_is_here(),
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_guest(tests: &[String], seconds: u32) -> bool {
    guest::run(tests, seconds, |_| ()).unwrap_or_else(|why| {
        println!("{why}");
        false
    })
}

fn run_short_suites() -> bool {
    suites::short(&mut |line| println!("{line}")).unwrap_or_else(|why| {
        println!("{why}");
        false
    })
}

fn lwip_is_here() -> bool {
    lwip::fetch().map_err(|why| println!("{why}")).is_ok()
}

fn run_bench(system: bool, parts: bool) -> bool {
    if system {
        if !can_measure() {
            return false;
        }
        bench::system();
    }
    !parts || bench::parts()
}

fn run_rfc(check: bool) -> bool {
    let faults = if check { rfc::check(&root()) } else { rfc::write(&root()) };
    match faults {
        Ok(faults) => {
            faults.iter().for_each(|f| println!("{f}"));
            println!("{} faults", faults.len());
            faults.is_empty()
        }
        Err(error) => {
            eprintln!("rfc: {error}");
            false
        }
    }
}

/// Measures in the lab; whether it could.
fn measured(measure: fn()) -> bool {
    let can = can_measure();
    if can {
        measure();
    }
    can
}

/// Whether programs can be measured in the lab; says why not.
fn can_measure() -> bool {
    if let Err(missing) = packages::install() {
        println!("{missing}");
        return false;
    }
    if !run::is_root() {
        println!("this needs root (network namespaces, AF_XDP); `cargo xtask bench --parts` does not");
    }
    run::is_root()
}

fn run_tidy() -> bool {
    match tidy::check(&root()) {
        Ok(faults) if faults.is_empty() => {
            println!("tidy");
            true
        }
        Ok(faults) => {
            faults.iter().for_each(|f| println!("{f}"));
            println!("{} faults", faults.len());
            false
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            false
        }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
