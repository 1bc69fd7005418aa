//! The groups that a socket has joined, and from whom it hears each (RFC 3376 §3, RFC 3678).
//!
//! The backing kernel socket joins first: IGMP and MLD are its, and so are the errors and limits. This is the
//! mirror by which the stack decides what a socket hears.

use core::net::IpAddr;

use crate::types::IfaceId;

/// Groups a socket may have here, and sources of a group (Linux: net.ipv4.igmp_max_memberships is 20, igmp_max_msf
/// 10, and both can be raised).
const MOST_GROUPS: usize = 256;
const MOST_SOURCES: usize = 128;

/// A change of membership, as the kernel's socket has just made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// IP_ADD_MEMBERSHIP, MCAST_JOIN_GROUP: hear everybody.
    Join,
    /// IP_DROP_MEMBERSHIP, MCAST_LEAVE_GROUP: hear nobody.
    Leave,
    /// IP_BLOCK_SOURCE: hear all but these.
    Block(IpAddr),
    /// IP_UNBLOCK_SOURCE.
    Unblock(IpAddr),
    /// IP_ADD_SOURCE_MEMBERSHIP: hear none but these.
    JoinSource(IpAddr),
    /// IP_DROP_SOURCE_MEMBERSHIP; the last source takes the group with it.
    LeaveSource(IpAddr),
    /// IP_MSFILTER, MCAST_MSFILTER: the whole filter; true: hear none but these.
    Filter(bool, Vec<IpAddr>),
}

/// A group joined on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Membership {
    group: IpAddr,
    iface: IfaceId,
    /// INCLUDE mode: none but the sources; else all but them.
    include: bool,
    sources: Vec<IpAddr>,
}

/// The memberships of one socket.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    joined: Vec<Membership>,
}

