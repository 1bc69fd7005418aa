//! Time-outs (RFC 9293 §3.10.8, RFC 6298 §5).

use super::build::{Body, transmit};
use super::detect;
use super::env::Env;
use super::output;
use super::plpmtud;
use super::prr::Ack;
use super::recovery::Phase;
use super::share;
use super::state::State;
use super::tcb::Tcb;
use super::timers::{Await, expired};
use super::user_timeout;
use crate::error::SocketError;
use crate::ip::Egress;
use crate::time::Instant;
use crate::types::Readiness;
use crate::wire::tcp::Flags;

/// Retransmissions for an orphan, whose failure nobody would hear of (Linux: tcp_orphan_retries).
const ORPHAN_RETRIES: u8 = 8;

/// Does whatever is due at `env.now`. Harmless when nothing is.
pub fn timers<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if tcb.next_deadline() > env.now {
        return;
    }
    if expired(&mut tcb.timers.state, env.now) {
        // The end of TIME-WAIT, or of an orphan whose peer never closes.
        return tcb.end(None, env.pool, env.segs);
    }
    if let Some(meter) = &mut tcb.meter
        && expired(&mut meter.pacer.timer, env.now)
    {
        output::data(tcb, env, false);
    }
    if expired(&mut tcb.timers.retransmit, env.now) {
        waited(tcb, env);
    }
    if expired(&mut tcb.timers.keepalive, env.now) {
        keepalive(tcb, env);
    }
    if expired(&mut tcb.timers.retry, env.now) {
        retry(tcb, env);
    }
    if expired(&mut tcb.timers.ack, env.now) {
        tcb.owed.waited_in_vain();
        output::acknowledge(tcb, env);
    }
}

/// The peer has been waited for long enough (RFC 8985 §8).
fn waited<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if tcb.awaits == Await::Persist {
        return probe_window(tcb, env);
    }
    if tcb.state == State::Closed || tcb.snd.outstanding() == 0 {
        return;
    }
    match tcb.awaits {
        Await::Persist => {}
        Await::Rto => retransmit(tcb, env),
        Await::Reordering => reordering_ends(tcb, env),
        Await::Probe => probe_tail(tcb, env),
    }
}

/// What was overtaken and has not come by now is lost (RFC 8985 §6.2, step 5).
fn reordering_ends<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    detect::return_to_rto(tcb, env);
    let (recover_fs, missing) = (detect::recover_fs(tcb), tcb.sent.missing_octets());
    let losses = detect::losses(tcb, env);
    if losses.any {
        detect::tell_meter(tcb, missing);
        if !plpmtud::explains(tcb, losses, env) && tcb.recovery.phase != Phase::Fast {
            detect::enter_recovery(tcb, recover_fs, env);
            let ack = Ack { delivered: 0, in_flight: tcb.pipe(), safe: false, forced: false };
            tcb.recovery.on_delivered(ack, tcb.cc.ssthresh(), u32::from(tcb.snd.mss));
        }
        // In a recovery the window stays: what is lost now has left it.
        output::push(tcb, env);
    }
}

/// RFC 8985 §7.3: one probe a flight; after it the time-out counts from now.
fn probe_tail<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let probed = if tcb.tlp.is_out() { None } else { output::probe_tail(tcb, env) };
    match probed {
        Some(is_retrans) => {
            env.stats.tcp_loss_probes += 1;
            tcb.tlp.begin(tcb.snd.nxt, is_retrans);
            tcb.await_ack(Await::Rto, tcb.rto.due(env.now));
        }
        None => detect::return_to_rto(tcb, env),
    }
}

