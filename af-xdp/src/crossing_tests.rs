use std::cell::Cell;
use std::fs::File;

use nic::{Arena, TxChecksum};

use super::*;
use crate::ledger::{FrameCensus, Holder};

const FRAMES: u32 = 4096;
const SIZE: u32 = 2048;

fn only(slot: Slot) -> Slots {
    Slots::from_iter([slot])
}

/// A port without interfaces: the memory, and stacks with pools of their own over it.
struct Port {
    arena: File,
    ways: Arc<Gangways>,
}

struct End {
    slot: Slot,
    pool: Pool,
    crossing: Crossing,
}

impl Port {
    fn new() -> Self {
        let ledger = Arc::new(Ledger::new(FRAMES, 1).unwrap());
        let arena = File::from(sys::memfd(c"arena", u64::from(FRAMES * SIZE)).unwrap());
        Self { arena, ways: Arc::new(Gangways::new(ledger, 3).unwrap()) }
    }

    /// Stack `slot`, with so many frames.
    fn end(&self, slot: Slot, frames: usize) -> End {
        let arena = Arena::from_file(self.arena.try_clone().unwrap(), 0, FRAMES, SIZE).unwrap();
        let mut pool = Pool::new(arena);
        while pool.to_nic().is_some() {}
        self.ways.ledger.draw(slot, frames, |frame| pool.unfilled(frame));
        End { slot, pool, crossing: Crossing::new(Arc::clone(&self.ways), slot, SIZE as usize) }
    }

    fn census(&self) -> FrameCensus {
        self.ways.ledger.census()
    }

    /// The process of a slot has died; `me` buries it. Those whom it has to wake.
    fn bury(&self, end: End, me: Slot) -> Slots {
        let slot = end.slot;
        drop(end.crossing);
        let called = self.ways.take_back(slot).unwrap();
        assert!(self.ways.ledger.bury(slot, me, &|_| false));
        called
    }
}

impl End {
    fn packet(&mut self, bytes: &[u8]) -> Pkt {
        let mut pkt = self.pool.alloc().unwrap();
        let write = |room: &mut [u8]| {
            room.copy_from_slice(bytes);
            Ok::<_, ()>(room.len())
        };
        self.pool.append_with(&mut pkt, bytes.len(), write).unwrap().unwrap();
        pkt
    }

    fn send(&mut self, to: Slot, bytes: &[u8]) -> bool {
        let pkt = self.packet(bytes);
        let frame = self.pool.give(pkt, 0, TxChecksum::Complete);
        let sent = self.crossing.send(&mut self.pool, to, 7, frame);
        sent.map_err(|frame| self.pool.take_back(frame)).is_ok()
    }

    fn receive(&mut self, max: usize) -> Vec<Vec<u8>> {
        let mut came = Vec::new();
        self.crossing.receive(&mut self.pool, &mut came, max);
        let taken = came.into_iter().map(|crossed| {
            assert_eq!(crossed.tag, 7);
            let bytes = self.pool.bytes(&crossed.pkt).to_vec();
            self.pool.free(crossed.pkt);
            bytes
        });
        taken.collect()
    }
}

#[test]
fn what_nobody_keeps_goes_as_it_is_and_what_is_kept_as_a_copy() {
    let port = Port::new();
    let (mut a, mut b) = (port.end(0, 8), port.end(2, 0));
    assert!(a.send(2, b"one"));
    let kept = a.packet(b"two");
    let loan = a.pool.lend(&kept, 0, TxChecksum::Complete).unwrap();
    a.crossing.send(&mut a.pool, 2, 7, loan).unwrap();
    assert!(!a.pool.is_lent(&kept), "the loan is over");
    assert_eq!(b.receive(9), Vec::<Vec<u8>>::new(), "not published");
    assert_eq!(a.crossing.publish(), Slots::NONE, "nobody sleeps");
    assert!(b.crossing.is_pending());
    assert_eq!(b.receive(9), [b"one", b"two"]);
    assert!(!b.crossing.is_pending() && b.receive(9).is_empty());
    a.pool.free(kept);
    assert_eq!((a.pool.in_stock(), b.pool.in_stock()), (6, 2));
    assert_eq!((port.census().depot, port.census().stacks), (FRAMES - 8, 8));
}

