//! Memory that is there for the life of the process and costs nothing until it is touched.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU64};

/// Types whose all-zero bytes are a value.
///
/// # Safety
/// All-zero bytes are a value, and the type may be shared between threads.
pub(super) unsafe trait Zero: Sync + 'static {}

// SAFETY: zero is a value of an atomic integer.
unsafe impl Zero for AtomicU64 {}
// SAFETY: zero is false.
unsafe impl Zero for AtomicBool {}
// SAFETY: a File is made of atomic integers only.
unsafe impl Zero for super::File {}

/// `count` zeroed values that are never freed; none when the kernel has no address space for them.
pub(super) fn reserve<T: Zero>(count: usize) -> Option<&'static [T]> {
    let bytes = count.checked_mul(size_of::<T>())?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
    let base =
        unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is page-aligned, zeroed, `bytes` long and never unmapped; zeroes are values of T.
    Some(unsafe { core::slice::from_raw_parts(base.cast::<T>(), count) })
}

/// A word that is false in every child, however it is made, unless it shares this process's memory. None where the kernel
/// has no such memory (before Linux 4.14).
pub(crate) fn forgotten_by_children() -> Option<&'static AtomicBool> {
    let word = reserve::<AtomicBool>(1)?.first()?;
    let page = ptr::from_ref(word).cast_mut().cast::<libc::c_void>();
    // SAFETY: a mapping that begins there, which nothing else is in.
    let done = unsafe { libc::madvise(page, size_of::<AtomicBool>(), libc::MADV_WIPEONFORK) };
    (done == 0).then_some(word)
}
