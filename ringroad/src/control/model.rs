//! The JSON of `stat`, shared by both ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy_file::Bundle;

/// Every stack of the host: the whole answer of `ringroad stat --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One entry a process.
    pub stacks: Vec<StackReport>,
}

/// A running stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackReport {
    /// The process; 0: it is in a PID namespace that does not show here.
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
    /// `native`, `generic` or `tc`.
    pub xdp: String,
    /// `zerocopy` or `copy`.
    pub mode: String,
    /// `af-xdp` or `packet`.
    #[serde(default)]
    pub backend: String,
    /// Why that.
    #[serde(default)]
    pub why: String,
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
    /// Bytes of a connection's payload that arrived.
    #[serde(default)]
    pub bytes_in: u64,
    /// Those that were sent.
    #[serde(default)]
    pub bytes_out: u64,
    /// The congestion window in bytes.
    #[serde(default)]
    pub cwnd: u32,
    /// What is due next by itself: `retransmit`, `reordering`, `probe`, `persist`, `ack`, `keepalive`, `close` or
    /// `retry`; empty when nothing is.
    #[serde(default)]
    pub timer: String,
    /// In how many milliseconds.
    #[serde(default)]
    pub timer_ms: u64,
}

/// A stack in full: the answer of `ringroad dump --json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpReport {
    /// What `ringroad stat` tells, of so many sockets as are told at a time.
    pub stack: StackReport,
    /// Sockets that were left out.
    pub sockets_left_out: u64,
    /// Who has how many frames.
    pub frames: BTreeMap<String, u64>,
    /// The same of the port: all stacks that share its memory together. Exact while nothing moves.
    #[serde(default)]
    pub port_frames: BTreeMap<String, u64>,
    /// How much is in each table and queue.
    pub tables: BTreeMap<String, u64>,
    /// Local ends whose packets are steered here, with the number of sockets that want each.
    pub steered: Vec<(String, u64)>,
    /// The host's addresses, as the stack knows them: `10.77.0.1/24 dev 2`.
    pub addresses: Vec<String>,
    /// Its routes, in the order in which they are read.
    pub routes: Vec<String>,
    /// Its neighbours.
    pub neighbours: Vec<String>,
    /// In how many milliseconds something is due by itself.
    pub due_ms: Option<u64>,
}

/// The policy in force, with its counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyReport {
    /// Counts the policies that were put in force.
    pub generation: u64,
    /// One entry a table.
    pub tables: Vec<TableReport>,
    /// The counters that rules share, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, Count>,
    /// Of the packets that the steering program kept out, those by rules that share a counter.
    #[serde(default)]
    pub kept_out: BTreeMap<String, Count>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// Its name: the local address, unless it is for several or was given one.
    pub local: String,
    /// `enforce` or `monitor`.
    pub mode: String,
    /// Its rules in order.
    pub rules: Vec<RuleReport>,
    /// What no rule let pass.
    pub denied: Count,
    /// What the steering program kept from all stacks and the kernel since this policy came into force; of a table that
    /// monitors: what it would have kept.
    #[serde(default)]
    pub kept_out: Count,
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
    /// Flows that were denied because their source had begun too many.
    #[serde(default)]
    pub limited: u64,
    /// Of the packets that the steering program kept from its table, those that it decided; not among `packets`.
    #[serde(default)]
    pub kept_out: Count,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The policies of the port that a process drives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInForce {
    /// The process.
    pub pid: u32,
    /// The one in force; none: everything is allowed.
    pub current: Option<Bundle>,
    /// The one before.
    pub previous: Option<Bundle>,
}

/// What came of a policy that was to be put in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The number of policies so far, once it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Something that the gate refused, or would have, as often as it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Alert {
    /// Counts the alerts of all processes that share the interfaces.
    pub number: u64,
    /// `denied`; `limited`: its source had begun too many; `permitted`: by a rule that is logged; `syn scan` and its like: one source that tries many ports;
    /// `syn sweep` and its like: many hosts; `many`: what was too much to tell apart.
    pub kind: String,
    /// The process whose stack it was, of several the first; 0: none, the steering program refused it.
    pub pid: u32,
    /// What it runs.
    pub command: String,
    /// `in` or `out`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub direction: String,
    /// `tcp`, `udp`, `icmp`, or `other`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Our end; inbound with the port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub local: String,
    /// The other end; outbound with the port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote: String,
    /// The table that answered; empty: the default did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub table: String,
    /// The rule that said so; empty: none matched.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// Whether it was dropped, or the table only monitors.
    pub dropped: bool,
    /// How often.
    pub count: u64,
    /// The first time, in seconds since 1970.
    pub first: f64,
    /// The last.
    pub last: f64,
    /// Alerts before this one that could not be written in time.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
