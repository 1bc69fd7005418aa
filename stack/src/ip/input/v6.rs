//! IPv6 (RFC 8200).

use core::net::Ipv6Addr;

use super::{Arrived, Door, Host, Reason, Refused};
use crate::types::is_link_local;
use crate::wire::ipv6_ext::{self, Problem};
use crate::wire::{ethernet, ipv4, ipv6};

/// Steps two to six.
#[inline]
pub(super) fn read(packet: &[u8], door: Door<'_>, host: &impl Host) -> Result<Arrived, Refused> {
    let iface = door.iface;
    let header = ipv6::parse(packet).map_err(|fault| match fault {
        ipv6::Fault::Truncated => Reason::Truncated,
        ipv6::Fault::Malformed => Reason::BadHeader,
    })?;
    let Some(packet) = packet.get(..ipv6::HEADER + header.payload_len) else {
        return Err(Reason::Truncated.into());
    };
    if is_martian(header.source, door, host) {
        return Err(Reason::Martian.into());
    }
    let destination = header.destination;
    let to_group = is_group(destination);
    if !to_group && !host.is_own(destination.into(), iface) {
        return Err(Reason::NotOurs.into());
    }
    let found = ipv6_ext::walk(packet, header.next).map_err(|fault| refused(fault, to_group))?;
    if found.piece.is_some() && (found.protocol != ipv4::TCP || to_group) {
        return Err(Reason::Fragment.into());
    }
    Ok(Arrived {
        source: header.source.into(),
        destination: destination.into(),
        protocol: found.protocol,
        tos: header.tos,
        ttl: header.hop_limit,
        iface,
        home: door.home,
        to_group,
        packet: ethernet::HEADER..ethernet::HEADER + packet.len(),
        transport: ethernet::HEADER + found.at,
        piece: found.piece,
    })
}

/// Groups that reach further than the host itself (RFC 4291 §2.7: scopes 0 and 1 never leave it).
fn is_group(destination: Ipv6Addr) -> bool {
    destination.is_multicast() && destination.octets()[1] & 0x0f > 1
}

/// RFC 4291 §2.5: addresses that nobody sends from; IPv4-mapped ones mean no node that speaks IPv6
/// (draft-itojun-v6ops-v4mapped-harmful; Linux drops them too) and would pass for IPv4 flows in our tables. Of the
/// link-local ones only those are used whose bits up to the interface identifier are zero (§2.5.6).
#[inline(always)]
pub(super) fn is_martian(source: Ipv6Addr, door: Door<'_>, host: &impl Host) -> bool {
    // Global unicast (2000::/3) and unique local addresses (fc00::/7).
    let is_usual =
        matches!(source.octets()[0], 0x20..=0x3f | 0xfc | 0xfd) && host.is_elsewhere(source.into());
    !is_usual && is_martian_indeed(source, door, host)
}

#[inline(never)]
fn is_martian_indeed(source: Ipv6Addr, door: Door<'_>, host: &impl Host) -> bool {
    source.is_multicast()
        || source.is_unspecified()
        || source.to_ipv4_mapped().is_some()
        || (source.is_unicast_link_local() && !is_link_local(&source))
        || (!door.home && (source.is_loopback() || host.is_own(source.into(), door.iface)))
}

fn refused(fault: ipv6_ext::Fault, to_group: bool) -> Refused {
    let reason = match fault {
        ipv6_ext::Fault::Truncated => Reason::Truncated,
        ipv6_ext::Fault::Malformed => Reason::BadHeader,
        ipv6_ext::Fault::Fragment => Reason::Fragment,
        ipv6_ext::Fault::Silent | ipv6_ext::Fault::Problem(_) => Reason::Unrecognised,
    };
    let answer = match fault {
        ipv6_ext::Fault::Problem(problem) => Some(problem),
        _ => None,
    };
    Refused { reason, answer: answer.filter(|p: &Problem| p.to_groups_too || !to_group) }
}

#[cfg(test)]
mod tests {
    //! RFC 8200 §3, §4; RFC 4291 §2.

    use core::net::{IpAddr, Ipv4Addr, SocketAddrV6};

    use super::super::{Door, read};
    use super::*;
    use crate::types::{Ecn, IfaceId, Protocol};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const PEER: &str = "2001:db8::2";
    const OWN: &str = "2001:db8::1";
    const LINK: &str = "fe80::1";
    const DOOR: Door<'static> = Door { iface: IfaceId(3), mac: &MAC, home: false };

    struct TestHost;

    impl Host for TestHost {
        fn is_own(&self, address: IpAddr, iface: IfaceId) -> bool {
            address == OWN.parse::<IpAddr>().unwrap()
                || address == LINK.parse::<IpAddr>().unwrap() && iface == DOOR.iface
        }
        fn is_broadcast(&self, _: Ipv4Addr) -> bool {
            false
        }
    }

