//! How many flows a second may begin from one source.
//!
//! For each rule with a limit and each source (of IPv6: each network of 64 bits) it is remembered when the next flow
//! would be due if they came evenly (the generic cell rate algorithm): a second's worth may come at once, no more.
//! The memory is a table of a fixed size; where it is full, the source that was quiet for longest is forgotten, which
//! gives it no more than its second's worth anew.
//!
//! Several stacks may keep one table together, in words that they share: none waits for another, and a source that begins
//! flows at all of them has one limit. Where a source is new to two of them at the same moment, it may have a second's worth of
//! each.

use core::net::IpAddr;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};
use core::time::Duration;

use crate::hash::HashKey;
use crate::time::Instant;

/// Sources remembered: 256 KiB.
const SOURCES: usize = 1 << 14;
/// Places in which a source may be.
const WAYS: usize = 4;
/// Words of a place: the source's tag, and when its next flow would be due, in nanoseconds.
const PLACE: usize = 2;
/// Words of the table, all zero at first.
pub const LIMIT_WORDS: usize = SOURCES * PLACE;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Table {
    /// No rule has a limit.
    None,
    Own(Box<[AtomicU64]>),
    Shared(&'static [AtomicU64]),
}

/// The sources with limits that were seen lately.
#[derive(Debug)]
pub(super) struct Limits {
    key: HashKey,
    table: Table,
}

impl Limits {
    pub(super) fn new(key: HashKey) -> Self {
        Self { key, table: Table::None }
    }

    /// Makes the table, if it is needed and there is none.
    pub(super) fn prepare(&mut self, needed: bool) {
        if needed && matches!(self.table, Table::None) {
            self.table = Table::Own((0..LIMIT_WORDS).map(|_| AtomicU64::new(0)).collect());
        }
    }

    /// Keeps the table in words that others share, who have the same key.
    pub(super) fn share(&mut self, key: HashKey, words: &'static [AtomicU64]) {
        *self = Self { key, table: Table::Shared(words) };
    }

    /// Whether one more flow from `source` may begin under the limit `which` of `rate` a second; it is counted then.
    pub(super) fn take(&mut self, now: Instant, which: u32, source: IpAddr, rate: u32) -> bool {
        let (high, low) = match source.to_canonical() {
            IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
            IpAddr::V6(v6) => (1, (v6.to_bits() >> 64) as u64),
        };
        let tag = self.key.sip13(&[low, high << 32 | u64::from(which)]);
        let words = match &self.table {
            Table::None => return true,
            Table::Own(words) => words,
            Table::Shared(words) => *words,
        };
        let at = tag as usize % (SOURCES / WAYS) * WAYS * PLACE;
        let Some(ways) = words.get(at..at + WAYS * PLACE) else { return true };
        let now = now.as_nanos();
        let (second, step) = (SECOND.as_nanos() as u64, SECOND.as_nanos() as u64 / u64::from(rate.max(1)));
        // So late it is with nobody who keeps the rules and has our clock.
        let is_wrong = |due: u64| due > now.saturating_add(2 * second);
        let begins = |due: u64| if is_wrong(due) { now } else { due.max(now) };
        let next = |due: u64| Some(begins(due) + step).filter(|next| *next <= now + second);
        due_of(ways, tag, now).fetch_update(AcqRel, Acquire, next).is_ok()
    }
}

/// When the next flow of a source would be due, which gets the place of another if it has none.
fn due_of(ways: &[AtomicU64], tag: u64, now: u64) -> &AtomicU64 {
    let tag_at = |way: usize| &ways[way * PLACE];
    let due_at = |way: usize| &ways[way * PLACE + 1];
    let found = || (0..WAYS).find(|&way| tag_at(way).load(Acquire) == tag);
    // Somebody else may take a place, or put it there, meanwhile.
    for _ in 0..WAYS {
        // Who has looked at the first place before it was put there may see it in a second one, for a moment.
        if let Some(way) = found().and_then(|_| found()) {
            return due_at(way);
        }
        let oldest = (0..WAYS).min_by_key(|&way| due_at(way).load(Acquire)).unwrap_or(0);
        let (former, left) = (tag_at(oldest).load(Acquire), due_at(oldest).load(Acquire));
        // Who has put it there meanwhile has counted since.
        if former == tag || tag_at(oldest).compare_exchange(former, tag, AcqRel, Acquire).is_err() {
            continue;
        }
        // What the former had begun is not this one's; what others have begun since is.
        if left > now {
            let _ = due_at(oldest).compare_exchange(left, now, AcqRel, Acquire);
        }
        // The first place counts, if there are two now.
        let first = found().unwrap_or(oldest);
        if first != oldest {
            let _ = tag_at(oldest).compare_exchange(tag, 0, AcqRel, Acquire);
        }
        return due_at(first);
    }
    due_at(0)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering::Release;

    use super::*;

    fn limits() -> Limits {
        let mut limits = Limits::new(HashKey::new([5; 16]));
        limits.prepare(true);
        limits
    }

    fn passed(limits: &mut Limits, ms: u64, source: &str, tries: usize) -> usize {
        let source = source.parse().unwrap();
        (0..tries).filter(|_| limits.take(Instant::from_millis(ms), 7, source, 10)).count()
    }

    #[test]
    fn a_second_has_so_many() {
        let mut l = limits();
        assert_eq!(passed(&mut l, 5_000, "10.0.0.1", 100), 10);
        assert_eq!(passed(&mut l, 5_000, "10.0.0.2", 100), 10, "another source has its own");
        assert_eq!(passed(&mut l, 5_099, "10.0.0.1", 100), 0);
        assert_eq!(passed(&mut l, 5_100, "10.0.0.1", 100), 1);
        assert_eq!(passed(&mut l, 5_500, "10.0.0.1", 100), 4);
        assert_eq!(passed(&mut l, 60_000, "10.0.0.1", 100), 10, "quiet times are not saved up");
        assert!(l.take(Instant::from_millis(5_000), 8, "10.0.0.1".parse().unwrap(), 1), "another rule, too");
    }

    #[test]
    fn ipv6_sources_are_networks() {
        let mut l = limits();
        assert_eq!(passed(&mut l, 0, "2001:db8::1", 6), 6);
        assert_eq!(passed(&mut l, 0, "2001:db8::2", 6), 4);
        assert_eq!(passed(&mut l, 0, "2001:db8:0:1::2", 6), 6);
    }

    #[test]
    fn very_many_sources_take_no_more_memory() {
        let mut l = limits();
        for source in 0..100_000_u32 {
            assert!(l.take(Instant::from_millis(9), 1, IpAddr::from(source.to_be_bytes()), 1));
        }
        assert!(matches!(l.table, Table::Own(words) if words.len() == LIMIT_WORDS));
    }

    #[test]
    fn without_limits_there_is_no_table() {
        let mut l = Limits::new(HashKey::new([5; 16]));
        l.prepare(false);
        assert!(l.take(Instant::ZERO, 1, "10.0.0.1".parse().unwrap(), 1) && matches!(l.table, Table::None));
    }

    /// Of stacks that share a table, whichever a source turns to.
    fn sharing(count: usize) -> Vec<Limits> {
        let words: &'static [AtomicU64] = Box::leak((0..LIMIT_WORDS).map(|_| AtomicU64::new(0)).collect());
        let one = || {
            let mut limits = Limits::new(HashKey::new([5; 16]));
            limits.share(HashKey::new([7; 16]), words);
            limits.prepare(true);
            limits
        };
        std::iter::repeat_with(one).take(count).collect()
    }

    #[test]
    fn stacks_that_share_have_one_limit() {
        let mut all = sharing(4);
        let mut passed = |ms| all.iter_mut().map(|one| passed(one, ms, "10.0.0.1", 25)).sum::<usize>();
        assert_eq!([passed(5_000), passed(5_099), passed(5_500), passed(60_000)], [10, 0, 5, 10]);
    }

    /// All are new to a source at the same moment.
    #[test]
    fn beside_each_other_too() {
        for round in 0..20 {
            let mut all = sharing(4);
            // One that is new to all of them at the same moment may have more.
            assert_eq!(passed(&mut all[0], 5_000, "10.0.0.1", 1), 1);
            let sum: usize = std::thread::scope(|scope| {
                let each = |mut one: Limits| scope.spawn(move || passed(&mut one, 5_000, "10.0.0.1", 100));
                let all: Vec<_> = all.into_iter().map(each).collect();
                all.into_iter().map(|one| one.join().unwrap()).sum()
            });
            assert_eq!(sum, 9, "round {round}");
        }
    }

    /// Another process may have written there what it likes, or have another clock.
    #[test]
    fn a_moment_that_cannot_be_is_none() {
        for word in [u64::MAX, 1 << 63, 8_000_000_000] {
            let mut l = limits();
            assert_eq!(passed(&mut l, 5_000, "10.0.0.1", 1), 1);
            let Table::Own(words) = &l.table else { panic!("no table") };
            words.iter().skip(1).step_by(PLACE).for_each(|due| due.store(word, Release));
            assert_eq!(passed(&mut l, 5_000, "10.0.0.1", 100), 10, "{word}");
            assert_eq!(passed(&mut l, 5_000, "10.0.0.2", 100), 10, "{word}");
        }
    }
}
