//! Signals: the application's handlers run through a trampoline of ours.
//!
//! It does three things. It recognises faults of the copy routine (`user`). It counts, so that a wait that
//! spins notices a signal as a blocked one would (EINTR). And a handler that arrives while its thread is
//! inside the library runs when the thread leaves it, because it may call whatever it likes there.

mod deferred;
mod table;

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use libc::{c_int, c_void, siginfo_t};

use crate::errno::{self, Outcome, fail};
use crate::reason::Reason;
use crate::user::{self, Place};
use crate::{cancel, guard, kernel};

pub(crate) use deferred::run as run_deferred;
pub(crate) use table::Action;
use table::{SIGNALS, trampoline_address};

/// `sigset`: the signal is blocked.
const SIG_HOLD: usize = 2;

static FAULTS: AtomicBool = AtomicBool::new(false);

thread_local! {
    static RUN: AtomicU64 = const { AtomicU64::new(0) };
    static INTERRUPTS: Cell<bool> = const { Cell::new(false) };
}

/// Whether a handler waits in this thread, or its end: a call that would block now has been interrupted already.
#[inline]
pub(crate) fn waiting() -> bool {
    deferred::waiting() || cancel::pending()
}

/// Calls `use_count` with the number of handlers that ran in this thread, which goes on counting.
pub(crate) fn with_count<R>(use_count: impl FnOnce(&AtomicU64) -> R) -> R {
    RUN.with(use_count)
}

/// Whether a handler without SA_RESTART has run in this thread since the last question.
pub(crate) fn take_interrupt() -> bool {
    INTERRUPTS.with(|i| i.replace(false))
}

/// Makes faults of the copy routine harmless. The dispositions that were in force are kept for all others.
pub(crate) fn install_fault_handler() {
    if FAULTS.swap(true, Ordering::AcqRel) {
        return;
    }
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let Ok(old) = kernel::sigaction(signal, None) else { continue };
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        table::save(signal, &old);
        let ours = Action { handler: trampoline_address(), flags, ..Action::EMPTY };
        let _ = kernel::sigaction(signal, Some(&ours));
    }
}

fn is_fault(signal: c_int) -> bool {
    FAULTS.load(Ordering::Relaxed) && (signal == libc::SIGSEGV || signal == libc::SIGBUS)
}

/// `sigaction`.
pub(crate) fn sigaction(signal: c_int, new: *const c_void, old: *mut c_void) -> Outcome {
    if !(1..SIGNALS as c_int).contains(&signal) {
        return Err(Reason::Plain.into());
    }
    let (new, old) = (Place::from(new), Place::from(old));
    let wanted = if new.is_null() { None } else { Some(new.read::<Action>()?) };
    let before = exchange(signal, wanted.as_ref())?;
    if !old.is_null() {
        old.write(&before)?;
    }
    Ok(0)
}

/// Installs `wanted` behind the trampoline. Answers what the application had before.
fn exchange(signal: c_int, wanted: Option<&Action>) -> Result<Action, errno::Errno> {
    let saved = table::load(signal);
    let Some(wanted) = wanted else {
        return Ok(seen_by_application(kernel::sigaction(signal, None)?, saved));
    };
    table::save(signal, wanted);
    let set = if wanted.is_function() {
        let flags = wanted.flags | libc::SA_SIGINFO;
        let flags = if is_fault(signal) { flags | libc::SA_NODEFER } else { flags };
        kernel::sigaction(signal, Some(&Action { handler: trampoline_address(), flags, ..*wanted }))
    } else if is_fault(signal) {
        // The trampoline stays and does for the application what it asked for.
        kernel::sigaction(signal, None)
    } else {
        kernel::sigaction(signal, Some(wanted))
    };
    match set {
        Ok(before) => Ok(seen_by_application(before, saved)),
        Err(error) => {
            table::save(signal, &saved);
            Err(error)
        }
    }
}

fn seen_by_application(in_kernel: Action, saved: Action) -> Action {
    if in_kernel.handler == trampoline_address() { saved } else { in_kernel }
}

/// `signal`, with BSD's semantics as glibc has it.
pub(crate) fn signal(signal: c_int, handler: usize) -> Outcome {
    if handler == libc::SIG_ERR || !(1..SIGNALS as c_int).contains(&signal) {
        return Err(fail(libc::EINVAL));
    }
    let mut wanted = Action { handler, flags: libc::SA_RESTART, ..Action::EMPTY };
    wanted.mask[0] = 1 << (signal - 1);
    Ok(exchange(signal, Some(&wanted))?.handler as isize)
}

