//! What `ringroad stat` shows.

use super::Stack;
use super::entry::{Body, Entry};
use crate::socket::SocketInfo;
use crate::tcp::State;
use crate::types::FlowKey;

impl Stack {
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
    let mut info = SocketInfo {
        protocol: entry.protocol(),
        local: entry.local(),
        remote: None,
        state: "CLOSED",
        recv_queue: 0,
        send_queue: 0,
        retransmits: 0,
        srtt_us: 0,
    };
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
        }
    }
    info
}

fn bare(key: FlowKey, state: State) -> SocketInfo {
    SocketInfo {
        protocol: key.protocol,
        local: Some(key.local),
        remote: Some(key.remote),
        state: state.name(),
        recv_queue: 0,
        send_queue: 0,
        retransmits: 0,
        srtt_us: 0,
    }
}
