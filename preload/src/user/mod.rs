//! The application's memory: copied, never borrowed, and never trusted to be there.
//!
//! An address is a number here. Reading or writing it answers [`Fault`] where the kernel would answer
//! EFAULT, at no cost when all is well (see `copy`).

mod control;
#[cfg(target_arch = "x86_64")]
#[path = "copy_x86_64.rs"]
mod copy;
#[cfg(not(target_arch = "x86_64"))]
#[path = "copy_process_vm.rs"]
mod copy;
mod iovec;
mod message;
mod sockaddr;

use core::mem::MaybeUninit;

use crate::errno::{Errno, Leave};

pub(crate) use control::{Reader, Sent, Writer};
pub(crate) use copy::fix_up;
pub(crate) use iovec::{Cursor, MAX_RW_COUNT};
pub(crate) use message::{Message, Reply};
pub(crate) use sockaddr::{Named, address_bytes, from_c, read_sockaddr, write_sockaddr};
pub(crate) use stack::error::Fault;

impl From<Fault> for Errno {
    fn from(_: Fault) -> Self {
        Errno(libc::EFAULT)
    }
}

impl From<Fault> for Leave {
    fn from(fault: Fault) -> Self {
        Leave::Errno(fault.into())
    }
}

/// An address that the application named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place(usize);

impl<T> From<*const T> for Place {
    fn from(pointer: *const T) -> Self {
        Self(pointer.expose_provenance())
    }
}

impl<T> From<*mut T> for Place {
    fn from(pointer: *mut T) -> Self {
        Self(pointer.expose_provenance())
    }
}

/// Types of the C ABI without padding that matters, any bytes of which are a value.
///
/// # Safety
/// Every bit pattern is a value.
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($t:ty),* $(,)?) => {
        // SAFETY: integers, pointers, and C structs of nothing but these.
        $(unsafe impl Plain for $t {})*
    };
}

plain! {
    u8, u16, i32, u32, i64, u64, usize, isize, libc::iovec, libc::msghdr, libc::mmsghdr, libc::sockaddr_in,
    libc::epoll_event, libc::pollfd, libc::timespec, libc::timeval, libc::linger, libc::sigset_t,
    libc::fd_set, libc::cmsghdr, libc::in_pktinfo,
}

impl Place {
    /// Whether it is the null pointer.
    pub(crate) const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The place `bytes` further on.
    pub(crate) const fn after(self, bytes: usize) -> Place {
        Place(self.0.wrapping_add(bytes))
    }

    /// As the pointer that the application gave, for the kernel.
    pub(crate) fn as_mut_ptr<T>(self) -> *mut T {
        core::ptr::with_exposed_provenance_mut(self.0)
    }

    /// Copies `to.len()` bytes out of the application.
    #[inline]
    pub(crate) fn read_into(self, to: &mut [u8]) -> Result<(), Fault> {
        // SAFETY: `to` is writable for its length and nobody else's; the source may be anything.
        unsafe { copy::from_user(to.as_mut_ptr(), self.0, to.len()) }
    }

    /// Copies `from` into the application.
    #[inline]
    pub(crate) fn write_from(self, from: &[u8]) -> Result<(), Fault> {
        // SAFETY: `from` is readable for its length; the target is what the application gave to be written.
        unsafe { copy::to_user(self.0, from.as_ptr(), from.len()) }
    }

    /// Reads a value; it need not be aligned.
    #[inline]
    pub(crate) fn read<T: Plain>(self) -> Result<T, Fault> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the value is writable for its size.
        unsafe { copy::from_user(value.as_mut_ptr().cast(), self.0, size_of::<T>()) }?;
        // SAFETY: all bytes were written, and any bytes are a value of a Plain type.
        Ok(unsafe { value.assume_init() })
    }

    /// Writes a value; the place need not be aligned.
    #[inline]
    pub(crate) fn write<T: Plain>(self, value: &T) -> Result<(), Fault> {
        // SAFETY: the value is readable for its size.
        unsafe { copy::to_user(self.0, core::ptr::from_ref(value).cast(), size_of::<T>()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A readable and writable page followed by one that is not there.
    pub(crate) struct Edge(*mut u8);

    impl Edge {
        pub(crate) fn new() -> Self {
            crate::signals::install_fault_handler();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            // SAFETY: a fresh mapping.
            let page = unsafe { libc::mmap(core::ptr::null_mut(), 8192, libc::PROT_NONE, flags, -1, 0) };
            assert_ne!(page, libc::MAP_FAILED);
            // SAFETY: the first page of our own mapping.
            assert_eq!(unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_WRITE) }, 0);
            Self(page.cast())
        }

        /// The place `n` bytes before the hole.
        pub(crate) fn before(&self, n: usize) -> Place {
            Place::from(self.0.wrapping_add(4096 - n))
        }
    }

    impl Drop for Edge {
        fn drop(&mut self) {
            // SAFETY: the mapping made by `new`.
            unsafe { libc::munmap(self.0.cast(), 8192) };
        }
    }

    #[test]
    fn every_length_is_copied_whole() {
        let edge = Edge::new();
        for len in (0..300).chain([511, 512, 1447, 1448, 4095, 4096]) {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + len) as u8).collect();
            assert_eq!(edge.before(len).write_from(&bytes), Ok(()));
            let mut back = vec![0; len];
            assert_eq!(edge.before(len).read_into(&mut back), Ok(()));
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn a_hole_is_a_fault_and_not_a_crash() {
        let edge = Edge::new();
        for len in 1..=600 {
            let mut bytes = vec![1; len];
            assert_eq!(edge.before(len - 1).write_from(&bytes), Err(Fault), "write {len}");
            assert_eq!(edge.before(len - 1).read_into(&mut bytes), Err(Fault), "read {len}");
        }
        assert_eq!(Place(0).write(&1i32), Err(Fault));
        assert_eq!(Place(usize::MAX - 3).read::<u64>(), Err(Fault));
        assert_eq!(Place(0x8000_0000_0000_0000).read::<u64>(), Err(Fault));
        assert_eq!(Place(usize::MAX).read_into(&mut []), Ok(()));
    }

    #[test]
    fn read_only_memory_is_read_and_not_written() {
        crate::signals::install_fault_handler();
        static TEXT: [u8; 32] = *b"constant data of this very crate";
        assert_eq!(Place::from(&raw const TEXT).read::<u8>(), Ok(b'c'));
        let code = every_length_is_copied_whole as fn() as *const u8;
        assert_eq!(Place::from(code).write(&0u8), Err(Fault));
    }
}
