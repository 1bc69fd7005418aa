//! A server whose processes are replaced under load: nobody who wants something of it notices.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lab::{Lab, Namespace, SERVER, Signal, Site, eventually, eventually_some, stacks};
use ringroad_tests::{on_road, ringroad};

const WORKERS: usize = 2;
const CLIENTS: usize = 8;
const SIZE: usize = 1 << 20;
/// Replacements; RINGROAD_ROUNDS=30 makes it two minutes.
const ROUNDS: usize = 3;
/// Connections that begin while the workers do not look.
const LATE: usize = 32;
/// Requests between two replacements.
const REQUESTS: usize = 200;

fn rounds() -> usize {
    std::env::var("RINGROAD_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

fn open(path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((SERVER, 80))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

/// One request on a connection of its own.
fn request() -> io::Result<()> {
    let mut answer = String::new();
    open("/pid")?.read_to_string(&mut answer)?;
    let whole = answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\n\r\n");
    if whole { Ok(()) } else { Err(io::Error::other(format!("an answer of {} bytes", answer.len()))) }
}

/// Tells the clients to stop, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections of the client that wait for their handshake.
fn beginning(client: &Namespace) -> usize {
    const SYN_SENT: &str = " 02 ";
    client
        .enter(|| std::fs::read_to_string("/proc/thread-self/net/tcp").expect("the connections"))
        .lines()
        .filter(|line| line.contains(SYN_SENT))
        .count()
}

/// Sends each of the processes a signal.
fn each(server: &Namespace, signal: &str, pids: &[u32]) {
    for pid in pids {
        server.must(&["kill", signal, &pid.to_string()]);
    }
}

/// Waits until new workers, each with a stack, have taken the place of `old`.
fn replaced(server: &Namespace, workers: impl Fn() -> Vec<u32>, old: &[u32]) -> Vec<u32> {
    let mut new = Vec::new();
    eventually("new workers, each with a stack", 20, || {
        new = workers().into_iter().filter(|pid| !old.contains(pid)).collect();
        let has_stack = |pid: &u32| stacks(server).iter().any(|s| s["pid"].as_u64() == Some(u64::from(*pid)));
        new.len() == WORKERS && new.iter().all(has_stack)
    });
    new
}

/// How many requests were answered, and how many there may be so far: the ports of one client do not last long.
#[derive(Default)]
struct Load {
    served: AtomicUsize,
    allowed: AtomicUsize,
}

/// Clients that ask, one request after the other, while `what` happens; what failed.
fn under_load(client: &Namespace, load: &Load, what: impl FnOnce()) -> Vec<String> {
    let stop = AtomicBool::new(false);
    let ask = || {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if load.served.load(Ordering::Relaxed) >= load.allowed.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(1));
                continue;
            }
            match request() {
                Ok(()) => _ = load.served.fetch_add(1, Ordering::Relaxed),
                Err(error) => failures.push(error.to_string()),
            }
        }
        failures
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client.enter(ask))).collect();
        let at_the_end = Stop(&stop);
        what();
        drop(at_the_end);
        clients.into_iter().flat_map(|c| c.join().expect("a client")).collect()
    })
}

/// There may be more requests than there were.
fn allow_more(load: &Load) {
    load.allowed.store(load.served.load(Ordering::Relaxed) + 5 * REQUESTS, Ordering::Relaxed);
}

fn some_are_served(load: &Load) {
    allow_more(load);
    let before = load.served.load(Ordering::Relaxed);
    eventually("requests are served", 20, || load.served.load(Ordering::Relaxed) >= before + REQUESTS);
}

fn none_failed(load: &Load, failures: &[String]) {
    let served = load.served.load(Ordering::Relaxed);
    println!("{served} requests, {} failures", failures.len());
    assert!(failures.is_empty(), "{} of {served}: {:?}", failures.len(), &failures[..failures.len().min(9)]);
}

#[test]
fn no_request_fails_while_workers_are_replaced() {
    let lab = Lab::new("reload");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, &[("big.bin", SIZE)], WORKERS);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let load = Load::default();
    let mut workers = replaced(&server, || nginx.children(), &[]);
    let failures = under_load(&client, &load, || {
        for _ in 0..rounds() {
            // What is under way goes on with the worker that leaves.
            let mut half = client.enter(|| open("/big.bin")).expect("a connection");
            let mut body = vec![0; SIZE / 2];
            half.read_exact(&mut body).expect("the first half");
            allow_more(&load);
            nginx.signal(Signal::Hup);
            workers = replaced(&server, || nginx.children(), &workers);
            some_are_served(&load);
            half.read_to_end(&mut body).expect("the second half");
            assert!(body.len() > SIZE, "{} bytes with their header", body.len());
            eventually("the old workers are gone", 20, || nginx.children().len() == WORKERS);
        }
    });
    none_failed(&load, &failures);
}

/// Whoever comes while the workers are held up is in their queues when they close.
#[test]
fn what_waits_in_a_worker_that_leaves_is_served_by_the_others() {
    let lab = Lab::new("leavers");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, &[], WORKERS);
    let nginx = on_road(&server, &[], &site.nginx(), 80);
    let mut workers = replaced(&server, || nginx.children(), &[]);
    for _ in 0..rounds() {
        each(&server, "-STOP", &workers);
        std::thread::scope(|scope| {
            let late: Vec<_> = (0..LATE).map(|_| scope.spawn(|| client.enter(request))).collect();
            eventually("they have begun", 20, || beginning(&client) >= LATE);
            nginx.signal(Signal::Hup);
            eventually("the new workers", 20, || nginx.children().len() == 2 * WORKERS);
            each(&server, "-CONT", &workers);
            for one in late {
                one.join().expect("a client").expect("an answer for who came late");
            }
        });
        workers = replaced(&server, || nginx.children(), &workers);
        eventually("the old workers are gone", 20, || nginx.children().len() == WORKERS);
    }
}

/// A new master is executed by the old one, with its listeners and an environment of nginx's own making. (It does so
/// only where whoever started it has ended.)
#[test]
fn a_new_binary_takes_over_the_road() {
    let lab = Lab::new("upgrade");
    let (server, client) = lab.pair();
    let site = Site::with_workers(&lab, 80, &[], WORKERS);
    let pid_file = site.path("../nginx.pid");
    let command = site.nginx().join(" ").replacen("nginx", "/usr/sbin/nginx", 1);
    let go = lab.folder().join("go");
    let script = format!("{command} & while [ ! -e {} ]; do sleep 0.1; done", go.display());
    let mut shell = server.spawn(&ringroad(&[], &["sh", "-c", &script]));
    let master = || std::fs::read_to_string(&pid_file).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
    let old_master = eventually_some("the master", 20, master);
    replaced(&server, || children(old_master), &[]);
    std::fs::write(&go, "").expect("a file");
    assert_eq!(shell.ended(20), 0);
    let load = Load::default();
    let failures = under_load(&client, &load, || {
        allow_more(&load);
        each(&server, "-USR2", &[old_master]);
        let another = || master().filter(|pid| *pid != old_master);
        let new_master = eventually_some("the new master", 20, another);
        replaced(&server, || children(new_master), &[]);
        some_are_served(&load);
        allow_more(&load);
        each(&server, "-QUIT", &[old_master]);
        // A zombie, where nobody waits for it, has no command any more.
        let command = || std::fs::read(format!("/proc/{old_master}/cmdline")).unwrap_or_default();
        eventually("the end of the old master", 20, || command().is_empty());
        some_are_served(&load);
    });
    none_failed(&load, &failures);
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
