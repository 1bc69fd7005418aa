//! SEGMENT ARRIVES (RFC 9293 §3.10.7), in the RFC's order and with its step numbers.
//!
//! | step | file |
//! |---|---|
//! | SYN-SENT, first to fifth | `syn_sent` |
//! | first to fourth: sequence number, RST, security, SYN | `checks` |
//! | fifth: ACK | `ack` |
//! | sixth to eighth: URG, text, FIN | `text` |

mod ack;
mod checks;
mod expected;
mod icmp;
mod recover;
mod syn_sent;
mod text;

use nic::Pkt;

use super::env::Env;
use super::output;
use super::state::State;
use super::tcb::Tcb;
use super::time_wait::{Outcome, TimeWait};
use crate::ip::Egress;
use crate::seq::Seq;
use crate::types::Readiness;
use crate::wire::tcp::{Flags, Segment};

pub use icmp::{PathError, unreachable};

/// Whether the walk through the steps goes on.
type Step = core::ops::ControlFlow<()>;
const GO_ON: Step = Step::Continue(());
const DONE: Step = Step::Break(());

/// A segment for this connection. `payload`'s window is exactly the segment's payload; it is always consumed.
/// ACKs, resets and whatever may now be sent have been sent on return.
pub fn segment<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    let predicted = is_predicted(tcb, seg, env);
    take(tcb, seg, payload, predicted, env);
}

#[inline(always)]
fn take<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, fast: bool, env: &mut Env<'_, E>) {
    env.stats.tcp_segs_in += 1;
    tcb.tally.segs_in = tcb.tally.segs_in.wrapping_add(1);
    tcb.tally.data_segs_in = tcb.tally.data_segs_in.wrapping_add(u32::from(seg.len > 0));
    tcb.rcv.heard_at = env.now;
    let was_writable = tcb.options.not_sent_low_water == 0 || tcb.is_writable();
    if fast {
        env.stats.tcp_fast_path += 1;
        predicted(tcb, seg, payload, env);
    } else {
        arrives(tcb, seg, payload, env);
    }
    flush(tcb, env);
    tcb.book(env.now);
    if !was_writable && tcb.is_writable() {
        // What was unsent is under way (TCP_NOTSENT_LOWAT).
        tcb.role.starved = false;
        tcb.wakes |= Readiness::OUT;
    }
}

/// As [`segment`], without the fast path: what a test compares it with.
#[cfg(test)]
pub(super) fn segment_slowly<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    take(tcb, seg, payload, false, env);
}

/// Sends what the segment made possible or necessary.
#[inline]
fn flush<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if !output::is_idle(tcb, env) {
        flush_all(tcb, env);
    }
}

#[inline(never)]
fn flush_all<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    // With data an ACK tells of no hole: it is no duplicate then (RFC 5681 §2), and full segments leave SACK blocks no room.
    let apart = !tcb.owed.may_wait() && tcb.reassembly.has_news();
    if apart {
        output::acknowledge(tcb, env);
    }
    output::data(tcb, env, false);
    if !(apart || env.burst && tcb.owed.may_wait()) {
        output::acknowledge(tcb, env);
    }
}

/// Header prediction: the next segment of an established connection on which nothing is going on. Whatever
/// is not plain is left to the full walk, which would do the same (a test holds them equal).
#[inline(always)]
fn is_predicted<E: Egress>(tcb: &Tcb, seg: &Segment, env: &Env<'_, E>) -> bool {
    tcb.state == State::Established
        && seg.flags.without(Flags::PSH) == Flags::ACK
        && seg.seq == tcb.rcv.nxt
        && seg.len <= tcb.rcv.wnd()
        && tcb.reassembly.is_empty()
        && tcb.rcv.fin.is_none()
        && tcb.urgent.is_quiet()
        && seg.options.sack.is_empty()
        && tcb.recovery.is_quiet()
        && !tcb.sent.has_lost()
        && timestamps_are_plain(tcb, seg, env)
        && seg.ack.at_or_before(tcb.snd.nxt)
        && (seg.ack.after(tcb.snd.una) || (seg.len > 0 && seg.ack == tcb.snd.una))
}

