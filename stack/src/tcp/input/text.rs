//! Seventh, process the segment text; eighth, check the FIN bit.

use nic::Pkt;

use super::enter_time_wait;
use crate::ip::Egress;
use crate::seq::Seq;
use crate::tcp::ack::When;
use crate::tcp::buffers::Arrival;
use crate::tcp::env::Env;
use crate::tcp::share;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::tcp::{call, output};
use crate::types::{Ecn, Readiness};
use crate::wire::tcp::{Flags, Segment};

/// Sixth, check the URG bit: whoever waits for it is told of urgent data before it arrives (RFC 9293 MUST-32,
/// MUST-33; RFC 6093 §3.1: the pointer is one past the urgent octet). `seg` is the segment as it arrived, not cut.
pub(super) fn sixth_urg<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) {
    if !seg.flags.has(Flags::URG) || !tcb.state.may_receive() {
        return;
    }
    let at = seg.seq + u32::from(seg.urgent.max(1) - 1);
    let copied = tcb.copied();
    let at_mark = tcb.at_mark() && !tcb.options.urgent_inline;
    if !tcb.urgent.announce(at, copied, tcb.rcv.nxt) {
        return;
    }
    if at_mark {
        // The mark before is where reading stands: its octet belonged out of the stream, and so it stays (Linux).
        let _ = tcb.inbox.read(env.segs, env.pool, 1, |_| Ok(()));
    }
    tcb.wakes |= Readiness::URG;
}

/// The announced octet may be in this segment.
#[inline]
fn find_urgent<E: Egress>(tcb: &mut Tcb, seq: Seq, payload: &Pkt, env: &Env<'_, E>) {
    if !tcb.urgent.is_quiet() && tcb.urgent.find(seq, env.pool.bytes(payload)) {
        tcb.wakes |= Readiness::PRI;
    }
}

/// Seventh, process the segment text. The segment is cut to the window already.
pub(super) fn seventh<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    if !tcb.state.may_receive() {
        // Behind a FIN there is nothing: a peer that sends here is confused.
        return env.pool.free(payload);
    }
    if seg.len > 0 && tcb.role.orphan && seg.end().after(tcb.rcv.nxt) {
        // Nobody will ever read it: say so (RFC 1122 §4.2.2.13).
        env.pool.free(payload);
        return call::abort(tcb, env);
    }
    if seg.flags.has(Flags::FIN) && tcb.rcv.fin.is_none() {
        tcb.rcv.fin = Some(seg.seq + seg.len);
    }
    if seg.len == 0 {
        if seg.flags.has(Flags::FIN) && seg.seq.after(tcb.rcv.nxt) {
            tcb.owed.demand();
        }
        return env.pool.free(payload);
    }
    find_urgent(tcb, seg.seq, &payload, env);
    take_ecn(tcb, seg, env);
    measure(tcb, seg, env);
    if seg.seq == tcb.rcv.nxt {
        connects(tcb, payload, env);
    } else {
        out_of_order(tcb, seg, payload, env);
    }
}

/// What the packet tells of congestion (RFC 3168 §6.1.3; not of data that was known or is refused, §6.1.5).
#[inline]
pub(super) fn take_ecn<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) {
    if tcb.ecn.on_data(seg.flags, seg.ecn) {
        tcb.owed.demand();
    }
    env.stats.tcp_ce_in += u64::from(tcb.ecn.is_on() && seg.ecn == Ecn::Ce);
}

/// The receive buffer learns the path's round trip from data as it comes.
#[inline]
pub(super) fn measure<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &Env<'_, E>) {
    let (nxt, wnd) = (tcb.rcv.nxt, tcb.rcv.wnd());
    let Some(buffers) = &mut tcb.buffers else { return };
    // Less than a full segment may have waited at the sender.
    let full = seg.len >= u32::from(tcb.rcv.mss);
    let stamped = seg.options.timestamps.filter(|_| tcb.ts.on);
    let echo = match stamped {
        Some(ts) if full => tcb.ts.rtt(ts.ecr, env.now).map(|age| (ts.ecr, age)),
        Some(_) => return,
        None => None,
    };
    if stamped.is_some() && echo.is_none() {
        return;
    }
    buffers.on_data(Arrival { now: env.now, nxt, wnd, echo });
}

