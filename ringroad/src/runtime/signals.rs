//! The signal mask of a thread.

use std::mem::MaybeUninit;

/// Runs `f` with every signal blocked in this thread, so that a thread it makes never runs a handler.
pub(super) fn without_signals<T>(f: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is ours to fill in.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: both sets are live; the first was filled in above, the second is filled in by the call, which
    // cannot fail with these arguments.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    let result = f();
    // SAFETY: the set was filled in by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}
