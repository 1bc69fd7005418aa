//! What the ledger says of one frame, in one word: who holds it, for which stack, and in which turn. What several processes
//! may change at a time changes by a compare-and-swap of what was seen; the turn tells one sending, or one crossing, from
//! the next. Tried under loom.

use crate::sync::{AtomicU32, Ordering};

/// The number of a stack of a port.
pub type Slot = u8;

/// In the place of a slot: the frame's last holder is gone.
pub(crate) const NOBODY: Slot = Slot::MAX;

/// Who holds a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Holder {
    /// Nobody: it is in the depot.
    Depot = 0,
    /// A stack (free, owned, whatever its pool says).
    Stack = 1,
    /// The kernel, to receive into.
    Receiving = 2,
    /// The kernel, to send for a stack.
    Sending = 3,
    /// The kernel has sent it; its stack has not seen that yet.
    Sent = 4,
    /// On its way from another stack to this one ([`crate::Crossing`]).
    Crossing = 5,
}

/// What the ledger says of a frame: holder, slot, and a turn that tells one sending from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(u32);

const HOLDER_BITS: u32 = 3;
const SLOT_BITS: u32 = Slot::BITS;
const TURN: u32 = 1 << (HOLDER_BITS + SLOT_BITS);

impl Entry {
    /// Of a word that was written down elsewhere.
    pub(crate) fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// As a word.
    pub(crate) fn word(self) -> u32 {
        self.0
    }

    /// What a frame's word says.
    #[inline]
    pub(crate) fn of(word: &AtomicU32, order: Ordering) -> Self {
        Self(word.load(order))
    }

    fn new(holder: Holder, slot: Slot) -> Self {
        Self(holder as u32 | u32::from(slot) << HOLDER_BITS)
    }

    /// Who holds it.
    pub(crate) fn holder(self) -> Holder {
        match self.0 & ((1 << HOLDER_BITS) - 1) {
            0 => Holder::Depot,
            1 => Holder::Stack,
            2 => Holder::Receiving,
            3 => Holder::Sending,
            4 => Holder::Sent,
            _ => Holder::Crossing,
        }
    }

    /// Whose it is, if it is a stack's.
    pub(crate) fn slot(self) -> Slot {
        (self.0 >> HOLDER_BITS) as Slot
    }

    /// The same turn, held by another.
    pub(crate) fn with(self, holder: Holder, slot: Slot) -> Self {
        Self(self.0 & !(TURN - 1) | Self::new(holder, slot).0)
    }

    /// The next turn.
    fn next(self) -> Self {
        Self(self.0.wrapping_add(TURN))
    }
}

/// Books a frame that the caller holds.
#[inline]
pub(crate) fn set(word: &AtomicU32, holder: Holder, slot: Slot) {
    word.store(Entry::of(word, Ordering::Relaxed).with(holder, slot).0, Ordering::Relaxed);
}

/// Books a frame that the caller holds for sending: a turn of its own.
#[inline]
pub(crate) fn lend(word: &AtomicU32, slot: Slot) {
    let next = Entry::of(word, Ordering::Relaxed).next();
    word.store(next.with(Holder::Sending, slot).0, Ordering::Relaxed);
}

/// What will be said of a frame that the caller holds when it is on its way to stack `to`: a turn of its own.
#[inline]
pub(crate) fn crossing(now: Entry, to: Slot) -> Entry {
    now.next().with(Holder::Crossing, to)
}

/// Books that, as it was answered.
#[inline]
pub(crate) fn embark(word: &AtomicU32, crossing: Entry) {
    word.store(crossing.0, Ordering::Release);
}