#[test]
fn a_full_ring_refuses_and_a_burst_takes_no_more_than_was_asked() {
    let port = Port::new();
    let (mut a, mut b) = (port.end(0, 2 * RING as usize), port.end(1, 0));
    for n in 0..RING {
        assert!(a.send(1, &n.to_ne_bytes()));
    }
    a.crossing.publish();
    assert!(!a.send(1, b"more") && a.send(2, b"another's"));
    assert_eq!((a.crossing.counters().full, a.crossing.counters().sent), (1, u64::from(RING) + 1));
    assert_eq!(b.receive(3), [0u32, 1, 2].map(|n| n.to_ne_bytes().to_vec()));
    assert!(b.crossing.is_pending(), "the rest waits");
    assert!(a.send(1, b"more"));
    a.crossing.publish();
    let rest = b.receive(usize::MAX);
    assert_eq!((rest.len(), rest.last().unwrap().as_slice()), (RING as usize - 2, &b"more"[..]));
    assert_eq!(b.crossing.counters().stale, 0);
}

#[test]
fn a_copy_for_which_there_is_no_frame_is_refused() {
    let port = Port::new();
    let mut a = port.end(0, 1);
    let mut others = port.end(2, FRAMES as usize);
    let kept = a.packet(b"x");
    let loan = a.pool.lend(&kept, 0, TxChecksum::Complete).unwrap();
    let refused = a.crossing.send(&mut a.pool, 1, 7, loan).unwrap_err();
    a.pool.take_back(refused);
    assert_eq!((a.crossing.counters().no_frame, a.pool.in_stock()), (1, 0));
    // When the depot has some, they come from there.
    port.ways.ledger.put(others.slot, || others.pool.to_nic());
    let loan = a.pool.lend(&kept, 0, TxChecksum::Complete).unwrap();
    a.crossing.send(&mut a.pool, 1, 7, loan).unwrap();
    a.pool.free(kept);
    assert_eq!((a.crossing.counters().no_frame, a.pool.in_stock()), (1, BATCH));
}

#[test]
fn who_sleeps_is_to_be_woken_once() {
    let port = Port::new();
    let (mut a, mut b) = (port.end(0, 8), port.end(1, 0));
    assert!(!b.crossing.doze());
    assert!(a.send(1, b"x"));
    assert_eq!(a.crossing.publish(), only(1));
    assert!(a.send(1, b"y"));
    assert_eq!(a.crossing.publish(), Slots::NONE, "it was woken");
    b.crossing.rise();
    assert!(b.crossing.doze(), "two wait");
    b.crossing.rise();
    assert_eq!(b.receive(1).len(), 1);
    assert!(b.crossing.doze(), "one was left");
}

/// What wakes whoever sleeps at an end.
#[derive(Default)]
struct Bell(Cell<u64>);

impl Bell {
    fn ring(&self) {
        self.0.set(self.0.get() + 1);
    }

    fn rings(&self) -> bool {
        self.0.get() > 0
    }
}

impl End {
    /// A turn ends, and a thread sleeps.
    fn sleep(&mut self, bell: &Bell) {
        if self.crossing.attend(true, || bell.0.set(0)) {
            bell.ring();
        }
    }
}

