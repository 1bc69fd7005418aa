//! IP packets round segments, and ICMP errors about them.

use std::net::{IpAddr, SocketAddr};

use crate::segment::Segment;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The ends of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who sends it.
    pub from: SocketAddr,
    /// Who it is for.
    pub to: SocketAddr,
}

impl Ends {
    /// The same, the other way.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

/// An IP packet with this segment in it, checksums complete.
#[must_use]
pub fn wrap(ends: Ends, segment: &Segment) -> Vec<u8> {
    let mut tcp = segment.to_bytes();
    let sum = checksum(ends, TCP, &tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    ip(ends, TCP, segment.tos, if segment.hops == 0 { 64 } else { segment.hops }, &tcp)
}

fn ip(ends: Ends, protocol: u8, tos: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(40 + payload.len());
    match (ends.from.ip(), ends.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet.extend([0x45, tos]);
            packet.extend((20 + payload.len() as u16).to_be_bytes());
            // No identification, Don't Fragment.
            packet.extend([0, 0, 0x40, 0, hops, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = !fold(sum(&packet, 0));
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            packet.extend([0x60 | tos >> 4, tos << 4, 0, 0]);
            packet.extend((payload.len() as u16).to_be_bytes());
            packet.extend([protocol, hops]);
            packet.extend(from.octets());
            packet.extend(to.octets());
        }
        _ => panic!("both ends of a packet speak one version of IP: {ends:?}"),
    }
    packet.extend(payload);
    packet
}

/// The checksum of an upper layer: pseudo-header, then the bytes, its own field zero.
fn checksum(ends: Ends, protocol: u8, bytes: &[u8]) -> u16 {
    let mut total = u32::from(protocol) + bytes.len() as u32;
    for end in [ends.from, ends.to] {
        total = match end.ip() {
            IpAddr::V4(address) => sum(&address.octets(), total),
            IpAddr::V6(address) => sum(&address.octets(), total),
        };
    }
    !fold(sum(bytes, total))
}

fn sum(bytes: &[u8], mut total: u32) -> u32 {
    for pair in bytes.chunks(2) {
        total += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    total
}

fn fold(mut total: u32) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The segment in an IP packet and its ends; `None` for what is not TCP.
///
/// # Panics
/// When a header contradicts itself or a checksum is wrong: nobody may send such a packet.
#[must_use]
pub fn unwrap(packet: &[u8]) -> Option<(Ends, Segment)> {
    let (from, to, protocol, tos, hops, payload): (IpAddr, IpAddr, u8, u8, u8, &[u8]) =
        match packet.first()? >> 4 {
            4 => {
                assert_eq!(packet[0], 0x45, "a plain IPv4 header");
                assert_eq!(fold(sum(&packet[..20], 0)), 0xffff, "the checksum of the IPv4 header");
                let len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
                assert_eq!(len, packet.len(), "the length in the IPv4 header");
                let address = |at: usize| -> [u8; 4] { packet[at..at + 4].try_into().unwrap() };
                (address(12).into(), address(16).into(), packet[9], packet[1], packet[8], &packet[20..])
            }
            6 => {
                let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
                assert_eq!(len + 40, packet.len(), "the length in the IPv6 header");
                let address = |at: usize| -> [u8; 16] { packet[at..at + 16].try_into().unwrap() };
                let class = packet[0] << 4 | packet[1] >> 4;
                (address(8).into(), address(24).into(), packet[6], class, packet[7], &packet[40..])
            }
            version => panic!("IP version {version}"),
        };
    if protocol != TCP {
        return None;
    }
    let mut segment = Segment::parse(payload).unwrap_or_else(|fault| panic!("a bad segment: {fault}"));
    (segment.tos, segment.hops) = (tos, hops);
    segment.may_fragment = from.is_ipv4() && packet[6] & 0x40 == 0;
    assert!(!segment.may_fragment || packet[4..6] != [0, 0], "no identification to put pieces together by");
    let ends =
        Ends { from: SocketAddr::new(from, segment.src_port), to: SocketAddr::new(to, segment.dst_port) };
    assert_eq!(checksum(ends, TCP, payload), 0, "the checksum of {segment:?}");
    Some((ends, segment))
}

/// What an ICMP error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The network cannot be reached.
    Network,
    /// The host cannot be reached.
    Host,
    /// Nobody speaks this protocol.
    Protocol,
    /// Nobody listens on this port.
    Port,
    /// Forbidden by an administrator.
    Prohibited,
    /// Too long for the next link, whose MTU is this.
    TooBig(u32),
    /// Time to live exceeded in transit.
    Expired,
    /// Source quench (RFC 6633: to be ignored); IPv4 only.
    Quench,
}

/// An ICMP error about `quoted`, a packet that `ends.to` sent, from `ends.from`.
#[must_use]
pub fn complain(ends: Ends, complaint: Complaint, quoted: &[u8]) -> Vec<u8> {
    let v4 = ends.from.is_ipv4();
    let (kind, code, word) = match (complaint, v4) {
        (Complaint::Network, true) => (3, 0, 0),
        (Complaint::Host, true) => (3, 1, 0),
        (Complaint::Protocol, true) => (3, 2, 0),
        (Complaint::Port, true) => (3, 3, 0),
        (Complaint::TooBig(mtu), true) => (3, 4, mtu),
        (Complaint::Prohibited, true) => (3, 13, 0),
        (Complaint::Expired, true) => (11, 0, 0),
        (Complaint::Quench, true) => (4, 0, 0),
        (Complaint::Network, false) => (1, 0, 0),
        (Complaint::Host, false) => (1, 3, 0),
        (Complaint::Port, false) => (1, 4, 0),
        (Complaint::Prohibited, false) => (1, 1, 0),
        (Complaint::Protocol, false) => (4, 1, 40 + 6),
        (Complaint::TooBig(mtu), false) => (2, 0, mtu),
        (Complaint::Expired, false) => (3, 0, 0),
        (Complaint::Quench, false) => panic!("ICMPv6 has no source quench"),
    };
    let mut icmp = vec![kind, code, 0, 0];
    icmp.extend(u32::to_be_bytes(word));
    icmp.extend(&quoted[..quoted.len().min(if v4 { 28 } else { 128 })]);
    let sum = if v4 { !fold(sum(&icmp, 0)) } else { checksum(ends, ICMPV6, &icmp) };
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(ends, if v4 { ICMP } else { ICMPV6 }, 0, 64, &icmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_is_unwrapped() {
        for (from, to) in [("192.0.2.1:80", "192.0.2.2:9"), ("[fd00::1]:80", "[fd00::2]:9")] {
            let ends = Ends { from: from.parse().unwrap(), to: to.parse().unwrap() };
            let segment = Segment {
                src_port: 80,
                dst_port: 9,
                payload: vec![1, 2, 3],
                tos: 2,
                hops: 9,
                ..Segment::default()
            };
            let packet = wrap(ends, &segment);
            assert_eq!(unwrap(&packet), Some((ends, segment)));
            assert_eq!(unwrap(&complain(ends, Complaint::TooBig(1000), &packet)), None);
        }
    }
}
