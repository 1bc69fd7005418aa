//! Which connection has a five-tuple.

use super::Stack;
use super::entry::Entry;
use crate::hash::FlowWords;
use crate::types::{FlowKey, SocketId};

impl Stack {
    /// Where the connection lies that has the five-tuple which is packed in `words`. Every segment asks, and few others.
    #[inline(always)]
    pub(super) fn place_of(&self, words: &FlowWords) -> Option<u32> {
        self.flows.find(self.flows.hash(words), |place| self.lies_at(place, words))
    }

    /// Whether the connection that has the five-tuple lies at this place.
    #[inline(always)]
    pub(super) fn lies_at(&self, place: u32, words: &FlowWords) -> bool {
        self.table.at(place).is_some_and(|entry| has(entry, words))
    }

    /// The connection with the five-tuple that is packed in `words`.
    pub(super) fn connection_at(&self, words: &FlowWords) -> Option<SocketId> {
        self.table.id_at(self.place_of(words)?)
    }

    /// The connection with the five-tuple `key`.
    pub(super) fn connection_of(&self, key: &FlowKey) -> Option<SocketId> {
        self.connection_at(&FlowWords::new(key))
    }

    /// From here on `key`, which no connection has, leads to the connection `id`.
    pub(super) fn attach(&mut self, key: &FlowKey, id: SocketId) {
        debug_assert!(self.connection_of(key).is_none_or(|at| at == id), "one connection a flow");
        self.flows.insert(self.flows.hash(&FlowWords::new(key)), id.index);
    }

    /// It does no longer.
    pub(super) fn unattach(&mut self, key: &FlowKey, id: SocketId) {
        self.flows.remove(self.flows.hash(&FlowWords::new(key)), id.index);
    }
}

/// Whether these are the words of the connection that `entry` is.
#[inline(always)]
fn has(entry: &Entry, words: &FlowWords) -> bool {
    entry.connection().is_some_and(|c| c.attached && words.are_of(&c.tcb.flow.key))
}