/// RFC 6298 §5.4 to §5.7.
fn retransmit<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let again = tcb.snd.retries > 0;
    if !again {
        tcb.snd.stalled_at = tcb.snd.sent_at;
    }
    if is_hopeless(tcb, env) {
        return give_up(tcb, env);
    }
    if tcb.state.is_synchronized() && share::must_yield(env.pool, tcb.snd.retries) {
        return make_room(tcb, env);
    }
    env.stats.tcp_timeouts += 1;
    tcb.tally.timed_out(!again, env.now);
    tcb.flow.change_path();
    let before = tcb.snd.retries;
    tcb.snd.retries += 1;
    tcb.rto.back_off();
    tcb.await_ack(Await::Rto, tcb.rto.due(env.now));
    if !tcb.state.is_synchronized() {
        env.stats.tcp_retransmits += 1;
        tcb.counts.retransmits += 1;
        output::handshake(tcb, env);
        return keep_user_timeout(tcb, env.now);
    }
    // RFC 8985 §6.3: what was sent less than a round trip ago may still arrive.
    let sent_by = if tcb.role.sack { env.now - tcb.rack.rtt() } else { Instant::NEVER };
    env.stats.tcp_sack_reneging += u64::from(tcb.sent.is_reneged(env.segs));
    let missing = tcb.sent.missing_octets();
    tcb.sent.time_out(env.segs, sent_by);
    detect::tell_meter(tcb, missing);
    tcb.recovery.on_timeout((tcb.snd.una, tcb.snd.nxt), again);
    tcb.cc.on_timeout();
    tcb.ecn.on_reduction();
    tcb.tlp.end();
    plpmtud::timed_out(tcb, before, env);
    match tcb.sent.head() {
        Some(at) => {
            // The oldest goes out whatever is in flight (RFC 6298 §5.4).
            if output::resend_one(tcb, env, at) {
                output::push(tcb, env);
            }
        }
        None => {
            env.stats.tcp_retransmits += 1;
            tcb.counts.retransmits += 1;
            output::fin(tcb, env);
        }
    }
    keep_user_timeout(tcb, env.now);
}

/// The next time-out comes no later than the user's (Linux: tcp_clamp_rto_to_user_timeout).
fn keep_user_timeout(tcb: &mut Tcb, now: Instant) {
    let patience = tcb.options.user_timeout();
    tcb.timers.retransmit = user_timeout::clamp(patience, tcb.snd.stalled_at, tcb.timers.retransmit, now);
}

/// Whether it was tried long enough (RFC 9293 §3.8.3, RFC 5482).
fn is_hopeless<E: Egress>(tcb: &Tcb, env: &Env<'_, E>) -> bool {
    let limit = match tcb.state {
        State::SynSent => tcb.options.syn_retries.unwrap_or(env.config.syn_retries),
        State::SynReceived => env.config.synack_retries,
        _ if tcb.role.orphan => env.config.retries.min(ORPHAN_RETRIES),
        _ => env.config.retries,
    };
    let impatient = user_timeout::has_passed(tcb.options.user_timeout(), tcb.snd.stalled_at, env.now);
    match impatient {
        Some(passed) if tcb.state.is_synchronized() => tcb.snd.retries > 0 && passed,
        // A handshake ends by whichever comes first (Linux: tcp_write_timeout).
        Some(passed) => tcb.snd.retries >= limit || (tcb.snd.retries > 0 && passed),
        None => tcb.snd.retries >= limit,
    }
}

fn give_up<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if !tcb.state.is_synchronized() {
        env.stats.tcp_attempt_fails += 1;
    }
    let passive_attempt = tcb.state == State::SynReceived && tcb.role.passive;
    let error = tcb.snd.soft_error.unwrap_or(SocketError::TimedOut);
    tcb.end((!passive_attempt).then_some(error), env.pool, env.segs);
}

/// Others get no frame for a first segment, and this connection does not move: it is given up (RFC 6429: persist
/// is no right to hold resources for ever; Linux: TCPAbortOnMemory).
fn make_room<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    env.stats.tcp_aborts_on_memory += 1;
    let (seq, ack) = (tcb.snd.nxt, tcb.rcv.nxt);
    super::reset::send(&mut tcb.flow, seq, ack, Flags::RST | Flags::ACK, env);
    give_up(tcb, env);
}

