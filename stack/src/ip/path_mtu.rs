//! Paths that turned out narrower than their first link (RFC 1191, RFC 8201), by destination; and those whose width
//! is looked for (RFC 8899).

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use super::search::Search;
use crate::time::Instant;
use crate::wire::ipv6;

/// No IPv4 path is believed to be narrower, in bytes (Linux: net.ipv4.route.min_pmtu).
pub const LEAST_V4: u16 = 552;
/// How long a path is believed to be narrow (RFC 1191 §6.3, RFC 8201 §5.3; Linux: net.ipv4.route.mtu_expires).
const BELIEF: Duration = Duration::from_secs(600);
/// Peers whose paths are remembered; the first learnt makes room.
const ROOM: usize = 1024;
/// What routers that do not tell their MTU are likely to have (RFC 1191 §7).
const PLATEAUS: [u16; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, LEAST_V4];

/// What is known of a path.
#[derive(Clone, Copy, Debug)]
struct Path {
    /// Packets may have so many bytes.
    mtu: u16,
    /// That long it is believed.
    until: Instant,
    /// Whether and how longer packets are tried.
    search: Option<Search>,
}

/// What is known of the paths to some peers.
#[derive(Debug)]
pub struct PathMtus {
    paths: HashMap<IpAddr, Path>,
    /// Peers in the order in which the belief in their paths ends.
    order: VecDeque<(IpAddr, Instant)>,
    epoch: u8,
}

impl Default for PathMtus {
    /// Nothing is known. Room for all that ever will be is taken now: what is learnt comes with a packet.
    fn default() -> Self {
        Self { paths: HashMap::with_capacity(ROOM + 1), order: VecDeque::with_capacity(ROOM + 1), epoch: 0 }
    }
}

impl PathMtus {
    /// What an ICMP message says of the path to `peer`, on which packets had up to `now_at` bytes: `mtu` bytes at
    /// the most, or zero by a router that does not say. None when it is not to be believed: a path that takes as
    /// much as before is no news (RFC 5927 §7.2), and no IPv6 path takes less than 1280 (RFC 8201 §4).
    pub fn judge(peer: IpAddr, mtu: u16, now_at: u16) -> Option<u16> {
        if peer.is_ipv6() {
            return (ipv6::MTU_LEAST..now_at).contains(&mtu).then_some(mtu);
        }
        let mtu = match mtu {
            0 => PLATEAUS.into_iter().find(|&plateau| plateau < now_at)?,
            _ => mtu.max(LEAST_V4),
        };
        (mtu < now_at).then_some(mtu)
    }

    /// What every path to `peer` takes.
    pub fn least(peer: IpAddr) -> u16 {
        if peer.is_ipv4() { LEAST_V4 } else { ipv6::MTU_LEAST }
    }

    /// Packets to `peer` may have at most `mtu` bytes, for some time.
    pub fn learn(&mut self, peer: IpAddr, mtu: u16, now: Instant) {
        let mtu = match peer {
            IpAddr::V4(_) => mtu.max(LEAST_V4),
            IpAddr::V6(_) if mtu < ipv6::MTU_LEAST => return,
            IpAddr::V6(_) => mtu,
        };
        let (mtu, search) = match self.paths.get(&peer) {
            // It may be an answer to a probe: the path is as wide as it was, and no wider than that.
            Some(&Path { mtu: known, search: Some(mut search), .. }) => {
                search.bounded(mtu);
                (mtu.min(known), Some(search))
            }
            _ => (mtu, None),
        };
        self.believe(peer, mtu, search, now);
    }

    /// Packets to `peer` of more than `mtu` bytes disappear, or nothing is known of them: from there on the path's
    /// width is looked for (RFC 8899 §5.2: BASE).
    pub fn search_from(&mut self, peer: IpAddr, mtu: u16, now: Instant) {
        self.believe(peer, mtu, Some(Search::new()), now);
    }

    /// As [`search_from`](PathMtus::search_from), unless something is known of the path.
    pub fn search_unless_known(&mut self, peer: IpAddr, mtu: u16, now: Instant) {
        match self.paths.get_mut(&peer) {
            Some(Path { search: Some(_), .. }) => {}
            Some(path) => path.search = Some(Search::new()),
            None => self.search_from(peer, mtu, now),
        }
    }

    /// Whether longer packets to `peer` are worth a try.
    pub fn is_searched(&self, peer: IpAddr) -> bool {
        self.paths.get(&peer).and_then(|path| path.search).is_some_and(|search| !search.is_over())
    }

