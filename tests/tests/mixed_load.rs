//! Everything at once, for a while: a server whose workers are replaced, redis, datagrams, clients that come and go, some
//! without a word, and connections on which nothing happens. What was used for it is given back when it is over.
//!
//! `cargo xtask soak --minutes 10` lets it go on for longer (RINGROAD_SOAK_SECONDS).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lab::{Lab, Namespace, SERVER, Signal, Site, dumps, eventually};
use ringroad_tests::replacing::{all_frames_are_accounted_for, replaced, request};
use ringroad_tests::{bounded, on_road};
use serde_json::Value;

const SECONDS: u64 = 12;
const WORKERS: usize = 4;
const IDLE: usize = 64;
/// What a client that goes away in the middle had asked for.
const BIG: usize = 1 << 20;
/// Clients wait so long from one thing to the next: the ports of one host, and the patience of its neighbours, have an end.
const PAUSE: Duration = Duration::from_millis(3);
/// Memory that allocators and the kernel's page tables may keep: of all processes together, and of the keeper alone, in KiB.
const KEPT: u64 = 8 * 1024;
const KEEPERS: u64 = 4 * 1024;
/// What the keeper's tables take besides, for each connection more that was in TIME-WAIT at a time, in octets: they have grown
/// by doubling, and stay.
const TIME_WAIT: u64 = 512;

/// Processes at a time, before anything is counted.
const CROWD: usize = 40;
/// Descriptors that a process opens when it first needs them, and keeps: to ask the kernel for a neighbour, once a family.
const LATER: usize = 2;

/// What is bounded and lasts: TIME-WAIT for a minute, and the verdicts about datagrams until their places are wanted.
const LASTING: [&str; 2] = [IN_TIME_WAIT, "flows of datagrams"];
const IN_TIME_WAIT: &str = "connections in TIME-WAIT";
/// From one look to the next: those who tell are not to be kept busy by it.
const LOOK: Duration = Duration::from_secs(1);

/// The load by which all has been used once: one in so many seconds of all, and of a long one as long as TIME-WAIT lasts.
const FIRST: u64 = 8;
const FIRST_LEAST: u64 = 2;
const FIRST_MOST: u64 = 75;

/// A server of datagrams and one that passes each connection to a second process.
const OTHERS: &str = "
import os, socket, threading
ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if os.fork() == 0:
    ours.close()
    while True:
        _, fds, _, _ = socket.recv_fds(its, 8, 1)
        if not fds: os._exit(0)
        peer = socket.socket(fileno=fds[0])
        while data := peer.recv(65536): peer.sendall(data)
        peer.close()
def echo():
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(('0.0.0.0', 7))
    while True:
        data, peer = datagrams.recvfrom(2000)
        datagrams.sendto(data, peer)
threading.Thread(target=echo, daemon=True).start()
listener = socket.create_server(('0.0.0.0', 81), backlog=64)
while True:
    peer, _ = listener.accept()
    socket.send_fds(ours, [b'x'], [peer.fileno()])
    peer.close()
";

fn seconds() -> u64 {
    std::env::var("RINGROAD_SOAK_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SECONDS)
}

fn connected(port: u16) -> io::Result<TcpStream> {
    Ok(bounded(TcpStream::connect((SERVER, port))?))
}

/// A value is written and read, on a connection of its own.
fn redis() -> io::Result<()> {
    let mut stream = connected(6379)?;
    for n in 0..8 {
        tell(&mut stream, &format!("SET key{n} {:0>1$}\r\nGET key{n}\r\n", n, 700), 5 + 6 + 702)?;
    }
    Ok(())
}

/// Says something and hears so many octets.
fn tell(stream: &mut TcpStream, text: &str, octets: usize) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.read_exact(&mut vec![0; octets])
}

/// Asks for much, reads a little, and is gone: the kernel resets what was not read.
fn aborted() -> io::Result<()> {
    let mut stream = connected(80)?;
    stream.write_all(b"GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n")?;
    stream.read_exact(&mut [0; 1000])
}

/// Comes, and goes without a word.
fn silent() -> io::Result<()> {
    connected(80).map(|_| ())
}

fn datagrams() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    for n in 0..8u8 {
        socket.send_to(&[n; 600], (SERVER, 7))?;
        let (len, _) = socket.recv_from(&mut [0; 1000])?;
        assert_eq!(len, 600);
    }
    Ok(())
}

/// Over a connection that goes to another process.
fn passed() -> io::Result<()> {
    tell(&mut connected(81)?, "over there and back", 19)
}

/// Over a connection that has a process of its own.
fn forked() -> io::Result<()> {
    tell(&mut connected(82)?, "over there and back", 19)
}

