//! How a stack is told that others have sent it something: words with a bit for each of them, and one that says that it
//! sleeps. Who sends sets its bit, then looks whether it sleeps; who goes to sleep says so, then looks at the bits. So one
//! of both sees the other, and whoever sets the word that says it back to zero has the sleeper woken, once.

use crate::entry::Slot;
use crate::slots::{Slots, WORDS, place};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// The words with a bit for each sender.
type Pending<'a> = [&'a AtomicU64; WORDS];

/// Stack `from` has published something. Whether the receiver sleeps, and is the caller's to wake.
#[inline]
pub(crate) fn announce(pending: Pending<'_>, asleep: &AtomicU32, from: Slot) -> bool {
    leave(pending, from);
    fence(Ordering::SeqCst);
    asleep.load(Ordering::Relaxed) != 0 && asleep.swap(0, Ordering::Relaxed) != 0
}

/// Stack `from` has published something, and whoever says so wakes the receiver in any case.
#[inline]
pub(crate) fn leave(pending: Pending<'_>, from: Slot) {
    let (word, bit) = place(from);
    pending[word].fetch_or(bit, Ordering::Release);
}

/// Those who have published something since the last look.
#[inline]
pub(crate) fn take(pending: Pending<'_>) -> Slots {
    Slots::from_words(pending.map(|word| match word.load(Ordering::Relaxed) {
        0 => 0,
        _ => word.swap(0, Ordering::Acquire),
    }))
}

/// Whether somebody has.
#[inline]
pub(crate) fn is_pending(pending: Pending<'_>) -> bool {
    pending.iter().any(|word| word.load(Ordering::Relaxed) != 0)
}

/// The receiver is about to sleep. True when something waits already: it must not, unless it wakes itself.
#[inline]
pub(crate) fn doze(pending: Pending<'_>, asleep: &AtomicU32) -> bool {
    asleep.store(1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    is_pending(pending)
}

/// The receiver sleeps no longer. Who has seen it sleep may wake it still.
#[inline]
pub(crate) fn rise(asleep: &AtomicU32) {
    asleep.store(0, Ordering::Relaxed);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_is_woken_once() {
        let (words, asleep) = ([const { AtomicU64::new(0) }; WORDS], AtomicU32::new(0));
        let pending = words.each_ref();
        assert!(!announce(pending, &asleep, 3), "awake");
        assert!(doze(pending, &asleep), "something waits");
        assert_eq!((take(pending), take(pending)), (Slots::from_iter([3]), Slots::NONE));
        assert!(!doze(pending, &asleep));
        assert!(announce(pending, &asleep, 5) && !announce(pending, &asleep, 250));
        assert_eq!(take(pending), Slots::from_iter([5, 250]));
        assert!(!doze(pending, &asleep));
        rise(&asleep);
        assert!(!announce(pending, &asleep, 5), "it is up");
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// Whatever a sender has published, the receiver sees it, or is woken, or does not go to sleep.
    #[test]
    fn no_call_is_lost() {
        loom::model(|| {
            let words = [(); WORDS].map(|()| AtomicU64::new(0));
            let shared = Arc::new((words, AtomicU32::new(0)));
            let senders: Vec<_> = (0..2)
                .map(|from| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || announce(shared.0.each_ref(), &shared.1, from))
                })
                .collect();
            let mut seen = take(shared.0.each_ref());
            let waits = doze(shared.0.each_ref(), &shared.1);
            let both = Slots::from_iter([0, 1]);
            let rings: u32 = senders.into_iter().map(|s| u32::from(s.join().unwrap())).sum();
            assert!(rings <= 1, "woken twice for one sleep");
            if !waits && seen != both {
                assert_eq!(rings, 1, "it sleeps, and nobody wakes it");
            }
            seen |= take(shared.0.each_ref());
            assert_eq!(seen, both);
        });
    }
}
