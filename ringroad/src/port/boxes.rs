//! Boxes and bells: how the processes of a port reach each other. Whoever takes a slot makes a box for letters, and writes its
//! name into the port's file: so others need no descriptor to reach it, and a slot that nobody has costs none. A letter wakes
//! a sleeper, too; who is rung for by letter answers with its bell, which is rung from then on.
//!
//! Everybody on the host can read the name of a box (an abstract Unix socket's). What is sent there has to begin with the
//! box's key, which is made of that name and the port's secret, and only who holds the port can read that: all else the kernel
//! throws away where it is sent (a socket filter), so a stranger can neither write to anybody, nor fill a box. A stranger
//! can give the name of a process that was killed to a socket of its own, until the slot is another's. So each box has a
//! key of its own: what comes to the dead says nothing of how to write to the living.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;

use af_xdp::Slot;
use nic::Own;
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use stack::hash::HashKey;

use super::fds::{admit, aside};
use super::header::Header;

/// What a port has, and what everything that is sent begins with.
pub(super) type Secret = [u8; 16];

/// A process's own box and bell, for its life.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// What others are written to by, too: it has no other end.
    pub(super) inbox: BorrowedFd<'static>,
    /// An eventfd. Who rings more than once asks for it.
    bell: BorrowedFd<'static>,
    name: u64,
}

impl Place {
    /// Makes those of slot `slot`, which this process has, and tells the others.
    pub(super) fn make(header: &Header, slot: Slot) -> io::Result<Self> {
        let mut name = [0; 8];
        rustix::rand::getrandom(&mut name, rustix::rand::GetRandomFlags::empty())?;
        let name = u64::from_ne_bytes(name);
        let inbox = pen()?;
        admit(inbox.as_fd(), key(header, name))?;
        bind(&inbox, &address(name)?)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        header.set_name(slot, name);
        Ok(Self { inbox: for_life(inbox), bell: for_life(bell), name })
    }
}

/// As with the port's own descriptors, whoever wrote its number down may use it until the process ends.
fn for_life(fd: OwnedFd) -> BorrowedFd<'static> {
    let held: &'static Own = Box::leak(Box::new(Own::new(aside(fd))));
    held.as_fd()
}

/// One's own bell, and those of others that have told it.
pub(crate) struct Bells {
    header: Header,
    mine: Place,
    /// By slot: the name of whose it is, and the bell.
    known: Vec<Option<(u64, Own)>>,
}

impl Bells {
    pub(super) fn new(header: Header, mine: Place, stacks: Slot) -> Self {
        Self { header, mine, known: (0..stacks).map(|_| None).collect() }
    }

    /// Our own: readable when somebody has rung it; and by what name others know it.
    pub(crate) fn mine(&self) -> (BorrowedFd<'static>, u64) {
        (self.mine.bell, self.mine.name)
    }

    /// Wakes whoever drives a slot. False when its bell is not known: a letter wakes it.
    #[inline]
    pub(crate) fn ring(&self, slot: Slot) -> bool {
        let known = self.known.get(usize::from(slot)).and_then(Option::as_ref);
        let Some((_, bell)) = known.filter(|(name, _)| *name == self.header.name(slot)) else { return false };
        ring(bell.as_fd());
        true
    }

    /// The bell of who has told that it drives a slot by this name.
    pub(crate) fn learn(&mut self, slot: Slot, name: u64, bell: OwnedFd) {
        if let Some(known) = self.known.get_mut(usize::from(slot)) {
            *known = Some((name, Own::new(aside(bell))));
        }
    }

    /// Closes the bells of those that drive no slot any more.
    pub(crate) fn forget_dead(&mut self) {
        for (slot, known) in self.known.iter_mut().enumerate() {
            if let Some((name, _)) = known {
                let (slot, name) = (slot as Slot, *name);
                let gone = self.header.owner(slot).load(Ordering::Acquire) == 0;
                if gone || self.header.name(slot) != name {
                    *known = None;
                }
            }
        }
    }

