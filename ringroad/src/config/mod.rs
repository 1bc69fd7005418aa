//! What can be set, and where the values come from: the environment, by one table of rows.

mod apart;
mod parse;
mod places;
mod spins;
mod table;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use af_xdp::Offload;
use stack::types::CongestionControl;

use crate::alerts::Sink;
use crate::flows::Place;
use crate::metrics::Endpoint;

pub use apart::Apart;
pub(crate) use apart::other_side;
pub use parse::{Settings, Warning};
pub(crate) use places::absolute;
pub use spins::{Call, Spins};
pub use table::{ROWS, Row, help};

/// How the runtime trades latency, throughput and processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A short spin while it pays, frames sent once a turn.
    #[default]
    Balanced,
    /// Long spins, frames sent at once.
    Latency,
    /// No spinning, frames sent once a turn.
    Throughput,
}

impl Profile {
    /// How long a wait spins before it blocks, unless told otherwise.
    pub fn spin(self) -> Duration {
        match self {
            Profile::Balanced => Duration::from_micros(30),
            Profile::Latency => Duration::from_secs(1),
            Profile::Throughput => Duration::ZERO,
        }
    }

    /// The name as the user writes it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Balanced => "balanced",
            Profile::Latency => "latency",
            Profile::Throughput => "throughput",
        }
    }
}

/// How frames get to the stack and from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Backend {
    /// AF_XDP where it can be had, otherwise the kernel's receive path.
    #[default]
    Auto,
    /// AF_XDP sockets.
    AfXdp,
    /// The kernel's receive path, at tc ingress, and a packet socket to send through.
    Packet,
    /// A TAP device of the stack's own, for one process: it is a neighbour of the host then, with addresses of its own.
    Tap,
    /// Adapters that ef_vi drives, for one process; what they do not lead to it comes by AF_XDP.
    EfVi,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Auto, Self::AfXdp, Self::Packet, Self::Tap, Self::EfVi];

    /// The name as the user writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::AfXdp => "af-xdp",
            Self::Packet => "packet",
            Self::Tap => "tap",
            Self::EfVi => "ef-vi",
        }
    }
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names of the interfaces to accelerate; empty means none.
    pub interfaces: Vec<String>,
    /// The policy file; without one everything is allowed.
    pub policy: Option<PathBuf>,
    /// Where alerts are written, besides what `ringroad alerts` shows.
    pub alerts: Vec<Sink>,
    /// Where what flows carry is kept.
    pub flows: Option<Place>,
    /// Where whom the policy marks is recorded.
    pub shadow: Option<Place>,
    /// Where metrics are to be had.
    pub metrics: Option<Endpoint>,
    /// The profile.
    pub profile: Profile,
    /// How long a wait spins before it blocks; `None` is the profile's.
    pub spin: Option<Duration>,
    /// The same for waits of one kind, over `spin` and the profile.
    pub spin_calls: Spins,
    /// Congestion control of connections that do not choose one.
    pub congestion: CongestionControl,
    /// ECN: 0 never, 1 our connections ask for it, 2 when the peer asks; `None` is as the host has it.
    pub ecn: Option<u8>,
    /// Least severe level of log lines on standard error.
    pub log: tracing::Level,
    /// Whether an application that cannot be accelerated is an error.
    pub strict: bool,
    /// Frames of 4096 bytes in the port.
    pub frames: u32,
    /// Processes that may drive the interfaces side by side; `None` is as many as the port has room for.
    pub processes: Option<u8>,
    /// Whether other programs of this user may share the port.
    pub share: bool,
    /// Where segments go to the kernel as superframes.
    pub offload: Offload,
    /// How frames get to the stack.
    pub backend: Backend,
    /// Addresses of the stack's own, for the backend that has no other.
    pub apart: Apart,
    /// The library of ef_vi, if it is not the one that this was built with.
    pub ef_vi_library: Option<PathBuf>,
    /// How long exit waits for closed connections to deliver their data.
    pub linger: Duration,
    /// Where the control sockets are; `None` is the first of the usual places that can be written.
    pub control_dir: Option<PathBuf>,
    /// Where the agent listens, which opens interfaces for users without privilege.
    pub agent: PathBuf,
    /// A port opened by the launcher, described for import.
    pub port: Option<String>,
    /// Filters of system calls that the launcher was under, if it has said so.
    pub filters: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            policy: None,
            alerts: Vec::new(),
            flows: None,
            shadow: None,
            metrics: None,
            profile: Profile::default(),
            spin: None,
            spin_calls: Spins::default(),
            congestion: CongestionControl::default(),
            ecn: None,
            log: tracing::Level::WARN,
            strict: false,
            frames: 16384,
            processes: None,
            share: true,
            offload: Offload::Auto,
            backend: Backend::default(),
            apart: Apart::default(),
            ef_vi_library: None,
            linger: Duration::from_secs(2),
            control_dir: None,
            agent: crate::agent::SOCKET.into(),
            port: None,
            filters: None,
        }
    }
}

impl Config {
    /// How long a wait spins before it blocks.
    pub fn spin(&self) -> Duration {
        self.spin.unwrap_or(self.profile.spin())
    }

    /// Reads `RINGROAD_*` from the environment. Unknown names and bad values are warnings, beside a
    /// configuration that leaves them out.
    pub fn from_env() -> (Self, Vec<Warning>) {
        Self::from_vars(std::env::vars_os())
    }

    /// Whether nothing is to run without the road: it was said so, or a policy is named, which nothing else would carry out.
    pub fn insists(&self) -> bool {
        self.strict || self.policy.is_some()
    }

    /// Whether anything is to be accelerated at all: an interface is named, or a port is at hand.
    pub fn wants_acceleration(&self) -> bool {
        !self.interfaces.is_empty() || self.port.is_some()
    }
}

/// An interface that could be accelerated: up, not the loopback, with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its IPv4 addresses.
    pub addresses: Vec<IpAddr>,
}
