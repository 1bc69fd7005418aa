//! Handshakes that peers began: requests, cookies, and the connections that come of them (RFC 4987).

use std::sync::Arc;

use super::Stack;
use super::entry::{Begin, Body, Connection, Entry, Listener, Stage};
use super::tcp_rx::Incoming;
use crate::control::Request as ControlRequest;
use crate::demux::Keyed;
use crate::hash::HashKey;
use crate::ip::Flow;
use crate::ip::input::Reason;
use crate::seq::Seq;
use crate::socket::stored::Stored;
use crate::tcp::listen::FastOpenAnswer;
use crate::tcp::{Request, State, Tcb, expiry, input, listen};
use crate::time::Instant;
use crate::types::{Direction, FlowKey, SocketId, VerdictMemo};
use crate::wheel::Wheel;
use crate::wire::tcp::{Flags, Segment};

/// For so long after a cookie was given ACKs are tried for cookies (Linux: TCP_SYNCOOKIE_VALID).
const COOKIES_COME_BACK: core::time::Duration = core::time::Duration::from_secs(120);

/// What a segment that belongs to nothing says as a cookie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cookie {
    /// It is none, or none is taken.
    None,
    /// None of ours, or too old.
    Bad,
    /// One that was made lately.
    Good {
        /// The peer's segment size.
        mss: u16,
    },
}

/// One handshake under way.
#[derive(Clone, Copy, Debug)]
struct Pending {
    request: Request,
    listener: SocketId,
    /// The gate's verdict on the SYN.
    memo: VerdictMemo,
}

impl Default for Pending {
    fn default() -> Self {
        let listener = SocketId { index: u32::MAX, generation: 0 };
        Self { request: Request::default(), listener, memo: VerdictMemo::TOLD }
    }
}

/// All handshakes under way. When their listener stops they go with it.
#[derive(Debug)]
pub(super) struct Requests {
    pending: Keyed<Pending>,
    wheel: Wheel,
}

impl Requests {
    pub(super) fn new(key: HashKey, limit: u32) -> Self {
        Self { pending: Keyed::new(key, limit), wheel: Wheel::new() }
    }

    #[inline]
    pub(super) fn find(&self, key: &FlowKey) -> Option<u32> {
        self.pending.find(key)
    }

    /// When a SYN-ACK is to be sent again.
    pub(super) fn next_deadline(&self) -> Instant {
        self.wheel.next_deadline().unwrap_or(Instant::NEVER)
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        self.wheel.pop_due(now)
    }

    /// The flows of all of them.
    pub(super) fn flows(&self) -> impl Iterator<Item = FlowKey> {
        self.pending.flows()
    }

    /// Those of one listener.
    pub(super) fn of(&self, listener: SocketId) -> Vec<(FlowKey, Request)> {
        let of = |key: FlowKey| {
            let pending = self.pending.get(self.pending.find(&key)?)?;
            (pending.listener == listener).then_some((key, pending.request))
        };
        self.pending.flows().filter_map(of).collect()
    }

    /// Those of one listener are another's: how many.
    pub(super) fn bequeath(&mut self, from: SocketId, to: SocketId) -> u32 {
        let flows: Vec<FlowKey> = self.of(from).into_iter().map(|(key, _)| key).collect();
        for key in &flows {
            if let Some(pending) = self.find(key).and_then(|at| self.pending.get_mut(at)) {
                pending.listener = to;
            }
        }
        flows.len() as u32
    }

    /// One goes to another stack.
    pub(super) fn depart(&mut self, key: &FlowKey) {
        if let Some(at) = self.find(key) {
            self.remove(at);
        }
    }

    /// One comes from another stack. False when there is no room.
    pub(super) fn arrive(&mut self, key: &FlowKey, request: Request, listener: SocketId) -> bool {
        self.insert(key, Pending { request, listener, ..Pending::default() })
    }