/// A server is killed (kill -9) while it has a connection.
fn killed(server: &Namespace, client: &Namespace) {
    let mut program = on_road(server, &["--strict"], &["socat", "TCP4-LISTEN:83,reuseaddr", "PIPE"], 83);
    let mut stream = client.enter(|| connected(83)).expect("a connection");
    tell(&mut stream, "killed next", 11).expect("an answer before that");
    program.kill();
    let told = stream.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(told, Err(io::ErrorKind::ConnectionReset), "its peer is told");
}

type Errand = (&'static str, fn() -> io::Result<()>);

const ERRANDS: &[Errand] = &[
    ("requests", request),
    ("requests", request),
    ("redis", redis),
    ("aborted", aborted),
    ("silent", silent),
    ("datagrams", datagrams),
    ("passed", passed),
    ("forked", forked),
];

/// Clients, until `over`: what failed, and what did not.
fn clients(client: &Namespace, over: &AtomicBool, done: &AtomicU64) -> Vec<String> {
    std::thread::scope(|scope| {
        let each = |(name, errand): &Errand| {
            let mut failed = Vec::new();
            while !over.load(Ordering::Relaxed) {
                match errand() {
                    Ok(()) => _ = done.fetch_add(1, Ordering::Relaxed),
                    Err(error) => failed.push(format!("{name}: {error}")),
                }
                std::thread::park_timeout(PAUSE);
            }
            failed
        };
        let all: Vec<_> = ERRANDS.iter().map(|one| scope.spawn(move || client.enter(|| each(one)))).collect();
        all.into_iter().flat_map(|one| one.join().expect("a client")).collect()
    })
}

/// What a host's processes have, those together that are on the road and the keeper.
#[derive(Debug, PartialEq, Eq)]
struct Used {
    processes: usize,
    descriptors: usize,
    keepers_descriptors: usize,
    /// What stacks hold in frames, and their tables.
    held: u64,
    tables: BTreeMap<String, u64>,
}

impl Used {
    /// What a process may have opened since, and keeps: what it has asked the kernel by, and the bells of others that live.
    fn later(&self) -> usize {
        LATER + self.processes
    }

    /// Whether it is no more than before.
    fn is_within(&self, before: &Self) -> bool {
        let table = |name: &String| before.tables.get(name).copied().unwrap_or(0);
        self.processes <= before.processes
            && self.descriptors <= before.descriptors + self.later() * self.processes
            && self.keepers_descriptors <= before.keepers_descriptors + self.later()
            && self.held <= before.held
            && self.tables.iter().all(|(name, n)| *n <= table(name))
    }
}

/// The processes of a host, but for those that the test itself has just begun there.
fn processes(host: &Namespace) -> Vec<u32> {
    let pids = host.must(&["ip", "netns", "pids", host.name()]);
    let pids = pids.lines().filter_map(|pid| pid.parse().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| !exe.ends_with("ip")))
        .collect()
}

/// The keeper among a host's processes.
fn is_keeper(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("ringroad"))
}

fn used(host: &Namespace) -> Used {
    let descriptors = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let pids = processes(host);
    let mut used = Used {
        processes: pids.len(),
        descriptors: pids.iter().map(descriptors).sum(),
        keepers_descriptors: pids.iter().filter(|pid| is_keeper(**pid)).map(descriptors).sum(),
        held: 0,
        tables: BTreeMap::new(),
    };
    for dump in dumps(host) {
        used.held +=
            ["held", "held and being sent"].map(|who| number(&dump["frames"][who])).iter().sum::<u64>();
        for (table, n) in dump["tables"].as_object().expect("tables") {
            if !LASTING.contains(&table.as_str()) {
                *used.tables.entry(table.clone()).or_default() += number(n);
            }
        }
    }
    used
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// Connections of a host's stacks that are in TIME-WAIT.
fn in_time_wait(host: &Namespace) -> u64 {
    dumps(host).iter().map(|dump| number(&dump["tables"][IN_TIME_WAIT])).sum()
}

/// Memory of a host's processes that is no file's, in KiB: frames, which are used bit by bit, are counted otherwise.
fn memory(host: &Namespace) -> u64 {
    let of = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("Pss_Anon:").map(kib)).unwrap_or(0)
    };
    processes(host).into_iter().map(of).sum()
}

/// What the keeper has allocated, in KiB, but for its largest tables: they have a place for every frame, and of their pages more
/// are used the more frames come by.
fn keepers_memory(host: &Namespace) -> u64 {
    /// An arena of glibc's begins at a multiple of this.
    const ARENA: u64 = 64 << 20;
    let of = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
        let (mut is_heap, mut sum) = (false, 0);
        for line in text.lines() {
            let first = line.split_ascii_whitespace().next().unwrap_or_default();
            if let Some((start, _)) = first.split_once('-') {
                let in_arena = |start: u64| start.is_multiple_of(ARENA);
                is_heap = line.ends_with("[heap]") || u64::from_str_radix(start, 16).is_ok_and(in_arena);
            } else if let Some(n) = line.strip_prefix("Anonymous:").filter(|_| is_heap) {
                sum += kib(n);
            }
        }
        sum
    };
    processes(host).into_iter().filter(|pid| is_keeper(*pid)).map(of).sum()
}

