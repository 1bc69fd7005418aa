//! Passive open: segments that arrive at a listener (RFC 9293 §3.10.7.2).

use super::env::Env;
use super::options::TcpOptions;
use super::output;
use super::state::State;
use super::syn_cookies;
use super::tcb::Tcb;
use crate::ip::{Egress, Flow};
use crate::seq::Seq;
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
    env.stats.tcp_segs_in += 1;
    let mut tcb = prepare(seg, flow, options, None, env);
    answer(&mut tcb, env);
    tcb
}

/// As [`syn`], but nothing is sent yet: [`answer`] does. `iss`: the number to begin with, when it is not the
/// clock's to say (RFC 6191, [`Request`](super::Request)).
pub fn prepare<E: Egress>(
    seg: &Segment,
    flow: Flow,
    options: TcpOptions,
    iss: Option<Seq>,
    env: &mut Env<'_, E>,
) -> Tcb {
    let mut tcb = Tcb::new(flow, options, State::SynReceived, env);
    if let Some(iss) = iss {
        tcb.begin_at(iss);
    }
    tcb.role.passive = true;
    tcb.negotiate(seg.seq, &seg.options, env);
    tcb.snd.wnd = u32::from(seg.wnd);
    tcb.snd.max_wnd = tcb.snd.wnd;
    (tcb.snd.wl1, tcb.snd.wl2) = (seg.seq, tcb.snd.iss);
    tcb
}

/// Sends the SYN-ACK of a connection that was prepared.
pub fn answer<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    output::handshake(tcb, env);
}

/// Answers a SYN with a cookie (RFC 4987 §3.6); nothing is kept.
pub fn answer_with_cookie<E: Egress>(seg: &Segment, flow: Flow, options: TcpOptions, env: &mut Env<'_, E>) {
    let cookie = env.shared.cookies.number(&flow.key, seg, env.now);
    let mut tcb = prepare(seg, flow, options, Some(cookie), env);
    if tcb.ts.on {
        let ms = env.now.as_millis() as u32;
        let stamp = syn_cookies::stamp(ms, seg, false);
        tcb.ts.offset = tcb.ts.offset.wrapping_sub(ms.wrapping_sub(stamp));
    }
    env.stats.tcp_segs_in += 1;
    env.stats.tcp_syncookies_sent += 1;
    answer(&mut tcb, env);
}

/// An ACK that no request is kept for: the connection in SYN-RECEIVED that it belongs to, when it acknowledges
/// a cookie of ours. The ACK itself is still to be handled.
pub fn redeem_cookie<E: Egress>(
    ack: &Segment,
    flow: Flow,
    options: TcpOptions,
    env: &mut Env<'_, E>,
) -> Option<Tcb> {
    let mss = env.shared.cookies.read(&flow.key, ack, env.now)?;
    let offset = env.shared.isn.timestamp_offset(&flow.key);
    let syn = syn_cookies::recall(ack, mss, offset);
    let mut tcb = prepare(&syn, flow, options, Some(ack.ack - 1), env);
    tcb.role.syn_sent = true;
    // When the SYN-ACK was sent is not known, and its timestamp was no time: there is nothing to measure.
    tcb.role.syn_again = true;
    let room = tcb.room(env.pool);
    let _ = tcb.rcv.offer(room, tcb.options.recv_buffer, Flags::SYN);
    Some(tcb)
}
