//! What processes of ours say to each other over a Unix socket: lines of JSON, and descriptors.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, recvmsg,
    sendmsg, socket_with,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Descriptors in a message (the kernel's SCM_MAX_FD is 253).
const AT_ONCE: usize = 100;
/// More are not received: the largest port has some 5,400.
const MOST: usize = 8192;

/// Connects to the socket at `path`, at once or not at all: a queue that is full is not waited for (`WouldBlock`).
pub(crate) fn dial(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket.into())
}

/// A stream over which all is said and heard by one time, however little the other end takes or gives at once. By system
/// calls of our own: libc's are the shim's where it is a TCP stream.
pub(crate) struct Timed<'s> {
    stream: BorrowedFd<'s>,
    until: Instant,
}

impl<'s> Timed<'s> {
    pub(crate) fn new(stream: &'s impl AsFd, patience: Duration) -> Self {
        Self { stream: stream.as_fd(), until: Instant::now() + patience }
    }

    /// The next call over the stream takes no longer than is left.
    fn bound(&self, what: Timeout) -> io::Result<()> {
        match self.until.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(set_socket_timeout(self.stream, what, Some(left))?),
        }
    }
}

/// The kernel's word for a timeout is that it would block.
fn late(error: Errno) -> io::Error {
    if error == Errno::AGAIN { io::ErrorKind::TimedOut.into() } else { error.into() }
}

impl Read for Timed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bound(Timeout::Recv)?;
        recv(self.stream, into, RecvFlags::empty()).map(|(len, _)| len).map_err(late)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bound(Timeout::Send)?;
        rustix::net::send(self.stream, bytes, SendFlags::NOSIGNAL).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says something.
pub(crate) fn say(mut to: impl Write, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Hears something, in a line that is no longer than that. Octet by octet: nothing behind the line may be taken, descriptors hang on it.
pub(crate) fn hear<T: DeserializeOwned>(mut from: impl Read, longest: usize) -> io::Result<T> {
    let mut line = Vec::new();
    let mut octet = [0];
    while line.len() < longest {
        from.read_exact(&mut octet)?;
        if octet == *b"\n" {
            return Ok(serde_json::from_slice(&line)?);
        }
        line.extend(octet);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the line has no end"))
}

/// Hears everything up to the end, no more than so many octets.
pub(crate) fn hear_all<T: DeserializeOwned>(from: impl Read, longest: usize) -> io::Result<T> {
    let mut all = Vec::new();
    from.take(longest as u64 + 1).read_to_end(&mut all)?;
    if all.len() > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer has no end"));
    }
    Ok(serde_json::from_slice(&all)?)
}

/// Sends descriptors.
pub(crate) fn send(to: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in descriptors.chunks(AT_ONCE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(some));
        sendmsg(to, &[IoSlice::new(b"F")], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives so many descriptors.
pub(crate) fn receive(from: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the other end went in the middle");
    let mut all = Vec::new();
    while all.len() < count.min(MOST) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut octet = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        if recvmsg(from, &mut [IoSliceMut::new(&mut octet)], &mut control, flags)?.bytes == 0 {
            return Err(cut());
        }
        let before = all.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                all.extend(some);
            }
        }
        if all.len() == before {
            return Err(cut());
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Writes an octet again and again, until nobody reads.
    fn dribble(to: UnixStream) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || while (&to).write_all(b"1").is_ok() {})
    }

    #[test]
    fn who_never_comes_to_an_end_is_heard_for_so_long_and_so_much() {
        let (left, right) = UnixStream::pair().unwrap();
        let talker = dribble(left);
        let never = Duration::from_secs(3600);
        let endless = hear_all::<u64>(Timed::new(&right, never), 1000).unwrap_err();
        assert_eq!(endless.kind(), io::ErrorKind::InvalidData);
        let late = hear::<u64>(Timed::new(&right, Duration::from_millis(1)), usize::MAX).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let mut over = Timed::new(&right, Duration::ZERO);
        assert_eq!(over.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(over.write(&[0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(right);
        talker.join().unwrap();
        let (_left, right) = UnixStream::pair().unwrap();
        let silent = hear::<u64>(Timed::new(&right, Duration::from_millis(1)), 10).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_queue_that_is_full_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        assert_eq!(dial(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        rustix::net::listen(&socket, 0).unwrap();
        let first = dial(&path).unwrap();
        assert_eq!(dial(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
    }

    #[test]
    fn what_is_said_is_heard_and_descriptors_come_whole() {
        let (left, right) = UnixStream::pair().unwrap();
        let words = vec!["a".to_owned(), "bc".to_owned()];
        say(&left, &words).unwrap();
        let files: Vec<File> = (0..150).map(|_| File::open("/dev/zero").unwrap()).collect();
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        send(&left, &borrowed).unwrap();
        drop(left);
        assert_eq!(hear::<Vec<String>>(&right, 64).unwrap(), words);
        let mut got = receive(&right, 150).unwrap();
        assert_eq!(got.len(), 150);
        let mut octet = [1];
        File::from(got.remove(149)).read_exact(&mut octet).unwrap();
        assert_eq!(octet, [0]);
        assert!(receive(&right, 1).is_err());
    }
}
