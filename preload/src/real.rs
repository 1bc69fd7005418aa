//! libc's own functions, by the names of the table: found once with `dlsym(RTLD_NEXT)`. Where libc has none
//! of the name, the system call itself, where there is one.

use core::ffi::{CStr, c_long};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use libc::{
    FILE, c_char, c_int, c_uint, c_ulong, c_void, epoll_event, fd_set, iovec, mmsghdr, msghdr, nfds_t, off_t,
    pid_t, pollfd, pthread_t, rlimit, sigset_t, size_t, sockaddr, socklen_t, ssize_t, timespec, timeval,
};

use crate::errno::{self, Errno};
use crate::intercept::for_each_call;

/// What `dlsym` answered for a name that libc does not have, so that it is asked once.
static ABSENT: u8 = 0;

/// The next definition of `name` after this library's.
fn find(known: &AtomicPtr<c_void>, name: &CStr) -> Option<*mut c_void> {
    let absent = (&raw const ABSENT).cast_mut().cast::<c_void>();
    let mut found = known.load(Ordering::Acquire);
    if found.is_null() {
        // SAFETY: the name is a C string; RTLD_NEXT needs no handle.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
        if found.is_null() {
            found = absent;
        }
        known.store(found, Ordering::Release);
    }
    (!ptr::eq(found, absent)).then_some(found)
}

/// The result of a call that nobody can answer.
trait Missing {
    fn missing() -> Self;
}

macro_rules! missing {
    ($($t:ty: $value:expr),*) => {$(
        impl Missing for $t {
            fn missing() -> Self {
                errno::set(Errno(libc::ENOSYS));
                $value
            }
        }
    )*};
}

missing!(c_int: -1, c_long: -1, isize: -1, usize: usize::MAX, *mut FILE: ptr::null_mut(), (): ());

/// The system call of a row, or ENOSYS.
macro_rules! fallback {
    (NONE, $ret:ty, $($arg:ident),*) => {{
        let _ = ($($arg,)*);
        <$ret as Missing>::missing()
    }};
    ($syscall:ident, $ret:ty, $($arg:ident),*) => {
        // SAFETY: the caller's own arguments, passed on as they are.
        unsafe { libc::syscall(libc::$syscall, $($arg),*) as $ret }
    };
}

macro_rules! resolve {
    ($($kind:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $syscall:ident => $to:path;)*) => {
        #[allow(non_upper_case_globals)]
        mod known {
            use super::{AtomicPtr, c_void, ptr};
            $(pub(super) static $name: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());)*
        }

        const fn name_of(name: &'static str) -> &'static CStr {
            match CStr::from_bytes_with_nul(name.as_bytes()) {
                Ok(name) => name,
                Err(_) => panic!("a name with a zero byte"),
            }
        }

        $(
            /// libc's function of this name.
            ///
            /// # Safety
            /// As the C function.
            #[inline]
            pub(crate) unsafe fn $name($($arg: $ty),*) -> $ret {
                const NAME: &CStr = name_of(concat!(stringify!($name), "\0"));
                match find(&known::$name, NAME) {
                    Some(address) => {
                        // SAFETY: libc's symbol of this name has this signature.
                        let function = unsafe {
                            core::mem::transmute::<*mut c_void, unsafe extern "C" fn($($ty),*) -> $ret>(address)
                        };
                        // SAFETY: the caller's own arguments, passed on as they are.
                        unsafe { function($($arg),*) }
                    }
                    None => fallback!($syscall, $ret, $($arg),*),
                }
            }
        )*

        /// Finds all of them, so that a signal handler need not.
        pub(crate) fn find_all() {
            $(find(&known::$name, name_of(concat!(stringify!($name), "\0")));)*
        }
    };
}

for_each_call!(resolve);
