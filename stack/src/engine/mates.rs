//! Other stacks of this host, to which packets for its own addresses are handed past every interface.
//!
//! Who they are, and which of them hears what, the stack is told by [`Mates`]; the frames go out by a queue of their own
//! ([`Stack::to_mates`]) and come in by [`Stack::rx_from_mates`]. Both ends judge them, as they do what comes and goes
//! by an interface.

use core::fmt;
use core::net::SocketAddr;
use std::collections::VecDeque;

use nic::{Pkt, Pool, TxPkt};

use super::Stack;
use crate::ip::input::Reason;
use crate::time::Instant;
use crate::types::{FlowKey, IfaceId, Protocol};

/// What is known of the other stacks. Asked for a connection that is opened, a datagram, and each packet to an address of
/// the host that no socket of this stack hears: it neither waits nor allocates.
pub trait Mates: fmt::Debug + Send {
    /// Whether another stack hears what is sent to an end of the host's.
    fn hear(&self, protocol: Protocol, end: SocketAddr) -> bool;
    /// Who has a flow, whose local end is at that stack.
    fn holder(&self, key: &FlowKey) -> Option<Holder>;
    /// The other stack that gets a flow which nobody has: one of those that hear its local end.
    fn hearer(&self, key: &FlowKey) -> Option<u8>;
}

/// Who has a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// This stack.
    This,
    /// Another one, by its number.
    Mate(u8),
}

/// A frame for another stack.
#[derive(Debug)]
pub struct ToMate {
    /// Whose it is.
    pub to: u8,
    /// The interface that has the address it is for.
    pub iface: IfaceId,
    /// The frame. Its checksum is whatever it is: no wire comes between.
    pub frame: TxPkt,
}

/// The other stacks, and what is on its way to them. There is room for every frame of the pool, so it never grows.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pub(super) mates: Option<Box<dyn Mates>>,
    queue: VecDeque<ToMate>,
}

impl Outbound {
    pub(super) fn push(&mut self, frame: ToMate) {
        self.queue.push_back(frame);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.queue.drain(..).for_each(|out| pool.take_back(out.frame));
    }
}

impl Stack {
    /// There are other stacks, and somebody fetches the frames for them.
    pub fn set_mates(&mut self, mates: Box<dyn Mates>) {
        let frames = self.core.pool.frames() as usize;
        self.core.out.outbound = Outbound { mates: Some(mates), queue: VecDeque::with_capacity(frames) };
    }

    /// The frames that are for other stacks, to be drained as the queues of interfaces are. One that cannot be handed
    /// over is lost, as on a wire: take it back.
    #[inline]
    pub fn to_mates(&mut self) -> (&mut Pool, &mut VecDeque<ToMate>) {
        (&mut self.core.pool, &mut self.core.out.outbound.queue)
    }

    /// Frames came from other stacks, each for an address of the interface that it names. They are always taken.
    pub fn rx_from_mates(&mut self, now: Instant, frames: impl Iterator<Item = (IfaceId, Pkt)>) {
        for (iface, pkt) in frames {
            match self.core.out.control.port(iface) {
                Some(port) => self.receive_at_home(now, port, pkt),
                None => self.drop_packet(pkt, Reason::NotOurs),
            }
        }
        self.push_dirty(now);
    }

    /// Whether another stack hears what is sent to an end of the host's, by a socket that hears everybody.
    pub(super) fn is_heard_by_mates(&self, protocol: Protocol, end: SocketAddr) -> bool {
        self.core.out.outbound.mates.as_ref().is_some_and(|mates| mates.hear(protocol, end))
    }

    /// Whether another stack has a flow, or would get it.
    pub(super) fn is_a_mates(&self, key: &FlowKey) -> bool {
        let Some(mates) = &self.core.out.outbound.mates else { return false };
        match mates.holder(key) {
            Some(holder) => holder != Holder::This,
            None => mates.hearer(key).is_some(),
        }
    }
}
