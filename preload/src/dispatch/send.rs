//! Sending bytes: write, writev, send, sendto and their relatives.

use libc::{
    MSG_FASTOPEN, MSG_MORE, MSG_NOSIGNAL, MSG_OOB, c_int, c_void, iovec, off_t, size_t, sockaddr, socklen_t,
};
use ringroad::{Runtime, config};
use stack::error::SocketError;
use stack::socket::SendFlags;
use stack::types::{Readiness, SocketId};

use super::datagram_send::{self, Call};
use super::error_queue;
use super::recv::message_flags;
use super::wait::Patience;
use super::{attached, connect, held, is_stream};
use crate::errno::{Leave, Outcome};
use crate::fdtable::Held;
use crate::kernel;
use crate::reason::Reason;
use crate::user::{Cursor, Fault, Named, Place, Reader, read_sockaddr};

/// Octets that a superframe carries at the most: 64 KiB without headers.
const SUPERFRAME: usize = (64 << 10) - 128;
/// What is sent at once, at the most.
const PIECE: usize = 2 * SUPERFRAME;

/// `write`.
pub(crate) fn write(fd: c_int, from: *const c_void, len: size_t) -> Outcome {
    let held = held(fd)?;
    transmit(&held, &mut Cursor::one(from, len), 0, None)
}

/// `writev`.
pub(crate) fn writev(fd: c_int, from: *const iovec, count: c_int) -> Outcome {
    let held = held(fd)?;
    transmit(&held, &mut Cursor::array(from.into(), count)?, 0, None)
}

/// `pwritev2`: on a socket only the offset -1 ("here") has a meaning.
pub(crate) fn pwritev2(fd: c_int, from: *const iovec, count: c_int, at: off_t, flags: c_int) -> Outcome {
    if at != -1 {
        return Err(Reason::Plain.into());
    }
    let held = held(fd)?;
    transmit(&held, &mut Cursor::array(from.into(), count)?, message_flags(flags)?, None)
}

/// `send`.
pub(crate) fn send(fd: c_int, from: *const c_void, len: size_t, flags: c_int) -> Outcome {
    let held = held(fd)?;
    transmit(&held, &mut Cursor::one(from, len), flags, None)
}

/// `sendto`.
pub(crate) fn sendto(
    fd: c_int,
    from: *const c_void,
    len: size_t,
    flags: c_int,
    name: *const sockaddr,
    name_len: socklen_t,
) -> Outcome {
    let held = held(fd)?;
    let place = Place::from(name);
    let named = if place.is_null() { None } else { Some(read_sockaddr(place, name_len)?) };
    transmit(&held, &mut Cursor::one(from, len), flags, named)
}

/// Sends what is under `cursor`, as long as it takes.
pub(crate) fn transmit(held: &Held, cursor: &mut Cursor, flags: c_int, to: Option<Named>) -> Outcome {
    if is_stream(held) {
        if flags & MSG_FASTOPEN != 0
            && let Some(to) = to
        {
            connect::connect_by_send(held, to)?;
        }
        let (runtime, id) = attached(held)?;
        let sent = send_stream(held, (runtime, id), flags, cursor)?;
        if sent > 0 {
            error_queue::complete((runtime, id), flags);
        }
        return Ok(sent);
    }
    let (control, written) = (Reader::default(), (Place::default(), 0));
    datagram_send::transmit(&mut Call { held, cursor, flags, to, control, written })
}

/// Where the bytes of a stream come from.
pub(super) trait Source {
    /// Bytes that are left.
    fn left(&self) -> usize;
    /// Fills `room` as far as there are bytes; answers how many.
    fn fill(&mut self, room: &mut [u8]) -> Result<usize, Fault>;
}

impl Source for Cursor {
    fn left(&self) -> usize {
        Cursor::left(self)
    }

    fn fill(&mut self, room: &mut [u8]) -> Result<usize, Fault> {
        self.take(room)
    }
}

