//! Letters between the processes of a port: a socket pair for each slot, which every process of the port holds and
//! nobody else, so that whoever can write there may. A letter arrives whole or not at all, whoever is killed meanwhile,
//! and only with the process that it was meant for: one that comes to the slot later finds it and throws it away.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use af_xdp::Slot;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::claim;
use super::fds::borrow;
use super::header::Header;
use super::{Claimed, Port, high, keeping};
use crate::link;

/// A letter longer than this goes in a file of its own.
const LONG: usize = 16 * 1024;
/// The addressee's word.
const HEAD: usize = size_of::<u64>();
const _: () = assert!(HEAD + LONG <= link::TEXT_MOST);

/// What comes to a slot's box.
pub(crate) struct Letter {
    /// What it says.
    pub(crate) body: Vec<u8>,
    /// The descriptor that came with it.
    pub(crate) beside: Option<OwnedFd>,
}

impl From<Vec<u8>> for Letter {
    fn from(body: Vec<u8>) -> Self {
        Self { body, beside: None }
    }
}

/// Our place among the processes of the port.
pub(crate) struct Post {
    port: Port,
    me: Slot,
    inbox: BorrowedFd<'static>,
    /// The keeper's slot, where there is one.
    keepers: Option<Slot>,
}

impl Post {
    /// The place of the process that has `claimed`; `port` is the same port, mapped once more.
    pub(crate) fn new(port: Port, claimed: &Claimed) -> io::Result<Self> {
        let inbox = borrow(port.header.post(claimed.slot).0)?;
        Ok(Self { port, me: claimed.slot, inbox, keepers: keeping::slot(claimed.stacks) })
    }

    /// Readable when a letter has come.
    pub(crate) fn fd(&self) -> RawFd {
        self.inbox.as_raw_fd()
    }

    /// Our slot.
    pub(crate) fn slot(&self) -> Slot {
        self.me
    }

    /// Whether we are the keeper.
    pub(crate) fn keeps(&self) -> bool {
        self.keepers == Some(self.me)
    }

    /// The keeper's slot, if there is a keeper, and we are not.
    pub(crate) fn keeper(&self) -> Option<Slot> {
        self.keepers.filter(|slot| *slot != self.me && self.is_inhabited(*slot))
    }

    /// The end of a slot's box that letters are put in: writable when there is room.
    pub(crate) fn door(&self, slot: Slot) -> io::Result<BorrowedFd<'static>> {
        borrow(self.port.header.post(slot).1)
    }

    /// Whether a process drives the slot.
    pub(crate) fn is_inhabited(&self, slot: Slot) -> bool {
        claim::owner(self.port.header.owner(slot)).is_some_and(claim::Owner::lives)
    }

    /// Whether the process that a letter went to, by what [`Post::send`] answered, drives the slot still.
    pub(crate) fn is_home(&self, slot: Slot, addressee: u64) -> bool {
        let owner = claim::owner(self.port.header.owner(slot));
        owner.is_some_and(|owner| owner.word() == addressee && owner.lives())
    }

    /// Sends a letter to the process that drives `slot`; answers which that is.
    ///
    /// # Errors
    /// `WouldBlock` when its box is full; `NotFound` when nobody drives the slot.
    pub(crate) fn send(&self, slot: Slot, letter: &[u8]) -> io::Result<u64> {
        self.put(slot, letter, None)
    }

    /// As [`Post::send`], with a descriptor.
    ///
    /// # Errors
    /// As it says.
    pub(crate) fn send_with(&self, slot: Slot, letter: &[u8], beside: BorrowedFd<'_>) -> io::Result<u64> {
        self.put(slot, letter, Some(beside))
    }

    fn put(&self, slot: Slot, letter: &[u8], beside: Option<BorrowedFd<'_>>) -> io::Result<u64> {
        let owner = claim::owner(self.port.header.owner(slot)).ok_or(io::ErrorKind::NotFound)?;
        let to = self.door(slot)?;
        let mut text = owner.word().to_le_bytes().to_vec();
        if letter.len() > LONG || beside.is_some() {
            link::send(to, &text, Some(letter), beside.as_slice())?;
        } else {
            text.extend_from_slice(letter);
            link::send(to, &text, None, &[])?;
        }
        Ok(owner.word())
    }

    /// The next letter to us.
    pub(crate) fn receive(&self) -> Option<Letter> {
        let mine = claim::owner(self.port.header.owner(self.me))?.word().to_le_bytes();
        loop {
            let note = match link::receive(self.inbox) {
                Ok(note) => note,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => {
                    tracing::warn!(%error, "reading a letter");
                    return None;
                }
            };
            match note.text.split_at_checked(HEAD) {
                Some((head, body)) if head == mine => {
                    let body = note.enclosed.unwrap_or_else(|| body.to_vec());
                    return Some(Letter { body, beside: note.beside.into_iter().next() });
                }
                _ => {}
            }
        }
    }
}

/// Makes the boxes of `stacks` slots, at high numbers that an `exec` leaves open.
pub(super) fn make(header: &Header, stacks: Slot) -> io::Result<()> {
    for slot in 0..stacks {
        let ends = socketpair(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        header.set_post(slot, (high(&ends.0)?, high(&ends.1)?));
    }
    Ok(())
}
