//! Which stack has which flow: a table that the stacks write without a system call and the program reads.
//!
//! A flow has a few places, one behind the other, chosen by a keyed hash. A place is five words; the last holds
//! ports, protocol, slot and whether the place is in force, so one store puts a flow in or takes it out. Readers
//! may see a place that is being filled: it is not in force then. A stack that is killed leaves places behind,
//! which [`Directory::release`] finds by its slot.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::keys::{BUCKETS, DIRECTORY, FLOW_WORDS, FlowKey, SteeredFlow, WAYS};
use crate::ledger::Slot;
use crate::mapped::Words;

/// Of a place's last word: what of it is the flow's own.
const KEY: u64 = 0xff_ffff_ffff;
const SLOT_SHIFT: u32 = 40;
/// Taken, not yet in force.
const FILLING: u64 = 2 << 48;
/// In force.
const LIVE: u64 = 1 << 48;

/// The directory, mapped.
#[derive(Debug)]
pub(super) struct Directory {
    words: Words,
}

/// As `hash` in `bpf/steer.bpf.c`.
fn hash(words: [u64; FLOW_WORDS], seed: u64) -> u64 {
    words.iter().fold(seed, |h, word| {
        let h = (h ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        h ^ h >> 32
    })
}

/// A flow's bucket in its group, as `slot_in_group` in `bpf/steer.bpf.c`.
pub(super) fn bucket_of(flow: &FlowKey, seed: u64) -> usize {
    (hash(flow.words(), seed) >> 40) as usize & (BUCKETS - 1)
}

fn slot_of(last: u64) -> Slot {
    (last >> SLOT_SHIFT) as Slot
}

fn live(key: u64, slot: Slot) -> u64 {
    key | u64::from(slot) << SLOT_SHIFT | LIVE
}

/// A flow whose last word was `seen` goes to an heir, or out. False when another stack has said meanwhile that it is its
/// own, which counts.
fn give_up(last: &AtomicU64, seen: u64, heir: Option<Slot>) -> bool {
    let next = heir.map_or(0, |heir| live(seen & KEY, heir));
    last.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}

impl Directory {
    pub(super) fn map(fd: OwnedFd) -> io::Result<Self> {
        let bytes = DIRECTORY as usize * FLOW_WORDS * size_of::<u64>();
        Ok(Self { words: Words::of_map(fd, bytes)? })
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        self.words.fd()
    }

    fn place(&self, at: usize) -> [&AtomicU64; FLOW_WORDS] {
        std::array::from_fn(|n| self.words.long(at * FLOW_WORDS + n))
    }

    fn places(&self, key: &[u64; FLOW_WORDS], seed: u64) -> impl Iterator<Item = [&AtomicU64; FLOW_WORDS]> {
        let first = hash(*key, seed) as u32 & (DIRECTORY - 1) & !(WAYS as u32 - 1);
        (0..WAYS).map(move |way| self.place(first as usize + way))
    }

    /// A flow's place, and the last word there.
    fn find(&self, key: &[u64; FLOW_WORDS], seed: u64) -> Option<([&AtomicU64; FLOW_WORDS], u64)> {
        self.places(key, seed).find_map(|place| {
            let last = place[4].load(Ordering::Acquire);
            let found = last & LIVE != 0
                && last & KEY == key[4]
                && place[..4].iter().zip(key).all(|(word, part)| word.load(Ordering::Relaxed) == *part);
            found.then_some((place, last))
        })
    }

    /// Says that the flow is stack `slot`'s. False when all its places are taken.
    pub(super) fn insert(&self, flow: &FlowKey, seed: u64, slot: Slot) -> bool {
        let key = flow.words();
        while let Some((place, seen)) = self.find(&key, seed) {
            // One that is given up just now may be another flow's in a moment.
            if give_up(place[4], seen, Some(slot)) {
                return true;
            }
        }
        let filling = FILLING | u64::from(slot) << SLOT_SHIFT;
        let free = self
            .places(&key, seed)
            .find(|place| place[4].compare_exchange(0, filling, Ordering::AcqRel, Ordering::Relaxed).is_ok());
        let Some(place) = free else { return false };
        for (word, part) in place[..4].iter().zip(key) {
            word.store(part, Ordering::Relaxed);
        }
        place[4].store(live(key[4], slot), Ordering::Release);
        true
    }

    /// The flow is stack `slot`'s no longer. False when it was not in the directory as that.
    pub(super) fn remove(&self, flow: &FlowKey, seed: u64, slot: Slot) -> bool {
        let key = flow.words();
        self.find(&key, seed).is_some_and(|(place, _)| give_up(place[4], live(key[4], slot), None))
    }

    /// The flow is stack `to`'s from here on, if it was `from`'s. False when it was not in the directory as that.
    pub(super) fn hand(&self, flow: &FlowKey, seed: u64, (from, to): (Slot, Slot)) -> bool {
        let key = flow.words();
        self.find(&key, seed).is_some_and(|(place, _)| give_up(place[4], live(key[4], from), Some(to)))
    }

    /// Whose the flow is.
    pub(super) fn get(&self, flow: &FlowKey, seed: u64) -> Option<Slot> {
        self.find(&flow.words(), seed).map(|(_, last)| slot_of(last))
    }

    /// Takes every flow of stack `slot`, which is gone, out, or gives it to `heir`, and names it. Looks at every
    /// place.
    pub(super) fn release(&self, slot: Slot, heir: Option<Slot>, mut flow: impl FnMut(SteeredFlow)) {
        for at in 0..DIRECTORY as usize {
            let place = self.place(at);
            let last = place[4].load(Ordering::Acquire);
            if last == 0 || slot_of(last) != slot {
                continue;
            }
            if last & LIVE == 0 {
                place[4].store(0, Ordering::Release);
                continue;
            }
            let mut words: [u64; FLOW_WORDS] = std::array::from_fn(|n| place[n].load(Ordering::Relaxed));
            words[4] = last & KEY;
            if give_up(place[4], last, heir) {
                flow(FlowKey::flow(words));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::sys;

    const SEED: u64 = 0x1234_5678_9abc_def0;

    fn directory() -> Directory {
        let bytes = DIRECTORY as usize * FLOW_WORDS * size_of::<u64>();
        Directory::map(sys::memfd(c"directory", bytes as u64).unwrap()).unwrap()
    }

    fn key(n: u16) -> FlowKey {
        let end = |text: &str, port| SocketAddr::new(text.parse().unwrap(), port);
        match n % 2 {
            0 => FlowKey::new(6, end("10.0.0.1", 80), end("10.0.0.2", n)),
            _ => FlowKey::new(6, end("2001:db8::1", 80), end("2001:db8::2", n)),
        }
    }

    #[test]
    fn a_flow_is_its_stack_s_until_it_says_otherwise() {
        let d = directory();
        assert_eq!(d.get(&key(1), SEED), None);
        assert!(d.insert(&key(1), SEED, 3) && d.insert(&key(2), SEED, 4));
        assert_eq!(
            (d.get(&key(1), SEED), d.get(&key(2), SEED), d.get(&key(3), SEED)),
            (Some(3), Some(4), None)
        );
        assert!(d.insert(&key(1), SEED, 5), "handed over in place");
        assert!(!d.remove(&key(1), SEED, 3), "the old one has no say");
        assert!(d.remove(&key(1), SEED, 5) && !d.remove(&key(1), SEED, 5));
        assert_eq!(d.get(&key(1), SEED), None);
    }

    /// Whoever takes a flow over from a stack that is just being cleared away keeps it.
    #[test]
    fn a_flow_that_was_taken_meanwhile_is_not_given_up() {
        let d = directory();
        assert!(d.insert(&key(1), SEED, 1));
        let (place, seen) = d.find(&key(1).words(), SEED).unwrap();
        assert!(d.insert(&key(1), SEED, 2));
        assert!(!give_up(place[4], seen, None) && !give_up(place[4], seen, Some(3)));
        assert_eq!(d.get(&key(1), SEED), Some(2));
        assert!(!d.hand(&key(1), SEED, (1, 3)) && d.hand(&key(1), SEED, (2, 3)));
        assert_eq!((d.get(&key(1), SEED), d.hand(&key(2), SEED, (1, 3))), (Some(3), false));
    }

    #[test]
    fn what_a_dead_stack_had_goes_to_its_heir_by_name() {
        let d = directory();
        (0..100).for_each(|n| assert!(d.insert(&key(n), SEED, (n % 3) as Slot)));
        d.places(&key(500).words(), SEED).next().unwrap()[4]
            .store(FILLING | 1 << SLOT_SHIFT, Ordering::Relaxed);
        let mut named = Vec::new();
        d.release(1, Some(2), |flow| named.push(flow.remote.port()));
        named.sort_unstable();
        assert_eq!(named, (0..100).filter(|n| n % 3 == 1).collect::<Vec<u16>>());
        assert!((0..100).all(|n| d.get(&key(n), SEED) == Some([0, 2, 2][usize::from(n % 3)])));
        d.release(2, None, |_| {});
        assert!((0..100).all(|n| d.get(&key(n), SEED).is_some() == (n % 3 == 0)));
        assert!(d.insert(&key(500), SEED, 0), "what was half done is free again");
    }

    /// At a load of a half nearly every flow has a place; those that have none are told so.
    #[test]
    fn a_full_neighbourhood_says_so() {
        let d = directory();
        let flows = (0..DIRECTORY / 2).map(|n| {
            let remote = SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], (n >> 16) as u16 + 1));
            FlowKey::new(6, SocketAddr::from(([10, 0, 0, 1], 80)), remote)
        });
        let (inside, outside): (Vec<_>, Vec<_>) = flows.partition(|key| d.insert(key, SEED, 1));
        assert!(outside.len() < inside.len() / 10, "{} of {}", outside.len(), inside.len());
        assert!(inside.iter().all(|key| d.get(key, SEED) == Some(1)));
        assert!(outside.iter().all(|key| d.get(key, SEED).is_none()));
    }
}
