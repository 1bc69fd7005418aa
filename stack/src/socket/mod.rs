//! What a socket call takes and gives: BSD's semantics as Linux has them, in types.

mod datagram;
pub mod options;
pub mod stored;

use core::net::SocketAddr;

use crate::error::SocketError;
use crate::time::Instant;
use crate::types::{Protocol, Readiness, SocketId};

pub use datagram::{Completed, Datagram, ErrorReport, Origin, Outbound};
pub use options::{BbrInfo, Kind, OptName, TcpInfo, Value};

/// The result of a socket call.
pub type Result<T> = core::result::Result<T, SocketError>;

/// A connection taken from a listener's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The connection's own socket.
    pub id: SocketId,
    /// Our end.
    pub local: SocketAddr,
    /// The peer.
    pub remote: SocketAddr,
}

/// Flags of a send that the stack itself has to know (`MSG_DONTWAIT`, `MSG_NOSIGNAL` are the caller's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFlags {
    /// MSG_MORE: more follows; a last short segment may wait for it.
    pub more: bool,
    /// MSG_OOB: the last byte is urgent.
    pub oob: bool,
}

/// Flags of a receive that the stack itself has to know (`MSG_WAITALL`, `MSG_DONTWAIT` are the caller's).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecvFlags {
    /// MSG_PEEK: leave what is read in the queue.
    pub peek: bool,
    /// MSG_TRUNC on a stream: throw the bytes away instead of copying them.
    pub trunc: bool,
    /// MSG_OOB: read the urgent byte.
    pub oob: bool,
}

/// Which directions to shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// SHUT_RD.
    Read,
    /// SHUT_WR.
    Write,
    /// SHUT_RDWR.
    Both,
}

/// A socket became ready for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Which.
    pub id: SocketId,
    /// What its owner hung on it.
    pub cookie: u64,
    /// All it is ready for now.
    pub readiness: Readiness,
}

/// A socket as `ringroad stat` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketInfo {
    /// Its transport.
    pub protocol: Protocol,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// The other end.
    pub remote: Option<SocketAddr>,
    /// The TCP state in the kernel's words (`LISTEN`, `ESTAB` …), or `UNCONN`/`ESTAB` for UDP.
    pub state: &'static str,
    /// Bytes that wait for `recv`; for a listener, connections that wait for `accept`.
    pub recv_queue: u64,
    /// Bytes not acknowledged; for a listener, its backlog.
    pub send_queue: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Smoothed round-trip time, in microseconds; zero before one was measured.
    pub srtt_us: u64,
    /// Octets of payload of a connection that arrived, in order and once.
    pub bytes_in: u64,
    /// Those that were sent, each counted once.
    pub bytes_out: u64,
    /// The congestion window of a connection, in octets.
    pub cwnd: u32,
    /// What is due next by itself, and when.
    pub timer: Option<(&'static str, Instant)>,
}
