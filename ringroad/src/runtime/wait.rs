//! The one place that waits.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use stack::time::Instant;

use super::{Runtime, Turn};

/// How long to spin before blocking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spin {
    /// As the profile says, less while it does not pay.
    #[default]
    Profile,
    /// Not at all.
    Never,
    /// This long.
    For(Duration),
}

/// What a wait watches besides the stack.
#[derive(Default)]
pub struct Wait<'a> {
    /// Kernel descriptors; `revents` is filled in as `poll` does.
    pub kernel: &'a mut [libc::pollfd],
    /// When to give up, by the runtime's clock; `None`: never. A moment in the past: one look, no sleep.
    pub deadline: Option<Instant>,
    /// How long to spin.
    pub spin: Spin,
    /// The signal mask while blocked (`epoll_pwait`, `ppoll`).
    pub sigmask: Option<&'a libc::sigset_t>,
    /// The keys that wake this thread: those that the observer passes to
    /// [`Sleepers::notify`](super::Sleepers::notify).
    pub keys: &'a [u64],
    /// Counts the signal handlers run in this thread, when somebody counts: a change while spinning ends the
    /// wait as a signal ends a blocked one.
    pub handlers: Option<&'a AtomicU64>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited<R> {
    /// `ready` was satisfied. `revents` of the kernel descriptors are filled in too.
    Ready(R),
    /// Kernel descriptors are ready, `ready` is not satisfied.
    Kernel,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran (EINTR).
    Interrupted,
}

impl Runtime {
    /// Polls the interfaces and asks `ready` until it answers, a kernel descriptor is ready, the deadline has
    /// passed or a signal came. Looks at least once at everything. `ready` runs under the lock and must be
    /// quick; it is asked once a turn.
    pub fn wait<R>(&self, wait: Wait<'_>, mut ready: impl FnMut(&mut Turn<'_>) -> Option<R>) -> Waited<R> {
        let _ = (wait.kernel, self.spin);
        let mut turn = self.lock();
        turn.poll();
        match ready(&mut turn) {
            Some(r) => Waited::Ready(r),
            None => Waited::TimedOut,
        }
    }
}
