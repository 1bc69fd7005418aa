//! §3.10.7.3: SYN-SENT.

use core::time::Duration;

use nic::Pkt;

use super::{ack, reset_for_ack, text};
use crate::error::SocketError;
use crate::ip::Egress;
use crate::tcp::ecn::{self, Ecn};
use crate::tcp::env::Env;
use crate::tcp::fast_open::Kept;
use crate::tcp::output;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Segment};

/// After an answer of an older connection the SYN goes out again so soon (Linux: TCP_TIMEOUT_MIN, two ticks).
const AGAIN_SOON: Duration = Duration::from_millis(8);

pub(super) fn arrives<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    let acked = seg.flags.has(Flags::ACK);
    // First, check the ACK bit: only our SYN and its data can be acknowledged, and only once they were sent.
    let (first, last) = (tcb.snd.iss + 1, tcb.snd.nxt);
    if acked && !(seg.ack.at_or_after(first) && seg.ack.at_or_before(last) && tcb.role.syn_sent) {
        if !seg.flags.has(Flags::RST) {
            reset_for_ack(tcb, seg.ack, env);
            if tcb.snd.retries == 0 && tcb.role.syn_sent {
                // The peer had an old connection on this tuple, and the reset ends it: no need to wait for a whole RTO, once.
                tcb.timers.retransmit = tcb.timers.retransmit.min(env.now + AGAIN_SOON);
            }
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
    // RFC 3168 §6.1.1: once a SYN without the offer went out, neither answer means anything.
    let offered = env.config.ecn == 1 && !tcb.role.syn_again;
    let agreed = if acked { ecn::is_accepted(seg.flags) } else { ecn::is_offered(seg.flags, seg.ecn) };
    tcb.ecn = Ecn::agreed(offered && agreed);
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
    if tcb.role.fast_open {
        fast_open(tcb, seg, env);
    }
    tcb.owed.demand();
    let rest = Segment { seq: seg.seq + 1, flags: seg.flags.without(Flags::SYN), ..*seg };
    text::sixth_urg(tcb, &rest, env);
    text::seventh(tcb, &rest, payload, env);
    text::eighth_fin(tcb, env);
}

/// What became of a Fast Open (RFC 7413 §4.1.3, §4.2.1): the cookie, and the data that went with the SYN.
fn fast_open<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) {
    let server = tcb.flow.remote();
    let brought_data = tcb.snd.outstanding() > 0;
    let kept = env.shared.fast_open.of(server).map(|kept| kept.cookie);
    let given = seg.options.fast_open.filter(|cookie| !cookie.is_request());
    match given.or(kept) {
        // It was the SYN without that came through: what was on the way dropped the other.
        Some(_) if given.is_none() && tcb.role.syn_again && brought_data => {
            env.shared.fast_open.forget(server);
        }
        Some(cookie) => env.shared.fast_open.learn(server, Kept { cookie, mss: tcb.snd.peer_mss }),
        None => {}
    }
    if !brought_data {
        return;
    }
    if seg.ack.after(tcb.snd.una) {
        tcb.role.syn_data_acked = true;
        env.stats.tcp_fastopen_active += 1;
        // The window in a SYN is not scaled.
        let shift = core::mem::take(&mut tcb.snd.shift);
        let _ = ack::established(tcb, seg, env);
        tcb.snd.shift = shift;
    } else {
        env.stats.tcp_fastopen_active_fail += 1;
    }
    if tcb.snd.outstanding() > 0 {
        // It goes again at once: that it was not taken says nothing of the network.
        tcb.sent.time_out(env.segs, Instant::NEVER);
    }
}
