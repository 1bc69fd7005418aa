//! Descriptors known by number only, and numbers out of the application's way.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use netlink_sys::Socket;

use super::numbers;

/// An open descriptor by its number.
///
/// # Errors
/// `EBADF` when it is not open.
pub(crate) fn borrow(fd: RawFd) -> io::Result<BorrowedFd<'static>> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is not -1. Descriptors of a port stay open as long as the process: nobody here
    // closes them, and if the application does, using the number gives an error, not undefined behaviour.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_getfd(fd)?;
    Ok(fd)
}

/// The descriptor at a high number, where there is one left: shells and daemons use low ones as they like
/// (`exec 5<>file`), open or not.
pub(crate) fn aside(fd: OwnedFd) -> OwnedFd {
    rustix::io::fcntl_dupfd_cloexec(&fd, numbers::lowest()).unwrap_or(fd)
}

/// Closes a descriptor of our own.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: whoever calls it owned the descriptor, and is gone: the thread that did does not exist after the fork.
    unsafe { rustix::io::close(fd) }
}

/// [`aside`] for a netlink socket.
pub(crate) fn socket_aside(socket: Socket) -> Socket {
    match rustix::io::fcntl_dupfd_cloexec(&socket, numbers::lowest()) {
        // SAFETY: the number was just made for this socket, and nothing else owns it.
        Ok(high) => unsafe { Socket::from_raw_fd(high.into_raw_fd()) },
        Err(_) => socket,
    }
}
