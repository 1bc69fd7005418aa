//! Boxes and bells: how the processes of a port reach each other. Whoever takes a slot makes a box for letters and a bell, and
//! writes the name that both have into the port's file: so others need no descriptor to reach it, and a slot that nobody
//! has costs none.
//!
//! Everybody on the host can read such a name (an abstract Unix socket's). What is sent there has to begin with the port's
//! secret, which only who holds the port can read: all else the kernel throws away where it is sent (a socket filter), so a
//! stranger can neither write to anybody, nor fill a box, nor wake a sleeper.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use af_xdp::{Slot, Slots};
use nic::Own;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv, sendto,
    socket_with,
};

use super::fds::{admit, aside};
use super::header::Header;

/// What everything that is sent begins with.
pub(super) type Secret = [u8; 16];

/// Rings that a bell takes before it is silenced; the kernel keeps fewer (net.unix.max_dgram_qlen), on most hosts.
const RINGS: usize = 1024;

/// What a name is of.
#[derive(Clone, Copy)]
enum Kind {
    Box,
    Bell,
}

/// A process's own box and bell, for its life.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) inbox: BorrowedFd<'static>,
    /// What others are reached by, too: it has no other end.
    pub(super) bell: BorrowedFd<'static>,
}

impl Place {
    /// Makes those of slot `slot`, which this process has, and tells the others.
    pub(super) fn make(header: &Header, slot: Slot) -> io::Result<Self> {
        let mut name = [0; 8];
        rustix::rand::getrandom(&mut name, rustix::rand::GetRandomFlags::empty())?;
        let name = u64::from_ne_bytes(name);
        let one = |kind| -> io::Result<BorrowedFd<'static>> {
            let socket = pen()?;
            admit(socket.as_fd(), header.secret())?;
            bind(&socket, &address(kind, name)?)?;
            // As with the port's own descriptors, whoever wrote its number down may use it until the process ends.
            let socket: &'static Own = Box::leak(Box::new(Own::new(aside(socket))));
            Ok(socket.as_fd())
        };
        let place = Self { inbox: one(Kind::Box)?, bell: one(Kind::Bell)? };
        header.set_name(slot, name);
        Ok(place)
    }
}

/// The bells of a port, and one's own.
pub(crate) struct Bells {
    header: Header,
    me: Slot,
    mine: BorrowedFd<'static>,
}

impl Bells {
    pub(super) fn new(header: Header, me: Slot, place: Place) -> Self {
        Self { header, me, mine: place.bell }
    }

    /// Readable when somebody has rung for us.
    pub(crate) fn mine(&self) -> BorrowedFd<'static> {
        self.mine
    }

    /// Wakes whoever drives a slot.
    pub(crate) fn ring(&self, slot: Slot) {
        ring(&self.header, self.mine, slot);
    }

    /// Has our own bell ring.
    pub(crate) fn ring_mine(&self) {
        self.ring(self.me);
    }

    /// Silences our own.
    pub(crate) fn quiet(&self) {
        for _ in 0..RINGS {
            if recv(self.mine, &mut [0; size_of::<Secret>()], RecvFlags::DONTWAIT).is_err() {
                return;
            }
        }
    }
}

/// Wakes whoever drives these slots, from a process that may have none.
pub(super) fn call(header: &Header, slots: Slots) {
    if !slots.is_empty()
        && let Ok(pen) = pen()
    {
        slots.into_iter().for_each(|slot| ring(header, pen.as_fd(), slot));
    }
}

/// Where letters to whoever drives a slot go.
pub(super) fn letterbox(header: &Header, slot: Slot) -> io::Result<SocketAddrUnix> {
    address(Kind::Box, header.name(slot))
}

fn ring(header: &Header, pen: BorrowedFd<'_>, slot: Slot) {
    if let Ok(bell) = address(Kind::Bell, header.name(slot)) {
        // It fails when it rings already, so often that there is no room; or there is nobody.
        let _ = sendto(pen, &header.secret(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &bell);
    }
}

/// A socket to send by, and to give a name.
fn pen() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?)
}

/// Without a formatter: bells are rung on the way of packets.
fn address(kind: Kind, name: u64) -> io::Result<SocketAddrUnix> {
    let mut text = match kind {
        Kind::Box => *b"ringroad/box/0000000000000000",
        Kind::Bell => *b"ringroad/bel/0000000000000000",
    };
    let digits = text.len() - 16;
    for (n, digit) in text[digits..].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(name >> (60 - 4 * n)) as usize & 15];
    }
    Ok(SocketAddrUnix::new_abstract_name(&text)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::super::header::HEADER;
    use super::*;

    fn header() -> Header {
        let fd = rustix::fs::memfd_create("boxes", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(fd);
        file.set_len(HEADER as u64).unwrap();
        let header = Header::map(&file).unwrap();
        header.set_secret([7; 16]);
        header
    }

    fn waits(fd: BorrowedFd<'_>) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))).unwrap() == 1
    }

    #[test]
    fn a_bell_rings_for_its_slot_until_it_is_silenced() {
        let header = header();
        let places = [3, 250].map(|slot| Place::make(&header, slot).unwrap());
        call(&header, [3].into_iter().collect());
        assert_eq!(places.map(|place| waits(place.bell)), [true, false]);
        let bells = Bells::new(header, 250, places[1]);
        // More often than there is room.
        (0..1000).for_each(|_| bells.ring(3));
        bells.ring(4);
        bells.ring_mine();
        assert_eq!(places.map(|place| waits(place.bell)), [true, true]);
        bells.quiet();
        assert_eq!(places.map(|place| waits(place.bell)), [true, false]);
        assert_eq!(places.map(|place| waits(place.inbox)), [false, false]);
    }

    #[test]
    fn what_does_not_begin_with_the_secret_comes_to_nobody() {
        let header = header();
        let place = Place::make(&header, 0).unwrap();
        let pen = pen().unwrap();
        let (inbox, bell) = (letterbox(&header, 0).unwrap(), address(Kind::Bell, header.name(0)).unwrap());
        let mut nearly = [7; 24];
        nearly[15] = 8;
        for text in [&nearly[..], &[7; 15], &[0; 100], b"x", b""] {
            for to in [&inbox, &bell] {
                let _ = sendto(&pen, text, SendFlags::DONTWAIT, to);
            }
        }
        assert!(!waits(place.inbox) && !waits(place.bell));
        assert_eq!(sendto(&pen, &[7; 17], SendFlags::DONTWAIT, &inbox), Ok(17));
        assert!(waits(place.inbox));
    }
}
