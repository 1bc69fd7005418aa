//! SO_BINDTODEVICE.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Lets a socket send and receive on one interface only.
pub(super) fn bind(socket: &impl AsFd, name: &str) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let len = name.len() as libc::socklen_t;
    // SAFETY: the name is borrowed for the call and `len` bytes long; the kernel copies it.
    let failed = unsafe {
        libc::syscall(libc::SYS_setsockopt, fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_ptr(), len)
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
