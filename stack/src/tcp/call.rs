//! User calls: SEND, RECEIVE, CLOSE, ABORT (RFC 9293 §3.10).

use super::env::Env;
use super::tcb::Tcb;
use crate::error::{Fault, SocketError};
use crate::ip::Egress;

/// Queues up to `want` octets that `source` copies, and sends what may be sent. `source` is given room and
/// says how many octets of it it filled; fewer than the room ends the call. `more`: the application
/// will go on at once (MSG_MORE), so a segment that is not full waits.
///
/// Returns the octets taken: at least one, unless `want` is zero.
///
/// # Errors
/// The pending error, taken; BrokenPipe after [`shutdown_send`]; NotConnected; WouldBlock when the buffer is
/// full or the connection not open yet; Fault when the first octets could not be read.
pub fn send<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    more: bool,
    source: impl FnMut(&mut [u8]) -> Result<usize, Fault>,
) -> Result<usize, SocketError> {
    let _ = (tcb, env, want, more, source);
    Err(SocketError::WouldBlock)
}

/// Hands up to `want` queued octets to `sink`, piece by piece, and frees them unless `peek`. A window update
/// goes out when it is worth it (RFC 9293 §3.8.6.2.2).
///
/// Returns the octets given; zero at the end of the stream (or when `want` is zero).
///
/// # Errors
/// WouldBlock when nothing is queued; the pending error, taken; NotConnected; Fault when the first piece could
/// not be written (nothing is lost: what was not written stays queued).
pub fn recv<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    want: usize,
    peek: bool,
    sink: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<usize, SocketError> {
    let _ = (tcb, env, want, peek, sink);
    Err(SocketError::WouldBlock)
}

/// SHUT_WR: a FIN follows the queued data.
///
/// # Errors
/// NotConnected.
pub fn shutdown_send<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Result<(), SocketError> {
    let _ = (tcb, env);
    Err(SocketError::NotConnected)
}

/// SHUT_RD: `recv` finds the end of the stream after what is queued. Nothing is said on the wire.
///
/// # Errors
/// NotConnected.
pub fn shutdown_recv<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Result<(), SocketError> {
    let _ = (tcb, env);
    Err(SocketError::NotConnected)
}

/// The application is done with the connection. Queued data and a FIN still go out, the `Tcb` lives on as an
/// orphan; with unread data in the queue the connection is reset instead (RFC 2525 §2.17).
pub fn close<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let _ = (tcb, env);
}

/// Resets the connection, now.
pub fn abort<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let _ = (tcb, env);
}
