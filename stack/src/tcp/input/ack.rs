//! Fifth, check the ACK field.

use core::time::Duration;

use super::checks::challenge;
use super::recover::{self, News};
use super::{DONE, GO_ON, Step, enter_time_wait, reset_for_ack};
use crate::ip::Egress;
use crate::seq::Seq;
use crate::tcp::call;
use crate::tcp::cc::{Ack as Acked, Delivery};
use crate::tcp::detect;
use crate::tcp::env::Env;
use crate::tcp::plpmtud;
use crate::tcp::rate::Arrival;
use crate::tcp::recovery::Phase;
use crate::tcp::sent::Delivered;
use crate::tcp::snd::AckPlace;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::types::Readiness;
use crate::wire::tcp::{Flags, Segment};

pub(super) fn fifth<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) -> Step {
    if !seg.flags.has(Flags::ACK) {
        return DONE;
    }
    if tcb.state == State::SynReceived {
        if tcb.snd.place(seg.ack) != AckPlace::New || !tcb.role.syn_sent {
            reset_for_ack(tcb, seg.ack, env);
            return DONE;
        }
        let wnd = u32::from(seg.wnd) << tcb.snd.shift;
        (tcb.snd.wnd, tcb.snd.max_wnd) = (wnd, wnd);
        (tcb.snd.wl1, tcb.snd.wl2) = (seg.seq, seg.ack);
        open(tcb, seg, env);
        env.stats.tcp_passive_opens += u64::from(tcb.role.passive);
    }
    match tcb.snd.place(seg.ack) {
        // RFC 5961 §5.2: an ACK from far outside is an attacker's, or of another time.
        AckPlace::Stale | AckPlace::Future => {
            challenge(tcb, env);
            return DONE;
        }
        AckPlace::Duplicate | AckPlace::New => {}
    }
    established(tcb, seg, env)
}

/// Our SYN is acknowledged: ESTABLISHED.
pub(super) fn open<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) {
    let echoed = seg.options.timestamps.and_then(|ts| tcb.ts.rtt(ts.ecr, env.now)).filter(|_| tcb.ts.on);
    if tcb.snd.retries == 0 && !tcb.role.syn_again {
        let rtt = env.now.since(tcb.snd.sent_at);
        tcb.rto.on_sample(rtt);
        tcb.rack.min_rtt.on_sample(rtt, env.now);
    } else if let Some(rtt) = echoed {
        tcb.rto.on_sample(rtt);
    } else if tcb.snd.retries > 0 {
        tcb.rto.syn_was_lost();
    }
    tcb.tally.acked(tcb.snd.una.0, (tcb.snd.iss + 1).0);
    tcb.snd.una = tcb.snd.iss + 1;
    plpmtud::begin(tcb, env);
    if tcb.snd.retries > 1 {
        // RFC 5681 §3.1. One may have been sent for nothing, after RFC 6298's short first time-out; Linux waits for two.
        tcb.cc.syn_was_lost();
    }
    tcb.snd.retries = 0;
    tcb.tally.goes_on(env.now);
    tcb.snd.sent_at = env.now;
    // Data may be under way since before (RFC 7413).
    tcb.timers.retransmit = if tcb.snd.outstanding() > 0 { tcb.rto.due(env.now) } else { Instant::NEVER };
    // A CLOSE in SYN-RECEIVED was kept for now (RFC 9293 §3.10.4).
    tcb.state = if tcb.snd.shut { State::FinWait1 } else { State::Established };
    if tcb.options.keepalive {
        tcb.timers.keepalive = env.now + tcb.options.keepalive_idle();
    }
    tcb.wakes |= Readiness::OUT;
}

/// The peer lives, and tells its window. Whether that changed.
#[inline]
pub(super) fn heard(tcb: &mut Tcb, seg: &Segment) -> bool {
    let changed = tcb.snd.update_window(seg, u32::from(seg.wnd) << tcb.snd.shift);
    tcb.counts.probes = 0;
    tcb.counts.keepalives = 0;
    if tcb.snd.wnd == 0 {
        // It is alive and says: not now. Such waiting does not count towards giving up (RFC 9293 §3.8.6.1).
        tcb.snd.retries = 0;
    }
    changed
}

/// What is left of [`established`] when a segment brings data, and its ACK is that of the segment before, without
/// blocks, while nothing is going on.
#[inline]
pub(super) fn no_news(tcb: &mut Tcb, seg: &Segment) {
    heard(tcb, seg);
}

/// Whether an ACK that acknowledges nothing tells nothing either.
#[inline]
pub(super) fn expects_none(tcb: &Tcb) -> bool {
    tcb.meter.is_none() && !tcb.tlp.is_out() && tcb.recovery.is_trusted()
}

