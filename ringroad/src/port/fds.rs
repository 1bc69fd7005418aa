//! Descriptors known by number only, and numbers out of the application's way.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

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

/// Has a socket take nothing that does not begin so: the kernel throws it away where it is sent.
pub(super) fn admit(socket: BorrowedFd<'_>, beginning: [u8; 16]) -> io::Result<()> {
    let statement = |code: u32, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut steps = Vec::new();
    let (words, _) = beginning.as_chunks::<4>();
    for (n, word) in (0..).zip(words) {
        // What is too short is thrown away by this step.
        steps.push(statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 4 * u32::from(n)));
        let equal = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, u32::from_be_bytes(*word));
        steps.push(libc::sock_filter { jf: 7 - 2 * n, ..equal });
    }
    steps.extend([u32::MAX, 0].map(|octets| statement(libc::BPF_RET | libc::BPF_K, octets)));
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: `program` is a live object of `len` bytes and leads to as many live steps as it says; the kernel only reads.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            len,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// [`aside`] for a netlink socket.
pub(crate) fn socket_aside(socket: Socket) -> Socket {
    match rustix::io::fcntl_dupfd_cloexec(&socket, numbers::lowest()) {
        // SAFETY: the number was just made for this socket, and nothing else owns it.
        Ok(high) => unsafe { Socket::from_raw_fd(high.into_raw_fd()) },
        Err(_) => socket,
    }
}
