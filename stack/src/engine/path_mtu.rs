//! Paths that turned out narrower than their first link (RFC 1191), for datagrams; TCP remembers its own.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use crate::time::Instant;

/// No path is believed to be narrower, in bytes (Linux: net.ipv4.route.min_pmtu).
const LEAST: u16 = 552;
/// How long a path is believed to be narrow (Linux: net.ipv4.route.mtu_expires).
const BELIEF: Duration = Duration::from_secs(600);
/// Peers whose paths are remembered; the first learnt makes room.
const ROOM: usize = 1024;

/// What is known of the paths to some peers.
#[derive(Debug, Default)]
pub(super) struct PathMtus {
    paths: HashMap<Ipv4Addr, (u16, Instant)>,
    order: VecDeque<Ipv4Addr>,
}

impl PathMtus {
    /// A router said that packets to `peer` may have at most `mtu` bytes.
    pub(super) fn learn(&mut self, peer: Ipv4Addr, mtu: u16, now: Instant) {
        let path = (mtu.max(LEAST), now + BELIEF);
        if self.paths.insert(peer, path).is_some() {
            return;
        }
        self.order.push_back(peer);
        if self.order.len() > ROOM
            && let Some(first) = self.order.pop_front()
        {
            self.paths.remove(&first);
        }
    }

    /// The longest packet to `peer`, when the first link takes `link` bytes.
    pub(super) fn limit(&self, peer: Ipv4Addr, link: u16, now: Instant) -> u16 {
        match self.paths.get(&peer) {
            Some((mtu, until)) if now < *until => link.min(*mtu),
            _ => link,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const NOW: Instant = Instant::from_millis(1000);

    #[test]
    fn a_narrow_path_widens_after_ten_minutes() {
        let mut paths = PathMtus::default();
        assert_eq!(paths.limit(PEER, 1500, NOW), 1500);
        paths.learn(PEER, 1400, NOW);
        assert_eq!(paths.limit(PEER, 1500, NOW), 1400);
        assert_eq!(paths.limit(PEER, 1280, NOW), 1280);
        assert_eq!(paths.limit(PEER, 1500, Instant::from_millis(600_999)), 1400);
        assert_eq!(paths.limit(PEER, 1500, Instant::from_millis(601_000)), 1500);
        paths.learn(PEER, 0, NOW);
        assert_eq!(paths.limit(PEER, 1500, NOW), 552);
    }

    #[test]
    fn memory_is_bounded() {
        let mut paths = PathMtus::default();
        for n in 0..3 * ROOM as u32 {
            paths.learn(Ipv4Addr::from_bits(n), 1000, NOW);
        }
        assert_eq!((paths.paths.len(), paths.order.len()), (ROOM, ROOM));
        assert_eq!(paths.limit(Ipv4Addr::from_bits(3 * ROOM as u32 - 1), 1500, NOW), 1000);
    }
}
