//! The other stacks of the port, as this one knows them: who hears what, by the steering programs' maps, and frames to
//! and from them.
//!
//! Whoever sleeps on the interfaces sleeps on the stack's bell, too, and has said so: [`Exchange::attend`], at the end of
//! each turn. What a mate writes to the bell may come late: so each sleep begins anew, with a bell that is silent.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use af_xdp::{Crossed, Crossing, Slot, Slots, Steering};
use stack::engine::{Holder, Mates, Stack, ToMate};
use stack::time::Instant;
use stack::types::{FlowKey, IfaceId, Protocol};

use crate::port::Bells;

/// Frames taken at a time.
const BURST: usize = 64;

/// What the steering programs know of the others.
#[derive(Debug)]
pub(super) struct Others {
    me: Slot,
    programs: Vec<Arc<Steering>>,
}

impl Others {
    /// Those beside slot `me`.
    pub(super) fn new(me: Slot, programs: Vec<Arc<Steering>>) -> Self {
        Self { me, programs }
    }
}

impl Mates for Others {
    fn hear(&self, protocol: Protocol, end: SocketAddr) -> bool {
        let of = |program: &Arc<Steering>| program.hearers(protocol as u8, end).unwrap_or_default();
        self.programs.iter().any(|program| !of(program).without(self.me).is_empty())
    }

    #[inline]
    fn holder(&self, key: &FlowKey) -> Option<Holder> {
        // Each program has every flow.
        let slot = self.programs.first()?.slot_of(key.protocol as u8, key.local, key.remote)?;
        Some(if slot == self.me { Holder::This } else { Holder::Mate(slot) })
    }

    fn hearer(&self, key: &FlowKey) -> Option<u8> {
        let of = |program: &Arc<Steering>| {
            program.hearer(key.protocol as u8, key.local, key.remote).ok().flatten()
        };
        self.programs.iter().find_map(of).filter(|slot| *slot != self.me)
    }
}

/// Frames to and from them.
pub(super) struct Exchange {
    crossing: Crossing,
    bells: Bells,
    came: Vec<Crossed>,
}

impl Exchange {
    /// The exchange of a slot, by its rings and its bell.
    pub(super) fn new(crossing: Crossing, bells: Bells) -> Self {
        Self { crossing, bells, came: Vec::with_capacity(BURST) }
    }

    /// To be polled by whoever sleeps on the interfaces.
    pub(super) fn fd(&self) -> RawFd {
        self.bells.mine().0.as_raw_fd()
    }

    /// Hands over what the stack has for the others, and wakes those who sleep. What finds no room is lost, as on a wire.
    /// Those whose bells are not known are the caller's to wake.
    #[inline]
    pub(super) fn send(&mut self, stack: &mut Stack) -> Slots {
        let (pool, queue) = stack.to_mates();
        if queue.is_empty() {
            return Slots::NONE;
        }
        while let Some(ToMate { to, iface, frame }) = queue.pop_front() {
            if let Err(frame) = self.crossing.send(pool, to, iface.0, frame) {
                pool.take_back(frame);
            }
        }
        let mut unknown = Slots::NONE;
        for slot in self.crossing.publish() {
            if !self.bells.ring(slot) {
                unknown.insert(slot);
            }
        }
        unknown
    }

    /// What frames that wait may have been announced by has come by another way: who sleeps looks.
    pub(super) fn rouse(&self) {
        if self.crossing.is_pending() {
            self.bells.ring_mine();
        }
    }

    /// Our bell, by the name that others know it by.
    pub(super) fn bell(&self) -> (BorrowedFd<'static>, u64) {
        self.bells.mine()
    }

    /// The bell of who has told that it drives a slot by this name.
    pub(super) fn learn(&mut self, slot: Slot, name: u64, bell: OwnedFd) {
        self.bells.learn(slot, name, bell);
    }

    /// The bells of those that are gone will not be rung again.
    pub(super) fn forget_dead(&mut self) {
        self.bells.forget_dead();
    }

    /// Takes frames that have come. True when there are some, for [`Exchange::deliver`].
    #[inline]
    pub(super) fn receive(&mut self, stack: &mut Stack) -> bool {
        self.crossing.receive(stack.pool_mut(), &mut self.came, BURST);
        !self.came.is_empty()
    }

    /// Gives the stack what was taken.
    pub(super) fn deliver(&mut self, now: Instant, stack: &mut Stack) {
        stack.rx_from_mates(now, self.came.drain(..).map(|crossed| (IfaceId(crossed.tag), crossed.pkt)));
    }

    /// A turn ends, and a thread sleeps on the bell, or none does.
    #[inline]
    pub(super) fn attend(&mut self, sleeps: bool) {
        if self.crossing.attend(sleeps, || self.bells.quiet()) {
            self.bells.ring_mine();
        }
    }

    /// Whoever slept on the bell is up.
    #[inline]
    pub(super) fn rise(&mut self) {
        self.crossing.rise();
    }

    /// What it counts: names and numbers.
    pub(super) fn counters(&self) -> [(&'static str, u64); 6] {
        let counters = self.crossing.counters();
        [
            ("mates_frames_sent", counters.sent),
            ("mates_frames_received", counters.received),
            ("mates_ring_full", counters.full),
            ("mates_no_ring", counters.no_ring),
            ("mates_no_frame", counters.no_frame),
            ("mates_stale", counters.stale),
        ]
    }
}
