//! The errno of the calling thread, and what a call can end with.

use libc::c_int;
use stack::error::SocketError;

use crate::reason::Reason;

/// A value of errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) c_int);

impl From<SocketError> for Errno {
    fn from(error: SocketError) -> Self {
        Self(error.errno())
    }
}

/// Why a dispatched call has no result of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It failed: the caller gets -1 and this errno.
    Errno(Errno),
    /// It is the kernel's: count the reason, call libc.
    Bypass(Reason),
}

impl From<Errno> for Leave {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<SocketError> for Leave {
    fn from(error: SocketError) -> Self {
        Self::Errno(error.into())
    }
}

impl From<Reason> for Leave {
    fn from(reason: Reason) -> Self {
        Self::Bypass(reason)
    }
}

/// What a dispatched call answers: a value for the caller, an errno, or a bypass.
pub(crate) type Outcome = Result<isize, Leave>;

/// Fails with this errno.
pub(crate) const fn fail(errno: c_int) -> Leave {
    Leave::Errno(Errno(errno))
}

/// Sets the calling thread's errno.
pub(crate) fn set(errno: Errno) {
    // SAFETY: __errno_location never fails; the pointer is valid for the calling thread.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above; no reference to the place exists.
    unsafe { place.write(errno.0) };
}

/// The calling thread's errno.
pub(crate) fn get() -> Errno {
    // SAFETY: __errno_location never fails; the pointer is valid for the calling thread.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    Errno(unsafe { place.read() })
}

/// A libc result as ours: negative means errno.
pub(crate) fn check(result: isize) -> Result<isize, Errno> {
    if result < 0 { Err(get()) } else { Ok(result) }
}
