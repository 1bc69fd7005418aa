//! The end of the process and its forks, noticed.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Runtime;

/// Whether somebody else calls [`Runtime::exit`] at the end.
static LEFT: AtomicBool = AtomicBool::new(false);

impl Runtime {
    /// The caller will end the runtime when the process ends: later than this library would, whose handler runs
    /// before all that were registered before the runtime was started.
    pub fn leave_exit_to_caller() {
        LEFT.store(true, Ordering::Relaxed);
    }
}

/// Gives closed connections their time when the process ends by returning from `main` or by `exit`, and
/// leaves the runtime to the parent after a fork.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is a plain function without state; registering it can fail only for want of
        // memory, and then connections end as if the process had been killed.
        unsafe { libc::atexit(at_exit) };
        // SAFETY: as above; the handler touches one atomic pointer and one counter.
        unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
    });
}

extern "C" fn at_exit() {
    if let Some(runtime) = Runtime::current().filter(|_| !LEFT.load(Ordering::Relaxed)) {
        runtime.exit();
    }
}

unsafe extern "C" fn after_fork_in_child() {
    Runtime::after_fork_in_child();
}