/// ESTABLISHED and later: what the ACK acknowledges, the window, the scoreboard, the state.
#[inline]
pub(super) fn established<E: Egress>(tcb: &mut Tcb, seg: &Segment, env: &mut Env<'_, E>) -> Step {
    let flight = tcb.pipe();
    let outstanding = tcb.snd.outstanding() > 0;
    let held = tcb.sent.segments - tcb.sent.sacked.segments;
    let advance = seg.ack.since(tcb.snd.una);
    let wnd_changed = heard(tcb, seg);
    let echo = seg.options.timestamps.filter(|_| tcb.ts.on).map(|ts| ts.ecr);
    let recover_fs = detect::recover_fs(tcb);
    let mut delivered = Delivered::new(recover::answered(tcb, echo, env));
    let mut rtt = None;
    if advance > 0 {
        rtt = acknowledged(tcb, seg, &mut delivered, env);
    }
    if !seg.options.sack.is_empty() && tcb.role.sack {
        rtt = rtt.or(scoreboard(tcb, seg, &mut delivered, env));
    }
    if let Some(sent_at) = delivered.newest_once {
        tcb.rack.min_rtt.on_micros(env.now.micros_since(sent_at), env.now);
    }
    let empty = seg.space() == 0 && !wnd_changed;
    let duplicate = advance == 0
        && outstanding
        && match tcb.role.sack {
            // RFC 6675 §2: it tells of octets that were not SACKed before.
            true => delivered.octets > 0,
            // RFC 5681 §2: no data, no news of the window.
            false => empty && seg.ack == tcb.snd.una,
        };
    let dsack = seg.options.sack.duplicate(seg.ack).filter(|_| tcb.role.sack);
    let ece = tcb.ecn.is_echo(seg.flags);
    // PRR has the say in these.
    let was_quiet = !matches!(tcb.recovery.phase, Phase::Fast | Phase::Cwr);
    if let Some(buffers) = &mut tcb.buffers
        && (dsack.is_some() || ece)
    {
        buffers.ledger.duplicates += u32::from(dsack.is_some());
        let segments = held.saturating_sub(tcb.sent.segments - tcb.sent.sacked.segments);
        buffers.ledger.delivered_ce += if ece { segments } else { 0 };
    }
    let missing = tcb.sent.missing_octets();
    recover::on_ack(tcb, &News { advance, duplicate, empty, delivered, dsack, echo, ece, recover_fs }, env);
    if tcb.tally.timed_out_at != 0 && tcb.recovery.phase != Phase::Loss {
        tcb.tally.goes_on(env.now);
    }
    // Before a recovery duplicates change nothing (RFC 3042, RFC 5681 §3.2, step 1); what it delivered was
    // PRR's to count.
    if advance > 0 && was_quiet {
        let acked = Acked {
            acked: delivered.octets,
            app_limited: !is_cwnd_limited(tcb, flight),
            una: tcb.snd.una,
            nxt: tcb.snd.nxt,
            rtt,
            srtt: tcb.rto.srtt().unwrap_or(Duration::ZERO),
        };
        tcb.cc.on_ack(&acked, env.now);
    }
    if tcb.meter.is_some() {
        sample(tcb, &delivered, Seen { flight, missing, rtt }, env);
    }
    if advance > 0 && was_quiet {
        tcb.snd.cwnd_limited = false;
    }
    states(tcb, env)
}

/// What an ACK found and measured.
struct Seen {
    /// Octets in flight before it.
    flight: u32,
    /// Octets missing before its own were judged.
    missing: u32,
    rtt: Option<Duration>,
}

/// A rate sample, the model that BBR makes of it, and the pace that follows.
#[inline(never)]
fn sample<E: Egress>(tcb: &mut Tcb, delivered: &Delivered, seen: Seen, env: &Env<'_, E>) {
    let in_flight = tcb.pipe();
    let cwnd_limited = tcb.snd.cwnd_limited || seen.flight + u32::from(tcb.snd.mss) > tcb.cc.cwnd();
    let Some(meter) = &mut tcb.meter else { return };
    let arrival = Arrival {
        newest: delivered.latest.map(|(at, _)| (env.segs.stamp(at), env.segs.slot(at).seq)),
        acked: delivered.octets,
        lost: tcb.sent.missing_octets().saturating_sub(seen.missing),
        min_rtt: tcb.cc.min_rtt(),
    };
    let sample = meter.rate.on_ack(&arrival, env.now);
    // The youngest segment's, which waited for no other.
    let rtt = delivered.newest_once.map(|sent_at| env.now.since(sent_at)).or(seen.rtt);
    let delivered = meter.rate.delivered();
    tcb.cc.on_delivery(&Delivery { sample, delivered, in_flight, cwnd_limited, rtt, now: env.now });
    if tcb.cc.is_holding_back() {
        meter.rate.on_app_limited(in_flight);
    }
    tcb.set_pace();
}

