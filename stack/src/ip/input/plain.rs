//! The packet that nearly all are: a segment of TCP, whole, in an IPv4 packet without options, from one host to an
//! address of ours. One look finds that out; what is not so, or not right, is left to the steps of [`read`](super::read),
//! which say what is wrong with it. (A test holds that whatever is plain is what they find.)

use core::net::Ipv4Addr;
use core::ops::Range;

use super::{Door, Host, v4};
use crate::types::Ecn;
use crate::wire::{checksum, ethernet, ipv4};

/// Bytes of both headers.
const HEADERS: usize = ethernet::HEADER + ipv4::HEADER;
/// The first byte of a header without options.
const WITHOUT_OPTIONS: u8 = 0x45;

/// A plain packet for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Bytes in the packet, header included.
    pub len: u16,
}

impl Plain {
    /// What a plain frame says.
    #[inline]
    pub fn read(frame: &[u8], door: Door<'_>, host: &impl Host) -> Option<Self> {
        let head = frame.first_chunk::<HEADERS>()?;
        let (link, ip) = head.split_at(ethernet::HEADER);
        let ip = ip.first_chunk::<{ ipv4::HEADER }>()?;
        let len = u16::from_be_bytes([ip[2], ip[3]]);
        let fragment = u16::from_be_bytes([ip[6], ip[7]]) & (ipv4::MF | ipv4::OFFSET);
        let source = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
        let destination = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
        let is_plain = link[..6] == *door.mac
            && u16::from_be_bytes([link[12], link[13]]) == ethernet::IPV4
            && ip[0] == WITHOUT_OPTIONS
            && ip[9] == ipv4::TCP
            && fragment == 0
            && (ipv4::HEADER..=frame.len() - ethernet::HEADER).contains(&usize::from(len))
            && checksum::is_header_intact(ip)
            && host.is_own_v4(destination, door.iface)
            && !v4::is_martian(source, door, host);
        is_plain.then_some(Self { source, destination, tos: ip[1], len })
    }

    /// Where the transport lies in the frame.
    #[inline]
    pub fn transport(&self) -> Range<usize> {
        HEADERS..self.end()
    }

    /// Where the packet ends in the frame.
    #[inline]
    pub fn end(&self) -> usize {
        ethernet::HEADER + usize::from(self.len)
    }

    /// What routers on the way, or the sender, said of congestion (RFC 3168 §5).
    #[inline]
    pub fn ecn(&self) -> Ecn {
        Ecn::of_tos(self.tos)
    }

    /// The sum of the pseudo-header of its transport.
    #[inline]
    pub fn pseudo(&self) -> checksum::Raw {
        let len = self.len - ipv4::HEADER as u16;
        checksum::Raw::pseudo_v4(self.source, self.destination, ipv4::TCP, len)
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use proptest::prelude::*;

    use super::super::read;
    use super::*;
    use crate::types::IfaceId;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    struct TestHost;

    impl Host for TestHost {
        fn is_own(&self, address: IpAddr, _iface: IfaceId) -> bool {
            address == OWN || address.is_loopback()
        }
        fn is_elsewhere(&self, address: Ipv4Addr) -> bool {
            address.octets()[0] != 10
        }
        fn is_broadcast(&self, address: Ipv4Addr) -> bool {
            address.is_broadcast() || address == Ipv4Addr::new(10, 0, 0, 255)
        }
    }

    fn frame(source: Ipv4Addr, payload: usize, padding: usize) -> Vec<u8> {
        let mut frame = ethernet::header(MAC, [2, 0, 0, 0, 0, 2], ethernet::IPV4).to_vec();
        let emit = ipv4::Emit {
            tos: 0x0a,
            ttl: 63,
            protocol: ipv4::TCP,
            source,
            destination: OWN,
            payload: payload as u16,
        };
        frame.extend(emit.bytes());
        frame.resize(HEADERS + payload + padding, 0x55);
        frame
    }

    /// The right checksum, as far as there is a header.
    fn mend(frame: &mut [u8]) {
        let Some(ip) = frame.get_mut(ethernet::HEADER..) else { return };
        let Some(header) = ip.first_chunk_mut::<{ ipv4::HEADER }>() else { return };
        header[10..12].fill(0);
        let sum = checksum::finish(checksum::header_sum(header));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    fn both(
        frame: &[u8],
        home: bool,
    ) -> (Option<Plain>, Result<super::super::Arrived, super::super::Refused>) {
        let door = Door { iface: IfaceId(3), mac: &MAC, home };
        (Plain::read(frame, door, &TestHost), read(frame, door, &TestHost))
    }

    #[test]
    fn what_nearly_all_are_is_plain() {
        let frame = frame(Ipv4Addr::new(192, 0, 2, 7), 20, 6);
        let (plain, _) = both(&frame, false);
        let plain = plain.expect("a plain frame");
        assert_eq!((plain.destination, plain.tos, plain.len), (OWN, 0x0a, 40));
        assert_eq!((plain.transport(), plain.end()), (34..54, 54), "without the padding");
        assert_eq!(both(&frame[..HEADERS - 1], false).0, None);
    }

    proptest! {
        /// Whatever is plain is what the steps find; and what they would refuse, or lead elsewhere, is not plain.
        #[test]
        fn plain_is_what_the_steps_find(
            source in prop_oneof![
                any::<[u8; 4]>(),
                Just([10, 0, 0, 2]),
                Just([10, 0, 0, 1]),
                Just([10, 0, 0, 255]),
                Just([127, 0, 0, 1]),
                Just([0, 1, 2, 3]),
                Just([224, 0, 0, 1]),
            ],
            (payload, padding, cut) in (0..80usize, 0..8usize, 0..120usize),
            changes in proptest::collection::vec((0..HEADERS, any::<u8>()), 0..3),
            (mended, home) in any::<(bool, bool)>(),
        ) {
            let mut frame = frame(source.into(), payload, padding);
            for (at, byte) in changes {
                frame[at] = byte;
            }
            if mended {
                mend(&mut frame);
            }
            frame.truncate(cut.max(1) + 20);
            let (plain, arrived) = both(&frame, home);
            if let Some(plain) = plain {
                let arrived = arrived.expect("the steps refuse nothing that is plain");
                prop_assert_eq!((arrived.source, arrived.destination), (plain.source.into(), plain.destination.into()));
                prop_assert_eq!((arrived.protocol, arrived.tos, arrived.piece), (ipv4::TCP, plain.tos, None));
                prop_assert_eq!((arrived.to_group, arrived.home), (false, home));
                prop_assert_eq!((arrived.payload(), arrived.packet.end), (plain.transport(), plain.end()));
                prop_assert_eq!(arrived.packet.len(), usize::from(plain.len));
            } else if let Ok(arrived) = arrived {
                prop_assert!(
                    arrived.to_group
                        || arrived.protocol != ipv4::TCP
                        || arrived.piece.is_some()
                        || arrived.transport != HEADERS,
                    "a plain frame was not known as one"
                );
            }
        }
    }
}
