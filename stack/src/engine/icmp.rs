//! ICMP and ICMPv6 errors in: what they quote is checked before anything is believed (RFC 1122 §3.2.2, RFC 4443
//! §2.4, RFC 5927).

use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::rx::Inbound;
use super::udp_errors::LostDatagram;
use crate::ip::input::{Arrived, Reason};
use crate::seq::Seq;
use crate::tcp::input::{self, PathError};
use crate::time::Instant;
use crate::types::{FlowKey, IfaceId, Protocol, Road, SocketId, on_link};
use crate::wire::icmp::{self, Error};
use crate::wire::{be16, be32, checksum, icmpv6, ipv4, ipv6, ipv6_ext};

/// A packet of ours, as far as an error quotes it: RFC 792 promises eight bytes of the transport.
struct Quoted {
    key: FlowKey,
    /// The transport's second word: for TCP the sequence number.
    word: u32,
    /// Where the bytes after these two words begin in the quote.
    payload: usize,
}

impl Stack {
    pub(super) fn receive_icmp(&mut self, now: Instant, inbound: Inbound) {
        let Inbound { pkt, arrived, .. } = inbound;
        let message = &self.core.pool.bytes(&pkt)[arrived.payload()];
        if !is_intact(message, &arrived) {
            return self.drop_packet(pkt, Reason::L4Checksum);
        }
        let v4 = arrived.source.is_ipv4();
        let Some(error) = (if v4 { icmp::parse_error(message) } else { icmpv6::parse_error(message) }) else {
            // Echo and its kin are the kernel's to answer, neighbour discovery is all its own.
            return self.drop_packet(pkt, Reason::NotTransport);
        };
        let quote = &message[icmp::HEADER..];
        let Some(quoted) = (if v4 { read_quote(quote) } else { read_quote_v6(quote, arrived.iface) }) else {
            return self.drop_packet(pkt, Reason::BadHeader);
        };
        let (size, kind) = (
            (arrived.packet.len(), self.core.out.road_in(arrived.iface, arrived.home)),
            (message[0], message[1]),
        );
        let found = if quoted.key.protocol == Protocol::Udp && !arrived.to_group {
            let payload = arrived.transport + icmp::HEADER + quoted.payload;
            let lost = LostDatagram { pkt, arrived, error, kind, key: quoted.key, payload };
            self.icmp_for_datagram(now, lost)
        } else {
            self.core.pool.free(pkt);
            let id = self.connection_of(&quoted.key).filter(|_| !arrived.to_group);
            id.is_some_and(|id| self.icmp_for_stream(now, id, (error, kind, arrived.source), &quoted, size))
        };
        if found {
            self.core.stats.icmp_errors_in += 1;
        } else {
            self.core.stats.icmp_errors_stray += 1;
        }
    }

    fn icmp_for_stream(
        &mut self,
        now: Instant,
        id: SocketId,
        (error, kind, offender): (Error, (u8, u8), IpAddr),
        quoted: &Quoted,
        (bytes, road): (usize, Road),
    ) -> bool {
        let Some(entry) = self.table.get_mut(id) else { return false };
        let Some(connection) = entry.connection_mut() else { return false };
        if !self.core.out.judge_in(&mut connection.tcb.flow, bytes, road) {
            return false;
        }
        let what = match error {
            Error::Soft(e) | Error::Hard(e) => PathError::Unreachable(e),
            Error::TooBig(mtu) => PathError::TooBig { mtu },
        };
        let was = connection.tcb.state;
        input::unreachable(&mut connection.tcb, what, Seq(quoted.word), &mut self.core.env(now, false));
        entry.note_refusal(was, kind, offender);
        self.settle(id);
        true
    }
}

/// Whether the checksum says that a message is intact; that of ICMPv6 covers a pseudo-header (RFC 4443 §2.3).
fn is_intact(message: &[u8], arrived: &Arrived) -> bool {
    let Ok(len) = u16::try_from(message.len()) else { return false };
    let pseudo = match arrived.source.is_ipv4() {
        true => 0,
        false => checksum::pseudo(arrived.source, arrived.destination, arrived.protocol, len),
    };
    checksum::intact(checksum::add(pseudo, checksum::sum(message)))
}

/// Reads the IP header and the first eight bytes of transport of a packet that we sent.
fn read_quote(quote: &[u8]) -> Option<Quoted> {
    let header = ipv4::parse(quote).ok()?;
    if header.fragment & ipv4::OFFSET != 0 {
        return None;
    }
    let ends = (header.source.into(), header.destination.into());
    read_transport(quote, header.header_len, header.protocol, ends)
}

/// The same for IPv6. What came between the headers on the way (a router's, in a tunnel) is walked over.
fn read_quote_v6(quote: &[u8], iface: IfaceId) -> Option<Quoted> {
    let header = ipv6::parse(quote).ok()?;
    let found = ipv6_ext::walk(quote, header.next).ok().filter(|found| found.piece.is_none())?;
    let ends = (header.source.into(), header.destination.into());
    let mut quoted = read_transport(quote, found.at, found.protocol, ends)?;
    quoted.key.local = on_link(quoted.key.local, iface);
    quoted.key.remote = on_link(quoted.key.remote, iface);
    Some(quoted)
}

fn read_transport(quote: &[u8], at: usize, protocol: u8, (from, to): (IpAddr, IpAddr)) -> Option<Quoted> {
    let transport = quote.get(at..)?;
    let protocol = match protocol {
        ipv4::TCP => Protocol::Tcp,
        ipv4::UDP => Protocol::Udp,
        _ => return None,
    };
    let local = SocketAddr::new(from, be16(transport, 0)?);
    let remote = SocketAddr::new(to, be16(transport, 2)?);
    let key = FlowKey { protocol, local, remote };
    Some(Quoted { key, word: be32(transport, 4)?, payload: at + 8 })
}
