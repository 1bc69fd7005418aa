//! poll(2), for descriptors known by number. The only file of the suite that holds `unsafe`.

use std::os::fd::RawFd;

/// Whether one of the descriptors can be read within so many milliseconds.
pub(crate) fn readable(fds: &[RawFd], milliseconds: i32) -> bool {
    let entry = |fd: &RawFd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 };
    let mut entries: Vec<libc::pollfd> = fds.iter().map(entry).collect();
    // SAFETY: `entries` is a live vector of that length.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, milliseconds) };
    ready > 0 && entries.iter().any(|entry| entry.revents & libc::POLLIN != 0)
}
