//! Descriptors known by number only.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

/// An open descriptor by its number.
///
/// # Errors
/// `EBADF` when it is not open.
pub(super) fn borrow(fd: RawFd) -> io::Result<BorrowedFd<'static>> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is not -1. Descriptors of a port stay open as long as the process: nobody here
    // closes them, and if the application does, using the number gives an error, not undefined behaviour.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_getfd(fd)?;
    Ok(fd)
}
