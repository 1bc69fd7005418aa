//! The end of the process, noticed.

use super::Runtime;

/// Gives closed connections their time when the process ends by returning from `main` or by `exit`.
pub(crate) fn exit_with_process() {
    // SAFETY: the handler is a plain function without state; registering it can fail only for want of
    // memory, and then connections end as if the process had been killed.
    unsafe { libc::atexit(at_exit) };
}

extern "C" fn at_exit() {
    if let Some(runtime) = Runtime::current() {
        runtime.exit();
    }
}
