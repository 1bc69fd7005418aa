//! Connections in TIME-WAIT that no application holds: a record each, in a table and a wheel of their own.

use crate::ip::Flow;
use crate::slab::Slab;
use crate::tcp::TimeWait;
use crate::time::Instant;
use crate::types::{FlowKey, SocketId};
use crate::wheel::Wheel;

/// One of them.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) state: TimeWait,
    pub(super) flow: Flow,
    pub(super) steered: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct TimeWaits {
    records: Slab<Record>,
    wheel: Wheel,
}

impl TimeWaits {
    /// Room for `limit` records; more connections than that end without TIME-WAIT, as in Linux.
    pub(super) fn new(limit: u32) -> Self {
        Self { records: Slab::new(limit), wheel: Wheel::new() }
    }

    /// Keeps a record until its deadline. None when there is no room.
    pub(super) fn insert(&mut self, record: Record) -> Option<SocketId> {
        let deadline = record.state.deadline();
        let id = self.records.insert(record).ok()?;
        self.wheel.arm(id.index, deadline);
        Some(id)
    }

    /// A record, for a segment that arrived. Call [`TimeWaits::rearm`] afterwards.
    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Record> {
        self.records.get_mut(id)
    }

    /// A record.
    pub(super) fn get(&self, id: SocketId) -> Option<&Record> {
        self.records.get(id)
    }

    /// Its deadline may have moved.
    pub(super) fn rearm(&mut self, id: SocketId) {
        if let Some(record) = self.records.get(id) {
            self.wheel.arm(id.index, record.state.deadline());
        }
    }

    /// Forgets a record.
    pub(super) fn remove(&mut self, id: SocketId) -> Option<Record> {
        let record = self.records.remove(id)?;
        self.wheel.cancel(id.index);
        Some(record)
    }

    /// Forgets the next record that is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Record> {
        let index = self.wheel.pop_due(now)?;
        let id = self.records.id_at(index)?;
        self.records.remove(id)
    }

    /// When [`TimeWaits::expire`] is due next.
    pub(super) fn next_deadline(&self) -> Instant {
        self.wheel.next_deadline().unwrap_or(Instant::NEVER)
    }

    /// Every flow in TIME-WAIT.
    pub(super) fn flows(&self) -> impl Iterator<Item = &FlowKey> {
        self.records.iter().map(|(_, record)| &record.flow.key)
    }
}
