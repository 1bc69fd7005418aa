//! Receiving bytes: read, readv, recv, recvfrom and their relatives.

use core::net::SocketAddr;

use libc::{
    MSG_OOB, MSG_PEEK, MSG_TRUNC, MSG_WAITALL, c_int, c_void, iovec, off_t, size_t, sockaddr, socklen_t,
};
use ringroad::{Runtime, config};
use stack::engine::Stack;
use stack::error::SocketError;
use stack::socket::RecvFlags;
use stack::types::{Readiness, SocketId};

use super::datagram_recv::{self, Call};
use super::error_queue;
use super::wait::Patience;
use super::{held, is_stream};
use crate::errno::{Leave, Outcome, fail};
use crate::fdtable::{Flag, Held};
use crate::reason::Reason;
use crate::user::{Cursor, Place, Writer, write_sockaddr};

/// What ends a wait for data.
const WAITED_FOR: Readiness =
    Readiness(Readiness::IN.0 | Readiness::RDHUP.0 | Readiness::ERR.0 | Readiness::HUP.0);

/// What a receive found.
pub(super) struct Received {
    /// Bytes to report.
    pub(super) bytes: usize,
    /// What recvmsg reports of it (MSG_TRUNC, MSG_OOB).
    pub(super) flags: c_int,
    /// Who sent it; none on a stream.
    pub(super) remote: Option<SocketAddr>,
}

/// `read`.
pub(crate) fn read(fd: c_int, to: *mut c_void, len: size_t) -> Outcome {
    let held = held(fd)?;
    if len == 0 {
        return Err(Reason::Plain.into());
    }
    Ok(receive(&held, &mut Cursor::one(to, len), 0)?.bytes as isize)
}

/// `__read_chk`.
pub(crate) fn read_chk(fd: c_int, to: *mut c_void, len: size_t, room: size_t) -> Outcome {
    checked(len, room)?;
    read(fd, to, len)
}

/// A length that libc's fortified functions would abort for is theirs to see.
fn checked(len: size_t, room: size_t) -> Result<(), Leave> {
    if len > room { Err(Reason::Plain.into()) } else { Ok(()) }
}

/// `readv`.
pub(crate) fn readv(fd: c_int, to: *const iovec, count: c_int) -> Outcome {
    let held = held(fd)?;
    let mut cursor = Cursor::array(to.into(), count)?;
    if cursor.left() == 0 {
        return Ok(0);
    }
    Ok(receive(&held, &mut cursor, 0)?.bytes as isize)
}

/// `preadv2`: on a socket only the offset -1 ("here") has a meaning.
pub(crate) fn preadv2(fd: c_int, to: *const iovec, count: c_int, at: off_t, flags: c_int) -> Outcome {
    if at != -1 {
        return Err(Reason::Plain.into());
    }
    let held = held(fd)?;
    let mut cursor = Cursor::array(to.into(), count)?;
    if cursor.left() == 0 {
        return Ok(0);
    }
    Ok(receive(&held, &mut cursor, message_flags(flags)?)?.bytes as isize)
}

/// The flags of preadv2 and pwritev2 as those of a message: one means something, those about files mean nothing.
pub(super) fn message_flags(flags: c_int) -> Result<c_int, Leave> {
    /// RWF_NOAPPEND, which libc does not name yet.
    const NO_APPEND: c_int = 0x20;
    let files = libc::RWF_HIPRI | libc::RWF_DSYNC | libc::RWF_SYNC | libc::RWF_APPEND | NO_APPEND;
    if flags & !(files | libc::RWF_NOWAIT) != 0 {
        return Err(fail(libc::EOPNOTSUPP));
    }
    Ok(if flags & libc::RWF_NOWAIT != 0 { libc::MSG_DONTWAIT } else { 0 })
}

/// `recv`.
pub(crate) fn recv(fd: c_int, to: *mut c_void, len: size_t, flags: c_int) -> Outcome {
    let held = held(fd)?;
    Ok(receive(&held, &mut Cursor::one(to, len), flags)?.bytes as isize)
}

/// `__recv_chk`.
pub(crate) fn recv_chk(fd: c_int, to: *mut c_void, len: size_t, room: size_t, flags: c_int) -> Outcome {
    checked(len, room)?;
    recv(fd, to, len, flags)
}

/// `recvfrom`.
pub(crate) fn recvfrom(
    fd: c_int,
    to: *mut c_void,
    len: size_t,
    flags: c_int,
    name: *mut sockaddr,
    name_len: *mut socklen_t,
) -> Outcome {
    let held = held(fd)?;
    let received = receive(&held, &mut Cursor::one(to, len), flags)?;
    let (name, name_len) = (Place::from(name), Place::from(name_len));
    match received.remote {
        Some(remote) => write_sockaddr(name, name_len, remote)?,
        // A stream does not tell: the length says so.
        None if !name.is_null() => name_len.write(&0u32)?,
        None => {}
    }
    Ok(received.bytes as isize)
}

/// `__recvfrom_chk`.
pub(crate) fn recvfrom_chk(
    fd: c_int,
    to: *mut c_void,
    len: size_t,
    room: size_t,
    flags: c_int,
    name: *mut sockaddr,
    name_len: *mut socklen_t,
) -> Outcome {
    checked(len, room)?;
    recvfrom(fd, to, len, flags, name, name_len)
}

