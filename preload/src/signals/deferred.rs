//! Handlers that wait until their thread leaves the library.

use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::ptr;

use libc::{c_int, c_void, siginfo_t, ucontext_t};

use super::table;
use crate::{errno, kernel};

/// Signals that can wait in a thread; more run where they arrive.
const PLACES: usize = 4;

#[derive(Clone, Copy)]
struct Waiting {
    signal: c_int,
    info: siginfo_t,
    context: ucontext_t,
}

struct Queue {
    count: Cell<usize>,
    places: UnsafeCell<[MaybeUninit<Waiting>; PLACES]>,
}

thread_local! {
    static QUEUE: Queue = const {
        Queue { count: Cell::new(0), places: UnsafeCell::new([const { MaybeUninit::uninit() }; PLACES]) }
    };
}

/// Puts a signal off. False when there is no place. Called in a handler.
pub(super) fn push(signal: c_int, info: *mut siginfo_t, context: *mut c_void) -> bool {
    QUEUE.with(|queue| {
        let at = queue.count.get();
        if at == PLACES || info.is_null() || context.is_null() {
            return false;
        }
        // Taken before it is filled: a handler that interrupts this one takes the next.
        queue.count.set(at + 1);
        // SAFETY: the kernel's siginfo, valid for the time of the handler.
        let info = unsafe { info.read() };
        // SAFETY: the kernel's context, likewise.
        let context = unsafe { context.cast::<ucontext_t>().read() };
        let first = queue.places.get().cast::<Waiting>();
        // SAFETY: `at` is below the number of places.
        let place = unsafe { first.add(at) };
        // SAFETY: this thread's own place, which nobody else touches until `run` takes it.
        unsafe { place.write(Waiting { signal, info, context }) };
        true
    })
}

/// Whether a handler waits in this thread.
#[inline]
pub(super) fn waiting() -> bool {
    QUEUE.with(|queue| queue.count.get()) != 0
}

/// Runs what waits, oldest first, each with its signals blocked as the kernel would have.
#[inline]
pub(crate) fn run() {
    if waiting() {
        run_all();
    }
}

#[cold]
fn run_all() {
    let errno = errno::get();
    // Everything is blocked while the queue is emptied, so that nobody adds to it.
    let mask = kernel::block_all_signals();
    let mut taken = [const { MaybeUninit::<Waiting>::uninit() }; PLACES];
    let count = QUEUE.with(|queue| {
        let count = queue.count.replace(0);
        // SAFETY: `count` places are filled; signals are blocked, so nobody writes to them.
        unsafe {
            ptr::copy_nonoverlapping(
                queue.places.get().cast::<MaybeUninit<Waiting>>(),
                taken.as_mut_ptr(),
                count,
            )
        };
        count
    });
    for waiting in &mut taken[..count] {
        // SAFETY: one of the `count` places that were filled.
        let waiting = unsafe { waiting.assume_init_mut() };
        let action = table::load(waiting.signal);
        if !action.is_function() {
            continue;
        }
        let mut blocked = mask | action.mask[0];
        if action.flags & libc::SA_NODEFER == 0 {
            blocked |= 1 << (waiting.signal - 1);
        }
        kernel::set_signal_mask(blocked);
        table::call(&action, waiting.signal, &raw mut waiting.info, (&raw mut waiting.context).cast());
    }
    kernel::set_signal_mask(mask);
    errno::set(errno);
}
