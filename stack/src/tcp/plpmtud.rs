//! Packetization layer path MTU discovery (RFC 8899, RFC 4821): black holes are found, and longer packets are tried.
//! As Linux's tcp_mtu_probing says: 0 neither; 1 both, once time-outs show that something drops what is long; 2 a
//! path begins with what nearly every path takes, and is tried from there.
//!
//! What is found is the path's ([`PathMtus`](crate::ip::path_mtu::PathMtus)), so it holds for all connections to that
//! address. A probe is a segment of new data, longer than others: what it carries arrives with it or is sent again,
//! cut, and its loss says nothing about congestion (RFC 8899 §3, 7).

use core::num::NonZeroU16;

use nic::FrameIndex;

use super::env::Env;
use super::output;
use super::recovery::Phase;
use super::scoreboard::Losses;
use super::tcb::Tcb;
use crate::ip::Egress;
use crate::ip::path_mtu::PathMtus;
use crate::seq::Seq;
use crate::wire::tcp::TIMESTAMPS_LEN;

/// Time-outs in a row that make a black hole likely (Linux: tcp_retries1).
const TIMEOUTS: u8 = 3;
/// A segment that nearly every path takes (Linux: tcp_base_mss; RFC 8899 §5.1.2 has a packet of 1,200 octets).
const BASE_MSS: u16 = 1024;
/// Segments of congestion window below which nothing is tried (Linux: 11).
const WINDOW: u32 = 11;
/// Segments that must follow a probe, so that its loss is noticed at once: those that RACK or duplicate ACKs take.
const BEHIND: u32 = 4;

/// A probe in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// One past its last octet.
    end: Seq,
    /// The bytes of its packet.
    size: NonZeroU16,
}

/// What came of the wish to send a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// Nothing: other segments go.
    No,
    /// It waits for room in a window: others would take that.
    Waits,
    /// It is on its way, or the way is blocked.
    Sent,
}

/// The probe in flight.
#[inline]
fn out(tcb: &Tcb) -> Option<Probe> {
    tcb.buffers.as_ref().filter(|_| tcb.role.searches).and_then(|buffers| buffers.probe)
}

fn set(tcb: &mut Tcb, probe: Option<Probe>) {
    if let Some(buffers) = &mut tcb.buffers {
        buffers.probe = probe;
    }
}

/// The path is searched from now on, or not any more.
pub(super) fn search(tcb: &mut Tcb, on: bool) {
    if tcb.role.searches && !on {
        set(tcb, None);
    }
    tcb.role.searches = on;
}

/// The MTU to fall to from `path_mtu`, when headers take `headers` octets of it; no less than `least`.
fn fall_from(path_mtu: u16, headers: u16, least: u16) -> u16 {
    let mss = path_mtu.saturating_sub(headers);
    let fallen = if mss > BASE_MSS { BASE_MSS } else { mss / 2 };
    (fallen + headers).clamp(least.min(path_mtu), path_mtu)
}

/// A time-out: the path may drop what is long (RFC 8899 §4.3). If the oldest segment is, a shorter one is tried.
/// `before`: time-outs in a row before this one.
pub(super) fn timed_out<E: Egress>(tcb: &mut Tcb, before: u8, env: &mut Env<'_, E>) {
    // RFC 4821 §7.6.4: nothing is known of a probe in a window that was lost.
    set(tcb, None);
    if env.config.mtu_probing == 0 || before < TIMEOUTS || !tcb.options.path_mtu {
        return;
    }
    let (remote, headers) = (tcb.flow.remote(), tcb.headers());
    let mtu = fall_from(tcb.snd.path_mtu, headers, PathMtus::least(remote));
    let head = tcb.sent.head().map_or(0, |at| env.segs.slot(at).len());
    if head + u32::from(headers) > u32::from(mtu) {
        env.stats.tcp_mtu_black_holes += 1;
        env.shared.paths.search_from(remote, mtu, env.now);
        tcb.follow_path(env);
    }
}

/// The connection is open: with tcp_mtu_probing=2 its path is searched from the base on, unless it is known.
pub(super) fn begin<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    if env.config.mtu_probing < 2 || !tcb.options.path_mtu {
        return;
    }
    let (remote, headers) = (tcb.flow.remote(), tcb.headers());
    let base = (BASE_MSS + headers).max(PathMtus::least(remote));
    env.shared.paths.search_unless_known(remote, base, env.now);
    tcb.refresh_mss(env);
    tcb.cc.restart(u32::from(tcb.snd.mss));
}

