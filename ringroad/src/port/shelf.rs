//! What the policy in force was compiled to, for whoever comes to drive the port.
//!
//! It is in a sealed file, which nobody can write to: so each policy has another one, and a number of a descriptor that all
//! have would not do. A pair of sockets does, which all processes of the port hold: a message with the file waits in it, whoever
//! comes looks at it and leaves it there, and whoever puts another policy in force takes it out. It is empty where nobody has
//! compiled what is in force; then whoever comes does. All of that happens under the lock of the [policies](super::policy).

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::fds::borrow;
use super::header::Header;
use super::high;

/// The two ends.
pub(super) struct Shelf {
    inside: BorrowedFd<'static>,
    door: BorrowedFd<'static>,
}

/// Makes that of a port, at high numbers that an `exec` leaves open.
pub(super) fn make(header: &Header) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let ends = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    header.set_shelf([high(&ends.0)?, high(&ends.1)?]);
    Ok(())
}

impl Shelf {
    pub(super) fn of(header: &Header) -> io::Result<Self> {
        let [inside, door] = header.shelf();
        Ok(Self { inside: borrow(inside)?, door: borrow(door)? })
    }

    /// Takes what lies there out.
    pub(super) fn clear(&self) {
        while self.receive(RecvFlags::empty()).is_ok() {}
    }

    /// Puts `image` there instead of what lies there. Where that is not possible nothing does.
    pub(super) fn put(&self, image: BorrowedFd<'_>) {
        self.clear();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let images = [image];
        control.push(SendAncillaryMessage::ScmRights(&images));
        if let Err(error) = sendmsg(self.door, &[IoSlice::new(b"I")], &mut control, SendFlags::NOSIGNAL) {
            tracing::debug!(%error, "whoever comes has to compile the policy");
        }
    }

    /// What lies there, which stays.
    pub(super) fn look(&self) -> Option<File> {
        self.receive(RecvFlags::PEEK).ok().flatten()
    }

    fn receive(&self, flags: RecvFlags) -> io::Result<Option<File>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut octet = [0];
        let flags = flags | RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        recvmsg(self.inside, &mut [IoSliceMut::new(&mut octet)], &mut control, flags)?;
        let files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut files) => files.next(),
            _ => None,
        });
        Ok(files.map(File::from).last())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use nic::{Frozen, seal};

    use super::*;

    /// One whose ends stay open.
    fn shelf() -> Shelf {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let ends = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        let [inside, door] =
            [ends.0, ends.1].map(|end| borrow(std::os::fd::IntoRawFd::into_raw_fd(end)).unwrap());
        Shelf { inside, door }
    }

    fn seen(shelf: &Shelf) -> Option<Vec<u8>> {
        shelf.look().map(|file| Frozen::map(&file).unwrap().to_vec())
    }

    #[test]
    fn what_lies_there_is_seen_by_all_until_something_else_does() {
        let shelf = shelf();
        assert_eq!(seen(&shelf), None);
        for bytes in [&b"one"[..], b"another"] {
            let image = seal(c"test", &[bytes]).unwrap();
            shelf.put(image.as_fd());
            drop(image);
            for _ in 0..3 {
                assert_eq!(seen(&shelf).as_deref(), Some(bytes));
            }
        }
        shelf.clear();
        assert_eq!(seen(&shelf), None);
    }

    #[test]
    fn a_message_without_a_file_is_nothing() {
        let shelf = shelf();
        rustix::net::send(shelf.door, b"I", SendFlags::NOSIGNAL).unwrap();
        assert_eq!(seen(&shelf), None);
        shelf.put(seal(c"test", &[b"one"]).unwrap().as_fd());
        assert_eq!(seen(&shelf).as_deref(), Some(&b"one"[..]));
    }
}
