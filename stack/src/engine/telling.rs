//! Flows are told of: what each carried, second by second, to whoever listens.

use super::Stack;
use super::entry::{Body, Entry};
use crate::journal::{FlowRecord, Journal, News, Traffic};
use crate::tcp::{State, Tcb};
use crate::time::Instant;
use crate::types::{Direction, FlowKey, Road};

/// The journals of a stack before anybody takes them, made where there is time.
#[derive(Debug)]
pub struct Journals {
    connections: Journal,
    datagrams: Journal,
}

/// What is told of a connection, with what it carried in all.
pub(super) fn record(tcb: &Tcb, at: Instant) -> FlowRecord {
    FlowRecord {
        key: tcb.flow.key,
        direction: tcb.flow.direction,
        road: tcb.flow.memo.road(),
        carried: tcb.traffic(),
        state: tcb.state.number(),
        srtt_us: tcb.srtt().map_or(0, |srtt| u32::try_from(srtt.as_micros()).unwrap_or(u32::MAX)),
        over: false,
        at,
    }
}

impl Stack {
    /// How large the tables of flows are now, for [`Journals::new`].
    pub fn flow_slots(&self) -> (usize, usize) {
        (self.table.slots(), self.udp_flows.slots())
    }

    /// From now on what flows carry is noted. Those that are there already have to be [surveyed](Stack::survey).
    pub fn keep_journals(&mut self, journals: Journals) {
        self.journal = journals.connections;
        self.udp_flows.journal = journals.datagrams;
    }

    /// From now on it is not. Drop what comes back where there is time.
    pub fn drop_journals(&mut self) -> Journals {
        let connections = std::mem::take(&mut self.journal);
        Journals { connections, datagrams: std::mem::take(&mut self.udp_flows.journal) }
    }

    /// Looks at flows that may be older than the journals, `most` slots from `from` on: what they carried until now is not
    /// told. Where to go on; none: all have been looked at.
    pub fn survey(&mut self, from: u32, most: u32) -> Option<u32> {
        let to = from.saturating_add(most);
        for slot in from..to {
            let entry = self.table.id_at(slot).and_then(|id| self.table.get_mut(id));
            if let Some(Entry { body: Body::Connection(connection), noted, .. }) = entry
                && connection.attached
            {
                self.journal.survey(slot, noted, || connection.tcb.traffic());
            }
        }
        self.udp_flows.survey(from..to);
        let (tcp, udp) = self.flow_slots();
        ((to as usize) < tcp.max(udp)).then_some(to)
    }

    /// What waits to be told of flows.
    #[inline]
    pub fn news(&self) -> News {
        self.journal.news().max(self.udp_flows.journal.news())
    }

    /// What flows carried until now is to be [told](Stack::tell_flows), of all that carried something.
    pub fn turn_journals(&mut self) {
        self.journal.turn();
        self.udp_flows.journal.turn();
    }

    /// Moves what is to be told to `into`, flows that are over first; it looks at `most` flows. Whether there are more.
    pub fn tell_flows(&mut self, now: Instant, most: usize, into: &mut Vec<FlowRecord>) -> bool {
        for _ in 0..most {
            let over = self.journal.next_over().or_else(|| self.udp_flows.journal.next_over());
            if let Some(record) = over {
                into.push(record);
            } else if let Some(slot) = self.journal.next_noted() {
                into.extend(self.tell_connection(now, slot));
            } else if let Some(slot) = self.udp_flows.journal.next_noted() {
                into.extend(self.udp_flows.tell(now, slot));
            } else {
                return false;
            }
        }
        true
    }

    /// Flows that were over and could not be told of, since this was asked last.
    pub fn take_untold(&mut self) -> u64 {
        self.journal.take_lost() + self.udp_flows.journal.take_lost()
    }

    fn tell_connection(&mut self, now: Instant, slot: u32) -> Option<FlowRecord> {
        let id = self.table.id_at(slot)?;
        let Entry { body: Body::Connection(connection), noted, .. } = self.table.get_mut(id)? else {
            return None;
        };
        let record = connection.attached.then(|| record(&connection.tcb, now))?;
        self.journal.tell(slot, noted, record)
    }

    /// A handshake that a peer began by `road` is over, without a connection.
    pub(super) fn tell_handshake(&mut self, key: FlowKey, road: Road, answers: u32) {
        let carried = Traffic { packets_in: 1, packets_out: answers, ..Traffic::default() };
        let (state, at) = (State::SynReceived.number(), self.core.seen);
        let direction = Direction::In;
        self.journal.add(FlowRecord { key, direction, road, carried, state, srtt_us: 0, over: true, at });
    }
}

impl Journals {
    /// For a stack whose tables of flows are [so large](Stack::flow_slots).
    #[must_use]
    pub fn new((connections, datagrams): (usize, usize)) -> Self {
        Self { connections: Journal::kept(connections), datagrams: Journal::kept(datagrams) }
    }
}
