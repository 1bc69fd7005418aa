//! TCP segments in: gate, connection, TIME-WAIT, listener, or a reset.

use core::net::IpAddr;

use nic::{Pkt, RxChecksum};

use super::entry::Body;
use super::requests::Cookie;
use super::settle::{goes_on, settled};
use super::{STRAY_ANSWERS, Stack};
use crate::error::SocketError;
use crate::ip::Flow;
use crate::ip::input::{Arrived, Reason, is_intact};
use crate::socket::Result;
use crate::tcp::listen::{self, Arrival};
use crate::tcp::time_wait::Outcome;
use crate::tcp::{Predecessor, input, reset};
use crate::time::Instant;
use crate::types::{Direction, FlowKey, IfaceId, Protocol, Road, VerdictMemo};
use crate::wire::tcp::{CHECKSUM_AT, Flags, Segment};

/// A segment with its packet; the packet's window is the payload.
pub(super) struct Incoming {
    pub(super) seg: Segment,
    pub(super) key: FlowKey,
    pub(super) pkt: Pkt,
    /// Length of the IP packet, for the gate's counters.
    pub(super) bytes: usize,
    /// The interface by which it came, and as the gate numbers that.
    pub(super) iface: IfaceId,
    pub(super) road: Road,
}

impl Incoming {
    /// Whether its packet's headers lie in front of it: those of one that was put together of pieces do not.
    pub(super) fn has_headers(&self) -> bool {
        self.bytes > usize::from(self.seg.header_len) + self.pkt.len()
    }
}

/// Leaves of a packet's window what its segment carries.
#[inline]
fn cut_to_payload(pkt: &mut Pkt, arrived: &Arrived, seg: &Segment) {
    pkt.truncate(arrived.packet.end);
    pkt.trim_front(arrived.transport + usize::from(seg.header_len));
}

impl Stack {
    #[inline]
    pub(super) fn receive_tcp(
        &mut self,
        now: Instant,
        mut pkt: Pkt,
        (arrived, checksum): (&Arrived, RxChecksum),
        burst: bool,
    ) {
        if arrived.to_group {
            // RFC 9293 §3.9.2.3 MUST-57: not for TCP, and not worth an answer.
            return self.drop_packet(pkt, Reason::NotOurs);
        }
        let bytes = &self.core.pool.bytes(&pkt)[arrived.payload()];
        let Ok(mut seg) = Segment::parse(bytes) else { return self.drop_packet(pkt, Reason::BadHeader) };
        seg.ecn = arrived.ecn();
        if !is_intact(bytes, CHECKSUM_AT, arrived, checksum) {
            return self.drop_packet(pkt, Reason::L4Checksum);
        }
        if seg.src_port == 0 || seg.dst_port == 0 {
            return self.drop_packet(pkt, Reason::BadHeader);
        }
        match self.place_ahead(&arrived.words(Protocol::Tcp, seg.src_port, seg.dst_port)) {
            Some(place) => {
                let road = self.core.out.road_in(arrived.iface, arrived.home);
                cut_to_payload(&mut pkt, arrived, &seg);
                self.segment_for(now, place, &seg, (pkt, arrived.packet.len(), road), burst);
            }
            None => self.segment_of_none(now, pkt, arrived, seg, burst),
        }
    }

    /// An intact segment that is of no connection, in its packet.
    #[inline]
    pub(super) fn segment_of_none(
        &mut self,
        now: Instant,
        mut pkt: Pkt,
        arrived: &Arrived,
        seg: Segment,
        burst: bool,
    ) {
        cut_to_payload(&mut pkt, arrived, &seg);
        let key = arrived.flow(Protocol::Tcp, seg.src_port, seg.dst_port);
        let (iface, bytes) = (arrived.iface, arrived.packet.len());
        let road = self.core.out.road_in(iface, arrived.home);
        self.segment_elsewhere(now, Incoming { seg, key, pkt, bytes, iface, road }, burst);
    }

    /// A segment that is of no connection, or not yet, or no longer.
    #[inline(never)]
    pub(super) fn segment_elsewhere(&mut self, now: Instant, incoming: Incoming, burst: bool) {
        if let Some(at) = self.requests.find(&incoming.key) {
            return self.segment_for_request(now, at, incoming, burst);
        }
        self.core.out.gate.in_hand(Some(incoming.seg.flags.0));
        if let Some(at) = self.time_waits.find(&incoming.key) {
            self.segment_in_time_wait(now, at, incoming);
        } else {
            self.segment_for_nobody(now, incoming, None);
        }
        self.core.out.gate.in_hand(None);
    }

    /// A segment of the connection at `place`: its payload, the length of the IP packet and how that came.
    #[inline(always)]
    pub(super) fn segment_for(
        &mut self,
        now: Instant,
        place: u32,
        seg: &Segment,
        (pkt, bytes, road): (Pkt, usize, Road),
        burst: bool,
    ) {
        let Some((id, entry)) = self.table.named_mut(place) else {
            return self.drop_packet(pkt, Reason::NoSocket);
        };
        let Body::Connection(connection) = &mut entry.body else {
            return self.drop_packet(pkt, Reason::NoSocket);
        };
        if !self.core.out.judge_in(&mut connection.tcb.flow, bytes, road) {
            return self.drop_packet(pkt, Reason::Denied);
        }
        if !pkt.is_empty()
            && self.core.is_exhausted()
            && (connection.tcb.recv_queue() > 0 || self.core.is_drained())
        {
            // What is queued may not grow: the peer sends it again when the application has read.
            return self.drop_packet(pkt, Reason::NoFrames);
        }
        let (tcb, env) = (&mut connection.tcb, &mut self.core.env(now, burst));
        input::segment(tcb, seg, pkt, env);
        if burst && !entry.dirty {
            entry.dirty = true;
            self.dirty.push(id);
        }
        if burst && goes_on(entry) {
            // The end of the burst looks at it.
            return;
        }
        if !settled(entry, id, (&mut self.wakes, &mut self.wheel), &mut self.journal) {
            self.settle(id);
        }
    }

