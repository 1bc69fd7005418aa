//! First to fourth: is the segment one that this connection can have been sent?

use nic::Pkt;

use super::{DONE, GO_ON, Step};
use crate::error::SocketError;
use crate::ip::Egress;
use crate::tcp::env::Env;
use crate::tcp::output;
use crate::tcp::rcv::Fit;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::wire::tcp::{Flags, Segment};

/// First, check the sequence number; timestamps before that (RFC 7323 §5.3). On success the segment is cut to
/// the window.
pub(super) fn first<E: Egress>(
    tcb: &mut Tcb,
    seg: &mut Segment,
    payload: &mut Pkt,
    env: &mut Env<'_, E>,
) -> Step {
    let rst = seg.flags.has(Flags::RST);
    if tcb.ts.on && !rst {
        match seg.options.timestamps {
            Some(ts) if tcb.ts.is_old(ts.val, env.now) => {
                env.stats.tcp_paws += 1;
                unacceptable(tcb, seg, env);
                return DONE;
            }
            Some(_) => {}
            // RFC 7323 §3.2: what does not carry the option it has to is not of this connection.
            None => return DONE,
        }
    }
    match tcb.rcv.fit(seg) {
        Fit::Inside => {}
        Fit::AtShutWindow => {
            seg.len = 0;
            seg.flags = seg.flags.without(Flags::FIN);
            tcb.owed.demand();
        }
        // macOS resets with the number of its FIN, and Linux hears it (tcp_reset_check).
        Fit::Outside if rst && has_closed(tcb.state) && seg.seq + 1 == tcb.rcv.nxt => seg.seq = tcb.rcv.nxt,
        Fit::Outside => {
            env.stats.tcp_out_of_window += 1;
            if !rst {
                unacceptable(tcb, seg, env);
            }
            return DONE;
        }
    }
    take_timestamp(tcb, seg, env);
    cut(tcb, seg, payload);
    GO_ON
}

/// Whether the peer has sent its FIN, and still has a connection.
fn has_closed(peer: State) -> bool {
    matches!(peer, State::CloseWait | State::Closing | State::LastAck)
}

/// TS.Recent follows the segments that advance the window's left edge (RFC 7323 §4.3).
#[inline]
pub(super) fn take_timestamp<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &Env<'_, E>) {
    if let Some(ts) = seg.options.timestamps
        && tcb.ts.on
        && seg.seq.at_or_before(tcb.rcv.last_ack)
        && !tcb.ts.is_old(ts.val, env.now)
    {
        tcb.ts.take(ts.val, env.now);
    }
}

/// Tells the peer where we are. Empty segments earn this only within the budget of challenges: two ends that
/// disagree could otherwise answer each other for ever.
fn unacceptable<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) {
    let asks_again = seg.flags.has(Flags::SYN) && !seg.flags.has(Flags::ACK) && seg.seq == tcb.rcv.irs;
    if tcb.state == State::SynReceived && asks_again {
        // Our SYN-ACK was lost, or is under way. (A SYN-ACK that crosses ours, when both opened at once, is
        // answered with an ACK like anything else, or the two would go on for ever.)
        output::handshake(tcb, env);
        return;
    }
    if seg.space() > 0 {
        tcb.reassembly.note_duplicate(seg.seq, (seg.seq + seg.len).min(tcb.rcv.nxt));
        tcb.owed.demand();
    } else if env.shared.challenge.take(env.now, env.config.challenge_acks_per_second) {
        tcb.owed.demand();
    }
}

/// Cuts off what lies before and behind the window.
fn cut(tcb: &mut Tcb, seg: &mut Segment, payload: &mut Pkt) {
    let known = tcb.rcv.nxt.since(seg.seq);
    if known > 0 {
        let mut known = known;
        if seg.flags.has(Flags::SYN) {
            seg.flags = seg.flags.without(Flags::SYN);
            seg.seq += 1;
            known -= 1;
        }
        let front = known.min(seg.len);
        payload.trim_front(front as usize);
        if front > 0 {
            tcb.reassembly.note_duplicate(seg.seq, seg.seq + front);
            tcb.owed.demand();
        }
        seg.seq += front;
        seg.len -= front;
    }
    let room = tcb.rcv.edge.since(seg.seq);
    if seg.len > room {
        seg.len = room;
        seg.flags = seg.flags.without(Flags::FIN);
    }
    payload.truncate(seg.len as usize);
}

/// Second, check the RST bit, as RFC 5961 §3.2 tightens it.
pub(super) fn second_rst<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) -> Step {
    if !seg.flags.has(Flags::RST) {
        return GO_ON;
    }
    if seg.seq != tcb.rcv.nxt {
        challenge(tcb, env);
        return DONE;
    }
    env.stats.tcp_resets_in += 1;
    let error = match tcb.state {
        // A listener's attempt vanishes; the listener goes on.
        State::SynReceived if tcb.is_open_early() => Some(SocketError::ConnectionReset),
        State::SynReceived if tcb.role.passive => None,
        State::SynReceived => Some(SocketError::ConnectionRefused),
        State::CloseWait => Some(SocketError::BrokenPipe),
        State::Closing | State::LastAck => None,
        _ => Some(SocketError::ConnectionReset),
    };
    if tcb.state == State::SynReceived {
        env.stats.tcp_attempt_fails += 1;
    }
    tcb.end(error, env.pool, env.segs);
    DONE
}

/// Fourth, check the SYN bit (RFC 5961 §4.2).
pub(super) fn fourth_syn<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) -> Step {
    if !seg.flags.has(Flags::SYN) {
        return GO_ON;
    }
    if tcb.state == State::SynReceived && tcb.role.passive {
        // "Return this connection to the LISTEN state": the peer began anew and will ask again.
        env.stats.tcp_attempt_fails += 1;
        tcb.end(None, env.pool, env.segs);
    } else {
        challenge(tcb, env);
    }
    DONE
}

/// A challenge ACK, while the budget lasts.
pub(super) fn challenge<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if env.shared.challenge.take(env.now, env.config.challenge_acks_per_second) {
        env.stats.tcp_challenge_acks += 1;
        tcb.owed.demand();
    }
}