    fn frame(source: &str, destination: &str, next: u8, rest: &[u8]) -> Vec<u8> {
        let mut f = ethernet::header(MAC, [2, 0, 0, 0, 0, 2], ethernet::IPV6).to_vec();
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let payload = rest.len() as u16;
        let emit =
            ipv6::Emit { tos: 3, label: 7, hop_limit: 9, protocol: next, source, destination, payload };
        f.extend(emit.bytes());
        f.extend(rest);
        f
    }

    fn reason(f: &[u8]) -> Reason {
        read(f, DOOR, &TestHost).unwrap_err().reason
    }

    #[test]
    fn a_packet_for_us() {
        let mut f = frame(PEER, OWN, 17, &[1, 2, 3, 4]);
        f.resize(80, 0xee);
        let a = read(&f, DOOR, &TestHost).unwrap();
        assert_eq!((a.source, a.destination), (PEER.parse().unwrap(), OWN.parse().unwrap()));
        assert_eq!((a.protocol, a.to_group, a.tos, a.ecn(), a.ttl), (17, false, 3, Ecn::Ce, 9));
        assert_eq!((a.packet.clone(), a.payload(), a.iface), (14..58, 54..58, IfaceId(3)));
    }

    #[test]
    fn link_local_ends_are_scoped_to_their_interface() {
        let a = read(&frame("fe80::2", LINK, 17, &[]), DOOR, &TestHost).unwrap();
        let key = a.flow(Protocol::Udp, 1000, 53);
        assert_eq!(key.local, SocketAddrV6::new(LINK.parse().unwrap(), 53, 0, 3).into());
        assert_eq!(key.remote, SocketAddrV6::new("fe80::2".parse().unwrap(), 1000, 0, 3).into());
        let elsewhere = Door { iface: IfaceId(4), ..DOOR };
        let f = frame("fe80::2", LINK, 17, &[]);
        assert_eq!(read(&f, elsewhere, &TestHost), Err(Reason::NotOurs.into()));
        let a = read(&frame(PEER, OWN, 17, &[]), DOOR, &TestHost).unwrap();
        assert_eq!(
            a.flow(Protocol::Udp, 1, 2).remote,
            SocketAddrV6::new(PEER.parse().unwrap(), 1, 0, 0).into()
        );
    }

    #[test]
    fn reasons_in_their_order() {
        let f = frame(PEER, OWN, 17, &[1, 2, 3, 4]);
        assert_eq!(reason(&f[..13]), Reason::Truncated);
        assert_eq!(reason(&f[..53]), Reason::Truncated);
        assert_eq!(reason(&f[..57]), Reason::Truncated);
        let mut other = f.clone();
        other[5] = 9;
        assert_eq!(reason(&other), Reason::NotOurs);
        let mut other = f.clone();
        other[14] = 0x45;
        assert_eq!(reason(&other), Reason::BadHeader);
        assert_eq!(reason(&frame(PEER, OWN, 44, &[17, 0, 0, 1, 0, 0, 0, 0])), Reason::Fragment);
        assert_eq!(reason(&frame(PEER, OWN, 60, &[6, 0, 0, 0])), Reason::Truncated);
        assert_eq!(reason(&frame(PEER, OWN, 60, &[6, 0, 1, 4, 0, 0, 0, 1])), Reason::BadHeader);
    }

    /// RFC 4443 §2.2, §2.4, §3.4; RFC 8200 §4.2
    #[test]
    fn what_is_not_understood_is_told_as_asked() {
        let told = |destination: &str, kind| {
            let f = frame(PEER, destination, 60, &[17, 0, kind, 4, 0, 0, 0, 0]);
            let refused = read(&f, DOOR, &TestHost).unwrap_err();
            assert_eq!(refused.reason, Reason::Unrecognised);
            refused.answer.map(|p| (p.code, p.pointer))
        };
        assert_eq!(told(OWN, 0x40), None);
        assert_eq!(told(OWN, 0x80), Some((2, 42)));
        assert_eq!(told(OWN, 0xc0), Some((2, 42)));
        assert_eq!(told("ff02::1", 0x80), Some((2, 42)));
        assert_eq!(told("ff02::1", 0xc0), None);
    }

    #[test]
    fn martians() {
        for source in ["::", "::1", "ff02::1", "fe80:1::2", "febf::2", "::ffff:10.0.0.2", OWN] {
            assert_eq!(reason(&frame(source, OWN, 17, &[])), Reason::Martian, "{source}");
        }
    }

    #[test]
    fn destinations() {
        let to = |d| read(&frame(PEER, d, 17, &[]), DOOR, &TestHost).map(|a| a.to_group);
        assert_eq!(to(OWN), Ok(false));
        assert_eq!(to("ff02::fb"), Ok(true));
        assert_eq!(to("ff01::fb"), Err(Reason::NotOurs.into()));
        assert_eq!(to("::ffff:10.0.0.1"), Err(Reason::NotOurs.into()));
        assert_eq!(to("::1"), Err(Reason::NotOurs.into()));
        let mut f = frame(PEER, OWN, 17, &[]);
        f[0] = 0x33;
        assert!(read(&f, DOOR, &TestHost).unwrap().to_group);
    }
}
