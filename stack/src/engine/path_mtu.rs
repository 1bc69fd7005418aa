//! Paths that turned out narrower than their first link (RFC 1191), for datagrams; TCP remembers its own.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use crate::time::Instant;
use crate::wire::ipv6;

/// No IPv4 path is believed to be narrower, in bytes (Linux: net.ipv4.route.min_pmtu).
const LEAST: u16 = 552;
/// How long a path is believed to be narrow (Linux: net.ipv4.route.mtu_expires).
const BELIEF: Duration = Duration::from_secs(600);
/// Peers whose paths are remembered; the first learnt makes room.
const ROOM: usize = 1024;

/// What is known of the paths to some peers.
#[derive(Debug, Default)]
pub(super) struct PathMtus {
    paths: HashMap<IpAddr, (u16, Instant)>,
    order: VecDeque<IpAddr>,
}

impl PathMtus {
    /// A router said that packets to `peer` may have at most `mtu` bytes.
    pub(super) fn learn(&mut self, peer: IpAddr, mtu: u16, now: Instant) {
        let mtu = match peer {
            IpAddr::V4(_) => mtu.max(LEAST),
            // RFC 8201 §4: a message that says less than every link can do is not believed.
            IpAddr::V6(_) if mtu < ipv6::MTU_LEAST => return,
            IpAddr::V6(_) => mtu,
        };
        let path = (mtu, now + BELIEF);
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
    pub(super) fn limit(&self, peer: IpAddr, link: u16, now: Instant) -> u16 {
        match self.paths.get(&peer) {
            Some((mtu, until)) if now < *until => link.min(*mtu),
            _ => link,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const NOW: Instant = Instant::from_millis(1000);

    /// RFC 1191 §6.3; RFC 8201 §5.3
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

    /// RFC 8201 §4; RFC 8200 §5
    #[test]
    fn a_path_of_ipv6_is_never_narrower_than_every_link() {
        // RFC 8201 §4.
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        let mut paths = PathMtus::default();
        paths.learn(peer, 1279, NOW);
        assert_eq!(paths.limit(peer, 1500, NOW), 1500);
        paths.learn(peer, 1280, NOW);
        assert_eq!(paths.limit(peer, 1500, NOW), 1280);
    }

    #[test]
    fn memory_is_bounded() {
        let mut paths = PathMtus::default();
        for n in 0..3 * ROOM as u32 {
            paths.learn(Ipv4Addr::from_bits(n).into(), 1000, NOW);
        }
        assert_eq!((paths.paths.len(), paths.order.len()), (ROOM, ROOM));
        assert_eq!(paths.limit(Ipv4Addr::from_bits(3 * ROOM as u32 - 1).into(), 1500, NOW), 1000);
    }
}
