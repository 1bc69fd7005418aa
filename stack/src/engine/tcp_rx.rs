//! TCP segments in: gate, connection, TIME-WAIT, listener, or a reset.

use core::net::{IpAddr, SocketAddr};

use nic::Pkt;

use super::entry::{Body, Connection, Entry, Holder, Stage};
use super::rx::Inbound;
use super::time_wait::Record;
use super::{STRAY_ANSWERS, Stack};
use crate::ip::Flow;
use crate::ip::input::{Reason, is_intact};
use crate::tcp::listen::{self, Arrival};
use crate::tcp::time_wait::Outcome;
use crate::tcp::{input, reset};
use crate::time::Instant;
use crate::types::{Direction, FlowKey, Protocol, SocketId};
use crate::wire::tcp::{CHECKSUM_AT, Flags, Segment};

/// A segment with its packet; the packet's window is the payload.
struct Incoming {
    seg: Segment,
    key: FlowKey,
    pkt: Pkt,
    /// Length of the IP packet, for the gate's counters.
    bytes: usize,
}

impl Stack {
    pub(super) fn receive_tcp(&mut self, now: Instant, inbound: Inbound, burst: bool) {
        let incoming = match self.read_segment(inbound) {
            Ok(incoming) => incoming,
            Err((pkt, reason)) => return self.drop_packet(pkt, reason),
        };
        match self.flows.get(&incoming.key) {
            Some(Holder::Socket(id)) => self.segment_for(now, id, incoming, burst),
            Some(Holder::TimeWait(id)) => self.segment_in_time_wait(now, id, incoming),
            None => self.segment_for_nobody(now, incoming),
        }
    }

    fn read_segment(&self, inbound: Inbound) -> Result<Incoming, (Pkt, Reason)> {
        let Inbound { mut pkt, arrived, checksum } = inbound;
        if arrived.to_group {
            // RFC 9293 §3.9.2.3 MUST-57: not for TCP, and not worth an answer.
            return Err((pkt, Reason::NotOurs));
        }
        let bytes = &self.core.pool.bytes(&pkt)[arrived.payload()];
        let seg = match Segment::parse(bytes) {
            Err(_) => return Err((pkt, Reason::BadHeader)),
            Ok(_) if !is_intact(bytes, CHECKSUM_AT, &arrived, checksum) => {
                return Err((pkt, Reason::L4Checksum));
            }
            Ok(seg) if seg.src_port == 0 || seg.dst_port == 0 => return Err((pkt, Reason::BadHeader)),
            Ok(seg) => seg,
        };
        let key = arrived.flow(Protocol::Tcp, seg.src_port, seg.dst_port);
        pkt.truncate(arrived.packet.end);
        pkt.trim_front(arrived.transport + usize::from(seg.header_len));
        Ok(Incoming { seg, key, pkt, bytes: arrived.packet.len() })
    }

