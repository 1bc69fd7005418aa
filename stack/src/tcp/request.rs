//! A connection request: SYN-RECEIVED without a `Tcb` (RFC 4987 §3.3, a "SYN cache").
//!
//! Kept is what cannot be computed again: the peer's SYN and our number in answer. For every event the `Tcb` that
//! would be there is [revived](Request::revive), handles it as any other does, and is forgotten but for this.

use super::ecn;
use super::env::Env;
use super::listen;
use super::options::TcpOptions;
use super::state::State;
use super::tcb::Tcb;
use crate::ip::{Egress, Flow};
use crate::plain::{Plain, plain};
use crate::seq::Seq;
use crate::time::Instant;
use crate::wire::tcp::{Flags, Options, Segment, TimestampsOption};

/// No window scaling.
const UNSCALED: u8 = u8::MAX;
/// RFC 7323 §2.3.
const SCALE_MOST: u8 = 14;
/// The longest time-out of a SYN-ACK (Linux: TCP_RTO_MAX).
const TIMEOUT_MOST: core::time::Duration = core::time::Duration::from_secs(120);

/// What a SYN asked for, and what came of it so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    deadline: Instant,
    sent_at: Instant,
    irs: Seq,
    iss: Seq,
    /// The right edge of the window that our SYN-ACK offered.
    edge: Seq,
    /// TSval of the SYN, later TS.Recent.
    ts_recent: u32,
    wnd: u16,
    mss: u16,
    flags: Flags,
    scale: u8,
    retries: u8,
    facts: Facts,
}

/// What holds or does not.
#[derive(Clone, Copy, Debug, Default)]
struct Facts(u8);

impl Facts {
    /// The SYN named an MSS.
    const MSS: u8 = 1;
    /// It offered SACK.
    const SACK: u8 = 1 << 1;
    /// It brought timestamps.
    const TIMESTAMPS: u8 = 1 << 2;
    /// It was answered.
    const SENT: u8 = 1 << 3;
    /// More than once.
    const AGAIN: u8 = 1 << 4;

    fn has(self, fact: u8) -> bool {
        self.0 & fact != 0
    }

    fn set(&mut self, fact: u8, holds: bool) {
        self.0 = if holds { self.0 | fact } else { self.0 & !fact };
    }
}

impl Plain for Facts {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        u8::take(from).map(Facts)
    }
}

plain!(Request { deadline, sent_at, irs, iss, edge, ts_recent, wnd, mss, flags, scale, retries, facts });

impl Request {
    /// What is to be kept of `tcb`, which is in SYN-RECEIVED and began with `syn`.
    pub fn of(syn: &Segment, tcb: &Tcb) -> Self {
        debug_assert_eq!(tcb.state, State::SynReceived);
        let mut request = Self::from_syn(syn, tcb.snd.iss);
        request.keep(tcb);
        request
    }

    /// A request as its SYN made it.
    pub(super) fn from_syn(syn: &Segment, iss: Seq) -> Self {
        let o = &syn.options;
        let mut facts = Facts::default();
        facts.set(Facts::MSS, o.mss.is_some());
        facts.set(Facts::SACK, o.sack_permitted);
        facts.set(Facts::TIMESTAMPS, o.timestamps.is_some());
        Self {
            deadline: Instant::NEVER,
            sent_at: Instant::ZERO,
            irs: syn.seq,
            iss,
            edge: syn.seq + 1,
            ts_recent: o.timestamps.map_or(0, |ts| ts.val),
            wnd: syn.wnd,
            mss: o.mss.unwrap_or(0),
            // The codepoint is not kept: it spoils an offer for good.
            flags: if ecn::is_offered(syn.flags, syn.ecn) {
                syn.flags
            } else {
                syn.flags.without(ecn::OFFER)
            },
            scale: o.window_scale.unwrap_or(UNSCALED),
            retries: 0,
            facts,
        }
    }

    /// One that came from another stack, if there can be such a one; its timer is due before long.
    pub fn arrived(mut self, now: Instant) -> Option<Self> {
        self.deadline = self.deadline.min(now + TIMEOUT_MOST);
        (self.scale <= SCALE_MOST || self.scale == UNSCALED).then_some(self)
    }

    /// Takes over what has changed in a `Tcb` that was revived from this.
    pub fn keep(&mut self, tcb: &Tcb) {
        self.deadline = tcb.timers.retransmit.min(tcb.timers.retry);
        self.sent_at = tcb.snd.sent_at;
        self.edge = tcb.rcv.edge;
        self.ts_recent = tcb.ts.recent;
        self.retries = tcb.snd.retries;
        self.facts.set(Facts::SENT, tcb.role.syn_sent);
        self.facts.set(Facts::AGAIN, tcb.role.syn_again);
    }

    /// How often the SYN was answered.
    #[must_use]
    pub fn answers(&self) -> u32 {
        1 + u32::from(self.retries)
    }

    /// The `Tcb` as it would be.
    pub fn revive<E: Egress>(&self, flow: Flow, options: TcpOptions, env: &mut Env<'_, E>) -> Tcb {
        let mut tcb = listen::prepare(&self.syn(), flow, options, Some(self.iss), env);
        tcb.rcv.edge = self.edge;
        tcb.snd.sent_at = self.sent_at;
        tcb.snd.stalled_at = self.sent_at;
        tcb.snd.retries = self.retries;
        // Each of them changed the label.
        tcb.flow.paths_tried = self.retries;
        // As Linux: what the SYN-ACK waited for in vain is one time-out and what follows.
        if self.retries > 0 {
            tcb.tally.timed_out(true, self.sent_at);
            tcb.tally.timeouts = self.retries.into();
        }
        tcb.role.syn_sent = self.facts.has(Facts::SENT);
        tcb.role.syn_again = self.facts.has(Facts::AGAIN);
        for _ in 0..self.retries {
            tcb.rto.back_off();
        }
        match self.facts.has(Facts::SENT) {
            true => tcb.timers.retransmit = self.deadline,
            false => tcb.timers.retry = self.deadline,
        }
        tcb
    }

    /// The SYN that began it, as far as it matters.
    fn syn(&self) -> Segment {
        let ts = TimestampsOption { val: self.ts_recent, ecr: 0 };
        Segment {
            seq: self.irs,
            flags: self.flags,
            wnd: self.wnd,
            options: Options {
                mss: self.facts.has(Facts::MSS).then_some(self.mss),
                window_scale: (self.scale != UNSCALED).then_some(self.scale),
                sack_permitted: self.facts.has(Facts::SACK),
                timestamps: self.facts.has(Facts::TIMESTAMPS).then_some(ts),
                ..Options::default()
            },
            ..Segment::default()
        }
    }

    /// Whether a listener that wants to hear of connections with their first data (TCP_DEFER_ACCEPT) still waits
    /// after `seg`: it only ends the handshake, and not so many SYN-ACKs were sent again yet (Linux: tcp_check_req).
    pub fn is_deferred(&self, seg: &Segment, retransmissions: u8) -> bool {
        let bare = seg.space() == 0 && seg.ack == self.iss + 1 && seg.seq == self.irs + 1;
        bare && self.retries < retransmissions
    }

    /// When its timer is due.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
