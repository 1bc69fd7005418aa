//! Passive open: segments that arrive at a listener (RFC 9293 §3.10.7.2).

use nic::Pkt;

use super::ecn::{self, Ecn};
use super::env::Env;
use super::fast_open::{self, Taken};
use super::input;
use super::options::TcpOptions;
use super::output;
use super::state::State;
use super::syn_cookies;
use super::tcb::Tcb;
use crate::ip::{Egress, Flow};
use crate::seq::Seq;
use crate::wire::tcp::{Flags, Segment};

/// What to do with a segment that no connection claims but a listener could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Drop it.
    Ignore,
    /// It belongs to nothing: [`reset::answer`](super::reset::answer).
    Reset,
    /// A connection request: [`syn`].
    Syn,
}

/// Sorts a segment that arrived in LISTEN.
pub fn check(seg: &Segment) -> Arrival {
    if seg.flags.has(Flags::RST) {
        // First, check for a RST.
        Arrival::Ignore
    } else if seg.flags.has(Flags::ACK) {
        // Second, check for an ACK.
        Arrival::Reset
    } else if seg.flags.has(Flags::SYN) && !seg.flags.has(Flags::FIN) {
        // Third, check for a SYN. One with a FIN is nobody's handshake.
        Arrival::Syn
    } else {
        // Fourth, other data or control.
        Arrival::Ignore
    }
}

/// Answers a SYN with a SYN-ACK; the connection is in SYN-RECEIVED. Should the SYN-ACK find no way out now,
/// the connection's timers send it. Data in the SYN is not kept: the peer sends it again.
pub fn syn<E: Egress>(seg: &Segment, flow: Flow, options: TcpOptions, env: &mut Env<'_, E>) -> Tcb {
    env.stats.tcp_segs_in += 1;
    let mut tcb = prepare(seg, flow, options, None, env);
    answer(&mut tcb, env);
    tcb
}

/// As [`syn`], but nothing is sent yet: [`answer`] does. `iss`: the number to begin with, when it is not the
/// clock's to say (RFC 6191, [`Request`](super::Request)).
pub fn prepare<E: Egress>(
    seg: &Segment,
    flow: Flow,
    options: TcpOptions,
    iss: Option<Seq>,
    env: &mut Env<'_, E>,
) -> Tcb {
    let mut tcb = Tcb::new(flow, options, State::SynReceived, iss, env);
    tcb.role.passive = true;
    // The SYN, however it was kept.
    tcb.tally.segs_in = 1;
    tcb.negotiate(seg.seq, &seg.options, env);
    tcb.ecn = Ecn::agreed(env.config.ecn != 0 && ecn::is_offered(seg.flags, seg.ecn));
    tcb.snd.wnd = u32::from(seg.wnd);
    tcb.snd.max_wnd = tcb.snd.wnd;
    (tcb.snd.wl1, tcb.snd.wl2) = (seg.seq, tcb.snd.iss);
    tcb
}

/// Sends the SYN-ACK of a connection that was prepared.
pub fn answer<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    output::handshake(tcb, env);
}

/// What a listener does with the Fast Open option of a SYN (RFC 7413 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastOpenAnswer {
    /// Nothing: an ordinary handshake.
    Plain,
    /// An ordinary handshake, with a cookie in the SYN-ACK.
    Give,
    /// The connection is there at once: [`open_early`].
    Open {
        /// And its SYN-ACK brings a newer cookie.
        give: bool,
    },
}

/// Judges the Fast Open option of a SYN at a listener that takes part.
pub fn fast_open<E: Egress>(seg: &Segment, flow: &Flow, env: &mut Env<'_, E>) -> FastOpenAnswer {
    let unasked = env.config.fast_open & fast_open::SERVER_WITHOUT_COOKIE != 0;
    match &seg.options.fast_open {
        _ if unasked && seg.len > 0 => FastOpenAnswer::Open { give: false },
        None => FastOpenAnswer::Plain,
        Some(cookie) if cookie.is_request() => {
            env.stats.tcp_fastopen_cookie_reqd += 1;
            FastOpenAnswer::Give
        }
        Some(cookie) => match env.shared.fast_open.take(&flow.key, cookie, env.now) {
            Taken::Good => FastOpenAnswer::Open { give: false },
            Taken::Old => FastOpenAnswer::Open { give: true },
            Taken::Wrong => {
                env.stats.tcp_fastopen_passive_fail += 1;
                FastOpenAnswer::Give
            }
        },
    }
}

/// Makes a connection of a SYN with a good cookie: its data can be read, and data sent, before the handshake is
/// over. It is answered.
pub fn open_early<E: Egress>(mut tcb: Tcb, payload: Pkt, give: bool, env: &mut Env<'_, E>) -> Tcb {
    env.stats.tcp_fastopen_passive += 1;
    tcb.role.fast_open = true;
    tcb.role.give_cookie = give;
    input::syn_data(&mut tcb, payload, env);
    answer(&mut tcb, env);
    tcb
}

/// Answers with a SYN-ACK that gives a cookie.
pub fn answer_giving<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    tcb.role.give_cookie = true;
    answer(tcb, env);
    // Once; the client has a better use for later ones.
    tcb.role.give_cookie = false;
}

/// Answers a SYN with a cookie (RFC 4987 §3.6); nothing is kept.
pub fn answer_with_cookie<E: Egress>(seg: &Segment, flow: Flow, options: TcpOptions, env: &mut Env<'_, E>) {
    let cookie = env.shared.cookies.number(&flow.key, seg, env.now);
    let mut offer = *seg;
    if offer.options.timestamps.is_none() {
        // There is no place to keep these: what is not offered in answer is not used.
        (offer.options.window_scale, offer.options.sack_permitted) = (None, false);
    }
    let mut tcb = prepare(&offer, flow, options, Some(cookie), env);
    if tcb.ts.on {
        let ms = env.now.as_millis() as u32;
        let stamp = syn_cookies::stamp(ms, seg, tcb.ecn.is_on());
        tcb.ts.offset = tcb.ts.offset.wrapping_sub(ms.wrapping_sub(stamp));
    } else {
        // There is no place to keep it.
        tcb.ecn = Ecn::default();
    }
    env.stats.tcp_segs_in += 1;
    env.stats.tcp_syncookies_sent += 1;
    answer(&mut tcb, env);
}

/// An ACK that acknowledges a cookie of ours, which says the peer's segment size: the connection in SYN-RECEIVED that it
/// belongs to. The ACK itself is still to be handled.
pub fn redeem_cookie<E: Egress>(
    ack: &Segment,
    mss: u16,
    flow: Flow,
    options: TcpOptions,
    env: &mut Env<'_, E>,
) -> Tcb {
    let offset = env.shared.isn.timestamp_offset(&flow.key);
    let syn = syn_cookies::recall(ack, mss, offset);
    let mut tcb = prepare(&syn, flow, options, Some(ack.ack - 1), env);
    tcb.role.syn_sent = true;
    // When the SYN-ACK was sent is not known, and its timestamp was no time: there is nothing to measure.
    tcb.role.syn_again = true;
    let room = tcb.room(env.pool);
    let _ = tcb.rcv.offer(room, tcb.recv_buffer(), Flags::SYN);
    tcb
}