/// It rang for the slot's last stack, or late.
#[test]
fn a_bell_that_rang_before_wakes_once() {
    let port = Port::new();
    let (mut a, mut b) = (port.end(0, 8), port.end(1, 0));
    let bell = Bell::default();
    bell.ring();
    b.sleep(&bell);
    assert!(!bell.rings(), "nothing has come");
    // Whoever sent to the one before writes now.
    bell.ring();
    b.crossing.rise();
    b.sleep(&bell);
    assert!(!bell.rings());
    assert!(a.send(1, b"x"));
    assert_eq!(a.crossing.publish(), only(1));
    bell.ring();
    b.sleep(&bell);
    assert!(bell.rings(), "something has");
    assert_eq!(b.receive(9), [b"x"]);
    b.sleep(&bell);
    assert!(bell.rings(), "the leader is on its way: it finds nothing");
    b.crossing.rise();
    b.sleep(&bell);
    assert!(!bell.rings());
    assert!(!b.crossing.attend(false, || panic!("nobody sleeps")));
    assert!(a.send(1, b"y"));
    assert_eq!(a.crossing.publish(), Slots::NONE);
}

/// One thread sleeps on the bell, another ends its turns meanwhile.
#[test]
fn what_was_left_wakes_whatever_another_thread_does_before() {
    let port = Port::new();
    let (mut a, mut b) = (port.end(0, 256), port.end(1, 0));
    let bell = Bell::default();
    let send = |a: &mut End, count: u32| {
        (0..count).for_each(|n| assert!(a.send(1, &n.to_ne_bytes())));
        if !a.crossing.publish().is_empty() {
            bell.ring();
        }
    };
    send(&mut a, 200);
    assert_eq!(b.receive(64).len(), 64);
    b.sleep(&bell);
    assert!(bell.rings() && b.crossing.is_pending());
    for expected in [64, 64, 8] {
        assert_eq!(b.receive(64).len(), expected);
        b.sleep(&bell);
        assert!(bell.rings() || !b.crossing.is_pending());
    }
    // Here the other sleeps already, is called, and what called it is taken by one that does not take all.
    b.crossing.rise();
    b.sleep(&bell);
    assert!(!bell.rings());
    send(&mut a, 100);
    assert!(bell.rings());
    assert_eq!(b.receive(64).len(), 64);
    b.sleep(&bell);
    assert!(bell.rings() && b.crossing.is_pending());
    assert_eq!(b.receive(64).len(), 36);
}

/// Killed between any two stores: what it had published arrives, the rest is the depot's.
#[test]
fn frames_of_a_dead_sender_are_found() {
    let port = Port::new();
    let (mut a, mut b) = (port.end(0, 8), port.end(1, 0));
    assert!(a.send(1, b"published"));
    a.crossing.publish();
    assert!(a.send(1, b"not published") && a.send(1, b"nor that") && a.send(2, b"nor this"));
    // A bit of a stack that there is none of.
    port.ways.reached(0)[3].fetch_or(1 << 63, Ordering::Relaxed);
    assert_eq!(port.bury(a, 1), only(1));
    assert_eq!((port.census().depot, port.census().stacks), (FRAMES - 1, 1));
    assert_eq!(b.receive(9), [b"published"]);
    let mut next = port.end(0, 8);
    assert!(next.send(1, b"of the next one"));
    next.crossing.publish();
    assert_eq!(b.receive(9), [b"of the next one"]);
    assert_eq!(b.crossing.counters().stale, 0);
}

/// A third sleeps, and the sender was killed before it had announced what it published.
#[test]
fn who_sleeps_is_woken_for_a_dead_sender() {
    let port = Port::new();
    let (mut a, mut b, mut c) = (port.end(0, 8), port.end(1, 0), port.end(2, 8));
    assert!(!b.crossing.doze());
    assert!(a.send(1, b"x"));
    a.crossing.to[1].ring.as_mut().unwrap().publish();
    assert_eq!(port.bury(a, 2), only(1));
    assert!(b.crossing.is_pending());
    // Had who buries been killed before it rang: the next one does.
    assert!(c.send(1, b"y"));
    assert_eq!(c.crossing.publish(), only(1));
    assert_eq!(b.receive(9), [b"x", b"y"]);
    assert_eq!(port.bury(c, 1), Slots::NONE, "nothing waits");
}

