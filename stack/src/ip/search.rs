//! The search for the longest packet that a path takes without a router's word for it (RFC 8899 §5.2, §5.3; RFC 4821
//! §7.3): between what was confirmed and what was refused, by halves, as Linux's `tcp_mtu_probe` does it.
//!
//! | RFC 8899 | here |
//! |---|---|
//! | DISABLED | a path without a `Search` |
//! | BASE, SEARCH | `wants` answers a size; the PLPMTU is the path's MTU |
//! | ERROR | the same, with a path's MTU under the base: it fell again |
//! | SEARCH_COMPLETE | `is_over`, until the belief in the path ends (PMTU_RAISE_TIMER) |

/// Sizes closer than this are one (Linux: tcp_probe_threshold).
const STEP: u16 = 8;
/// MAX_PROBES (RFC 8899 §5.1.2): so many packets of a size may be lost by chance before it is refused.
const MAX_PROBES: u8 = 3;

/// What is known of a path above its MTU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// Longer packets are not tried.
    high: u16,
    /// Probes were lost that were one longer.
    refused: bool,
    /// Of the size that is tried now so many were lost (PROBE_COUNT).
    lost: u8,
    over: bool,
}

impl Search {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Self { high: u16::MAX, refused: false, lost: 0, over: false }
    }

    /// Whether nothing is tried for now (SEARCH_COMPLETE).
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The size to try next on a path that is known to take `low` bytes, when the first link and the peer take
    /// `most`. None ends the search.
    pub(super) fn wants(&mut self, low: u16, most: u16) -> Option<u16> {
        let high = self.high.min(most);
        let gap = high.saturating_sub(low);
        self.over = gap == 0 || self.refused && gap < STEP;
        // The last step is the whole rest, unless that was refused.
        (!self.over).then_some(if gap < STEP { high } else { low + gap / 2 })
    }

    /// A probe came through: the next size begins anew.
    pub(super) fn confirmed(&mut self) {
        self.lost = 0;
    }

    /// A packet of `size` bytes was lost while others were not.
    pub(super) fn lost(&mut self, size: u16) {
        if size > self.high {
            return;
        }
        self.lost += 1;
        if self.lost >= MAX_PROBES {
            (self.high, self.refused, self.lost) = (size - 1, true, 0);
        }
    }

    /// A router says what it takes (RFC 8899 §4.6.2): nothing longer is tried.
    pub(super) fn bounded(&mut self, mtu: u16) {
        if mtu < self.high {
            (self.high, self.refused, self.lost) = (mtu, false, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a search from 1064 finds on a path of `path` bytes behind a link of 1500, and the sizes that it tried.
    fn found(path: u16) -> (u16, Vec<u16>) {
        let (mut search, mut low, mut tried) = (Search::new(), 1064, Vec::new());
        while let Some(size) = search.wants(low, 1500) {
            tried.push(size);
            if size <= path {
                search.confirmed();
                low = size;
            } else {
                search.lost(size);
            }
        }
        assert!(search.is_over());
        (low, tried)
    }

    /// RFC 8899 §5.3.1, §5.3.2
    #[test]
    fn every_path_is_found_to_the_step() {
        for path in 1064..=1500 {
            let (low, tried) = found(path);
            assert!(low <= path && path - low < STEP, "{path}: {low}");
            assert!(tried.len() <= 24, "{path}: {tried:?}");
        }
        assert_eq!(found(1500).1, [1282, 1391, 1445, 1472, 1486, 1493, 1500]);
        assert_eq!(found(1064).0, 1064);
    }

    /// RFC 8899 §5.1.2: MAX_PROBES
    #[test]
    fn a_size_is_refused_by_three_losses_in_a_row() {
        let mut search = Search::new();
        for _ in 0..2 {
            search.lost(1282);
            assert_eq!(search.wants(1064, 1500), Some(1282));
        }
        search.confirmed();
        for _ in 0..2 {
            search.lost(1391);
            assert_eq!(search.wants(1282, 1500), Some(1391));
        }
        search.lost(1391);
        assert_eq!(search.wants(1282, 1500), Some(1336));
    }

    /// RFC 8899 §4.6.2
    #[test]
    fn a_routers_word_is_tried_itself_and_nothing_longer() {
        let mut search = Search::new();
        search.bounded(1400);
        search.bounded(1450);
        assert_eq!(search.wants(1393, 1500), Some(1400));
        assert_eq!(search.wants(1400, 1500), None);
        assert!(search.is_over());
    }
}
