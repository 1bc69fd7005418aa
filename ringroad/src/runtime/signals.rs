//! The signal mask of a thread.

use std::mem::MaybeUninit;

/// Every signal is blocked in this thread until it is dropped.
pub(super) struct Blocked {
    /// The mask before.
    before: libc::sigset_t,
}

impl Blocked {
    pub(super) fn all() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the set is ours to fill in.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: both sets are live; the first was filled in above, the second is filled in by the call.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: zeroes are a value of a C struct of integers, whatever the call did.
        Self { before: unsafe { before.assume_init() } }
    }

    /// The mask that was in force before.
    pub(super) fn before(&self) -> &libc::sigset_t {
        &self.before
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is live; the one before is not asked for.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

/// Runs `f` with every signal blocked in this thread, so that a thread it makes never runs a handler.
pub(crate) fn without_signals<T>(f: impl FnOnce() -> T) -> T {
    let _blocked = Blocked::all();
    f()
}
