//! ICMP and ICMPv6 errors in: what they quote is checked before anything is believed (RFC 1122 §3.2.2, RFC 4443
//! §2.4, RFC 5927).

use core::net::{IpAddr, SocketAddr};

use super::Stack;
use super::entry::Body;
use super::rx::Inbound;
use crate::error::SocketError;
use crate::ip::input::{Arrived, Reason};
use crate::seq::Seq;
use crate::tcp::input::{self, PathError};
use crate::time::Instant;
use crate::types::{FlowKey, IfaceId, Protocol, SocketId, on_link};
use crate::wire::icmp::{self, Error};
use crate::wire::{be16, be32, checksum, icmpv6, ipv4, ipv6, ipv6_ext};

/// A packet of ours, as far as an error quotes it: RFC 792 promises eight bytes of the transport.
struct Quoted {
    key: FlowKey,
    /// The transport's second word: for TCP the sequence number.
    word: u32,
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
        let bytes = arrived.packet.len();
        self.core.pool.free(pkt);
        let found = match self.flows.get(&quoted.key) {
            _ if arrived.to_group => false,
            Some(id) if self.table.contains(id) => match quoted.key.protocol {
                Protocol::Tcp => self.icmp_for_stream(now, id, error, &quoted, bytes),
                Protocol::Udp => self.icmp_for_datagram(now, id, error, &quoted, bytes),
            },
            _ => false,
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
        error: Error,
        quoted: &Quoted,
        bytes: usize,
    ) -> bool {
        let Some(entry) = self.table.get_mut(id) else { return false };
        let Some(connection) = entry.connection_mut() else { return false };
        if !self.core.out.judge_in(&mut connection.tcb.flow, bytes) {
            return false;
        }
        let what = match error {
            Error::Soft(e) | Error::Hard(e) => PathError::Unreachable(e),
            Error::TooBig(mtu) => PathError::TooBig { mtu },
        };
        input::unreachable(&mut connection.tcb, what, Seq(quoted.word), &mut self.core.env(now, false));
        self.settle(id);
        true
    }

    /// Linux tells a UDP socket hard errors only, and only when it is connected; others have no way to learn
    /// whose error it was.
    fn icmp_for_datagram(
        &mut self,
        now: Instant,
        id: SocketId,
        error: Error,
        quoted: &Quoted,
        bytes: usize,
    ) -> bool {
        let Some(flow) = self.udp_flows.get(now, &quoted.key) else { return false };
        if !self.core.out.judge_in(flow, bytes) {
            return false;
        }
        let error = match error {
            Error::Hard(error) => error,
            Error::TooBig(mtu) => {
                self.path_mtus.learn(quoted.key.remote.ip(), mtu, now);
                SocketError::MessageSize
            }
            Error::Soft(_) => return true,
        };
        let Some(entry) = self.table.get_mut(id) else { return false };
        let Body::Datagram(datagram) = &mut entry.body else { return false };
        datagram.error = Some(error);
        self.wake(id);
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
    read_transport(quote.get(header.header_len..)?, header.protocol, ends)
}

/// The same for IPv6. What came between the headers on the way (a router's, in a tunnel) is walked over.
fn read_quote_v6(quote: &[u8], iface: IfaceId) -> Option<Quoted> {
    let header = ipv6::parse(quote).ok()?;
    let found = ipv6_ext::walk(quote, header.next).ok()?;
    let ends = (header.source.into(), header.destination.into());
    let mut quoted = read_transport(quote.get(found.at..)?, found.protocol, ends)?;
    quoted.key.local = on_link(quoted.key.local, iface);
    quoted.key.remote = on_link(quoted.key.remote, iface);
    Some(quoted)
}

fn read_transport(transport: &[u8], protocol: u8, (from, to): (IpAddr, IpAddr)) -> Option<Quoted> {
    let protocol = match protocol {
        ipv4::TCP => Protocol::Tcp,
        ipv4::UDP => Protocol::Udp,
        _ => return None,
    };
    let local = SocketAddr::new(from, be16(transport, 0)?);
    let remote = SocketAddr::new(to, be16(transport, 2)?);
    Some(Quoted { key: FlowKey { protocol, local, remote }, word: be32(transport, 4)? })
}