    fn insert(&mut self, key: &FlowKey, pending: Pending) -> bool {
        let Some(at) = self.pending.insert(key, pending) else { return false };
        self.wheel.arm(at, pending.request.deadline());
        true
    }

    fn update(&mut self, at: u32, tcb: &Tcb) {
        if let Some(pending) = self.pending.get_mut(at) {
            pending.request.keep(tcb);
            pending.memo = tcb.flow.memo;
            self.wheel.arm(at, pending.request.deadline());
        }
    }

    fn remove(&mut self, at: u32) -> Option<Pending> {
        self.wheel.cancel(at);
        self.pending.remove(at)
    }
}

impl Stack {
    /// A connection request, which was judged. `iss`: the number to begin with, when a connection in TIME-WAIT had the tuple.
    pub(super) fn handshake(
        &mut self,
        now: Instant,
        parent: SocketId,
        incoming: Incoming,
        memo: VerdictMemo,
        iss: Option<Seq>,
    ) {
        let Incoming { seg, key, mut pkt, bytes, .. } = incoming;
        let exhausted = self.core.cannot_answer();
        let room = !self.requests.pending.is_full();
        let mode = self.core.config.tcp.syn_cookies;
        let Some(entry) = self.table.get_mut(parent) else { return self.core.pool.free(pkt) };
        let Entry { body: Body::Listener(listener), options, .. } = entry else {
            return self.core.pool.free(pkt);
        };
        let crowded = listener.requests >= listener.backlog || !room;
        let cookie = iss.is_none() && (mode == 2 || (mode == 1 && crowded));
        if exhausted || listener.is_full() || (crowded && !cookie) {
            return self.drop_packet(pkt, Reason::Backlog);
        }
        let flow = flow_of(key, memo, options);
        let (tcp, save_syn) = (options.tcp, options.save_syn);
        if cookie {
            listener.cookies_until = now + COOKIES_COME_BACK;
            self.core.pool.free(pkt);
            return listen::answer_with_cookie(&seg, flow, tcp, &mut self.core.env(now, false));
        }
        if save_syn != 0 {
            let headers = bytes - pkt.len();
            self.saved_syns.keep(&key, save_syn, (&mut self.core.pool, &mut pkt), headers);
        }
        let fast_open = self.judge_fast_open(now, parent, &seg, &flow);
        let mut env = self.core.env(now, false);
        env.stats.tcp_segs_in += 1;
        let mut tcb = listen::prepare(&seg, flow, tcp, iss, &mut env);
        match fast_open {
            FastOpenAnswer::Open { give } => {
                let mut tcb = listen::open_early(tcb, pkt, give, &mut env);
                let Some((options, _)) = self.listener(parent) else {
                    return tcb.release(&mut self.core.pool, &mut self.core.segs);
                };
                let steered = self.steer_accepted(key);
                return self.establish(now, parent, options, tcb, (steered, false));
            }
            FastOpenAnswer::Give => listen::answer_giving(&mut tcb, &mut env),
            FastOpenAnswer::Plain => listen::answer(&mut tcb, &mut env),
        }
        self.core.pool.free(pkt);
        let pending = Pending { request: Request::of(&seg, &tcb), listener: parent, memo };
        if self.requests.insert(&key, pending) {
            self.steer_accepted(key);
            if let Some(listener) = self.table.get_mut(parent).and_then(Entry::listener_mut) {
                listener.requests += 1;
            }
        } else {
            self.saved_syns.forget(&key);
        }
    }

