//! Sends what may be sent (RFC 9293 §3.8).

use core::time::Duration;

use nic::FrameIndex;

use super::build::{Body, transmit};
use super::detect;
use super::env::Env;
use super::plpmtud::{self, Tried};
use super::recovery::Phase;
use super::snd::{Candidate, Decision};
use super::state::State;
use super::tcb::Tcb;
use super::timers::Await;
use crate::error::SocketError;
use crate::ip::{Egress, Unsent};
use crate::time::Instant;
use crate::wire::tcp::Flags;

/// The first wait after the way out refused; doubled each time.
const BLOCKED_FIRST: Duration = Duration::from_millis(1);
/// So often at the most.
const BLOCKED_DOUBLINGS: u8 = 6;
/// How long a corked segment is held (Linux: 200 ms).
const CORK: Duration = Duration::from_millis(200);

/// What became of a try to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It is on its way, or lost on the way: the retransmission timer answers for it.
    Sent,
    /// No frame or no neighbour just now; the retry timer is set.
    Blocked,
    /// The path takes only shorter segments than it did: cut and try again.
    Narrower,
}

/// Sends whatever the windows, Nagle and the scoreboard allow, and an ACK that is due. The other conductors
/// do this themselves; call it after options changed, when a neighbour was resolved, and at the end of a
/// [`burst`](Env::burst).
#[inline]
pub fn push<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let begins_keepalive = tcb.options.keepalive && tcb.timers.keepalive == Instant::NEVER;
    if begins_keepalive || !is_idle(tcb, env) {
        push_all(tcb, env);
    }
}

/// Whether there is nothing to send at all: no data, no FIN and no ACK, and the path is what it was.
#[inline]
pub(super) fn is_idle<E: Egress>(tcb: &Tcb, env: &Env<'_, E>) -> bool {
    tcb.state == State::Established
        && !tcb.owed.now
        && !tcb.snd.shut
        && !tcb.sent.has_lost()
        && tcb.sent.next_unsent().is_none()
        && tcb.snd.path_epoch == env.shared.paths.epoch()
}

#[inline(never)]
fn push_all<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if tcb.options.keepalive && tcb.timers.keepalive == Instant::NEVER && tcb.state.is_synchronized() {
        tcb.timers.keepalive = tcb.rcv.heard_at + tcb.options.keepalive_idle();
    }
    data(tcb, env, false);
    acknowledge(tcb, env);
}

/// Sends what waits under a cork or for company, once.
pub fn uncork<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    tcb.role.held = false;
    data(tcb, env, true);
}

/// An ACK, if one is due and nothing carried it.
#[inline]
pub(super) fn acknowledge<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if tcb.owed.now && (tcb.state.is_synchronized() || tcb.state == State::SynReceived) {
        ack_now(tcb, env);
    }
}

/// An ACK at once. When it finds no way out it stays owed.
pub(super) fn ack_now<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let seq = tcb.snd.nxt;
    let sent = transmit(tcb, env, seq, Flags::ACK, Body::None);
    if attempt(tcb, env, sent) == Attempt::Blocked {
        tcb.owed.now = true;
    } else {
        tcb.owed.sent();
        tcb.timers.ack = Instant::NEVER;
    }
}

/// As [`send_syn`], for whom nobody waits with an answer: a connect whose next hop does not answer fails.
pub(super) fn handshake<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if send_syn(tcb, env) == Err(Unsent::NeighbourFailed) && tcb.state == State::SynSent {
        env.stats.tcp_attempt_fails += 1;
        tcb.end(Some(SocketError::HostUnreachable), env.pool, env.segs);
    }
}

/// Sends SYN or SYN-ACK, by the state, and sets the retransmission timer (RFC 6298 §5.1).
pub(super) fn send_syn<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Result<(), Unsent> {
    let flags = if tcb.state == State::SynSent { Flags::SYN } else { Flags::SYN | Flags::ACK };
    let seq = tcb.snd.iss;
    // RFC 7413 §4.1.3: what was queued before the SYN goes with it, if it is the first.
    let data = tcb.sent.next_unsent().filter(|_| tcb.state == State::SynSent && !tcb.role.syn_sent);
    let sent = transmit(tcb, env, seq, flags, data.map_or(Body::None, Body::Queued));
    if attempt(tcb, env, sent) == Attempt::Blocked {
        return sent;
    }
    if let Some(at) = data {
        let len = env.segs.slot(at).len();
        stamp(tcb, env, at, len);
        tcb.snd.nxt += len;
        tcb.sent.sent(env.segs, env.now);
    }
    tcb.role.syn_again = tcb.role.syn_sent;
    tcb.role.syn_sent = true;
    tcb.snd.sent_at = env.now;
    tcb.await_ack(Await::Rto, tcb.rto.due(env.now));
    sent
}

