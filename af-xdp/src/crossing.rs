//! Frames from one stack of a port to another: a ring for each two of them and each direction, in a memfd that all map.
//!
//! The frames lie in the memory that all stacks of the port share, so a place in the ring is a description, and what
//! goes over is a frame. A packet that nobody keeps goes as it is; of a segment, which may have to be sent again, a copy.
//! The ledger says whose the frame is: on its way it is the receiver's, in a turn of its own, and the ring is but a hint
//! where to look. So whoever is killed between any two stores, the frame is found: by its receiver, who takes it only as
//! it was described; with a sender that had not published it ([`Gangways::take_back`]); with a receiver that is buried.
//!
//! Nobody waits: a ring that is full refuses the frame, as a NIC does, and a stack that sleeps or is stopped is told by
//! a word ([`crate::calling`]); who drives the stack has it woken.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nic::{Pkt, Pool, TxPkt};

use crate::calling;
use crate::ledger::{BATCH, Ledger, Slot};
use crate::mapped::{Descriptor, Mapped, Words};
use crate::ring::{Consumer, Producer};
use crate::slots::{Slots, WORDS, place};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::sys;

/// Frames that can wait in a ring.
const RING: u32 = 1024;
const LINE: usize = 64;
/// Octets of a stack's words, which have lines of the cache of their own: who has sent to it and whether it sleeps, and to
/// whom it has ever sent.
const DESK: usize = 2 * LINE;
const ASLEEP: usize = WORDS * size_of::<u64>();
const REACHED: usize = LINE;
/// How a ring is laid out: its indices on a line each, and then its places.
const PLACES: usize = 2 * LINE;
const PAGE: usize = 4096;
const RING_BYTES: usize = (PLACES + RING as usize * size_of::<Descriptor>()).next_multiple_of(PAGE);
const LAYOUT: libc::xdp_ring_offset =
    libc::xdp_ring_offset { producer: 0, consumer: LINE as u64, flags: LINE as u64 / 2, desc: PLACES as u64 };

/// A frame that came from another stack.
#[derive(Debug)]
pub struct Crossed {
    /// What the sender said of it.
    pub tag: u32,
    /// The frame; its window is what was sent.
    pub pkt: Pkt,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrossingCounters {
    /// Frames that went to other stacks.
    pub sent: u64,
    /// Frames that came from other stacks.
    pub received: u64,
    /// Frames that found the ring full: their receiver is slow, stopped or dead.
    pub full: u64,
    /// Frames for stacks to which there is no ring: the memory for it could not be had.
    pub no_ring: u64,
    /// Frames for which there was none to copy them into.
    pub no_frame: u64,
    /// Descriptions of frames that were not on their way to us: of a dead stack's.
    pub stale: u64,
}

/// The memory of all rings between the stacks of a port.
#[derive(Debug)]
pub(crate) struct Gangways {
    words: Words,
    ledger: Arc<Ledger>,
    stacks: Slot,
}

impl Gangways {
    /// Rings without frames, for so many stacks.
    pub(crate) fn new(ledger: Arc<Ledger>, stacks: Slot) -> io::Result<Self> {
        let fd = sys::memfd(c"ringroad-crossing", Self::bytes(stacks) as u64)?;
        Self::from_fd(fd, ledger, stacks)
    }

    /// Maps those that exist.
    pub(crate) fn from_fd(fd: OwnedFd, ledger: Arc<Ledger>, stacks: Slot) -> io::Result<Self> {
        // The rings are mapped where they are used.
        Ok(Self { words: Words::map(fd, Self::head(stacks))?, ledger, stacks })
    }

    /// The memfd.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.words.fd().as_fd()
    }

    fn head(stacks: Slot) -> usize {
        (usize::from(stacks) * DESK).next_multiple_of(PAGE)
    }

    fn bytes(stacks: Slot) -> usize {
        Self::head(stacks) + usize::from(stacks) * usize::from(stacks) * RING_BYTES
    }

    fn ring(&self, from: Slot, to: Slot) -> io::Result<Mapped<Descriptor>> {
        if from >= self.stacks || to >= self.stacks {
            return Err(io::ErrorKind::NotFound.into());
        }
        let number = usize::from(from) * usize::from(self.stacks) + usize::from(to);
        let at = Self::head(self.stacks) + number * RING_BYTES;
        Mapped::new(self.words.fd().as_fd(), at as u64, &LAYOUT, RING)
    }

    /// Who has sent to a stack, as bits.
    #[inline]
    fn pending(&self, of: Slot) -> [&AtomicU64; WORDS] {
        self.words.longs(usize::from(of) * DESK / size_of::<u64>())
    }

    /// Whether a stack sleeps.
    fn asleep(&self, of: Slot) -> &AtomicU32 {
        self.words.word((usize::from(of) * DESK + ASLEEP) / size_of::<u32>())
    }

    /// To whom a stack has ever sent, as bits: the other rings are not there yet.
    fn reached(&self, by: Slot) -> [&AtomicU64; WORDS] {
        self.words.longs((usize::from(by) * DESK + REACHED) / size_of::<u64>())
    }

