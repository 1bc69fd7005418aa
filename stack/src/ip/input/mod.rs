//! IP input: which frames are packets for us, and where their transport begins.
//!
//! The checks run in one fixed order, the same for both families, and the first that fails names the reason, so
//! that the counters mean the same whatever else is wrong with a frame:
//!
//! | | IPv4 | IPv6 |
//! |---|---|---|
//! | 1 | the link: whole, an EtherType of ours, to us or to a group | the same |
//! | 2 | the header: whole, version, lengths that agree | the same |
//! | 3 | its checksum | |
//! | 4 | a source that a peer can have | the same |
//! | 5 | a destination that is ours, or a group | the same |
//! | 6 | no fragment, but of TCP | extension headers, fragments of anything but TCP among them |

mod plain;
mod v4;
mod v6;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ops::Range;

use nic::RxChecksum;

use crate::hash::FlowWords;
use crate::stats::Stats;
use crate::types::{Ecn, FlowKey, IfaceId, Protocol, on_link};
use crate::wire::ipv6_ext::{Piece, Problem};
use crate::wire::{be16, checksum, ethernet};

pub use plain::{Family, Plain, flow_of};

/// What input has to know of the host.
pub trait Host {
    /// Whether the address is one of the host's; a link-local one only on its own interface.
    fn is_own(&self, address: IpAddr, iface: IfaceId) -> bool;
    /// As [`Host::is_own`], of an address of IPv4.
    fn is_own_v4(&self, address: Ipv4Addr, iface: IfaceId) -> bool {
        self.is_own(address.into(), iface)
    }
    /// Whether the address is told at once to be neither the host's nor a broadcast of its networks; false when in doubt.
    fn is_elsewhere(&self, _address: IpAddr) -> bool {
        false
    }
    /// Whether the address means everybody on a network of the host's.
    fn is_broadcast(&self, address: Ipv4Addr) -> bool;
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $counter:ident,)*) => {
        /// Why a frame was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Counts the drop.
            pub fn count(self, stats: &mut Stats) {
                match self { $(Reason::$name => stats.$counter += 1,)* }
            }

            /// The counter that counts it, by its name in `ringroad stat`.
            pub fn counter(self) -> &'static str {
                match self { $(Reason::$name => stringify!($counter),)* }
            }

            /// All, each at the place of its number.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];
        }
    };
}

reasons! {
    /// Shorter than its headers say.
    Truncated => drop_truncated,
    /// An EtherType of no use to us.
    NotIp => drop_not_ip,
    /// A field that makes no sense.
    BadHeader => drop_bad_header,
    /// The IP header's checksum.
    IpChecksum => drop_ip_checksum,
    /// The transport's checksum.
    L4Checksum => drop_l4_checksum,
    /// An extension header or option that we do not understand.
    Unrecognised => drop_unrecognised,
    /// A piece of a packet.
    Fragment => drop_fragment,
    /// Addressed to somebody else.
    NotOurs => drop_not_ours,
    /// From an address that no peer can have.
    Martian => drop_martian,
    /// A transport that is the kernel's.
    NotTransport => drop_not_transport,
    /// Denied by the policy.
    Denied => drop_denied_in,
    /// Nobody there.
    NoSocket => drop_no_socket,
    /// Of a connection that another stack of the port has now.
    Moved => drop_moved,
    /// The accept queue or the backlog is full.
    Backlog => drop_backlog,
    /// The socket's receive buffer is full.
    BufferFull => drop_buffer_full,
    /// So few frames are free that what is queued may not grow.
    NoFrames => drop_no_frames,
}

/// A frame that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// What its sender is to be told of it.
    pub answer: Option<Problem>,
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        Self { reason, answer: None }
    }
}