/// Data: first what was lost, then what is new, then the FIN. `forced`: neither cork nor Nagle may hold it.
#[inline]
pub(super) fn data<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, forced: bool) {
    if !(tcb.state.may_transmit() || tcb.is_open_early() && tcb.role.syn_sent) {
        if matches!(tcb.state, State::SynSent | State::SynReceived) && !tcb.role.syn_sent {
            handshake(tcb, env);
        }
        return;
    }
    if tcb.snd.path_epoch != env.shared.paths.epoch() {
        tcb.follow_path(env);
    }
    let resends = tcb.sent.has_lost() && !tcb.recovery.frto.holds_back();
    if resends && !resend(tcb, env) {
        return;
    }
    if tcb.sent.next_unsent().is_some() || (tcb.snd.shut && !tcb.snd.fin_sent) {
        send_new(tcb, env, forced);
    }
}

/// Sends lost segments again while the window allows. False when the way out is blocked.
fn resend<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> bool {
    while let Some(at) = tcb.sent.next_lost() {
        let slot = env.segs.slot(at);
        let (seq, len) = (slot.seq, slot.len().min(u32::from(tcb.snd.mss)));
        let first = seq == tcb.snd.una;
        // The peer may have taken window back; the oldest octet may always be tried.
        if !cwnd_allows(tcb, len) || !(first || (seq + len).at_or_before(tcb.snd.wnd_end())) {
            break;
        }
        if !pace_allows(tcb, env) {
            return false;
        }
        if !resend_one(tcb, env, at) {
            return false;
        }
        if first {
            // What the timer now waits for was sent now.
            tcb.await_ack(Await::Rto, tcb.rto.due(env.now));
        }
    }
    true
}

/// Sends the lost segment at `at` again. False when the way out is blocked.
pub(super) fn resend_one<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, at: FrameIndex) -> bool {
    let Some(len) = copy(tcb, env, at) else { return false };
    tcb.recovery.on_sent(len);
    if tcb.recovery.phase != Phase::Open {
        tcb.recovery.doubt.on_resend(tcb.ts.on.then(|| tcb.ts.val(env.now)));
    }
    true
}

/// Sends a copy of the segment at `at`: how many octets. None when the way out is blocked.
fn copy<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, at: FrameIndex) -> Option<u32> {
    loop {
        if !fits(tcb, env, at) {
            return None;
        }
        let slot = env.segs.slot(at);
        let (seq, len) = (slot.seq, slot.len());
        let flags = flags_for(tcb, at, env);
        let sent = transmit(tcb, env, seq, flags, Body::Queued(at));
        match attempt(tcb, env, sent) {
            Attempt::Sent => {
                stamp(tcb, env, at, len);
                tcb.sent.sent_again(env.segs, at, env.now);
                took_fin(tcb, flags);
                tcb.counts.retransmits += 1;
                tcb.tally.retrans = tcb.tally.retrans.saturating_add(len);
                env.stats.tcp_retransmits += 1;
                return Some(len);
            }
            Attempt::Blocked => return None,
            Attempt::Narrower => {}
        }
    }
}

/// A tail loss probe: new data if there is and the peer's window takes it, else the last segment again (RFC 8985
/// §7.3). Congestion control is not asked. None when nothing was sent; else whether it was a copy.
pub(super) fn probe_tail<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Option<bool> {
    if let Some(at) = tcb.sent.next_unsent() {
        let candidate =
            Candidate { len: env.segs.slot(at).len(), last: tcb.sent.is_tail(at), urgent: true, held: false };
        if let Decision::Send(len) = tcb.snd.decide(candidate) {
            return send_first_time(tcb, env, at, len).then_some(false);
        }
    }
    if let Some(at) = tcb.sent.last_sent(env.segs) {
        return copy(tcb, env, at).map(|_| true);
    }
    fin(tcb, env);
    tcb.counts.retransmits += 1;
    env.stats.tcp_retransmits += 1;
    Some(true)
}

fn send_new<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, forced: bool) {
    let nxt = tcb.snd.nxt;
    send_while_allowed(tcb, env, forced);
    if tcb.snd.nxt != nxt {
        detect::start_timer(tcb, env);
    }
}