/// A longer segment goes first, if the path is searched and enough follows (RFC 4821 §7.4; Linux: tcp_mtu_probe).
#[inline(never)]
pub(super) fn probe<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) -> Tried {
    let mss = u32::from(tcb.snd.mss);
    let disturbed = tcb.recovery.phase != Phase::Open || tcb.sent.sacked.segments > 0 || tcb.sent.has_lost();
    // Options that come and go change what a packet holds.
    let varies = tcb.reassembly.has_news() || tcb.urgent.is_sending();
    if tcb.buffers.is_none() || out(tcb).is_some() || disturbed || varies || tcb.cwnd() < WINDOW * mss {
        return Tried::No;
    }
    let remote = tcb.flow.remote();
    let overhead = tcb.headers() + if tcb.ts.on { TIMESTAMPS_LEN as u16 } else { 0 };
    let most = longest_packet(tcb, overhead, env);
    let Some(size) = env.shared.paths.wants(remote, most, env.now).and_then(NonZeroU16::new) else {
        search(tcb, false);
        return Tried::No;
    };
    let len = u32::from(size.get().saturating_sub(overhead));
    let needed = len + BEHIND * mss;
    if len <= mss || tcb.unsent() < needed || tcb.snd.wnd < needed {
        return Tried::No;
    }
    let pipe = tcb.pipe();
    if tcb.snd.wnd_end().since(tcb.snd.nxt) < needed || pipe + len > tcb.cwnd() {
        // An ACK will come as long as something is in flight.
        return if pipe > 0 { Tried::Waits } else { Tried::No };
    }
    let Some(at) = tcb.sent.gather(env.segs, env.pool, len) else { return Tried::No };
    launch(tcb, env, at, len, size);
    Tried::Sent
}

fn launch<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>, at: FrameIndex, len: u32, size: NonZeroU16) {
    let before = tcb.snd.nxt;
    output::send_first_time(tcb, env, at, len);
    if tcb.snd.nxt == before + len {
        env.stats.tcp_mtu_probes += 1;
        set(tcb, Some(Probe { end: tcb.snd.nxt, size }));
    }
}

/// The longest packet worth a try: what the first link, the peer, the application and a frame take.
fn longest_packet<E: Egress>(tcb: &mut Tcb, overhead: u16, env: &mut Env<'_, E>) -> u16 {
    let limit = tcb.options.max_segment.map_or(u16::MAX, NonZeroU16::get);
    let segment = tcb.snd.peer_mss.min(limit).saturating_add(tcb.headers());
    let frame = u16::try_from(env.pool.payload_capacity()).unwrap_or(u16::MAX).saturating_add(overhead);
    env.egress.mtu(&mut tcb.flow).min(segment).min(frame)
}

/// Everything up to SND.UNA has arrived, and the probe may be part of it: then the path is that wide.
#[inline(never)]
pub(super) fn on_advance<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let una = tcb.snd.una;
    if let Some(probe) = out(tcb).filter(|probe| una.at_or_after(probe.end)) {
        set(tcb, None);
        env.stats.tcp_mtu_probes_acked += 1;
        env.shared.paths.confirm(tcb.flow.remote(), probe.size.get(), env.now);
        tcb.refresh_mss(env);
    }
}

/// Segments were found lost. True when the probe is all that was: it was too long, or unlucky, and is sent again cut,
/// which is no business of congestion control's (RFC 8899 §3, 7; Linux: tcp_mtup_probe_failed).
pub(super) fn explains<E: Egress>(tcb: &mut Tcb, losses: Losses, env: &mut Env<'_, E>) -> bool {
    let Some(probe) = out(tcb).filter(|_| losses.any) else { return false };
    set(tcb, None);
    let alone = tcb.sent.lost.segments == 1 && losses.copies == 0;
    let is_it = tcb.sent.head().is_some_and(|at| {
        let slot = env.segs.slot(at);
        slot.end() == probe.end && slot.mark.is_missing()
    });
    if alone && is_it && tcb.recovery.phase == Phase::Open {
        env.shared.paths.lost(tcb.flow.remote(), probe.size.get());
        return true;
    }
    false
}

/// A router takes packets of `mtu` bytes: a longer probe is lost, and its octets are sent again at once.
pub(super) fn answered<E: Egress>(tcb: &mut Tcb, mtu: u16, env: &mut Env<'_, E>) {
    if out(tcb).is_some_and(|probe| probe.size.get() > mtu) {
        set(tcb, None);
        tcb.sent.lose_longer_than(env.segs, u32::from(tcb.snd.mss));
    }
}

/// The longest packet in flight: what a router may have found too long.
pub(super) fn longest_sent(tcb: &Tcb) -> u16 {
    out(tcb).map_or(tcb.snd.path_mtu, |probe| probe.size.get().max(tcb.snd.path_mtu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_falls_to_the_base_and_then_by_halves() {
        assert_eq!(fall_from(9000, 40, 552), 1064);
        assert_eq!(fall_from(1500, 40, 552), 1064);
        assert_eq!(fall_from(1064, 40, 552), 552);
        assert_eq!(fall_from(552, 40, 552), 552);
        assert_eq!(fall_from(1500, 60, 1280), 1280);
        assert_eq!(fall_from(1280, 60, 1280), 1280);
        assert_eq!(fall_from(300, 40, 552), 300);
    }
}
