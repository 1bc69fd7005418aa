//! The JSON of `stat`, shared by both ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Every stack of the host: the whole answer of `ringroad stat --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One entry a process.
    pub stacks: Vec<StackReport>,
}

/// A running stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackReport {
    /// The process.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// The queues it drives.
    pub interfaces: Vec<InterfaceReport>,
    /// Its sockets.
    pub sockets: Vec<SocketReport>,
    /// The stack's counters by name.
    pub counters: BTreeMap<String, u64>,
    /// Sockets that stayed in the kernel, by reason.
    pub bypass: BTreeMap<String, u64>,
    /// The policy in force.
    pub policy: PolicyReport,
}

/// A queue of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceReport {
    /// The interface.
    pub name: String,
    /// The queue.
    pub queue: u32,
    /// `native` or `generic`.
    pub xdp: String,
    /// `zerocopy` or `copy`.
    pub mode: String,
}

/// A socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketReport {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Our end, empty before it is bound.
    pub local: String,
    /// The other end, empty when there is none.
    pub remote: String,
    /// The state in the kernel's words.
    pub state: String,
    /// Bytes (a listener: connections) that wait for the application.
    pub recv_queue: u64,
    /// Bytes not yet acknowledged (a listener: its backlog).
    pub send_queue: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Smoothed round-trip time in microseconds.
    pub srtt_us: u64,
}

/// The policy in force, with its counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Counts the policies that were put in force.
    pub generation: u64,
    /// One entry a local address that has a table.
    pub tables: Vec<TableReport>,
}

/// The table of a local address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// The local address.
    pub local: String,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// Its rules in order.
    pub rules: Vec<RuleReport>,
    /// What no rule let pass.
    pub denied: Count,
}

/// A rule's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleReport {
    /// Its name.
    pub name: String,
    /// Packets it decided.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}