fn send_while_allowed<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, forced: bool) {
    restart_after_idle(tcb, env);
    if tcb.role.searches && plpmtud::probe(tcb, env) == Tried::Waits {
        return;
    }
    while let Some(at) = tcb.sent.next_unsent() {
        let last = tcb.sent.is_tail(at);
        let candidate = Candidate {
            len: env.segs.slot(at).len(),
            last,
            urgent: tcb.options.nodelay || tcb.snd.shut || forced || tcb.urgent.is_sending(),
            // In a burst a short one waits for the end: more may join it.
            held: (tcb.options.cork || tcb.role.held || env.burst) && !tcb.snd.shut && !forced,
        };
        match tcb.snd.decide(candidate) {
            Decision::NoWindow => return probe_later(tcb, env),
            Decision::Wait => {
                if candidate.held && !env.burst && tcb.timers.retry == Instant::NEVER {
                    tcb.timers.retry = env.now + CORK;
                }
                return;
            }
            Decision::Send(len) => {
                if !cwnd_allows(tcb, len) {
                    tcb.snd.cwnd_limited = true;
                    return;
                }
                if !pace_allows(tcb, env) {
                    return;
                }
                if !send_first_time(tcb, env, at, len) {
                    return;
                }
            }
        }
    }
    if tcb.snd.shut && !tcb.snd.fin_sent {
        fin(tcb, env);
    }
}

/// Sends the first `len` octets of the unsent segment at `at`. False when the way out is blocked.
pub(super) fn send_first_time<E: Egress>(
    tcb: &mut Tcb,
    env: &mut Env<'_, E>,
    at: FrameIndex,
    len: u32,
) -> bool {
    if len < env.segs.slot(at).len() && !tcb.sent.split(env.segs, env.pool, at, len) {
        blocked(tcb, env);
        return false;
    }
    let flags = flags_for(tcb, at, env);
    let seq = tcb.snd.nxt;
    let sent = transmit(tcb, env, seq, flags, Body::Queued(at));
    match attempt(tcb, env, sent) {
        Attempt::Blocked => return false,
        // The next round cuts it.
        Attempt::Narrower => return true,
        Attempt::Sent => {}
    }
    went(tcb, env, at, len, flags);
    true
}

/// The first unsent segment, at `at`, went out.
#[inline(always)]
pub(super) fn went<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, at: FrameIndex, len: u32, flags: Flags) {
    stamp(tcb, env, at, len);
    tcb.sent.sent(env.segs, env.now);
    tcb.snd.nxt += len;
    tcb.snd.sent_at = env.now;
    if len < u32::from(tcb.snd.mss) {
        tcb.snd.small_end = tcb.snd.nxt;
    }
    took_fin(tcb, flags);
    tcb.recovery.on_sent(len);
    if !tcb.awaits_ack() {
        tcb.await_ack(Await::Rto, tcb.rto.due(env.now));
    }
}

/// A FIN that no data carries, for the first time or again.
pub(super) fn fin<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let seq = tcb.sent.end;
    if !tcb.snd.fin_sent && seq.at_or_after(tcb.snd.wnd_end()) {
        return probe_later(tcb, env);
    }
    let sent = transmit(tcb, env, seq, Flags::FIN | Flags::ACK, Body::None);
    if attempt(tcb, env, sent) == Attempt::Blocked {
        return;
    }
    took_fin(tcb, Flags::FIN);
    if !tcb.awaits_ack() {
        tcb.await_ack(Await::Rto, tcb.rto.due(env.now));
    }
}

fn took_fin(tcb: &mut Tcb, flags: Flags) {
    if flags.has(Flags::FIN) && !tcb.snd.fin_sent {
        tcb.snd.fin_sent = true;
        tcb.snd.nxt += 1;
    }
}

/// PSH on the last of what is queued (RFC 9293 §3.9.1.2), FIN behind the last of all.
fn flags_for<E: Egress>(tcb: &Tcb, at: FrameIndex, env: &Env<'_, E>) -> Flags {
    if !tcb.sent.is_tail(at) {
        return Flags::ACK;
    }
    let fin_fits = tcb.snd.fin_sent || env.segs.slot(at).end().before(tcb.snd.wnd_end());
    match tcb.snd.shut && fin_fits {
        true => Flags::ACK | Flags::PSH | Flags::FIN,
        false => Flags::ACK | Flags::PSH,
    }
}

/// Cuts the segment at `at` to the MSS, if it is longer. False when there is no frame for the rest.
fn fits<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, at: FrameIndex) -> bool {
    let mss = u32::from(tcb.snd.mss);
    if env.segs.slot(at).len() <= mss || tcb.sent.split(env.segs, env.pool, at, mss) {
        return true;
    }
    blocked(tcb, env);
    false
}

