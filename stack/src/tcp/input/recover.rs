//! What an ACK means to loss recovery: RACK-TLP with SACK (RFC 8985), RFC 6582 without; F-RTO, Eifel and D-SACK for
//! recoveries that were not needed; the rate by RFC 9937.

use core::time::Duration;

use crate::ip::Egress;
use crate::seq::Seq;
use crate::tcp::detect;
use crate::tcp::env::Env;
use crate::tcp::frto::{self, Evidence};
use crate::tcp::plpmtud;
use crate::tcp::prr::Ack;
use crate::tcp::recovery::Phase;
use crate::tcp::scoreboard::Losses;
use crate::tcp::sent::Delivered;
use crate::tcp::tcb::Tcb;
use crate::tcp::timers::Await;
use crate::tcp::tlp::Outcome;
use crate::time::Instant;
use crate::wire::tcp::SackBlock;

/// A peer that reneged gets so much time to acknowledge, or half a round trip (Linux: tcp_check_sack_reneging).
const RENEGING: Duration = Duration::from_millis(10);

/// What an ACK brought.
#[derive(Debug)]
pub(super) struct News {
    /// Octets by which SND.UNA moved on.
    pub(super) advance: u32,
    /// It is a duplicate (RFC 5681 §2), or tells of octets that were not SACKed before (RFC 6675 §2).
    pub(super) duplicate: bool,
    /// It tells nothing at all: neither data nor a window.
    pub(super) empty: bool,
    pub(super) delivered: Delivered,
    /// A duplicate is reported (RFC 2883).
    pub(super) dsack: Option<SackBlock>,
    /// TSecr.
    pub(super) echo: Option<u32>,
    /// ECN's echo: a packet of ours met congestion.
    pub(super) ece: bool,
    /// Octets that were in flight before (RFC 9937 §6.1: RecoverFS).
    pub(super) recover_fs: u32,
}

pub(super) fn on_ack<E: Egress>(tcb: &mut Tcb, news: &News, env: &mut Env<'_, E>) {
    if tcb.role.sack {
        update_rack(tcb, news, env);
    }
    if tcb.tlp.is_out() {
        judge_probe(tcb, news, env);
    }
    if !tcb.recovery.is_trusted() {
        reconsider(tcb, news, env);
    }
    if tcb.recovery.phase == Phase::Loss {
        after_timeout(tcb, news, env);
    }
    let waiting = recover(tcb, news, env);
    set_timer(tcb, news, waiting, env);
}

/// RFC 8985 §6.2, steps 2 to 4.
#[inline]
fn update_rack<E: Egress>(tcb: &mut Tcb, news: &News, env: &mut Env<'_, E>) {
    let delivered = &news.delivered;
    if let Some(newest) = delivered.newest {
        let original = delivered.newest_once == Some(newest.xmit_ts);
        tcb.rack.update(newest, original, env.now);
    }
    if let Some(highest) = delivered.highest
        && tcb.rack.detect_reordering(delivered.original, highest)
    {
        env.stats.tcp_sack_reorder += 1;
        tcb.tally.reorderings = tcb.tally.reorderings.saturating_add(1);
    }
    if news.dsack.is_some() {
        env.stats.tcp_dsack_recv += 1;
    }
    // A probe that was not needed says nothing about reordering.
    let dsack = news.dsack.is_some_and(|block| !tcb.tlp.is_probe(block));
    tcb.rack.on_ack(tcb.snd.una, tcb.snd.nxt, dsack);
}

/// RFC 8985 §7.4.2.
fn judge_probe<E: Egress>(tcb: &mut Tcb, news: &News, env: &mut Env<'_, E>) {
    let dup = news.empty && news.advance == 0 && news.delivered.octets == 0;
    if tcb.tlp.on_ack(tcb.snd.una, news.dsack, dup) == Outcome::Repaired {
        env.stats.tcp_loss_probe_recovery += 1;
        tcb.ecn.on_reduction();
        if tcb.recovery.phase == Phase::Open {
            tcb.cc.on_congestion();
            tcb.cc.on_recovery_exit();
        }
    }
}

