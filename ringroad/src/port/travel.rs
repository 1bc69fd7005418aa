//! A port that goes to another process over a Unix socket, where its descriptors have other numbers.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::fds::{aside, borrow};
use super::{Port, high};

impl Port {
    /// Everything that belongs to the port, its file first, in the order that [`Port::arrived`] expects.
    pub(crate) fn departing(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        let mut parts = self.parts()?;
        let others = parts.descriptors().into_iter().map(|fd| borrow(*fd));
        std::iter::once(Ok(self.file.as_fd())).chain(others).collect()
    }

    /// The port that another process has sent, with a policy of our own: its descriptors get numbers that an `exec`
    /// leaves open.
    pub(crate) fn arrived(descriptors: Vec<OwnedFd>, policy: &str) -> io::Result<Self> {
        let incomplete = || io::Error::new(io::ErrorKind::InvalidData, "the port came incomplete");
        let mut descriptors = descriptors.into_iter();
        let file: File = aside(descriptors.next().ok_or_else(incomplete)?).into();
        let (port, mut parts) = Self::of_file(file)?;
        let numbers = parts.descriptors();
        if numbers.len() != descriptors.len() {
            return Err(incomplete());
        }
        for (number, fd) in numbers.into_iter().zip(descriptors) {
            *number = high(&fd)?;
        }
        Self::write(port.file.into_inner(), port.layout, &parts, policy)
    }
}
