//! What goes in front of a payload: the headers of link, network and transport, written where they lie.

use core::net::{IpAddr, SocketAddr};

use nic::{Pkt, Pool, TxChecksum};

use crate::ip::ids::Ids;
use crate::ip::{Flow, NO_CHECKSUM, Unsent};
use crate::types::Ecn;
use crate::wire::{checksum, ethernet, ipv4, ipv6};

/// Bytes of the network header towards an address.
#[inline]
pub(super) const fn ip_header(to: IpAddr) -> usize {
    if to.is_ipv4() { ipv4::HEADER } else { ipv6::HEADER }
}

/// Bytes of link and network header towards an address.
#[inline]
pub(super) const fn link_and_ip(to: IpAddr) -> usize {
    ethernet::HEADER + ip_header(to)
}

/// Copies a transport header; those that nearly all packets have, without a call.
#[inline]
fn copy_header(to: &mut [u8], from: &[u8]) {
    if let (Ok(to), Ok(from)) = (<&mut [u8; 20]>::try_from(&mut *to), <&[u8; 20]>::try_from(from)) {
        *to = *from;
    } else if let (Ok(to), Ok(from)) = (<&mut [u8; 32]>::try_from(&mut *to), <&[u8; 32]>::try_from(from)) {
        *to = *from;
    } else {
        to.copy_from_slice(from);
    }
}

/// What the headers of a packet say, whatever their family.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpHeader {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) label: u32,
    pub(super) payload: u16,
}

impl IpHeader {
    /// Writes it to `into`, which has exactly the room. Both addresses are of one family.
    #[inline]
    pub(super) fn write(&self, into: &mut [u8]) {
        let &Self { tos, ttl, protocol, label, payload, .. } = self;
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = ipv4::Emit { tos, ttl, protocol, source, destination, payload };
                into.copy_from_slice(&header.bytes());
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header =
                    ipv6::Emit { tos, label, hop_limit: ttl, protocol, source, destination, payload };
                into.copy_from_slice(&header.bytes());
            }
            _ => debug_assert!(false, "a flow has one family"),
        }
    }
}

/// The transport's pieces, as they lie before the frame is closed.
pub(super) struct Parts<'a> {
    pub(super) header: &'a [u8],
    pub(super) checksum_at: usize,
    pub(super) ecn: Ecn,
    pub(super) payload: usize,
}

impl Parts<'_> {
    /// Writes link, IP and transport header into the headroom of `pkt`, and the checksum, unless somebody else finishes that.
    pub(super) fn close(
        &self,
        pool: &mut Pool,
        pkt: &mut Pkt,
        flow: &Flow,
        (is_finished_later, ids): (bool, &mut Ids),
    ) -> Result<TxChecksum, Unsent> {
        let len = (self.header.len() + self.payload) as u16;
        let protocol = flow.key.protocol as u8;
        let ttl = flow.ttl.unwrap_or(flow.route.hops);
        let tos = flow.tos | self.ecn as u8;
        let before = link_and_ip(flow.key.remote.ip());
        let whole = pool.whole_mut(pkt, before + self.header.len()).ok_or(Unsent::TooBig)?;
        let (link, packet) = whole.split_first_chunk_mut().ok_or(Unsent::TooBig)?;
        *link = flow.route.link;
        let (pseudo, transport) = match (&flow.key.local, &flow.key.remote) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let (ip, transport) = packet.split_first_chunk_mut().ok_or(Unsent::TooBig)?;
                let (source, destination) = (*from.ip(), *to.ip());
                *ip = ipv4::Emit { tos, ttl, protocol, source, destination, payload: len }.bytes();
                if flow.may_fragment {
                    ipv4::allow_fragments(ip, ids.take());
                }
                (checksum::Raw::pseudo_v4(source, destination, protocol, len), transport)
            }
            (local, remote) => {
                let (source, destination) = (local.ip(), remote.ip());
                let (ip, transport) =
                    packet.split_at_mut_checked(before - ethernet::HEADER).ok_or(Unsent::TooBig)?;
                let label = flow.route.label;
                IpHeader { source, destination, protocol, tos, ttl, label, payload: len }.write(ip);
                (checksum::Raw::pseudo(source, destination, protocol, len), transport)
            }
        };
        let start = is_finished_later.then_some(before as u16);
        Ok(self.write(transport, pseudo, start))
    }

    /// Writes the header in front of its payload, and the checksum; or, when somebody else finishes it for the transport
    /// that begins at byte `start` of the frame, what it begins with.
    #[inline]
    fn write(&self, transport: &mut [u8], pseudo: checksum::Raw, start: Option<u16>) -> TxChecksum {
        let at = self.checksum_at;
        let (header, payload) = transport.split_at_mut(self.header.len());
        copy_header(header, self.header);
        let (field, left) = match start {
            _ if at == NO_CHECKSUM => return TxChecksum::Complete,
            Some(start) => (pseudo.folded(), TxChecksum::Partial { start, offset: at as u16 }),
            None => (checksum::of_pieces(self.header, payload, pseudo), TxChecksum::Complete),
        };
        // RFC 768: an all zero checksum field means that there is none; TCP does not care.
        let field = if field == 0 && start.is_none() { 0xffff } else { field };
        header[at..at + 2].copy_from_slice(&field.to_be_bytes());
        left
    }
}