/// A packet for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// From.
    pub source: IpAddr,
    /// To.
    pub destination: IpAddr,
    /// Transport, by IP protocol number.
    pub protocol: u8,
    /// Type of service, or traffic class: DSCP and ECN.
    pub tos: u8,
    /// Time to live, or hop limit, as it arrived.
    pub ttl: u8,
    /// The interface it arrived on.
    pub iface: IfaceId,
    /// It comes from this host: by the loopback device, or without leaving the stack.
    pub home: bool,
    /// Sent to a group: by its link or its network destination.
    pub to_group: bool,
    /// The IP packet in the frame, without padding.
    pub packet: Range<usize>,
    /// Where the transport begins in the frame; it ends where the packet ends.
    pub transport: usize,
    /// It is a piece of a TCP segment: what there is from `transport` on. (The kernel puts the rest together.)
    pub piece: Option<Piece>,
}

impl Arrived {
    /// The transport's bytes.
    #[inline]
    pub fn payload(&self) -> Range<usize> {
        self.transport..self.packet.end
    }

    /// What routers on the way, or the sender, said of congestion (RFC 3168 §5).
    #[inline]
    pub fn ecn(&self) -> Ecn {
        Ecn::of_tos(self.tos)
    }

    /// The flow that it belongs to, packed for a look into a table.
    #[inline]
    pub fn words(&self, protocol: Protocol, source: u16, destination: u16) -> FlowWords {
        match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => FlowWords::v4(protocol, (to, destination), (from, source)),
            _ => FlowWords::new(&self.flow(protocol, source, destination)),
        }
    }

    /// The flow that it belongs to, with us at its destination.
    #[inline]
    pub fn flow(&self, protocol: Protocol, source: u16, destination: u16) -> FlowKey {
        let local = on_link(SocketAddr::new(self.destination, destination), self.iface);
        let remote = on_link(SocketAddr::new(self.source, source), self.iface);
        FlowKey { protocol, local, remote }
    }
}

/// The interface that a frame arrived on.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The kernel's index.
    pub iface: IfaceId,
    /// Its link address.
    pub mac: &'a [u8; 6],
    /// The frame comes from this host: its source may be one of ours.
    pub home: bool,
}

/// Reads the link and network headers of a frame.
///
/// # Errors
/// The [`Reason`] to drop it, and what is to be said of it.
#[inline]
pub fn read(frame: &[u8], door: Door<'_>, host: &impl Host) -> Result<Arrived, Refused> {
    let Some(link) = frame.first_chunk::<{ ethernet::HEADER }>() else {
        return Err(Reason::Truncated.into());
    };
    let ether_type = u16::from_be_bytes([link[12], link[13]]);
    if ether_type != ethernet::IPV4 && ether_type != ethernet::IPV6 {
        return Err(Reason::NotIp.into());
    }
    let to_group = ethernet::is_group(link);
    if !to_group && link[..6] != *door.mac {
        return Err(Reason::NotOurs.into());
    }
    let packet = &frame[ethernet::HEADER..];
    if ether_type == ethernet::IPV4 {
        return v4::read(packet, (door, to_group), host);
    }
    let mut arrived = v6::read(packet, door, host)?;
    arrived.to_group |= to_group;
    Ok(arrived)
}

/// Whether the checksum at byte `at` of a transport's bytes says that they are intact. The unfinished form,
/// where the NIC says that it may occur, is the pseudo-header's sum and nothing else.
#[inline]
pub fn is_intact(bytes: &[u8], at: usize, arrived: &Arrived, known: RxChecksum) -> bool {
    if known == RxChecksum::Verified {
        return true;
    }
    let Ok(len) = u16::try_from(bytes.len()) else { return false };
    let pseudo = checksum::Raw::pseudo(arrived.source, arrived.destination, arrived.protocol, len);
    is_right(bytes, at, pseudo, known)
}

/// As [`is_intact`], with the pseudo-header's sum at hand.
#[inline]
pub fn is_right(bytes: &[u8], at: usize, pseudo: checksum::Raw, known: RxChecksum) -> bool {
    known == RxChecksum::Verified
        || known == RxChecksum::MayBeUnfinished && be16(bytes, at) == Some(pseudo.folded())
        || checksum::is_intact(bytes, pseudo)
}