/// How much of `left` octets goes at once: whole superframes, for segments of so many octets. Behind each piece the
/// doorbell is rung, and what was acknowledged meanwhile is taken: so few frames carry much, and those are in the cache
/// still when the kernel copies them.
fn piece_of(left: usize, segment: usize) -> usize {
    if left <= PIECE {
        return left;
    }
    let superframe = SUPERFRAME - SUPERFRAME % segment.clamp(1, SUPERFRAME);
    PIECE - PIECE % superframe
}

/// Sends all of `source` on a stream, or what goes without blocking.
pub(super) fn send_stream(
    held: &Held,
    (runtime, id): (&'static Runtime, SocketId),
    flags: c_int,
    source: &mut impl Source,
) -> Outcome {
    let send_flags = SendFlags { more: flags & MSG_MORE != 0, oob: flags & MSG_OOB != 0 };
    let mut patience = None;
    let mut done = 0;
    let mut looked = false;
    let mut goes_on = false;
    loop {
        let left = source.left();
        let piece;
        let sent = {
            let mut turn = runtime.lock();
            if goes_on {
                turn.poll();
            }
            let now = turn.now();
            if done > 0 && turn.stack().readiness(id).contains(Readiness::ERR) {
                // What was sent is the answer; the error is the next call's.
                return Ok(done as isize);
            }
            let segment = turn.stack().segment_size(id);
            // The urgent octet is the last one of all.
            piece = segment.filter(|_| !send_flags.oob).map_or(left, |segment| piece_of(left, segment));
            let flags = SendFlags { more: send_flags.more || piece < left, ..send_flags };
            turn.stack().send(now, id, piece, flags, &mut |room| source.fill(room))
        };
        goes_on = sent.is_ok_and(|n| n == piece);
        match sent {
            Ok(n) => {
                done += n;
                if n == 0 || source.left() == 0 {
                    return Ok(done as isize);
                }
                if goes_on {
                    continue;
                }
            }
            Err(SocketError::WouldBlock) => {}
            // A connect that was put off found no room for data in its SYN: it is waited for.
            Err(SocketError::InProgress)
                if Patience::of(runtime, held, config::Call::Send, flags).blocks() => {}
            Err(_) if done > 0 => return Ok(done as isize),
            Err(error) => return Err(refused(error, flags)),
        }
        let patience = patience.get_or_insert_with(|| Patience::of(runtime, held, config::Call::Send, flags));
        if !patience.blocks() && !looked {
            // What the peer has acknowledged meanwhile makes room.
            looked = true;
            let mut turn = runtime.lock();
            turn.poll();
            if turn.stack().readiness(id).contains(Readiness::OUT) {
                continue;
            }
        }
        if done > 0 && !patience.blocks() {
            return Ok(done as isize);
        }
        match patience.wait(held, id, Readiness::OUT, &mut []) {
            Ok(_) => {}
            Err(_) if done > 0 => return Ok(done as isize),
            Err(leave) => return Err(leave),
        }
    }
}

/// EPIPE comes with its signal.
fn refused(error: SocketError, flags: c_int) -> Leave {
    if error == SocketError::BrokenPipe && flags & MSG_NOSIGNAL == 0 {
        kernel::raise(libc::SIGPIPE);
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_superframes_and_no_superframe_is_too_long() {
        assert_eq!(piece_of(PIECE, 1448), PIECE);
        for segment in [1, 48, 536, 1220, 1428, 1448, 1460, 3904, 8948, SUPERFRAME, usize::MAX] {
            let piece = piece_of(1 << 30, segment);
            let segment = segment.min(SUPERFRAME);
            assert!(
                piece.is_multiple_of(segment) && piece > PIECE / 2 && piece <= PIECE,
                "{segment}: {piece}"
            );
            assert!(piece.is_multiple_of(SUPERFRAME / segment * segment), "{segment}: {piece}");
        }
        assert_eq!(piece_of(PIECE + 1, 1448), 90 * 1448);
        assert_eq!(piece_of(PIECE + 1, 0), PIECE);
    }
}
