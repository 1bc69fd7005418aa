//! Flows whose connections left for another stack, and the segments that still arrive for them here, and for listeners
//! that went. Nothing is said about them. A segment waits until the other stack says that the flow is its own, and follows
//! it there past every interface (`mates`): so its peer has nothing to send again.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use nic::{Pool, TxChecksum, TxPkt};

use super::Stack;
use super::mates::{Holder, ToMate};
use super::tcp_rx::Incoming;
use crate::ip::Flow;
use crate::ip::input::Reason;
use crate::tcp::TimeWait;
use crate::time::Instant;
use crate::types::FlowKey;
use crate::wire::ethernet;
use crate::wire::tcp::Flags;

/// For so long nothing is said about a connection that left: whoever takes it needs some time to say that it is
/// there. After that its peer is told that nobody has it.
const SILENCE: Duration = Duration::from_secs(3);
/// Segments that wait at a time: those of a few windows. What is more is its peer's to send again.
const HELD_MOST: usize = 256;
/// How soon to look whether the other stack has them, and how often at the least.
const SOON: Duration = Duration::from_micros(200);
const LATE: Duration = Duration::from_millis(16);

/// Flows that left, by when that is forgotten, and what waits for who takes them.
#[derive(Debug, Default)]
pub(super) struct Departed {
    flows: HashMap<FlowKey, Instant>,
    order: VecDeque<(Instant, FlowKey)>,
    held: VecDeque<Held>,
    /// When to look for them, and how long that is from the look before.
    due: Instant,
    pause: Duration,
}

/// A segment that waits: a whole frame, with the place of the interface by which it came.
#[derive(Debug)]
struct Held {
    key: FlowKey,
    port: usize,
    frame: TxPkt,
}

/// Where a segment of a flow that left goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whither {
    /// It is known who has the flow.
    On,
    /// Nowhere yet.
    Waits,
    /// Nowhere any more.
    Over,
}

impl Departed {
    pub(super) fn note(&mut self, now: Instant, key: FlowKey) {
        let until = now + SILENCE;
        self.flows.insert(key, until);
        self.order.push_back((until, key));
        // What arrives allocates nothing.
        self.held.reserve(HELD_MOST - self.held.len());
    }

    /// It is back, or went to one that has died.
    pub(super) fn forget(&mut self, key: &FlowKey) {
        self.flows.remove(key);
    }

    /// Whether a connection with this five-tuple left lately.
    pub(super) fn has(&self, key: &FlowKey) -> bool {
        !self.flows.is_empty() && self.flows.contains_key(key)
    }

    /// Whether segments wait.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// When the next flow is to be forgotten, or segments are to be looked after.
    pub(super) fn next_deadline(&self) -> Instant {
        let forget = self.order.front().map_or(Instant::NEVER, |(at, _)| *at);
        if self.holds() { forget.min(self.due) } else { forget }
    }

    /// The next that is to be forgotten, unless it is back or left once more.
    fn expire(&mut self, now: Instant) -> Option<FlowKey> {
        while let Some((at, key)) = self.order.front().copied().filter(|(at, _)| *at <= now) {
            self.order.pop_front();
            if self.flows.get(&key) == Some(&at) {
                self.flows.remove(&key);
                return Some(key);
            }
        }
        None
    }

    fn hold(&mut self, now: Instant, held: Held) {
        if self.held.is_empty() {
            self.pause = SOON;
            self.due = now + SOON;
        }
        self.held.push_back(held);
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.held.drain(..).for_each(|held| pool.take_back(held.frame));
    }
}

impl Stack {
    /// The flows that left lately.
    pub fn departed(&self) -> impl Iterator<Item = FlowKey> {
        self.departed.flows.keys().copied()
    }

    /// Forgets connections that left, when their time has come, and looks after what waits for them.
    pub(super) fn expire_departed(&mut self, now: Instant) {
        while let Some(key) = self.departed.expire(now) {
            // Nobody came for it, or it is another stack's and this changes nothing.
            self.unsteer_flow(true, key);
        }
        if self.departed.holds() && self.departed.due <= now {
            self.release_held();
            self.departed.due = now + self.departed.pause;
            self.departed.pause = (self.departed.pause * 2).min(LATE);
        }
    }