    /// A segment for a handshake under way.
    pub(super) fn segment_for_request(&mut self, now: Instant, at: u32, incoming: Incoming, burst: bool) {
        let Some(&Pending { request, listener: parent, memo }) = self.requests.pending.get(at) else {
            return self.core.pool.free(incoming.pkt);
        };
        // Who listens no more has taken them along.
        let Some((options, listener)) = self.listener(parent) else {
            return self.drop_packet(incoming.pkt, Reason::NoSocket);
        };
        let crowded = listener.is_full();
        let mut flow = flow_of(incoming.key, memo, &options);
        let may = self.core.out.judge_in(&mut flow, incoming.bytes, incoming.road);
        if let Some(pending) = self.requests.pending.get_mut(at) {
            pending.memo = flow.memo;
        }
        if !may {
            return self.drop_packet(incoming.pkt, Reason::Denied);
        }
        if completes(&incoming.seg) && request.is_deferred(&incoming.seg, options.defer_accept) {
            self.core.stats.tcp_segs_in += 1;
            return self.core.pool.free(incoming.pkt);
        }
        if completes(&incoming.seg) && (crowded || self.table.is_full()) {
            // Linux ignores the last ACK of a handshake that finds the accept queue full; the SYN-ACK or the
            // peer's first data come again.
            return self.drop_packet(incoming.pkt, Reason::Backlog);
        }
        let mut env = self.core.env(now, burst);
        let mut tcb = request.revive(flow, options.tcp, &mut env);
        input::segment(&mut tcb, &incoming.seg, incoming.pkt, &mut env);
        match tcb.state {
            State::SynReceived => self.requests.update(at, &tcb),
            State::Closed => self.forget_request(at),
            _ => {
                // Its steering goes on: a packet that came between the end of one and the beginning of the other could
                // find another stack, which would reset it.
                self.drop_request(at);
                let steered = self.core.config.steer_each;
                self.establish(now, parent, options, tcb, (steered, burst));
            }
        }
    }

    /// The timer of a handshake under way.
    pub(super) fn retry_request(&mut self, now: Instant, at: u32) {
        let Some(&Pending { request, listener: parent, memo }) = self.requests.pending.get(at) else {
            return;
        };
        let key = self.requests.pending.flow(at);
        let (Some((options, _)), Some(key)) = (self.listener(parent), key) else {
            return self.forget_request(at);
        };
        let mut env = self.core.env(now, false);
        let mut tcb = request.revive(flow_of(key, memo, &options), options.tcp, &mut env);
        expiry::timers(&mut tcb, &mut env);
        match tcb.state {
            State::SynReceived => self.requests.update(at, &tcb),
            _ => self.forget_request(at),
        }
    }

    /// The cookie in a segment that belongs to nothing, while `parent` takes any.
    pub(super) fn cookie_of(&self, now: Instant, parent: SocketId, incoming: &Incoming) -> Cookie {
        let mode = self.core.config.tcp.syn_cookies;
        let Some(Entry { body: Body::Listener(listener), .. }) = self.table.get(parent) else {
            return Cookie::None;
        };
        if mode == 0 || !completes(&incoming.seg) || (now >= listener.cookies_until && mode != 2) {
            return Cookie::None;
        }
        let read = self.core.read_cookie(&incoming.key, &incoming.seg, now);
        read.map_or(Cookie::Bad, |mss| Cookie::Good { mss })
    }

    /// An ACK that brings a good cookie back, and was judged: it says the peer's segment size.
    pub(super) fn redeem_cookie(
        &mut self,
        now: Instant,
        parent: SocketId,
        incoming: Incoming,
        memo: VerdictMemo,
        mss: u16,
    ) {
        let no_room = self.table.is_full();
        let Some((options, listener)) = self.listener(parent) else {
            return self.drop_packet(incoming.pkt, Reason::NoSocket);
        };
        let crowded = listener.is_full();
        self.core.stats.tcp_syncookies_recv += 1;
        if crowded || no_room {
            // As for a request: the peer's first data bring the cookie again.
            return self.drop_packet(incoming.pkt, Reason::Backlog);
        }
        let mut env = self.core.env(now, false);
        let flow = flow_of(incoming.key, memo, &options);
        let mut tcb = listen::redeem_cookie(&incoming.seg, mss, flow, options.tcp, &mut env);
        input::segment(&mut tcb, &incoming.seg, incoming.pkt, &mut env);
        if tcb.state.is_synchronized() {
            let steered = self.steer_accepted(incoming.key);
            self.establish(now, parent, options, tcb, (steered, false));
        }
    }