/// Whether the recovery was for nothing.
fn reconsider<E: Egress>(tcb: &mut Tcb, news: &News, env: &mut Env<'_, E>) {
    tcb.recovery.doubt.on_ack(tcb.snd.una);
    let echo = news.echo.filter(|_| news.advance > 0);
    let mss = u32::from(tcb.snd.mss);
    if echo.is_some_and(|ecr| tcb.recovery.doubt.eifel(ecr)) {
        match tcb.recovery.phase {
            Phase::Loss => env.stats.tcp_loss_undo += 1,
            _ if tcb.recovery.is_passed(tcb.snd.una) => env.stats.tcp_full_undo += 1,
            _ => env.stats.tcp_partial_undo += 1,
        }
        undo(tcb, env);
    } else if news.dsack.is_some_and(|block| tcb.recovery.doubt.on_duplicate(block, mss)) {
        env.stats.tcp_dsack_undo += 1;
        undo(tcb, env);
    }
}

/// The windows are as if the recovery had never been (RFC 4015 §3).
fn undo<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    tcb.sent.forgive(env.segs);
    tcb.rack.reordering_seen |= tcb.recovery.undo();
    tcb.cc.undo();
    tcb.ecn.on_undo();
}

/// F-RTO (RFC 5682 §3.1).
fn after_timeout<E: Egress>(tcb: &mut Tcb, news: &News, env: &mut Env<'_, E>) {
    let (una, nxt) = (tcb.snd.una, tcb.snd.nxt);
    let evidence = Evidence {
        original: news.delivered.original.is_some_and(|end| tcb.recovery.concerns(end)),
        advance: news.advance > 0,
        duplicate: news.duplicate,
        recovered: tcb.recovery.is_passed(una),
        sent_new: tcb.recovery.has_sent_new(nxt),
        may_send: tcb.sent.next_unsent().is_some() && tcb.snd.wnd_end().after(nxt),
    };
    match tcb.recovery.frto.on_ack(evidence) {
        frto::Verdict::Spurious => {
            env.stats.tcp_spurious_rtos += 1;
            env.stats.tcp_loss_undo += 1;
            undo(tcb, env);
        }
        frto::Verdict::SendNew => tcb.recovery.move_point(nxt),
        frto::Verdict::Resend => {}
    }
}

/// Begins, goes on with, or ends a recovery. True while reordering is given time.
fn recover<E: Egress>(tcb: &mut Tcb, news: &News, env: &mut Env<'_, E>) -> bool {
    let mss = u32::from(tcb.snd.mss);
    let una = tcb.snd.una;
    let reduced = tcb.recovery.phase == Phase::Cwr;
    if news.advance > 0 && tcb.recovery.on_advance(una, news.advance, mss) {
        tcb.cc.on_recovery_exit();
        if !reduced {
            tcb.recovery.doubt.end(tcb.snd.nxt);
            tcb.rack.on_recovery_exit();
        }
    }
    let mut credit = news.delivered.octets;
    if news.duplicate {
        // After a time-out only what was sent since then makes duplicates that count (RFC 5682 §3.1).
        let counts = tcb.recovery.phase != Phase::Loss || tcb.recovery.has_sent_new(tcb.snd.nxt);
        let blind = (!tcb.role.sack && counts).then_some(mss);
        tcb.recovery.on_dup_ack(blind, tcb.snd.outstanding());
        credit += blind.unwrap_or(0);
    } else if news.advance == 0 && credit == 0 && !news.ece {
        return tcb.awaits == Await::Reordering;
    }
    let losses = if tcb.role.sack { detect::losses(tcb, env) } else { count_duplicates(tcb, una, env) };
    if tcb.role.searches && plpmtud::explains(tcb, losses, env) {
        return losses.waiting;
    }
    let mut forced = false;
    match tcb.recovery.phase {
        // A copy that was lost too is a loss of its own (as in Linux's tcp_fastretrans_alert).
        Phase::Open | Phase::Cwr if losses.any => detect::enter_recovery(tcb, news.recover_fs, env),
        Phase::Loss if losses.copies > 0 => detect::enter_recovery(tcb, news.recover_fs, env),
        Phase::Fast if news.advance > 0 && !tcb.role.sack => {
            // A partial ACK: the next hole is at its end (RFC 6582 §3.2, step 3).
            forced = tcb.sent.lose_head(env.segs);
            credit = credit.min(mss);
        }
        Phase::Open if news.ece => slow_down(tcb, news.recover_fs, env),
        Phase::Fast | Phase::Cwr => {}
        Phase::Open | Phase::Loss => return losses.waiting,
    }
    let safe = news.advance > 0 && !losses.any && !forced;
    let ack = Ack { delivered: credit, in_flight: tcb.pipe(), safe, forced };
    tcb.recovery.on_delivered(ack, tcb.cc.ssthresh(), mss);
    losses.waiting
}

