//! Signals that ask the keeper to end, as something to wait for.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// A service manager's, a user's.
const ASKING: [libc::c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];

/// Blocks them in this thread and those that it makes; the descriptor is readable when one has come.
pub(super) fn asking() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is ours to fill in.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has filled it in, whatever it returned it is made of integers.
    let mut set = unsafe { set.assume_init() };
    for signal in ASKING {
        // SAFETY: a live set and a valid signal.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: a live set; the mask before is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    // SAFETY: a live set, and no descriptor yet.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: signalfd has just made it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
