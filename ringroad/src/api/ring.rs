//! A socket of the stack, with calls that block.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stack::engine::Stack;
use stack::error::SocketError;
use stack::socket::{OptName, RecvFlags, SendFlags, Value};
use stack::time::Instant;
use stack::types::SocketId;

use super::error;
use crate::runtime::{API_COOKIE, Runtime, Wait, Waited};

/// Cookies of this API, one a socket.
static COOKIES: AtomicU64 = AtomicU64::new(1);

/// A cookie that no other socket has.
pub(super) fn cookie() -> u64 {
    API_COOKIE | COOKIES.fetch_add(1, Ordering::Relaxed)
}

/// What a blocking call came back with.
pub(super) enum Outcome<R> {
    Done(R),
    /// The kernel's descriptor became ready instead.
    Kernel,
}

/// A socket of the stack. Closed when the last handle goes.
pub(super) struct Ring {
    pub(super) runtime: &'static Runtime,
    pub(super) id: SocketId,
    cookie: u64,
    nonblocking: AtomicBool,
    /// Nanoseconds; zero: for ever.
    recv_timeout: AtomicU64,
    send_timeout: AtomicU64,
    /// Holds the port in the kernel; none for accepted connections, whose listener does.
    _backing: Option<OwnedFd>,
}

/// Which time-out a call obeys.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Recv,
    Send,
}

impl Ring {
    pub(super) fn new(
        runtime: &'static Runtime,
        id: SocketId,
        cookie: u64,
        backing: Option<OwnedFd>,
    ) -> Self {
        Self {
            runtime,
            id,
            cookie,
            nonblocking: AtomicBool::new(false),
            recv_timeout: AtomicU64::new(0),
            send_timeout: AtomicU64::new(0),
            _backing: backing,
        }
    }

    /// One call under the lock.
    pub(super) fn call<R>(
        &self,
        f: impl FnOnce(&mut Stack, Instant) -> Result<R, SocketError>,
    ) -> io::Result<R> {
        let mut turn = self.runtime.lock();
        let now = turn.now();
        f(turn.stack(), now).map_err(error)
    }

    /// Repeats the call until it does not say `WouldBlock`.
    pub(super) fn block<R>(
        &self,
        side: Side,
        f: impl FnMut(&mut Stack, Instant) -> Result<R, SocketError>,
    ) -> io::Result<R> {
        match self.block_with(side, &mut [], f)? {
            Outcome::Done(r) => Ok(r),
            Outcome::Kernel => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// As [`Ring::block`], until a kernel descriptor is ready.
    pub(super) fn block_with<R>(
        &self,
        side: Side,
        kernel: &mut [libc::pollfd],
        mut f: impl FnMut(&mut Stack, Instant) -> Result<R, SocketError>,
    ) -> io::Result<Outcome<R>> {
        match self.call(|stack, now| Ok(f(stack, now)))? {
            Err(SocketError::WouldBlock) => {}
            result => return result.map(Outcome::Done).map_err(error),
        }
        let begin = self.runtime.now();
        let deadline =
            if self.nonblocking.load(Ordering::Relaxed) { Some(begin) } else { self.deadline(side, begin) };
        loop {
            let keys = [self.cookie];
            let wait = Wait { kernel: &mut *kernel, deadline, keys: &keys, ..Wait::default() };
            let waited = self.runtime.wait(wait, |turn| {
                let now = turn.now();
                match f(turn.stack(), now) {
                    Err(SocketError::WouldBlock) => None,
                    result => Some(result),
                }
            });
            return match waited {
                Waited::Ready(result) => result.map(Outcome::Done).map_err(error),
                Waited::Kernel => Ok(Outcome::Kernel),
                Waited::TimedOut => Err(io::ErrorKind::WouldBlock.into()),
                Waited::Interrupted => continue,
            };
        }
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        self.block(Side::Send, |stack, now| {
            let mut rest = bytes;
            stack.send(now, self.id, rest.len(), SendFlags::default(), &mut |room: &mut [u8]| {
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                Ok(n)
            })
        })
    }

    pub(super) fn recv(&self, into: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        self.block(Side::Recv, |stack, now| {
            let mut at = 0;
            stack.recv(now, self.id, into.len(), flags, &mut |bytes: &[u8]| {
                into[at..at + bytes.len()].copy_from_slice(bytes);
                at += bytes.len();
                Ok(())
            })
        })
    }

    pub(super) fn option(&self, name: OptName) -> io::Result<i32> {
        self.call(|stack, _| stack.option(self.id, name)?.int())
    }

    pub(super) fn set_option(&self, name: OptName, value: i32) -> io::Result<()> {
        self.call(|stack, now| stack.set_option(now, self.id, name, Value::Int(value)))
    }

    pub(super) fn congestion(&self) -> io::Result<String> {
        let Value::Name(name) = self.call(|stack, _| stack.option(self.id, OptName::Congestion))? else {
            return Err(error(SocketError::Invalid));
        };
        Ok(name.iter().take_while(|&&b| b != 0).map(|&b| char::from(b)).collect())
    }

    pub(super) fn set_congestion(&self, name: &str) -> io::Result<()> {
        let name = Value::Name(std::array::from_fn(|i| name.as_bytes().get(i).copied().unwrap_or(0)));
        self.call(|stack, now| stack.set_option(now, self.id, OptName::Congestion, name))
    }

    pub(super) fn set_nonblocking(&self, on: bool) {
        self.nonblocking.store(on, Ordering::Relaxed);
    }

    /// # Errors
    /// `InvalidInput` for a time-out of zero, as `std` has it.
    pub(super) fn set_timeout(&self, side: Side, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        let nanos = timeout.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX));
        self.timeout_of(side).store(nanos, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn timeout(&self, side: Side) -> Option<Duration> {
        match self.timeout_of(side).load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    fn timeout_of(&self, side: Side) -> &AtomicU64 {
        match side {
            Side::Recv => &self.recv_timeout,
            Side::Send => &self.send_timeout,
        }
    }

    fn deadline(&self, side: Side, begin: Instant) -> Option<Instant> {
        self.timeout(side).map(|t| begin + t)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The id may be void: then there is nothing to close.
        let _ = self.call(|stack, now| stack.close(now, self.id));
    }
}
