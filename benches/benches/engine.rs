//! Ours, smoltcp and lwIP on the same workload in the same run, from ten connections to a million: nanoseconds,
//! and instructions as callgrind counts them. Each measurement is a process of its own.
//!
//! ```text
//! engine [--quick] [--instructions]     the table
//! engine one ENGINE WORK CONNECTIONS    one measurement; `count` for callgrind; `ours6`: ours, over IPv6
//! engine memory CONNECTIONS             bytes of an idle connection of ours; `memory6`: over IPv6
//! ```

use std::time::{Duration, Instant};

use ringroad_benches::engines::{Engine, Lwip, Ours, Ours6, Smol};
use ringroad_benches::workload::{Bench, Work};

#[path = "engine/table.rs"]
mod table;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["one", engine, work, connections, ref rest @ ..] => {
            one(engine, work, number(connections), rest == ["count"]);
        }
        ["memory", connections] => memory::<Ours>(number(connections)),
        ["memory6", connections] => memory::<Ours6>(number(connections)),
        _ => table::print(words.contains(&"--quick"), words.contains(&"--instructions")),
    }
}

fn number(word: &str) -> u32 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// Measures one engine: one work by its number, or all of them one after the other.
fn one(engine: &str, work: &str, connections: u32, count: bool) {
    let works = Work::ALL.iter().enumerate();
    let chosen: Vec<Work> =
        works.filter(|(n, _)| work == "all" || number(work) as usize == *n).map(|(_, work)| *work).collect();
    match engine {
        "ours" => measure::<Ours>(&chosen, connections, count),
        "ours6" => measure::<Ours6>(&chosen, connections, count),
        "smoltcp" => measure::<Smol>(&chosen, connections, count),
        "lwip" => measure::<Lwip>(&chosen, connections, count),
        _ => panic!("no engine is called {engine}"),
    }
}

/// Prints a line for each work: the median in nanoseconds, or, for callgrind, how many there were of it.
fn measure<E: Engine>(works: &[Work], connections: u32, count: bool) {
    let (losses, others): (Vec<Work>, Vec<Work>) = works.iter().partition(|work| **work == Work::Loss);
    for some in [others, losses].iter().filter(|some| !some.is_empty()) {
        // Where a window of a thousand segments is wanted there is memory for few connections only.
        let connections = if some[0] == Work::Loss {
            connections.max(LOSSES as u32).min(E::MOST_WINDOWS)
        } else {
            connections
        };
        let mut bench = Bench::<E>::new(connections, some[0].window());
        for work in some {
            if count {
                let units: usize = (0..COUNTED).map(|_| bench.run(*work).1).sum();
                println!("{units}");
            } else {
                println!("{:.1}", median(&mut bench, *work));
            }
        }
    }
}

/// A window of a thousand segments is filled and lost so often: each time with another connection.
const LOSSES: usize = 32;

/// Batches that callgrind sees.
const COUNTED: usize = 10;

fn median<E: Engine>(bench: &mut Bench<E>, work: Work) -> f64 {
    let limit = Duration::from_millis(std::env::var("MS").map_or(400, |v| v.parse().unwrap_or(400)));
    let (begin, mut samples) = (Instant::now(), Vec::new());
    while begin.elapsed() < limit || samples.len() < 10 {
        let (took, units) = bench.run(work);
        samples.push(took.as_nanos() as f64 / units as f64);
        if samples.len() >= if work == Work::Loss { LOSSES } else { 5000 } {
            break;
        }
    }
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// What an idle established connection of ours takes: of the allocator, and of the system.
fn memory<E: Engine>(connections: u32) {
    let before = resident();
    let mut bench = None;
    let info = allocation_counter::measure(|| bench = Some(Bench::<E>::new(connections, 0)));
    let bench = bench.expect("a bench was made");
    let script = bench.own_bytes();
    let each = |bytes: u64| bytes.saturating_sub(script) as f64 / f64::from(connections);
    let empty = allocation_counter::measure(|| drop(Bench::<E>::new(1, 0)));
    println!("connections          {connections}");
    println!("allocated, each      {:.1}", each(info.bytes_current.unsigned_abs()));
    println!("resident, each       {:.1}", each((resident() - before) as u64));
    println!("most allocated, each {:.1}", each(info.bytes_max));
    println!("a stack with one     {} in all", empty.bytes_max);
}

/// Bytes of memory that the process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
