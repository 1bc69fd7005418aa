//! sendfile: from the page cache into frames, many frames a read.

use std::cell::Cell;
use std::ops::Range;

use libc::{c_int, off_t, size_t};

use super::send::{Source, send_stream};
use super::splice::splice;
use super::{attached, held, is_stream};
use crate::errno::{Errno, Leave, Outcome, fail};
use crate::kernel;
use crate::reason::Reason;
use crate::user::{Fault, MAX_RW_COUNT, Place};

/// How much of the file is read at a time: as many frames as this holds cost one system call.
const AHEAD: usize = 64 * 1024;

thread_local! {
    /// What was read ahead, kept for the thread's next call.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A file that is read from where `at` says. The file's own position is not touched.
struct FileSource {
    fd: c_int,
    /// Where to read on.
    at: i64,
    /// Bytes to give, as far as is known.
    left: usize,
    buffer: Vec<u8>,
    /// What of `buffer` was read and not given yet.
    ahead: Range<usize>,
    /// Why it could not be read on, if that is so.
    failed: Option<Errno>,
}

impl FileSource {
    fn new(fd: c_int, at: i64, left: usize) -> Self {
        let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
        buffer.resize(AHEAD, 0);
        Self { fd, at, left, buffer, ahead: 0..0, failed: None }
    }

    /// Reads on when nothing is left of what was read before.
    fn read_on(&mut self) -> Result<(), Errno> {
        let want = self.left.min(AHEAD);
        if !self.ahead.is_empty() || want == 0 {
            return Ok(());
        }
        let n = kernel::pread(self.fd, &mut self.buffer[..want], self.at)?;
        self.at += n as i64;
        self.ahead = 0..n;
        // The end of the file ends the call, however much was asked for.
        if n < want {
            self.left = n;
        }
        Ok(())
    }
}

impl Source for FileSource {
    fn left(&self) -> usize {
        self.left
    }

    fn fill(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        if let Err(errno) = self.read_on() {
            self.failed = Some(errno);
            self.left = 0;
            return Err(Fault);
        }
        let n = room.len().min(self.ahead.len());
        room[..n].copy_from_slice(&self.buffer[self.ahead.start..self.ahead.start + n]);
        self.ahead.start += n;
        self.left -= n;
        Ok(n)
    }
}

impl Drop for FileSource {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
}

/// `sendfile` with `to` one of ours; from one of ours it is a splice, for which the kernel wants a pipe.
pub(crate) fn sendfile(to: c_int, from: c_int, at: *mut off_t, len: size_t) -> Outcome {
    let Ok(held) = held(to) else {
        return if at.is_null() { splice(from, at, to, at, len, 0) } else { Err(Reason::Plain.into()) };
    };
    if !is_stream(&held) {
        return Err(Reason::Plain.into());
    }
    let socket = attached(&held)?;
    let place = Place::from(at);
    let begin = if place.is_null() {
        kernel::seek(from, 0, libc::SEEK_CUR).map_err(illegal)?
    } else {
        place.read::<i64>()?
    };
    if begin < 0 {
        return Err(fail(libc::EINVAL));
    }
    let mut source = FileSource::new(from, begin, len.min(MAX_RW_COUNT));
    // The first piece is read before the stack is locked: the disk may be slow.
    source.read_on().map_err(|e| if place.is_null() { illegal(e) } else { e })?;
    // At the end of the file there is nothing to wait for, even where the socket has no room.
    if source.left == 0 {
        return Ok(0);
    }
    let sent = send_stream(&held, socket, 0, &mut source).map_err(|leave| match source.failed {
        Some(errno) => Leave::Errno(illegal(errno)),
        None => leave,
    })?;
    let end = begin + sent as i64;
    if place.is_null() {
        kernel::seek(from, end, libc::SEEK_SET)?;
    } else {
        place.write(&end)?;
    }
    Ok(sent)
}

/// What has no position (a pipe, a socket) is EINVAL for a sendfile from its position.
fn illegal(errno: Errno) -> Errno {
    if errno.0 == libc::ESPIPE { Errno(libc::EINVAL) } else { errno }
}