/// Whether a frame is on its way as `crossing` says; it is stack `slot`'s then.
#[inline]
pub(crate) fn land(word: &AtomicU32, crossing: Entry, slot: Slot) -> bool {
    let landed = crossing.with(Holder::Stack, slot);
    crossing.holder() == Holder::Crossing
        && word.compare_exchange(crossing.0, landed.0, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

/// The frame has been sent in the turn that `seen` shows. Said twice, or late, it changes nothing.
#[inline]
pub(crate) fn sent(word: &AtomicU32, seen: Entry) -> bool {
    let after = seen.with(Holder::Sent, seen.slot());
    word.compare_exchange(seen.0, after.0, Ordering::Release, Ordering::Relaxed).is_ok()
}

/// Whether a frame of stack `slot` has been sent; it is the stack's again then.
#[inline]
pub(crate) fn collect(word: &AtomicU32, slot: Slot) -> bool {
    let now = Entry::of(word, Ordering::Acquire);
    if now.holder() == Holder::Sending {
        return false;
    }
    word.store(now.with(Holder::Stack, slot).0, Ordering::Relaxed);
    true
}

/// A frame that is being sent for a dead stack, as `seen`, is nobody's when it has been sent. False when that was booked
/// meanwhile.
pub(crate) fn orphan(word: &AtomicU32, seen: Entry) -> bool {
    let orphan = seen.with(Holder::Sending, NOBODY);
    word.compare_exchange(seen.0, orphan.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// A frame: its word in the ledger, and its bytes, which order nothing by themselves.
    struct Frame {
        word: AtomicU32,
        bytes: AtomicU32,
    }

    fn frame(holder: Holder, slot: Slot) -> Arc<Frame> {
        let word = AtomicU32::new(Entry::new(holder, slot).0);
        Arc::new(Frame { word, bytes: AtomicU32::new(0) })
    }

    impl Frame {
        fn write(&self, value: u32) {
            self.bytes.store(value, Ordering::Relaxed);
        }

        fn read(&self) -> u32 {
            self.bytes.load(Ordering::Relaxed)
        }
    }

    /// The receiver, and whoever buries the sender, both find the description of a frame: one of them has it, with all that
    /// was written before.
    #[test]
    fn a_frame_on_its_way_lands_once() {
        loom::model(|| {
            let frame = frame(Holder::Stack, 0);
            let described = crossing(Entry::of(&frame.word, Ordering::Relaxed), 1);
            let finders = [0, 1].map(|slot| {
                let frame = Arc::clone(&frame);
                thread::spawn(move || {
                    let landed = land(&frame.word, described, slot);
                    if landed {
                        assert_eq!(frame.read(), 7, "what was written before it embarked");
                    }
                    landed
                })
            });
            frame.write(7);
            embark(&frame.word, described);
            let landed = finders.into_iter().map(|finder| finder.join().unwrap());
            let landed = landed.filter(|landed| *landed).count();
            // Who looked before it had embarked finds it not, and never again by that description.
            let late = land(&frame.word, described, 0);
            assert_eq!(landed + usize::from(late), 1, "once, whoever looks");
            assert!(!land(&frame.word, described, 0), "a description is good for one crossing");
        });
    }

    /// One stack books a completion, its owner collects, and another buries it meanwhile: the frame is its owner's, or
    /// nobody's, once.
    #[test]
    fn a_frame_that_was_sent_comes_back_once() {
        loom::model(|| {
            let frame = frame(Holder::Stack, 2);
            lend(&frame.word, 2);
            let seen = Entry::of(&frame.word, Ordering::Relaxed);
            let kernel = {
                let frame = Arc::clone(&frame);
                thread::spawn(move || {
                    frame.write(1);
                    sent(&frame.word, seen)
                })
            };
            let undertaker = {
                let frame = Arc::clone(&frame);
                thread::spawn(move || orphan(&frame.word, seen))
            };
            let (booked, orphaned) = (kernel.join().unwrap(), undertaker.join().unwrap());
            assert!(booked != orphaned, "one of them was first");
            let now = Entry::of(&frame.word, Ordering::Acquire);
            if orphaned {
                assert!(!collect(&frame.word, 2), "it is still being sent");
                assert!(sent(&frame.word, now), "whoever looks again books it");
                assert_eq!(Entry::of(&frame.word, Ordering::Relaxed).slot(), NOBODY);
            } else {
                assert!(collect(&frame.word, 2));
                assert_eq!(frame.read(), 1, "whatever was done to it while it was sent");
            }
        });
    }

    /// A completion of an earlier sending, told late by a stack that was stopped, is not taken for the next one's.
    #[test]
    fn a_late_completion_changes_nothing() {
        loom::model(|| {
            let frame = frame(Holder::Stack, 2);
            lend(&frame.word, 2);
            let first = Entry::of(&frame.word, Ordering::Relaxed);
            let tellers: Vec<_> = (0..2)
                .map(|_| {
                    let frame = Arc::clone(&frame);
                    thread::spawn(move || sent(&frame.word, first))
                })
                .collect();
            if collect(&frame.word, 2) {
                lend(&frame.word, 2);
            }
            let told = tellers.into_iter().map(|teller| teller.join().unwrap()).filter(|told| *told).count();
            assert_eq!(told, 1, "the first to say so");
            let now = Entry::of(&frame.word, Ordering::Relaxed);
            let second = now != first && now.holder() == Holder::Sending;
            assert!(second || now.holder() == Holder::Sent, "{now:?}");
        });
    }
}
