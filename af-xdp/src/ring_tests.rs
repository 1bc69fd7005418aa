use super::*;

#[cfg(not(loom))]
use std::{cell::UnsafeCell, sync::Arc};

#[cfg(loom)]
use loom::{cell::UnsafeCell, sync::Arc};

/// A ring on the heap, with the kernel's place taken by a second handle. Under loom every slot watches for
/// an access that the indices do not order.
struct Heap {
    producer: AtomicU32,
    consumer: AtomicU32,
    slots: Vec<UnsafeCell<u64>>,
}

// SAFETY: the two sides touch a slot only when the indices, which are atomic, say that it is theirs.
#[cfg(not(loom))]
unsafe impl Sync for Heap {}

#[derive(Clone)]
struct Side(Arc<Heap>);

fn ring(len: u32, start: u32) -> (Producer<Side>, Consumer<Side>) {
    let heap = Heap {
        producer: AtomicU32::new(start),
        consumer: AtomicU32::new(start),
        slots: (0..len).map(|_| UnsafeCell::new(0)).collect(),
    };
    let side = Side(Arc::new(heap));
    (Producer::new(side.clone()), Consumer::new(side))
}

impl RingMemory for Side {
    type Entry = u64;

    fn len(&self) -> u32 {
        self.0.slots.len() as u32
    }

    fn producer(&self) -> &AtomicU32 {
        &self.0.producer
    }

    fn consumer(&self) -> &AtomicU32 {
        &self.0.consumer
    }

    fn needs_wakeup(&self) -> bool {
        false
    }

    #[cfg(loom)]
    fn read(&self, index: u32) -> u64 {
        // SAFETY: the consumer reads between its own index and the producer's; loom proves it.
        self.0.slots[(index & (self.len() - 1)) as usize].with(|p| unsafe { *p })
    }

    #[cfg(loom)]
    fn write(&self, index: u32, entry: u64) {
        // SAFETY: the producer writes where the consumer has been; loom proves it.
        self.0.slots[(index & (self.len() - 1)) as usize].with_mut(|p| unsafe { *p = entry });
    }

    #[cfg(not(loom))]
    fn read(&self, index: u32) -> u64 {
        // SAFETY: the consumer reads between its own index and the producer's.
        unsafe { *self.0.slots[(index & (self.len() - 1)) as usize].get() }
    }

    #[cfg(not(loom))]
    fn write(&self, index: u32, entry: u64) {
        let slot = self.0.slots[(index & (self.len() - 1)) as usize].get();
        // SAFETY: the producer writes where the consumer has been.
        unsafe { *slot = entry };
    }
}

#[cfg(loom)]
mod interleavings {
    use super::*;

    /// `items` pass a ring of `len`, in bursts of `burst` on both sides: all arrive, once, in order.
    fn pass(len: u32, start: u32, items: u64, burst: u64) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let (mut tx, mut rx) = ring(len, start);
            let producer = loom::thread::spawn(move || {
                let mut sent = 0;
                while sent < items {
                    let mut n = 0;
                    while n < burst && sent < items && tx.push(sent) {
                        n += 1;
                        sent += 1;
                    }
                    if !tx.publish() {
                        loom::thread::yield_now();
                    }
                }
            });
            let mut seen = 0;
            while seen < items {
                let mut n = 0;
                while n < burst
                    && let Some(entry) = rx.pop()
                {
                    assert_eq!(entry, seen);
                    n += 1;
                    seen += 1;
                }
                rx.release();
                if n == 0 {
                    loom::thread::yield_now();
                }
            }
            producer.join().unwrap();
            assert_eq!(rx.pop(), None);
        });
    }

    #[test]
    fn one_slot_hands_over_every_entry() {
        pass(1, 0, 3, 1);
    }

    #[test]
    fn a_full_ring_makes_the_producer_wait() {
        pass(2, 0, 4, 2);
    }

    #[test]
    fn indices_wrap_through_zero() {
        pass(2, u32::MAX - 1, 4, 2);
    }

    #[test]
    fn bursts_are_seen_whole_and_in_order() {
        pass(4, u32::MAX - 2, 5, 3);
    }

    /// A dead producer's side is taken over while the consumer runs on: what it had published is all there.
    #[test]
    fn a_successor_goes_on_where_the_dead_producer_stopped() {
        loom::model(|| {
            let (mut tx, mut rx) = ring(2, u32::MAX);
            assert!(tx.push(0));
            tx.publish();
            assert!(tx.push(99)); // written, never published: nobody sees it
            let memory = tx.memory.clone();
            drop(tx);
            let successor = loom::thread::spawn(move || {
                let mut tx = Producer::new(memory);
                assert!(tx.push(1));
                tx.publish();
            });
            let mut seen = 0;
            while seen < 2 {
                match rx.pop() {
                    Some(entry) => {
                        assert_eq!(entry, seen);
                        seen += 1;
                        rx.release();
                    }
                    None => loom::thread::yield_now(),
                }
            }
            successor.join().unwrap();
        });
    }
}

