//! Sleeping on descriptors: one `ppoll`.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// A descriptor to be polled for input.
pub(super) fn input(fd: RawFd) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// `ppoll` by number: libc's own name is the shim's where this crate is part of it. `None` waits for ever.
/// Answers how many descriptors are ready.
pub(super) fn ppoll(
    fds: &mut [libc::pollfd],
    timeout: Option<Duration>,
    sigmask: Option<&libc::sigset_t>,
) -> io::Result<usize> {
    let time = timeout.map(|t| libc::timespec {
        tv_sec: t.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: t.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let mask = sigmask.map_or(std::ptr::null(), std::ptr::from_ref);
    // The kernel's set is 64 bits long, whatever libc's is.
    const SIGSET_BYTES: usize = 8;
    // SAFETY: the pointers are null or borrowed for the call, and the lengths are theirs. The kernel writes
    // the remaining time to `time`, a copy that nobody reads again.
    let n = unsafe { libc::syscall(libc::SYS_ppoll, fds.as_mut_ptr(), fds.len(), time, mask, SIGSET_BYTES) };
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}