/// SND.UNA moves on. The round trip that this measured.
#[inline]
fn acknowledged<E: Egress>(
    tcb: &mut Tcb,
    seg: &Segment,
    delivered: &mut Delivered,
    env: &mut Env<'_, E>,
) -> Option<Duration> {
    let was_writable = tcb.is_writable();
    tcb.sent.acknowledge(env.segs, env.pool, seg.ack, delivered);
    advance(tcb, seg.ack);
    if tcb.role.searches {
        plpmtud::on_advance(tcb, env);
    }
    let rtt = measure(tcb, seg, delivered, env);
    make_writable(tcb, was_writable, env);
    rtt
}

/// Nothing before `ack` is waited for any more.
#[inline]
pub(super) fn advance(tcb: &mut Tcb, ack: Seq) {
    tcb.tally.acked(tcb.snd.una.0, ack.0);
    tcb.snd.una = ack;
    tcb.urgent.acknowledged(ack);
    tcb.snd.retries = 0;
    // MSG_MORE was for its own call (Linux); TCP_CORK goes on.
    tcb.role.held = false;
}

/// The send queue is shorter: who waits for that is told, and the buffer may grow.
#[inline]
pub(super) fn make_writable<E: Egress>(tcb: &mut Tcb, was_writable: bool, env: &Env<'_, E>) {
    if was_writable && !tcb.role.starved {
        return;
    }
    if let Some(buffers) = &mut tcb.buffers {
        let segments = tcb.cc.cwnd() / u32::from(tcb.snd.mss);
        buffers.grow_send(segments, tcb.snd.mss, env.config.send_buffer_max);
    }
    if tcb.is_writable() {
        tcb.role.starved = false;
        tcb.wakes |= Readiness::OUT;
    }
}

/// A round trip (RFC 6298 §3): from the segment itself when it was sent once, else from the echoed timestamp.
#[inline]
fn measure<E: Egress>(
    tcb: &mut Tcb,
    seg: &Segment,
    delivered: &Delivered,
    env: &Env<'_, E>,
) -> Option<Duration> {
    let rtt = match (delivered.sent_at, delivered.ambiguous, seg.options.timestamps) {
        (Some(sent_at), false, _) => env.now.since(sent_at),
        (_, _, Some(ts)) if tcb.ts.on && delivered.acked > 0 => tcb.ts.rtt(ts.ecr, env.now)?,
        _ => return None,
    };
    tcb.rto.on_sample(rtt);
    Some(rtt)
}

/// What the SACK blocks say, and the round trip that they measured.
fn scoreboard<E: Egress>(
    tcb: &mut Tcb,
    seg: &Segment,
    delivered: &mut Delivered,
    env: &mut Env<'_, E>,
) -> Option<Duration> {
    let range = (tcb.snd.una, tcb.snd.nxt);
    // What came out of order is not what the timestamp echoes (RFC 7323 §4.3).
    delivered.believe(recover::answered(tcb, None, env));
    tcb.sent.sack(env.segs, &seg.options.sack, range, delivered);
    let (Some(sent_at), false, 0) = (delivered.sent_at, delivered.ambiguous, delivered.acked) else {
        return None;
    };
    let rtt = env.now.since(sent_at);
    tcb.rto.on_sample(rtt);
    Some(rtt)
}

/// Whether the window was in use when what is now acknowledged was in flight (RFC 7661): a window that was
/// not filled is not proved.
#[inline]
pub(super) fn is_cwnd_limited(tcb: &Tcb, flight: u32) -> bool {
    let cwnd = tcb.cc.cwnd();
    let in_slow_start = cwnd < tcb.cc.ssthresh();
    tcb.snd.cwnd_limited
        || flight + u32::from(tcb.snd.mss) > cwnd
        || (in_slow_start && u64::from(flight) * 2 > u64::from(cwnd))
}

/// What an acknowledged FIN changes.
#[inline]
fn states<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Step {
    if !tcb.fin_acked() {
        return GO_ON;
    }
    match tcb.state {
        State::FinWait1 => {
            tcb.state = State::FinWait2;
            match tcb.fin_wait(env.config.fin_timeout) {
                Some(patience) if tcb.role.orphan => tcb.timers.state = env.now + patience,
                None if tcb.role.orphan => {
                    call::abort(tcb, env);
                    return DONE;
                }
                _ => {}
            }
            GO_ON
        }
        State::Closing => {
            enter_time_wait(tcb, env);
            DONE
        }
        State::LastAck => {
            tcb.end(None, env.pool, env.segs);
            DONE
        }
        _ => GO_ON,
    }
}