/// A number as proc_pid_smaps(5) has it.
fn kib(text: &str) -> u64 {
    text.trim().trim_end_matches(" kB").parse().expect("so many kB")
}

/// What all have, and the keeper.
fn memories(host: &Namespace) -> [u64; 2] {
    [memory(host), keepers_memory(host)]
}

/// The load for so long, with the workers replaced all the while.
fn under_load(client: &Namespace, time: Duration, mut replace: impl FnMut()) {
    let (over, done, mut times) = (AtomicBool::new(false), AtomicU64::new(0), 0);
    let failed = std::thread::scope(|scope| {
        let all = scope.spawn(|| clients(client, &over, &done));
        let until = Instant::now() + time;
        let replaced = panic::catch_unwind(AssertUnwindSafe(|| {
            while Instant::now() < until {
                let before = done.load(Ordering::Relaxed);
                replace();
                times += 1;
                eventually("something is done", 20, || done.load(Ordering::Relaxed) > before + 100);
            }
        }));
        over.store(true, Ordering::Relaxed);
        let failed = all.join().expect("the clients");
        replaced.unwrap_or_else(|why| panic::resume_unwind(why));
        failed
    });
    let done = done.into_inner();
    println!("{done} errands, {times} times other workers, {} failures {failed:?}", failed.len());
    assert!(failed.is_empty(), "{} of {done}: {:?}", failed.len(), &failed[..failed.len().min(9)]);
}

/// More processes at a time than the load has: the keeper has the sockets of as many places from then on, and keeps them.
fn crowd() -> io::Result<()> {
    let mut all = (0..CROWD).map(|_| connected(82)).collect::<io::Result<Vec<_>>>()?;
    all.iter_mut().try_for_each(|stream| tell(stream, "x", 1))
}

#[test]
fn all_that_is_used_under_a_mixed_load_is_given_back() {
    let lab = Lab::new("mixed");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, &[("big.bin", BIG)], WORKERS);
    let nginx = on_road(&server, &["--strict"], &site.nginx(), 80);
    let folder = lab.folder().to_string_lossy().into_owned();
    let redis = ["redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", &folder];
    let _redis = on_road(&server, &["--strict"], &redis, 6379);
    let _others = on_road(&server, &["--strict"], &["python3", "-c", OTHERS], 81);
    let forks = ["socat", "-b4096", "TCP4-LISTEN:82,fork,reuseaddr,backlog=64", "PIPE"];
    let _forks = on_road(&server, &["--strict"], &forks, 82);
    let mut workers = replaced(&server, WORKERS, || nginx.children(), &[]);
    let mut replace = || {
        nginx.signal(Signal::Hup);
        workers = replaced(&server, WORKERS, || nginx.children(), &workers);
        eventually("the old workers are gone", 30, || nginx.children().len() == WORKERS);
        killed(&server, &client);
    };
    let mut idle: Vec<TcpStream> = client
        .enter(|| (0..IDLE).map(|_| connected(6379)).collect::<io::Result<_>>())
        .expect("connections that stay");
    let mut ask_idle = || {
        for stream in &mut idle {
            tell(stream, "PING\r\n", "+PONG\r\n".len()).expect("an answer on a connection that was quiet");
        }
    };
    client.enter(crowd).expect("a process for each");
    let first = (seconds() / FIRST).clamp(FIRST_LEAST, FIRST_MOST);
    under_load(&client, Duration::from_secs(first), &mut replace);
    let time_waits_before = in_time_wait(&server);
    ask_idle();
    eventually("it is at rest", 30, || used(&server).held == 0 && all_frames_are_accounted_for(&server));
    let (before, memory_before) = (used(&server), memories(&server));
    under_load(&client, Duration::from_secs(seconds()), &mut replace);
    let time_waits = in_time_wait(&server);
    ask_idle();
    println!("before: {before:?}, {memory_before:?} KiB");
    let mut after = None;
    eventually("all is given back", 60, || {
        let now = used(&server);
        let back = now.is_within(&before) && all_frames_are_accounted_for(&server);
        if !back && after.as_ref() != Some(&now) {
            println!("not yet: {now:?}");
            after = Some(now);
        }
        if !back {
            std::thread::park_timeout(LOOK);
        }
        back
    });
    let [all, keepers] = memories(&server);
    println!("after: [{all}, {keepers}] KiB, {time_waits} connections were in TIME-WAIT");
    let may = KEEPERS + time_waits.saturating_sub(time_waits_before) * TIME_WAIT / 1024;
    assert!(keepers < memory_before[1] + may, "the keeper's {keepers} KiB were {}", memory_before[1]);
    assert!(all < memory_before[0] + KEPT + may, "{all} KiB were {}", memory_before[0]);
}
