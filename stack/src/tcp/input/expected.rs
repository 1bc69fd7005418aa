//! The ACK that everybody expects: of whole segments that were sent once, in their order, while nothing is lost,
//! SACKed, doubted or probed for. What is left of the fifth step then is little; a test holds it equal to the whole.

use core::time::Duration;

use super::ack::{self, heard, is_cwnd_limited, make_writable};
use crate::ip::Egress;
use crate::seq::Seq;
use crate::tcp::cc::Ack as Acked;
use crate::tcp::detect;
use crate::tcp::env::Env;
use crate::tcp::rack::Xmit;
use crate::tcp::tcb::Tcb;
use crate::time::Instant;
use crate::wire::tcp::Segment;

/// The segments that an ACK is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    segments: u32,
    octets: u32,
    /// When the oldest was sent, and where it ends.
    first: (Instant, Seq),
    /// When the youngest was sent.
    last: Instant,
}

/// The segments that an ACK of everything before `end`, which is beyond SND.UNA, is about, if it is an expected one. What
/// [`is_predicted`](super::is_predicted) says holds already.
#[inline]
pub(super) fn run<E: Egress>(tcb: &Tcb, end: Seq, env: &Env<'_, E>) -> Option<Run> {
    let calm = tcb.recovery.is_trusted()
        && !tcb.tlp.is_out()
        && !tcb.role.searches
        && tcb.meter.is_none()
        && tcb.sent.sacked.segments == 0;
    if !calm {
        return None;
    }
    let first = tcb.sent.head().filter(|at| *at == tcb.sent.flight.first)?;
    let mut slot = env.segs.slot(first);
    let sent = slot.xmit();
    // As [`Sent::is_overtaken`](crate::tcp::sent::Sent) says: it was sent before something that has arrived.
    if tcb.rack.is_after(sent) {
        return None;
    }
    let mut run = Run { segments: 0, octets: 0, first: (sent.xmit_ts, sent.end_seq), last: Instant::ZERO };
    loop {
        if slot.is_marked() || end.before(slot.end()) {
            return None;
        }
        run.segments += 1;
        run.octets += slot.len();
        run.last = slot.sent_at;
        if slot.end() == end {
            return Some(run);
        }
        let at = slot.newer;
        if at != slot.next || at == tcb.sent.unsent {
            return None;
        }
        slot = env.segs.slot(at);
    }
}

/// As [`established`](super::ack::established), for these segments.
#[inline]
pub(super) fn acknowledge<E: Egress>(tcb: &mut Tcb, seg: &Segment, run: Run, env: &mut Env<'_, E>) {
    let (flight, advance) = (tcb.pipe(), seg.ack - tcb.snd.una);
    heard(tcb, seg);
    let was_writable = tcb.is_writable();
    tcb.sent.pop(env.segs, env.pool, run.segments, run.octets);
    ack::advance(tcb, seg.ack);
    let rtt = env.now.micros_since(run.last);
    // Mostly they left together, or there is but one.
    let longest = if run.first.0 == run.last { rtt } else { env.now.micros_since(run.first.0) };
    tcb.rto.on_micros(longest);
    make_writable(tcb, was_writable, env);
    tcb.rack.min_rtt.on_micros(rtt, env.now);
    if tcb.role.sack {
        tcb.rack.arrived(Xmit { xmit_ts: run.last, end_seq: seg.ack }, true, rtt);
        if tcb.rack.detect_reordering(Some(run.first.1), seg.ack) {
            env.stats.tcp_sack_reorder += 1;
            tcb.tally.reorderings = tcb.tally.reorderings.saturating_add(1);
        }
        tcb.rack.on_ack(tcb.snd.una, tcb.snd.nxt, false);
    }
    tcb.recovery.on_advance(tcb.snd.una, advance, u32::from(tcb.snd.mss));
    detect::restart_timer(tcb, env);
    if is_cwnd_limited(tcb, flight) {
        let acked = Acked {
            acked: run.octets,
            app_limited: false,
            una: tcb.snd.una,
            nxt: tcb.snd.nxt,
            rtt: Some(env.now.since(run.first.0)),
            srtt: tcb.rto.srtt().unwrap_or(Duration::ZERO),
        };
        tcb.cc.on_ack(&acked, env.now);
    } else {
        tcb.cc.on_ack_of_little(env.now);
    }
    tcb.snd.cwnd_limited = false;
}
