//! The one place that builds segments of a connection.

use nic::{FrameIndex, Pkt};

use super::ecn;
use super::env::Env;
use super::sent::copy;
use super::tcb::Tcb;
use crate::ip::{Egress, Outgoing, Payload, Unsent};
use crate::seq::Seq;
use crate::types::Ecn;
use crate::wire::tcp::{CHECKSUM_AT, FastOpenCookie, Flags, HEADER_MAX, Header, Options, TimestampsOption};

/// What a segment carries.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// A segment of the send queue, kept there.
    Queued(FrameIndex),
}

/// Builds a segment at `seq` and sends it. Whatever is sent carries the ACK that is owed.
///
/// # Errors
/// As [`Egress::send`], except that a segment that is still lent is copied.
#[inline(never)]
pub(super) fn transmit<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    seq: Seq,
    flags: Flags,
    body: Body,
) -> Result<(), Unsent> {
    build(tcb, env, seq, flags, body)
}

/// As [`transmit`], where the next new segment is the last that waits: without a call, since most segments are so.
///
/// # Errors
/// As [`transmit`].
#[inline(always)]
pub(super) fn transmit_last<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    at: FrameIndex,
) -> Result<(), Unsent> {
    let seq = tcb.snd.nxt;
    build(tcb, env, seq, Flags(Flags::ACK.0 | Flags::PSH.0), Body::Queued(at))
}

#[inline(always)]
fn build<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    seq: Seq,
    flags: Flags,
    body: Body,
) -> Result<(), Unsent> {
    let len = match body {
        Body::None => 0,
        Body::Queued(at) => env.segs.slot(at).len(),
    };
    let edge = tcb.rcv.edge;
    let new_data = len > 0 && seq.at_or_after(tcb.snd.nxt);
    let (bits, ecn) = ecn_of(tcb, env, flags, new_data);
    let flags = flags | bits;
    let mut bytes = [0; HEADER_MAX];
    let header = header(tcb, env, seq, flags);
    let header_len = if flags.has(Flags::SYN) || tcb.reassembly.has_news() {
        let options = options(tcb, env, flags, len);
        Header { options, ..header }.emit(&mut bytes)
    } else {
        header.emit_plain(timestamps(tcb, env, flags), &mut bytes)
    };
    let header = &bytes[..header_len];
    let sent = match body {
        Body::None => hand_over(tcb, env, (header, ecn), Payload::None),
        Body::Queued(at) => send_queued(tcb, env, (header, ecn), at),
    };
    if let Err(unsent) = sent {
        tcb.rcv.edge = edge;
        return Err(unsent);
    }
    env.stats.tcp_segs_out += 1;
    tcb.tally.segs_out = tcb.tally.segs_out.wrapping_add(1);
    tcb.tally.data_segs_out = tcb.tally.data_segs_out.wrapping_add(u32::from(len > 0));
    tcb.counts.blocked = 0;
    tcb.ecn.on_sent(flags);
    if flags.has(Flags::ACK) {
        tcb.rcv.last_ack = tcb.rcv.nxt;
        tcb.owed.sent();
        tcb.timers.ack = crate::time::Instant::NEVER;
    }
    Ok(())
}

/// What ECN adds to a segment (RFC 3168 §6.1).
#[inline]
fn ecn_of<E: Egress>(tcb: &Tcb, env: &Env<'_, E>, flags: Flags, new_data: bool) -> (Flags, Ecn) {
    match (flags.has(Flags::SYN), flags.has(Flags::ACK)) {
        // §6.1.1.1: a SYN that was not answered may have been dropped for its offer.
        (true, false) if env.config.ecn == 1 && !tcb.role.syn_sent => (ecn::OFFER, Ecn::NotEct),
        (true, true) if tcb.ecn.is_on() => (Flags::ECE, Ecn::NotEct),
        (false, true) => tcb.ecn.dress(new_data),
        _ => (Flags::default(), Ecn::NotEct),
    }
}

#[inline]
fn hand_over<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    (header, ecn): (&[u8], Ecn),
    payload: Payload<'_>,
) -> Result<(), Unsent> {
    let out = Outgoing { header, checksum_at: CHECKSUM_AT, ecn, payload };
    env.egress.send(env.pool, &mut tcb.flow, out, env.now)
}

