//! ICMP errors in: what they quote is checked before anything is believed (RFC 1122 §3.2.2, RFC 5927).

use core::net::{IpAddr, SocketAddrV4};

use super::Stack;
use super::entry::Body;
use super::rx::Inbound;
use crate::error::SocketError;
use crate::ip::input::Reason;
use crate::seq::Seq;
use crate::tcp::input::{self, PathError};
use crate::time::Instant;
use crate::types::{FlowKey, Protocol, SocketId};
use crate::wire::icmp::{self, Error};
use crate::wire::{be16, be32, checksum, ipv4};

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
        if !checksum::intact(checksum::sum(message)) {
            return self.drop_packet(pkt, Reason::L4Checksum);
        }
        let Some(error) = icmp::parse_error(message) else {
            // Echo and its kin are the kernel's to answer.
            return self.drop_packet(pkt, Reason::NotTransport);
        };
        let Some(quoted) = read_quote(&message[icmp::HEADER..]) else {
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
                if let IpAddr::V4(peer) = quoted.key.remote.ip() {
                    self.path_mtus.learn(peer, mtu, now);
                }
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

/// Reads the IP header and the first eight bytes of transport of a packet that we sent.
fn read_quote(quote: &[u8]) -> Option<Quoted> {
    let header = ipv4::parse(quote).ok()?;
    let transport = quote.get(header.header_len..)?;
    let protocol = match header.protocol {
        ipv4::TCP => Protocol::Tcp,
        ipv4::UDP => Protocol::Udp,
        _ => return None,
    };
    if header.fragment & ipv4::OFFSET != 0 {
        return None;
    }
    let local = SocketAddrV4::new(header.source, be16(transport, 0)?);
    let remote = SocketAddrV4::new(header.destination, be16(transport, 2)?);
    let key = FlowKey { protocol, local: local.into(), remote: remote.into() };
    Some(Quoted { key, word: be32(transport, 4)? })
}
