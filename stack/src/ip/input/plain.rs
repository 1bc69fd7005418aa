//! The packet that nearly all are: a segment of TCP, whole, behind an IP header without options or extensions, from one
//! host to an address of ours. One look finds that out; what is not so, or not right, is left to the steps of
//! [`read`](super::read), which say what is wrong with it. (A test holds that whatever is plain is what they find.)

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::Range;

use super::{Door, Host, v4, v6};
use crate::hash::FlowWords;
use crate::types::{Ecn, FlowKey, IfaceId, Protocol, on_link, scope_of};
use crate::wire::{checksum, ethernet, ipv4, ipv6};

/// The first byte of a header of IPv4 without options.
const WITHOUT_OPTIONS: u8 = 0x45;

/// A plain packet for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain<A> {
    /// From.
    pub source: A,
    /// To.
    pub destination: A,
    /// Type of service, or traffic class: DSCP and ECN.
    pub tos: u8,
    /// Bytes of the segment.
    pub len: u16,
}

/// A family of addresses, with its packets that are plain.
pub trait Family: Copy {
    /// Where the transport begins in a plain frame.
    const TRANSPORT: usize;

    /// What a plain frame says.
    fn read(frame: &[u8], door: Door<'_>, host: &impl Host) -> Option<Plain<Self>>;

    /// The addresses that it came from and goes to, of a frame that is plain.
    fn ends(frame: &[u8]) -> Option<(Self, Self)>;

    /// The sum of the pseudo-header of a segment of so many bytes.
    fn pseudo(source: Self, destination: Self, len: u16) -> checksum::Raw;

    /// The flow of a segment that came by an interface, packed for a look into a table.
    fn words(local: (Self, u16), remote: (Self, u16), iface: IfaceId) -> FlowWords;
}

impl<A: Family> Plain<A> {
    /// Where the transport lies in the frame: to the end of the packet.
    #[inline(always)]
    pub fn transport(&self) -> Range<usize> {
        A::TRANSPORT..A::TRANSPORT + usize::from(self.len)
    }

    /// What routers on the way, or the sender, said of congestion (RFC 3168 §5).
    #[inline]
    pub fn ecn(&self) -> Ecn {
        Ecn::of_tos(self.tos)
    }

    /// The sum of the pseudo-header of its transport.
    #[inline]
    pub fn pseudo(&self) -> checksum::Raw {
        A::pseudo(self.source, self.destination, self.len)
    }

    /// The flow that it belongs to, between these ports; it came by `iface`.
    #[inline(always)]
    pub fn words(&self, source: u16, destination: u16, iface: IfaceId) -> FlowWords {
        A::words((self.destination, destination), (self.source, source), iface)
    }
}

/// The flow, between these ports, of a plain frame that came by `iface` and whose transport begins at byte `transport`.
#[inline]
pub fn flow_of(
    frame: &[u8],
    transport: usize,
    iface: IfaceId,
    (source, destination): (u16, u16),
) -> Option<FlowKey> {
    let (from, to): (IpAddr, IpAddr) = if transport == <Ipv4Addr as Family>::TRANSPORT {
        Ipv4Addr::ends(frame).map(|(from, to)| (from.into(), to.into()))?
    } else {
        Ipv6Addr::ends(frame).map(|(from, to)| (from.into(), to.into()))?
    };
    let end = |address, port| on_link(SocketAddr::new(address, port), iface);
    Some(FlowKey { protocol: Protocol::Tcp, local: end(to, destination), remote: end(from, source) })
}

impl Family for Ipv4Addr {
    const TRANSPORT: usize = ethernet::HEADER + ipv4::HEADER;

    #[inline(always)]
    fn read(frame: &[u8], door: Door<'_>, host: &impl Host) -> Option<Plain<Self>> {
        let head = frame.first_chunk::<{ Self::TRANSPORT }>()?;
        let (link, ip) = head.split_at(ethernet::HEADER);
        let ip = ip.first_chunk::<{ ipv4::HEADER }>()?;
        let len = u16::from_be_bytes([ip[2], ip[3]]);
        let fragment = u16::from_be_bytes([ip[6], ip[7]]) & (ipv4::MF | ipv4::OFFSET);
        let source = Self::new(ip[12], ip[13], ip[14], ip[15]);
        let destination = Self::new(ip[16], ip[17], ip[18], ip[19]);
        let is_plain = link[..6] == *door.mac
            && u16::from_be_bytes([link[12], link[13]]) == ethernet::IPV4
            && ip[0] == WITHOUT_OPTIONS
            && ip[9] == ipv4::TCP
            && fragment == 0
            && (ipv4::HEADER..=frame.len() - ethernet::HEADER).contains(&usize::from(len))
            && checksum::is_header_intact(ip)
            && host.is_own_v4(destination, door.iface)
            && !v4::is_martian(source, door, host);
        is_plain.then(|| Plain { source, destination, tos: ip[1], len: len - ipv4::HEADER as u16 })
    }

    #[inline]
    fn ends(frame: &[u8]) -> Option<(Self, Self)> {
        let ends = frame.get(26..34)?.as_chunks::<4>().0;
        Some((Self::from(ends[0]), Self::from(ends[1])))
    }

    #[inline]
    fn pseudo(source: Self, destination: Self, len: u16) -> checksum::Raw {
        checksum::Raw::pseudo_v4(source, destination, ipv4::TCP, len)
    }

    #[inline(always)]
    fn words(local: (Self, u16), remote: (Self, u16), _: IfaceId) -> FlowWords {
        FlowWords::v4(Protocol::Tcp, local, remote)
    }
}

impl Family for Ipv6Addr {
    const TRANSPORT: usize = ethernet::HEADER + ipv6::HEADER;

    #[inline(always)]
    fn read(frame: &[u8], door: Door<'_>, host: &impl Host) -> Option<Plain<Self>> {
        let head = frame.first_chunk::<{ Self::TRANSPORT }>()?;
        let (link, ip) = head.split_at(ethernet::HEADER);
        let ip = ipv6::parse(ip).ok()?;
        let (source, destination) = (ip.source, ip.destination);
        let is_plain = link[..6] == *door.mac
            && u16::from_be_bytes([link[12], link[13]]) == ethernet::IPV6
            && ip.next == ipv4::TCP
            && ip.payload_len <= frame.len() - Self::TRANSPORT
            && !destination.is_multicast()
            && host.is_own(destination.into(), door.iface)
            && !v6::is_martian(source, door, host);
        is_plain.then_some(Plain { source, destination, tos: ip.tos, len: ip.payload_len as u16 })
    }

    #[inline]
    fn ends(frame: &[u8]) -> Option<(Self, Self)> {
        let ends = frame.get(22..54)?.as_chunks::<16>().0;
        Some((Self::from(ends[0]), Self::from(ends[1])))
    }

    #[inline]
    fn pseudo(source: Self, destination: Self, len: u16) -> checksum::Raw {
        checksum::Raw::pseudo_v6(source, destination, ipv4::TCP, len)
    }

    #[inline(always)]
    fn words(local: (Self, u16), remote: (Self, u16), iface: IfaceId) -> FlowWords {
        FlowWords::v6(Protocol::Tcp, local, remote, scope_of(&remote.0, iface))
    }
}

#[cfg(test)]
mod tests;
