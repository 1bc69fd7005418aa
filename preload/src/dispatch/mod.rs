//! What becomes of a call: a result, or a bypass with its reason. Small files, by family.

pub(crate) mod backing;
pub(crate) mod connect;
pub(crate) mod control;
mod datagram_recv;
pub(crate) mod datagram_send;
mod error_queue;
pub(crate) mod lifecycle;
pub(crate) mod listen;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod owner;
pub(crate) mod recv;
pub(crate) mod rights;
pub(crate) mod send;
pub(crate) mod sendfile;
pub(crate) mod splice;
mod telling;
pub(crate) mod wait;

use ringroad::Runtime;
use stack::types::SocketId;

use crate::errno::Leave;
use crate::fdtable::{self, Flag, Held, Kind};
use crate::heirs;
use crate::reason::Reason;

/// The file behind `fd`, or a bypass.
#[inline]
fn held(fd: libc::c_int) -> Result<Held, Leave> {
    fdtable::get(fd).ok_or(Leave::Bypass(Reason::Plain))
}

/// The socket behind a file that was attached already, or a bypass.
#[inline]
fn attached(held: &Held) -> Result<(&'static Runtime, SocketId), Leave> {
    let runtime = Runtime::current();
    match (held.socket(), runtime) {
        (Some(id), Some(runtime)) => Ok((runtime, id)),
        _ if held.file.is(Flag::Inherited) => Ok(heirs::claim(held)?),
        _ => Err(Leave::Bypass(Reason::Plain)),
    }
}

/// Whether the file is a TCP socket.
#[inline]
fn is_stream(held: &Held) -> bool {
    held.file.kind() == Kind::Stream
}