    /// Has our own ring.
    pub(crate) fn ring_mine(&self) {
        ring(self.mine.bell);
    }

    /// Silences our own.
    pub(crate) fn quiet(&self) {
        // Nothing to read means that it is silent.
        let _ = rustix::io::read(self.mine.bell, &mut [0; 8]);
    }
}

fn ring(bell: BorrowedFd<'_>) {
    // It fails only by overflow, and then it rings already.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}

/// Where letters to whoever drives a slot go, and what they begin with.
pub(super) fn letterbox(header: &Header, slot: Slot) -> io::Result<(SocketAddrUnix, Secret)> {
    let name = header.name(slot);
    Ok((address(name)?, key(header, name)))
}

/// What letters to the box of this name begin with: who knows one cannot tell another.
pub(super) fn key(header: &Header, name: u64) -> Secret {
    let secret = HashKey::new(header.secret());
    let [low, high] = [0, 1].map(|half| secret.sip24(&[name, half]).to_le_bytes());
    std::array::from_fn(|n| if n < 8 { low[n] } else { high[n - 8] })
}

/// A socket to write by, and to give a name.
pub(super) fn pen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?)
}

fn address(name: u64) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new_abstract_name(format!("ringroad/box/{name:016x}").as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::net::{SendFlags, sendto};

    use super::super::header::HEADER;
    use super::*;

    fn file() -> File {
        let fd = rustix::fs::memfd_create("boxes", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(fd);
        file.set_len(HEADER as u64).unwrap();
        Header::map(&file).unwrap().set_secret([7; 16]);
        file
    }

    fn waits(fd: BorrowedFd<'_>) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))).unwrap() == 1
    }

    #[test]
    fn a_bell_rings_for_whom_it_is_known_until_another_has_the_slot() {
        let file = file();
        let header = Header::map(&file).unwrap();
        let [mine, other] = [250, 3].map(|slot| Place::make(&header, slot).unwrap());
        let mut bells = Bells::new(Header::map(&file).unwrap(), mine, 251);
        assert!(!bells.ring(3) && !bells.ring(251));
        bells.learn(3, other.name, other.bell.try_clone_to_owned().unwrap());
        bells.learn(251, other.name, other.bell.try_clone_to_owned().unwrap());
        assert!(bells.ring(3) && !bells.ring(251));
        bells.ring_mine();
        assert_eq!([mine, other].map(|place| waits(place.bell)), [true, true]);
        bells.quiet();
        assert_eq!([mine, other].map(|place| waits(place.bell)), [false, true]);
        header.owner(3).store(7, Ordering::Release);
        bells.forget_dead();
        assert!(bells.ring(3));
        Place::make(&header, 3).unwrap();
        assert!(!bells.ring(3), "that is another process's slot now");
        bells.forget_dead();
        assert!(bells.known.iter().all(Option::is_none));
        bells.learn(3, header.name(3), other.bell.try_clone_to_owned().unwrap());
        header.owner(3).store(0, Ordering::Release);
        bells.forget_dead();
        assert!(!bells.ring(3), "nobody drives it");
    }

    #[test]
    fn what_does_not_begin_with_its_key_comes_to_nobody() {
        let header = Header::map(&file()).unwrap();
        let [place, other] = [0, 1].map(|slot| Place::make(&header, slot).unwrap());
        let (pen, (inbox, key)) = (pen().unwrap(), letterbox(&header, 0).unwrap());
        let mut nearly = key;
        nearly[15] ^= 1;
        let others = super::key(&header, other.name);
        for text in [&nearly[..], &others, &header.secret(), &key[..15], &[0; 100], b"x", b""] {
            // More than there is room for.
            (0..100).for_each(|_| _ = sendto(&pen, text, SendFlags::DONTWAIT, &inbox));
        }
        assert!(!waits(place.inbox));
        assert_eq!(sendto(&pen, &key, SendFlags::DONTWAIT, &inbox), Ok(16));
        assert!(waits(place.inbox));
    }
}