/// ECN's echo: as a loss to congestion control, but nothing is sent again, and once a round trip (RFC 3168 §6.1.2).
fn slow_down<E: Egress>(tcb: &mut Tcb, flight: u32, env: &mut Env<'_, E>) {
    env.stats.tcp_ecn_reductions += 1;
    tcb.cc.on_echo();
    tcb.tlp.end();
    tcb.ecn.on_reduction();
    tcb.recovery.slow_down(tcb.snd.nxt, flight);
}

/// Without SACK: three duplicate ACKs mean that the oldest segment is lost (RFC 5681 §3.2, RFC 6582 §3.2).
fn count_duplicates<E: Egress>(tcb: &mut Tcb, una: Seq, env: &mut Env<'_, E>) -> Losses {
    let threshold = tcb.recovery.threshold(tcb.snd.outstanding() / u32::from(tcb.snd.mss));
    let any = matches!(tcb.recovery.phase, Phase::Open | Phase::Cwr)
        && tcb.recovery.enough_dup_acks(una, threshold)
        && tcb.sent.lose_head(env.segs);
    Losses { any, ..Losses::default() }
}

/// RFC 6298 §5.3, RFC 8985 §8.
#[inline]
fn set_timer<E: Egress>(tcb: &mut Tcb, news: &News, waiting: bool, env: &mut Env<'_, E>) {
    if news.advance > 0 && tcb.role.sack && tcb.sent.is_reneged(env.segs) {
        let srtt = tcb.rto.srtt().unwrap_or(Duration::ZERO);
        return tcb.await_ack(Await::Rto, env.now + (srtt / 2).max(RENEGING));
    }
    if !waiting && (news.advance > 0 || is_late(tcb, news, env)) {
        detect::restart_timer(tcb, env);
    }
}

/// Whether what was SACKed now had been sent before the oldest segment was (again): then the time-out may be counted
/// from now, else it would be put off for as long as anything arrives (as in Linux's tcp_clean_rtx_queue).
fn is_late<E: Egress>(tcb: &Tcb, news: &News, env: &Env<'_, E>) -> bool {
    let Some(sent_at) = news.delivered.sent_at else { return false };
    tcb.sent.head().is_some_and(|at| sent_at < env.segs.slot(at).sent_at)
}

/// The last moment at which a copy was sent that this ACK can answer (RFC 8985 §6.2, step 2).
#[inline]
pub(super) fn answered<E: Egress>(tcb: &Tcb, echo: Option<u32>, env: &Env<'_, E>) -> Instant {
    if tcb.counts.retransmits == 0 {
        return env.now;
    }
    let by_rtt = env.now.minus_micros(tcb.rack.min_rtt.micros());
    echo.map_or(by_rtt, |ecr| by_rtt.min(tcb.ts.sent_by(ecr, env.now)))
}