    /// The size of the packet to try next, at most `most` bytes; none: the search is over (RFC 8899 §5.3).
    pub fn wants(&mut self, peer: IpAddr, most: u16, now: Instant) -> Option<u16> {
        let path = self.paths.get_mut(&peer)?;
        let search = path.search.as_mut().filter(|search| !search.is_over())?;
        let wants = search.wants(path.mtu, most);
        if wants.is_none() {
            let Path { mtu, search, .. } = *path;
            self.believe(peer, mtu, search, now);
        }
        wants
    }

    /// A packet of `size` bytes to `peer` arrived: the path takes such.
    pub fn confirm(&mut self, peer: IpAddr, size: u16, now: Instant) {
        if let Some(&Path { mtu, search: Some(mut search), .. }) = self.paths.get(&peer)
            && size > mtu
        {
            search.confirmed();
            self.believe(peer, size, Some(search), now);
        }
    }

    /// A packet of `size` bytes to `peer` did not arrive, though others did.
    pub fn lost(&mut self, peer: IpAddr, size: u16) {
        if let Some(Path { mtu, search: Some(search), .. }) = self.paths.get_mut(&peer)
            && size > *mtu
        {
            search.lost(size);
        }
    }

    fn believe(&mut self, peer: IpAddr, mtu: u16, search: Option<Search>, now: Instant) {
        let until = now + BELIEF;
        if self.paths.insert(peer, Path { mtu, until, search }).is_none_or(|before| before.mtu != mtu) {
            self.touch();
        }
        self.order.push_back((peer, until));
        if self.order.len() > ROOM
            && let Some((first, then)) = self.order.pop_front()
        {
            self.end(first, then);
        }
    }

    /// The longest packet to `peer`, when the first link takes `link` bytes.
    #[inline]
    pub fn limit(&self, peer: IpAddr, link: u16, now: Instant) -> u16 {
        if self.paths.is_empty() {
            return link;
        }
        match self.paths.get(&peer) {
            Some(path) if now < path.until => link.min(path.mtu),
            _ => link,
        }
    }

    /// Changes whenever some path may have: who remembers a path's MTU looks again. It comes round after 256
    /// changes; whoever slept through exactly so many goes on with what it knew, which a router will correct.
    #[inline]
    pub fn epoch(&self) -> u8 {
        self.epoch
    }