/// Lends the queued packet; while the NIC still has it from last time, a copy goes instead, so that no byte
/// under a running transmission changes.
#[inline(always)]
fn send_queued<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    (header, ecn): (&[u8], Ecn),
    at: FrameIndex,
) -> Result<(), Unsent> {
    let pkt = env.segs.slot_mut(at).pkt_mut();
    if env.pool.is_lent(pkt) {
        let twin = twin(env, at).ok_or(Unsent::NoFrames)?;
        return hand_over(tcb, env, (header, ecn), Payload::Give(twin));
    }
    let out = Outgoing { header, checksum_at: CHECKSUM_AT, ecn, payload: Payload::Lend(pkt) };
    env.egress.send(env.pool, &mut tcb.flow, out, env.now)
}

#[cold]
fn twin<E: Egress>(env: &mut Env<'_, E>, at: FrameIndex) -> Option<Pkt> {
    let mut twin = env.pool.alloc()?;
    let from = env.segs.slot(at).pkt();
    if copy(env.pool, from, 0, &mut twin) == from.len() {
        return Some(twin);
    }
    env.pool.free(twin);
    None
}

/// All but the options.
#[inline(always)]
fn header<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, seq: Seq, flags: Flags) -> Header {
    let room = tcb.room(env.pool);
    // A SYN can have none: no octet was sent before it.
    let pointer = tcb.urgent.pointer(seq);
    let urg = if pointer.is_some() { Flags::URG } else { Flags::default() };
    let wnd = tcb.rcv.offer(room, tcb.recv_buffer(), flags);
    Header {
        src_port: tcb.flow.key.local.port(),
        dst_port: tcb.flow.key.remote.port(),
        seq,
        ack: if flags.has(Flags::ACK) { tcb.rcv.nxt } else { Seq(0) },
        flags: flags | urg,
        wnd,
        urgent: pointer.unwrap_or(0),
        options: Options::default(),
    }
}

fn options<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, flags: Flags, len: u32) -> Options {
    let mut options = Options::default();
    let first_syn = is_first_syn(flags);
    if flags.has(Flags::SYN) {
        options.mss = Some(tcb.announced_mss(env));
        options.window_scale = (first_syn || tcb.role.scaled).then_some(tcb.rcv.shift);
        options.sack_permitted = first_syn || tcb.role.sack;
        options.fast_open = fast_open(tcb, env, first_syn);
    }
    options.timestamps = timestamps(tcb, env, flags);
    if tcb.role.sack && !flags.has(Flags::SYN) && tcb.reassembly.has_news() {
        // Beside data, blocks may take only what the payload leaves of a full segment.
        let room = u32::from(tcb.snd.mss).saturating_sub(len);
        let fits = room.saturating_sub(4) / 8;
        if fits > 0 {
            options.sack = tcb.reassembly.report();
            options.sack.truncate(fits as usize);
        }
    }
    options
}

fn is_first_syn(flags: Flags) -> bool {
    flags.has(Flags::SYN) && !flags.has(Flags::ACK)
}

#[inline]
fn timestamps<E: Egress>(tcb: &Tcb, env: &Env<'_, E>, flags: Flags) -> Option<TimestampsOption> {
    (tcb.ts.on || is_first_syn(flags)).then(|| {
        let ecr = if flags.has(Flags::ACK) { tcb.ts.recent } else { 0 };
        TimestampsOption { val: tcb.ts.val(env.now), ecr }
    })
}

/// RFC 7413 §4.1.1, §4.1.3: a SYN brings the cookie that is kept, or asks for one; only the first, in case
/// something on the way drops such SYNs.
fn fast_open<E: Egress>(tcb: &Tcb, env: &Env<'_, E>, first_syn: bool) -> Option<FastOpenCookie> {
    if first_syn {
        let kept = env.shared.fast_open.of(tcb.flow.remote());
        let asks = tcb.role.fast_open && !tcb.role.syn_sent;
        return asks.then(|| kept.map_or(FastOpenCookie::REQUEST, |k| k.cookie));
    }
    tcb.role.give_cookie.then(|| env.shared.fast_open.cookie(&tcb.flow.key, env.now))
}