/// Receives into `cursor`, as long as it takes.
pub(super) fn receive(held: &Held, cursor: &mut Cursor, flags: c_int) -> Result<Received, Leave> {
    if is_stream(held) {
        wait_for_news(held, flags)?;
        let (runtime, id) = super::attached(held)?;
        if flags & libc::MSG_ERRQUEUE != 0 {
            let mut call = Call { held, cursor, control: &mut Writer::none(), flags };
            return error_queue::receive(&mut call, (runtime, id));
        }
        return receive_stream(held, (runtime, id), cursor, flags);
    }
    datagram_recv::receive(&mut Call { held, cursor, control: &mut Writer::none(), flags })
}

/// A connection that somebody else waits for, too, and has: a call that blocks asks for it when there is something to
/// read. Two that asked at once would take it from each other for ever.
fn wait_for_news(held: &Held, flags: c_int) -> Result<(), Leave> {
    let is_away = || held.file.is(Flag::Away) && held.file.is(Flag::Inherited);
    // Those that never wait do not wait for this either.
    if !is_away() || flags & (MSG_OOB | libc::MSG_ERRQUEUE) != 0 {
        return Ok(());
    }
    let Some(runtime) = Runtime::current() else { return Ok(()) };
    let patience = Patience::of(runtime, held, config::Call::Recv, flags);
    if patience.blocks() {
        patience.wait_until(held, |_| !is_away() || !held.holds(), &mut [])?;
    }
    Ok(())
}

fn receive_stream(
    held: &Held,
    (runtime, id): (&'static Runtime, SocketId),
    cursor: &mut Cursor,
    flags: c_int,
) -> Result<Received, Leave> {
    let recv_flags =
        RecvFlags { peek: flags & MSG_PEEK != 0, trunc: flags & MSG_TRUNC != 0, oob: flags & MSG_OOB != 0 };
    if recv_flags.oob {
        runtime.lock().poll();
    }
    let told = match (recv_flags.oob, cursor.left()) {
        (false, _) => 0,
        // Linux: an urgent octet that there is no room for was cut off.
        (true, 0) => MSG_OOB | MSG_TRUNC,
        (true, _) => MSG_OOB,
    };
    let answer = |bytes| Ok(Received { bytes, flags: told, remote: None });
    let whole = cursor.left();
    let mut patience = None;
    let mut done = 0;
    loop {
        let want = if recv_flags.trunc { whole - done } else { cursor.left() };
        let (received, low_water) = {
            let mut turn = runtime.lock();
            let now = turn.now();
            let stack = turn.stack();
            let mut sink = |bytes: &[u8]| cursor.put(bytes);
            let received = if done > 0 && !recv_flags.peek && has_failed(stack, id) {
                // What was read is the answer; the error is the next call's.
                return answer(done);
            } else if want == 0 && !recv_flags.oob && !stack.readiness(id).intersects(WAITED_FOR) {
                // Linux waits for data even to read none of it.
                Err(SocketError::WouldBlock)
            } else {
                stack.recv(now, id, want, recv_flags, &mut sink)
            };
            (received, stack.recv_low_water(id))
        };
        match received {
            Ok(n) => {
                done = if recv_flags.peek { n } else { done + n };
                let least = if flags & MSG_WAITALL != 0 { whole } else { whole.min(low_water) };
                if n == 0 || done >= least {
                    return answer(done);
                }
            }
            Err(SocketError::WouldBlock) => {}
            Err(_) if done > 0 => return answer(done),
            Err(error) => return Err(error.into()),
        }
        if recv_flags.oob {
            // Whatever the socket does else, this never waits.
            return Err(SocketError::WouldBlock.into());
        }
        let patience = patience.get_or_insert_with(|| Patience::of(runtime, held, config::Call::Recv, flags));
        let waited = match recv_flags.peek && done > 0 && patience.blocks() {
            true => wait_for_more(patience, held, id, done),
            false => wait_for_data(patience, held, (runtime, id)),
        };
        match waited {
            Ok(()) if recv_flags.peek => cursor.rewind(whole),
            Ok(()) => {}
            Err(_) if done > 0 => return answer(done),
            Err(leave) => return Err(leave),
        }
    }
}

/// Whether nothing is left to read but an error.
fn has_failed(stack: &Stack, id: SocketId) -> bool {
    stack.readiness(id).contains(Readiness::ERR) && stack.recv_queue(id) == Ok(0)
}

/// Waits until there is more than the `seen` bytes that stay in the queue, or will never be.
fn wait_for_more(patience: &Patience, held: &Held, id: SocketId, seen: usize) -> Result<(), Leave> {
    let over = Readiness::RDHUP | Readiness::ERR | Readiness::HUP;
    let more = |stack: &Stack| stack.recv_queue(id) != Ok(seen) || stack.readiness(id).intersects(over);
    patience.wait_until(held, more, &mut []).map(|_| ())
}

/// Waits for data. A call that must not block looks at the interfaces once before it gives up, so that a
/// program that only ever polls with it makes progress.
pub(super) fn wait_for_data(
    patience: &Patience,
    held: &Held,
    (runtime, id): (&'static Runtime, SocketId),
) -> Result<(), Leave> {
    if patience.blocks() {
        return patience.wait(held, id, WAITED_FOR, &mut []).map(|_| ());
    }
    let mut turn = runtime.lock();
    turn.poll();
    if turn.stack().readiness(id).intersects(WAITED_FOR) {
        Ok(())
    } else {
        Err(SocketError::WouldBlock.into())
    }
}