    /// Routes or links have changed.
    pub fn touch(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// When the next belief ends.
    pub fn next_deadline(&self) -> Instant {
        self.order.front().map_or(Instant::NEVER, |(_, until)| *until)
    }

    /// Ends the beliefs that have lasted long enough: the path may be wider now.
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(peer, until)) = self.order.front()
            && until <= now
        {
            self.order.pop_front();
            match self.paths.get(&peer).filter(|path| path.until == until) {
                // PMTU_RAISE_TIMER (RFC 8899 §5.1.1): what was found is not forgotten, longer packets are tried again.
                Some(&Path { mtu, search: Some(search), .. }) if search.is_over() => {
                    self.believe(peer, mtu, Some(Search::new()), now);
                    self.touch();
                }
                _ => self.end(peer, until),
            }
        }
    }

    /// Forgets a path, unless more was heard of it since.
    fn end(&mut self, peer: IpAddr, until: Instant) {
        if self.paths.get(&peer).is_some_and(|path| path.until == until) {
            self.paths.remove(&peer);
            self.touch();
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
        let epoch = paths.epoch();
        assert_eq!(paths.next_deadline(), Instant::from_millis(601_000));
        paths.expire(Instant::from_millis(601_000));
        assert_ne!(paths.epoch(), epoch);
        assert_eq!(paths.next_deadline(), Instant::NEVER);
        paths.learn(PEER, 0, NOW);
        assert_eq!(paths.limit(PEER, 1500, NOW), 552);
    }

    /// RFC 8201 §5.3
    #[test]
    fn what_is_heard_again_is_believed_anew() {
        let mut paths = PathMtus::default();
        paths.learn(PEER, 1400, NOW);
        let epoch = paths.epoch();
        paths.learn(PEER, 1400, Instant::from_millis(300_000));
        assert_eq!(paths.epoch(), epoch, "no news");
        paths.expire(Instant::from_millis(601_000));
        assert_eq!(paths.limit(PEER, 1500, Instant::from_millis(601_000)), 1400);
        paths.expire(Instant::from_millis(900_000));
        assert_eq!(paths.limit(PEER, 1500, Instant::from_millis(900_000)), 1500);
    }

    /// RFC 8201 §4; RFC 8200 §5
    #[test]
    fn a_path_of_ipv6_is_never_narrower_than_every_link() {
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        let mut paths = PathMtus::default();
        paths.learn(peer, 1279, NOW);
        assert_eq!(paths.limit(peer, 1500, NOW), 1500);
        paths.learn(peer, 1280, NOW);
        assert_eq!(paths.limit(peer, 1500, NOW), 1280);
        assert_eq!(PathMtus::judge(peer, 1279, 1500), None);
        assert_eq!(PathMtus::judge(peer, 1280, 1500), Some(1280));
        assert_eq!(PathMtus::judge(peer, 1500, 1500), None);
    }

    /// RFC 1191 §5, §7.1
    #[test]
    fn a_router_that_does_not_say_is_taken_for_the_next_plateau() {
        assert_eq!(PathMtus::judge(PEER, 0, 1500), Some(1492));
        assert_eq!(PathMtus::judge(PEER, 0, 1492), Some(1006));
        assert_eq!(PathMtus::judge(PEER, 0, 1006), Some(552));
        assert_eq!(PathMtus::judge(PEER, 0, 552), None);
        assert_eq!(PathMtus::judge(PEER, 68, 1500), Some(552));
        assert_eq!(PathMtus::judge(PEER, 1500, 1500), None);
        assert_eq!(PathMtus::judge(PEER, 9000, 1500), None);
    }

    /// RFC 8899 §5.2, §5.3
    #[test]
    fn a_search_widens_the_path_and_begins_again_after_ten_minutes() {
        let mut paths = PathMtus::default();
        assert_eq!(paths.wants(PEER, 1500, NOW), None);
        paths.search_from(PEER, 1064, NOW);
        assert!(paths.is_searched(PEER));
        let mut now = NOW;
        while let Some(size) = paths.wants(PEER, 1500, now) {
            assert!(paths.is_searched(PEER));
            now += Duration::from_secs(1);
            if size <= 1400 { paths.confirm(PEER, size, now) } else { paths.lost(PEER, size) }
        }
        assert!(!paths.is_searched(PEER));
        let found = paths.limit(PEER, 1500, now);
        assert!((1393..=1400).contains(&found), "{found}");
        let (epoch, later) = (paths.epoch(), now + BELIEF);
        paths.expire(later);
        assert_ne!(paths.epoch(), epoch);
        assert!(paths.is_searched(PEER));
        assert_eq!(paths.limit(PEER, 1500, later), found);
        // Nobody tries: in the end it is forgotten.
        paths.expire(later + BELIEF);
        assert_eq!(paths.limit(PEER, 1500, later + BELIEF), 1500);
        assert_eq!(paths.next_deadline(), Instant::NEVER);
    }

    /// RFC 8899 §4.6.2: a router that answers a probe bounds the search; it does not narrow the path.
    #[test]
    fn a_routers_word_bounds_a_search() {
        let mut paths = PathMtus::default();
        paths.search_from(PEER, 1064, NOW);
        paths.learn(PEER, 1280, NOW);
        assert_eq!(paths.limit(PEER, 1500, NOW), 1064);
        assert_eq!(paths.wants(PEER, 1500, NOW), Some(1172));
        paths.learn(PEER, 900, NOW);
        assert_eq!(paths.limit(PEER, 1500, NOW), 900);
        paths.search_unless_known(PEER, 1064, NOW);
        assert_eq!(paths.limit(PEER, 1500, NOW), 900);
    }

    /// RFC 1191: what a router said before is where a search begins.
    #[test]
    fn a_path_that_is_known_is_not_narrowed_for_a_search() {
        let mut paths = PathMtus::default();
        paths.learn(PEER, 1400, NOW);
        paths.search_unless_known(PEER, 1064, NOW);
        assert_eq!(paths.limit(PEER, 1500, NOW), 1400);
        assert!(paths.is_searched(PEER));
    }

    #[test]
    fn memory_is_bounded() {
        let mut paths = PathMtus::default();
        for n in 0..3 * ROOM as u32 {
            paths.learn(Ipv4Addr::from_bits(n).into(), 1000, NOW);
            paths.learn(Ipv4Addr::from_bits(n).into(), 1000, NOW);
        }
        assert!(paths.paths.len() <= ROOM && paths.order.len() <= ROOM);
        assert_eq!(paths.limit(Ipv4Addr::from_bits(3 * ROOM as u32 - 1).into(), 1500, NOW), 1000);
    }
}