    fn segment_for(&mut self, now: Instant, id: SocketId, incoming: Incoming, burst: bool) {
        let exhausted = self.core.is_exhausted();
        let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut) else {
            return self.drop_packet(incoming.pkt, Reason::NoSocket);
        };
        if !self.core.out.judge_in(&mut connection.tcb.flow, incoming.bytes) {
            return self.drop_packet(incoming.pkt, Reason::Denied);
        }
        if exhausted && !incoming.pkt.is_empty() && connection.tcb.recv_queue() > 0 {
            // What is queued may not grow: the peer sends it again when the application has read.
            return self.drop_packet(incoming.pkt, Reason::NoFrames);
        }
        if let Stage::Embryo(parent) = connection.stage
            && completes(&incoming.seg)
            && self.is_accept_queue_full(parent)
        {
            // Linux ignores the last ACK of a handshake that finds the accept queue full; the SYN-ACK or the
            // peer's first data come again.
            return self.drop_packet(incoming.pkt, Reason::Backlog);
        }
        let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut) else { return };
        input::segment(&mut connection.tcb, &incoming.seg, incoming.pkt, &mut self.core.env(now, burst));
        self.settle(id);
        if burst {
            self.mark_dirty(id);
        }
    }

    fn is_accept_queue_full(&mut self, listener: SocketId) -> bool {
        self.table.get_mut(listener).and_then(Entry::listener_mut).is_none_or(|l| l.is_full())
    }

    fn segment_in_time_wait(&mut self, now: Instant, id: SocketId, incoming: Incoming) {
        let Some(record) = self.time_waits.get_mut(id) else {
            return self.drop_packet(incoming.pkt, Reason::NoSocket);
        };
        if !self.core.out.judge_in(&mut record.flow, incoming.bytes) {
            return self.drop_packet(incoming.pkt, Reason::Denied);
        }
        let mut env = self.core.env(now, false);
        match record.state.segment(&incoming.seg, &mut record.flow, &mut env) {
            Outcome::Stay => {
                self.core.pool.free(incoming.pkt);
                self.time_waits.rearm(id);
            }
            Outcome::Reuse => {
                self.end_time_wait(id);
                // The listener counts it.
                self.core.stats.tcp_segs_in -= 1;
                self.segment_for_nobody(now, incoming);
            }
        }
    }

    /// Forgets a connection in TIME-WAIT; its tuple is free.
    pub(super) fn end_time_wait(&mut self, id: SocketId) {
        if let Some(record) = self.time_waits.remove(id) {
            self.forget_time_wait(&record);
        }
    }

    /// A record is out of its table: its tuple leads nowhere now.
    pub(super) fn forget_time_wait(&mut self, record: &Record) {
        self.flows.remove(&record.flow.key);
        self.unsteer_flow(record.steered, record.flow.key);
    }

    fn segment_for_nobody(&mut self, now: Instant, incoming: Incoming) {
        let Incoming { seg, key, pkt, bytes } = incoming;
        let mut flow = Flow::new(key, Direction::In);
        if !self.core.out.judge_in(&mut flow, bytes) {
            return self.drop_packet(pkt, Reason::Denied);
        }
        let listener = self.listener_at(key.local);
        let arrival = listener.map_or(Arrival::Reset, |_| listen::check(&seg));
        match (arrival, listener) {
            (Arrival::Syn, Some(listener)) => self.handshake(now, listener, &seg, flow, pkt),
            (Arrival::Reset, _) => {
                self.core.stats.tcp_segs_in += 1;
                self.drop_packet(pkt, Reason::NoSocket);
                self.refuse(now, &seg, &mut flow);
            }
            (Arrival::Ignore | Arrival::Syn, _) => {
                self.core.stats.tcp_segs_in += 1;
                self.drop_packet(pkt, Reason::NoSocket);
            }
        }
    }

    fn listener_at(&self, local: SocketAddr) -> Option<SocketId> {
        let id = self.locals.lookup(Protocol::Tcp, local.ip(), local.port())?;
        matches!(self.table.get(id)?.body, Body::Listener(_)).then_some(id)
    }

    fn refuse(&mut self, now: Instant, seg: &Segment, flow: &mut Flow) {
        if seg.flags.has(Flags::RST) {
            return;
        }
        if self.resets.take(now, STRAY_ANSWERS) {
            reset::answer(seg, flow, &mut self.core.env(now, false));
        } else {
            self.core.stats.answers_limited += 1;
        }
    }

    /// A connection request: a connection in SYN-RECEIVED, if the listener has room.
    fn handshake(&mut self, now: Instant, parent: SocketId, seg: &Segment, mut flow: Flow, pkt: Pkt) {
        let full = self.table.is_full() || self.core.is_exhausted();
        let Some(entry) = self.table.get_mut(parent) else { return self.core.pool.free(pkt) };
        let options = entry.options.clone();
        let Some(listener) = entry.listener_mut() else { return self.core.pool.free(pkt) };
        if full || listener.is_full() {
            return self.drop_packet(pkt, Reason::Backlog);
        }
        if listener.embryos >= listener.most_embryos() {
            Reason::Backlog.count(&mut self.core.stats);
            self.displace(parent);
        }
        (flow.tos, flow.ttl) = (options.tos, options.ttl);
        let key = flow.key;
        let tcb = listen::syn(seg, flow, options.tcp, &mut self.core.env(now, false));
        self.core.pool.free(pkt);
        let connection = Connection {
            tcb,
            stage: Stage::Embryo(parent),
            attached: true,
            steered: false,
            connecting: false,
        };
        let mut entry = Entry::new(0, options, Body::Connection(connection));
        entry.local = Some(key.local);
        match self.table.insert(entry) {
            Ok(id) => {
                self.attempted(parent, id);
                self.flows.insert(&key, Holder::Socket(id));
                self.settle(id);
            }
            Err(mut entry) => {
                // The table was not full a moment ago; should it ever be, the frames still go back.
                if let Some(connection) = entry.connection_mut() {
                    connection.tcb.release(&mut self.core.pool, &mut self.core.segs);
                }
            }
        }
    }

    /// Whether `flow` can be had for an active open; a connection in TIME-WAIT may have to make room.
    pub(super) fn take_tuple(&mut self, now: Instant, flow: &FlowKey) -> bool {
        match self.flows.get(flow) {
            None => true,
            Some(Holder::Socket(_)) => false,
            Some(Holder::TimeWait(id)) => {
                let free = self.time_waits.get(id).is_none_or(|r| r.state.may_reuse(now));
                if free {
                    self.end_time_wait(id);
                }
                free
            }
        }
    }

    /// The other end's address, when a segment is to be sent there and may not be for everybody.
    pub(super) fn is_one_host(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(a) => {
                !(a.is_multicast() || a.is_unspecified() || self.core.out.control.is_broadcast(a))
            }
            IpAddr::V6(_) => false,
        }
    }
}

/// Whether a segment may end a handshake: it has an ACK and is no reset and no SYN.
fn completes(seg: &Segment) -> bool {
    seg.flags.has(Flags::ACK) && !seg.flags.has(Flags::RST | Flags::SYN)
}