impl Groups {
    /// Whether none was joined.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    /// The groups, each once for every interface it was joined on.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.joined.iter().map(|m| m.group)
    }

    /// Whether the group was joined, on whatever interface.
    pub fn contains(&self, group: IpAddr) -> bool {
        self.joined.iter().any(|m| m.group == group)
    }

    /// Whether a datagram of `source` to `group` that arrived on `iface` is for this socket. `all` is
    /// IP_MULTICAST_ALL: without a membership of its own the socket hears what others of the host joined.
    #[inline]
    pub fn hears(&self, group: IpAddr, iface: IfaceId, source: IpAddr, all: bool) -> bool {
        match self.joined.iter().find(|m| m.group == group && m.iface == iface) {
            Some(membership) => membership.sources.contains(&source) == membership.include,
            None => all,
        }
    }

    /// Takes a change in. What the kernel took is taken, within this mirror's own bounds; false beyond them.
    pub fn apply(&mut self, group: IpAddr, iface: IfaceId, change: Change) -> bool {
        let at = self.joined.iter().position(|m| m.group == group && m.iface == iface);
        match (change, at) {
            (Change::Leave, at) => at.is_some_and(|at| {
                self.joined.swap_remove(at);
                true
            }),
            (Change::LeaveSource(source), Some(at)) => {
                let membership = &mut self.joined[at];
                membership.sources.retain(|s| *s != source);
                if membership.include && membership.sources.is_empty() {
                    self.joined.swap_remove(at);
                }
                true
            }
            (Change::Unblock(source), Some(at)) => {
                self.joined[at].sources.retain(|s| *s != source);
                true
            }
            (Change::Join, at) => self.set(at, (group, iface), false, Vec::new()),
            (Change::Filter(true, sources), Some(at)) if sources.is_empty() => {
                // INCLUDE nobody: the same as leaving.
                self.joined.swap_remove(at);
                true
            }
            (Change::Filter(include, sources), Some(_)) => self.set(at, (group, iface), include, sources),
            (Change::JoinSource(source), None) => self.set(None, (group, iface), true, vec![source]),
            (Change::JoinSource(source) | Change::Block(source), Some(at)) => self.add(at, source),
            _ => false,
        }
    }

    fn set(
        &mut self,
        at: Option<usize>,
        (group, iface): (IpAddr, IfaceId),
        include: bool,
        sources: Vec<IpAddr>,
    ) -> bool {
        if sources.len() > MOST_SOURCES {
            return false;
        }
        let new = Membership { group, iface, include, sources };
        match at {
            Some(at) => self.joined[at] = new,
            None if self.joined.len() == MOST_GROUPS => return false,
            None => self.joined.push(new),
        }
        true
    }

    fn add(&mut self, at: usize, source: IpAddr) -> bool {
        let sources = &mut self.joined[at].sources;
        if sources.contains(&source) {
            return true;
        }
        if sources.len() == MOST_SOURCES {
            return false;
        }
        sources.push(source);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(239, 1, 2, 3));
    const ETH: IfaceId = IfaceId(3);

    fn source(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn hears(groups: &Groups, n: u8) -> bool {
        groups.hears(GROUP, ETH, source(n), false)
    }

    /// RFC 3376 §3: EXCLUDE mode, changed source by source.
    #[test]
    fn a_group_of_any_source_with_some_blocked() {
        let mut g = Groups::default();
        assert!(!hears(&g, 1) && g.hears(GROUP, ETH, source(1), true));
        assert!(g.apply(GROUP, ETH, Change::Join));
        assert!(hears(&g, 1));
        assert!(g.apply(GROUP, ETH, Change::Block(source(1))));
        assert!(!hears(&g, 1) && hears(&g, 2));
        assert!(!g.hears(GROUP, ETH, source(1), true), "its own filter goes before IP_MULTICAST_ALL");
        assert!(g.hears(GROUP, IfaceId(4), source(1), true), "another interface");
        assert!(g.apply(GROUP, ETH, Change::Unblock(source(1))));
        assert!(hears(&g, 1));
        assert!(g.apply(GROUP, ETH, Change::Leave));
        assert!(g.is_empty() && !g.apply(GROUP, ETH, Change::Leave));
    }

    /// RFC 3376 §3: INCLUDE mode; without sources there is no membership.
    #[test]
    fn a_group_of_named_sources() {
        let mut g = Groups::default();
        assert!(g.apply(GROUP, ETH, Change::JoinSource(source(1))));
        assert!(g.apply(GROUP, ETH, Change::JoinSource(source(2))));
        assert!(hears(&g, 1) && hears(&g, 2) && !hears(&g, 3));
        assert!(g.apply(GROUP, ETH, Change::LeaveSource(source(1))));
        assert!(!hears(&g, 1) && g.contains(GROUP));
        assert!(g.apply(GROUP, ETH, Change::LeaveSource(source(2))));
        assert!(g.is_empty());
    }

    #[test]
    fn a_whole_filter_takes_the_place_of_the_one_before() {
        let mut g = Groups::default();
        assert!(!g.apply(GROUP, ETH, Change::Filter(true, vec![source(1)])), "not joined");
        assert!(g.apply(GROUP, ETH, Change::Join));
        assert!(g.apply(GROUP, ETH, Change::Filter(true, vec![source(1)])));
        assert!(hears(&g, 1) && !hears(&g, 2));
        assert!(g.apply(GROUP, ETH, Change::Filter(false, vec![source(1)])));
        assert!(!hears(&g, 1) && hears(&g, 2));
        assert!(g.apply(GROUP, ETH, Change::Filter(true, vec![])));
        assert!(g.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut g = Groups::default();
        for n in 0..=MOST_GROUPS {
            let group = IpAddr::from([239, 0, (n >> 8) as u8, n as u8]);
            assert_eq!(g.apply(group, ETH, Change::Join), n < MOST_GROUPS);
        }
        let first = IpAddr::from([239, 0, 0, 0]);
        for n in 0..=MOST_SOURCES {
            assert_eq!(g.apply(first, ETH, Change::Block(source(n as u8))), n < MOST_SOURCES);
        }
        assert_eq!(g.iter().count(), MOST_GROUPS);
    }
}
