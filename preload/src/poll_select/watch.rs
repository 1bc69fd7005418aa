//! One wait for descriptors of both worlds, as an array of `pollfd`.

use core::time::Duration;

use libc::{c_int, c_short, pollfd, sigset_t};
use ringroad::Runtime;
use ringroad::config::Call;
use ringroad::runtime::{Turn, Wait, Waited};
use stack::engine::Stack;
use stack::time::Instant;

use crate::errno::{Leave, fail};
use crate::fdtable::{self, Held, Kind};
use crate::reason::Reason;
use crate::{attach, epoll, signals};

/// What is asked for whether one asks or not.
const ALWAYS: c_short = libc::POLLERR | libc::POLLHUP;

/// A descriptor that the stack answers for.
struct Ours {
    at: usize,
    held: Held,
    asked: c_short,
}

/// The descriptors of one call.
pub(super) struct Watch {
    runtime: &'static Runtime,
    ours: Vec<Ours>,
    keys: Vec<u64>,
    /// The kernel's part: as asked, with the descriptors that it knows nothing of left out.
    kernel: Vec<pollfd>,
}

/// What a wait has found: `revents` of each descriptor, in the order of the call.
pub(super) enum Found {
    /// At least one is ready.
    Ready(Vec<c_short>),
    /// The time is up.
    Nothing,
}

impl Watch {
    /// Sorts the descriptors by world.
    ///
    /// # Errors
    /// A bypass when the kernel can answer for all of them.
    pub(super) fn sort(asked: &[pollfd]) -> Result<Self, Leave> {
        let mut ours = Vec::new();
        let mut kernel = asked.to_vec();
        for (at, entry) in asked.iter().enumerate() {
            let Some(held) = fdtable::get(entry.fd) else { continue };
            if held.file.kind() == Kind::Epoll {
                epoll::claim(&held);
            } else if let Err(reason) = attach::attach(&held) {
                reason.count();
                continue;
            }
            if !stays_in_kernel(&held) {
                kernel[at].fd = -1;
            }
            ours.push(Ours { at, held, asked: entry.events | ALWAYS });
        }
        let runtime = Runtime::current().filter(|_| !ours.is_empty());
        let runtime = runtime.ok_or(Leave::Bypass(Reason::Plain))?;
        let keys = ours.iter().map(|o| key(&o.held)).collect();
        Ok(Self { runtime, ours, keys, kernel })
    }

    /// Waits until one is ready or the time is up.
    ///
    /// # Errors
    /// EINTR.
    pub(super) fn wait(mut self, timeout: Option<Duration>, mask: Option<&sigset_t>) -> Result<Found, Leave> {
        let deadline = timeout.map(|t| if t.is_zero() { Instant::ZERO } else { self.runtime.now() + t });
        self.kernel.iter_mut().for_each(|entry| entry.revents = 0);
        let Self { runtime, ours, keys, kernel } = &mut self;
        // Nothing for the kernel to look at: it is not asked.
        let kernel = if kernel.iter().all(|k| k.fd < 0) { &mut [] } else { &mut kernel[..] };
        let waited = signals::with_count(|count| {
            let spin = epoll::spin(Call::Poll, mask);
            let handlers = Some(count);
            let wait = Wait { kernel, watch: None, deadline, spin, sigmask: mask, keys, handlers };
            runtime.wait(wait, |turn| {
                let ready = any_ready(turn, ours);
                (ready || signals::waiting()).then_some(ready)
            })
        });
        match waited {
            Waited::Ready(true) | Waited::Kernel => Ok(Found::Ready(self.revents())),
            Waited::Ready(false) if self.kernel.iter().any(|k| k.revents != 0) => {
                Ok(Found::Ready(self.revents()))
            }
            Waited::TimedOut => Ok(Found::Nothing),
            Waited::Ready(false) | Waited::Interrupted => {
                let _ = signals::take_interrupt();
                Err(fail(libc::EINTR))
            }
        }
    }

    fn revents(&self) -> Vec<c_short> {
        let mut revents: Vec<c_short> = self.kernel.iter().map(|entry| entry.revents).collect();
        let mut turn = self.runtime.lock();
        for ours in &self.ours {
            revents[ours.at] |= ready(turn.stack(), ours);
        }
        revents
    }
}

/// Whether the kernel's descriptor can have news besides the stack's.
fn stays_in_kernel(held: &Held) -> bool {
    held.file.kind() != Kind::Stream || held.file.is(fdtable::Flag::Listening)
}

fn key(held: &Held) -> u64 {
    match held.file.kind() {
        Kind::Epoll => epoll::key(held.file.epoll()),
        _ => held.word.cookie(),
    }
}

fn any_ready(turn: &mut Turn<'_>, ours: &[Ours]) -> bool {
    let stack = turn.stack();
    ours.iter().any(|o| ready(stack, o) != 0)
}

fn ready(stack: &Stack, ours: &Ours) -> c_short {
    let bits = match ours.held.file.kind() {
        Kind::Epoll if epoll::has_news(stack, &ours.held) => (libc::EPOLLIN | libc::EPOLLRDNORM) as u32,
        Kind::Epoll => 0,
        // poll's bits are epoll's.
        _ => epoll::readiness_of(stack, ours.held.word.index()),
    };
    bits as c_short & ours.asked
}

/// How many of these are not zero.
pub(super) fn count(revents: &[c_short]) -> c_int {
    revents.iter().filter(|r| **r != 0).count() as c_int
}
