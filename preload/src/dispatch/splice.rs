//! splice between a pipe and a stream: by way of a buffer, for the stack's frames are no pages of the kernel's.
//!
//! What leaves the socket is what the pipe has taken, and what leaves the pipe is what the socket has taken: a call
//! that moves less than was asked for loses nothing.

use std::cell::Cell;

use libc::{O_NONBLOCK, SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK, c_int, c_uint, off_t, size_t};
use ringroad::Runtime;
use ringroad::config::Call;
use stack::error::SocketError;
use stack::socket::RecvFlags;
use stack::types::SocketId;

use super::recv::wait_for_data;
use super::send::{Source, send_stream};
use super::wait::Patience;
use super::{attached, is_stream};
use crate::errno::{Errno, Leave, Outcome, fail};
use crate::fdtable::{self, Flag, Held, Kind};
use crate::reason::Reason;
use crate::user::Fault;
use crate::{guard, kernel};

/// All flags; SPLICE_F_GIFT means nothing here.
const FLAGS: c_uint = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | libc::SPLICE_F_GIFT;

/// What is moved at a time: a pipe takes no more by default.
const AT_ONCE: usize = 64 * 1024;

thread_local! {
    /// Kept for the thread's next call.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// `splice`. What the kernel refuses for any socket, it refuses for the backing one.
pub(crate) fn splice(
    from: c_int,
    at: *mut off_t,
    to: c_int,
    to_at: *mut off_t,
    len: size_t,
    flags: c_uint,
) -> Outcome {
    let plain = || Leave::Bypass(Reason::Plain);
    // What is another process's yet is asked for.
    let is_ours = |held: &Held| held.socket().is_some() || held.file.is(Flag::Inherited);
    let ours = |fd| fdtable::get(fd).filter(|h| h.file.kind() != Kind::Epoll && is_ours(h));
    let (source, sink) = (ours(from), ours(to));
    let (held, pipe) = match (&source, &sink) {
        (Some(held), None) => (held, to),
        (None, Some(held)) => (held, from),
        _ => return Err(plain()),
    };
    if len == 0 || flags & !FLAGS != 0 || !at.is_null() || !to_at.is_null() || !kernel::is_pipe(pipe) {
        return Err(plain());
    }
    if !is_stream(held) {
        Reason::Splice.count();
        return Err(fail(libc::EINVAL));
    }
    if source.is_some() { to_pipe(held, pipe, len, flags) } else { from_pipe(held, pipe, len, flags) }
}

/// Whether a pipe is to be waited for.
fn waits(pipe: c_int, flags: c_uint) -> Result<bool, Errno> {
    Ok(flags & SPLICE_F_NONBLOCK == 0 && kernel::fcntl(pipe, libc::F_GETFL, 0)? & O_NONBLOCK == 0)
}

fn wait_for_pipe(pipe: c_int, events: i16) -> Result<(), Errno> {
    guard::outside(|| kernel::poll_one(pipe, events, -1)).map(|_| ())
}

fn to_pipe(held: &Held, pipe: c_int, len: usize, flags: c_uint) -> Outcome {
    let socket = attached(held)?;
    let patience = Patience::of(socket.0, held, Call::Recv, 0);
    let waits = waits(pipe, flags)?;
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    let moved = loop {
        match move_out(socket, pipe, len.min(AT_ONCE), &mut buffer) {
            Ok(Ok(n)) => break Ok(n as isize),
            Ok(Err(full)) if full.0 != libc::EAGAIN => break Err(full.into()),
            Ok(Err(full)) if !waits => break Err(full.into()),
            Ok(Err(_)) => {
                if let Err(error) = wait_for_pipe(pipe, libc::POLLOUT) {
                    break Err(error.into());
                }
            }
            Err(SocketError::WouldBlock) => {
                if let Err(leave) = wait_for_data(&patience, held, socket) {
                    break Err(leave);
                }
            }
            Err(error) => break Err(error.into()),
        }
    };
    let _ = BUFFER.try_with(|kept| kept.set(buffer));
    moved
}

/// Moves what is queued and what the pipe takes now, in one turn of the lock, so that nobody reads between.
fn move_out(
    (runtime, id): (&'static Runtime, SocketId),
    pipe: c_int,
    len: usize,
    buffer: &mut Vec<u8>,
) -> Result<Result<usize, Errno>, SocketError> {
    buffer.clear();
    let mut turn = runtime.lock();
    let now = turn.now();
    let stack = turn.stack();
    let peek = RecvFlags { peek: true, ..RecvFlags::default() };
    let seen = stack.recv(now, id, len, peek, &mut |bytes| {
        buffer.extend_from_slice(bytes);
        Ok(())
    })?;
    if seen == 0 {
        return Ok(Ok(0));
    }
    let taken = kernel::write_now(pipe, &buffer[..seen]);
    if let Ok(n) = taken {
        stack.recv(now, id, n, RecvFlags { trunc: true, ..RecvFlags::default() }, &mut |_| Ok(()))?;
    }
    Ok(taken)
}

/// What a pipe holds, read when there is room for it.
struct PipeSource {
    pipe: c_int,
    left: usize,
    failed: Option<Errno>,
}

impl Source for PipeSource {
    fn left(&self) -> usize {
        self.left
    }

    fn fill(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        let want = room.len().min(self.left);
        // It holds as much: this does not block.
        match kernel::read(self.pipe, &mut room[..want]) {
            Ok(n) => {
                self.left = if n == 0 { 0 } else { self.left - n };
                Ok(n)
            }
            Err(error) => {
                (self.failed, self.left) = (Some(error), 0);
                Err(Fault)
            }
        }
    }
}

fn from_pipe(held: &Held, pipe: c_int, len: usize, flags: c_uint) -> Outcome {
    let socket = attached(held)?;
    let waits = waits(pipe, flags)?;
    let queued = loop {
        let queued = kernel::queued(pipe)?;
        if queued > 0 {
            break queued;
        }
        if kernel::poll_one(pipe, libc::POLLIN, 0)? & libc::POLLHUP != 0 {
            return Ok(0);
        }
        if !waits {
            return Err(fail(libc::EAGAIN));
        }
        wait_for_pipe(pipe, libc::POLLIN)?;
    };
    let more = if flags & SPLICE_F_MORE != 0 { libc::MSG_MORE } else { 0 };
    let mut source = PipeSource { pipe, left: len.min(queued), failed: None };
    send_stream(held, socket, more, &mut source).map_err(|leave| source.failed.map_or(leave, Leave::Errno))
}
