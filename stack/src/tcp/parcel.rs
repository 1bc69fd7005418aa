//! A connection as bytes, to go on in another stack of the same host (as Linux's TCP_REPAIR and CRIU have it).
//!
//! What goes along is what the peer has been told and what the application has not read or the peer not acknowledged.
//! What can be learned again stays behind: segments out of order (RFC 2018 §8 lets a receiver forget them, the peer has
//! them still), the scoreboard, RACK's and recovery's state. What was in flight counts as sent once more at the moment
//! of arrival, so its round trips are ambiguous and its losses are found as any.

use core::time::Duration;

use nic::{Pkt, Pool};

use super::cc::Congestion;
use super::ecn::Ecn;
use super::env::Env;
use super::options::TcpOptions;
use super::output;
use super::rack::Rack;
use super::rcv::Rcv;
use super::segs::{NONE, SegTable};
use super::sent::Sent;
use super::snd::Snd;
use super::state::State;
use super::tally::Tally;
use super::tcb::{Role, Tcb};
use super::timers::Await;
use super::timestamps::Timestamps;
use super::urgent::{Octet, Urgent};
use crate::error::Fault;
use crate::ip::{Egress, Flow};
use crate::plain::{Plain, plain};
use crate::seq::Seq;
use crate::time::Instant;
use crate::types::{Direction, FlowKey, Protocol};
use crate::wire::tcp::Flags;

/// Changes with the meaning of any byte.
const VERSION: u16 = 3;
/// The most octets that any window promises (RFC 7323 §2.3).
const WINDOW_MOST: u32 = 1 << 30;
const SHIFT_MOST: u8 = 14;

plain!(Role {
    passive, orphan, sack, scaled, syn_sent, syn_again, fast_open, give_cookie, syn_data_acked,
} but { starved, held, searches });

plain!(Snd {
    iss, una, nxt, wnd, wl1, wl2, max_wnd, shift, peer_mss, small_end, shut, fin_sent, sent_at,
} but { mss, path_mtu, path_epoch, retries, cwnd_limited, stalled_at, soft_error });

plain!(Rcv { irs, nxt, edge, shift, last_ack, finished, shut, mss, heard_at } but { fin });
plain!(Timestamps { on, offset, recent, taken });
plain!(Urgent { octet, at, up, sending });
plain!(Tally {
    segs_in,
    data_segs_in,
    segs_out,
    data_segs_out,
    retrans,
    timed_out,
    timeouts,
    stalls,
    reorderings,
    una_wraps,
    nxt_wraps,
} but { timed_out_at });

plain!(TcpOptions {
    nodelay,
    cork,
    quickack,
    urgent_inline,
    path_mtu,
    keepalive,
    congestion,
    max_pacing_rate,
    keepalive_count,
    syn_retries,
    max_segment,
    keepalive_idle,
    keepalive_interval,
    user_timeout,
    linger2,
    window_clamp,
    not_sent_low_water,
    send_buffer,
    recv_buffer,
    send_locked,
    recv_locked,
});

impl Plain for Flags {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        u8::take(from).map(Flags)
    }
}

impl Plain for Octet {
    fn put(&self, to: &mut Vec<u8>) {
        let (kind, octet): (u8, u8) = match self {
            Octet::None => (0, 0),
            Octet::Awaited => (1, 0),
            Octet::Here(octet) => (2, *octet),
            Octet::Read => (3, 0),
        };
        (kind, octet).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        match <(u8, u8)>::take(from)? {
            (0, _) => Some(Octet::None),
            (1, _) => Some(Octet::Awaited),
            (2, octet) => Some(Octet::Here(octet)),
            (3, _) => Some(Octet::Read),
            _ => None,
        }
    }
}

/// The states in which a connection can go elsewhere: both SYNs are acknowledged, and it is not over.
const TRAVELLING: [State; 6] =
    [State::Established, State::FinWait1, State::FinWait2, State::CloseWait, State::Closing, State::LastAck];