/// As [`in_order`], for those who are not in a hurry.
pub(super) fn connects<E: Egress>(tcb: &mut Tcb, payload: Pkt, env: &mut Env<'_, E>) {
    in_order(tcb, payload, env);
}

/// The next octets, and whatever they connect to.
#[inline(always)]
pub(super) fn in_order<E: Egress>(tcb: &mut Tcb, payload: Pkt, env: &mut Env<'_, E>) {
    let len = payload.len() as u32;
    tcb.rcv.mss = tcb.rcv.mss.max(len as u16);
    queue(tcb, payload, env);
    if !tcb.reassembly.is_empty() {
        fill_hole(tcb, env);
    }
    tcb.wakes |= Readiness::IN;
    if tcb.owed.on_data(len, tcb.rcv.mss) == When::Later {
        tcb.timers.ack = tcb.timers.ack.min(env.now + env.config.delayed_ack);
    }
}

/// What waited behind the octets that came now follows them, if it does.
#[inline(never)]
fn fill_hole<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    while let Some(pkt) = tcb.reassembly.take(env.segs, env.pool, tcb.rcv.nxt) {
        queue(tcb, pkt, env);
    }
    tcb.reassembly.moved(tcb.rcv.nxt);
    // RFC 5681 §4.2: what fills a hole is acknowledged at once.
    tcb.owed.demand();
}

#[inline(always)]
fn queue<E: Egress>(tcb: &mut Tcb, pkt: Pkt, env: &mut Env<'_, E>) {
    let seq = tcb.rcv.nxt;
    tcb.rcv.nxt += pkt.len() as u32;
    tcb.tally.received(seq.0, tcb.rcv.nxt.0);
    tcb.inbox.push(env.segs, env.pool, pkt, seq);
}

/// Octets behind a hole: kept, if they can be afforded, and acknowledged at once either way (RFC 5681 §4.2).
fn out_of_order<E: Egress>(tcb: &mut Tcb, seg: &Segment, payload: Pkt, env: &mut Env<'_, E>) {
    tcb.owed.demand();
    // A frame for each kibibyte of buffer, and some: enough for segments of any sane size.
    let limit = tcb.recv_buffer() / 1024 + 16;
    let held = tcb.reassembly.frames();
    if held >= limit || !share::may_grow(env.pool, held) {
        env.stats.drop_buffer_full += 1;
        return env.pool.free(payload);
    }
    env.stats.tcp_out_of_order += 1;
    if let Some(buffers) = &mut tcb.buffers {
        buffers.ledger.out_of_order += 1;
    }
    tcb.reassembly.insert(env.segs, env.pool, payload, seg.seq);
}

/// Eighth, check the FIN bit: it counts once everything before it has arrived.
#[inline]
pub(super) fn eighth_fin<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if tcb.rcv.fin != Some(tcb.rcv.nxt) || tcb.rcv.finished || !tcb.state.may_receive() {
        return;
    }
    tcb.tally.received(tcb.rcv.nxt.0, (tcb.rcv.nxt + 1).0);
    tcb.rcv.nxt += 1;
    tcb.rcv.finished = true;
    tcb.rcv.edge = tcb.rcv.edge.max(tcb.rcv.nxt);
    tcb.reassembly.clear(env.segs, env.pool);
    tcb.owed.demand();
    tcb.wakes |= Readiness::IN | Readiness::RDHUP;
    match tcb.state {
        State::Established => tcb.state = State::CloseWait,
        // Our FIN is not acknowledged yet, else the fifth step had gone on to FIN-WAIT-2.
        State::FinWait1 => tcb.state = State::Closing,
        State::FinWait2 => {
            // The last ACK goes out before everything but its timer is forgotten.
            output::acknowledge(tcb, env);
            enter_time_wait(tcb, env);
        }
        _ => {}
    }
    if tcb.snd.shut {
        tcb.wakes |= Readiness::HUP;
    }
}