/// Described for one that was buried meanwhile, and then for its successor: neither was published.
#[test]
fn every_frame_of_a_dead_sender_is_looked_at() {
    let port = Port::new();
    let (mut a, b) = (port.end(0, 8), port.end(1, 0));
    assert!(a.send(1, b"for the first"));
    port.bury(b, 2);
    assert!(a.send(1, b"for the next"));
    port.bury(a, 2);
    assert_eq!((port.census().depot, port.census().stacks), (FRAMES, 0));
}

#[test]
fn frames_towards_a_dead_receiver_are_found_and_its_successor_passes_over_them() {
    let port = Port::new();
    let (mut a, b) = (port.end(0, 8), port.end(1, 0));
    assert!(a.send(1, b"published"));
    a.crossing.publish();
    assert!(a.send(1, b"described"));
    port.bury(b, 0);
    assert_eq!(port.census().depot, FRAMES - 6);
    a.crossing.publish();
    assert!(a.send(1, b"for the next one"));
    a.crossing.publish();
    let mut next = port.end(1, 0);
    assert_eq!(next.receive(9), [b"for the next one"]);
    assert_eq!(next.crossing.counters().stale, 2);
    assert_eq!(next.pool.in_stock(), 1);
}

/// Who writes the ledger can name a frame that its receiver has itself.
#[test]
fn a_frame_that_its_receiver_has_does_not_come() {
    let port = Port::new();
    let mut b = port.end(1, 1);
    let ledger = &port.ways.ledger;
    let frame = (0..FRAMES).find(|frame| ledger.is(*frame, Holder::Stack, 1)).unwrap();
    let crossing = ledger.crossing(frame, 1);
    ledger.embark(frame, crossing);
    let mut ring = Producer::new(port.ways.ring(0, 1).unwrap());
    ring.push(Gangways::describe(frame, (0, 9), 7, crossing));
    ring.publish();
    calling::announce(port.ways.pending(1), port.ways.asleep(1), 0);
    assert!(b.receive(9).is_empty());
    assert_eq!((b.crossing.counters().stale, b.pool.in_stock()), (1, 1));
}

#[test]
fn a_ring_that_cannot_be_had_is_tried_again_and_less_and_less() {
    let port = Port::new();
    let mut a = port.end(0, 8);
    let mut tries = Vec::new();
    let mut way = Way::<()>::default();
    for frame in 0..20 {
        let open = || {
            tries.push(frame);
            Err(io::ErrorKind::OutOfMemory.into())
        };
        assert!(way.ring(open).is_none());
    }
    assert_eq!(tries, [0, 2, 5, 10, 19]);
    assert!((0..16).all(|_| way.ring(|| Ok(())).is_none()));
    assert!(way.ring(|| Ok(())).is_some());
    assert!(way.ring(|| unreachable!("it is there")).is_some());
    assert!(!a.send(3, b"to nobody"));
    assert_eq!((a.crossing.counters().no_ring, a.crossing.counters().full), (1, 0));
}

/// What others write into the memory is no reason to touch what is not ours.
#[test]
fn a_description_that_is_not_true_is_passed_over() {
    let port = Port::new();
    let (mut a, mut b) = (port.end(0, 8), port.end(1, 0));
    let mut ring = Producer::new(port.ways.ring(0, 1).unwrap());
    let mine = port.ways.ledger.get(a.pool.alloc().map(|p| a.pool.depart(p)).unwrap());
    assert_eq!(mine.slot(), 0);
    let crossing = port.ways.ledger.crossing(1, 1);
    for place in [
        Gangways::describe(FRAMES + 9, (0, 9), 7, crossing),
        Gangways::describe(1, (0, 9), 7, crossing),
        Gangways::describe(1, (2000, 49), 7, crossing),
        Descriptor { address: u64::MAX, len: 0, options: u32::MAX },
    ] {
        ring.push(place);
    }
    ring.publish();
    calling::announce(port.ways.pending(1), port.ways.asleep(1), 0);
    // A bit of a stack that there is none of.
    calling::announce(port.ways.pending(1), port.ways.asleep(1), 255);
    assert!(b.receive(9).is_empty());
    assert_eq!(b.crossing.counters().stale, 4);
    assert!(!b.crossing.is_pending());
}
