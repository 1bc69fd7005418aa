//! Copies to and from memory that may not be there, by asking the kernel (`process_vm_readv` on ourselves):
//! for the architectures that have no copy routine of their own here.

use core::ptr;

use libc::{c_ulong, c_void, iovec};

use super::Fault;

type Copy =
    unsafe extern "C" fn(libc::pid_t, *const iovec, c_ulong, *const iovec, c_ulong, c_ulong) -> libc::ssize_t;

fn run(call: Copy, local: *mut c_void, remote: usize, len: usize) -> Result<(), Fault> {
    if len == 0 {
        return Ok(());
    }
    let local = iovec { iov_base: local, iov_len: len };
    let remote = iovec { iov_base: ptr::with_exposed_provenance_mut(remote), iov_len: len };
    // SAFETY: no arguments; cannot fail.
    let pid = unsafe { libc::getpid() };
    // SAFETY: both descriptors live over the call; the kernel checks what they point to.
    let copied = unsafe { call(pid, &raw const local, 1, &raw const remote, 1, 0) };
    if usize::try_from(copied) == Ok(len) { Ok(()) } else { Err(Fault) }
}

/// Copies `len` bytes from the application.
///
/// # Safety
/// `to` is writable for `len` bytes that no reference covers.
pub(super) unsafe fn from_user(to: *mut u8, from: usize, len: usize) -> Result<(), Fault> {
    run(libc::process_vm_readv, to.cast(), from, len)
}

/// Copies `len` bytes to the application.
///
/// # Safety
/// `from` is readable for `len` bytes, and `to` is memory that the application gave to be written.
pub(super) unsafe fn to_user(to: usize, from: *const u8, len: usize) -> Result<(), Fault> {
    run(libc::process_vm_writev, from.cast_mut().cast(), to, len)
}

/// Nothing of ours faults here.
pub(crate) fn fix_up(_: &mut libc::ucontext_t) -> bool {
    false
}
