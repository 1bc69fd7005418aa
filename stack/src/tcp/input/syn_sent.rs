//! §3.10.7.3: SYN-SENT.

use nic::Pkt;

use super::{ack, reset_for_ack, text};
use crate::error::SocketError;
use crate::ip::Egress;
use crate::tcp::env::Env;
use crate::tcp::output;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::wire::tcp::{Flags, Segment};

pub(super) fn arrives<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    let acked = seg.flags.has(Flags::ACK);
    // First, check the ACK bit: only our SYN can be acknowledged, and only once it was sent.
    if acked && (seg.ack != tcb.snd.nxt || !tcb.role.syn_sent) {
        if !seg.flags.has(Flags::RST) {
            reset_for_ack(tcb, seg.ack, env);
        }
        return env.pool.free(payload);
    }
    // Second, check the RST bit: believed only from one who saw our SYN.
    if seg.flags.has(Flags::RST) {
        if acked {
            env.stats.tcp_resets_in += 1;
            env.stats.tcp_attempt_fails += 1;
            tcb.end(Some(SocketError::ConnectionRefused), env.pool, env.segs);
        }
        return env.pool.free(payload);
    }
    // Third, security: not provided. Fourth, check the SYN bit. Fifth, neither SYN nor RST: drop.
    if !seg.flags.has(Flags::SYN) {
        return env.pool.free(payload);
    }
    tcb.negotiate(seg.seq, &seg.options, env);
    // The window in a SYN is never scaled (RFC 7323 §2.2).
    tcb.snd.wnd = u32::from(seg.wnd);
    tcb.snd.max_wnd = tcb.snd.wnd;
    (tcb.snd.wl1, tcb.snd.wl2) = (seg.seq, seg.ack);
    if !acked {
        // Both ends opened at once: our SYN goes out again, with an ACK.
        tcb.state = State::SynReceived;
        output::handshake(tcb, env);
        return env.pool.free(payload);
    }
    ack::open(tcb, seg, env);
    tcb.owed.demand();
    let rest = Segment { seq: seg.seq + 1, flags: seg.flags.without(Flags::SYN), ..*seg };
    text::sixth_urg(tcb, &rest, env);
    text::seventh(tcb, &rest, payload, env);
    text::eighth_fin(tcb, env);
}
