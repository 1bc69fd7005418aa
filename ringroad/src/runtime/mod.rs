//! One stack a process, one lock, and the one place that waits.
//!
//! Application threads drive the stack themselves: each [`Turn`] holds the lock for one call, each
//! [`Runtime::wait`] polls the interfaces until the caller is satisfied or time is up. A helper thread steps
//! in only when nobody else does.

mod adapter;
mod alerts;
mod atexit;
mod bell;
mod block;
mod capture;
mod core;
mod crew;
mod dump;
mod exit;
mod flows;
mod guard;
mod handover;
mod helper;
mod mates;
mod observe;
mod policy;
mod pulse;
mod report;
mod shadow;
mod signals;
mod sleepers;
mod start;
mod steer;
mod sysctl;
#[cfg(test)]
mod tests;
mod thread;
mod turn;
mod vlans;
mod wait;
mod wards;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stack::time::Instant;

use crate::config::Spins;
use crate::control::model::InterfaceReport;
use crate::port::Claimed;

use self::alerts::Alerts;
use self::core::Core;
use self::flows::Flows;
use self::guard::Guards;
use self::shadow::Shadow;
pub use nic::observe_descriptors;
pub use observe::{API_COOKIE, WakeObserver};
pub(crate) use report::command;
pub(crate) use signals::without_signals;
pub use sleepers::Sleepers;
pub(crate) use start::open;
pub use start::{Ready, SetUp, check_policy, port_descriptors, prepare};
pub use turn::Turn;
pub use wait::{Spin, Wait, Waited};

static CURRENT: AtomicPtr<Runtime> = AtomicPtr::new(std::ptr::null_mut());

/// The stack of this process with everything that drives it.
pub struct Runtime {
    core: Mutex<Core>,
    /// Threads that wait for the lock.
    queued: AtomicUsize,
    spin: Duration,
    /// The budgets of calls that have their own.
    spins: Spins,
    /// Whether to spin even when it does not pay.
    spin_always: bool,
    /// How long exit waits for orphans.
    linger: Duration,
    interfaces: Vec<InterfaceReport>,
    /// The port, as long as the process drives it.
    claimed: Mutex<Option<Claimed>>,
    control_socket: Mutex<Option<PathBuf>>,
    /// None where there is no port.
    alerts: Mutex<Option<Alerts>>,
    flows: Mutex<Flows>,
    guards: Mutex<Guards>,
    shadow: Mutex<Shadow>,
    /// Packets of marked flows that are in no file.
    unrecorded: Arc<AtomicU64>,
}

impl Runtime {
    /// A runtime over a stack and its interfaces, without a port, a helper or anything else around.
    fn over(core: Core, spin: Duration) -> Self {
        Self {
            core: Mutex::new(core),
            queued: AtomicUsize::new(0),
            spin,
            spins: Spins::default(),
            spin_always: false,
            linger: Duration::ZERO,
            interfaces: Vec::new(),
            claimed: Mutex::default(),
            control_socket: Mutex::default(),
            alerts: Mutex::default(),
            flows: Mutex::new(Flows::new()),
            guards: Mutex::default(),
            shadow: Mutex::default(),
            unrecorded: Arc::default(),
        }
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
        let core = self.core.try_lock().unwrap_or_else(|_| {
            self.queued.fetch_add(1, Ordering::Relaxed);
            let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
            self.queued.fetch_sub(1, Ordering::Relaxed);
            core
        });
        Turn::new(core)
    }

    /// Has the helper thread do something, and waits for it, a second at the most. Nothing of the stack may be locked.
    pub fn have_helper_do(&self, work: impl FnOnce() + Send + 'static) {
        let (done, waits) = std::sync::mpsc::sync_channel(1);
        let told = move || {
            work();
            // Who waited may have given up.
            let _ = done.send(());
        };
        let mut turn = self.lock_quietly();
        let core = turn.core();
        let Some(bell) = &core.helper else { return };
        core.pulse.give(told);
        bell.ring();
        drop(turn);
        // A helper that is stopped has it before it, for when it goes on.
        let _ = waits.recv_timeout(Duration::from_secs(1));
    }

    /// The lock for a look that causes nothing, so that nobody has to be alerted afterwards.
    pub(crate) fn lock_quietly(&self) -> Turn<'_> {
        let mut turn = self.lock();
        turn.helps();
        turn
    }

    /// A thread that spins takes the lock all the time: others that want it go first.
    fn let_others_in(&self) {
        if self.queued.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
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
        thread::forked();
        adapter::forked();
        crate::metrics::forked();
        crate::capture::forked();
        crate::control::forked();
    }
}

/// CLOCK_MONOTONIC in the stack's terms.
#[inline]
pub(crate) fn now() -> Instant {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Instant::from_nanos(t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64)
}
