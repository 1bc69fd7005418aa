//! UDP has no connections, the gate judges by flow: the flows that were seen lately, with their verdicts.

use core::time::Duration;

use crate::demux::FlowTable;
use crate::hash::HashKey;
use crate::ip::Flow;
use crate::journal::{FlowRecord, Journal, Noted, Traffic};
use crate::slab::Slab;
use crate::time::Instant;
use crate::types::{FlowKey, SocketId};

/// How long a flow is remembered when nothing moves (Linux's conntrack: 120 s for one with replies).
const IDLE: Duration = Duration::from_secs(120);
/// A flow moves to the young end of the list at most so often.
const TOUCH: Duration = Duration::from_secs(1);
/// Idle flows forgotten for each new one.
const SWEEP: usize = 2;

const NONE: SocketId = SocketId { index: u32::MAX, generation: 0 };

#[derive(Debug)]
struct Node {
    known: Known,
    noted: Noted,
    used: Instant,
    older: SocketId,
    younger: SocketId,
}

/// A flow that was seen lately.
#[derive(Debug)]
pub struct Known {
    /// The flow.
    pub flow: Flow,
    /// What it carried.
    pub carried: Traffic,
}

impl Known {
    /// What is told of it, with what it carried in all.
    fn record(&self, at: Instant) -> FlowRecord {
        let &Self { flow: Flow { key, direction, memo, .. }, carried } = self;
        let road = memo.road();
        FlowRecord { key, direction, road, carried, state: 0, srtt_us: 0, over: false, at }
    }
}

/// The flows, at most so many; the one idle for longest makes room.
#[derive(Debug)]
pub struct FlowCache {
    table: FlowTable<SocketId>,
    nodes: Slab<Node>,
    oldest: SocketId,
    youngest: SocketId,
    /// What they have carried.
    pub journal: Journal,
}

impl FlowCache {
    /// Room for `limit` flows.
    pub fn new(key: HashKey, limit: u32) -> Self {
        Self {
            table: FlowTable::new(key),
            nodes: Slab::new(limit.max(1)),
            oldest: NONE,
            youngest: NONE,
            journal: Journal::default(),
        }
    }

    /// Flows remembered.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The flow of `key`, if it was seen lately: it is about to carry something.
    #[inline]
    pub fn get(&mut self, now: Instant, key: &FlowKey) -> Option<&mut Known> {
        let id = self.table.get(key)?;
        let used = self.nodes.get(id)?.used;
        if now.since(used) >= IDLE {
            self.forget(now, id);
            return None;
        }
        if now.since(used) >= TOUCH {
            self.unlink(id);
            self.link(id, now);
        }
        let node = self.nodes.get_mut(id)?;
        self.journal.note(id.index, &mut node.noted, || node.known.carried);
        Some(&mut node.known)
    }

    /// Remembers a flow that was not there, and what has begun it.
    pub fn insert(&mut self, now: Instant, flow: Flow, carried: Traffic) {
        for _ in 0..SWEEP {
            let oldest = self.oldest;
            let idle = self.nodes.get(oldest).is_some_and(|n| now.since(n.used) >= IDLE);
            if !idle && !self.nodes.is_full() {
                break;
            }
            self.forget(now, oldest);
        }
        let key = flow.key;
        let known = Known { flow, carried };
        let node = Node { known, noted: Noted::New, used: now, older: NONE, younger: NONE };
        let Ok(id) = self.nodes.insert(node) else { return };
        self.link(id, now);
        self.table.insert(&key, id);
        if let Some(node) = self.nodes.get_mut(id) {
            self.journal.note(id.index, &mut node.noted, Traffic::default);
        }
    }

    fn forget(&mut self, now: Instant, id: SocketId) {
        self.unlink(id);
        if let Some(mut node) = self.nodes.remove(id) {
            self.table.remove(&node.known.flow.key);
            self.journal.end(id.index, &mut node.noted, || node.known.record(now));
        }
    }

    /// Slots that exist.
    pub fn slots(&self) -> usize {
        self.nodes.slots()
    }

    /// What flows carried that may be older than the journal is not told.
    pub fn survey(&mut self, slots: core::ops::Range<u32>) {
        for slot in slots {
            if let Some(node) = self.nodes.id_at(slot).and_then(|id| self.nodes.get_mut(id)) {
                self.journal.survey(slot, &mut node.noted, || node.known.carried);
            }
        }
    }

    /// What is to be told of the flow in `slot`, if anything.
    pub fn tell(&mut self, now: Instant, slot: u32) -> Option<FlowRecord> {
        let node = self.nodes.id_at(slot).and_then(|id| self.nodes.get_mut(id))?;
        self.journal.tell(slot, &mut node.noted, node.known.record(now))
    }

    /// Puts a node at the young end.
    fn link(&mut self, id: SocketId, now: Instant) {
        let youngest = self.youngest;
        let Some(node) = self.nodes.get_mut(id) else { return };
        (node.used, node.older, node.younger) = (now, youngest, NONE);
        match self.nodes.get_mut(youngest) {
            Some(before) => before.younger = id,
            None => self.oldest = id,
        }
        self.youngest = id;
    }

    fn unlink(&mut self, id: SocketId) {
        let Some(node) = self.nodes.get(id) else { return };
        let (older, younger) = (node.older, node.younger);
        match self.nodes.get_mut(older) {
            Some(n) => n.younger = younger,
            None => self.oldest = younger,
        }
        match self.nodes.get_mut(younger) {
            Some(n) => n.older = older,
            None => self.youngest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Direction, Protocol};

    fn key(port: u16) -> FlowKey {
        FlowKey {
            protocol: Protocol::Udp,
            local: ([10, 0, 0, 1], 53).into(),
            remote: ([10, 0, 0, 2], port).into(),
        }
    }

    fn cache(limit: u32) -> FlowCache {
        FlowCache::new(HashKey::new([3; 16]), limit)
    }

    const fn s(n: u64) -> Instant {
        Instant::from_millis(n * 1000)
    }

    #[test]
    fn the_longest_idle_makes_room() {
        let mut c = cache(3);
        for port in 1..=3 {
            c.insert(s(u64::from(port)), Flow::new(key(port), Direction::In), Traffic::default());
        }
        assert!(c.get(s(10), &key(1)).is_some());
        c.insert(s(11), Flow::new(key(4), Direction::Out), Traffic::default());
        assert_eq!(c.len(), 3);
        assert!(c.get(s(12), &key(2)).is_none());
        for port in [1, 3, 4] {
            assert!(c.get(s(12), &key(port)).is_some(), "{port}");
        }
    }

    #[test]
    fn idle_flows_are_forgotten() {
        let mut c = cache(100);
        for port in 0..10 {
            c.insert(s(0), Flow::new(key(port), Direction::In), Traffic::default());
        }
        assert!(c.get(s(119), &key(0)).is_some());
        assert!(c.get(s(120), &key(1)).is_none());
        c.insert(s(121), Flow::new(key(50), Direction::In), Traffic::default());
        // Nine were left; two of them went, one came.
        assert_eq!(c.len(), 8);
        assert!(c.get(s(121), &key(0)).is_some());
    }

    #[test]
    fn one_flow_is_enough() {
        let mut c = cache(1);
        for port in 0..5 {
            c.insert(s(0), Flow::new(key(port), Direction::In), Traffic::default());
            assert!(c.get(s(0), &key(port)).is_some());
            assert_eq!(c.len(), 1);
        }
    }
}
