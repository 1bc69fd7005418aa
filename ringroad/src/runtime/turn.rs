//! The lock, held.

use std::any::Any;
use std::io;
use std::os::fd::RawFd;
use std::sync::MutexGuard;

use stack::engine::Stack;
use stack::time::Instant;
use stack::types::SocketId;

use super::core::Core;
use super::{Sleepers, WakeObserver, now};
use crate::link::Link;

/// The runtime's lock, held for a few calls. When it goes, what the calls caused is carried out: steering
/// first, then frames, then wake-ups.
pub struct Turn<'a> {
    core: MutexGuard<'a, Core>,
    now: Option<Instant>,
    /// The thread waits: it polls again by itself, soon.
    polls: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn new(core: MutexGuard<'a, Core>) -> Self {
        Self { core, now: None, polls: false }
    }

    /// The stack.
    #[inline]
    pub fn stack(&mut self) -> &mut Stack {
        &mut self.core.stack
    }

    /// Closes a socket for the application. What waits in a listener may go to another process.
    pub fn close(&mut self, id: SocketId) {
        let now = self.now();
        self.core.close(now, id);
    }

    /// The kernel's descriptor of a socket that was closed is closed, too.
    pub fn closed(&mut self) {
        let now = self.now();
        self.core.settle_leavers(now);
    }

    /// Has the keeper hold a connection, whose cookie is the second, for whoever has the descriptor `backing`, which
    /// bears its `name`.
    ///
    /// # Errors
    /// Why not; it is here still then, as the socket in the answer if that is another one.
    pub fn entrust(
        &mut self,
        connection: (SocketId, u64),
        name: u64,
        backing: RawFd,
    ) -> Result<(), (io::Error, Option<SocketId>)> {
        let now = self.now();
        self.core.entrust(now, connection, name, backing)
    }

    /// A new line to the keeper, to ask on for connections that it holds.
    ///
    /// # Errors
    /// There is no keeper, or it has too many letters to read.
    pub fn line_to_keeper(&mut self) -> io::Result<Link> {
        self.core.line_to_keeper()
    }

    /// Has the keeper answer an heir in this process's place, on our end of the line to it: what the heir calls each
    /// connection, the keeper's name for it, and the connection as bytes, unless that went with another heir's line.
    ///
    /// # Errors
    /// There is no keeper, or it has too many letters to read.
    pub fn leave_to_heir(&mut self, line: &Link, all: &[(u64, u64, Option<Vec<u8>>)]) -> io::Result<()> {
        self.core.leave_to_heir(line, all)
    }

    /// Has the helper thread call `attend` whenever `fd` is readable, until the runtime ends.
    pub fn attend(&mut self, fd: RawFd, attend: fn()) {
        self.core.pulse.set_guest(fd, attend);
        if let Some(bell) = &self.core.helper {
            bell.ring();
        }
    }

    /// The time of this turn: read once, the same for all its calls.
    #[inline]
    pub fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(now)
    }

    /// The registered observer, when it is a `T`, and the stack beside it.
    pub fn observer<T: WakeObserver>(&mut self) -> Option<(&mut T, &mut Stack)> {
        let core = &mut *self.core;
        let observer: &mut dyn Any = core.observer.as_deref_mut()?;
        Some((observer.downcast_mut()?, &mut core.stack))
    }

    /// Those who sleep in [`Runtime::wait`](super::Runtime::wait).
    pub fn sleepers(&mut self) -> &mut Sleepers {
        &mut self.core.sleepers
    }

    /// Receives what has arrived, runs the timers, sends what is queued and rings the doorbell.
    pub fn poll(&mut self) {
        let now = now();
        self.now = Some(now);
        self.core.poll(now);
    }

    /// Sends what is queued and rings the doorbell, without receiving.
    pub fn flush(&mut self) {
        let now = self.now();
        self.core.flush(now);
    }

    /// The thread polls, until [`Turn::app_goes`]: nobody has to do it in its place.
    pub(super) fn app_polls(&mut self) {
        self.polls = true;
        self.core.sleepers.dismiss_guest();
    }

    /// The thread is the helper: nobody has to be alerted.
    pub(super) fn helps(&mut self) {
        self.polls = true;
    }

    /// The thread goes back to the application.
    pub(super) fn app_goes(&mut self) {
        self.polls = false;
    }

    pub(super) fn core(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now = self.now();
        self.core.flush_if_due(now);
        if self.core.sleepers.led() {
            let deadline = self.core.due(now);
            self.core.sleepers.hurry(deadline);
        }
        if !self.polls {
            self.core.alert_helper();
        }
        self.core.tell_mates();
    }
}
