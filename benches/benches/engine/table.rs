//! One table of all measurements.

use std::process::Command;

use ringroad_benches::callgrind;
use ringroad_benches::workload::Work;

/// An engine, and the most connections it is measured with: those that look at every connection for every segment
/// would take hours for more.
const ENGINES: [(&str, u32); 3] = [("ours", 1_000_000), ("smoltcp", 10_000), ("lwip", 10_000)];
const SIZES: [u32; 5] = [10, 1_000, 10_000, 100_000, 1_000_000];
/// Where instructions are counted: they do not depend on caches, so few sizes tell all.
const COUNTED: [u32; 2] = [10, 1_000];

/// Measures everything and prints the table. `quick`: without the two largest sizes.
pub(crate) fn print(quick: bool, instructions: bool) {
    let sizes = if quick { &SIZES[..3] } else { &SIZES[..] };
    let times: Vec<_> = sizes.iter().map(|&size| (size, ENGINES.map(|engine| times(engine, size)))).collect();
    heading("nanoseconds");
    for (n, work) in Work::ALL.iter().enumerate() {
        for (size, engines) in &times {
            row(*work, *size, engines.each_ref().map(|all| all.get(n).copied()));
        }
    }
    if instructions {
        heading("instructions");
        for (n, work) in Work::ALL.iter().enumerate() {
            for size in COUNTED {
                row(*work, size, ENGINES.map(|(engine, _)| counted(engine, n, size)));
            }
        }
    }
    if !quick {
        for (family, how) in [("IPv4", "memory"), ("IPv6", "memory6")] {
            println!("\nbytes of an idle connection of ours, {family}");
            print!("{}", run(&mut itself(&[how, "1000000"])));
        }
    }
}

fn heading(what: &str) {
    println!("\n{what:32} {:>11} {:>10} {:>10} {:>10}", "connections", "ours", "smoltcp", "lwIP");
}

fn row(work: Work, size: u32, engines: [Option<f64>; 3]) {
    print!("{:32} {size:>11}", work.name());
    for value in engines {
        match value {
            Some(value) if value < 1000.0 => print!(" {value:>10.1}"),
            Some(value) => print!(" {value:>10.0}"),
            None => print!(" {:>10}", "-"),
        }
    }
    println!();
}

/// Every work of an engine with so many connections; empty when it is not measured with so many.
fn times((engine, most): (&str, u32), size: u32) -> Vec<f64> {
    if size > most {
        return Vec::new();
    }
    let text = run(&mut itself(&["one", engine, "all", &size.to_string()]));
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Instructions of one piece of work of an engine.
fn counted(engine: &str, work: usize, size: u32) -> Option<f64> {
    callgrind::counted(&["one", engine, &work.to_string(), &size.to_string(), "count"])
}

fn itself(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows its name"));
    command.args(args);
    command
}

fn run(command: &mut Command) -> String {
    let out = command.output().expect("a program can run itself");
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}