    /// A segment of a connection that left: it follows that, at once or when it is known where to.
    pub(super) fn segment_for_departed(&mut self, now: Instant, incoming: Incoming) {
        if self.core.out.outbound.mates.is_none() || self.core.is_exhausted() || !incoming.has_headers() {
            return self.drop_packet(incoming.pkt, Reason::Moved);
        }
        let whither = self.whither_departed(&incoming.key);
        if whither == Whither::Over {
            return self.drop_packet(incoming.pkt, Reason::NoSocket);
        }
        if whither == Whither::Waits && self.departed.held.len() >= HELD_MOST {
            return self.drop_packet(incoming.pkt, Reason::Moved);
        }
        let Some(held) = self.as_it_came(incoming) else { return };
        if whither == Whither::Waits {
            return self.departed.hold(now, held);
        }
        // What came before it goes before it.
        self.release_held();
        self.core.out.home.push(held.port, held.frame);
    }

    /// Who has what a segment asks for, or listens, when it asks for a connection where this stack has nothing and listens no
    /// longer.
    pub(super) fn is_led_astray_from(&self, incoming: &Incoming) -> Option<u8> {
        let flags = incoming.seg.flags;
        let asks = flags.has(Flags::SYN) && !flags.has(Flags::ACK) && !flags.has(Flags::RST);
        let mates = self.core.out.outbound.mates.as_ref().filter(|_| asks)?;
        match mates.holder(&incoming.key) {
            Some(Holder::Mate(slot)) => Some(slot),
            // If it is led here, then for what was here once.
            Some(Holder::This) | None => mates.hearer(&incoming.key),
        }
    }

    /// What was led here before the steering program was told otherwise goes where it leads now: a program that is starved may
    /// have let go of its listener, and the keeper of a connection in TIME-WAIT, before it comes to read what was sent there.
    pub(super) fn segment_led_astray(&mut self, to: u8, incoming: Incoming) {
        if self.core.is_exhausted() || !incoming.has_headers() {
            return self.drop_packet(incoming.pkt, Reason::Moved);
        }
        // Where it is led here still, the next one is not.
        self.unsteer_flow(true, incoming.key);
        let iface = incoming.iface;
        if let Some(Held { frame, .. }) = self.as_it_came(incoming) {
            self.core.out.outbound.push(ToMate { to, iface, frame });
        }
    }

    /// A new connection on the tuple of one that was over here, where nobody listens any more: its SYN goes to a mate that
    /// does. Who listens elsewhere, in another port or in the kernel, gets the peer's next one, and that comes at once:
    /// an ACK of the old connection says that it is half open (RFC 9293 §3.5.1).
    pub(super) fn begins_elsewhere(
        &mut self,
        now: Instant,
        (old, flow): (&TimeWait, &mut Flow),
        incoming: Incoming,
    ) {
        if let Some(to) = self.is_led_astray_from(&incoming) {
            return self.segment_led_astray(to, incoming);
        }
        old.let_go(flow, &mut self.core.env(now, false));
        self.drop_packet(incoming.pkt, Reason::Moved);
    }

    fn whither_departed(&self, key: &FlowKey) -> Whither {
        let mates = self.core.out.outbound.mates.as_ref();
        match mates.and_then(|mates| mates.holder(key)) {
            Some(Holder::Mate(_)) => Whither::On,
            _ if !self.departed.has(key) => Whither::On,
            Some(Holder::This) => Whither::Waits,
            // Who took it has ended it since.
            None => Whither::Over,
        }
    }

    /// Sends on what waited, the way of packets from this host to itself: to the stack that has the flow now, or to the
    /// connection that is back here.
    pub fn release_held(&mut self) {
        for _ in 0..self.departed.held.len() {
            let Some(held) = self.departed.held.pop_front() else { return };
            match self.whither_departed(&held.key) {
                Whither::On => self.core.out.home.push(held.port, held.frame),
                Whither::Waits => self.departed.held.push_back(held),
                Whither::Over => {
                    self.core.pool.take_back(held.frame);
                    Reason::NoSocket.count(&mut self.core.stats);
                }
            }
        }
    }

    /// The whole frame again, as one that no wire has seen.
    fn as_it_came(&mut self, incoming: Incoming) -> Option<Held> {
        let Incoming { key, mut pkt, bytes, iface, .. } = incoming;
        let headers = ethernet::HEADER + bytes - pkt.len();
        let port = self.core.out.control.port(iface);
        let link = self.core.pool.headroom_mut(&mut pkt, headers);
        let (Some(port), Some(link)) = (port, link.and_then(|h| h.first_chunk_mut::<{ ethernet::HEADER }>()))
        else {
            self.drop_packet(pkt, Reason::Moved);
            return None;
        };
        link[..6].copy_from_slice(&ethernet::NOWHERE);
        // It was verified when it came, and is not looked at again.
        let frame = self.core.pool.give(pkt, headers, TxChecksum::Complete);
        Some(Held { key, port, frame })
    }
}
