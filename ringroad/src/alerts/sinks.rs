//! Where alerts are written: files, the system's log, sockets of others. A thread of its own writes them; when it is
//! behind, alerts are left out and counted in the next one; so are, for each place, those that it did not take.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::absolute;
use crate::control::model::Alert;
use crate::log;
use crate::runtime::without_signals;

/// A place that takes some and others not, as a socket whose reader is slow, is told of no more often.
const QUIET: Duration = Duration::from_secs(60);
/// Alerts that wait to be written.
const WAITING: usize = 1024;
/// How long the end of a process waits for them.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(200);
/// The socket of syslog, which journald answers, too.
const SYSLOG: &str = "/dev/log";
/// Facility authpriv, severity warning (RFC 5424 §6.2.1).
const PRIORITY: u8 = 10 * 8 + 4;

/// Where alerts go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sink {
    /// A file, a line of JSON each.
    File(PathBuf),
    /// A datagram socket, one of JSON each.
    Socket(PathBuf),
    /// The system's log.
    Syslog,
}

impl std::str::FromStr for Sink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(absolute(path))),
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Socket(absolute(path))),
            None if text == "syslog" => Ok(Self::Syslog),
            _ => Err("expected file:PATH, unix:PATH or syslog, separated by commas".to_owned()),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Syslog => f.write_str("syslog"),
        }
    }
}

/// The way to those who write.
#[derive(Debug)]
pub(crate) struct Sinks {
    to: SyncSender<Alert>,
    /// Disconnected when all is written.
    done: Receiver<()>,
    left_out: u64,
}

impl Sinks {
    /// Starts the thread that writes to `sinks`; `None` when there are none, or it cannot be started.
    pub(crate) fn open(sinks: &[Sink]) -> Option<Self> {
        Self::open_with(sinks, Path::new(SYSLOG))
    }

    /// As [`Sinks::open`], with the system's log at another place.
    pub(super) fn open_with(sinks: &[Sink], syslog: &Path) -> Option<Self> {
        if sinks.is_empty() {
            return None;
        }
        let (to, from) = sync_channel(WAITING);
        let (end, done) = sync_channel(0);
        let (sinks, syslog) = (sinks.to_vec(), syslog.to_owned());
        let write = move || {
            write_all(&sinks, &syslog, &from);
            drop(end);
        };
        let started = without_signals(|| thread::Builder::new().name("ringroad-alerts".into()).spawn(write));
        match started {
            Ok(_) => Some(Self { to, done, left_out: 0 }),
            Err(error) => {
                tracing::warn!(%error, "alerts are not written");
                None
            }
        }
    }

    /// Waits until all is written, no longer than `limit`.
    pub(super) fn close(self, limit: Duration) {
        let Self { to, done, .. } = self;
        drop(to);
        let _ = done.recv_timeout(limit);
    }

    /// Hands one over, or counts it when those who write are behind.
    pub(super) fn send(&mut self, alert: &Alert) {
        let mut alert = alert.clone();
        alert.left_out = self.left_out;
        match self.to.try_send(alert) {
            Ok(()) => self.left_out = 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.left_out += 1,
        }
    }
}

/// A place, and how it goes there.
struct Place<'s> {
    sink: &'s Sink,
    /// Alerts that it did not take, since one that it took.
    missed: u64,
    /// When it was told that it takes nothing.
    told: Option<Instant>,
}

fn write_all(sinks: &[Sink], syslog: &Path, from: &Receiver<Alert>) {
    let socket = UnixDatagram::unbound();
    if let Ok(socket) = &socket {
        let _ = socket.set_nonblocking(true);
    }
    let mut places: Vec<Place<'_>> = sinks.iter().map(|sink| Place { sink, missed: 0, told: None }).collect();
    for alert in from {
        for place in &mut places {
            let counts = Alert { left_out: alert.left_out + place.missed, ..alert.clone() };
            let Ok(line) = serde_json::to_vec(&counts) else { continue };
            let written = match &socket {
                Ok(socket) => put(place.sink, &line, socket, syslog),
                Err(error) => Err(io::Error::from(error.kind())),
            };
            if let Err(error) = &written
                && place.missed == 0
                && place.told.is_none_or(|at| at.elapsed() >= QUIET)
            {
                place.told = Some(Instant::now());
                log::tell(format_args!("an alert was not written to {}: {error}", place.sink));
            }
            place.missed = if written.is_err() { counts.left_out + 1 } else { 0 };
        }
    }
}

fn put(sink: &Sink, line: &[u8], socket: &UnixDatagram, syslog: &Path) -> io::Result<()> {
    match sink {
        Sink::File(path) => append(path, line),
        Sink::Socket(path) => socket.send_to(line, path).map(drop),
        Sink::Syslog => {
            let head = format!("<{PRIORITY}>ringroad[{}]: ", std::process::id());
            socket.send_to(&[head.as_bytes(), line].concat(), syslog).map(drop)
        }
    }
}

/// Opened anew each time, so that a file may be rotated.
fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    let line = [line, b"\n"].concat();
    let written = file.write(&line)?;
    if written == line.len() {
        return Ok(());
    }
    // The disk is full. Half a line would take the next one along.
    if file.metadata()?.len() == before + written as u64 {
        file.set_len(before)?;
    }
    Err(io::ErrorKind::StorageFull.into())
}
