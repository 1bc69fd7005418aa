//! What agent and user say to each other: a line of JSON each way, then the descriptors.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest line.
const LINE: usize = 1 << 14;
/// Descriptors in a message (the kernel's SCM_MAX_FD is 253).
const AT_ONCE: usize = 100;
/// The most descriptors of a port.
const MOST: usize = 1000;

/// What a user wants.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) interfaces: Vec<String>,
    pub(super) frames: u32,
}

/// What the agent answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// So many descriptors follow.
    Port(usize),
    /// Why not, in words for the user.
    Refused(String),
}

/// Says something.
pub(super) fn say(mut to: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Hears something. Octet by octet: nothing behind the line may be taken, descriptors hang on it.
pub(super) fn hear<T: DeserializeOwned>(mut from: &UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    let mut octet = [0];
    while line.len() < LINE {
        from.read_exact(&mut octet)?;
        if octet == *b"\n" {
            return Ok(serde_json::from_slice(&line)?);
        }
        line.extend(octet);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the line has no end"))
}

/// Sends descriptors.
pub(super) fn send(to: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in descriptors.chunks(AT_ONCE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(some));
        sendmsg(to, &[IoSlice::new(b"F")], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives so many descriptors.
pub(super) fn receive(from: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the agent ended in the middle");
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
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_is_said_is_heard_and_descriptors_come_whole() {
        let (left, right) = UnixStream::pair().unwrap();
        let wish = Wish { interfaces: vec!["a".into()], frames: 7 };
        say(&left, &wish).unwrap();
        let files: Vec<File> = (0..150).map(|_| File::open("/dev/zero").unwrap()).collect();
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        send(&left, &borrowed).unwrap();
        drop(left);
        assert_eq!(hear::<Wish>(&right).unwrap(), wish);
        let mut got = receive(&right, 150).unwrap();
        assert_eq!(got.len(), 150);
        let mut octet = [1];
        File::from(got.remove(149)).read_exact(&mut octet).unwrap();
        assert_eq!(octet, [0]);
        assert!(receive(&right, 1).is_err());
    }
}