    /// The handshake is done, or needs not be: a connection waits for `accept`.
    fn establish(
        &mut self,
        now: Instant,
        parent: SocketId,
        options: Arc<Stored>,
        tcb: Tcb,
        (steered, burst): (bool, bool),
    ) {
        let key = tcb.flow.key;
        let begin = if tcb.state == State::SynReceived { Begin::Early } else { Begin::Over };
        let connection = Connection {
            tcb,
            stage: Stage::Queued(parent, 0),
            attached: true,
            steered,
            begin,
            urgent: false,
        };
        let entry = Entry::new(0, options, Body::Connection(connection));
        match self.table.insert(entry) {
            Ok(id) => {
                self.attach(&key, id);
                self.enqueue(now, parent, id, 0);
                self.settle(id);
                if burst {
                    self.mark_dirty(id);
                }
            }
            Err(mut entry) => {
                // The table was not full a moment ago; should it ever be, the frames still go back.
                if let Some(connection) = entry.connection_mut() {
                    connection.tcb.release(&mut self.core.pool, &mut self.core.segs);
                }
                self.saved_syns.forget(&key);
                self.unsteer_flow(steered, key);
            }
        }
    }

    /// Where others may hear the endpoint that a connection came by, it is to be steered by itself.
    fn steer_accepted(&mut self, key: FlowKey) -> bool {
        let each = self.core.config.steer_each;
        if each {
            self.core.out.requests.push_back(ControlRequest::SteerNewFlow(key));
        }
        each
    }

    /// A handshake is over without a connection.
    pub(super) fn forget_request(&mut self, at: u32) {
        if let Some(key) = self.requests.pending.flow(at) {
            if let Some(pending) = self.requests.pending.get(at) {
                self.tell_handshake(key, pending.memo.road(), pending.request.answers());
            }
            self.drop_request(at);
            self.saved_syns.forget(&key);
            self.unsteer_flow(self.core.config.steer_each, key);
        }
    }

    /// So are all those of a listener that listens no more.
    pub(super) fn forget_requests(&mut self, listener: SocketId) {
        for (key, _) in self.requests.of(listener) {
            if let Some(at) = self.requests.find(&key) {
                self.forget_request(at);
            }
        }
    }

    /// Takes a handshake out of the tables.
    fn drop_request(&mut self, at: u32) {
        let Some(pending) = self.requests.remove(at) else { return };
        if let Some(listener) = self.table.get_mut(pending.listener).and_then(Entry::listener_mut) {
            listener.requests -= 1;
        }
    }

    pub(super) fn listener(&mut self, id: SocketId) -> Option<(Arc<Stored>, &mut Listener)> {
        let entry = self.table.get_mut(id)?;
        let Entry { body: Body::Listener(listener), options, .. } = entry else { return None };
        Some((options.clone(), listener))
    }
}

fn flow_of(key: FlowKey, memo: VerdictMemo, options: &Stored) -> Flow {
    let mut flow = Flow::new(key, Direction::In);
    flow.memo = memo;
    options.dress(&mut flow);
    flow
}

/// Whether a segment may end a handshake: it has an ACK and is no reset and no SYN.
fn completes(seg: &Segment) -> bool {
    seg.flags.has(Flags::ACK) && !seg.flags.has(Flags::RST | Flags::SYN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_takes_at_most_128_bytes_all_told() {
        // (Linux: 304 bytes of slab.)
        let bytes = Keyed::<Pending>::bytes_each() + Wheel::bytes_each();
        assert!(bytes <= 128, "{bytes} bytes");
    }
}
