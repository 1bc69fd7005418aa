//! Descriptors that are the library's own: an application that closes all numbers it does not know is to close none of
//! them.

use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

static OBSERVER: OnceLock<fn(RawFd, bool)> = OnceLock::new();

/// Has `observer` told of each descriptor that the library holds for itself, and before it closes it.
pub fn observe_descriptors(observer: fn(RawFd, bool)) {
    // One shim a process.
    let _ = OBSERVER.set(observer);
}

fn tell(fd: RawFd, on: bool) {
    if let Some(observer) = OBSERVER.get() {
        observer(fd, on);
    }
}

/// A descriptor that the library holds for itself, and whoever observes is told of it as long as it does.
#[derive(Debug)]
pub struct Own<T: AsRawFd = OwnedFd> {
    // Goes first: the number may be another file's as soon as it is closed.
    mark: Mark,
    held: T,
}

#[derive(Debug)]
struct Mark(RawFd);

impl Drop for Mark {
    fn drop(&mut self) {
        tell(self.0, false);
    }
}

impl<T: AsRawFd> Own<T> {
    /// Holds what has just been opened.
    pub fn new(held: T) -> Self {
        let fd = held.as_raw_fd();
        tell(fd, true);
        Self { mark: Mark(fd), held }
    }

    /// Gives it to somebody who may close it.
    pub fn into_inner(self) -> T {
        drop(self.mark);
        self.held
    }
}

impl<T: AsRawFd> Deref for Own<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T: AsRawFd> DerefMut for Own<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held
    }
}

impl<T: AsRawFd + AsFd> AsFd for Own<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

impl<T: AsRawFd + Write> Write for Own<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.held.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// No file: numbers that no descriptor has, so that nothing of another test's is told.
    struct Number(RawFd);

    impl AsRawFd for Number {
        fn as_raw_fd(&self) -> RawFd {
            self.0
        }
    }

    static TOLD: Mutex<Vec<(RawFd, bool)>> = Mutex::new(Vec::new());

    fn note(fd: RawFd, on: bool) {
        if fd < 0 {
            TOLD.lock().unwrap().push((fd, on));
        }
    }

    impl Drop for Number {
        fn drop(&mut self) {
            // Of what is closed it has been told before.
            let told = TOLD.lock().unwrap();
            assert_eq!(told.iter().rev().find(|(fd, _)| *fd == self.0), Some(&(self.0, false)));
        }
    }

    #[test]
    fn it_is_told_of_as_long_as_it_is_held() {
        observe_descriptors(note);
        let (one, other) = (Own::new(Number(-7)), Own::new(Number(-8)));
        drop(one);
        let other = other.into_inner();
        let all = [(-7, true), (-8, true), (-7, false), (-8, false)];
        assert_eq!(*TOLD.lock().unwrap(), all);
        drop(other);
    }
}
