//! A descriptor that wakes a sleeper.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use nic::Own;
use rustix::event::{EventfdFlags, eventfd};

use crate::port::aside;

/// An eventfd, shared between the one that sleeps on it and those that ring.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<Own>);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let fd = aside(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        Ok(Self(Arc::new(Own::new(fd))))
    }

    /// Wakes the sleeper, now or when it next sleeps.
    pub(crate) fn ring(&self) {
        // It fails only by overflow, and then the bell rings already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Silences the bell.
    pub(crate) fn quiet(&self) {
        // Nothing to read means that it is silent.
        let _ = rustix::io::read(&*self.0, &mut [0u8; 8]);
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