    /// The ring from a stack that is about to send to another.
    fn reach(&self, from: Slot, to: Slot) -> io::Result<Producer<Mapped<Descriptor>>> {
        let ring = Producer::new(self.ring(from, to)?);
        let (word, bit) = place(to);
        self.reached(from)[word].fetch_or(bit, Ordering::Relaxed);
        Ok(ring)
    }

    /// Settles what dead stack `slot` was sending: frames that it had described and not published are its own again.
    /// Those that it had published arrive: their receivers are the caller's to wake.
    pub(crate) fn take_back(&self, slot: Slot) -> io::Result<Slots> {
        let mut called = Slots::NONE;
        self.asleep(slot).store(0, Ordering::Relaxed);
        let reached = Slots::from_words(self.reached(slot).map(|word| word.load(Ordering::Relaxed)));
        for to in reached.into_iter().filter(|to| *to < self.stacks) {
            let ring = Producer::new(self.ring(slot, to)?);
            // Behind these lie what waits to be read.
            let room = RING.saturating_sub(ring.waiting());
            for place in (0..room).map(|n| ring.peek(ring.index().wrapping_add(n))) {
                let (frame, ..) = Self::read(place);
                // One that does not land was its receiver's when that was buried, or was not booked yet.
                self.ledger.land(frame, place.options, slot);
            }
            if ring.waiting() > 0 {
                // It counts as asleep still: if the caller dies, too, the next one that sends wakes it.
                calling::leave(self.pending(to), slot);
                called.insert(to);
            }
        }
        Ok(called)
    }

    /// Frame, first octet in it, length, and what the sender says of it.
    fn read(place: Descriptor) -> (u32, usize, usize, u32) {
        let part = |shift: u32| (place.address >> shift) as u16;
        ((place.address >> 32) as u32, usize::from(part(16)), usize::from(part(0)), place.len)
    }

    fn describe(frame: u32, (offset, len): (usize, usize), tag: u32, crossing: u32) -> Descriptor {
        let address = u64::from(frame) << 32 | (offset as u64 & 0xffff) << 16 | len as u64 & 0xffff;
        Descriptor { address, len: tag, options: crossing }
    }
}

/// A stack's ends of the rings to and from all others of its port.
#[derive(Debug)]
pub struct Crossing {
    ways: Arc<Gangways>,
    me: Slot,
    frame_size: usize,
    /// By slot; mapped when first used.
    to: Vec<Way<Producer<Mapped<Descriptor>>>>,
    from: Vec<Way<Consumer<Mapped<Descriptor>>>>,
    /// Rings written to and not published.
    written: Slots,
    /// Those from whom frames were left in the ring.
    left: Slots,
    sleeps: bool,
    counters: CrossingCounters,
}

impl Crossing {
    /// The ends of stack `me`, on a port of frames of this size.
    pub(crate) fn new(ways: Arc<Gangways>, me: Slot, frame_size: usize) -> Self {
        let stacks = usize::from(ways.stacks);
        Self {
            ways,
            me,
            frame_size,
            to: std::iter::repeat_with(Way::default).take(stacks).collect(),
            from: std::iter::repeat_with(Way::default).take(stacks).collect(),
            written: Slots::NONE,
            left: Slots::NONE,
            sleeps: false,
            counters: CrossingCounters::default(),
        }
    }

    /// Queues a frame for stack `to`, with a word that comes along. It leaves with [`Crossing::publish`].
    ///
    /// # Errors
    /// The frame, counted: the ring is full, or there is no frame for its copy.
    pub fn send(&mut self, pool: &mut Pool, to: Slot, tag: u32, frame: TxPkt) -> Result<(), TxPkt> {
        let Some(ring) = ring_of(&mut self.to, to, || self.ways.reach(self.me, to)) else {
            self.counters.no_ring += 1;
            return Err(frame);
        };
        if !ring.has_room() {
            self.counters.full += 1;
            return Err(frame);
        }
        if pool.in_stock() == 0 {
            // What was sent since the last turn has used the stock up.
            self.ways.ledger.draw(self.me, BATCH, |frame| pool.unfilled(frame));
            pool.set_depot(self.ways.ledger.depot());
        }
        let pkt = pool.loop_back(frame).inspect_err(|_| self.counters.no_frame += 1)?;
        let window = (pkt.offset(), pkt.len());
        let frame = pool.depart(pkt);
        let crossing = self.ways.ledger.crossing(frame, to);
        // In this order: whoever buries us finds a frame that is ours, or one that is described.
        ring.push(Gangways::describe(frame, window, tag, crossing));
        self.ways.ledger.embark(frame, crossing);
        self.written.insert(to);
        self.counters.sent += 1;
        Ok(())
    }

