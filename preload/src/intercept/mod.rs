//! The symbols that take libc's place, made from the table.
//!
//! Why a macro of our own and not redhook (2.0): its `hook!` does not compile in this edition (a bare
//! `#[no_mangle]`, references to a `static mut`); it panics where libc lacks a function (`epoll_pwait2`,
//! `close_range` on older ones); it enters a `Once` and a `catch_unwind` on every call, where ours reads a word
//! and goes on; and after a panic it calls libc again, which would send what was sent already. Nor has it a
//! table from which tests and `real` could come.
//!
//! `fcntl`, `ioctl` and `clone` are variadic in C; on the ABIs that Linux has for x86-64, arm64 and riscv64 an integer or
//! pointer in the variable part is passed as if it were named, so they are declared with it.

mod number;
mod table;

use core::ffi::c_long;

use libc::{
    FILE, c_char, c_int, c_uint, c_ulong, c_void, epoll_event, fd_set, iovec, mmsghdr, msghdr, nfds_t, off_t,
    pid_t, pollfd, pthread_t, rlimit, sigset_t, size_t, sockaddr, socklen_t, ssize_t, timespec, timeval,
};

use crate::dispatch::{
    connect, control, lifecycle, listen, messages, names, recv, rights, send, sendfile, splice,
};
use crate::errno::{self, Leave, Outcome};
use crate::poll_select::{poll, select};
use crate::{
    cancel, epoll, exec, fdtable, fork, guard, likeness, options, real, sandbox, signals, spawn, stdio,
};

pub(crate) use table::for_each_call;

/// The result type of a C function, made from a dispatched call's answer.
trait Answer {
    fn of(value: isize) -> Self;
}

impl Answer for c_int {
    fn of(value: isize) -> Self {
        value as c_int
    }
}

impl Answer for c_long {
    fn of(value: isize) -> Self {
        value as c_long
    }
}

impl Answer for isize {
    fn of(value: isize) -> Self {
        value
    }
}

impl Answer for usize {
    fn of(value: isize) -> Self {
        value as usize
    }
}

impl<T> Answer for *mut T {
    fn of(value: isize) -> Self {
        if value == -1 {
            core::ptr::null_mut()
        } else {
            core::ptr::with_exposed_provenance_mut(value as usize)
        }
    }
}

impl Answer for () {
    fn of(_: isize) -> Self {}
}

/// What the caller gets; none when libc is to be called.
fn finish<R: Answer>(outcome: Outcome) -> Option<R> {
    match outcome {
        Ok(value) => Some(R::of(value)),
        Err(Leave::Errno(error)) => {
            errno::set(error);
            Some(R::of(-1))
        }
        Err(Leave::Bypass(reason)) => {
            reason.count();
            None
        }
    }
}

/// Whether a call of this kind concerns none of our descriptors, at the cost of a load.
macro_rules! is_plain {
    (any, $($arg:ident),*) => {
        false
    };
    (fd, $first:ident $(, $rest:ident)*) => {
        fdtable::is_plain($first)
    };
    (raw, $number:ident $(, $rest:ident)*) => {
        !number::is_looked_at($number)
    };
    (pair, $first:ident, $second:ident $(, $rest:ident)*) => {
        fdtable::is_plain($first) && fdtable::is_plain($second)
    };
    (rights, $first:ident $(, $rest:ident)*) => {
        fdtable::is_plain($first)
    };
    (gives, $first:ident $(, $rest:ident)*) => {
        fdtable::is_plain($first)
    };
}

/// Whether a connection that the call was about has gone to another process meanwhile: it is asked for again.
macro_rules! has_gone {
    (any, $($arg:ident),*) => {
        false
    };
    (raw, $number:ident, $first:ident $(, $rest:ident)*) => {
        fdtable::is_elsewhere($first as c_int)
    };
    (pair, $first:ident, $second:ident $(, $rest:ident)*) => {
        fdtable::is_elsewhere($first) || fdtable::is_elsewhere($second)
    };
    ($kind:ident, $first:ident $(, $rest:ident)*) => {
        fdtable::is_elsewhere($first)
    };
}

