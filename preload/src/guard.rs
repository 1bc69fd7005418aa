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

/// Whether anything is to be accelerated, in memory that a child finds empty: one that was made behind the library's
/// back (a system call of the program's own) has a copy of the stack's state and the rings themselves, and may touch neither.
static ACTIVE: OnceLock<Option<&'static AtomicBool>> = OnceLock::new();

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
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
    INSIDE.with(|inside| if inside.replace(true) { None } else { Some(Inside(PhantomData)) })
}

/// Whether the calling thread is inside. Safe in a signal handler.
#[inline]
pub(crate) fn inside() -> bool {
    INSIDE.with(Cell::get)
}

/// In a child that was made inside the library, and that goes on outside of it.
pub(crate) fn begin_outside() {
    INSIDE.with(|inside| inside.set(false));
}

/// Steps outside for a call of libc's that may block: handlers run as they come. The caller is inside.
pub(crate) fn outside<R>(call: impl FnOnce() -> R) -> R {
    INSIDE.with(|inside| inside.set(false));
    crate::signals::run_deferred();
    let result = call();
    INSIDE.with(|inside| inside.set(true));
    result
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        INSIDE.with(|inside| inside.set(false));
        crate::signals::run_deferred();
    }
}