#[cfg(not(loom))]
mod sequence {
    use super::*;

    #[test]
    fn a_ring_that_was_left_in_no_order_is_empty_for_who_takes_it() {
        let (mut tx, mut rx) = ring(8, u32::MAX - 2);
        assert!((0..8).all(|n| tx.push(n)) && tx.publish());
        assert!(!tx.mend(), "a full ring is in order");
        assert_eq!((rx.pop(), rx.pop()), (Some(0), Some(1)));
        rx.release();
        // Somebody else has written an index of long ago.
        tx.memory.producer().store(u32::MAX - 7, Ordering::Relaxed);
        let mut next = Producer::new(tx.memory.clone());
        assert!(next.refresh() > 8);
        assert!(next.mend());
        assert_eq!((next.refresh(), next.index()), (0, u32::MAX));
        assert!(next.push(9) && next.publish());
        let mut rx = Consumer::new(next.memory.clone());
        assert_eq!((rx.pop(), rx.pop()), (Some(9), None));
    }

    #[test]
    fn nothing_is_seen_before_it_is_published_and_no_slot_reused_before_its_release() {
        let (mut tx, mut rx) = ring(4, u32::MAX - 1);
        assert!((0..4).all(|i| tx.push(i)));
        assert!(!tx.push(4), "the ring is full");
        assert_eq!(rx.pop(), None);
        assert!(tx.publish());
        assert!(!tx.publish(), "nothing new");
        assert_eq!(rx.available(), 4);
        assert_eq!((rx.pop(), rx.pop()), (Some(0), Some(1)));
        assert!(!tx.push(4), "popped is not released");
        rx.release();
        assert!(tx.push(4) && tx.push(5) && !tx.push(6));
        tx.publish();
        assert_eq!(std::iter::from_fn(|| rx.pop()).collect::<Vec<_>>(), [2, 3, 4, 5]);
        rx.release();
        assert_eq!(tx.refresh(), 0);
    }

    #[test]
    fn entries_pass_a_wrapping_ring_in_order() {
        let (mut tx, mut rx) = ring(64, u32::MAX - 5000);
        let mut seen = 0;
        for i in 0..10_000 {
            while !tx.push(i) {
                tx.publish();
                while let Some(entry) = rx.pop() {
                    assert_eq!(entry, seen);
                    seen += 1;
                }
                rx.release();
            }
        }
        tx.publish();
        seen += std::iter::from_fn(|| rx.pop()).count() as u64;
        assert_eq!(seen, 10_000);
    }

    #[test]
    fn several_producers_and_consumers_take_turns() {
        let (mut a, mut x) = ring(8, u32::MAX - 2);
        let (mut b, mut y) = (Producer::new(a.memory.clone()), Consumer::new(x.memory.clone()));
        assert!(b.push(90), "not published: forgotten");
        assert!((0..3).all(|i| a.push(i)));
        a.publish();
        assert_eq!(b.waiting(), 3);
        b.resume();
        assert!((3..5).all(|i| b.push(i)));
        b.publish();
        assert!(x.has_unconsumed());
        x.resume();
        assert_eq!((x.pop(), x.pop()), (Some(0), Some(1)));
        x.release();
        y.resume();
        assert_eq!(std::iter::from_fn(|| y.pop()).collect::<Vec<_>>(), [2, 3, 4]);
        y.release();
        assert!(!x.has_unconsumed());
        x.resume();
        assert_eq!(x.pop(), None);
    }

    /// Entries that a dead producer had written and not published can be published for it.
    #[test]
    fn what_a_dead_producer_wrote_is_still_there() {
        let (mut dead, mut rx) = ring(8, u32::MAX);
        assert!((10..13).all(|i| dead.push(i)));
        let mut successor = Producer::new(dead.memory.clone());
        assert_eq!(dead.written().wrapping_sub(successor.index()), 3);
        assert_eq!(
            (0..3).map(|i| successor.peek(successor.index().wrapping_add(i))).collect::<Vec<_>>(),
            [10, 11, 12]
        );
        successor.take_as_pushed(2);
        successor.publish();
        assert_eq!(std::iter::from_fn(|| rx.pop()).collect::<Vec<_>>(), [10, 11]);
    }
}
