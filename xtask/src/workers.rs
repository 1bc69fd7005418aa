//! `cargo xtask bench --workers`: what it costs that several processes may drive the interfaces, when one does; what a second
//! worker brings; and what open connections cost on which nothing happens. In times, and in instructions, which tell a few in a
//! hundred where times do not.

use lab::{Lab, Running, SERVER, Site, eventually};

use crate::counted::{self, Counted, Instructions};
use crate::measure::{FILES, Load, Served, Side, cpu_seconds, pair_row, site};

/// Pairs of runs; the sides take turns, and the median counts.
const PAIRS: usize = 5;
const SECONDS: u32 = 2;
const PORT: u16 = 80;
const REDIS: u16 = 6379;
/// Connections that are open, those of them that are asked on, and requests of a run.
const OPEN: usize = 10_000;
const ACTIVE: &str = "100";
const REQUESTS: u32 = 100_000;
/// Requests that are counted, over connections that stay, and with a connection for each; and how often. The lowest counts:
/// on a busy machine fewer come at a time, and a turn for fewer requests is more instructions for each.
const COUNTED: u32 = 2_000;
const COUNTED_CLOSED: u32 = 500;
const COUNTS: usize = 3;
/// Any core, and the server's.
const ANYWHERE: &[&str] = &["taskset", "-c", "0,1"];
const SERVERS: &[&str] = &["taskset", "-c", "0"];
/// A port for one process.
const ALONE: &[&str] = &["env", "RINGROAD_PROCESSES=1", "taskset", "-c", "0"];
/// For as many descriptors as there are connections.
const MANY: &[&str] = &["prlimit", "--nofile=20000", "taskset", "-c", "0"];
const REDIS_SERVER: &[&str] =
    &["redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--maxclients", "12000"];

/// Opens so many connections, each of which is answered on once, and keeps them.
const IDLE: &str = "
import resource, signal, socket, sys
count = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
def opened():
    one = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    one.sendall(b'PING\\r\\n')
    assert one.recv(64)
    return one
all = [opened() for _ in range(count)]
print('open', flush=True)
signal.pause()
";
/// How long that may take, in seconds.
const OPENING: u64 = 120;

/// All of it.
pub(crate) fn run() {
    shared();
    println!();
    second();
    println!();
    idle();
    println!();
    match counted::can() {
        true => instructions(),
        false => println!("valgrind, which counts instructions, is not installed"),
    }
}

fn heading(name: &str, sides: [&str; 2]) {
    println!("{name:38} {:>12} {:>12} {:>7}   of pairs", sides[0], sides[1], "ratio");
}

fn counts_heading(name: &str, sides: [&str; 2]) {
    println!("{name:38} {:>12} {:>12} {:>7}   the lowest of {COUNTS}", sides[0], sides[1], "ratio");
}

/// One worker on a port that sixteen processes may drive, and on one that is its alone.
fn shared() {
    let lab = Lab::new("shared");
    let site = site(&lab);
    let sides = [Side::road(), Side::road()];
    let servers =
        [sides[0].serve(&[], &site.nginx(), PORT), sides[1].serve_by(ALONE, &[], &site.nginx(), PORT)];
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
    for way in [Side::road, Side::kernel] {
        let sides = [way(), way()];
        let servers = [0, 1].map(|at: usize| sides[at].serve_by(MANY, &[], REDIS_SERVER, REDIS));
        let _open = open(&sides[0]);
        heading(&format!("redis GET, {}, {ACTIVE} active", sides[0].name), ["10,000 open", "100 open"]);
        let pairs: Vec<[Served; 2]> =
            (0..PAIRS).map(|_| [0, 1].map(|at| asked(&sides[at], &servers[at]))).collect();
        pair_row("requests/s", &pairs, |served| served.rate);
        pair_row("processor, µs", &pairs, |served| served.processor);
    }
}

/// Opens connections on which nothing happens.
fn open(side: &Side) -> Running {
    let (port, count) = (REDIS.to_string(), OPEN.to_string());
    let open = side.client.spawn(&["python3", "-c", IDLE, SERVER, &port, &count]);
    eventually("all are open", OPENING, || open.said().contains("open"));
    open
}

/// Asks so often, over connections of which so many are open at a time; what redis-benchmark says.
fn ask(side: &Side, connections: &str, requests: u32, more: &[&str]) -> String {
    let requests = requests.to_string();
    let words = ["redis-benchmark", "-h", SERVER, "-t", "get", "-c", connections, "-n", &requests, "--csv"];
    side.ask(&[&words[..], more].concat())
}

fn asked(side: &Side, server: &Running) -> Served {
    let before = cpu_seconds(server);
    let rate = crate::bench::rate(&ask(side, ACTIVE, REQUESTS, &[]));
    Served { rate, processor: (cpu_seconds(server) - before) * 1e6 / f64::from(REQUESTS) }
}

/// What a request takes, in instructions.
fn instructions() {
    let sides = [Side::road(), Side::road()];
    let mut servers =
        [(0, SERVERS), (1, ALONE)].map(|(at, by)| Counted::start(&sides[at], by, REDIS_SERVER, REDIS));
    counts_heading("redis GET, instructions", ["of 16", "alone"]);
    for connections in ["1", "32"] {
        let name = format!("keep-alive, {connections}");
        count(&name, &sides, &mut servers, (connections, COUNTED), &[]);
        let name = format!("a connection each, {connections}");
        count(&name, &sides, &mut servers, (connections, COUNTED_CLOSED), &["-k", "0"]);
    }
    drop(servers);
    let sides = [Side::road(), Side::road()];
    let mut servers = [0, 1].map(|at: usize| Counted::start(&sides[at], MANY, REDIS_SERVER, REDIS));
    let _open = open(&sides[0]);
    counts_heading(&format!("redis GET, {ACTIVE} active, instructions"), ["10,000 open", "100 open"]);
    count("keep-alive", &sides, &mut servers, (ACTIVE, COUNTED), &[]);
}

/// Of each side's server, what so many requests over so many connections take.
fn count(
    name: &str,
    sides: &[Side; 2],
    servers: &mut [Counted; 2],
    (connections, requests): (&str, u32),
    more: &[&str],
) {
    let mut of = |at: usize| servers[at].of(&sides[at], || _ = ask(&sides[at], connections, requests, more));
    // What is done once is done before.
    (0..2).for_each(|at| _ = of(at));
    let counts: Vec<[Instructions; 2]> = (0..COUNTS).map(|_| [0, 1].map(&mut of)).collect();
    let least = |what: fn(&Instructions) -> u64| {
        [0, 1].map(|at| counts.iter().map(|both| what(&both[at])).min().unwrap_or_default())
    };
    count_row(&format!("{name}, Ringroad's"), least(|one| one.ours), requests);
    count_row(&format!("{name}, with the server's"), least(|one| one.all), requests);
}

fn count_row(name: &str, both: [u64; 2], requests: u32) {
    let [one, other] = both.map(|n| n as f64 / f64::from(requests));
    println!("{name:38} {one:12.0} {other:12.0} {:6.3}x", one / other);
}
