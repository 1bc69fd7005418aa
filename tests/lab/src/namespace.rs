//! A host: a network namespace with programs in it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::counters::Counters;
use crate::program::{Outcome, Running};
use crate::sys::{self, PacketSocket};

/// A network namespace. Its [`Lab`](crate::Lab) removes it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    folder: PathBuf,
}

impl Namespace {
    pub(crate) fn new(name: &str, folder: &Path) -> Self {
        ip(&["netns", "add", name]);
        let host = Self { name: name.to_owned(), folder: folder.to_owned() };
        host.must(&["ip", "link", "set", "lo", "up"]);
        host.enter(|| {
            for family in ["all", "default"] {
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{family}/disable_ipv6"), "1");
            }
        });
        host
    }

    /// Its name, as `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this process runs in it.
    pub(crate) fn has(&self, pid: u64) -> bool {
        let identity = |path: String| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let its = identity(format!("/proc/{pid}/ns/net"));
        its.is_some() && its == identity(format!("/run/netns/{}", self.name))
    }

    /// A command that will run in it.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words);
        command
    }

    /// Runs a program to its end, a minute at most.
    pub fn run(&self, words: &[&str]) -> Outcome {
        self.run_for(60, words)
    }

    /// Runs a program to its end, `seconds` at most: after that it is ended, and its code is 124.
    pub fn run_for(&self, seconds: u32, words: &[&str]) -> Outcome {
        let limit = seconds.to_string();
        Outcome::of(&mut self.command(&[&["timeout", "--kill-after=5", &limit], words].concat()))
    }

    /// Runs a program that has to succeed; gives what it printed.
    ///
    /// # Panics
    /// With all it printed, when it failed.
    #[track_caller]
    pub fn must(&self, words: &[&str]) -> String {
        self.run(words).must()
    }

    /// Starts a program; it ends when the handle is dropped.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(&self, words: &[&str]) -> Running {
        self.spawn_with(words, &[])
    }

    /// Starts a program with more environment variables; it ends when the handle is dropped.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn_with(&self, words: &[&str], env: &[(&str, &str)]) -> Running {
        let mut command = self.command(words);
        command.envs(env.iter().copied());
        Running::start(command, &self.folder)
    }

    /// Runs `what` on a thread inside the namespace: sockets that it opens belong to this host.
    ///
    /// # Panics
    /// When `what` does, or the namespace cannot be entered.
    pub fn enter<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.move_here();
            what()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// Moves the calling thread in, for good.
    pub(crate) fn move_here(&self) {
        let file = File::open(Path::new("/run/netns").join(&self.name));
        file.and_then(|f| sys::enter(&f)).unwrap_or_else(|e| panic!("entering {}: {e}", self.name));
    }

    /// The frames of one of its interfaces, to send and to receive whole.
    ///
    /// # Panics
    /// When there is no such interface.
    #[must_use]
    pub fn frames(&self, iface: &str) -> PacketSocket {
        self.enter(|| PacketSocket::open(iface)).unwrap_or_else(|e| panic!("{iface} of {}: {e}", self.name))
    }

    /// The link address of one of its interfaces.
    ///
    /// # Panics
    /// When there is no such interface.
    #[must_use]
    pub fn link_address(&self, iface: &str) -> [u8; 6] {
        let text = self.must(&["cat", &format!("/sys/class/net/{iface}/address")]);
        let bytes: Vec<u8> = text.trim().split(':').filter_map(|b| u8::from_str_radix(b, 16).ok()).collect();
        bytes.try_into().unwrap_or_else(|_| panic!("{iface} has the link address {text}"))
    }

    /// What the kernel has counted in it.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::read(self)
    }

    /// Whether the kernel has a listening TCP socket on this port.
    #[must_use]
    pub fn listens(&self, port: u16) -> bool {
        let suffix = format!(":{port:04X}");
        let table = self.enter(|| {
            let read = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
            read("tcp") + &read("tcp6")
        });
        table.lines().skip(1).any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(1).is_some_and(|local| local.ends_with(&suffix)) && words.get(3) == Some(&"0A")
        })
    }
}

/// Runs `ip` outside all hosts.
#[track_caller]
pub(crate) fn ip(words: &[&str]) {
    Outcome::of(Command::new("ip").args(words)).must();
}

/// Ends what runs in a namespace and removes it.
pub(crate) fn remove(name: &str) {
    let pids = Outcome::of(Command::new("ip").args(["netns", "pids", name])).stdout;
    for pid in pids.split_whitespace().filter_map(|p| p.parse().ok()) {
        let _ = sys::kill(pid, libc::SIGKILL);
    }
    let _ = Outcome::of(Command::new("ip").args(["netns", "delete", name]));
}
