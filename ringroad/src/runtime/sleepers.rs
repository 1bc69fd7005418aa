//! Threads that sleep in a wait: who wakes whom, and who leads.
//!
//! One sleeper leads: it sleeps on the interfaces' descriptors too, and wakes the others. A sleeper is
//! registered under the lock after its last look at the stack, so no wake-up falls between. The helper thread
//! is a guest: it leads only while no thread of the application wants to.

use std::collections::HashMap;

use stack::time::Instant;

use super::bell::Bell;

/// A sleeper's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SleeperId(usize);

#[derive(Debug)]
struct Sleeper {
    bell: Bell,
    keys: Vec<u64>,
    /// When it wakes by itself.
    until: Instant,
    /// Its bell has been rung and it has not looked yet.
    notified: bool,
    /// It is up and looks at the stack before it sleeps again: no need to ring.
    awake: bool,
    guest: bool,
}

/// The threads that sleep in a wait.
#[derive(Debug, Default)]
pub struct Sleepers {
    slots: Vec<Option<Sleeper>>,
    by_key: HashMap<u64, Vec<usize>>,
    leader: Option<usize>,
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

    /// How many sleep.
    #[cfg(test)]
    pub(crate) fn asleep(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Whether a thread of the application sleeps on the interfaces' descriptors.
    pub(crate) fn app_leads(&self) -> bool {
        self.leading().is_some_and(|s| !s.guest)
    }

    /// Whether anyone sleeps on the interfaces' descriptors.
    #[inline]
    pub(crate) fn led(&self) -> bool {
        self.leader.is_some()
    }

    /// Wakes the leader when it would sleep past `deadline`.
    #[inline]
    pub(crate) fn hurry(&mut self, deadline: Instant) {
        let Some(leader) = self.leader.and_then(|at| self.slots[at].as_mut()) else { return };
        if leader.until > deadline {
            leader.ring();
        }
    }

    /// A thread of the application polls by itself: a guest that leads is sent away.
    #[inline]
    pub(crate) fn dismiss_guest(&mut self) {
        let Some(leader) = self.leader.and_then(|at| self.slots[at].as_mut()) else { return };
        if leader.guest {
            leader.ring();
            self.leader = None;
        }
    }

    /// A thread is about to sleep. It leads when no other does.
    pub(crate) fn enter(&mut self, bell: Bell, keys: &[u64], guest: bool) -> SleeperId {
        if !guest {
            self.dismiss_guest();
        }
        let sleeper = Sleeper {
            bell,
            keys: keys.to_vec(),
            until: Instant::NEVER,
            notified: false,
            awake: false,
            guest,
        };
        let at = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[at] = Some(sleeper);
        for &key in keys {
            self.by_key.entry(key).or_default().push(at);
        }
        self.leader.get_or_insert(at);
        SleeperId(at)
    }

    /// Whether it leads, and has to watch the interfaces.
    pub(crate) fn leads(&self, id: SleeperId) -> bool {
        self.leader == Some(id.0)
    }

    /// It sleeps from here on, and wakes by itself at `until`. Its last look at the stack was under the lock that
    /// is still held.
    pub(crate) fn sleep_until(&mut self, id: SleeperId, until: Instant) {
        if let Some(sleeper) = &mut self.slots[id.0] {
            sleeper.until = until;
            sleeper.awake = false;
            self.leader.get_or_insert(id.0);
        }
    }

    /// It woke, and looks at the stack now. True when its bell was rung: it has to be silenced.
    pub(crate) fn woke(&mut self, id: SleeperId) -> bool {
        let Some(sleeper) = &mut self.slots[id.0] else { return false };
        sleeper.until = Instant::ZERO;
        sleeper.awake = true;
        std::mem::take(&mut sleeper.notified)
    }

    /// It leaves. When it led and others sleep, one of them is woken to lead. True when its bell was rung.
    pub(crate) fn leave(&mut self, id: SleeperId) -> bool {
        let Some(sleeper) = self.slots[id.0].take() else { return false };
        for key in sleeper.keys {
            if let Some(list) = self.by_key.get_mut(&key) {
                list.retain(|&at| at != id.0);
                if list.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        if self.leader == Some(id.0) {
            self.leader = self.slots.iter().position(|s| s.as_ref().is_some_and(|s| !s.guest));
            if let Some(next) = self.leader.and_then(|at| self.slots[at].as_mut()) {
                next.ring();
            }
        }
        sleeper.notified
    }

    fn leading(&self) -> Option<&Sleeper> {
        self.leader.and_then(|at| self.slots[at].as_ref())
    }
}

impl Sleeper {
    fn ring(&mut self) {
        if !self.notified && !self.awake {
            self.notified = true;
            self.bell.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(bell: &Bell) -> bool {
        rustix::io::read(bell, &mut [0u8; 8]).is_ok()
    }

    fn bells<const N: usize>() -> [Bell; N] {
        std::array::from_fn(|_| Bell::new().unwrap())
    }

    #[test]
    fn the_first_leads_and_hands_on_when_it_leaves() {
        let mut sleepers = Sleepers::default();
        let [a, b] = bells();
        let first = sleepers.enter(a.clone(), &[1], false);
        let second = sleepers.enter(b.clone(), &[2], false);
        assert!(sleepers.leads(first) && !sleepers.leads(second));
        sleepers.leave(first);
        assert!(sleepers.leads(second) && rings(&b) && !rings(&a));
        assert!(sleepers.leave(second), "it was rung");
        assert!(!sleepers.app_leads());
    }

    #[test]
    fn only_those_with_the_key_are_woken_and_only_once() {
        let mut sleepers = Sleepers::default();
        let [a, b] = bells();
        let first = sleepers.enter(a.clone(), &[1, 2], false);
        sleepers.enter(b.clone(), &[2, 3], false);
        sleepers.notify(1);
        sleepers.notify(1);
        assert!(rings(&a) && !rings(&a) && !rings(&b));
        assert!(sleepers.woke(first) && !sleepers.woke(first));
        sleepers.notify(2);
        assert!(!rings(&a) && rings(&b), "a looks by itself");
        sleepers.sleep_until(first, Instant::NEVER);
        sleepers.notify(1);
        assert!(rings(&a));
        sleepers.notify(9);
        sleepers.leave(first);
        assert!(rings(&b) || !rings(&a), "a left: nobody rings it any more");
        assert_eq!(sleepers.by_key.len(), 2);
    }

    #[test]
    fn a_guest_leads_only_until_the_application_sleeps_or_polls() {
        let mut sleepers = Sleepers::default();
        let [a, g] = bells();
        let guest = sleepers.enter(g.clone(), &[], true);
        assert!(sleepers.leads(guest) && !sleepers.app_leads());
        let app = sleepers.enter(a, &[1], false);
        assert!(sleepers.leads(app) && rings(&g) && sleepers.woke(guest));
        sleepers.leave(app);
        assert!(!sleepers.leads(guest), "a guest is never promoted");
        sleepers.sleep_until(guest, Instant::NEVER);
        assert!(sleepers.leads(guest));
        sleepers.dismiss_guest();
        assert!(!sleepers.leads(guest) && rings(&g));
    }

    #[test]
    fn a_leader_that_would_oversleep_is_woken() {
        let mut sleepers = Sleepers::default();
        let [a] = bells();
        let id = sleepers.enter(a.clone(), &[], false);
        sleepers.sleep_until(id, Instant::from_millis(10));
        sleepers.hurry(Instant::from_millis(10));
        assert!(!rings(&a));
        sleepers.hurry(Instant::from_millis(9));
        assert!(rings(&a));
        sleepers.woke(id);
        sleepers.hurry(Instant::from_millis(1));
        assert!(!rings(&a), "it is awake");
    }
}
