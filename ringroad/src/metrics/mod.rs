//! Metrics for Prometheus: what every stack of the network namespace counts, over HTTP, for who asks.
//!
//! Each process that is told to has a thread for it. The first that comes has the address and answers for all, by what they
//! say on their control sockets; when it ends, another takes its place. The sockets are the kernel's, by system calls of
//! our own: libc's are the shim's.

mod http;
mod text;

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use nic::Own;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

use crate::config::absolute;
use crate::control::client;
use crate::port::{aside, close};
use crate::runtime::without_signals;
use crate::wire::{Timed, dial};

/// How often who did not get the address tries again, and who could accept nobody.
const AGAIN: Duration = Duration::from_secs(2);
/// How long who asks may take for the question, and for the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who is answered at a time: one who is slow does not keep the next.
const AT_A_TIME: usize = 4;
/// Requests that wait.
const BACKLOG: i32 = 16;

/// Where metrics are to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A path.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(absolute(path))),
            Some(_) => Err("expected a path behind unix:".to_owned()),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| format!("{text:?}: expected ADDRESS:PORT or unix:PATH, as 127.0.0.1:9100")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The listener's number; -1: there is none.
static LISTENER: AtomicI32 = AtomicI32::new(-1);

/// Starts the threads that answer at `endpoint`, now or when whoever does is gone.
pub(crate) fn start(endpoint: Endpoint) {
    let serve = move || {
        let Some(listener) = obtain(&endpoint) else { return };
        LISTENER.store(listener.as_raw_fd(), Ordering::Release);
        serve_many(&listener, PATIENCE);
    };
    if let Err(error) = without_signals(|| named().spawn(serve)) {
        tracing::warn!(%error, "no metrics");
    }
}

fn named() -> thread::Builder {
    thread::Builder::new().name("ringroad-metrics".into())
}

/// Answers whoever comes, several at a time.
fn serve_many(listener: &OwnedFd, patience: Duration) {
    thread::scope(|scope| {
        for _ in 1..AT_A_TIME {
            // With fewer it goes on.
            let _ = named().spawn_scoped(scope, || serve(listener, patience));
        }
        serve(listener, patience);
    });
}

fn serve(listener: &OwnedFd, patience: Duration) {
    loop {
        match accept_with(listener, SocketFlags::CLOEXEC) {
            // What goes wrong with one who asks is over with him.
            Ok(client) => _ = answer(&client, patience),
            Err(error) if is_of_one(error) => {}
            // No descriptor is left, or no memory: it would be said again at once.
            Err(_) => thread::sleep(AGAIN),
        }
    }
}

fn answer(client: &OwnedFd, patience: Duration) -> io::Result<()> {
    let text = http::answer(Timed::new(client, patience), &|| text::exposition(&client::metrics()))?;
    Timed::new(client, patience).write_all(text.as_bytes())
}

/// Whether what went wrong when one was accepted says nothing of the next (accept(2)).
fn is_of_one(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
    )
}

/// In the child after a fork: its copy of the listener would keep the address from everybody.
pub(crate) fn forked() {
    let fd = LISTENER.swap(-1, Ordering::AcqRel);
    if fd >= 0 {
        close(fd);
    }
}

/// The listener, once nobody else has it. None: it cannot be had.
fn obtain(endpoint: &Endpoint) -> Option<Own> {
    loop {
        match open(endpoint) {
            Ok(listener) => return Some(Own::new(aside(listener))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => thread::sleep(AGAIN),
            Err(error) => {
                tracing::warn!(?endpoint, %error, "no metrics");
                return None;
            }
        }
    }
}

fn open(endpoint: &Endpoint) -> io::Result<OwnedFd> {
    let make = |family| socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = match endpoint {
        Endpoint::Tcp(address) => {
            let socket = make(if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 })?;
            set_socket_reuseaddr(&socket, true)?;
            bind(&socket, address)?;
            socket
        }
        Endpoint::Unix(path) => {
            // One that nobody listens at was left by somebody who was killed.
            if dial(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
                let _ = fs::remove_file(path);
            }
            let socket = make(AddressFamily::UNIX)?;
            bind(&socket, &SocketAddrUnix::new(path)?)?;
            socket
        }
    };
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_would_be_said_again_at_once_is_waited_for() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::BADF] {
            assert!(!is_of_one(error), "{error}");
        }
        assert!(is_of_one(Errno::CONNABORTED) && is_of_one(Errno::INTR));
    }

    #[test]
    fn who_says_nothing_does_not_keep_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = open(&Endpoint::Unix(path.clone())).unwrap();
        let hour = Duration::from_secs(3600);
        thread::spawn(move || serve_many(&listener, hour));
        let silent: Vec<_> = (1..AT_A_TIME).map(|_| dial(&path).unwrap()).collect();
        let asker = dial(&path).unwrap();
        let mut asker = Timed::new(&asker, Duration::from_secs(60));
        asker.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        asker.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("# EOF\n"), "{answer}");
        drop(silent);
    }
}
