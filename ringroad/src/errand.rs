//! Work that one thread does for another: for one that has forbidden itself all system calls but reading and writing.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::io::{read, retry_on_intr, write};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::port::aside;
use crate::runtime::without_signals;

/// The stack of a thread that does what takes more than an application's thread may have.
const ROOM: usize = 1 << 20;

/// Has work done by another thread, and waits for it: the caller's stack may be small. Where there is no other thread to be
/// had the caller does it.
pub fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = Mutex::new(Some(work));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let done = thread::scope(|scope| {
        let named = thread::Builder::new().name("ringroad-start".into()).stack_size(ROOM);
        let begun = without_signals(|| named.spawn_scoped(scope, || take().map(|work| work())));
        begun.ok()?.join().ok()?
    });
    // Only what nobody has begun is left.
    done.or_else(|| take().map(|work| work())).expect("a start that panics ends the process")
}

/// Work that waits to be asked for.
#[derive(Debug)]
pub struct Errand {
    ask: OwnedFd,
    done: OwnedFd,
    asked: AtomicBool,
}

impl Errand {
    /// Has a thread wait to do `work`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn prepare(work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (asked, ask) = pipe_with(PipeFlags::CLOEXEC)?;
        let (done, says) = pipe_with(PipeFlags::CLOEXEC)?;
        let [asked, ask, done, says] = [asked, ask, done, says].map(aside);
        without_signals(|| {
            let named = thread::Builder::new().name("ringroad-errand".into());
            named.spawn(move || {
                // Who is gone asks for nothing.
                if retry_on_intr(|| read(&asked, &mut [0u8; 1])) == Ok(1) {
                    work();
                }
                drop(says);
            })
        })?;
        Ok(Self { ask, done, asked: AtomicBool::new(false) })
    }

    /// Its descriptors.
    #[must_use]
    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.ask.as_raw_fd(), self.done.as_raw_fd()]
    }

    /// Has it done, and waits until it is; later it is done already.
    pub fn run(&self) {
        // To ask again could be a SIGPIPE: who does it has gone then.
        if !self.asked.swap(true, Ordering::AcqRel) && retry_on_intr(|| write(&self.ask, &[0])).is_err() {
            return;
        }
        // The end says it.
        let _ = retry_on_intr(|| read(&self.done, &mut [0u8; 1]));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn it_is_done_when_it_was_asked_for_and_once() {
        let times = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&times);
        let errand = Errand::prepare(move || _ = counted.fetch_add(1, Ordering::SeqCst)).unwrap();
        assert_eq!(times.load(Ordering::SeqCst), 0);
        errand.run();
        assert_eq!(times.load(Ordering::SeqCst), 1);
        errand.run();
        assert_eq!(times.load(Ordering::SeqCst), 1);
    }
}
