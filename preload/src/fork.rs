//! fork: nobody may hold a lock of ours while the process is copied, and the child begins without a stack.

use core::cell::UnsafeCell;
use std::sync::MutexGuard;

use ringroad::Runtime;
use ringroad::runtime::Turn;

use crate::attach;
use crate::dispatch::lifecycle;
use crate::state::{self, State};
use crate::{fdtable, heirs, sandbox};

/// The locks between `prepare` and what follows it.
struct Locks(UnsafeCell<Option<Held>>);

/// What is held over a fork.
struct Held {
    turn: Option<Turn<'static>>,
    state: MutexGuard<'static, State>,
    link: Option<heirs::Prepared>,
    /// Nobody asks a parent for a connection.
    #[expect(dead_code, reason = "held, not read")]
    claims: MutexGuard<'static, ()>,
    /// Nobody starts a runtime.
    #[expect(dead_code, reason = "held, not read")]
    start: Option<MutexGuard<'static, ()>>,
}

// SAFETY: touched only by the handlers below, between the taking and the giving back of the locks in it.
unsafe impl Sync for Locks {}

static LOCKS: Locks = Locks(UnsafeCell::new(None));

/// Registers the handlers.
pub(crate) fn install() {
    // SAFETY: functions that live as long as the process.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) };
}

extern "C" fn prepare() {
    // In a sandbox all is pumped, and who may fork may have nothing else.
    let has_stack = !sandbox::forbids_calls();
    if has_stack {
        heirs::claim_standard();
        heirs::settle_pumps();
    }
    // The order of locks.
    let claims = state::lock_claims();
    let start = attach::hold_start();
    let turn = Runtime::current().filter(|_| has_stack).map(Runtime::lock);
    let state = state::lock();
    let link = turn.as_ref().and_then(|_| heirs::prepare(&state));
    // SAFETY: both locks are held (the state's always is), so no other thread is between its prepare and
    // its give_back.
    unsafe { *LOCKS.0.get() = Some(Held { turn, state, link, claims, start }) };
}

fn take_back() -> Option<Held> {
    // SAFETY: as in `prepare`; in the child this is the only thread.
    unsafe { (*LOCKS.0.get()).take() }
}

extern "C" fn parent() {
    if let Some(Held { mut turn, mut state, link, .. }) = take_back() {
        if let (Some(link), Some(turn)) = (link, &mut turn) {
            heirs::in_parent(&mut state.heirs, turn, link);
        }
        drop(state);
        drop(turn);
    }
}

extern "C" fn child() {
    let Some(Held { turn, mut state, link, .. }) = take_back() else { return };
    // The parent's runtime is not ours: not even its lock is given back, which would send its frames.
    core::mem::forget(turn);
    fdtable::forget_runtimes();
    heirs::in_child(&mut state.heirs, link);
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
