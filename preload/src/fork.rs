//! fork: nobody may hold a lock of ours while the process is copied, and the child begins without a stack.

use core::cell::UnsafeCell;
use std::sync::MutexGuard;

use ringroad::Runtime;
use ringroad::runtime::Turn;

use crate::attach;
use crate::dispatch::lifecycle;
use crate::state::{self, State};

/// The locks between `prepare` and what follows it.
struct Locks(UnsafeCell<Option<(Option<Turn<'static>>, MutexGuard<'static, State>)>>);

// SAFETY: touched only by the handlers below, between the taking and the giving back of the locks in it.
unsafe impl Sync for Locks {}

static LOCKS: Locks = Locks(UnsafeCell::new(None));

/// Registers the handlers.
pub(crate) fn install() {
    // SAFETY: functions that live as long as the process.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

extern "C" fn prepare() {
    // The order of locks: the runtime's first.
    let turn = Runtime::current().map(Runtime::lock);
    let state = state::lock();
    // SAFETY: both locks are held (the state's always is), so no other thread is between its prepare and
    // its give_back.
    unsafe { *LOCKS.0.get() = Some((turn, state)) };
}

fn take_back() -> Option<(Option<Turn<'static>>, MutexGuard<'static, State>)> {
    // SAFETY: as in `prepare`; in the child this is the only thread.
    unsafe { (*LOCKS.0.get()).take() }
}

extern "C" fn parent() {
    if let Some((turn, state)) = take_back() {
        drop(state);
        drop(turn);
    }
}

extern "C" fn child() {
    let Some((turn, state)) = take_back() else { return };
    // The parent's runtime is not ours: not even its lock is given back, which would send its frames.
    core::mem::forget(turn);
    drop(state);
    Runtime::after_fork_in_child();
    lifecycle::after_fork_in_child();
    attach::forget_attempts();
}

/// Takes libc's place. A child of vfork shares our memory: what it closes before it execs would be closed
/// here. It becomes a fork, as it may (POSIX lets vfork be one).
///
/// # Safety
/// As the C function.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
pub(crate) unsafe extern "C" fn vfork() -> libc::pid_t {
    // A function cannot return twice to its caller's frame, so this holds without interception as well.
    // SAFETY: as the caller asked.
    unsafe { libc::fork() }
}
