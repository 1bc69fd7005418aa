//! IPv4 and IPv6: packets in, packets out.
//!
//! [`Egress`] is the one way out. TCP and UDP hand it a transport header and a payload; it judges, routes,
//! finishes the headers and queues the frame on its interface.

pub mod fragments;
pub mod ids;
pub mod input;
pub mod path_mtu;
mod search;

use core::net::IpAddr;

use nic::{Pkt, Pool};

use crate::error::SocketError;
use crate::time::Instant;
use crate::types::{Direction, Ecn, FlowKey};

pub use crate::types::VerdictMemo;

/// What is remembered for a flow so that no packet of it is looked up twice.
#[derive(Clone, Debug)]
pub struct Flow {
    /// The five-tuple.
    pub key: FlowKey,
    /// Who sent the first packet: the direction that rules judge.
    pub direction: Direction,
    /// Type of service of what we send (IP_TOS), or its traffic class (IPV6_TCLASS).
    pub tos: u8,
    /// Time to live of what we send (IP_TTL), or its hop limit (IPV6_UNICAST_HOPS); none: the interface's.
    pub ttl: Option<u8>,
    /// The route and link header found last; see [`Egress::send`].
    pub route: RouteMemo,
    /// The gate's verdict; see [`crate::policy`].
    pub memo: VerdictMemo,
    /// Whether IPv6 packets carry a flow label, as far as the host leaves that to sockets (IPV6_AUTOFLOWLABEL).
    pub auto_label: bool,
    /// How often the label was changed; see [`Flow::change_path`].
    pub paths_tried: u8,
    /// Whether routers may cut IPv4 packets: no DF (IP_MTU_DISCOVER).
    pub may_fragment: bool,
}

/// A route looked up once: valid while its generation is the control plane's.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouteMemo {
    /// The control plane's generation when it was looked up; zero: never.
    pub generation: u32,
    /// Index of the interface, as the egress numbers them.
    pub port: u16,
    /// The packet stays in this host.
    pub home: bool,
    /// Longest IP packet on the path.
    pub mtu: u16,
    /// The hop limit where none was chosen.
    pub hops: u8,
    /// The flow label (IPv6).
    pub label: u32,
    /// Link header: destination, source, EtherType.
    pub link: [u8; 14],
}

impl Flow {
    /// A flow of which nothing is known yet. TTL 64, TOS 0.
    pub fn new(key: FlowKey, direction: Direction) -> Self {
        let (route, memo) = (RouteMemo::default(), VerdictMemo::default());
        Self {
            key,
            direction,
            tos: 0,
            ttl: Some(64),
            route,
            memo,
            auto_label: true,
            paths_tried: 0,
            may_fragment: false,
        }
    }

    /// Has packets carry another flow label from now on, so that routers that spread flows by it (RFC 6438) may lead them
    /// by another path: the one they take seems to lose them (Linux: `sk_rethink_txhash`). A connection that moves to
    /// another stack begins with that stack's first label.
    pub fn change_path(&mut self) {
        if self.key.remote.is_ipv6() {
            self.paths_tried = self.paths_tried.wrapping_add(1);
            // The label is found with the route.
            self.route.generation = 0;
        }
    }

    /// The other end's address.
    pub fn remote(&self) -> IpAddr {
        self.key.remote.ip()
    }
}

/// In place of the checksum field's position: the packet carries none (RFC 768, RFC 6935).
pub const NO_CHECKSUM: usize = usize::MAX;

/// A transport segment on its way out.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// The transport header (at most 60 bytes), with zeros in its checksum field.
    pub header: &'a [u8],
    /// Where the checksum field is in `header`, in bytes; [`NO_CHECKSUM`] to leave it zero.
    pub checksum_at: usize,
    /// The ECN codepoint of this packet, joined with what the flow's `tos` says (TCP keeps its two bits zero
    /// there and decides for each packet, RFC 3168 §6.1).
    pub ecn: Ecn,
    /// The payload.
    pub payload: Payload<'a>,
}

/// The payload of a segment, by who keeps it.
#[derive(Debug)]
pub enum Payload<'a> {
    /// None: a frame is taken from the pool for the headers.
    None,
    /// The sender keeps the packet to send it again; headers go into its headroom. Refused while it is lent.
    Lend(&'a mut Pkt),
    /// Sent once, then freed. It is freed on errors too.
    Give(Pkt),
}

/// Why a segment was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The policy forbids it.
    Denied,
    /// No route, or the interface is down.
    Unreachable,
    /// The next hop's link address is being asked for; the caller's own timers send again.
    NoNeighbour,
    /// The next hop did not answer.
    NeighbourFailed,
    /// No free frame.
    NoFrames,
    /// The payload is still lent from last time.
    Lent,
    /// It does not fit the MTU or the frame.
    TooBig,
}

impl From<Unsent> for SocketError {
    fn from(u: Unsent) -> Self {
        match u {
            Unsent::Denied => SocketError::NotPermitted,
            Unsent::Unreachable => SocketError::NetworkUnreachable,
            Unsent::NeighbourFailed => SocketError::HostUnreachable,
            Unsent::NoNeighbour | Unsent::Lent => SocketError::WouldBlock,
            Unsent::NoFrames => SocketError::NoBuffers,
            Unsent::TooBig => SocketError::MessageSize,
        }
    }
}

/// The way out of the stack. A trait so that TCP can be tested against a plain list of segments.
pub trait Egress {
    /// Judges, routes and queues one segment of `flow`, filling in the checksum (or leaving it to the NIC).
    /// On success the frame is in its interface's queue; nothing else is ever waited for.
    ///
    /// # Errors
    /// [`Unsent`], when nothing was queued.
    fn send(
        &mut self,
        pool: &mut Pool,
        flow: &mut Flow,
        out: Outgoing<'_>,
        now: Instant,
    ) -> Result<(), Unsent>;

    /// The longest IP packet towards `flow`'s peer, in bytes; 576 when there is no route.
    fn mtu(&mut self, flow: &mut Flow) -> u16;
}
