//! A line between two related processes: notes of a few bytes, whole or not at all, with a file enclosed or not.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::port::aside;

/// No note is longer without its file.
pub(crate) const TEXT_MOST: usize = 16 * 1024 + 64;
/// No enclosed file is as long as this: a few connections with full buffers.
const FILE_MOST: u64 = 256 << 20;

/// One end of such a line. Its descriptor is out of the application's way, and closed when a program is executed.
#[derive(Debug)]
pub struct Link(OwnedFd);

/// What came over a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The note itself.
    pub text: Vec<u8>,
    /// What was in the file.
    pub enclosed: Option<Vec<u8>>,
}

impl Link {
    /// Both ends of a new line.
    ///
    /// # Errors
    /// The operating system's.
    pub fn pair() -> io::Result<[Self; 2]> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok([one, other].map(|end| Self(aside(end))))
    }

    /// The descriptor.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends a note, at once or not at all.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, `BrokenPipe` when the other end is closed.
    pub fn send(&self, text: &[u8], enclosed: Option<&[u8]>) -> io::Result<()> {
        send(self.0.as_fd(), text, enclosed)
    }

    /// The next note; none when there is none within `patience`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other end is closed, and the operating system's.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Note>> {
        let timeout = Timespec::try_from(patience).unwrap_or_default();
        if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout))? == 0 {
            return Ok(None);
        }
        match receive(self.0.as_fd()) {
            Ok(note) if note == Note::default() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Lines that somebody waits for together.
#[derive(Debug)]
pub struct Links(OwnedFd);

impl Links {
    /// None yet.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new() -> io::Result<Self> {
        Ok(Self(aside(epoll::create(epoll::CreateFlags::CLOEXEC)?)))
    }

    /// One more.
    ///
    /// # Errors
    /// The operating system's.
    pub fn add(&self, link: &Link) -> io::Result<()> {
        Ok(epoll::add(&self.0, &link.0, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?)
    }

    /// One less.
    pub fn remove(&self, link: &Link) {
        // What is not there need not go.
        let _ = epoll::delete(&self.0, &link.0);
    }

    /// Readable when one of them is.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Sends one message over a Unix socket.
pub(crate) fn send(to: impl AsFd, text: &[u8], enclosed: Option<&[u8]>) -> io::Result<()> {
    let file = enclosed.map(filed).transpose()?;
    let fds = file.as_ref().map(|file| [file.as_fd()]);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(to, &[IoSlice::new(text)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message from a Unix socket, without waiting; nothing at all at its end.
pub(crate) fn receive(from: impl AsFd) -> io::Result<Note> {
    let mut text = vec![0; TEXT_MOST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
    text.truncate(got.bytes);
    let mut file = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            file = fds.into_iter().next().or(file);
        }
    }
    Ok(Note { text, enclosed: file.map(unfiled).transpose()? })
}

fn filed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file: File = rustix::fs::memfd_create("ringroad-note", rustix::fs::MemfdFlags::CLOEXEC)?.into();
    file.write_all_at(bytes, 0)?;
    Ok(file.into())
}

fn unfiled(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(fd);
    let len = file.metadata()?.len();
    if len > FILE_MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_in_order_and_whole_and_then_the_end() {
        let [one, other] = Link::pair().unwrap();
        let links = Links::new().unwrap();
        links.add(&other).unwrap();
        assert_eq!(other.receive(Duration::ZERO).unwrap(), None);
        one.send(b"short", None).unwrap();
        one.send(b"with", Some(&vec![7; 100_000])).unwrap();
        let note = other.receive(Duration::ZERO).unwrap().unwrap();
        assert_eq!((&note.text[..], note.enclosed), (&b"short"[..], None));
        let note = other.receive(Duration::ZERO).unwrap().unwrap();
        assert_eq!((&note.text[..], note.enclosed), (&b"with"[..], Some(vec![7; 100_000])));
        drop(one);
        assert_eq!(other.receive(Duration::ZERO).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        links.remove(&other);
    }
}