impl State {
    /// Whether a connection in this state can go to another stack.
    pub fn may_travel(self) -> bool {
        TRAVELLING.contains(&self)
    }
}

impl Plain for State {
    fn put(&self, to: &mut Vec<u8>) {
        self.number().put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let number = u8::take(from)?;
        TRAVELLING.into_iter().find(|state| state.number() == number)
    }
}

/// A connection on its way. One that came as bytes was looked at: it contradicts itself nowhere.
#[derive(Debug)]
pub struct Parcel {
    key: FlowKey,
    /// We opened it.
    outward: bool,
    state: State,
    role: Role,
    snd: Snd,
    rcv: Rcv,
    ts: Timestamps,
    urgent: Urgent,
    tally: Tally,
    ecn: u8,
    retransmits: u32,
    /// SRTT and RTTVAR in microseconds.
    rtt: (u32, u32),
    /// The congestion window and the slow start threshold.
    window: (u32, u32),
    /// The sizes to which the buffers have grown: send, receive.
    buffers: Option<(u32, u32)>,
    /// When an orphan stops waiting for the peer's FIN.
    patience: Instant,
    /// What the application has not read.
    received: Vec<u8>,
    /// What the peer has not acknowledged.
    unacknowledged: Vec<u8>,
}

impl Parcel {
    /// What is to travel of `tcb`, which is in a state in which it [may](State::may_travel).
    pub fn of(tcb: &Tcb, segs: &SegTable, pool: &Pool) -> Self {
        debug_assert!(tcb.state.may_travel());
        let micros = |d: Duration| u32::try_from(d.as_micros()).unwrap_or(u32::MAX);
        let mut received = Vec::with_capacity(tcb.inbox.octets as usize);
        let copied = tcb.inbox.peek(segs, pool, 0..tcb.inbox.octets as usize, |piece| {
            received.extend_from_slice(piece);
            Ok::<_, Fault>(())
        });
        debug_assert_eq!(copied, Ok(tcb.inbox.octets as usize));
        let mut unacknowledged = Vec::with_capacity(tcb.sent.octets as usize);
        let mut at = tcb.sent.list.head;
        while at != NONE {
            let slot = segs.slot(at);
            unacknowledged.extend_from_slice(pool.bytes(slot.pkt()));
            at = slot.next;
        }
        Self {
            key: tcb.flow.key,
            outward: tcb.flow.direction == Direction::Out,
            state: tcb.state,
            role: tcb.role,
            snd: tcb.snd.clone(),
            rcv: tcb.rcv.clone(),
            ts: tcb.ts,
            urgent: tcb.urgent,
            tally: tcb.tally,
            ecn: tcb.ecn.0,
            retransmits: tcb.counts.retransmits,
            rtt: (tcb.rto.srtt().map_or(0, micros), micros(tcb.rto.rttvar())),
            window: (tcb.cc.cwnd(), tcb.cc.ssthresh()),
            buffers: tcb.buffers.as_ref().map(|b| (b.send, b.recv)),
            patience: tcb.timers.state,
            received,
            unacknowledged,
        }
    }

    /// Appends it as bytes.
    pub fn write(&self, to: &mut Vec<u8>) {
        VERSION.put(to);
        (self.key.local, self.key.remote).put(to);
        (self.outward, self.state).put(to);
        self.role.put(to);
        self.snd.put(to);
        self.rcv.put(to);
        self.ts.put(to);
        self.urgent.put(to);
        self.tally.put(to);
        (self.ecn, self.retransmits).put(to);
        (self.rtt, self.window).put(to);
        (self.buffers, self.patience).put(to);
        self.received.put(to);
        self.unacknowledged.put(to);
    }

