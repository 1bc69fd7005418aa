//! Connections that wait for a process that does not accept, while others hear the same end. Linux has one queue for all who
//! share a listener: whoever accepts first has the next. Here each has a queue of its own; what nobody has taken out of one
//! for a while is offered to the others, and so on, until one accepts. So a client waits neither for a worker that is busy
//! or stuck, nor for a master that only looks whether somebody is there.
//!
//! Listeners that share a port and not a socket (SO_REUSEPORT) have queues of their own in Linux, too, but which they are cannot
//! be told here: Postfix sets that option on the one socket that all its processes have.

use core::time::Duration;
use std::collections::BTreeMap;

use super::Stack;
use super::entry::{Body, Entry};
use crate::time::Instant;
use crate::types::{FlowKey, SocketId};

/// What waits for longer is offered by who has never accepted here: a master most likely, that looks and leaves it to others.
const SOON: Duration = Duration::from_millis(2);
/// The same for who does accept. A worker that is at it takes less for all that it accepts at a time.
const BUSY: Duration = Duration::from_millis(20);
/// What nobody takes goes round more and more slowly, down to this.
const LATE: Duration = Duration::from_millis(1280);

/// When what waits in a listener is offered.
#[derive(Debug)]
pub(super) struct Offer {
    /// `NEVER` where nothing waits, `ZERO` where that is to be reckoned yet.
    due: Instant,
    patience: Duration,
}

impl Default for Offer {
    fn default() -> Self {
        Self { due: Instant::NEVER, patience: SOON }
    }
}

impl Offer {
    /// A connection was taken out, and others wait still or do not.
    pub(super) fn accepted(&mut self, now: Instant, waits: bool) {
        self.patience = BUSY;
        self.due = if waits { now + self.patience } else { Instant::NEVER };
    }

    /// It goes more slowly from here on: what waits was offered by another, or nobody is there to take it.
    fn slow(&mut self) {
        self.patience = (self.patience * 2).min(LATE);
    }
}

/// Listeners in which something waits.
#[derive(Debug)]
pub(super) struct Offers {
    listeners: Vec<SocketId>,
    /// No later than the first of them is due.
    due: Instant,
    /// Those that are.
    open: Vec<SocketId>,
}

impl Default for Offers {
    fn default() -> Self {
        Self { listeners: Vec::new(), due: Instant::NEVER, open: Vec::new() }
    }
}

impl Offers {
    pub(super) fn next_deadline(&self) -> Instant {
        self.due
    }

    /// Something waits in a listener, and is offered then.
    fn note(&mut self, id: SocketId, due: Instant) {
        self.due = self.due.min(due);
        if !self.listeners.contains(&id) {
            self.listeners.push(id);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Stack {
    /// A connection waits for `accept` now. It may come from another stack, where nobody took it.
    pub(super) fn enqueue(&mut self, now: Instant, parent: SocketId, id: SocketId, came: bool) {
        if let Some(listener) = self.table.get_mut(parent).and_then(Entry::listener_mut) {
            listener.queue.push_back(id);
            if came {
                listener.offer.slow();
            }
            if listener.queue.len() == 1 {
                listener.offer.due = now + listener.offer.patience;
                self.offers.note(parent, listener.offer.due);
            }
        }
        self.wake(parent);
    }

    /// What waited in a listener that left waits in this one now.
    pub(super) fn offer_later(&mut self, id: SocketId) {
        if let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut)
            && !listener.queue.is_empty()
        {
            listener.offer.due = Instant::ZERO;
            self.offers.note(id, Instant::ZERO);
        }
    }

    /// Whether connections have waited for long enough: see [`Stack::offer`].
    pub fn has_offers(&self) -> bool {
        !self.offers.open.is_empty()
    }

    /// The connections that have waited for too long go: `address` says to whom, for each flow; none: it stays. Answers a letter
    /// for each, for [`Stack::take_over`] there.
    pub fn offer(
        &mut self,
        now: Instant,
        mut address: impl FnMut(&FlowKey) -> Option<u8>,
    ) -> BTreeMap<u8, Vec<u8>> {
        let mut letters = BTreeMap::new();
        for id in core::mem::take(&mut self.offers.open) {
            self.hand_over_queue(now, id, &mut address, &mut letters);
            if let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut)
                && !listener.queue.is_empty()
            {
                listener.offer.slow();
            }
        }
        letters
    }

    /// Looks which listeners have kept their connections waiting.
    pub(super) fn expire_offers(&mut self, now: Instant) {
        if now < self.offers.due {
            return;
        }
        let Self { table, offers, .. } = self;
        offers.due = Instant::NEVER;
        offers.listeners.retain(|id| {
            let Some(Body::Listener(listener)) = table.get_mut(*id).map(|entry| &mut entry.body) else {
                return false;
            };
            if listener.queue.is_empty() || listener.leaves.is_some() {
                return false;
            }
            if listener.offer.due <= now {
                let is_reckoned = listener.offer.due != Instant::ZERO;
                listener.offer.due = now + listener.offer.patience;
                if is_reckoned && !offers.open.contains(id) {
                    offers.open.push(*id);
                }
            }
            offers.due = offers.due.min(listener.offer.due);
            true
        });
    }
}
