//! A stack whose packets are read.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::reading::{Packet, Reading, Totals};
use super::wish::{Answer, Wish};
use crate::control::Contact;
use crate::wire::{Timed, hear, receive, say};

/// How long a stack may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer.
const ANSWER: usize = 1 << 16;

/// Why nothing can be seen of a stack.
#[derive(Debug)]
pub enum WhyNot {
    /// It does not want to.
    Refused(String),
    /// It could not be asked.
    Failed(io::Error),
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "{why}"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for WhyNot {}

impl From<io::Error> for WhyNot {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// A stack whose packets are read, until this is dropped.
#[derive(Debug)]
pub struct Source {
    /// The process.
    pub pid: u32,
    /// What it runs.
    pub command: String,
    /// Its interfaces, in the order of the packets' numbers.
    pub interfaces: Vec<String>,
    reading: Reading,
    /// The life line.
    line: UnixStream,
    process: Option<OwnedFd>,
    until: u64,
}

/// Every stack that runs in our network namespace, or that of `pid`, but for those in `known`.
pub fn everywhere(pid: Option<u32>, known: &[u32], wish: &Wish) -> Vec<(u32, Result<Source, WhyNot>)> {
    let all = Contact::here(pid).filter(|contact| !known.contains(&contact.pid));
    all.map(|contact| (contact.pid, Source::open(contact, wish))).collect()
}

impl Source {
    fn open(contact: Contact, wish: &Wish) -> Result<Self, WhyNot> {
        let (pid, line) = (contact.pid, contact.dial()?);
        let mut timed = Timed::new(&line, PATIENCE);
        let asked = timed.write_all(b"capture\n").and_then(|()| say(&mut timed, wish));
        // A refusal may come before all is written: it is read all the same.
        let answer = hear(&mut timed, ANSWER).map_err(|error| asked.err().unwrap_or(error))?;
        let (command, interfaces) = match answer {
            Answer::Granted { command, interfaces } => (command, interfaces),
            Answer::Refused(why) => return Err(WhyNot::Refused(why)),
        };
        let nothing = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let ring = receive(&line, 1)?.pop().ok_or_else(nothing)?;
        let reading = Reading::new(ring, interfaces.len())?;
        // The line alone does not tell: a child of the process may hold its end.
        let process = Pid::from_raw(pid as i32).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok(Self { pid, command, interfaces, reading, line, process, until: 0 })
    }

    /// Looks how far there is something to read. Whether the stack is gone: then that is all there will be.
    pub fn look(&mut self) -> bool {
        // First whether it lives, so that what it wrote last is seen.
        let mut ends = vec![PollFd::new(&self.line, PollFlags::IN)];
        ends.extend(self.process.as_ref().map(|process| PollFd::new(process, PollFlags::IN)));
        let over = poll(&mut ends, Some(&Timespec::default())).is_ok_and(|n| n > 0);
        self.until = self.reading.until();
        over
    }

    /// When the next packet was seen, of those before the last [look](Source::look).
    ///
    /// # Errors
    /// When the process wrote what makes no sense.
    pub fn next_at(&mut self) -> io::Result<Option<u64>> {
        self.reading.next_at(self.until)
    }

    /// That packet, beside the names of the interfaces.
    pub fn take(&mut self) -> (&[String], Option<Packet<'_>>) {
        (&self.interfaces, self.reading.take())
    }

    /// What was counted of an interface so far.
    pub fn totals(&self, interface: usize) -> Totals {
        self.reading.totals(interface)
    }
}
