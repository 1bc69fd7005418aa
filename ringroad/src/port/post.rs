//! Letters between the processes of a port. Each has a box of its own (`boxes.rs`); that of the keeper, to which many write
//! at once, is a socket pair that every process of the port holds. A letter arrives whole or not at all, whoever is killed
//! meanwhile, and only with the process that it was meant for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use af_xdp::{Slot, Slots};

use super::boxes::{self, Place, Secret, letterbox, pen};
use super::fds::borrow;
use super::{Claimed, Port, claim, keeping};
use crate::link;

/// A letter longer than this goes in a file of its own.
const LONG: usize = 16 * 1024;
/// The key of the box, and the addressee's word.
const HEAD: usize = size_of::<Secret>() + size_of::<u64>();
const _: () = assert!(HEAD + LONG <= link::TEXT_MOST);

/// The first byte of a letter that wakes a sleeper; the third is the slot of who wants to know its bell.
pub(crate) const RING: u8 = 6;

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
    /// To write by.
    pen: BorrowedFd<'static>,
    /// The keeper's slot, where there is one.
    keepers: Option<Slot>,
}

impl Post {
    /// The place of the process that has `claimed`; `port` is the same port, mapped once more.
    pub(crate) fn new(port: Port, claimed: &Claimed) -> io::Result<Self> {
        let Place { inbox: pen, .. } = claimed.place.ok_or(io::ErrorKind::NotFound)?;
        let inbox = if claimed.keeps() { borrow(port.header.keepers_box().0)? } else { pen };
        Ok(Self { port, me: claimed.slot, inbox, pen, keepers: keeping::slot(claimed.stacks) })
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

    /// The end of the keeper's box that letters are put in: writable when there is room.
    pub(crate) fn keepers_door(&self) -> io::Result<BorrowedFd<'static>> {
        self.port.keepers_door()
    }

    /// Whether a process drives the slot.
    pub(crate) fn is_inhabited(&self, slot: Slot) -> bool {
        claim::owner(self.port.header.owner(slot)).is_some_and(claim::Owner::lives)
    }

    /// The same, and it is not stopped.
    pub(crate) fn is_at_work(&self, slot: Slot) -> bool {
        claim::owner(self.port.header.owner(slot)).is_some_and(claim::Owner::is_at_work)
    }

    /// Whether the process that a letter went to, by what [`Post::send`] answered, drives the slot still.
    pub(crate) fn is_home(&self, slot: Slot, addressee: u64) -> bool {
        let owner = claim::owner(self.port.header.owner(slot));
        owner.is_some_and(|owner| owner.word() == addressee && owner.lives())
    }

    /// Sends a letter to the process that drives `slot`; answers which that is.
    ///
    /// # Errors
    /// `WouldBlock` when its box is full; `NotFound` when nobody drives the slot; `ConnectionRefused` when who did has ended.
    pub(crate) fn send(&self, slot: Slot, letter: &[u8]) -> io::Result<u64> {
        self.port.put(self.pen, self.keepers == Some(slot), slot, letter, None)
    }

    /// As [`Post::send`], with a descriptor.
    ///
    /// # Errors
    /// As it says.
    pub(crate) fn send_with(&self, slot: Slot, letter: &[u8], beside: BorrowedFd<'_>) -> io::Result<u64> {
        self.port.put(self.pen, self.keepers == Some(slot), slot, letter, Some(beside))
    }

    /// The next letter to us.
    pub(crate) fn receive(&self) -> Option<Letter> {
        let header = &self.port.header;
        let key = if self.keeps() { header.secret() } else { boxes::key(header, header.name(self.me)) };
        let mine = head(key, claim::owner(header.owner(self.me))?);
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

impl Port {
    /// Wakes whoever drives these slots.
    pub(super) fn call(&self, slots: Slots) {
        if slots.is_empty() {
            return;
        }
        let (Ok(parts), Ok(pen)) = (self.parts(), pen()) else { return };
        for slot in slots {
            // Where there is no room it wakes to read.
            let _ = self.put(pen.as_fd(), keeping::slot(parts.stacks) == Some(slot), slot, &[RING, 0], None);
        }
    }

    fn keepers_door(&self) -> io::Result<BorrowedFd<'static>> {
        borrow(self.header.keepers_box().1)
    }

    fn put(
        &self,
        pen: BorrowedFd<'_>,
        is_keepers: bool,
        slot: Slot,
        letter: &[u8],
        beside: Option<BorrowedFd<'_>>,
    ) -> io::Result<u64> {
        let owner = claim::owner(self.header.owner(slot)).ok_or(io::ErrorKind::NotFound)?;
        let (enclosed, inside) =
            if letter.len() > LONG || beside.is_some() { (Some(letter), &[][..]) } else { (None, letter) };
        let text = |key| [&head(key, owner)[..], inside].concat();
        if is_keepers {
            // Nobody else can be at the other end of it, and it is there before the keeper has a name.
            link::send(self.keepers_door()?, &text(self.header.secret()), enclosed, beside.as_slice())?;
        } else {
            let (inbox, key) = letterbox(&self.header, slot)?;
            link::send_to(pen, &inbox, &text(key), enclosed, beside.as_slice())?;
        }
        Ok(owner.word())
    }
}

/// What a letter to this process begins with, in the box that has this key.
fn head(key: Secret, owner: claim::Owner) -> [u8; HEAD] {
    let word = owner.word().to_le_bytes();
    std::array::from_fn(|n| key.get(n).copied().unwrap_or_else(|| word[n - key.len()]))
}
