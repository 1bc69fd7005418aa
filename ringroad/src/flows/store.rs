//! The last day on disk: files of messages in one directory, each process its own, the oldest going as new ones come.
//!
//! A file is only ever appended to, message by message: whoever is killed leaves one that can be read, but for the message
//! that was being written. Nothing says what belongs together but the names, which are in the order of time.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use nic::Own;

use super::ipfix::{MOST, Preamble, message_len};
use super::shelf::{self, Kind, PARTS, Shelf};
use crate::config::absolute;
use crate::log;

/// How files are called.
pub(crate) const FLOWS: Kind = Kind("flows-", ".ipfix");
/// Those of marked flows: in the same directory, they have room of their own.
pub(crate) const MARKED: Kind = Kind("marked-", ".ipfix");
/// A directory that takes nothing is tried again after so long.
const RETRY: Duration = Duration::from_secs(10);
/// How much is kept unless it is said, in bytes.
const USUAL: u64 = 256 << 20;
/// The least that can be said.
pub(crate) const LEAST: u64 = 1 << 20;

/// Where flows are kept, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub directory: PathBuf,
    /// Bytes at the most.
    pub size: u64,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (directory, size) = match text.rsplit_once(',') {
            Some((directory, size)) => (directory, bytes(size.trim())?),
            None => (text, USUAL),
        };
        if directory.is_empty() {
            return Err("expected DIRECTORY or DIRECTORY,SIZE as /var/lib/ringroad/flows,1G".to_owned());
        }
        Ok(Self { directory: absolute(directory), size })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.directory.display(), self.size)
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let number = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
    number
        .filter(|n| *n >= LEAST)
        .ok_or_else(|| format!("{text:?}: expected a size of 1M or more, as 512M or 4G"))
}

/// Where this process writes.
#[derive(Debug)]
pub(crate) struct Store {
    shelf: Shelf,
    preamble: Preamble,
    open: Option<Open>,
    failed: Option<SystemTime>,
}

#[derive(Debug)]
struct Open {
    file: Own<File>,
    written: u64,
    since: SystemTime,
}

impl Store {
    pub(crate) fn new(place: Place, kind: Kind, preamble: Preamble) -> Self {
        Self { shelf: Shelf::new(place, kind), preamble, open: None, failed: None }
    }

    /// Writes whole messages down, and answers how many octets it did; what cannot be written is lost, and said once.
    pub(crate) fn append(&mut self, messages: &[u8]) -> usize {
        let now = SystemTime::now();
        if self.failed.is_some_and(|at| now.duration_since(at).is_ok_and(|time| time < RETRY)) {
            return 0;
        }
        let mut rest = messages;
        match self.write(&mut rest) {
            Ok(()) => self.failed = None,
            Err(error) => {
                if self.failed.replace(now).is_none() {
                    let directory = self.shelf.directory().display();
                    log::tell(format_args!("flows are not kept in {directory}: {error}"));
                }
            }
        }
        messages.len() - rest.len()
    }

    /// Writes `messages`, of which those are left that it has not written.
    fn write(&mut self, messages: &mut &[u8]) -> io::Result<()> {
        let part = self.shelf.part();
        while let Some(first) = first_len(messages) {
            // Each time anew: files have it in their names.
            let now = SystemTime::now();
            let mut open = match self.open.take() {
                Some(open) if self.goes_on(&open, first, now) => open,
                _ => self.begin(messages, now)?,
            };
            let (fit, rest) =
                messages.split_at(fitting(messages, part.saturating_sub(open.written)).max(first));
            if let Err(error) = open.file.write_all(fit) {
                // A disk that is full takes half of it. What stands before that can be read.
                let _ = open.file.set_len(open.written);
                return Err(error);
            }
            open.written += fit.len() as u64;
            self.open = Some(open);
            *messages = rest;
        }
        Ok(())
    }

    fn goes_on(&self, open: &Open, more: usize, now: SystemTime) -> bool {
        self.shelf.takes((open.written, more as u64), open.since, now) && !shelf::is_removed(&open.file)
    }

    /// A new file, with what whoever reads `messages` has to know before.
    fn begin(&self, messages: &[u8], now: SystemTime) -> io::Result<Open> {
        const { assert!(LEAST / PARTS > 2 * MOST as u64, "a file has room for the preamble and a message") };
        let preamble = self.preamble.before(messages);
        self.shelf.begin(now, |mut file| {
            file.write_all(&preamble)?;
            Ok(Open { file, written: preamble.len() as u64, since: now })
        })
    }
}

/// The length of the first of some messages.
fn first_len(messages: &[u8]) -> Option<usize> {
    let len = message_len(*messages.first_chunk()?).ok()?;
    (len <= messages.len()).then_some(len)
}

/// How many octets those of the first messages have that fit into `room`.
fn fitting(messages: &[u8], room: u64) -> usize {
    let mut end = 0;
    while let Some(len) = first_len(&messages[end..])
        && (end + len) as u64 <= room
    {
        end += len;
    }
    end
}

/// The files of a directory, of either kind, each kind oldest first.
///
/// # Errors
/// As reading a directory.
pub(super) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = shelf::files(directory, FLOWS)?;
    files.extend(shelf::files(directory, MARKED)?);
    Ok(files)
}
