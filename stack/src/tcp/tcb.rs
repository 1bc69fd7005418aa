//! The transmission control block: all that is known of a connection.

use nic::Pool;

use super::info::Info;
use super::options::TcpOptions;
use super::segs::SegTable;
use super::state::State;
use crate::error::SocketError;
use crate::ip::Flow;
use crate::time::Instant;
use crate::types::Readiness;

/// A connection.
#[derive(Debug)]
pub struct Tcb {
    /// The state of RFC 9293 §3.3.2.
    pub state: State,
    /// The five-tuple with its route and verdict.
    pub flow: Flow,
    /// What the application chose.
    pub options: TcpOptions,
    /// SO_ERROR: why the connection failed; taken by the call that reports it.
    pub error: Option<SocketError>,
    pub(super) wakes: Readiness,
}

impl Tcb {
    /// What became ready since this was asked last. A bit may be told again while it is still set: each
    /// arrival of data is an edge of its own.
    pub fn take_wakes(&mut self) -> Readiness {
        core::mem::take(&mut self.wakes)
    }

    /// What `poll` would say now.
    pub fn readiness(&self) -> Readiness {
        Readiness::NONE
    }

    /// When [`expiry::timers`](super::expiry::timers) must be called; [`Instant::NEVER`]: not at all.
    /// It may move later without notice: calling early is harmless.
    pub fn next_deadline(&self) -> Instant {
        Instant::NEVER
    }

    /// Octets that `recv` would give now.
    pub fn recv_queue(&self) -> u32 {
        0
    }

    /// Octets that the peer has not acknowledged, those not sent yet included.
    pub fn send_queue(&self) -> u32 {
        0
    }

    /// Whether the peer said that it will send no more, and all it sent was read.
    pub fn at_end(&self) -> bool {
        false
    }

    /// An orphan (closed by its owner) that has nothing left to say or to wait for but TIME-WAIT can be kept
    /// as a [`TimeWait`](super::TimeWait).
    pub fn is_orphan(&self) -> bool {
        false
    }

    /// A snapshot.
    pub fn info(&self) -> Option<Info> {
        None
    }

    /// Frees all queued frames; to be called before the `Tcb` is dropped.
    pub fn release(&mut self, _pool: &mut Pool, _segs: &mut SegTable) {}
}
