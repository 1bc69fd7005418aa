//! Sockets by the end they are bound to: several may share one (SO_REUSEADDR, SO_REUSEPORT).

use std::collections::HashMap;

use crate::types::{LocalKey, SocketId};

#[derive(Debug, Default)]
struct Crowd {
    all: Vec<SocketId>,
    /// Those without a peer, oldest first.
    open: Vec<SocketId>,
}

/// The sockets of each local end.
#[derive(Debug, Default)]
pub struct Crowds {
    by_end: HashMap<LocalKey, Crowd>,
}

impl Crowds {
    /// A socket without a peer was bound to `end`.
    pub fn join(&mut self, end: LocalKey, id: SocketId) {
        let crowd = self.by_end.entry(end).or_default();
        crowd.all.push(id);
        crowd.open.push(id);
    }

    /// It is bound there no longer.
    pub fn leave(&mut self, end: &LocalKey, id: SocketId) {
        let Some(crowd) = self.by_end.get_mut(end) else { return };
        crowd.all.retain(|other| *other != id);
        crowd.open.retain(|other| *other != id);
        if crowd.all.is_empty() {
            self.by_end.remove(end);
        }
    }

    /// It got a peer, or lost the one it had.
    pub fn set_open(&mut self, end: &LocalKey, id: SocketId, open: bool) {
        let Some(crowd) = self.by_end.get_mut(end) else { return };
        let was = crowd.open.contains(&id);
        if open && !was {
            crowd.open.push(id);
        } else if !open && was {
            crowd.open.retain(|other| *other != id);
        }
    }

    /// Those without a peer, oldest first.
    #[inline]
    pub fn open(&self, end: &LocalKey) -> &[SocketId] {
        self.by_end.get(end).map_or(&[], |c| &c.open)
    }

    /// All that are bound there.
    #[inline]
    pub fn all(&self, end: &LocalKey) -> &[SocketId] {
        self.by_end.get(end).map_or(&[], |c| &c.all)
    }
}

/// The share of a flow in a group of `count` sockets, by its hash, as Linux's `reciprocal_scale` has it.
#[inline]
pub fn share(hash: u64, count: usize) -> usize {
    (((hash >> 32) * count as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Protocol;

    #[test]
    fn who_has_a_peer_is_not_open() {
        let end = LocalKey { protocol: Protocol::Udp, address: [0, 0, 0, 0].into(), port: 53 };
        let id = |index| SocketId { index, generation: 1 };
        let mut crowds = Crowds::default();
        crowds.join(end, id(1));
        crowds.join(end, id(2));
        assert_eq!(crowds.open(&end), [id(1), id(2)]);
        crowds.set_open(&end, id(1), false);
        assert_eq!((crowds.open(&end), crowds.all(&end)), (&[id(2)][..], &[id(1), id(2)][..]));
        crowds.set_open(&end, id(1), true);
        crowds.set_open(&end, id(1), true);
        assert_eq!(crowds.open(&end), [id(2), id(1)]);
        crowds.leave(&end, id(2));
        crowds.leave(&end, id(1));
        assert!(crowds.all(&end).is_empty() && crowds.by_end.is_empty());
    }

    #[test]
    fn every_member_gets_its_share() {
        assert_eq!([share(0, 3), share(u64::MAX, 3), share(1 << 63, 2)], [0, 2, 1]);
        let mut counts = [0; 4];
        for n in 0..4000u64 {
            counts[share(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), 4)] += 1;
        }
        assert!(counts.iter().all(|c| (900..1100).contains(c)), "{counts:?}");
    }
}
