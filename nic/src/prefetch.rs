//! Memory that will be wanted soon.

/// Bytes of a line of the cache.
pub const LINE: usize = 64;

/// Into the first cache. Few lines can be under way to it at a time, and whoever asks for more waits.
const NEAR: i32 = 3;
/// Into the second, which takes many.
const SECOND: i32 = 2;

/// Asks the processor to fetch the first `bytes` of a value, or all of it when it is shorter. Nothing waits for it,
/// and nothing of it is read.
#[inline]
pub fn prefetch<T>(value: &T, bytes: usize) {
    let first: *const u8 = core::ptr::from_ref(value).cast();
    for at in (0..size_of::<T>().min(bytes)).step_by(LINE) {
        fetch::<SECOND>(first.wrapping_add(at));
    }
}

/// Asks the processor to fetch the line at `at`, which is needed next.
#[inline]
pub(crate) fn line(at: *const u8) {
    fetch::<NEAR>(at);
}

#[inline]
fn fetch<const INTO: i32>(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::_mm_prefetch;
        // SAFETY: a prefetch reads nothing that a program could see and faults on no address.
        unsafe { _mm_prefetch::<INTO>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1};

    #[test]
    fn the_hints_are_the_processor_s() {
        assert_eq!((super::NEAR, super::SECOND), (_MM_HINT_T0, _MM_HINT_T1));
    }
}