/// A probe: an ACK for an octet long acknowledged, which every TCP answers with its window. (Linux's way. RFC
/// 9293 §3.8.6.1 sends an octet of new data instead, which a shut window has no place for.) If a little can be
/// sent, that is the probe, so that silly-window avoidance cannot wait for ever (§3.8.6.2.1).
fn probe_window<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if !tcb.state.may_transmit() || tcb.snd.outstanding() > 0 {
        return;
    }
    // A window that stays shut is no reason to give up while the peer answers; unless nobody is left here to
    // care.
    let forsaken = tcb.role.orphan && tcb.counts.probes_in_all >= ORPHAN_RETRIES;
    // Nor is a user who has said how long.
    let patience = tcb.options.user_timeout();
    let passed = tcb.counts.probes_in_all > 0
        && user_timeout::has_passed(patience, tcb.snd.stalled_at, env.now) == Some(true);
    if forsaken || passed || tcb.counts.probes >= env.config.retries {
        return give_up(tcb, env);
    }
    if share::must_yield(env.pool, tcb.counts.probes_in_all) {
        return make_room(tcb, env);
    }
    if output::override_window(tcb, env) {
        return;
    }
    env.stats.tcp_window_probes += 1;
    probe(tcb, env);
    tcb.counts.probes = tcb.counts.probes.saturating_add(1);
    tcb.counts.probes_in_all = tcb.counts.probes_in_all.saturating_add(1);
    let wait = tcb.rto.rto().saturating_mul(1 << tcb.counts.probes_in_all.min(16));
    let next = env.now + wait.min(env.config.rto_max);
    tcb.await_ack(Await::Persist, user_timeout::clamp(patience, tcb.snd.stalled_at, next, env.now));
}

/// RFC 9293 §3.8.4. The timer is not moved when something arrives; when it comes, it looks how long ago that was.
fn keepalive<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if !tcb.options.keepalive || !tcb.state.is_synchronized() || tcb.state == State::TimeWait {
        return;
    }
    let silent = env.now.since(tcb.rcv.heard_at);
    let (idle, interval) = (tcb.options.keepalive_idle(), tcb.options.keepalive_interval());
    if silent < idle || tcb.snd.outstanding() > 0 {
        // It lives, or the retransmission timer will find out.
        let base = if silent < idle { tcb.rcv.heard_at } else { env.now };
        tcb.counts.keepalives = 0;
        tcb.timers.keepalive = base + idle;
        return;
    }
    // The user's timeout takes the place of the count (Linux: tcp_keepalive_timer).
    let passed = user_timeout::has_passed(tcb.options.user_timeout(), tcb.rcv.heard_at, env.now);
    let enough = match passed {
        Some(passed) => passed && tcb.counts.keepalives > 0,
        None => tcb.counts.keepalives >= tcb.options.keepalive_count,
    };
    if enough {
        let (seq, ack) = (tcb.snd.nxt, tcb.rcv.nxt);
        super::reset::send(&mut tcb.flow, seq, ack, Flags::RST | Flags::ACK, env);
        return give_up(tcb, env);
    }
    tcb.counts.keepalives += 1;
    env.stats.tcp_keepalives += 1;
    probe(tcb, env);
    tcb.timers.keepalive = env.now + interval;
}

/// A segment without text at SND.UNA − 1: outside every window, so it must be answered with an ACK. While urgent
/// data waits it says so, at SND.UNA: urgency passes a shut window (RFC 9293 §3.8.5).
fn probe<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let urgent = tcb.urgent.pointer(tcb.snd.una).is_some();
    let seq = tcb.snd.una - u32::from(!urgent);
    let sent = transmit(tcb, env, seq, Flags::ACK, Body::None);
    output::attempt(tcb, env, sent);
}

/// The way out was blocked, or a cork has lasted long enough.
fn retry<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    tcb.role.held = false;
    output::data(tcb, env, true);
    output::acknowledge(tcb, env);
    if tcb.role.starved && tcb.is_writable() && tcb.timers.retry == Instant::NEVER {
        tcb.role.starved = false;
        tcb.wakes |= Readiness::OUT;
    }
}
