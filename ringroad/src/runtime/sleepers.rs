//! Threads that sleep in a wait: who wakes whom, and who leads.
//!
//! One sleeper leads: it sleeps on the interfaces' descriptors too, and wakes the others. A sleeper is
//! registered under the lock after its last look at the stack, so no wake-up falls between.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use stack::time::Instant;

/// A sleeper's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SleeperId(usize);

#[derive(Debug)]
struct Sleeper {
    bell: Arc<OwnedFd>,
    keys: Vec<u64>,
    /// When it wakes by itself.
    until: Instant,
    /// Its bell has been rung and it has not looked yet.
    notified: bool,
}

/// The threads that sleep in a wait.
#[derive(Debug, Default)]
pub struct Sleepers {
    slots: Vec<Option<Sleeper>>,
    free: Vec<usize>,
    by_key: HashMap<u64, Vec<usize>>,
    leader: Option<usize>,
    asleep: usize,
}

impl Sleepers {
    /// Wakes whoever waits with `key` among its keys.
    pub fn notify(&mut self, key: u64) {
        let Self { slots, by_key, .. } = self;
        for &at in by_key.get(&key).map_or(&[][..], Vec::as_slice) {
            if let Some(sleeper) = &mut slots[at] {
                sleeper.ring();
            }
        }
    }

    /// Wakes everyone.
    pub fn notify_all(&mut self) {
        self.slots.iter_mut().flatten().for_each(Sleeper::ring);
    }

    /// Whether someone sleeps on the interfaces' descriptors.
    pub(crate) fn has_leader(&self) -> bool {
        self.leader.is_some()
    }

    /// How many sleep.
    pub(crate) fn asleep(&self) -> usize {
        self.asleep
    }

    /// Wakes the leader when it would sleep past `deadline`.
    pub(crate) fn hurry(&mut self, deadline: Instant) {
        let Some(leader) = self.leader.and_then(|at| self.slots[at].as_mut()) else { return };
        if leader.until > deadline {
            leader.ring();
        }
    }

    /// A thread is about to sleep. It leads when nobody else does.
    pub(crate) fn enter(&mut self, bell: Arc<OwnedFd>, keys: &[u64]) -> SleeperId {
        let sleeper = Sleeper { bell, keys: keys.to_vec(), until: Instant::NEVER, notified: false };
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[at] = Some(sleeper);
        for &key in keys {
            self.by_key.entry(key).or_default().push(at);
        }
        self.asleep += 1;
        self.leader.get_or_insert(at);
        SleeperId(at)
    }

    /// It will wake by itself at `until`. True when it leads and has to watch the interfaces.
    pub(crate) fn sleep_until(&mut self, id: SleeperId, until: Instant) -> bool {
        if let Some(sleeper) = &mut self.slots[id.0] {
            sleeper.until = until;
        }
        *self.leader.get_or_insert(id.0) == id.0
    }

    /// It woke and looks at the stack now. True when its bell was rung.
    pub(crate) fn woke(&mut self, id: SleeperId) -> bool {
        self.slots[id.0].as_mut().is_some_and(|s| std::mem::take(&mut s.notified))
    }

    /// It leaves. When it led and others sleep, one of them is woken to lead.
    pub(crate) fn leave(&mut self, id: SleeperId) {
        let Some(sleeper) = self.slots[id.0].take() else { return };
        for key in sleeper.keys {
            if let Some(list) = self.by_key.get_mut(&key) {
                list.retain(|&at| at != id.0);
                if list.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        self.free.push(id.0);
        self.asleep -= 1;
        if self.leader == Some(id.0) {
            self.leader = self.slots.iter().position(Option::is_some);
            if let Some(next) = self.leader.and_then(|at| self.slots[at].as_mut()) {
                next.ring();
            }
        }
    }
}

impl Sleeper {
    fn ring(&mut self) {
        if !self.notified {
            self.notified = true;
            // It cannot fail but by overflow, and then the bell rings already.
            let _ = rustix::io::write(self.bell.as_fd(), &1u64.to_ne_bytes());
        }
    }
}
