//! Who is calling: the application, or this library itself.
//!
//! Everything the library does (the runtime, std, an allocator that logs) may call libc functions that are
//! intercepted. While a thread is inside, its calls go straight to libc. The flag is a `const`-initialised
//! thread-local without a destructor, so that reading it never allocates: this library is loaded with the
//! program, which puts its thread-locals into the static block.

use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use crate::fdtable::forgotten_by_children;
use crate::{cancel, kernel};

/// Whether anything is to be accelerated, in memory that a child finds empty: one that was made behind the library's
/// back (a system call of the program's own) has a copy of the stack's state and the rings themselves, and may touch neither.
static ACTIVE: OnceLock<Option<&'static AtomicBool>> = OnceLock::new();

/// Where a thread is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// With the application.
    Outside,
    /// In the library.
    Inside,
    /// There, and libc is told to let it be: what of libc is called there may be a cancellation point, and would end the
    /// thread with a lock in its hand.
    Shielded,
}

thread_local! {
    static SIDE: Cell<Side> = const { Cell::new(Side::Outside) };
}

/// Turns interception on for the process; before that everything passes. In a child it is to be turned on again.
pub(crate) fn activate() {
    if let Some(active) = ACTIVE.get_or_init(forgotten_by_children) {
        active.store(true, Ordering::Release);
    }
}

/// Whether this process is to be accelerated at all.
#[inline]
pub(crate) fn active() -> bool {
    ACTIVE.get().is_some_and(|active| active.is_some_and(|active| active.load(Ordering::Relaxed)))
}

/// Proof that the calling thread is inside the library; leaving is dropping it.
pub(crate) struct Inside(PhantomData<*const ()>);

/// Enters the library; none when the thread is inside already or nothing is to be accelerated.
#[inline]
pub(crate) fn enter() -> Option<Inside> {
    if !active() {
        return None;
    }
    if inside() {
        return None;
    }
    go_in();
    Some(Inside(PhantomData))
}

/// Threads are shielded from when the first one was cancelled: that costs two calls of libc's.
#[inline]
fn go_in() {
    let shielded = cancel::is_used() && kernel::forbid_cancel();
    SIDE.with(|side| side.set(if shielded { Side::Shielded } else { Side::Inside }));
}

#[inline]
fn go_out() {
    if SIDE.with(|side| side.replace(Side::Outside)) == Side::Shielded {
        kernel::permit_cancel();
    }
}

/// Whether the calling thread is inside. Safe in a signal handler.
#[inline]
pub(crate) fn inside() -> bool {
    SIDE.with(Cell::get) != Side::Outside
}

/// Whether it is only the library that keeps the calling thread from being cancelled.
pub(crate) fn shields() -> bool {
    SIDE.with(Cell::get) == Side::Shielded
}

/// In a child that was made inside the library, and that goes on outside of it.
pub(crate) fn begin_outside() {
    go_out();
}

/// From here on until it leaves, libc lets the thread be: for what takes long, so that another may well be the first to cancel
/// a thread meanwhile.
pub(crate) fn shield() {
    if SIDE.with(Cell::get) == Side::Inside && kernel::forbid_cancel() {
        SIDE.with(|side| side.set(Side::Shielded));
    }
}

/// The calling thread is the library's own and stays inside: what it opens and closes is never the application's, whatever
/// numbers that has closed past libc.
pub(crate) fn stay_inside() {
    core::mem::forget(enter());
}

/// Steps outside for a call of libc's that may block: handlers run as they come. The caller is inside.
pub(crate) fn outside<R>(call: impl FnOnce() -> R) -> R {
    go_out();
    crate::signals::run_deferred();
    let result = call();
    go_in();
    result
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        go_out();
        crate::signals::run_deferred();
    }
}
