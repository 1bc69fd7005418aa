//! lwIP, an independent peer for tests and a yardstick for benchmarks: frames and calls go in, frames come out,
//! time is what it is told.
//!
//! Its sources are not in the repository; `cargo xtask lwip` fetches them, and this crate is compiled anew.
//! Without them [`Lwip::open`] says so.

#[cfg(not(lwip))]
mod absent;
#[cfg(lwip)]
mod real;

#[cfg(not(lwip))]
pub use absent::{Frame, Lwip};
#[cfg(lwip)]
pub use real::{Frame, Lwip};

use std::fmt;
use std::net::Ipv4Addr;

/// Connections at the most.
pub const CONNECTIONS: usize = 16_384;

/// A connection, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The handshake was completed.
    pub open: bool,
    /// The peer will send no more.
    pub ended: bool,
    /// It was reset or given up.
    pub failed: bool,
}

/// The one interface and its way out.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Its link address.
    pub mac: [u8; 6],
    /// Its address, in a network of 24 bits.
    pub address: Ipv4Addr,
    /// Where everything else goes; also a neighbour whose link address is known.
    pub gateway: Ipv4Addr,
    /// The gateway's link address.
    pub gateway_mac: [u8; 6],
}

/// There is no lwIP in this build.
#[derive(Clone, Copy, Debug)]
pub struct Absent;

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("lwIP's sources are not here: run `cargo xtask lwip`")
    }
}

impl std::error::Error for Absent {}