    /// Takes one off the front of `from`. None when it is not one, of another version, or makes no sense.
    pub fn read(from: &mut &[u8]) -> Option<Self> {
        if u16::take(from)? != VERSION {
            return None;
        }
        let (local, remote) = Plain::take(from)?;
        let (outward, state) = Plain::take(from)?;
        let (role, snd, rcv) = (Plain::take(from)?, Plain::take(from)?, Plain::take(from)?);
        let (ts, urgent, tally) = (Plain::take(from)?, Plain::take(from)?, Plain::take(from)?);
        let (ecn, retransmits) = Plain::take(from)?;
        let (rtt, window) = Plain::take(from)?;
        let (buffers, patience) = Plain::take(from)?;
        let (received, unacknowledged) = (Plain::take(from)?, Plain::take(from)?);
        let key = FlowKey { protocol: Protocol::Tcp, local, remote };
        let parcel = Self {
            key,
            outward,
            state,
            role,
            snd,
            rcv,
            ts,
            urgent,
            tally,
            ecn,
            retransmits,
            rtt,
            window,
            buffers,
            patience,
            received,
            unacknowledged,
        };
        parcel.is_sound().then_some(parcel)
    }

    /// The five-tuple.
    pub fn key(&self) -> FlowKey {
        self.key
    }

    /// Who opened it.
    pub fn direction(&self) -> Direction {
        if self.outward { Direction::Out } else { Direction::In }
    }

    /// Whether nobody holds it any more.
    pub fn is_orphan(&self) -> bool {
        self.role.orphan
    }

    /// Our FIN is acknowledged.
    fn fin_acked(&self) -> bool {
        self.snd.fin_sent && self.snd.una == self.snd.nxt
    }

    /// The sequence number of the first octet that is not acknowledged.
    fn first(&self) -> Seq {
        if self.fin_acked() { self.snd.una - 1 } else { self.snd.una }
    }

    fn is_sound(&self) -> bool {
        self.is_spoken_of_soundly() && self.is_sent_soundly() && self.is_received_soundly()
    }

    /// The ends, the state and what it implies (RFC 9293 §3.3.2).
    fn is_spoken_of_soundly(&self) -> bool {
        let (local, remote) = (self.key.local, self.key.remote);
        let ends = local.is_ipv4() == remote.is_ipv4() && local.port() != 0 && remote.port() != 0;
        let closed_here = self.snd.shut;
        let closed_there = self.rcv.finished;
        ends && match self.state {
            State::Established => !closed_here && !closed_there,
            State::FinWait1 => closed_here && !self.fin_acked() && !closed_there,
            State::FinWait2 => closed_here && self.fin_acked() && !closed_there,
            State::CloseWait => !closed_here && closed_there,
            State::Closing | State::LastAck => closed_here && !self.fin_acked() && closed_there,
            _ => false,
        }
    }

    fn is_sent_soundly(&self) -> bool {
        let snd = &self.snd;
        let Ok(len) = u32::try_from(self.unacknowledged.len()) else { return false };
        let end = self.first() + len;
        let scale = snd.shift <= SHIFT_MOST && (self.role.scaled || snd.shift == 0);
        let windows = snd.wnd <= WINDOW_MOST && snd.max_wnd <= WINDOW_MOST;
        let sent = match snd.fin_sent {
            true => snd.shut && snd.nxt == end + 1,
            false => (snd.nxt - snd.una) <= len,
        };
        len <= WINDOW_MOST && scale && windows && sent && snd.iss.before(snd.una + WINDOW_MOST)
    }

    fn is_received_soundly(&self) -> bool {
        let rcv = &self.rcv;
        let scale = rcv.shift <= SHIFT_MOST && (self.role.scaled || rcv.shift == 0);
        let queued = self.received.len() <= WINDOW_MOST as usize;
        scale && queued && rcv.nxt.at_or_before(rcv.edge) && rcv.edge - rcv.nxt <= WINDOW_MOST
    }

