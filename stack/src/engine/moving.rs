//! Connections that move between the stacks of a port. One leaves with its bytes, its options and its place in the
//! sequence space, and is gone here; what still arrives for it here follows it (`departed`).

use super::Stack;
use super::entry::{Begin, Body, Connection, Entry, Stage};
use super::error_queue::Completions;
use crate::control::Request;
use crate::error::SocketError;
use crate::ip::Flow;
use crate::plain::{Plain, plain};
use crate::socket::stored::{Kept, Stored, V6Options};
use crate::socket::{Accepted, Result};
use crate::tcp::parcel::{self, Parcel};
use crate::time::Instant;
use crate::types::{FlowKey, SocketId, VerdictMemo};

plain!(V6Options { only, tclass, hops, auto_label, mtu_discover });
plain!(Kept { fast_open, fast_open_connect, fast_open_no_cookie });

plain!(Stored {
    reuse_addr,
    reuse_port,
    broadcast,
    dont_route,
    linger,
    recv_low_water,
    priority,
    mark,
    incoming_cpu,
    zero_copy,
    busy_poll,
    save_syn,
    tos,
    ttl,
    v6,
    mtu_discover,
    defer_accept,
    kept,
    udp_send_buffer,
    udp_recv_buffer,
    tcp,
});

/// Whose a connection is that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taker {
    /// The application's, with the cookie of its socket.
    Application(u64),
    /// A listener's, to be accepted, which nobody has done where it was so many times; it has that listener's options.
    Listener(SocketId, u8),
    /// Nobody's: it delivers what it has, and ends.
    Nobody,
}

impl Stack {
    /// Whether a socket is a connection that [`Stack::export`] takes as it is now.
    pub fn may_travel(&self, id: SocketId) -> bool {
        let connection = self.table.get(id).and_then(Entry::connection);
        connection.is_some_and(|c| travels(c) && !self.is_at_home(&c.tcb.flow.key))
    }

    /// Whether both ends are this host's, and have to stay in one stack: nothing leads from one to another.
    pub(super) fn is_at_home(&self, key: &FlowKey) -> bool {
        let (control, remote) = (&self.core.out.control, key.remote.ip());
        let leads = control.leads_home(remote) || self.core.out.outbound.mates.is_some();
        control.is_on_a_road(remote) && !leads
    }

