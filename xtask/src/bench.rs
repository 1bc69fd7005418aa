//! `cargo xtask bench`: ours and the kernel's in one run, and the ratios.

use std::thread;
use std::time::{Duration, Instant};

use lab::{Lab, Running, SERVER};

use crate::measure::{Load, Side, cpu_seconds, median, ratio, site};
use crate::run;

/// Rounds of every measurement; the sides take turns in each, and the median counts.
const ROUNDS: usize = 3;
const SECONDS: u32 = 3;
const IDLE: Duration = Duration::from_secs(5);

const fn keep_alive(file: &'static str, connections: u32) -> Load {
    Load { file, connections, close: false }
}

const WEB: &[(&str, Load)] = &[
    ("612 B, keep-alive, 1 connection", keep_alive("612B", 1)),
    ("612 B, keep-alive, 32", keep_alive("612B", 32)),
    ("612 B, keep-alive, 128", keep_alive("612B", 128)),
    ("612 B, Connection: close, 32", Load { file: "612B", connections: 32, close: true }),
    ("16 KiB, keep-alive, 32", keep_alive("16KiB", 32)),
    ("1 MiB, keep-alive, 8", BULK),
];

/// What is mostly copied.
const BULK: Load = keep_alive("1MiB", 8);

/// The benches of the parts, by name.
const PARTS: &[&str] = &["demux", "path", "gate", "wheel", "cubic"];

const REDIS: &[(&str, &str, &str)] = &[
    ("GET, 1 connection", "get", "1"),
    ("SET, 1", "set", "1"),
    ("GET, 50", "get", "50"),
    ("SET, 50", "set", "50"),
];

/// Programs against each other, the kernel's way and ours.
pub(crate) fn system() {
    let sides = [Side::road(), Side::kernel(), Side::kernel_without_segmentation()];
    println!("two cores: server on 0, client on 1; MTU 1500; median of {ROUNDS} rounds of {SECONDS} s");
    for side in &sides {
        println!("  {:10} offloads: {}", side.name, side.offloads());
    }
    println!("  congestion control: cubic on all");
    web(&sides);
    redis(&sides);
    drop(sides);
    backends();
}

/// Bulk by each backend, on cables whose ends leave segmentation to each other where they can.
fn backends() {
    let sides = [Side::road_by("packet"), Side::road_by("af-xdp"), Side::kernel()];
    let lab = Lab::new("backends");
    let site = site(&lab);
    let servers: Vec<Running> =
        sides.iter().map(|side| side.serve(&["--strict"], &site.nginx(), 80)).collect();
    heading("nginx by backend, requests/s", &sides);
    for (name, load) in WEB.iter().filter(|(_, load)| !load.close && load.file != "612B") {
        row(name, &sides, 0, |side| side.wrk(load, SECONDS));
    }
    heading("busy ms of a core, a GB of 1 MiB files", &sides);
    for (name, core) in [("the server's", 0), ("the client's", 1)] {
        row(name, &sides, 0, |side| side.cost(&BULK, core, SECONDS));
    }
    drop(servers);
    let iperf = ["iperf3", "-s", "-B", SERVER];
    let _servers: Vec<Running> = sides.iter().map(|side| side.serve(&["--strict"], &iperf, 5201)).collect();
    heading("iperf3 by backend, GB/s", &sides);
    for streams in ["1", "16"] {
        for (what, direction) in [("sends", Some("-R")), ("receives", None)] {
            let name = format!("the server {what}, streams: {streams}");
            row(&name, &sides, 2, |side| side.iperf3(streams, direction, SECONDS));
        }
    }
}

/// The criterion benches; whether they ran.
pub(crate) fn parts() -> bool {
    let parts = PARTS.iter().flat_map(|name| ["--bench", name]);
    run::cargo().args(["bench", "--package=ringroad-benches"]).args(parts).status().is_ok_and(|s| s.success())
}

/// 100 MiB each way with every peer; whether all arrived.
pub(crate) fn interop() -> bool {
    let build = run::cargo().args(["build", "--release", "--locked"]).status();
    let test = [
        "test",
        "--release",
        "--package=ringroad-tests",
        "--test=interop",
        "--test=interop_kernel",
        "--",
        "--test-threads=1",
    ];
    let mut command = run::cargo();
    command.env("INTEROP_BYTES", (100 << 20).to_string()).args(test);
    build.is_ok_and(|s| s.success()) && command.status().is_ok_and(|s| s.success())
}

/// The engine beside its peers, in one table; whether it ran.
pub(crate) fn engine(quick: bool) -> bool {
    let how = if quick { "--quick" } else { "--instructions" };
    let bench = ["bench", "--package=ringroad-benches", "--bench=engine", "--", how];
    run::cargo().args(bench).status().is_ok_and(|s| s.success())
}

fn web(sides: &[Side]) {
    let lab = Lab::new("bench");
    let site = site(&lab);
    let servers: Vec<Running> = sides.iter().map(|side| side.serve(&[], &site.nginx(), 80)).collect();
    heading("nginx, requests/s", sides);
    for (name, load) in WEB {
        row(name, sides, 0, |side| side.wrk(load, SECONDS));
    }
    println!("\n{:36} {:>12}", "idle, share of a core", "%");
    for (side, server) in sides.iter().zip(&servers) {
        let (before, begin) = (cpu_seconds(server), Instant::now());
        thread::park_timeout(IDLE);
        let share = (cpu_seconds(server) - before) / begin.elapsed().as_secs_f64();
        println!("{:36} {:12.2}", side.name, share * 100.0);
    }
}

fn redis(sides: &[Side]) {
    let program = ["redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", "/tmp"];
    let _servers: Vec<Running> = sides.iter().map(|side| side.serve(&[], &program, 6379)).collect();
    heading("redis-benchmark, requests/s", sides);
    for (name, test, connections) in REDIS {
        let requests = if *connections == "1" { "50000" } else { "200000" };
        row(name, sides, 0, |side| {
            let words =
                ["redis-benchmark", "-h", SERVER, "-t", test, "-c", connections, "-n", requests, "--csv"];
            rate(&side.ask(&words))
        });
    }
}

/// The rate in redis-benchmark's last line: `"GET","123.45",…`.
pub(crate) fn rate(csv: &str) -> f64 {
    let last = csv.lines().last().unwrap_or_default();
    last.split(',').nth(1).and_then(|cell| cell.trim_matches('"').parse().ok()).unwrap_or(0.0)
}

fn heading(title: &str, sides: &[Side]) {
    print!("\n{title:36}");
    sides.iter().for_each(|side| print!(" {:>12}", side.name));
    sides[1..].iter().for_each(|side| print!(" {:>14}", format!("/ {}", side.name)));
    println!();
}

/// Measures every side in turn, and again; prints the medians, with so many decimals, and the ratios of the first to the
/// others.
fn row(name: &str, sides: &[Side], decimals: usize, measure: impl Fn(&Side) -> f64) {
    let mut values = vec![Vec::new(); sides.len()];
    for _ in 0..ROUNDS {
        sides.iter().zip(&mut values).for_each(|(side, values)| values.push(measure(side)));
    }
    let medians: Vec<f64> = values.into_iter().map(median).collect();
    print!("{name:36}");
    medians.iter().for_each(|m| print!(" {m:12.decimals$}"));
    medians[1..].iter().for_each(|m| print!(" {:>14}", ratio(medians[0], *m)));
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_as_redis_prints_it() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"GET\",\"96153.84\",\"0.3\"\n";
        assert_eq!(rate(csv), 96153.84);
        assert_eq!(rate(""), 0.0);
    }
}
