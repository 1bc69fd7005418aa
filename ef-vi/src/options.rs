//! What an adapter is opened with, and what it is to lead here.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

/// What an adapter is opened with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Slots of the receive ring, a power of two; `None` leaves it to the adapter.
    pub rx_ring: Option<u16>,
    /// Slots of the transmit ring, a power of two; `None` leaves it to the adapter.
    pub tx_ring: Option<u16>,
    /// How small frames are sent when nothing else is under way.
    pub small: Small,
    /// The library, if it is not the one that this was built with.
    pub library: Option<PathBuf>,
    /// Its descriptors get numbers from here on, out of the application's way.
    pub lowest_fd: Option<RawFd>,
}

/// How small frames are sent when nothing else is under way: what is written to the adapter by the processor is on
/// the wire sooner than what the adapter has to fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Small {
    /// By what the adapter has: CTPIO before PIO.
    #[default]
    Auto,
    /// As all others, by DMA.
    Dma,
}

/// What the adapter is to lead here instead of to the kernel. There are no ranges and no wildcards, and fragments
/// match none: they are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    /// TCP (6) or UDP (17).
    pub protocol: u8,
    /// The local address and port.
    pub local: SocketAddr,
    /// The remote ones, of the same family; `None` for all.
    pub remote: Option<SocketAddr>,
}
