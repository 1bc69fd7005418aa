//! A line between two related processes: notes of a few bytes, whole or not at all, with a file enclosed or not.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::iter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::FdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, sendmsg, sendmsg_addr,
    socketpair,
};

use crate::port::{aside, borrow};
use crate::pump::Ends;

/// No note is longer without its file.
pub(crate) const TEXT_MOST: usize = 16 * 1024 + 64;
/// The most descriptors of one note: its file, and those beside it.
const FDS_MOST: usize = 1 + 3;
/// No enclosed file is longer than this: many connections with full buffers.
pub const FILE_MOST: usize = 256 << 20;

/// One end of such a line. Its descriptor is out of the application's way, and closed when a program is executed.
#[derive(Debug)]
pub struct Link(OwnedFd);

/// What came over a line.
#[derive(Debug, Default)]
pub struct Note {
    /// The note itself.
    pub text: Vec<u8>,
    /// What was in the file.
    pub enclosed: Option<Vec<u8>>,
    /// Descriptors that came beside the file.
    pub(crate) beside: Vec<OwnedFd>,
}

impl Note {
    /// The descriptor that came beside the file, if there is one alone.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        let [one] = <[OwnedFd; 1]>::try_from(std::mem::take(&mut self.beside)).ok()?;
        Some(one)
    }
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

    /// The end that a program was executed with, by its number.
    ///
    /// # Errors
    /// It is not open.
    pub fn inherited(fd: RawFd) -> io::Result<Self> {
        Ok(Self(aside(rustix::io::fcntl_dupfd_cloexec(borrow(fd)?, 0)?)))
    }

    /// The end that another process has sent.
    pub(crate) fn arrived(fd: OwnedFd) -> Self {
        Self(aside(fd))
    }

    /// Whether it stays open when a program is executed.
    pub fn outlive_exec(&self, on: bool) {
        let flags = if on { FdFlags::empty() } else { FdFlags::CLOEXEC };
        // Of an open descriptor nothing can fail.
        let _ = rustix::io::fcntl_setfd(&self.0, flags);
    }

    /// The descriptor.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Sends a note, at once or not at all.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, `BrokenPipe` when the other end is closed, `InvalidInput` when what is enclosed
    /// is longer than [`FILE_MOST`].
    pub fn send(&self, text: &[u8], enclosed: Option<&[u8]>) -> io::Result<()> {
        send(self.0.as_fd(), text, enclosed, &[])
    }

    /// As [`send`](Link::send), with the ends of a pump.
    ///
    /// # Errors
    /// As it says.
    pub fn send_ends(&self, text: &[u8], ends: &Ends) -> io::Result<()> {
        send(self.0.as_fd(), text, Some(&[]), &ends.for_the_pump())
    }

    /// As [`send`](Link::send), with a descriptor.
    ///
    /// # Errors
    /// As it says; it is not open.
    pub fn send_beside(&self, text: &[u8], enclosed: &[u8], beside: RawFd) -> io::Result<()> {
        send(self.0.as_fd(), text, Some(enclosed), &[borrow(beside)?])
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
        // Who closed the other end without having read all is told of by an error, once, before what it had sent.
        let heard = match receive(self.0.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => receive(self.0.as_fd()),
            heard => heard,
        };
        match heard {
            Ok(note) if note.text.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(note) => Ok(Some(note)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Lines looked at in one go.
const READY: usize = 64;

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
        let data = epoll::EventData::new_u64(link.raw() as u64);
        Ok(epoll::add(&self.0, &link.0, data, epoll::EventFlags::IN)?)
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

    /// Those on which something was said, or whose other end is closed, by their descriptors: some of them, where they are
    /// many. Of the others nothing is asked, however many there are.
    pub fn ready(&self) -> Vec<RawFd> {
        let mut events = Vec::with_capacity(READY);
        let at_once = Timespec::default();
        // A signal, or nothing to tell: whoever waits for the set comes again.
        let _ = epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), Some(&at_once));
        events.iter().map(|event| event.data.u64() as RawFd).collect()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends one message over a Unix socket; descriptors go `beside` an enclosed file only.
pub(crate) fn send(
    to: impl AsFd,
    text: &[u8],
    enclosed: Option<&[u8]>,
    beside: &[BorrowedFd<'_>],
) -> io::Result<()> {
    with_control(enclosed, beside, |control| {
        Ok(sendmsg(to, &[IoSlice::new(text)], control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
    })
}

/// As [`send`], by a socket that is connected to nobody.
pub(crate) fn send_to(
    by: impl AsFd,
    to: &SocketAddrUnix,
    text: &[u8],
    enclosed: Option<&[u8]>,
    beside: &[BorrowedFd<'_>],
) -> io::Result<()> {
    with_control(enclosed, beside, |control| {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(sendmsg_addr(by, to, &[IoSlice::new(text)], control, flags)?)
    })
}

/// Calls `act` with what goes beside a message.
fn with_control(
    enclosed: Option<&[u8]>,
    beside: &[BorrowedFd<'_>],
    act: impl FnOnce(&mut SendAncillaryBuffer<'_, '_, '_>) -> io::Result<usize>,
) -> io::Result<()> {
    let file = enclosed.map(filed).transpose()?;
    let beside = beside.iter().copied();
    let fds: Vec<BorrowedFd<'_>> =
        file.iter().flat_map(|file| iter::once(file.as_fd()).chain(beside.clone())).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    act(&mut control).map(|_| ())
}

/// Whether a message came, and what was beside it is lost. The line is as good as before.
pub fn is_lost(error: &io::Error) -> bool {
    let lost = error.raw_os_error() == Some(libc::EMFILE);
    if lost {
        crate::log::tell(format_args!("out of descriptors: what another process sent is lost"));
    }
    lost
}

/// Receives one message from a Unix socket, without waiting; nothing at all at its end.
///
/// # Errors
/// The operating system's; EMFILE when a descriptor that came has no number here.
pub(crate) fn receive(from: impl AsFd) -> io::Result<Note> {
    let mut text = vec![0; TEXT_MOST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = recvmsg(from, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
    text.truncate(got.bytes);
    if got.flags.contains(ReturnFlags::CTRUNC) {
        // Out of descriptors: what came beside the text is lost.
        return Err(rustix::io::Errno::MFILE.into());
    }
    let (mut file, mut beside) = (None, Vec::new());
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            file = fds.next();
            beside.extend(fds);
        }
    }
    Ok(Note { text, enclosed: file.map(unfiled).transpose()?, beside })
}

fn filed(bytes: &[u8]) -> io::Result<OwnedFd> {
    if bytes.len() > FILE_MOST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let file: File = rustix::fs::memfd_create("ringroad-note", rustix::fs::MemfdFlags::CLOEXEC)?.into();
    file.write_all_at(bytes, 0)?;
    Ok(file.into())
}

fn unfiled(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(fd);
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if len > FILE_MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; len];
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
        let [_silent, third] = Link::pair().unwrap();
        links.add(&third).unwrap();
        assert!(links.ready().is_empty());
        assert!(other.receive(Duration::ZERO).unwrap().is_none());
        one.send(b"short", None).unwrap();
        one.send(b"with", Some(&vec![7; 100_000])).unwrap();
        assert_eq!(links.ready(), [other.raw()]);
        let note = other.receive(Duration::ZERO).unwrap().unwrap();
        assert_eq!((&note.text[..], note.enclosed), (&b"short"[..], None));
        let note = other.receive(Duration::ZERO).unwrap().unwrap();
        assert_eq!((&note.text[..], note.enclosed), (&b"with"[..], Some(vec![7; 100_000])));
        assert!(links.ready().is_empty());
        drop(one);
        assert_eq!(links.ready(), [other.raw()]);
        assert_eq!(other.receive(Duration::ZERO).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        links.remove(&other);
        assert!(links.ready().is_empty());
    }

    #[test]
    fn what_was_said_before_the_end_comes_though_not_all_was_heard() {
        let [one, other] = Link::pair().unwrap();
        one.send(b"unheard", None).unwrap();
        other.send(b"last", None).unwrap();
        drop(other);
        assert_eq!(one.receive(Duration::ZERO).unwrap().unwrap().text, b"last");
        assert_eq!(one.receive(Duration::ZERO).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn who_sends_hears_that_it_is_too_long() {
        let [one, other] = Link::pair().unwrap();
        let long = vec![0; FILE_MOST + 1];
        assert_eq!(one.send(b"long", Some(&long)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(other.receive(Duration::ZERO).unwrap().is_none());
    }

    #[test]
    fn who_receives_hears_that_a_descriptor_was_lost() {
        let [one, other] = Link::pair().unwrap();
        let fds = [other.as_fd(); 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&one, &[IoSlice::new(b"eight")], &mut control, SendFlags::empty()).unwrap();
        assert!(other.receive(Duration::ZERO).is_err());
    }

    #[test]
    fn a_descriptor_comes_beside_what_is_enclosed() {
        let [one, other] = Link::pair().unwrap();
        let [line, end] = Link::pair().unwrap();
        send(&one, b"both", Some(b""), &[end.as_fd()]).unwrap();
        drop(end);
        let note = other.receive(Duration::ZERO).unwrap().unwrap();
        assert_eq!(note.enclosed.as_deref(), Some(&b""[..]));
        let end = Link::arrived(note.beside.into_iter().next().unwrap());
        line.send(b"heard", None).unwrap();
        assert_eq!(end.receive(Duration::ZERO).unwrap().unwrap().text, b"heard");
    }
}
