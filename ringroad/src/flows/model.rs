//! What is told of a flow.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};
use stack::types::{Direction, Protocol};

/// What the gate says to a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passes.
    #[default]
    Allowed,
    /// It passes, because its table only monitors.
    Monitored,
    /// It does not.
    Denied,
}

impl Verdict {
    /// All of them, by their numbers.
    pub const ALL: [Verdict; 3] = [Verdict::Allowed, Verdict::Monitored, Verdict::Denied];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Allowed => "allowed",
            Verdict::Monitored => "monitored",
            Verdict::Denied => "denied",
        }
    }
}

/// What a flow carried in a second, or in what was left of one: a line of `ringroad flows --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flow {
    /// When this was so, in seconds since 1970.
    pub time: f64,
    /// The host.
    pub host: String,
    /// The process whose stack carried it.
    pub pid: u32,
    /// What it runs.
    pub command: String,
    /// Who began it.
    #[serde(serialize_with = "direction")]
    pub direction: Direction,
    /// `tcp` or `udp`.
    #[serde(serialize_with = "protocol")]
    pub protocol: Protocol,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// What the gate says to it.
    pub verdict: Verdict,
    /// The table that answers for it: the name that the policy has for our address; empty: none does.
    pub table: String,
    /// The rule that says so; empty: none matches.
    pub rule: String,
    /// The state of a connection, in the kernel's words; empty for datagrams, and for what was refused at once.
    pub state: &'static str,
    /// Packets that arrived since it was told of last.
    pub packets_in: u64,
    /// Packets that were sent.
    pub packets_out: u64,
    /// Octets of payload that arrived.
    pub bytes_in: u64,
    /// Octets of payload that were sent.
    pub bytes_out: u64,
    /// Segments that were sent again.
    pub retransmits: u64,
    /// The smoothed round-trip time in microseconds; zero when it is not known.
    pub srtt_us: u64,
    /// Nothing more will be told of it.
    pub over: bool,
}

/// The word of a direction.
pub(super) const fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "in",
        Direction::Out => "out",
    }
}

/// The word of a protocol.
pub(super) const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

impl Flow {
    /// `in` or `out`: who began it.
    pub fn direction_name(&self) -> &'static str {
        direction_name(self.direction)
    }

    /// `tcp` or `udp`.
    pub fn protocol_name(&self) -> &'static str {
        protocol_name(self.protocol)
    }
}

fn direction<S: Serializer>(direction: &Direction, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(direction_name(*direction))
}

fn protocol<S: Serializer>(protocol: &Protocol, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(protocol_name(*protocol))
}
