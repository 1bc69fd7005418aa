//! What the tests that cross rooms share: programs on the road, programs on the kernel, and how to tell that
//! they are ready.
//!
//! The tests themselves are in `tests/`, one file a theme. They run as root, against the release build.

pub mod flood;
pub mod host;
pub mod interop;
pub mod matrix;
pub mod peers;
pub mod replacing;
pub mod scans;
pub mod world;

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lab::{Lab, Namespace, Running, Where, eventually, eventually_some, start};

pub use lab::{must_have_stack, ringroad, stack_of};

/// Starts a server on the road and waits until it listens there.
#[must_use]
pub fn on_road(host: &Namespace, flags: &[&str], program: &[&str], port: u16) -> Running {
    start(host, &ringroad(flags, program), port, Where::Road)
}

/// Starts a server on the kernel and waits until it listens there.
#[must_use]
pub fn on_kernel(host: &Namespace, program: &[&str], port: u16) -> Running {
    start(host, program, port, Where::Kernel)
}

/// Starts a server by its whole command line, `ringroad run` included, and waits until it listens on the road.
#[must_use]
pub fn start_on(host: &Namespace, command: &[&str], port: u16) -> Running {
    start(host, command, port, Where::Road)
}

/// The next connection of a listener of the test's, [`bounded`].
///
/// # Panics
/// When there is none within 20 seconds.
#[track_caller]
#[must_use]
pub fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("set");
    let stream = eventually_some("a connection", 20, || listener.accept().ok()).0;
    stream.set_nonblocking(false).expect("set");
    bounded(stream)
}

/// A connection of the test's that is not waited for without end.
///
/// # Panics
/// When it cannot be told so.
#[must_use]
pub fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    stream
}

/// Waits until `iperf3 -s --forceflush` listens for its client of this number: it refuses who comes before it has done with
/// the one before.
///
/// # Panics
/// When it does not within a minute.
#[track_caller]
pub fn iperf3_listens(server: &Running, client: usize) {
    eventually("iperf3 listens again", 60, || server.said().matches("Server listening").count() >= client);
}

/// A pipe with a name, for a program to wait at: its path, and where the test writes. That is open for reading, too: who
/// writes waits for no reader, and what is written stays until somebody reads it.
///
/// # Panics
/// When there cannot be one.
#[must_use]
pub fn fifo(lab: &Lab, host: &Namespace) -> (String, File) {
    let path = lab.folder().join("fifo").to_string_lossy().into_owned();
    host.must(&["mkfifo", &path]);
    let file = File::options().read(true).write(true).open(&path).expect("a pipe");
    (path, file)
}

/// The SHA-256 of a file on this machine, by `sha256sum`.
#[must_use]
pub fn sha256(host: &Namespace, path: &str) -> String {
    first_word(&host.must(&["sha256sum", path]))
}

/// The SHA-256 of what `curl` fetches.
///
/// # Panics
/// When it cannot fetch it within two minutes.
#[track_caller]
#[must_use]
pub fn fetched_sha256(client: &Namespace, url: &str) -> String {
    let fetch = format!("set -o pipefail; curl -sS --fail --max-time 120 '{url}' | sha256sum");
    first_word(&client.run_for(130, &["bash", "-c", &fetch]).must())
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// That a host's own TCP has opened no connection since `before`, either way.
///
/// # Panics
/// When it has.
#[track_caller]
pub fn assert_no_connections(host: &Namespace, before: &lab::Counters) {
    let now = host.counters();
    let opened = ["TcpPassiveOpens", "TcpActiveOpens"].map(|name| now.since(before, name));
    assert_eq!(opened, [0, 0], "connections of the kernel's TCP of {}", host.name());
}

/// That a host's own TCP has seen nothing since `before`: no segment, no connection either way.
///
/// # Panics
/// When it has.
#[track_caller]
pub fn assert_bypassed(host: &Namespace, before: &lab::Counters) {
    let now = host.counters();
    let seen = ["TcpPassiveOpens", "TcpActiveOpens", "TcpInSegs", "TcpOutSegs", "TcpOutRsts"]
        .map(|name| (name, now.since(before, name)));
    assert!(seen.iter().all(|(_, n)| *n == 0), "the kernel's TCP of {} has seen {seen:?}", host.name());
}

/// Fetches `url` `count` times at once with two curls; every body must have the SHA-256 `expected`.
///
/// # Panics
/// When one has not.
#[track_caller]
pub fn fetch_at_once(client: &Namespace, url: &str, count: usize, expected: &str) {
    let half = count / 2;
    let curl = format!(
        "curl -sS --no-progress-meter --fail -Z --parallel-immediate --parallel-max {half} --max-time 120"
    );
    let script = format!(
        "set -e; d=$(mktemp -d); trap 'rm -r $d' EXIT; cd $d; \
         {curl} -o 'a#1' '{url}?[1-{half}]' & first=$!; {curl} -o 'b#1' '{url}?[1-{half}]'; wait $first; \
         sha256sum * | cut -d' ' -f1 | sort | uniq -c"
    );
    let sums = client.run_for(150, &["bash", "-c", &script]).must();
    assert_eq!(sums.split_whitespace().collect::<Vec<_>>(), [&(half * 2).to_string(), expected], "{url}");
}

/// Does `often` on a thread of its own, again and again and at least once, while `what` goes on. What came of that, and
/// how often it was done.
///
/// # Panics
/// When one of them does.
pub fn meanwhile<T>(mut often: impl FnMut() + Send, what: impl FnOnce() -> T) -> (T, u64) {
    let over = AtomicBool::new(false);
    let again = || {
        let mut times = 0;
        while times == 0 || !over.load(Ordering::Relaxed) {
            often();
            times += 1;
        }
        times
    };
    thread::scope(|scope| {
        let often = scope.spawn(again);
        let done = panic::catch_unwind(AssertUnwindSafe(what));
        over.store(true, Ordering::Relaxed);
        let times = often.join();
        (
            done.unwrap_or_else(|why| panic::resume_unwind(why)),
            times.unwrap_or_else(|why| panic::resume_unwind(why)),
        )
    })
}
