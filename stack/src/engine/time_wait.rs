//! Connections in TIME-WAIT: a record each, in a table of their own, and a queue by age.
//!
//! All wait equally long and time does not go back, so whoever comes last waits longest: a list is the timer.

use crate::demux::Keyed;
use crate::hash::HashKey;
use crate::ip::Flow;
use crate::plain::plain;
use crate::tcp::TimeWait;
use crate::time::Instant;
use crate::types::{Direction, FlowKey, VerdictMemo};

/// The end of the list.
const NONE: u32 = u32::MAX;

/// One of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    pub(super) state: TimeWait,
    older: u32,
    newer: u32,
    tos: u8,
    ttl: Option<u8>,
    /// We opened it: rules judge it so.
    outward: bool,
    pub(super) steered: bool,
}

plain!(Record { state, tos, ttl, outward, steered } but { older, newer });

/// A connection that is over, with what its segments still need.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) key: FlowKey,
    pub(super) steered: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct TimeWaits {
    records: Keyed<Record>,
    oldest: u32,
    newest: u32,
}

impl TimeWaits {
    /// Room for `limit` records; more connections than that end without TIME-WAIT, as in Linux.
    pub(super) fn new(key: HashKey, limit: u32) -> Self {
        Self { records: Keyed::new(key, limit), oldest: NONE, newest: NONE }
    }

    /// Keeps a record until its deadline. False when there is no room.
    pub(super) fn insert(&mut self, state: TimeWait, flow: &Flow, steered: bool) -> bool {
        let outward = flow.direction == Direction::Out;
        let record =
            Record { state, older: NONE, newer: NONE, tos: flow.tos, ttl: flow.ttl, outward, steered };
        let Some(at) = self.records.insert(&flow.key, record) else { return false };
        self.append(at);
        true
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.oldest == NONE
    }

    /// The record of a flow.
    #[inline]
    pub(super) fn find(&self, key: &FlowKey) -> Option<u32> {
        self.records.find(key)
    }

    /// A record.
    pub(super) fn get(&self, at: u32) -> Option<&Record> {
        self.records.get(at)
    }

    /// Puts a record back after a segment: its deadline may have moved, which makes it the last to go.
    pub(super) fn update(&mut self, at: u32, state: TimeWait) {
        let Some(record) = self.records.get_mut(at) else { return };
        let moved = core::mem::replace(&mut record.state, state).deadline() != state.deadline();
        if moved {
            self.unlink(at);
            self.append(at);
        }
    }

    /// Forgets a record.
    pub(super) fn remove(&mut self, at: u32) -> Option<Over> {
        let key = self.records.flow(at)?;
        self.unlink(at);
        let record = self.records.remove(at)?;
        Some(Over { key, steered: record.steered })
    }

    /// Takes the record out that would be forgotten next.
    pub(super) fn take_oldest(&mut self) -> Option<(FlowKey, Record)> {
        let record = *self.records.get(self.oldest)?;
        let over = self.remove(self.oldest)?;
        Some((over.key, record))
    }

    /// Before this nobody may be due who is inserted now.
    pub(super) fn latest_deadline(&self) -> Instant {
        self.records.get(self.newest).map_or(Instant::ZERO, |r| r.state.deadline())
    }

    /// Forgets the next record that is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Over> {
        if self.next_deadline() > now {
            return None;
        }
        self.remove(self.oldest)
    }

    /// When [`TimeWaits::expire`] is due next.
    pub(super) fn next_deadline(&self) -> Instant {
        self.records.get(self.oldest).map_or(Instant::NEVER, |r| r.state.deadline())
    }

    /// Every flow in TIME-WAIT.
    pub(super) fn flows(&self) -> impl Iterator<Item = FlowKey> {
        self.records.flows()
    }

    fn append(&mut self, at: u32) {
        let older = core::mem::replace(&mut self.newest, at);
        match self.records.get_mut(older) {
            Some(record) => record.newer = at,
            None => self.oldest = at,
        }
        if let Some(record) = self.records.get_mut(at) {
            (record.older, record.newer) = (older, NONE);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(&Record { older, newer, .. }) = self.records.get(at) else { return };
        match self.records.get_mut(older) {
            Some(record) => record.newer = newer,
            None => self.oldest = newer,
        }
        match self.records.get_mut(newer) {
            Some(record) => record.older = older,
            None => self.newest = older,
        }
    }
}

impl Record {
    /// The flow as it was, but for what is quickly found again.
    pub(super) fn flow(&self, key: FlowKey) -> Flow {
        let direction = if self.outward { Direction::Out } else { Direction::In };
        let mut flow = Flow::new(key, direction);
        (flow.tos, flow.ttl, flow.memo) = (self.tos, self.ttl, VerdictMemo::TOLD);
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Protocol;

    fn flow(port: u16) -> Flow {
        let (local, remote) = (([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], port).into());
        Flow::new(FlowKey { protocol: Protocol::Tcp, local, remote }, Direction::In)
    }

    #[test]
    fn one_takes_at_most_96_bytes_all_told() {
        // Record, key, chain, bucket and timer, IPv6 like IPv4. (Linux: 264 bytes of slab.)
        assert!(Keyed::<Record>::bytes_each() <= 96, "{} bytes", Keyed::<Record>::bytes_each());
    }

    #[test]
    fn they_go_in_the_order_of_their_deadlines() {
        let mut waits = TimeWaits::new(HashKey::new([1; 16]), 100);
        let until = |s: u64| TimeWait::until(Instant::from_millis(s * 1000));
        for port in 1..=4 {
            assert!(waits.insert(until(u64::from(port)), &flow(port), false));
        }
        let second = waits.find(&flow(2).key).unwrap();
        waits.update(second, until(9));
        waits.remove(waits.find(&flow(3).key).unwrap()).unwrap();
        assert_eq!(waits.next_deadline(), Instant::from_millis(1000));
        assert!(waits.expire(Instant::from_millis(999)).is_none());
        let ports: Vec<u16> = core::iter::from_fn(|| waits.expire(Instant::from_millis(9000)))
            .map(|o| o.key.remote.port())
            .collect();
        assert_eq!(ports, [1, 4, 2]);
        assert_eq!(waits.next_deadline(), Instant::NEVER);
    }
}
