//! One stack a process, one lock, and the one place that waits.
//!
//! Application threads drive the stack themselves: each [`Turn`] holds the lock for one call, each
//! [`Runtime::wait`] polls the interfaces until the caller is satisfied or time is up. A helper thread steps
//! in only when nobody else does.

mod core;
mod observe;
mod sleepers;
mod turn;
mod wait;

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use stack::time::Instant;

use crate::config::Config;
use crate::error::StartError;

pub(crate) use self::core::{Core, Link, Steer};
pub use observe::{API_COOKIE, WakeObserver};
pub use sleepers::Sleepers;
pub use turn::Turn;
pub use wait::{Spin, Wait, Waited};

static CURRENT: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());

/// The stack of this process with everything that drives it.
pub struct Runtime {
    core: Mutex<Core>,
    spin: std::time::Duration,
}

impl Runtime {
    /// Starts the runtime of this process, or answers the one that runs already.
    ///
    /// # Errors
    /// The step that failed: no interface, no privilege, a port that another live process owns …
    pub fn start(config: &Config) -> Result<&'static Runtime, StartError> {
        if let Some(running) = Self::current() {
            return Ok(running);
        }
        let _ = config;
        Err(StartError::new("starting", "no interface could be opened"))
    }

    /// The runtime of this process, when one runs.
    #[inline]
    pub fn current() -> Option<&'static Runtime> {
        let at = CURRENT.load(Ordering::Acquire);
        // SAFETY: the pointer is null or came from `Box::leak` of a runtime, which is never freed.
        unsafe { at.as_ref() }
    }

    /// Takes the lock for a few calls. Do not block, and do not call `wait`, while it is held.
    #[inline]
    pub fn lock(&self) -> Turn<'_> {
        Turn::new(self.core.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time of the stack's clock (CLOCK_MONOTONIC).
    #[inline]
    pub fn now(&self) -> Instant {
        now()
    }

    /// Registers who is told of the sockets that became ready, in place of the one before.
    pub fn observe(&self, observer: Box<dyn WakeObserver>) {
        self.lock().core().observer = Some(observer);
    }

    /// In the child after a fork: this process has no runtime from here on. The parent's goes on untouched;
    /// the child may start its own.
    pub fn after_fork_in_child() {
        // The parent's runtime is left as it is in our copy of the memory: its frames are shared with the
        // parent and its threads do not exist here, so nothing of it may be touched or dropped.
        CURRENT.store(std::ptr::null_mut(), Ordering::Release);
    }
}

/// CLOCK_MONOTONIC in the stack's terms.
#[inline]
pub(crate) fn now() -> Instant {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}