/// `sysv_signal`: for one signal, which is not blocked meanwhile and interrupts calls.
pub(crate) fn sysv_signal(signal: c_int, handler: usize) -> Outcome {
    if handler == libc::SIG_ERR || !(1..SIGNALS as c_int).contains(&signal) {
        return Err(fail(libc::EINVAL));
    }
    let wanted = Action { handler, flags: libc::SA_RESETHAND | libc::SA_NODEFER, ..Action::EMPTY };
    Ok(exchange(signal, Some(&wanted))?.handler as isize)
}

/// `sigset`: a disposition, and the signal is let through; or SIG_HOLD, and it is blocked.
pub(crate) fn sigset(signal: c_int, disposition: usize) -> Outcome {
    if disposition == libc::SIG_ERR || !(1..SIGNALS as c_int).contains(&signal) {
        return Err(fail(libc::EINVAL));
    }
    let wanted = (disposition != SIG_HOLD).then_some(Action { handler: disposition, ..Action::EMPTY });
    let before = exchange(signal, wanted.as_ref())?;
    let blocked = kernel::block_signal(signal, disposition == SIG_HOLD);
    Ok(if blocked { SIG_HOLD } else { before.handler } as isize)
}

/// `siginterrupt`.
pub(crate) fn siginterrupt(signal: c_int, interrupt: c_int) -> Outcome {
    if !(1..SIGNALS as c_int).contains(&signal) {
        return Err(fail(libc::EINVAL));
    }
    let mut action = exchange(signal, None)?;
    if interrupt == 0 {
        action.flags |= libc::SA_RESTART;
    } else {
        action.flags &= !libc::SA_RESTART;
    }
    exchange(signal, Some(&action))?;
    Ok(0)
}

/// What the kernel calls for every handler of the application.
extern "C" fn trampoline(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a context that is ours for the time of the handler.
    let frame = unsafe { context.cast::<libc::ucontext_t>().as_mut() };
    if is_fault(signal) && frame.is_some_and(user::fix_up) {
        return;
    }
    let before = errno::get();
    let action = table::load(signal);
    // SAFETY: the kernel passes a valid siginfo.
    let code = unsafe { info.as_ref() }.map_or(0, |i| i.si_code);
    if action.is_function() {
        RUN.with(|run| run.fetch_add(1, Ordering::Relaxed));
        if action.flags & libc::SA_RESTART == 0 {
            INTERRUPTS.with(|i| i.set(true));
        }
        let synchronous =
            code > 0 && matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL);
        if synchronous || !guard::inside() || !deferred::push(signal, info, context) {
            table::call(&action, signal, info, context);
        }
    } else if action.handler == libc::SIG_DFL || code > 0 {
        // Only the fault signals come here without a function. A fault repeats itself when the handler
        // returns; a signal that was sent is sent again.
        let _ = kernel::sigaction(signal, Some(&Action { handler: libc::SIG_DFL, ..Action::EMPTY }));
        if code <= 0 {
            kernel::raise(signal);
        }
    }
    errno::set(before);
}

#[cfg(test)]
mod tests {
    use super::*;

    static SEEN: AtomicU64 = AtomicU64::new(0);

    extern "C" fn note(signal: c_int) {
        SEEN.fetch_add(signal as u64, Ordering::Relaxed);
    }

    #[test]
    fn the_application_sees_its_own_handler_and_it_runs() {
        install_fault_handler();
        let mine = note as extern "C" fn(c_int) as usize;
        assert_eq!(signal(libc::SIGUSR1, mine), Ok(0));
        let mut old = Action::EMPTY;
        assert_eq!(sigaction(libc::SIGUSR1, core::ptr::null(), (&raw mut old).cast()), Ok(0));
        assert_eq!(old.handler, mine);
        assert_eq!(old.flags & libc::SA_RESTART, libc::SA_RESTART);
        kernel::raise(libc::SIGUSR1);
        assert_eq!(SEEN.load(Ordering::Relaxed), libc::SIGUSR1 as u64);
        assert!(!take_interrupt());
        assert_eq!(siginterrupt(libc::SIGUSR1, 1), Ok(0));
        kernel::raise(libc::SIGUSR1);
        assert!(take_interrupt());
        assert_eq!(signal(libc::SIGUSR1, libc::SIG_DFL), Ok(mine as isize));
        assert_eq!(signal(65, mine), Err(fail(libc::EINVAL)));
    }

    #[test]
    fn the_fault_signals_look_as_if_nobody_had_touched_them() {
        install_fault_handler();
        let mut old = Action::EMPTY;
        assert_eq!(sigaction(libc::SIGBUS, core::ptr::null(), (&raw mut old).cast()), Ok(0));
        assert_ne!(old.handler, trampoline_address());
    }
}
