//! Memory that will be wanted soon.

/// Bytes of a line of the cache.
pub const LINE: usize = 64;

/// Asks the processor to fetch the first `bytes` of a value, or all of it when it is shorter. Nothing waits for it,
/// and nothing of it is read.
#[inline]
pub fn prefetch<T>(value: &T, bytes: usize) {
    let first: *const u8 = core::ptr::from_ref(value).cast();
    for at in (0..size_of::<T>().min(bytes)).step_by(LINE) {
        line(first.wrapping_add(at));
    }
}

/// Asks the processor to fetch the line at `at`.
#[inline]
pub(crate) fn line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that a program could see and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
