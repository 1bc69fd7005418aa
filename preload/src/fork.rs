//! fork and its kin: nobody may hold a lock of ours while the process is copied, and the child begins without a stack.

use core::cell::UnsafeCell;
use core::ffi::c_long;
use std::sync::MutexGuard;

use libc::{c_int, c_void};
use ringroad::Runtime;
use ringroad::runtime::Turn;

use crate::dispatch::lifecycle;
use crate::errno::{self, Leave, Outcome};
use crate::reason::Reason;
use crate::state::{self, State};
use crate::user::Place;
use crate::{attach, exit, fdtable, guard, heirs, real, sandbox};

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
    if !guard::active() {
        // A child that was made behind the library's back: whoever holds the locks is not here.
        return;
    }
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
    let Some(Held { mut turn, mut state, link, .. }) = take_back() else { return };
    guard::activate();
    fdtable::forget_runtimes();
    heirs::in_child(&mut state.heirs, turn.as_mut(), link);
    // The parent's runtime is not ours: not even its lock is given back, which would send its frames.
    core::mem::forget(turn);
    drop(state);
    Runtime::after_fork_in_child();
    lifecycle::after_fork_in_child();
    attach::forget_attempts();
}

/// A child is made by `call`, which returns in both, as fork does.
fn around(call: impl FnOnce() -> c_long) -> Outcome {
    prepare();
    let pid = call();
    let failed = (pid < 0).then(errno::get);
    if pid == 0 {
        child()
    } else {
        parent()
    }
    failed.map_or(Ok(pid as isize), |error| Err(Leave::Errno(error)))
}

/// `syscall(SYS_clone, …)` and its like: a fork, unless parent and child share their memory.
pub(crate) fn by_number(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> Outcome {
    let (flags, stack) = match number {
        libc::SYS_clone3 => {
            flags_and_stack(Place::from(core::ptr::with_exposed_provenance::<c_void>(a as usize)))?
        }
        libc::SYS_clone => (a as u64, b as u64),
        _ => (0, 0),
    };
    if is_thread(flags) || stack != 0 {
        return Err(Reason::Plain.into());
    }
    // SAFETY: the caller's own arguments, passed on as they are.
    around(|| unsafe { real::syscall(number, a, b, c, d, e, f) })
}

/// Of a `struct clone_args` (clone(2)).
fn flags_and_stack(args: Place) -> Result<(u64, u64), Leave> {
    Ok((args.read()?, args.after(5 * size_of::<u64>()).read()?))
}

fn is_thread(flags: u64) -> bool {
    flags & libc::CLONE_VM as u64 != 0
}

/// What a child of [`clone`] runs.
struct Begin {
    run: *mut c_void,
    argument: *mut c_void,
}

extern "C" fn begin(begin: *mut c_void) -> c_int {
    child();
    guard::begin_outside();
    // SAFETY: `clone`'s own, in this process's copy of its memory.
    let Begin { run, argument } = unsafe { begin.cast::<Begin>().read() };
    // SAFETY: the caller's function, which has this type.
    let run = unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> c_int>(run) };
    // SAFETY: the caller's argument for it.
    let status = unsafe { run(argument) };
    // Where it returns to, the thread alone ends: the child's helper would go on without it.
    // SAFETY: any status is a status.
    unsafe { exit::_exit(status) }
}

/// `clone`: a fork with a stack of the child's own, unless parent and child share their memory.
pub(crate) fn clone(
    run: *mut c_void,
    stack: *mut c_void,
    flags: c_int,
    argument: *mut c_void,
    parents: *mut c_void,
    tls: *mut c_void,
    childs: *mut c_void,
) -> Outcome {
    if is_thread(flags as u64) || run.is_null() || stack.is_null() {
        return Err(Reason::Plain.into());
    }
    let mut begins = Begin { run, argument };
    let (first, what) = (begin as extern "C" fn(*mut c_void) -> c_int, (&raw mut begins).cast::<c_void>());
    // SAFETY: the caller's own stack and flags; `begins` is in the memory that the child has a copy of.
    around(|| unsafe { real::clone(first as *mut c_void, stack, flags, what, parents, tls, childs) }.into())
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
