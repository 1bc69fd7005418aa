//! What the tests share that replace or kill a server's processes under load.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lab::{Namespace, SERVER, dumps, eventually, stacks};
use serde_json::Value;

/// Clients of a [`Load`]: so many requests can be under way at a time.
pub const CLIENTS: usize = 8;
/// Requests that a server has to answer to be believed.
const REQUESTS: usize = 200;

/// A connection to the server with a request sent.
///
/// # Errors
/// As connecting and writing.
pub fn open(path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((SERVER, 80))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    Ok(stream)
}

/// One request on a connection of its own.
///
/// # Errors
/// As connecting, writing and reading; `UnexpectedEof`: the answer is not whole.
pub fn request() -> io::Result<()> {
    let mut answer = String::new();
    open("/pid")?.read_to_string(&mut answer)?;
    let whole = answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\n\r\n");
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("an answer of {} bytes", answer.len()));
    if whole { Ok(()) } else { Err(cut()) }
}

/// Tells the clients to stop, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends each of the processes a signal, as `kill` calls it.
///
/// # Panics
/// When there is no such process.
pub fn signal(server: &Namespace, signal: &str, pids: &[u32]) {
    for pid in pids {
        server.must(&["kill", signal, &pid.to_string()]);
    }
}

/// Waits until so many new workers, each with a stack, have taken the place of `old`.
///
/// # Panics
/// When they have not within 20 seconds.
pub fn replaced(server: &Namespace, count: usize, workers: impl Fn() -> Vec<u32>, old: &[u32]) -> Vec<u32> {
    let mut new = Vec::new();
    eventually("new workers, each with a stack", 20, || {
        new = workers().into_iter().filter(|pid| !old.contains(pid)).collect();
        let has_stack = |pid: &u32| stacks(server).iter().any(|s| s["pid"].as_u64() == Some(u64::from(*pid)));
        new.len() == count && new.iter().all(has_stack)
    });
    new
}

/// How many requests were answered, and how many there may be so far: the ports of one client do not last long.
#[derive(Default)]
pub struct Load {
    served: AtomicUsize,
    allowed: AtomicUsize,
}

impl Load {
    /// Requests that were answered.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Clients that ask, one request after the other, while `what` happens; what failed.
    ///
    /// # Panics
    /// As `what` does.
    pub fn during(&self, client: &Namespace, what: impl FnOnce()) -> Vec<io::Error> {
        let stop = AtomicBool::new(false);
        let ask = || {
            let mut failures = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                if self.served() >= self.allowed.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(1));
                    continue;
                }
                match request() {
                    Ok(()) => _ = self.served.fetch_add(1, Ordering::Relaxed),
                    Err(error) => failures.push(error),
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
    pub fn allow_more(&self) {
        self.allowed.store(self.served() + 5 * REQUESTS, Ordering::Relaxed);
    }

    /// Waits until requests are served.
    ///
    /// # Panics
    /// When they are not within 20 seconds.
    pub fn is_served(&self) {
        self.allow_more();
        let before = self.served();
        eventually("requests are served", 20, || self.served() >= before + REQUESTS);
    }
}

/// Open descriptors of a process.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process that lives").count()
}

/// Whether every frame of a host's port is where it should be at rest: what stacks have is with stacks that live, a keeper
/// among them.
///
/// # Panics
/// When there is no stack.
#[must_use]
pub fn all_frames_are_accounted_for(server: &Namespace) -> bool {
    let dumps = dumps(server);
    let held = |dump: &Value| -> u64 {
        let frames = dump["frames"].as_object().expect("frames").iter();
        frames.filter(|(who, _)| *who != "elsewhere").filter_map(|(_, n)| n.as_u64()).sum()
    };
    let port = |who: &str| dumps[0]["port_frames"][who].as_u64().expect("a number of frames");
    port("with stacks") + port("to be sent") == dumps.iter().map(held).sum::<u64>()
}
