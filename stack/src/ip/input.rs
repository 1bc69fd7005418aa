//! IPv4 input: which frames are packets for us, and where their transport begins.
//!
//! The checks run in one fixed order and the first that fails names the reason, so that the counters mean the
//! same whatever else is wrong with a frame.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ops::Range;

use nic::RxChecksum;

use crate::stats::Stats;
use crate::types::{Ecn, FlowKey, IfaceId, Protocol};
use crate::wire::{be16, checksum, ethernet, ipv4};

/// What input has to know of the host.
pub trait Host {
    /// Whether the address is one of the host's.
    fn is_own(&self, address: Ipv4Addr) -> bool;
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
    /// The accept queue or the backlog is full.
    Backlog => drop_backlog,
    /// The socket's receive buffer is full.
    BufferFull => drop_buffer_full,
    /// So few frames are free that what is queued may not grow.
    NoFrames => drop_no_frames,
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
    /// Sent to a group: by its link or its network destination.
    pub to_group: bool,
    /// The IP packet in the frame, without padding.
    pub packet: Range<usize>,
    /// Where the transport begins in the frame; it ends where the packet ends.
    pub transport: usize,
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

    /// The flow that it belongs to, with us at its destination.
    #[inline]
    pub fn flow(&self, protocol: Protocol, source: u16, destination: u16) -> FlowKey {
        FlowKey {
            protocol,
            local: SocketAddr::new(self.destination, destination),
            remote: SocketAddr::new(self.source, source),
        }
    }
}

/// The interface that a frame arrived on.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// The kernel's index.
    pub iface: IfaceId,
    /// Its link address.
    pub mac: &'a [u8; 6],
}

/// Reads the link and network headers of a frame.
///
/// # Errors
/// The [`Reason`] to drop it.
#[inline]
pub fn read(frame: &[u8], door: Door<'_>, host: &impl Host) -> Result<Arrived, Reason> {
    let Some(link) = frame.first_chunk::<{ ethernet::HEADER }>() else { return Err(Reason::Truncated) };
    if u16::from_be_bytes([link[12], link[13]]) != ethernet::IPV4 {
        return Err(Reason::NotIp);
    }
    let to_group = ethernet::is_group(link);
    if !to_group && link[..6] != *door.mac {
        return Err(Reason::NotOurs);
    }
    let packet = &frame[ethernet::HEADER..];
    let header = ipv4::parse(packet).map_err(|fault| match fault {
        ipv4::Fault::Truncated => Reason::Truncated,
        ipv4::Fault::Malformed => Reason::BadHeader,
    })?;
    if header.total_len > packet.len() {
        return Err(Reason::Truncated);
    }
    if !checksum::intact(checksum::sum(&packet[..header.header_len])) {
        return Err(Reason::IpChecksum);
    }
    if is_martian(header.source, host) {
        return Err(Reason::Martian);
    }
    let destination = header.destination;
    let to_many = destination.is_multicast() || host.is_broadcast(destination);
    if !to_many && !host.is_own(destination) {
        return Err(Reason::NotOurs);
    }
    if header.is_fragment() {
        return Err(Reason::Fragment);
    }
    Ok(Arrived {
        source: header.source.into(),
        destination: destination.into(),
        protocol: header.protocol,
        tos: header.tos,
        ttl: header.ttl,
        iface: door.iface,
        to_group: to_group || to_many,
        packet: ethernet::HEADER..ethernet::HEADER + header.total_len,
        transport: ethernet::HEADER + header.header_len,
    })
}

/// RFC 1122 §3.2.1.3: addresses that no host may send from, and our own, which nobody else may.
fn is_martian(source: Ipv4Addr, host: &impl Host) -> bool {
    source.octets()[0] == 0
        || source.is_loopback()
        || source.is_multicast()
        || host.is_broadcast(source)
        || host.is_own(source)
}

/// Whether the checksum at byte `at` of a transport's bytes says that they are intact. The unfinished form,
/// where the NIC says that it may occur, is the pseudo-header's sum and nothing else.
#[inline]
pub fn is_intact(bytes: &[u8], at: usize, arrived: &Arrived, known: RxChecksum) -> bool {
    if known == RxChecksum::Verified {
        return true;
    }
    let Ok(len) = u16::try_from(bytes.len()) else { return false };
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (arrived.source, arrived.destination) else {
        return false;
    };
    let pseudo = checksum::pseudo(source, destination, arrived.protocol, len);
    if known == RxChecksum::MayBeUnfinished && be16(bytes, at) == Some(pseudo) {
        return true;
    }
    checksum::intact(checksum::add(pseudo, checksum::sum(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    const DOOR: Door<'static> = Door { iface: IfaceId(3), mac: &MAC };

    struct TestHost;

    impl Host for TestHost {
        fn is_own(&self, address: Ipv4Addr) -> bool {
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
        let read = |f: &[u8]| read(f, DOOR, &TestHost).unwrap_err();
        let f = frame(PEER, OWN);
        assert_eq!(read(&f[..13]), Reason::Truncated);
        assert_eq!(read(&f[..33]), Reason::Truncated);
        assert_eq!(read(&f[..37]), Reason::Truncated);
        let mut other = f.clone();
        other[12] = 0x86;
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

    /// RFC 1122 §3.2.1.3
    #[test]
    fn martians() {
        for source in ["0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.255", "10.0.0.1"] {
            let f = frame(source.parse().unwrap(), OWN);
            assert_eq!(read(&f, DOOR, &TestHost), Err(Reason::Martian), "{source}");
        }
    }

    #[test]
    fn destinations() {
        let to = |d: &str| read(&frame(PEER, d.parse().unwrap()), DOOR, &TestHost).map(|a| a.to_group);
        assert_eq!(to("10.0.0.1"), Ok(false));
        assert_eq!(to("10.0.0.255"), Ok(true));
        assert_eq!(to("255.255.255.255"), Ok(true));
        assert_eq!(to("224.0.0.251"), Ok(true));
        assert_eq!(to("10.0.0.3"), Err(Reason::NotOurs));
        assert_eq!(to("127.0.0.1"), Err(Reason::NotOurs));
        let mut f = frame(PEER, OWN);
        f[..6].fill(0xff);
        assert!(read(&f, DOOR, &TestHost).unwrap().to_group);
    }

    #[test]
    fn the_unfinished_form_only_where_it_may_occur() {
        let arrived = read(&frame(PEER, OWN), DOOR, &TestHost).unwrap();
        let mut bytes = [0u8; 12];
        let pseudo = checksum::pseudo(PEER, OWN, 17, 12);
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
