//! After every step of a connection: wake-ups, timers, queues, and the end.

use std::collections::VecDeque;

use super::entry::{Begin, Body, Connection, Entry, Stage};
use super::error_queue::NO_HOST;
use super::{Stack, telling};
use crate::control::Request;
use crate::error::SocketError;
use crate::journal::{FlowRecord, Journal};
use crate::tcp::{State, TimeWait, expiry, output};
use crate::time::Instant;
use crate::types::{FlowKey, Readiness, SocketId};
use crate::wheel::Wheel;

/// What is to become of a connection.
enum Next {
    /// It goes on.
    Live,
    /// Closed, and nobody holds it.
    Remove,
    /// In TIME-WAIT: a record does the waiting.
    Compact,
    /// Closed; its owner has still to hear of it.
    Detach,
}

#[inline]
fn next(connection: &Connection) -> Next {
    match (connection.stage, connection.tcb.state) {
        (Stage::Orphan, State::Closed) => Next::Remove,
        (_, State::TimeWait) => Next::Compact,
        (_, State::Closed) if connection.attached => Next::Detach,
        _ => Next::Live,
    }
}

/// Whether it is a connection that goes on, as nearly all do: nothing but its wake-ups and timers is to be settled.
#[inline(always)]
pub(super) fn goes_on(entry: &Entry) -> bool {
    entry
        .connection()
        .is_some_and(|c| c.begin != Begin::Early && (c.tcb.state == State::Established || is_live(c)))
}

#[inline(never)]
fn is_live(connection: &Connection) -> bool {
    matches!(next(connection), Next::Live)
}

/// Settles a connection that goes on, as nearly all do, with the entry at hand. False when it does not go on: then
/// [`Stack::settle`] has to look at it.
#[inline]
pub(super) fn settled(
    entry: &mut Entry,
    id: SocketId,
    (wakes, wheel): (&mut VecDeque<SocketId>, &mut Wheel),
    journal: &mut Journal,
) -> bool {
    let live = goes_on(entry);
    if live {
        tell(entry, id, (wakes, wheel), journal);
    }
    live
}

/// Queues the wake-up, if one is due, and arms the wheel, unless it will call early enough anyway: a deadline that
/// moves out with every segment costs nothing until the old one comes.
#[inline]
fn tell(
    entry: &mut Entry,
    id: SocketId,
    (queue, wheel): (&mut VecDeque<SocketId>, &mut Wheel),
    journal: &mut Journal,
) {
    let Body::Connection(connection) = &entry.body else { return };
    // As nearly always: all this was told before, and waits.
    let noted = !connection.attached || journal.has(entry.noted);
    if !noted || connection.tcb.has_wakes() || connection.tcb.next_deadline() < entry.armed {
        tell_news(entry, id, (queue, wheel), journal);
    }
}

#[inline(never)]
fn tell_news(
    entry: &mut Entry,
    id: SocketId,
    (queue, wheel): (&mut VecDeque<SocketId>, &mut Wheel),
    journal: &mut Journal,
) {
    let Body::Connection(connection) = &mut entry.body else { return };
    if connection.attached {
        journal.note(id.index, &mut entry.noted, || connection.tcb.traffic());
    }
    let wakes = connection.tcb.take_wakes();
    connection.urgent |= wakes.contains(Readiness::URG);
    if !wakes.is_empty() && connection.stage == Stage::Owned && !entry.waking {
        entry.waking = true;
        queue.push_back(id);
    }
    let deadline = connection.tcb.next_deadline();
    if deadline < entry.armed {
        entry.armed = deadline;
        wheel.arm(id.index, deadline);
    }
}

impl Stack {
    /// Looks at a connection after something was done to it. The id may be void afterwards.
    pub(super) fn settle(&mut self, id: SocketId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let Some(connection) = entry.connection() else { return };
        if connection.begin == Begin::Early && connection.tcb.state != State::SynReceived {
            self.end_fast_open(id);
        }
        let Some(connection) = self.table.get(id).and_then(Entry::connection) else { return };
        match next(connection) {
            Next::Live => {}
            Next::Remove => return self.remove(id),
            Next::Compact => self.compact(id),
            Next::Detach => self.detach(id, State::Closed),
        }
        if let Some(entry) = self.table.get_mut(id) {
            tell(entry, id, (&mut self.wakes, &mut self.wheel), &mut self.journal);
        }
    }

    /// The wheel called.
    pub(super) fn fire(&mut self, now: Instant, id: SocketId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        entry.armed = Instant::NEVER;
        let Some(connection) = entry.connection_mut() else { return };
        if connection.tcb.next_deadline() <= now {
            let was = connection.tcb.state;
            expiry::timers(&mut connection.tcb, &mut self.core.env(now, false));
            debug_assert!(connection.tcb.next_deadline() > now, "what was due is still due");
            if connection.tcb.error == Some(SocketError::HostUnreachable) {
                let offender = connection.tcb.flow.key.local.ip();
                entry.note_refusal(was, NO_HOST, offender);
            }
        }
        self.settle(id);
    }

