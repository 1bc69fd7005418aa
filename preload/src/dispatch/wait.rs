//! How a blocking call waits for one socket.

use core::cell::OnceCell;
use core::time::Duration;

use libc::{c_int, pollfd};
use ringroad::Runtime;
use ringroad::config::Call;
use ringroad::runtime::{Spin, Wait, Waited};
use stack::engine::Stack;
use stack::time::Instant;
use stack::types::{Readiness, SocketId};

use super::lifecycle::Stay;
use crate::errno::{Errno, Leave, fail};
use crate::fdtable::{Flag, Held};
use crate::{cancel, guard, signals};

/// What a blocking call waits with.
pub(super) struct Patience {
    runtime: &'static Runtime,
    call: Call,
    deadline: Option<Instant>,
    blocks: bool,
    /// From when it waits for the first time to the end of the call.
    stay: OnceCell<Stay>,
}

/// Why a wait for a socket ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The stack's socket is ready.
    Stack,
    /// The kernel's socket is.
    Kernel,
}

impl Patience {
    /// That of a call on `held`: none when it must not block, until SO_RCVTIMEO or SO_SNDTIMEO else.
    pub(super) fn of(runtime: &'static Runtime, held: &Held, call: Call, flags: c_int) -> Self {
        let blocks = !held.file.is(Flag::NonBlocking) && flags & libc::MSG_DONTWAIT == 0;
        let timeout = held.file.timeout(matches!(call, Call::Recv | Call::Accept));
        let deadline = (blocks && timeout != 0).then(|| runtime.now() + Duration::from_nanos(timeout));
        Self { runtime, call, deadline, blocks, stay: OnceCell::new() }
    }

    /// Whether the call may block.
    pub(super) fn blocks(&self) -> bool {
        self.blocks
    }

    /// Waits until the socket is ready for something of `wanted` or has failed, or its kernel side has news.
    ///
    /// # Errors
    /// EAGAIN when it must not block or the time is up, EINTR.
    pub(super) fn wait(
        &self,
        held: &Held,
        id: SocketId,
        wanted: Readiness,
        kernel: &mut [pollfd],
    ) -> Result<News, Leave> {
        let wanted = wanted | Readiness::ERR | Readiness::HUP;
        self.wait_until(held, |stack| stack.readiness(id).intersects(wanted), kernel)
    }

    /// As [`Patience::wait`], until `ready` says so.
    ///
    /// # Errors
    /// As [`Patience::wait`].
    pub(super) fn wait_until(
        &self,
        held: &Held,
        mut ready: impl FnMut(&Stack) -> bool,
        kernel: &mut [pollfd],
    ) -> Result<News, Leave> {
        if !self.blocks {
            return Err(fail(libc::EAGAIN));
        }
        let keys = [held.word.cookie()];
        self.stay.get_or_init(|| Stay::new(held));
        loop {
            let waited = signals::with_count(|count| {
                let wait = Wait {
                    kernel: &mut *kernel,
                    deadline: self.deadline,
                    spin: Spin::Of(self.call),
                    keys: &keys,
                    handlers: Some(count),
                    ..Wait::default()
                };
                self.runtime.wait(wait, |turn| {
                    let ready = ready(turn.stack());
                    (ready || signals::waiting()).then_some(ready)
                })
            });
            match waited {
                Waited::Ready(true) => return Ok(News::Stack),
                Waited::Ready(false) => self.interrupted()?,
                Waited::Kernel => return Ok(News::Kernel),
                Waited::TimedOut => return Err(fail(libc::EAGAIN)),
                Waited::Interrupted => self.interrupted()?,
            }
        }
    }

    /// After a signal: EINTR, or (SA_RESTART, no time-out) the handler runs and the wait goes on.
    fn interrupted(&self) -> Result<(), Errno> {
        if signals::take_interrupt() || cancel::pending() || self.deadline.is_some() {
            return Err(Errno(libc::EINTR));
        }
        guard::outside(|| ());
        Ok(())
    }
}

/// A kernel descriptor to be watched for reading.
pub(super) fn readable(fd: c_int) -> pollfd {
    pollfd { fd, events: libc::POLLIN, revents: 0 }
}