#[inline]
fn timestamps_are_plain<E: Egress>(tcb: &Tcb, seg: &Segment, env: &Env<'_, E>) -> bool {
    match seg.options.timestamps {
        Some(ts) => tcb.ts.on && !tcb.ts.is_old(ts.val, env.now),
        None => !tcb.ts.on,
    }
}

/// The steps that are left of the walk when all checks would pass.
#[inline(always)]
fn predicted<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    checks::take_timestamp(tcb, seg, env);
    if seg.ack == tcb.snd.una && ack::expects_none(tcb) {
        ack::no_news(tcb, seg);
    } else {
        acknowledged(tcb, seg, env);
    }
    if seg.len > 0 {
        text::take_ecn(tcb, seg, env);
        text::measure(tcb, seg, env);
        text::in_order(tcb, payload, env);
    } else {
        env.pool.free(payload);
    }
}

/// The fifth step of a segment whose ACK tells something. Out of line: the next piece of a stream has none such, and the
/// registers to itself.
#[inline(never)]
fn acknowledged<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) {
    if let Some(run) = expected::run(tcb, seg.ack, env) {
        expected::acknowledge(tcb, seg, run, env);
    } else {
        let _ = ack::established(tcb, seg, env);
    }
}

/// The full walk.
#[inline(never)]
fn arrives<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    match tcb.state {
        State::Closed => env.pool.free(payload),
        State::SynSent => syn_sent::arrives(tcb, seg, payload, env),
        State::TimeWait => {
            env.pool.free(payload);
            time_wait(tcb, seg, env);
        }
        _ => otherwise(tcb, seg, payload, env),
    }
}

/// §3.10.7.4, "OTHER STATES".
fn otherwise<E: Egress>(tcb: &mut Tcb, seg: &Segment, mut payload: Pkt, env: &mut Env<'_, E>) {
    let arrived = *seg;
    let mut seg = arrived;
    if checks::first(tcb, &mut seg, &mut payload, env).is_break()
        || checks::second_rst(tcb, &seg, env).is_break()
        // Third, security: not provided.
        || checks::fourth_syn(tcb, &seg, env).is_break()
        || ack::fifth(tcb, &seg, env).is_break()
    {
        return env.pool.free(payload);
    }
    text::sixth_urg(tcb, &arrived, env);
    text::seventh(tcb, &seg, payload, env);
    text::eighth_fin(tcb, env);
}

/// The data of a SYN that brought a good cookie (RFC 7413 §4.2.1).
pub(super) fn syn_data<E: Egress>(tcb: &mut Tcb, payload: Pkt, env: &mut Env<'_, E>) {
    if payload.is_empty() {
        return env.pool.free(payload);
    }
    text::connects(tcb, payload, env);
}

/// TIME-WAIT of a connection whose socket is still open.
fn time_wait<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) {
    let mut rest = TimeWait::of(tcb);
    if rest.answer(seg, &mut tcb.flow, env) == Outcome::Reuse {
        // While the socket is open its tuple is not free: a new connection has to wait.
        tcb.owed.demand();
    }
    tcb.timers.state = rest.deadline();
}

/// Enters TIME-WAIT: its timer runs alone.
fn enter_time_wait<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    tcb.state = State::TimeWait;
    tcb.meter = None;
    tcb.timers = super::timers::Timers { state: env.now + env.config.time_wait, ..Default::default() };
    tcb.reassembly.clear(env.segs, env.pool);
}

/// A bare reset for a segment that acknowledges what does not exist: <SEQ=SEG.ACK><CTL=RST>.
fn reset_for_ack<E: Egress>(tcb: &mut Tcb, ack: Seq, env: &mut Env<'_, E>) {
    super::reset::send(&mut tcb.flow, ack, Seq(0), Flags::RST, env);
}
