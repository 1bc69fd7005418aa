//! What the application asked for, signal by signal, where a handler can read it.

use core::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use libc::{c_int, c_void, siginfo_t};

use crate::user::Plain;

/// Signal numbers go below this.
pub(super) const SIGNALS: usize = 65;

/// glibc's `struct sigaction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Action {
    /// SIG_DFL, SIG_IGN or a function.
    pub(crate) handler: usize,
    /// Signals to block meanwhile; the kernel knows the first word.
    pub(crate) mask: [u64; 16],
    /// `SA_*`.
    pub(crate) flags: c_int,
    /// libc's business.
    pub(crate) restorer: usize,
}

const _: () = assert!(size_of::<Action>() == size_of::<libc::sigaction>());

// SAFETY: integers only; the padding after `flags` is copied and never read.
unsafe impl Plain for Action {}

impl Action {
    /// SIG_DFL, nothing blocked, no flags.
    pub(crate) const EMPTY: Action = Action { handler: libc::SIG_DFL, mask: [0; 16], flags: 0, restorer: 0 };

    /// Whether a function is to be called.
    pub(crate) fn is_function(&self) -> bool {
        self.handler != libc::SIG_DFL && self.handler != libc::SIG_IGN
    }
}

struct Saved {
    handler: AtomicUsize,
    flags: AtomicI32,
    mask: AtomicU64,
}

static SAVED: [Saved; SIGNALS] = [const {
    Saved { handler: AtomicUsize::new(libc::SIG_DFL), flags: AtomicI32::new(0), mask: AtomicU64::new(0) }
}; SIGNALS];

/// Notes what the application asked for.
pub(super) fn save(signal: c_int, action: &Action) {
    let saved = &SAVED[signal as usize];
    saved.flags.store(action.flags, Relaxed);
    saved.mask.store(action.mask[0], Relaxed);
    saved.handler.store(action.handler, Relaxed);
}

/// What the application asked for.
pub(super) fn load(signal: c_int) -> Action {
    let saved = &SAVED[signal as usize];
    let mut action =
        Action { handler: saved.handler.load(Relaxed), flags: saved.flags.load(Relaxed), ..Action::EMPTY };
    action.mask[0] = saved.mask.load(Relaxed);
    action
}

/// What stands in the kernel for every handler of the application.
pub(super) fn trampoline_address() -> usize {
    (super::trampoline as extern "C" fn(c_int, *mut siginfo_t, *mut c_void)) as usize
}

/// Calls the application's handler.
pub(super) fn call(action: &Action, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    if action.flags & libc::SA_SIGINFO != 0 {
        // SAFETY: the application registered this address as a function of this type (SA_SIGINFO).
        let handler = unsafe {
            core::mem::transmute::<usize, extern "C" fn(c_int, *mut siginfo_t, *mut c_void)>(action.handler)
        };
        handler(signal, info, context);
    } else {
        // SAFETY: the application registered this address as a function of this type.
        let handler = unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(action.handler) };
        handler(signal);
    }
}
