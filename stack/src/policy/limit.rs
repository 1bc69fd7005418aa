//! How many flows a second may begin from one source.
//!
//! For each rule with a limit and each source (of IPv6: each network of 64 bits) it is remembered when the next flow
//! would be due if they came evenly (the generic cell rate algorithm): a second's worth may come at once, no more.
//! The memory is a table of a fixed size; where it is full, the source that was quiet for longest is forgotten, which
//! gives it no more than its second's worth anew.

use core::net::IpAddr;
use core::time::Duration;

use crate::hash::HashKey;
use crate::time::Instant;

/// Sources remembered: 256 KiB.
const SOURCES: usize = 1 << 14;
/// Places in which a source may be.
const WAYS: usize = 4;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u64,
    /// When the next flow would be due.
    due: Instant,
}

/// The sources with limits that were seen lately.
#[derive(Debug)]
pub(super) struct Limits {
    key: HashKey,
    /// Empty while no rule has a limit.
    entries: Vec<Entry>,
}

impl Limits {
    pub(super) fn new(key: HashKey) -> Self {
        Self { key, entries: Vec::new() }
    }

    /// Makes the table, if it is needed.
    pub(super) fn prepare(&mut self, needed: bool) {
        if needed && self.entries.is_empty() {
            self.entries = vec![Entry { tag: 0, due: Instant::ZERO }; SOURCES];
        }
    }

    /// Whether one more flow from `source` may begin under the limit `which` of `rate` a second; it is counted then.
    pub(super) fn take(&mut self, now: Instant, which: u32, source: IpAddr, rate: u32) -> bool {
        let (high, low) = match source.to_canonical() {
            IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
            IpAddr::V6(v6) => (1, (v6.to_bits() >> 64) as u64),
        };
        let tag = self.key.sip13(&[low, high << 32 | u64::from(which)]);
        let at = tag as usize % (SOURCES / WAYS) * WAYS;
        let Some(ways) = self.entries.get_mut(at..at + WAYS) else { return true };
        let place = match ways.iter().position(|entry| entry.tag == tag) {
            Some(place) => place,
            None => {
                let oldest = (0..WAYS).min_by_key(|&way| ways[way].due).unwrap_or(0);
                ways[oldest] = Entry { tag, due: Instant::ZERO };
                oldest
            }
        };
        let due = ways[place].due.max(now) + SECOND / rate.max(1);
        if due > now + SECOND {
            return false;
        }
        ways[place].due = due;
        true
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(l.entries.len(), SOURCES);
    }

    #[test]
    fn without_limits_there_is_no_table() {
        let mut l = Limits::new(HashKey::new([5; 16]));
        l.prepare(false);
        assert!(l.take(Instant::ZERO, 1, "10.0.0.1".parse().unwrap(), 1) && l.entries.is_empty());
    }
}
