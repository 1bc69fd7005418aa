//! `syscall`: a call by its number is the call by its name.
//!
//! Event loops (libuv) and language runtimes make some calls so, where libc had no function of the name once. The
//! numbers are those of the table's rows; the few whose arguments differ from the function's are written out below.

use core::ffi::c_long;

use libc::{
    c_char, c_int, c_uint, c_ulong, c_void, epoll_event, iovec, mmsghdr, msghdr, off_t, pid_t, rlimit,
    sigset_t, size_t, sockaddr, socklen_t, timespec,
};

use super::table::for_each_call;
use crate::dispatch::{connect, control, lifecycle, listen, messages, names, recv, send, sendfile, splice};
use crate::errno::{Outcome, fail};
use crate::poll_select::{poll, select};
use crate::reason::Reason;
use crate::user::Place;
use crate::{epoll, exec, fork, likeness, options, sandbox};

/// An argument of a system call, made from the word that `syscall` was given.
trait Word {
    fn of(word: c_long) -> Self;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Word for $t {
            fn of(word: c_long) -> Self {
                word as $t
            }
        }
    )*};
}

integers!(c_int, c_uint, c_long, c_ulong, usize);

impl<T> Word for *const T {
    fn of(word: c_long) -> Self {
        core::ptr::with_exposed_provenance(word as usize)
    }
}

impl<T> Word for *mut T {
    fn of(word: c_long) -> Self {
        core::ptr::with_exposed_provenance_mut(word as usize)
    }
}

/// What a row without a system call adds: nothing.
macro_rules! is {
    (NONE, $number:ident) => {
        false
    };
    ($syscall:ident, $number:ident) => {
        $number == libc::$syscall
    };
}

macro_rules! answer {
    (NONE, $($rest:tt)*) => {};
    ($syscall:ident, $number:ident, $words:ident, $to:path, $($arg:ident: $ty:ty),*) => {
        if $number == libc::$syscall {
            let mut words = $words.into_iter();
            $(let $arg = <$ty as Word>::of(words.next().unwrap_or_default());)*
            return Some($to($($arg),*));
        }
    };
}

macro_rules! numbers {
    ($($kind:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $syscall:ident => $to:path;)*) => {
        /// Whether a row of the table has this number.
        const fn is_in_table(number: c_long) -> bool {
            false $(|| is!($syscall, number))*
        }

        /// What the row with this number answers.
        fn from_table(number: c_long, words: [c_long; 6]) -> Option<Outcome> {
            $(answer!($syscall, number, words, $to, $($arg: $ty),*);)*
            None
        }
    };
}

for_each_call!(numbers);

/// The numbers beside the table.
const OTHERS: &[c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_seccomp,
    libc::SYS_clone,
    libc::SYS_clone3,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_select,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_dup2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// Whether a system call is looked at. All others (futex!) go on at the cost of this.
#[inline]
pub(super) fn is_looked_at(number: c_long) -> bool {
    is_in_table(number) || OTHERS.contains(&number)
}

/// `syscall`, as far as it is looked at.
pub(super) fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> Outcome {
    let words = [a, b, c, d, e, f];
    from_table(number, words).unwrap_or_else(|| others(number, words))
}

fn to<T: Word>(word: c_long) -> T {
    T::of(word)
}

fn others(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> Outcome {
    match number {
        // What is submitted to a ring goes past the shim: an accelerated connection would be a dead socket there.
        // Nobody can know beforehand what a ring is for, and who uses one has a way without.
        libc::SYS_io_uring_setup => {
            Reason::IoUring.count();
            Err(fail(libc::ENOSYS))
        }
        libc::SYS_seccomp => sandbox::seccomp(to(a), to(c)),
        libc::SYS_clone | libc::SYS_clone3 => fork::by_number(number, [a, b, c, d, e, f]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork => fork::by_number(number, [a, b, c, d, e, f]),
        // The offset comes in two halves, of which 64 bits leave the first.
        libc::SYS_preadv2 => recv::preadv2(to(a), to(b), to(c), d, to(f)),
        libc::SYS_pwritev2 => send::pwritev2(to(a), to(b), to(c), d, to(f)),
        libc::SYS_ppoll => Mask::read(d, e)?.with(|mask| poll::ppoll(to(a), to(b), to(c), mask)),
        libc::SYS_pselect6 => {
            let place = Place::from(to::<*const c_void>(f));
            let (mask, size) = match place.is_null() {
                true => (0, 0),
                false => (place.read()?, place.after(size_of::<usize>()).read()?),
            };
            let mask = Mask::read(mask, size)?;
            mask.with(|mask| select::pselect(to(a), to(b), to(c), to(d), to(e), mask))
        }
        libc::SYS_epoll_pwait => {
            Mask::read(e, f)?.with(|mask| epoll::pwait(to(a), to(b), to(c), to(d), mask))
        }
        libc::SYS_epoll_pwait2 => {
            Mask::read(e, f)?.with(|mask| epoll::pwait2(to(a), to(b), to(c), to(d), mask))
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => poll::poll(to(a), to(b), to(c)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_select => select::select(to(a), to(b), to(c), to(d), to(e)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2 => lifecycle::dup2(to(a), to(b)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_create => epoll::create(to(a)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait => epoll::wait(to(a), to(b), to(c), to(d)),
        _ => Err(Reason::Plain.into()),
    }
}

/// A signal mask as the kernel takes it, in libc's form, which is longer.
struct Mask(Option<[u64; size_of::<sigset_t>() / 8]>);

impl Mask {
    /// That of the kernel's size at `place`, if it is not null.
    fn read(place: c_long, size: c_long) -> Result<Self, crate::errno::Leave> {
        let place = Place::from(to::<*const c_void>(place));
        if place.is_null() {
            return Ok(Self(None));
        }
        if size != size_of::<u64>() as c_long {
            return Err(fail(libc::EINVAL));
        }
        let mut words = [0; size_of::<sigset_t>() / 8];
        words[0] = place.read()?;
        Ok(Self(Some(words)))
    }

    fn with(&self, call: impl FnOnce(*const sigset_t) -> Outcome) -> Outcome {
        call(self.0.as_ref().map_or(core::ptr::null(), |words| words.as_ptr().cast()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_the_table_are_looked_at_and_others_are_not() {
        for number in [libc::SYS_read, libc::SYS_socket, libc::SYS_sendmmsg, libc::SYS_fcntl, libc::SYS_poll]
        {
            assert!(is_looked_at(number), "{number}");
        }
        for number in [libc::SYS_futex, libc::SYS_gettid, libc::SYS_io_uring_enter, -1, c_long::MAX] {
            assert!(!is_looked_at(number), "{number}");
        }
    }

    #[test]
    fn a_mask_is_of_the_kernels_size_or_none() {
        let mask = 0x55_u64;
        let place = (&raw const mask).expose_provenance() as c_long;
        assert_eq!(Mask::read(place, 8).ok().and_then(|m| m.0).map(|words| words[0]), Some(0x55));
        assert_eq!(Mask::read(place, 128).err(), Some(fail(libc::EINVAL)));
        assert!(Mask::read(0, 0).is_ok_and(|m| m.0.is_none()));
    }
}