/// Whether congestion control lets `len` octets more into the network. Never with nothing in flight could
/// it refuse: there would be no ACK to open it again.
#[inline(always)]
pub(super) fn cwnd_allows(tcb: &Tcb, len: u32) -> bool {
    let pipe = tcb.pipe();
    pipe == 0 || pipe + len <= tcb.cwnd()
}

/// Whether the pacer, if there is one, lets a segment go now. If not, its timer is set.
#[inline]
fn pace_allows<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) -> bool {
    match &mut tcb.meter {
        Some(meter) => meter.pacer.allows(u32::from(tcb.snd.mss), env.now),
        None => true,
    }
}

/// The segment at `at` went out, and does not count as in flight yet.
#[inline]
fn stamp<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, at: FrameIndex, len: u32) {
    if tcb.meter.is_some() {
        metered(tcb, env, at, len);
    }
}

#[inline(never)]
fn metered<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, at: FrameIndex, len: u32) {
    let pipe = tcb.pipe();
    let Some(meter) = &mut tcb.meter else { return };
    if pipe == 0 && meter.rate.is_app_limited() {
        tcb.cc.on_restart(env.now);
    }
    env.segs.set_stamp(at, meter.rate.on_sent(pipe, len, env.now));
    meter.pacer.on_sent(len, env.now);
}

/// The application comes with more only now that nothing waits and the window has room: the rate of what is in
/// flight is its own (draft-cheng-iccrg-delivery-rate-estimation §3.4).
pub(super) fn check_app_limited(tcb: &mut Tcb) {
    let pipe = tcb.pipe();
    let idle = tcb.sent.next_unsent().is_none() && !tcb.sent.has_lost() && pipe < tcb.cwnd();
    if let Some(meter) = &mut tcb.meter
        && idle
    {
        meter.rate.on_app_limited(pipe);
    }
}

/// After a pause the window tells of a network that was (RFC 5681 §4.1).
#[inline]
pub(super) fn restart_after_idle<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) {
    if tcb.snd.outstanding() == 0
        && tcb.recovery.phase == Phase::Open
        && env.now > tcb.rto.due(tcb.snd.sent_at)
    {
        tcb.cc.after_idle(env.now.since(tcb.snd.sent_at), tcb.rto.rto());
        tcb.snd.sent_at = env.now;
    }
}

/// The peer's window is shut. With nothing in flight only a probe can learn that it opened (RFC 9293
/// §3.8.6.1).
fn probe_later<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) {
    if tcb.snd.outstanding() == 0 && tcb.timers.retransmit == Instant::NEVER {
        (tcb.counts.probes, tcb.counts.probes_in_all) = (0, 0);
        tcb.snd.stalled_at = env.now;
        tcb.await_ack(Await::Persist, tcb.rto.due(env.now));
    }
}

/// Sends what little a window takes that is too small to be worth a segment (RFC 9293 §3.8.6.2.1, (4): the
/// override). False when it takes nothing.
pub(super) fn override_window<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> bool {
    let usable = tcb.snd.wnd_end().since(tcb.snd.nxt);
    if usable == 0 {
        return false;
    }
    match tcb.sent.next_unsent() {
        Some(at) => {
            let len = env.segs.slot(at).len().min(u32::from(tcb.snd.mss)).min(usable);
            send_first_time(tcb, env, at, len);
        }
        None => fin(tcb, env),
    }
    true
}

/// Sorts the reasons for which nothing went out.
pub(super) fn attempt<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, sent: Result<(), Unsent>) -> Attempt {
    match sent {
        Ok(()) => Attempt::Sent,
        Err(Unsent::NoFrames | Unsent::NoNeighbour | Unsent::Lent) => {
            blocked(tcb, env);
            Attempt::Blocked
        }
        Err(Unsent::TooBig) => {
            let before = tcb.snd.mss;
            tcb.refresh_mss(env);
            if tcb.snd.mss < before { Attempt::Narrower } else { Attempt::Sent }
        }
        // As if the network had lost it: what was refused now may pass when it is sent again.
        Err(unsent @ (Unsent::Denied | Unsent::Unreachable | Unsent::NeighbourFailed)) => {
            tcb.snd.soft_error = Some(unsent.into());
            Attempt::Sent
        }
    }
}

/// The application waits for frames that no ACK of its own will free: wakes it after a while.
pub(super) fn try_later<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) {
    blocked(tcb, env);
}

fn blocked<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) {
    let wait = BLOCKED_FIRST * (1 << tcb.counts.blocked.min(BLOCKED_DOUBLINGS));
    tcb.counts.blocked = tcb.counts.blocked.saturating_add(1);
    tcb.timers.retry = tcb.timers.retry.min(env.now + wait);
}
