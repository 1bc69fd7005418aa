//! A UDP socket, as the table of sockets holds it.

use core::net::SocketAddr;

use nic::Pool;

use crate::error::SocketError;
use crate::types::{IfaceId, Readiness};
use crate::udp::{DatagramTable, ErrorQueue, Groups, Queue, Wants};

/// A UDP socket.
#[derive(Debug, Default)]
pub(super) struct Datagram {
    pub(super) queue: Queue,
    pub(super) remote: Option<SocketAddr>,
    /// The local end was given by `bind`, not chosen by `connect`.
    pub(super) bound: Option<SocketAddr>,
    pub(super) error: Option<SocketError>,
    pub(super) shut_read: bool,
    pub(super) shut_write: bool,
    /// Others are bound to the same end.
    pub(super) crowded: bool,
    /// Datagrams that found no room.
    pub(super) drops: u32,
    pub(super) settings: Settings,
    /// What few sockets have.
    pub(super) extra: Option<Box<Extra>>,
}

/// The options that only UDP has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) wants: Wants,
    /// UDP_SEGMENT; zero: off.
    pub(super) segment: u16,
    /// UDP_GRO.
    pub(super) gro: bool,
    /// SO_NO_CHECK: no checksums on IPv4.
    pub(super) no_check: bool,
    /// UDP_NO_CHECK6_TX.
    pub(super) no_check6_tx: bool,
    /// UDP_NO_CHECK6_RX.
    pub(super) no_check6_rx: bool,
    /// IP_RECVERR.
    pub(super) recv_error: bool,
    /// IPV6_RECVERR.
    pub(super) recv_error6: bool,
    /// IP_MULTICAST_TTL.
    pub(super) group_ttl: u8,
    /// IP_MULTICAST_ALL.
    pub(super) group_all: bool,
    /// IPV6_MULTICAST_HOPS.
    pub(super) group_hops: u8,
    /// IPV6_MULTICAST_ALL.
    pub(super) group_all6: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wants: Wants::default(),
            segment: 0,
            gro: false,
            no_check: false,
            no_check6_tx: false,
            no_check6_rx: false,
            recv_error: false,
            recv_error6: false,
            group_ttl: 1,
            group_all: true,
            group_hops: 1,
            group_all6: true,
        }
    }
}

/// What few sockets have: made by a call, never by a packet.
#[derive(Debug, Default)]
pub(super) struct Extra {
    pub(super) groups: Groups,
    pub(super) errors: Option<ErrorQueue>,
    /// IP_MULTICAST_IF: the way out for groups.
    pub(super) group_iface: Option<IfaceId>,
}

impl Datagram {
    /// The rare part, made now if need be.
    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// The error queue, when the socket has one.
    pub(super) fn errors(&mut self) -> Option<&mut ErrorQueue> {
        self.extra.as_mut()?.errors.as_mut()
    }

    /// Whether errors wait in the queue of them.
    pub(super) fn has_errors(&self) -> bool {
        self.extra.as_ref().and_then(|e| e.errors.as_ref()).is_some_and(|e| !e.is_empty())
    }

    /// Frees all that waits.
    pub(super) fn clear(&mut self, table: &mut DatagramTable, pool: &mut Pool) {
        self.queue.clear(table, pool);
        if let Some(errors) = self.errors() {
            errors.clear(pool);
        }
    }

    /// What the socket is ready for; `starved`: its sender found no frame.
    pub(super) fn readiness(&self, starved: bool) -> Readiness {
        let mut ready = Readiness::NONE;
        if !self.queue.is_empty() {
            ready |= Readiness::IN;
        }
        if self.error.is_some() {
            ready |= Readiness::ERR;
        }
        if self.has_errors() {
            ready |= Readiness::REPORT;
        }
        if self.shut_read {
            ready |= Readiness::IN | Readiness::RDHUP;
        }
        if self.shut_read && self.shut_write {
            ready |= Readiness::HUP;
        }
        if !starved {
            ready |= Readiness::OUT;
        }
        ready
    }
}