    /// Notes that a connection has something to send when the burst is over.
    pub(super) fn mark_dirty(&mut self, id: SocketId) {
        if let Some(entry) = self.table.get_mut(id)
            && !entry.dirty
        {
            entry.dirty = true;
            self.dirty.push(id);
        }
    }

    /// The burst is over: what waited for its end is sent.
    pub(super) fn push_dirty(&mut self, now: Instant) {
        for at in 0..self.dirty.len() {
            let id = self.dirty[at];
            let Some(entry) = self.table.get_mut(id) else { continue };
            entry.dirty = false;
            if let Some(connection) = entry.connection_mut() {
                output::push(&mut connection.tcb, &mut self.core.env(now, false));
                if !settled(entry, id, (&mut self.wakes, &mut self.wheel), &mut self.journal) {
                    self.settle(id);
                }
            }
        }
        self.dirty.clear();
    }

    /// Whether short segments wait for [`Stack::push`] after a send, so that several small writes in a row
    /// share one. Who turns it on has to push before it sleeps. Off at first.
    pub fn set_gather(&mut self, on: bool) {
        self.gather = on;
    }

    /// Connections that may have a short segment waiting.
    pub fn gathered(&self) -> usize {
        self.dirty.len()
    }

    /// Sends what was gathered, and delivers what is for this host.
    pub fn push(&mut self, now: Instant) {
        if !self.dirty.is_empty() {
            self.push_dirty(now);
        }
        self.deliver_home(now);
    }

    /// Queues a wake-up, once.
    pub(super) fn wake(&mut self, id: SocketId) {
        if let Some(entry) = self.table.get_mut(id)
            && !entry.waking
        {
            entry.waking = true;
            self.wakes.push_back(id);
        }
    }

    /// A sender found no frame: it is woken when there are some again.
    pub(super) fn starve(&mut self, id: SocketId) {
        if let Some(entry) = self.table.get_mut(id)
            && !entry.starved
        {
            entry.starved = true;
            self.starved.push_back(id);
        }
    }

    /// Wakes the senders that found no frame, once there are enough.
    pub(super) fn relieve(&mut self) {
        if self.starved.is_empty() || !self.core.is_relieved() {
            return;
        }
        while let Some(id) = self.starved.pop_front() {
            if let Some(entry) = self.table.get_mut(id) {
                entry.starved = false;
                self.wake(id);
            }
        }
    }

    /// The five-tuple no longer leads to this connection.
    /// It was in `state` then.
    fn detach(&mut self, id: SocketId, state: State) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let Entry { body: Body::Connection(connection), noted, .. } = entry else { return };
        if !core::mem::take(&mut connection.attached) {
            return;
        }
        let steered = core::mem::take(&mut connection.steered);
        let key = connection.tcb.flow.key;
        let (tcb, seen) = (&connection.tcb, self.core.seen);
        let record = || FlowRecord { state: state.number(), ..telling::record(tcb, seen) };
        self.journal.end(id.index, noted, record);
        self.unattach(&key, id);
        self.saved_syns.forget(&key);
        self.unsteer_flow(steered, key);
    }

    pub(super) fn unsteer_flow(&mut self, steered: bool, key: FlowKey) {
        if steered {
            self.core.out.requests.push_back(Request::UnsteerFlow(key));
        }
    }

    /// Takes a connection out of the table, whatever its state; nothing is sent.
    pub(super) fn remove(&mut self, id: SocketId) {
        let state = self.table.get(id).and_then(Entry::connection).map_or(State::Closed, |c| c.tcb.state);
        self.detach(id, state);
        let Some(entry) = self.table.get_mut(id) else { return };
        if let Body::Connection(connection) = &mut entry.body {
            if connection.stage == Stage::Orphan {
                self.orphans -= 1;
            }
            connection.tcb.release(&mut self.core.pool, &mut self.core.segs);
        }
        self.wheel.cancel(id.index);
        self.table.discard(id);
    }

    /// TIME-WAIT: a small record takes the connection's place on its tuple. As in Linux, what the application
    /// may still hold is a closed socket, in which what was received can be read.
    fn compact(&mut self, id: SocketId) {
        let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut) else { return };
        let flow = connection.tcb.flow.clone();
        let state = TimeWait::take_over(&mut connection.tcb, &mut self.core.pool, &mut self.core.segs);
        // The record takes over the tuple's steering; `detach` must leave it alone.
        let steered = core::mem::take(&mut connection.steered);
        let orphan = connection.stage == Stage::Orphan;
        self.detach(id, State::TimeWait);
        if !self.time_waits.insert(state, &flow, steered) {
            self.core.stats.tcp_time_wait_overflow += 1;
            self.unsteer_flow(steered, flow.key);
        }
        if orphan {
            self.remove(id);
        }
    }
}