    /// Has a connection leave: its bytes, appended to `to`, are for [`Stack::import`] of another stack, and its socket
    /// is gone here. Its steering stays as it is, until the other stack says that the flow is its own.
    ///
    /// # Errors
    /// `NotConnected` in a state in which it cannot travel (its handshake is not over, or it is in TIME-WAIT or
    /// closed), and for a socket that is no connection.
    pub fn export(&mut self, now: Instant, id: SocketId, to: &mut Vec<u8>) -> Result<FlowKey> {
        let entry = self.table.get(id).ok_or(SocketError::BadSocket)?;
        let connection =
            entry.connection().filter(|_| self.may_travel(id)).ok_or(SocketError::NotConnected)?;
        let parcel = Parcel::of(&connection.tcb, &self.core.segs, &self.core.pool);
        entry.options.put(to);
        (connection.begin == Begin::Untold, connection.urgent).put(to);
        entry.rare().map(|rare| rare.completions).unwrap_or_default().put(to);
        self.saved_syns.of(&parcel.key()).to_vec().put(to);
        parcel.write(to);
        // The steering is left as it is: the flow is the other stack's to steer.
        if let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut) {
            connection.steered = false;
        }
        self.remove(id);
        self.departed.note(now, parcel.key());
        Ok(parcel.key())
    }

    /// Connections that the application has closed and that still have something to deliver.
    pub fn orphaned(&self) -> Vec<SocketId> {
        let orphan = |entry: &Entry| entry.connection().is_some_and(|c| c.stage == Stage::Orphan);
        self.table.iter().filter(|(_, entry)| orphan(entry)).map(|(id, _)| id).collect()
    }

    /// Takes a connection that left another stack, off the front of `from`. Its flow is steered here.
    ///
    /// # Errors
    /// `Invalid` when it is no connection, or contradicts itself; `AddressInUse` when there is one with these ends;
    /// `AddressNotAvailable` when our end is not here; `NoBuffers` when there is no room for it just now: then `from`
    /// is as it was.
    pub fn import(&mut self, now: Instant, from: &mut &[u8], taker: Taker) -> Result<Accepted> {
        let mut rest = *from;
        let arrived = Arrived::read(&mut rest).ok_or(SocketError::Invalid)?;
        let result = self.admit(now, &arrived, taker);
        if result != Err(SocketError::NoBuffers) {
            *from = rest;
        }
        result
    }

    /// Whether a connection with these ends can be one of this stack's that came from another.
    pub(super) fn may_be_here(&self, key: &FlowKey) -> bool {
        let ours = self.core.out.control.is_on_a_road(key.local.ip());
        ours && !self.is_at_home(key) && self.is_one_host(key.remote.ip())
    }

    /// Whether this stack has a connection with these ends that is not over.
    pub(super) fn is_taken(&self, key: &FlowKey) -> bool {
        self.connection_of(key).is_some() || self.requests.find(key).is_some()
    }

    /// A connection with these ends comes from another stack: one that is over here does not stand in its way.
    pub(super) fn make_way(&mut self, key: &FlowKey) {
        if let Some(at) = self.time_waits.find(key) {
            self.time_waits.remove(at);
        }
        self.departed.forget(key);
    }

    /// The ends of the connection at the front of `from`, and what is behind it; none when there is none.
    pub(super) fn who_arrives(mut from: &[u8]) -> Option<(FlowKey, &[u8])> {
        let arrived = Arrived::read(&mut from)?;
        Some((arrived.parcel.key(), from))
    }

    fn admit(&mut self, now: Instant, arrived: &Arrived, taker: Taker) -> Result<Accepted> {
        let key = arrived.parcel.key();
        if !self.may_be_here(&key) {
            return Err(SocketError::AddressNotAvailable);
        }
        if self.is_taken(&key) {
            return Err(SocketError::AddressInUse);
        }
        if self.table.is_full() {
            return Err(SocketError::NoBuffers);
        }
        let (options, stage) = match taker {
            Taker::Listener(parent, times) => {
                let (options, _) = self.listener(parent).ok_or(SocketError::Invalid)?;
                (options, Stage::Queued(parent, times))
            }
            Taker::Application(_) => (self.option_sets.same_as(&arrived.options), Stage::Owned),
            Taker::Nobody => (self.option_sets.same_as(&arrived.options), Stage::Orphan),
        };
        let mut flow = Flow::new(key, arrived.parcel.direction());
        flow.memo = VerdictMemo::TOLD;
        options.dress(&mut flow);
        let mut env = self.core.env(now, false);
        let tcb = arrived.parcel.unpack(flow, options.tcp, &mut env).ok_or(SocketError::NoBuffers)?;
        self.make_way(&key);
        let connection = Connection {
            tcb,
            stage,
            attached: true,
            steered: true,
            begin: if arrived.untold { Begin::Untold } else { Begin::Over },
            urgent: arrived.urgent,
        };
        let cookie = if let Taker::Application(cookie) = taker { cookie } else { 0 };
        let mut entry = Entry::new(cookie, options, Body::Connection(connection));
        if arrived.completions != Completions::default() {
            entry.rare_mut().completions = arrived.completions;
        }
        self.settle_in(now, entry, (key, &arrived.syn), stage)
    }

    fn settle_in(
        &mut self,
        now: Instant,
        entry: Entry,
        (key, syn): (FlowKey, &[u8]),
        stage: Stage,
    ) -> Result<Accepted> {
        let id = self.table.insert(entry).map_err(|_| SocketError::NoBuffers)?;
        self.attach(&key, id);
        self.saved_syns.arrive(&key, syn);
        if let Some(connection) = self.table.get(id).and_then(Entry::connection) {
            // The rest was told of where it came from.
            self.journal.begin(id.index, connection.tcb.traffic());
        }
        // Before anything is sent: its answer must find the way here.
        self.core.out.requests.push_back(Request::SteerFlow(key));
        if stage == Stage::Orphan {
            self.orphans += 1;
        }
        if let Stage::Queued(parent, times) = stage {
            self.enqueue(now, parent, id, times);
        }
        if let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut) {
            parcel::go_on(&mut connection.tcb, &mut self.core.env(now, false));
        }
        self.settle(id);
        Ok(Accepted { id, local: key.local, remote: key.remote })
    }
}

fn travels(connection: &Connection) -> bool {
    connection.tcb.state.may_travel() && connection.attached && connection.begin != Begin::Early
}

/// A connection that came as bytes.
struct Arrived {
    options: Stored,
    untold: bool,
    urgent: bool,
    completions: Completions,
    /// The headers of its SYN, if they are kept.
    syn: Vec<u8>,
    parcel: Parcel,
}

impl Arrived {
    fn read(from: &mut &[u8]) -> Option<Self> {
        let options = Stored::take(from)?;
        let (untold, urgent) = Plain::take(from)?;
        let (completions, syn) = (Completions::take(from)?, Plain::take(from)?);
        Some(Self { options, untold, urgent, completions, syn, parcel: Parcel::read(from)? })
    }
}
