//! Stacks that share a local endpoint: its flows are spread over them by hash, a bucket at a time.
//!
//! A group's members are bits of a few words, and what the program reads, the slot of each bucket, is made from
//! them. Groups change under a lock that names its holder; should that be killed in the middle, the members say
//! what was meant.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Steering;
use super::directory::bucket_of;
use super::keys::{BUCKETS, FlowKey, GROUP_WORDS, GROUPS, NOBODY, PortKey};
use crate::ledger::Slot;
use crate::mapped::Words;
use crate::slots::{Slots, WORDS, place};

/// All groups of an interface, mapped.
#[derive(Debug)]
pub(super) struct Groups {
    words: Words,
}

impl Groups {
    pub(super) fn map(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { words: Words::of_map(fd, GROUPS as usize * GROUP_WORDS * size_of::<u64>())? })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        self.words.fd()
    }

    fn members(&self, group: u32) -> [&AtomicU64; WORDS] {
        self.words.longs(group as usize * GROUP_WORDS)
    }

    fn bucket(&self, group: u32, word: usize) -> &AtomicU64 {
        self.words.long(group as usize * GROUP_WORDS + WORDS + word)
    }

    /// The members of a group.
    pub(super) fn members_of(&self, group: u32) -> Slots {
        if group >= GROUPS {
            return Slots::NONE;
        }
        Slots::from_words(self.members(group).map(|word| word.load(Ordering::Relaxed)))
    }

    /// The member whose a group's bucket is.
    pub(super) fn hearer(&self, group: u32, bucket: usize) -> Option<Slot> {
        if group >= GROUPS || bucket >= BUCKETS {
            return None;
        }
        let word = self.bucket(group, bucket / 8).load(Ordering::Relaxed);
        Some(word.to_ne_bytes()[bucket % 8]).filter(|slot| *slot != NOBODY)
    }

    /// A group without members; none when there is none.
    pub(super) fn vacant(&self) -> Option<u32> {
        (0..GROUPS).find(|group| self.members_of(*group).is_empty())
    }

    /// Stack `slot` hears what the group hears, or no longer. True when it has members.
    pub(super) fn change(&self, group: u32, slot: Slot, joins: bool) -> bool {
        let (word, bit) = place(slot);
        let word = self.members(group)[word];
        let before = word.load(Ordering::Relaxed);
        word.store(if joins { before | bit } else { before & !bit }, Ordering::Relaxed);
        let members = self.members_of(group);
        self.spread(group, members);
        !members.is_empty()
    }

    /// Gives each bucket to a member, in turn.
    fn spread(&self, group: u32, members: Slots) {
        let slots: Vec<Slot> = members.into_iter().collect();
        for at in 0..BUCKETS / 8 {
            let bytes = std::array::from_fn(|n| {
                let turn = (at * 8 + n) % slots.len().max(1);
                slots.get(turn).copied().unwrap_or(NOBODY)
            });
            self.bucket(group, at).store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
    }

    /// Takes stack `slot` out of every group; `empty` is told of those that have no member now.
    pub(super) fn release(&self, slot: Slot, mut empty: impl FnMut(u32)) {
        for group in 0..GROUPS {
            if self.members_of(group).contains(slot) && !self.change(group, slot, false) {
                empty(group);
            }
        }
    }

    /// Makes what the program reads anew, after a change that was not finished.
    pub(super) fn mend(&self) {
        for group in 0..GROUPS {
            let members = self.members_of(group);
            if !members.is_empty() {
                self.spread(group, members);
            }
        }
    }
}

impl Steering {
    /// The stacks that hear an endpoint.
    ///
    /// # Errors
    /// The operating system's.
    pub fn hearers(&self, protocol: u8, local: SocketAddr) -> io::Result<Slots> {
        let group = self.group(&PortKey::new(protocol, local).0)?;
        Ok(group.map_or(Slots::NONE, |group| self.groups.members_of(group)))
    }

    /// The stack that gets a flow which is in no directory: one of those that hear its local end, the same that the
    /// program would choose.
    ///
    /// # Errors
    /// The operating system's.
    pub fn hearer(&self, protocol: u8, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Slot>> {
        let Some(group) = self.group(&PortKey::new(protocol, local).0)? else { return Ok(None) };
        let bucket = bucket_of(&FlowKey::new(protocol, local, remote), self.seed());
        Ok(self.groups.hearer(group, bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    fn groups() -> Groups {
        let bytes = GROUPS as usize * GROUP_WORDS * size_of::<u64>();
        Groups::map(sys::memfd(c"groups", bytes as u64).unwrap()).unwrap()
    }

    fn buckets(groups: &Groups, group: u32) -> Vec<u8> {
        let word = |at| groups.bucket(group, at).load(Ordering::Relaxed);
        (0..BUCKETS / 8).flat_map(|at| word(at).to_ne_bytes()).collect()
    }

    #[test]
    fn members_share_the_buckets_evenly() {
        let g = groups();
        assert_eq!(g.vacant(), Some(0));
        for (n, slot) in [(1, 5), (2, 0), (3, 250)] {
            assert!(g.change(0, slot, true));
            let b = buckets(&g, 0);
            for member in [5, 0, 250].into_iter().take(n) {
                let share = b.iter().filter(|s| **s == member).count();
                assert!((BUCKETS / n..=BUCKETS / n + 1).contains(&share), "{member} has {share}");
            }
        }
        assert_eq!(g.vacant(), Some(1));
        let all: Vec<_> = (0..BUCKETS).map(|n| g.hearer(0, n).unwrap()).collect();
        assert_eq!(all, buckets(&g, 0));
        assert_eq!([g.hearer(0, BUCKETS), g.hearer(GROUPS, 0)], [None; 2]);
        let mut empty = Vec::new();
        for slot in [0, 5] {
            g.release(slot, |group| empty.push(group));
        }
        assert!(empty.is_empty() && buckets(&g, 0).iter().all(|s| *s == 250));
        g.release(250, |group| empty.push(group));
        assert_eq!(empty, [0]);
        assert!(buckets(&g, 0).iter().all(|s| *s == NOBODY));
        assert_eq!(g.hearer(0, 7), None);
    }
}