    /// Shows their receivers what was queued. Those who sleep: the caller wakes them.
    #[inline]
    pub fn publish(&mut self) -> Slots {
        let mut asleep = Slots::NONE;
        for to in std::mem::take(&mut self.written) {
            if let Some(ring) = &mut self.to[usize::from(to)].ring
                && ring.publish()
                && calling::announce(self.ways.pending(to), self.ways.asleep(to), self.me)
            {
                asleep.insert(to);
            }
        }
        asleep
    }

    /// Takes up to `max` frames that have come.
    #[inline]
    pub fn receive(&mut self, pool: &mut Pool, into: &mut Vec<Crossed>, max: usize) {
        self.left |= calling::take(self.ways.pending(self.me));
        if !self.left.is_empty() {
            self.receive_from(pool, into, max);
        }
    }

    fn receive_from(&mut self, pool: &mut Pool, into: &mut Vec<Crossed>, max: usize) {
        let mut room = max;
        for slot in self.left {
            let open = || self.ways.ring(slot, self.me).map(Consumer::new);
            let Some(ring) = ring_of(&mut self.from, slot, open) else {
                self.left.remove(slot);
                continue;
            };
            while room > 0
                && let Some(place) = ring.pop()
            {
                room -= 1;
                let (frame, offset, len, tag) = Gangways::read(place);
                // The compare-and-swap would wait for its own line first.
                pool.expect(frame, offset);
                let fits = offset + len <= self.frame_size;
                // The ledger is the others' to write, too: what our pool has is nobody's to send.
                let is_away = pool.is_away(frame);
                if !fits || !is_away || !self.ways.ledger.land(frame, place.options, self.me) {
                    self.counters.stale += 1;
                    continue;
                }
                self.counters.received += 1;
                into.push(Crossed { tag, pkt: pool.from_nic(frame, offset, len) });
            }
            ring.release();
            if !ring.has_entries() {
                self.left.remove(slot);
            }
        }
    }

    /// Whether frames may wait, without touching them.
    pub fn is_pending(&self) -> bool {
        !self.left.is_empty() || calling::is_pending(self.ways.pending(self.me))
    }

    /// Somebody sleeps on the stack's bell from here on, or still, or nobody does. True when the caller has to ring it,
    /// since something has come.
    ///
    /// Each sleep begins with a bell that `quiet` has silenced: what rings it may have been meant for an earlier sleep, or
    /// for the slot's last stack, and comes late. Who rings has set its bit before, and the bits are looked at after: so no
    /// call goes with it.
    #[inline]
    pub fn attend(&mut self, sleeps: bool, quiet: impl FnOnce()) -> bool {
        if !sleeps || self.is_called() {
            self.rise();
        }
        if !sleeps || self.sleeps {
            return false;
        }
        quiet();
        self.doze()
    }

    /// Says that the stack sleeps: who sends wakes it. True when it must not sleep, since something has come.
    fn doze(&mut self) -> bool {
        self.sleeps = true;
        calling::doze(self.ways.pending(self.me), self.ways.asleep(self.me)) || !self.left.is_empty()
    }

    /// Whether it has said so, and somebody has woken it since, or is about to.
    #[inline]
    fn is_called(&self) -> bool {
        self.sleeps && self.ways.asleep(self.me).load(Ordering::Relaxed) == 0
    }

    /// Says that it sleeps no longer.
    #[inline]
    pub fn rise(&mut self) {
        if std::mem::take(&mut self.sleeps) {
            calling::rise(self.ways.asleep(self.me));
        }
    }

    /// What was counted since it was opened.
    pub fn counters(&self) -> CrossingCounters {
        self.counters
    }
}

/// No more frames than this go by before a ring that could not be mapped is tried again.
const PASS_MOST: u32 = 1 << 16;

/// A ring that is mapped when first used. Where that fails it is tried again, not for each frame: after twice as many
/// each time.
#[derive(Debug)]
struct Way<R> {
    ring: Option<R>,
    /// Frames until the next attempt.
    pass: u32,
    /// As many were to go by before the last one.
    passed: u32,
}

impl<R> Default for Way<R> {
    fn default() -> Self {
        Self { ring: None, pass: 0, passed: 0 }
    }
}

impl<R> Way<R> {
    #[inline]
    fn ring(&mut self, open: impl FnOnce() -> io::Result<R>) -> Option<&mut R> {
        if self.ring.is_none() {
            self.open(open);
        }
        self.ring.as_mut()
    }

    #[cold]
    fn open(&mut self, open: impl FnOnce() -> io::Result<R>) {
        if self.pass > 0 {
            self.pass -= 1;
            return;
        }
        self.ring = open().ok();
        self.passed = (self.passed * 2).clamp(1, PASS_MOST);
        self.pass = self.passed;
    }
}

/// The ring in a slot's place.
#[inline]
fn ring_of<R>(ways: &mut [Way<R>], slot: Slot, open: impl FnOnce() -> io::Result<R>) -> Option<&mut R> {
    ways.get_mut(usize::from(slot))?.ring(open)
}

#[cfg(test)]
#[path = "crossing_tests.rs"]
mod tests;
