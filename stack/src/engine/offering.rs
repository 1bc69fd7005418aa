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
use super::entry::{Body, Entry, Stage};
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
    /// Something was accepted here.
    used: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Self { due: Instant::NEVER, used: false }
    }
}

impl Offer {
    /// A connection was taken out, and others wait still or do not.
    pub(super) fn accepted(&mut self, now: Instant, waits: bool) {
        self.used = true;
        self.due = if waits { now + BUSY } else { Instant::NEVER };
    }

    /// How long a connection waits that has waited in vain so many times before.
    fn patience(&self, times: u8) -> Duration {
        let first = if self.used { BUSY } else { SOON };
        first.saturating_mul(1 << times.min(16)).min(LATE)
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
    /// A connection waits for `accept` now. So many times it has waited elsewhere, and nobody took it.
    pub(super) fn enqueue(&mut self, now: Instant, parent: SocketId, id: SocketId, times: u8) {
        if let Some(listener) = self.table.get_mut(parent).and_then(Entry::listener_mut) {
            listener.queue.push_back(id);
            let due = listener.offer.due.min(now + listener.offer.patience(times));
            listener.offer.due = due;
            if listener.queue.len() == 1 {
                self.offers.note(parent, due);
            } else {
                self.offers.due = self.offers.due.min(due);
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
            self.wait_on(now, id);
        }
        letters
    }

    /// What waits in a listener still has waited in vain once more.
    fn wait_on(&mut self, now: Instant, id: SocketId) {
        let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut) else { return };
        let queue = core::mem::take(&mut listener.queue);
        let mut least = u8::MAX;
        for child in &queue {
            if let Some(connection) = self.table.get_mut(*child).and_then(Entry::connection_mut)
                && let Stage::Queued(_, times) = &mut connection.stage
            {
                *times = times.saturating_add(1);
                least = least.min(*times);
            }
        }
        let Some(listener) = self.table.get_mut(id).and_then(Entry::listener_mut) else { return };
        let waits = !queue.is_empty();
        listener.queue = queue;
        listener.offer.due = if waits { now + listener.offer.patience(least) } else { Instant::NEVER };
        if waits {
            let due = listener.offer.due;
            self.offers.note(id, due);
        }
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
                // Unless somebody sees to the offer, and says when it is due again.
                listener.offer.due = now + if is_reckoned { LATE } else { listener.offer.patience(0) };
                if is_reckoned && !offers.open.contains(id) {
                    offers.open.push(*id);
                }
            }
            offers.due = offers.due.min(listener.offer.due);
            true
        });
    }
}
