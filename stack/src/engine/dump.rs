//! What `ringroad stat` and `ringroad dump` show.

use nic::Census;

use super::Stack;
use super::entry::{Body, Entry};
use crate::control::table::Control;
use crate::socket::SocketInfo;
use crate::tcp::State;
use crate::time::Instant;
use crate::types::{FlowKey, LocalKey, Protocol};

/// A stack but for its sockets.
#[derive(Clone, Debug)]
pub struct Dump {
    /// Who has the frames.
    pub frames: Census,
    /// How much is in each table and queue.
    pub tables: Vec<(&'static str, usize)>,
    /// The local ends that are steered here, and how many sockets want each.
    pub steered: Vec<(LocalKey, u32)>,
    /// When something is due by itself.
    pub due: Instant,
}

impl Stack {
    /// All that is no socket. What the control plane told is in [`Stack::control_plane`]. Not for the packet path.
    pub fn dump(&self) -> Dump {
        let out = &self.core.out;
        let tables = vec![
            ("sockets", self.table.len()),
            ("flows of connections", self.flows.len()),
            ("flows of connected datagram sockets", self.peers.len()),
            ("local ends", self.locals.len()),
            ("handshakes under way", self.requests.flows().count()),
            ("connections in TIME-WAIT", self.time_waits.flows().count()),
            ("flows of datagrams", self.udp_flows.len()),
            ("packets in pieces", self.fragments.len()),
            ("listeners that leave", self.leavers.len()),
            ("flows that left", self.departed().count()),
            ("peers of the dead to be told", self.bereaved.count()),
            ("orphans", self.orphans),
            ("sockets to wake", self.wakes.len()),
            ("senders without a frame", self.starved.len()),
            ("frames to be sent", out.queued()),
            ("requests to the control plane", out.requests.len()),
        ];
        Dump {
            frames: self.core.pool.census(),
            tables,
            steered: self.steering.all().collect(),
            due: self.next_deadline(),
        }
    }

    /// What the control plane told.
    pub fn control_plane(&self) -> &Control {
        &self.core.out.control
    }

    /// Every socket, for `ringroad stat`: also those in TIME-WAIT and those that no application holds. Linear;
    /// not for the packet path.
    pub fn sockets(&self) -> impl Iterator<Item = SocketInfo> + '_ {
        let waits = self.time_waits.flows().map(|key| bare(key, State::TimeWait));
        let requests = self.requests.flows().map(|key| bare(key, State::SynReceived));
        self.table.iter().map(|(_, entry)| describe(entry)).chain(requests).chain(waits)
    }

    /// Whether there are no sockets at all, TIME-WAIT aside: nothing that arrives concerns anybody.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

fn describe(entry: &Entry) -> SocketInfo {
    let mut info = SocketInfo { local: entry.local(), ..blank(entry.protocol()) };
    match &entry.body {
        Body::Fresh(_) | Body::Deferred(_) => {}
        Body::Listener(listener) => {
            info.state = "LISTEN";
            info.recv_queue = listener.queue.len() as u64;
            info.send_queue = u64::from(listener.backlog);
        }
        Body::Datagram(datagram) => {
            info.state = if datagram.remote.is_some() { "ESTAB" } else { "UNCONN" };
            info.remote = datagram.remote;
            info.recv_queue = datagram.queue.charged() as u64;
        }
        Body::Connection(connection) => {
            let tcb = &connection.tcb;
            info.remote = Some(tcb.flow.key.remote);
            info.state = tcb.state.name();
            info.recv_queue = u64::from(tcb.recv_queue());
            info.send_queue = u64::from(tcb.send_queue());
            let told = tcb.info();
            info.retransmits = u64::from(told.retransmits);
            info.srtt_us = told.srtt.map_or(0, |d| d.as_micros() as u64);
            info.cwnd = told.cwnd;
            let carried = tcb.traffic();
            (info.bytes_in, info.bytes_out) = (carried.bytes_in, carried.bytes_out);
            info.timer = tcb.due();
        }
    }
    info
}

fn bare(key: FlowKey, state: State) -> SocketInfo {
    let (local, remote) = (Some(key.local), Some(key.remote));
    SocketInfo { local, remote, state: state.name(), ..blank(key.protocol) }
}

/// A socket of which nothing is known.
fn blank(protocol: Protocol) -> SocketInfo {
    SocketInfo {
        protocol,
        local: None,
        remote: None,
        state: "CLOSED",
        recv_queue: 0,
        send_queue: 0,
        retransmits: 0,
        srtt_us: 0,
        bytes_in: 0,
        bytes_out: 0,
        cwnd: 0,
        timer: None,
    }
}