    fn segment_in_time_wait(&mut self, now: Instant, at: u32, incoming: Incoming) {
        let Some(record) = self.time_waits.get(at) else {
            return self.drop_packet(incoming.pkt, Reason::NoSocket);
        };
        let (mut state, mut flow) = (record.state, record.flow(incoming.key));
        if !self.core.out.judge_in(&mut flow, incoming.bytes, incoming.road) {
            return self.drop_packet(incoming.pkt, Reason::Denied);
        }
        let outcome = state.segment(&incoming.seg, &mut flow, &mut self.core.env(now, false));
        match outcome {
            Outcome::Stay => {
                self.core.pool.free(incoming.pkt);
                self.time_waits.update(at, state);
            }
            Outcome::Reuse => {
                self.end_time_wait(at);
                if self.core.config.steer_each && self.listener_for(&incoming.key).is_none() {
                    return self.begins_elsewhere(now, (&state, &mut flow), incoming);
                }
                // The listener counts it.
                self.core.stats.tcp_segs_in -= 1;
                self.segment_for_nobody(now, incoming, Some(state.predecessor()));
            }
        }
    }

    /// Forgets a connection in TIME-WAIT; its tuple is free.
    fn end_time_wait(&mut self, at: u32) {
        if let Some(over) = self.time_waits.remove(at) {
            self.unsteer_flow(over.steered, over.key);
        }
    }

    /// A segment that no connection claims; `old`: one did until now.
    pub(super) fn segment_for_nobody(&mut self, now: Instant, incoming: Incoming, old: Option<Predecessor>) {
        if self.departed.has(&incoming.key) {
            // Another stack has it, or will in a moment: who has it judges this.
            return self.segment_for_departed(now, incoming);
        }
        let mut flow = Flow::new(incoming.key, Direction::In);
        let listener = self.listener_for(&incoming.key);
        if listener.is_none()
            && let Some(to) = self.is_led_astray_from(&incoming)
        {
            return self.segment_led_astray(to, incoming);
        }
        let cookie = listener.map_or(Cookie::None, |at| self.cookie_of(now, at, &incoming));
        if matches!(cookie, Cookie::Good { .. }) {
            // Its SYN was told of, and nothing is kept between the two.
            flow.memo = VerdictMemo::TOLD;
        }
        if !self.core.out.judge_in(&mut flow, incoming.bytes, incoming.road) {
            return self.drop_packet(incoming.pkt, Reason::Denied);
        }
        let Some(listener) = listener else {
            return self.stray(now, incoming, &mut flow, true);
        };
        match listen::check(&incoming.seg) {
            Arrival::Syn if !self.core.out.gate.begins(now, &flow.memo, &flow.key, incoming.bytes) => {
                self.drop_packet(incoming.pkt, Reason::Denied);
            }
            Arrival::Syn => self.handshake(now, listener, incoming, flow.memo, old.map(|o| o.iss)),
            Arrival::Ignore => self.stray(now, incoming, &mut flow, false),
            Arrival::Reset => match cookie {
                Cookie::Good { mss } => self.redeem_cookie(now, listener, incoming, flow.memo, mss),
                Cookie::None | Cookie::Bad => {
                    self.core.stats.tcp_syncookies_failed += u64::from(matches!(cookie, Cookie::Bad));
                    self.stray(now, incoming, &mut flow, true);
                }
            },
        }
    }

    /// A segment that belongs to nothing.
    fn stray(&mut self, now: Instant, incoming: Incoming, flow: &mut Flow, answer: bool) {
        self.core.stats.tcp_segs_in += 1;
        self.drop_packet(incoming.pkt, Reason::NoSocket);
        let answered = answer && self.refuse(now, &incoming.seg, flow);
        self.note_told(now, &incoming.key, &incoming.seg, answered);
    }

    /// Whether a reset has gone out.
    fn refuse(&mut self, now: Instant, seg: &Segment, flow: &mut Flow) -> bool {
        if seg.flags.has(Flags::RST) {
            return false;
        }
        let allowed = self.resets.take(now, STRAY_ANSWERS);
        if allowed {
            reset::answer(seg, flow, &mut self.core.env(now, false));
        } else {
            self.core.stats.answers_limited += 1;
        }
        allowed
    }

    /// Whether `flow` can be had for an active open; a connection in TIME-WAIT may have to make room.
    ///
    /// # Errors
    /// `AddressNotAvailable` when it cannot.
    pub(super) fn take_tuple(&mut self, now: Instant, flow: &FlowKey) -> Result<Option<Predecessor>> {
        if self.connection_of(flow).is_some() || self.requests.find(flow).is_some() {
            return Err(SocketError::AddressNotAvailable);
        }
        let Some(at) = self.time_waits.find(flow) else { return Ok(None) };
        match self.time_waits.get(at) {
            Some(record) if !record.state.may_reuse(now) => Err(SocketError::AddressNotAvailable),
            record => {
                let old = record.map(|r| r.state.predecessor());
                self.end_time_wait(at);
                Ok(old)
            }
        }
    }

    /// The other end's address, when a segment is to be sent there and may not be for everybody.
    pub(super) fn is_one_host(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(a) => {
                !(a.is_multicast() || a.is_unspecified() || self.core.out.control.is_broadcast(a))
            }
            IpAddr::V6(a) => !(a.is_multicast() || a.is_unspecified()),
        }
    }
}
