//! Finds losses and enters recovery, when an ACK or the reordering timer says so; and sets the timer for what is in
//! flight (RFC 8985 §8).

use core::time::Duration;

use super::env::Env;
use super::rack::Path;
use super::recovery::Phase;
use super::scoreboard::Losses;
use super::tcb::Tcb;
use super::timers::Await;
use super::tlp;
use crate::ip::Egress;
use crate::time::Instant;

/// A deadline that has passed already is met so much later.
const SOON: Duration = Duration::from_millis(1);

/// RACK_detect_loss_and_arm_timer (RFC 8985 §6.2, step 5).
#[inline]
pub(super) fn losses<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Losses {
    // As nearly always: nothing that is on its way was overtaken.
    match tcb.sent.is_overtaken(env.segs, &tcb.rack) {
        true => overtaken(tcb, env),
        false => Losses::default(),
    }
}

#[inline(never)]
fn overtaken<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Losses {
    let reo_wnd = tcb.rack.reo_wnd(Path {
        recovering: matches!(tcb.recovery.phase, Phase::Fast | Phase::Loss),
        segs_sacked: tcb.sent.sacked.segments,
        srtt: tcb.rto.srtt().unwrap_or(Duration::ZERO),
    });
    let losses = tcb.sent.detect_loss(env.segs, &tcb.rack, reo_wnd, env.now);
    env.stats.tcp_lost_retransmit += u64::from(losses.copies);
    if losses.waiting {
        let at = tcb.rack.reordering_ends(reo_wnd).min(tcb.rto.due(env.now));
        tcb.await_ack(Await::Reordering, at);
    }
    losses
}

/// A loss was found: the fast recovery begins. `recover_fs` octets were in flight before.
pub(super) fn enter_recovery<E: Egress>(tcb: &mut Tcb, recover_fs: u32, env: &mut Env<'_, E>) {
    match tcb.role.sack {
        true => env.stats.tcp_sack_recovery += 1,
        false => env.stats.tcp_reno_recovery += 1,
    }
    let copies = tcb.sent.resent.segments + u32::from(tcb.tlp.has_copy_out());
    // A reduction for ECN in the same window is enough.
    if tcb.recovery.phase != Phase::Cwr {
        tcb.cc.on_congestion();
    }
    tcb.ecn.on_reduction();
    tcb.tlp.end();
    tcb.recovery.enter((tcb.snd.una, tcb.snd.nxt), recover_fs, copies);
}

/// Losses were found outside an ACK, before which `missing` octets were held to be lost: a rate sample counts them.
pub(super) fn tell_meter(tcb: &mut Tcb, missing: u32) {
    if let Some(meter) = &mut tcb.meter {
        meter.rate.on_loss(tcb.sent.missing_octets().saturating_sub(missing));
    }
}

/// Octets in flight that the peer is not known to have: RecoverFS (RFC 9937 §6.1).
pub(super) fn recover_fs(tcb: &Tcb) -> u32 {
    tcb.snd.outstanding().saturating_sub(tcb.sent.sacked.octets)
}

/// SND.UNA moved on: the timer starts anew (RFC 6298 §5.2, §5.3), that of the tail loss probe if it may.
#[inline]
pub(super) fn restart_timer<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) {
    if tcb.snd.outstanding() == 0 {
        return tcb.await_ack(Await::Rto, Instant::NEVER);
    }
    let rto = tcb.rto.due(env.now);
    if !schedule_probe(tcb, rto, env) {
        tcb.await_ack(Await::Rto, rto);
    }
}

/// New data was sent: the probe's timer starts anew (RFC 8985 §7.2). That of the RTO runs since the first of it.
#[inline]
pub(super) fn start_timer<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) {
    let rto = rto_of_oldest(tcb, env);
    schedule_probe(tcb, rto, env);
}

/// What the timer was set for happened: it is the RTO's again, from when the oldest segment was sent.
pub(super) fn return_to_rto<E: Egress>(tcb: &mut Tcb, env: &Env<'_, E>) {
    let at = rto_of_oldest(tcb, env).max(env.now + SOON);
    tcb.await_ack(Await::Rto, at);
}

fn rto_of_oldest<E: Egress>(tcb: &Tcb, env: &Env<'_, E>) -> Instant {
    let sent_at = tcb.sent.head().map_or(tcb.snd.sent_at, |at| env.segs.slot(at).sent_at);
    tcb.rto.due(sent_at)
}

/// TLP_calc_PTO (RFC 8985 §7.2) for what is in flight: not during a recovery, not while anything is SACKed, not while
/// a probe is out; and never later than the RTO, which falls due at `rto`.
#[inline]
fn schedule_probe<E: Egress>(tcb: &mut Tcb, rto: Instant, env: &Env<'_, E>) -> bool {
    let may = tcb.role.sack
        && tcb.state.is_synchronized()
        && matches!(tcb.recovery.phase, Phase::Open | Phase::Cwr)
        && tcb.sent.sacked.segments == 0
        && !tcb.tlp.is_out();
    if may {
        let segments = tcb.sent.segments + u32::from(tcb.snd.fin_sent);
        let pto = tlp::pto(tcb.rto.srtt_micros(), segments, tcb.rto.least_micros());
        tcb.await_ack(Await::Probe, env.now.plus_micros(pto).min(rto).max(env.now));
    }
    may
}
