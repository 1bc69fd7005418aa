//! Passive open: segments that arrive at a listener (RFC 9293 §3.10.7.2).

use super::env::Env;
use super::options::TcpOptions;
use super::output;
use super::state::State;
use super::tcb::Tcb;
use crate::ip::{Egress, Flow};
use crate::wire::tcp::{Flags, Segment};

/// What to do with a segment that no connection claims but a listener could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Drop it.
    Ignore,
    /// It belongs to nothing: [`reset::answer`](super::reset::answer).
    Reset,
    /// A connection request: [`syn`].
    Syn,
}

/// Sorts a segment that arrived in LISTEN.
pub fn check(seg: &Segment) -> Arrival {
    if seg.flags.has(Flags::RST) {
        // First, check for a RST.
        Arrival::Ignore
    } else if seg.flags.has(Flags::ACK) {
        // Second, check for an ACK.
        Arrival::Reset
    } else if seg.flags.has(Flags::SYN) && !seg.flags.has(Flags::FIN) {
        // Third, check for a SYN. One with a FIN is nobody's handshake.
        Arrival::Syn
    } else {
        // Fourth, other data or control.
        Arrival::Ignore
    }
}

/// Answers a SYN with a SYN-ACK; the connection is in SYN-RECEIVED. Should the SYN-ACK find no way out now,
/// the connection's timers send it. Data in the SYN is not kept: the peer sends it again.
pub fn syn<E: Egress>(seg: &Segment, flow: Flow, options: TcpOptions, env: &mut Env<'_, E>) -> Tcb {
    let mut tcb = Tcb::new(flow, options, State::SynReceived, env);
    tcb.role.passive = true;
    tcb.negotiate(seg.seq, &seg.options, env);
    tcb.snd.wnd = u32::from(seg.wnd);
    tcb.snd.max_wnd = tcb.snd.wnd;
    (tcb.snd.wl1, tcb.snd.wl2) = (seg.seq, tcb.snd.iss);
    env.stats.tcp_segs_in += 1;
    output::handshake(&mut tcb, env);
    tcb
}
