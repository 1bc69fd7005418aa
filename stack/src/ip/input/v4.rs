//! IPv4 (RFC 791, RFC 1122 §3.2.1).

use core::net::Ipv4Addr;

use super::{Arrived, Door, Host, Reason, Refused};
use crate::wire::ipv6_ext::Piece;
use crate::wire::{checksum, ethernet, ipv4};

/// Steps two to six, of a packet that came in by `door`, `to_group` by its link.
#[inline]
pub(super) fn read(
    packet: &[u8],
    (door, to_group): (Door<'_>, bool),
    host: &impl Host,
) -> Result<Arrived, Refused> {
    let iface = door.iface;
    let header = ipv4::parse(packet).map_err(|fault| match fault {
        ipv4::Fault::Truncated => Reason::Truncated,
        ipv4::Fault::Malformed => Reason::BadHeader,
    })?;
    if header.total_len > packet.len() {
        return Err(Reason::Truncated.into());
    }
    if !is_intact(packet, header.header_len) {
        return Err(Reason::IpChecksum.into());
    }
    if is_martian(header.source, door, host) {
        return Err(Reason::Martian.into());
    }
    let destination = header.destination;
    // An address of ours is no broadcast: of what is for us only the first is asked.
    let to_one = host.is_own(destination.into(), iface);
    let to_many = !to_one && (destination.is_multicast() || host.is_broadcast(destination));
    if !to_one && !to_many {
        return Err(Reason::NotOurs.into());
    }
    let piece = header.is_fragment().then(|| Piece {
        id: header.id.into(),
        offset: (header.fragment & ipv4::OFFSET) << 3,
        more: header.fragment & ipv4::MF != 0,
    });
    if piece.is_some() && (header.protocol != ipv4::TCP || to_many) {
        return Err(Reason::Fragment.into());
    }
    Ok(Arrived {
        source: header.source.into(),
        destination: destination.into(),
        protocol: header.protocol,
        tos: header.tos,
        ttl: header.ttl,
        iface,
        home: door.home,
        to_group: to_group || to_many,
        packet: ethernet::HEADER..ethernet::HEADER + header.total_len,
        transport: ethernet::HEADER + header.header_len,
        piece,
    })
}

/// Whether the checksum of a header of `len` bytes is right; nearly all are as short as they can be.
#[inline]
fn is_intact(packet: &[u8], len: usize) -> bool {
    match packet.first_chunk::<{ ipv4::HEADER }>() {
        Some(header) if len == ipv4::HEADER => checksum::is_header_intact(header),
        _ => checksum::is_intact(&packet[..len], checksum::Raw::default()),
    }
}

/// RFC 1122 §3.2.1.3: addresses that no host may send from, and our own, which nobody else may.
#[inline(always)]
pub(super) fn is_martian(source: Ipv4Addr, door: Door<'_>, host: &impl Host) -> bool {
    let is_usual = matches!(source.octets()[0], 1..=126 | 128..=223) && host.is_elsewhere(source.into());
    !is_usual && is_martian_indeed(source, door, host)
}

#[inline(never)]
fn is_martian_indeed(source: Ipv4Addr, door: Door<'_>, host: &impl Host) -> bool {
    source.octets()[0] == 0
        || source.is_multicast()
        || host.is_broadcast(source)
        || (!door.home && (source.is_loopback() || host.is_own(source.into(), door.iface)))
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use nic::RxChecksum;

    use super::super::{Door, Reason, Refused, is_intact, read};
    use super::*;
    use crate::types::{Ecn, IfaceId};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    const DOOR: Door<'static> = Door { iface: IfaceId(3), mac: &MAC, home: false };

    struct TestHost;

    impl Host for TestHost {
        fn is_own(&self, address: IpAddr, _iface: IfaceId) -> bool {
            address == OWN
        }
        fn is_broadcast(&self, address: Ipv4Addr) -> bool {
            address.is_broadcast() || address == Ipv4Addr::new(10, 0, 0, 255)
        }
    }

    fn frame(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let mut f = ethernet::header(MAC, [2, 0, 0, 0, 0, 2], ethernet::IPV4).to_vec();
        let header =
            ipv4::Emit { tos: 0x2a, ttl: 63, protocol: ipv4::UDP, source, destination, payload: 4 }.bytes();
        f.extend(header);
        f.extend([1, 2, 3, 4]);
        f
    }

    /// Changes a byte of the IP header and mends its checksum.
    fn with(at: usize, value: u8) -> Vec<u8> {
        let mut f = frame(PEER, OWN);
        f[14 + at] = value;
        f[24..26].fill(0);
        let sum = checksum::finish(checksum::sum(&f[14..34]));
        f[24..26].copy_from_slice(&sum.to_be_bytes());
        f
    }

    #[test]
    fn a_packet_for_us() {
        let a = read(&frame(PEER, OWN), DOOR, &TestHost).unwrap();
        assert_eq!((a.source, a.destination, a.protocol, a.to_group), (PEER.into(), OWN.into(), 17, false));
        assert_eq!((a.tos, a.ecn(), a.ttl, a.iface), (0x2a, Ecn::Ect0, 63, IfaceId(3)));
        assert_eq!((a.packet.clone(), a.payload()), (14..38, 34..38));
    }

    #[test]
    fn padding_is_cut_off() {
        let mut f = frame(PEER, OWN);
        f.resize(60, 0xee);
        assert_eq!(read(&f, DOOR, &TestHost).unwrap().payload(), 34..38);
    }

    /// RFC 1122 §3.2.1.1, §3.2.1.2
    #[test]
    fn reasons_in_their_order() {
        let read = |f: &[u8]| read(f, DOOR, &TestHost).unwrap_err().reason;
        let f = frame(PEER, OWN);
        assert_eq!(read(&f[..13]), Reason::Truncated);
        assert_eq!(read(&f[..33]), Reason::Truncated);
        assert_eq!(read(&f[..37]), Reason::Truncated);
        let mut other = f.clone();
        other[12] = 0x88;
        assert_eq!(read(&other), Reason::NotIp);
        let mut other = f.clone();
        other[5] = 9;
        assert_eq!(read(&other), Reason::NotOurs);
        assert_eq!(read(&with(0, 0x65)), Reason::BadHeader);
        assert_eq!(read(&with(3, 19)), Reason::BadHeader);
        let mut other = f.clone();
        other[22] ^= 1;
        assert_eq!(read(&other), Reason::IpChecksum);
        assert_eq!(read(&with(6, 0x20)), Reason::Fragment);
        assert_eq!(read(&with(7, 1)), Reason::Fragment);
    }

    /// RFC 791 §3.1: of TCP the pieces are ours to put together.
    #[test]
    fn pieces_of_tcp_say_where_they_belong() {
        let mut f = frame(PEER, OWN);
        f[14 + 9] = ipv4::TCP;
        f[14 + 4..14 + 8].copy_from_slice(&[0x12, 0x34, 0x20, 0x05]);
        f[24..26].fill(0);
        let sum = checksum::finish(checksum::sum(&f[14..34]));
        f[24..26].copy_from_slice(&sum.to_be_bytes());
        let piece = super::super::read(&f, DOOR, &TestHost).unwrap().piece;
        assert_eq!(piece, Some(Piece { id: 0x1234, offset: 40, more: true }));
    }

    /// RFC 1122 §3.2.1.3
    #[test]
    fn martians() {
        for source in ["0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.255", "10.0.0.1"] {
            let f = frame(source.parse().unwrap(), OWN);
            assert_eq!(read(&f, DOOR, &TestHost), Err(Refused::from(Reason::Martian)), "{source}");
        }
    }

    #[test]
    fn destinations() {
        let to = |d: &str| read(&frame(PEER, d.parse().unwrap()), DOOR, &TestHost).map(|a| a.to_group);
        assert_eq!(to("10.0.0.1"), Ok(false));
        assert_eq!(to("10.0.0.255"), Ok(true));
        assert_eq!(to("255.255.255.255"), Ok(true));
        assert_eq!(to("224.0.0.251"), Ok(true));
        assert_eq!(to("10.0.0.3"), Err(Refused::from(Reason::NotOurs)));
        assert_eq!(to("127.0.0.1"), Err(Refused::from(Reason::NotOurs)));
        let mut f = frame(PEER, OWN);
        f[..6].fill(0xff);
        assert!(read(&f, DOOR, &TestHost).unwrap().to_group);
    }

    #[test]
    fn the_unfinished_form_only_where_it_may_occur() {
        let arrived = read(&frame(PEER, OWN), DOOR, &TestHost).unwrap();
        let mut bytes = [0u8; 12];
        let pseudo = checksum::pseudo(PEER.into(), OWN.into(), 17, 12);
        bytes[6..8].copy_from_slice(&pseudo.to_be_bytes());
        bytes[8] = 77;
        let intact = |b: &[u8], known| is_intact(b, 6, &arrived, known);
        assert!(intact(&bytes, RxChecksum::MayBeUnfinished));
        assert!(!intact(&bytes, RxChecksum::Unknown));
        assert!(intact(&bytes, RxChecksum::Verified));
        bytes[6..8].fill(0);
        let full = checksum::finish(checksum::add(pseudo, checksum::sum(&bytes)));
        bytes[6..8].copy_from_slice(&full.to_be_bytes());
        assert!(intact(&bytes, RxChecksum::MayBeUnfinished));
        assert!(intact(&bytes, RxChecksum::Unknown));
        bytes[9] ^= 1;
        assert!(!intact(&bytes, RxChecksum::MayBeUnfinished));
        assert!(!intact(&bytes, RxChecksum::Unknown));
    }
}