    /// The connection, in another stack; `flow` is its five-tuple with the options of its packets. None when there
    /// are not enough frames: it can be tried again.
    pub fn unpack<E: Egress>(&self, flow: Flow, options: TcpOptions, env: &mut Env<'_, E>) -> Option<Tcb> {
        let mut tcb = Tcb::new(flow, options, self.state, Some(self.snd.iss), env);
        tcb.role = self.role;
        tcb.snd = self.snd.clone();
        tcb.snd.sent_at = tcb.snd.sent_at.min(env.now);
        tcb.rcv = self.rcv.clone();
        tcb.rcv.heard_at = tcb.rcv.heard_at.min(env.now);
        tcb.rcv.fin = tcb.rcv.finished.then(|| tcb.rcv.nxt - 1);
        tcb.ts = self.ts.arrived(env.now);
        tcb.urgent = self.urgent;
        tcb.tally = self.tally;
        tcb.counts.retransmits = self.retransmits;
        tcb.ecn = Ecn(self.ecn);
        tcb.rack = Rack::new(tcb.snd.una);
        tcb.sent = Sent::new(self.first());
        let micros = |n: u32| Duration::from_micros(n.into());
        tcb.rto.resume(micros(self.rtt.0), micros(self.rtt.1));
        tcb.refresh_mss(env);
        tcb.cc = Congestion::new(options.congestion, u32::from(tcb.snd.mss));
        tcb.cc.resume(self.window.0, self.window.1);
        if let Some((send, recv)) = self.buffers {
            let buffers = tcb.buffers.get_or_insert_default();
            let config = env.config;
            buffers.send = send.min(u32::try_from(config.send_buffer_max).unwrap_or(u32::MAX));
            buffers.recv = recv.min(u32::try_from(config.recv_buffer_max).unwrap_or(u32::MAX));
        }
        if self.fill(&mut tcb, env).is_none() {
            tcb.release(env.pool, env.segs);
            return None;
        }
        self.set_timers(&mut tcb, env);
        Some(tcb)
    }

    fn set_timers<E: Egress>(&self, tcb: &mut Tcb, env: &Env<'_, E>) {
        if tcb.snd.outstanding() > 0 {
            tcb.await_ack(Await::Rto, tcb.rto.due(env.now));
        }
        if tcb.role.orphan && tcb.state == State::FinWait2 {
            let most = env.now + tcb.fin_wait(env.config.fin_timeout).unwrap_or_default();
            tcb.timers.state = self.patience.min(most);
        }
        if tcb.rcv.nxt != tcb.rcv.last_ack {
            tcb.owed.demand();
        }
    }

    /// Puts the octets into frames.
    fn fill<E: Egress>(&self, tcb: &mut Tcb, env: &mut Env<'_, E>) -> Option<()> {
        for piece in self.received.chunks(env.pool.payload_capacity()) {
            let seq = tcb.rcv.nxt;
            let pkt = framed(env.pool, piece)?;
            tcb.inbox.push(env.segs, env.pool, pkt, seq);
        }
        let in_flight = (tcb.snd.nxt - self.first()).min(self.unacknowledged.len() as u32);
        let (sent, unsent) = self.unacknowledged.split_at(in_flight as usize);
        let mss = usize::from(tcb.snd.mss);
        for piece in sent.chunks(mss) {
            let pkt = framed(env.pool, piece)?;
            tcb.sent.push(env.segs, pkt);
            let at = tcb.sent.list.tail;
            tcb.sent.sent(env.segs, env.now);
            env.segs.slot_mut(at).mark.ambiguous = true;
        }
        for piece in unsent.chunks(mss) {
            let pkt = framed(env.pool, piece)?;
            tcb.sent.push(env.segs, pkt);
        }
        Some(())
    }
}

/// A connection that arrived goes on: what it owes and what may be sent goes out.
pub fn go_on<E: Egress>(tcb: &mut Tcb, env: &mut Env<'_, E>) {
    let options = tcb.options;
    tcb.set_options(options, env.segs, env.now);
    output::push(tcb, env);
    tcb.wakes |= tcb.readiness();
}

fn framed(pool: &mut Pool, bytes: &[u8]) -> Option<Pkt> {
    let mut pkt = pool.alloc()?;
    let filled = pool.append_with(&mut pkt, bytes.len(), |room| {
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        Ok::<_, Fault>(n)
    });
    if filled == Some(Ok(bytes.len())) {
        return Some(pkt);
    }
    pool.free(pkt);
    None
}
