//! A kernel descriptor's readiness without a system call a look: an io_uring multishot poll on it.
//!
//! The completions are deferred task work: the kernel sets a flag in the ring that both map, and only when it
//! is set is the kernel entered. Without deferral the completion would arrive like a signal and break the
//! application's own system calls.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use io_uring::{IoUring, cqueue, opcode, types};
use nic::Own;

/// Counts the descriptors that the application closed: a watch from before holds a file that may be gone.
static FORGOTTEN: AtomicU64 = AtomicU64::new(0);

/// The application closed a kernel descriptor that may be watched: the next wait watches anew.
pub(crate) fn forget() {
    FORGOTTEN.fetch_add(1, Ordering::Relaxed);
}

/// The watch of one descriptor by one thread.
pub(crate) struct Watch {
    ring: Own<IoUring>,
    token: u64,
    fd: RawFd,
    events: i16,
    /// [`FORGOTTEN`] when the watch began.
    epoch: u64,
    /// Something happened since the descriptor was last seen idle.
    hot: bool,
}

impl Watch {
    /// Begins to watch. `None` when the kernel refuses io_uring or lacks deferred completions (before 6.1).
    pub(crate) fn new(token: u64, of: &libc::pollfd) -> Option<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .dontfork()
            .build(4)
            .ok()?;
        let epoch = FORGOTTEN.load(Ordering::Relaxed);
        let mut watch = Self { ring: Own::new(ring), token, fd: of.fd, events: of.events, epoch, hot: true };
        watch.arm().then_some(watch)
    }

    /// Whether this is a watch of what `token` names, and nothing was closed since.
    pub(crate) fn is_of(&self, token: u64, of: &libc::pollfd) -> bool {
        (self.token, self.fd, self.events) == (token, of.fd, of.events)
            && self.epoch == FORGOTTEN.load(Ordering::Relaxed)
    }

    /// Whether the descriptor may be ready: ask it. When false, it is not.
    #[inline]
    pub(crate) fn hot(&mut self) -> bool {
        if !self.hot && (self.ring.submission().taskrun() || !self.ring.completion().is_empty()) {
            self.collect();
        }
        self.hot
    }

    /// The descriptor was asked after [`Watch::hot`] and is idle.
    pub(crate) fn cool(&mut self) {
        self.hot = false;
        // An event between the question and now is in the ring already, or will be.
        let _ = self.hot();
    }

    fn collect(&mut self) {
        self.hot = true;
        // Entering can fail only for want of memory; then the descriptor stays hot and is asked each time.
        let _ = self.ring.submit();
        let ended = self.ring.completion().any(|c| !cqueue::more(c.flags()));
        if ended {
            self.arm();
        }
    }

    fn arm(&mut self) -> bool {
        let poll = opcode::PollAdd::new(types::Fd(self.fd), self.events as u32).multi(true).build();
        // SAFETY: the entry refers to no memory, only to a descriptor, which the kernel checks.
        let pushed = unsafe { self.ring.submission().push(&poll) };
        pushed.is_ok() && self.ring.submit().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::bell::Bell;
    use crate::runtime::block::input;

    #[test]
    fn an_event_makes_it_hot_until_it_is_seen_idle() {
        let bell = Bell::new().unwrap();
        let Some(mut watch) = Watch::new(1, &input(bell.raw())) else {
            return; // No io_uring here: the fallback is poll, which needs no test.
        };
        assert!(watch.hot(), "nothing is known of it yet");
        watch.cool();
        assert!(!watch.hot());
        bell.ring();
        assert!(watch.hot());
        watch.cool();
        assert!(!watch.hot(), "it was said to be idle");
        bell.ring();
        assert!(watch.hot(), "the poll is still armed");
    }

    #[test]
    fn a_closed_descriptor_ends_the_watch() {
        let bell = Bell::new().unwrap();
        let Some(watch) = Watch::new(1, &input(bell.raw())) else { return };
        assert!(!watch.is_of(1, &input(bell.raw() + 1)) && !watch.is_of(2, &input(bell.raw())));
        forget();
        assert!(!watch.is_of(1, &input(bell.raw())));
    }
}
