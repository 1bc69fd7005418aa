//! SEGMENT ARRIVES (RFC 9293 §3.10.7).

use nic::Pkt;

use super::env::Env;
use super::tcb::Tcb;
use crate::error::SocketError;
use crate::ip::Egress;
use crate::seq::Seq;
use crate::wire::tcp::Segment;

/// What an ICMP error says (RFC 5461, RFC 5927).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// The destination cannot be reached; the error that a socket would report.
    Unreachable(SocketError),
    /// A packet did not fit: the path's MTU, in octets.
    TooBig {
        /// The next hop's MTU.
        mtu: u16,
    },
}

/// A segment for this connection. `payload`'s window is exactly the segment's payload; it is always consumed.
/// ACKs, resets and whatever may now be sent have been sent on return.
pub fn segment<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    let _ = (tcb, seg);
    env.pool.free(payload);
}

/// An ICMP error about a segment of ours that began at `seq`.
pub fn unreachable<E: Egress>(tcb: &mut Tcb, what: PathError, seq: Seq, env: &mut Env<'_, E>) {
    let _ = (tcb, what, seq, env);
}
