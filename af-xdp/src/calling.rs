//! How a stack is told that others have sent it something: a word with a bit for each of them, and one that says that it
//! sleeps. Who sends sets its bit, then looks whether it sleeps; who goes to sleep says so, then looks at the bits. So one
//! of both sees the other, and whoever sets the word that says it back to zero has the sleeper woken, once.

use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Whose bit it is.
type Slot = u8;

/// Stack `from` has published something. Whether the receiver sleeps, and is the caller's to wake.
#[inline]
pub(crate) fn announce(pending: &AtomicU64, asleep: &AtomicU32, from: Slot) -> bool {
    leave(pending, from);
    fence(Ordering::SeqCst);
    asleep.load(Ordering::Relaxed) != 0 && asleep.swap(0, Ordering::Relaxed) != 0
}

/// Stack `from` has published something, and whoever says so wakes the receiver in any case.
#[inline]
pub(crate) fn leave(pending: &AtomicU64, from: Slot) {
    pending.fetch_or(1 << from, Ordering::Release);
}

/// Those who have published something since the last look, as bits.
#[inline]
pub(crate) fn take(pending: &AtomicU64) -> u64 {
    if pending.load(Ordering::Relaxed) == 0 { 0 } else { pending.swap(0, Ordering::Acquire) }
}

/// The receiver is about to sleep. True when something waits already: it must not, unless it wakes itself.
#[inline]
pub(crate) fn doze(pending: &AtomicU64, asleep: &AtomicU32) -> bool {
    asleep.store(1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    pending.load(Ordering::Relaxed) != 0
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
        let (pending, asleep) = (AtomicU64::new(0), AtomicU32::new(0));
        assert!(!announce(&pending, &asleep, 3), "awake");
        assert!(doze(&pending, &asleep), "something waits");
        assert_eq!((take(&pending), take(&pending)), (1 << 3, 0));
        assert!(!doze(&pending, &asleep));
        assert!(announce(&pending, &asleep, 5) && !announce(&pending, &asleep, 63));
        assert_eq!(take(&pending), 1 << 5 | 1 << 63);
        assert!(!doze(&pending, &asleep));
        rise(&asleep);
        assert!(!announce(&pending, &asleep, 5), "it is up");
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
            let shared = Arc::new((AtomicU64::new(0), AtomicU32::new(0), AtomicU32::new(0)));
            let senders: Vec<_> = (0..2)
                .map(|from| {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || announce(&shared.0, &shared.1, from))
                })
                .collect();
            let mut seen = take(&shared.0);
            let waits = doze(&shared.0, &shared.1);
            let rings: u32 = senders.into_iter().map(|s| u32::from(s.join().unwrap())).sum();
            assert!(rings <= 1, "woken twice for one sleep");
            if !waits && seen != 3 {
                assert_eq!(rings, 1, "it sleeps, and nobody wakes it");
            }
            seen |= take(&shared.0);
            assert_eq!(seen, 3);
        });
    }
}
