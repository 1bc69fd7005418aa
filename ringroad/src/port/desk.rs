//! The keeper's desk, where a process that takes a slot gets the slot's sockets: they cost nothing before, and to make them
//! takes privilege, which the keeper has still. Only who holds the port can ask.
//!
//! The keeper holds what it has made, too: it is the slot's for good, whoever takes it next, and who buries a dead process
//! gets it from there. A process that is killed between asking and getting is buried as any other.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use af_xdp::{PortParts, SLOTS, Slot};
use nic::Own;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::{Deserialize, Serialize};

use super::fds::{aside, borrow};
use super::{Port, claim, high, keeping};
use crate::link;
use crate::wire::{Timed, hear, receive, say, send};

/// How long who asks waits for the keeper, and that for who asks.
const PATIENCE: Duration = Duration::from_secs(5);
const UNHEARD: Duration = Duration::from_millis(100);
/// The longest line.
const LINE: usize = 1 << 12;

/// What is answered at the desk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    /// So many sockets follow.
    Sockets(usize),
    /// They could not be made.
    Refused(String),
}

/// The desk, as the keeper has it.
pub(crate) struct Desk {
    port: Port,
    inbox: BorrowedFd<'static>,
    /// What was made, by slot.
    made: Vec<Vec<OwnedFd>>,
}

impl Desk {
    /// The desk of a port, unless all was made with that.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn open(port: Port) -> io::Result<Option<Self>> {
        let Some((inbox, _)) = port.header.desk() else { return Ok(None) };
        let made = std::iter::repeat_with(Vec::new).take(SLOTS as usize).collect();
        Ok(Some(Self { inbox: borrow(inbox)?, port, made }))
    }

    /// Readable when somebody asks.
    pub(crate) fn inbox(&self) -> BorrowedFd<'static> {
        self.inbox
    }

    /// Answers those who ask.
    pub(crate) fn serve(&mut self) {
        while let Ok(note) = link::receive(self.inbox) {
            let (&[slot], [asker, ..]) = (&note.text[..], &note.beside[..]) else { continue };
            if let Err(error) = asker.try_clone().map(UnixStream::from).and_then(|to| self.answer(slot, &to))
            {
                tracing::debug!(%error, slot, "answering at the desk");
            }
        }
    }

    fn answer(&mut self, slot: Slot, to: &UnixStream) -> io::Result<()> {
        to.set_write_timeout(Some(UNHEARD))?;
        let parts = self.port.parts()?;
        let made = &mut self.made[usize::from(slot)];
        if made.is_empty() {
            match parts.open_slot(slot) {
                Ok(sockets) => *made = sockets,
                Err(error) => return say(to, &Answer::Refused(error.to_string())),
            }
        }
        say(to, &Answer::Sockets(made.len()))?;
        send(to, &made.iter().map(AsFd::as_fd).collect::<Vec<_>>())
    }
}

impl Port {
    /// Whether there are sockets that the keeper has to make.
    pub(crate) fn needs_keeper(&self) -> bool {
        self.header.desk().is_some()
    }

    /// The sockets of a slot that were not made with the port.
    ///
    /// # Errors
    /// The keeper's, or that it has gone.
    pub(super) fn sockets_of(&self, slot: Slot, parts: &PortParts) -> io::Result<Vec<Own>> {
        if parts.has_slot(slot) {
            return Ok(Vec::new());
        }
        let gone = || io::Error::new(io::ErrorKind::NotFound, "there is none");
        // Who buries the keeper has its slot meanwhile, and would wait for itself.
        let keepers = keeping::slot(parts.stacks).filter(|keepers| *keepers != slot);
        let keeper = keepers.and_then(|slot| claim::owner(self.header.owner(slot)));
        if !keeper.is_some_and(claim::Owner::lives) {
            return Err(gone());
        }
        let (_, desk) = self.header.desk().ok_or_else(gone)?;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let ours = UnixStream::from(aside(ours));
        link::send(borrow(desk)?, &[slot], Some(&[]), &[theirs.as_fd()])?;
        drop(theirs);
        match hear(Timed::new(&ours, PATIENCE), LINE)? {
            Answer::Sockets(count) => {
                Ok(receive(&ours, count)?.into_iter().map(|fd| Own::new(aside(fd))).collect())
            }
            Answer::Refused(why) => Err(io::Error::other(why)),
        }
    }

    /// The description of the port, with what was made for a slot since.
    pub(super) fn parts_with(&self, slot: Slot, sockets: &[Own]) -> io::Result<PortParts> {
        let parts = self.parts()?;
        if sockets.is_empty() {
            return Ok(parts);
        }
        let numbers: Vec<RawFd> = sockets.iter().map(|fd| fd.as_raw_fd()).collect();
        parts.with_slot(slot, &numbers).map_err(io::Error::other)
    }

    /// The same for a dead process's slot. Where the keeper has gone, its sockets have, too.
    pub(super) fn parts_to_bury(&self, slot: Slot) -> io::Result<(PortParts, Vec<Own>)> {
        let sockets = self.sockets_of(slot, &self.parts()?).unwrap_or_else(|error| {
            tracing::warn!(slot, %error, "what a dead process had received is lost");
            Vec::new()
        });
        Ok((self.parts_with(slot, &sockets)?, sockets))
    }
}

/// Makes its two ends, at high numbers that an `exec` leaves open.
pub(super) fn make() -> io::Result<(RawFd, RawFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let ends = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    Ok((high(&ends.0)?, high(&ends.1)?))
}
