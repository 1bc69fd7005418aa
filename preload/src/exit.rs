//! The end of the process: what was written before still goes out, within a bounded time.

use core::ptr;

use libc::{c_int, c_void};
use ringroad::{Runtime, log};

use crate::{guard, heirs, sandbox, stdio};

/// Registers for `exit`, `quick_exit` and the return from `main`: registered first, it runs last.
pub(crate) fn install() {
    Runtime::leave_exit_to_caller();
    // SAFETY: a function that lives as long as the process.
    unsafe { libc::atexit(at_exit) };
    // SAFETY: likewise; it belongs to no library that could be closed.
    unsafe { __cxa_at_quick_exit(at_quick_exit, ptr::null_mut()) };
}

unsafe extern "C" {
    /// What `at_quick_exit` is made of (glibc 2.10).
    fn __cxa_at_quick_exit(function: extern "C" fn(*mut c_void), library: *mut c_void) -> c_int;
}

extern "C" fn at_quick_exit(_: *mut c_void) {
    drain();
}

extern "C" fn at_exit() {
    stdio::flush();
    drain();
}

/// Gives closed connections their time.
fn drain() {
    if Runtime::current().is_some() && !sandbox::exit() {
        leave();
    }
}

/// As [`drain`], on whichever thread may.
pub(crate) fn leave() {
    if let (Some(runtime), Some(_inside)) = (Runtime::current(), guard::enter()) {
        heirs::give_all_back();
        runtime.exit();
    }
}

/// Ends a process that has asked for a protection that it cannot have, and says why.
pub(crate) fn refuse(why: impl core::fmt::Display) -> ! {
    log::tell(format_args!("{why}; the program does not run"));
    end(c"_exit", libc::EXIT_FAILURE)
}

/// libc's own function of this name, which does not return.
fn end(name: &core::ffi::CStr, status: c_int) -> ! {
    // SAFETY: a C string; RTLD_NEXT needs no handle.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if !ptr::eq(found, ptr::null_mut()) {
        // SAFETY: `_exit` and its kin take an int and do not return.
        let function =
            unsafe { core::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_int) -> !>(found) };
        // SAFETY: any status is a status.
        unsafe { function(status) }
    }
    loop {
        // SAFETY: integers only; it does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// Takes libc's place.
///
/// # Safety
/// As the C function.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
pub(crate) unsafe extern "C" fn _exit(status: c_int) -> ! {
    drain();
    end(c"_exit", status)
}

/// Takes libc's place.
///
/// # Safety
/// As the C function.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(test, allow(dead_code))]
#[allow(non_snake_case)]
pub(crate) unsafe extern "C" fn _Exit(status: c_int) -> ! {
    drain();
    end(c"_Exit", status)
}
