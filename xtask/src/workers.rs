//! `cargo xtask bench --workers`: what it costs that several processes may drive the interfaces, when one does; what a second
//! worker brings; and what open connections cost on which nothing happens.

use lab::{Lab, Running, SERVER, Site, eventually};

use crate::measure::{FILES, Load, Served, Side, cpu_seconds, pair_row, site};

/// Pairs of runs; the sides take turns, and the median counts.
const PAIRS: usize = 7;
const SECONDS: u32 = 2;
const PORT: u16 = 80;
const REDIS: u16 = 6379;
/// Connections that are open, those of them that are asked on, and requests of a run.
const OPEN: usize = 10_000;
const ACTIVE: &str = "100";
const REQUESTS: u32 = 100_000;
/// Any core.
const ANYWHERE: &[&str] = &["taskset", "-c", "0,1"];

/// Opens so many connections, and keeps them.
const IDLE: &str = "
import resource, signal, socket, sys
count = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
all = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(count)]
print('open', flush=True)
signal.pause()
";

/// All of it.
pub(crate) fn run() {
    shared();
    println!();
    second();
    println!();
    idle();
}

fn heading(name: &str, sides: [&str; 2]) {
    println!("{name:38} {:>12} {:>12} {:>7}   of pairs", sides[0], sides[1], "ratio");
}

/// One worker on a port that sixteen processes may drive, and on one that is its alone.
fn shared() {
    let lab = Lab::new("shared");
    let site = site(&lab);
    let sides = [Side::road(), Side::road()];
    let alone = ["env", "RINGROAD_PROCESSES=1", "taskset", "-c", "0"];
    let servers =
        [sides[0].serve(&[], &site.nginx(), PORT), sides[1].serve_by(&alone, &[], &site.nginx(), PORT)];
    heading("nginx, 612 B, one worker", ["of 16", "alone"]);
    for (name, close) in [("keep-alive, 32", false), ("Connection: close, 32", true)] {
        pairs(name, &sides, &servers, &Load { file: "612B", connections: 32, close });
    }
}

/// Two workers and one, with both cores for them and their client.
fn second() {
    let labs = [Lab::new("two"), Lab::new("one")];
    let sites = [(&labs[0], 2), (&labs[1], 1)].map(|(lab, n)| Site::with_workers(lab, PORT, FILES, n));
    for way in [Side::road, Side::kernel] {
        let sides = [way(), way()];
        let serve = |at: usize| sides[at].serve_by(ANYWHERE, &[], &sites[at].nginx(), PORT);
        let servers = [serve(0), serve(1)];
        heading(&format!("nginx, 612 B, {}", sides[0].name), ["2 workers", "1 worker"]);
        for (name, close) in [("keep-alive, 64", false), ("Connection: close, 64", true)] {
            pairs(name, &sides, &servers, &Load { file: "612B", connections: 64, close });
        }
    }
}

fn pairs(name: &str, sides: &[Side; 2], servers: &[Running; 2], load: &Load) {
    let run = |at: usize| Served::by(&sides[at], &servers[at], load, SECONDS);
    let pairs: Vec<[Served; 2]> = (0..PAIRS).map(|_| [0, 1].map(run)).collect();
    pair_row(&format!("{name}, requests/s"), &pairs, |served| served.rate);
    pair_row(&format!("{name}, processor, µs"), &pairs, |served| served.processor);
}

/// A hundred connections that are used, among ten thousand that are open and among none.
fn idle() {
    let redis =
        ["redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--maxclients", "12000"];
    for way in [Side::road, Side::kernel] {
        let sides = [way(), way()];
        let servers = [0, 1].map(|at: usize| {
            let files = ["prlimit", "--nofile=20000", "taskset", "-c", "0"];
            sides[at].serve_by(&files, &[], &redis, REDIS)
        });
        let (port, count) = (REDIS.to_string(), OPEN.to_string());
        let open = sides[0].client.spawn(&["python3", "-c", IDLE, SERVER, &port, &count]);
        eventually("all are open", 60, || open.said().contains("open"));
        heading(&format!("redis GET, {}, {ACTIVE} active", sides[0].name), ["10,000 open", "100 open"]);
        let pairs: Vec<[Served; 2]> =
            (0..PAIRS).map(|_| [0, 1].map(|at| asked(&sides[at], &servers[at]))).collect();
        pair_row("requests/s", &pairs, |served| served.rate);
        pair_row("processor, µs", &pairs, |served| served.processor);
    }
}

fn asked(side: &Side, server: &Running) -> Served {
    let requests = REQUESTS.to_string();
    let words = ["redis-benchmark", "-h", SERVER, "-t", "get", "-c", ACTIVE, "-n", &requests, "--csv"];
    let before = cpu_seconds(server);
    let rate = crate::bench::rate(&side.ask(&words));
    Served { rate, processor: (cpu_seconds(server) - before) * 1e6 / f64::from(REQUESTS) }
}