/// libc's own call, and what comes of it here.
macro_rules! called {
    (rights, $call:expr, $fd:ident, $message:ident, $flags:ident) => {{
        let answer = $call;
        if answer >= 0 {
            rights::received($message);
        }
        answer
    }};
    (rights, $call:expr, $fd:ident, $messages:ident, $count:ident, $flags:ident, $timeout:ident) => {{
        let answer = $call;
        if answer > 0 {
            rights::received_many($messages, answer);
        }
        answer
    }};
    (gives, $call:expr, $fd:ident, $message:ident, $flags:ident) => {{
        rights::sending($message);
        $call
    }};
    (gives, $call:expr, $fd:ident, $messages:ident, $count:ident, $flags:ident) => {{
        rights::sending_many($messages, $count);
        $call
    }};
    (raw, $call:expr, $number:ident, $first:ident, $second:ident, $third:ident $(, $rest:ident)*) => {{
        rights::sending_by_number($number, $second, $third);
        let answer = $call;
        if answer >= 0 {
            rights::received_by_number($number, $second, answer);
        }
        answer
    }};
    ($kind:ident, $call:expr $(, $arg:ident)*) => {
        $call
    };
}

unsafe extern "C" {
    fn pthread_testcancel();
}

/// Ends the thread here if another has cancelled it: nothing of ours is left on its stack.
#[inline]
fn end_if_cancelled() {
    if cancel::take() {
        // SAFETY: a function of libc's without arguments. The frames it unwinds from here on are this one's and the
        // exported function's, which own nothing, and the application's. (As "C-unwind" it would abort: with
        // panic=abort, rustc lets no frame of Rust's be unwound that it knows of.)
        unsafe { pthread_testcancel() }
    }
}

/// Enters the library, unless the thread is to end first.
#[inline]
fn begin(is_point: bool) -> Option<guard::Inside> {
    if is_point && cancel::is_used() && !guard::inside() {
        end_if_cancelled();
    }
    guard::enter()
}

macro_rules! export {
    ($($kind:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $syscall:ident => $to:path;)*) => {$(
        /// Takes the place of libc's function of this name.
        ///
        /// # Safety
        /// As the C function.
        #[cfg_attr(not(test), unsafe(no_mangle))]
        #[cfg_attr(test, allow(dead_code))]
        pub(crate) unsafe extern "C" fn $name($($arg: $ty),*) -> $ret {
            if !is_plain!($kind, $($arg),*)
                && let Some(inside) = begin(const { cancel::is_point(stringify!($name)) })
            {
                let mut outcome = $to($($arg),*);
                while outcome == Err(errno::fail(libc::EBADF)) && has_gone!($kind, $($arg),*) {
                    outcome = $to($($arg),*);
                }
                let interrupted = outcome == Err(errno::fail(libc::EINTR));
                let answer = finish(outcome);
                drop(inside);
                if const { cancel::ends_at(stringify!($name)) } || interrupted {
                    end_if_cancelled();
                }
                if let Some(answer) = answer {
                    return answer;
                }
            }
            // SAFETY: the caller's own arguments, passed on as they are.
            called!($kind, unsafe { real::$name($($arg),*) } $(, $arg)*)
        }
    )*};
}

for_each_call!(export);

#[cfg(test)]
mod tests {
    macro_rules! names {
        ($($kind:ident $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $syscall:ident => $to:path;)*) => {
            const NAMES: &[&str] = &[$(stringify!($name)),*];
        };
    }
    super::for_each_call!(names);

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names = NAMES.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), NAMES.len());
    }

    #[test]
    fn what_the_servers_and_clients_of_the_day_call_is_in_the_table() {
        let called = "socket bind listen accept accept4 connect shutdown close dup dup2 read write readv writev \
            recv recvfrom recvmsg recvmmsg send sendto sendmsg sendmmsg sendfile sendfile64 getsockopt \
            setsockopt getsockname getpeername fcntl fcntl64 ioctl poll ppoll select pselect epoll_create \
            epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 close_range execve sigaction signal";
        for name in called.split_whitespace() {
            assert!(NAMES.contains(&name), "{name}");
        }
    }
}
