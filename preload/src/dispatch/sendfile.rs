//! sendfile: from the page cache straight into frames.

use libc::{c_int, off_t, size_t};

use super::send::{Source, send_stream};
use super::{attached, held, is_stream};
use crate::errno::{Errno, Leave, Outcome, fail};
use crate::kernel;
use crate::reason::Reason;
use crate::user::{Fault, MAX_RW_COUNT, Place};

/// A file that is read from where `at` says. The file's own position is not touched.
struct FileSource {
    fd: c_int,
    at: i64,
    left: usize,
    /// Why it could not be read on, if that is so.
    failed: Option<Errno>,
}

impl Source for FileSource {
    fn left(&self) -> usize {
        self.left
    }

    fn fill(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        let want = room.len().min(self.left);
        match kernel::pread(self.fd, &mut room[..want], self.at) {
            Ok(n) => {
                self.at += n as i64;
                // The end of the file ends the call, however much was asked for.
                self.left = if n < want { 0 } else { self.left - n };
                Ok(n)
            }
            Err(errno) => {
                self.failed = Some(errno);
                self.left = 0;
                Err(Fault)
            }
        }
    }
}

/// `sendfile` with `to` one of ours.
pub(crate) fn sendfile(to: c_int, from: c_int, at: *mut off_t, len: size_t) -> Outcome {
    let held = held(to)?;
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
    let mut source = FileSource { fd: from, at: begin, left: len.min(MAX_RW_COUNT), failed: None };
    // At the end of the file there is nothing to wait for, even where the socket has no room.
    let readable = kernel::pread(from, &mut [0], begin);
    if source.left == 0 || readable.map_err(|e| if place.is_null() { illegal(e) } else { e })? == 0 {
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
