//! What is plain is what the steps find, in both families.

use proptest::prelude::*;

use super::super::{Arrived, Refused, read};
use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const OWN_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

struct TestHost;

impl Host for TestHost {
    fn is_own(&self, address: IpAddr, _iface: IfaceId) -> bool {
        address == OWN || address == OWN_V6 || address == OWN_LINK || address.is_loopback()
    }
    fn is_elsewhere(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.octets()[0] != 10,
            IpAddr::V6(address) => address.octets()[15] != 1,
        }
    }
    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || address == Ipv4Addr::new(10, 0, 0, 255)
    }
}

fn frame_v4(source: Ipv4Addr, payload: usize, padding: usize) -> Vec<u8> {
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
    frame.resize(Ipv4Addr::TRANSPORT + payload + padding, 0x55);
    frame
}

fn frame_v6(source: Ipv6Addr, destination: Ipv6Addr, payload: usize, padding: usize) -> Vec<u8> {
    let mut frame = ethernet::header(MAC, [2, 0, 0, 0, 0, 2], ethernet::IPV6).to_vec();
    let emit = ipv6::Emit {
        tos: 0x0a,
        label: 0x12345,
        hop_limit: 63,
        protocol: ipv4::TCP,
        source,
        destination,
        payload: payload as u16,
    };
    frame.extend(emit.bytes());
    frame.resize(Ipv6Addr::TRANSPORT + payload + padding, 0x55);
    frame
}

/// The right checksum of a header of IPv4, as far as there is one.
fn mend(frame: &mut [u8]) {
    let Some(ip) = frame.get_mut(ethernet::HEADER..) else { return };
    let Some(header) = ip.first_chunk_mut::<{ ipv4::HEADER }>() else { return };
    header[10..12].fill(0);
    let sum = checksum::finish(checksum::header_sum(header));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn both<A: Family>(frame: &[u8], home: bool) -> (Option<Plain<A>>, Result<Arrived, Refused>) {
    let door = Door { iface: IfaceId(3), mac: &MAC, home };
    (A::read(frame, door, &TestHost), read(frame, door, &TestHost))
}

/// Whatever is plain is what the steps find; and what they would refuse, or lead elsewhere, is not plain.
fn compare<A: Family + Into<IpAddr>>(frame: &[u8], home: bool) -> Result<(), TestCaseError> {
    let (plain, arrived) = both::<A>(frame, home);
    if let Some(plain) = plain {
        let arrived = arrived.expect("the steps refuse nothing that is plain");
        prop_assert_eq!(
            (arrived.source, arrived.destination),
            (plain.source.into(), plain.destination.into())
        );
        prop_assert_eq!((arrived.protocol, arrived.tos, arrived.piece), (ipv4::TCP, plain.tos, None));
        prop_assert_eq!((arrived.to_group, arrived.home), (false, home));
        prop_assert_eq!((arrived.payload(), arrived.packet.end), (plain.transport(), plain.transport().end));
        prop_assert_eq!(arrived.packet.start, ethernet::HEADER);
        let words = arrived.words(Protocol::Tcp, 4660, 80);
        prop_assert_eq!(plain.words(4660, 80, arrived.iface), words, "one flow");
        let flow = flow_of(frame, A::TRANSPORT, arrived.iface, (4660, 80));
        prop_assert_eq!(flow, Some(arrived.flow(Protocol::Tcp, 4660, 80)));
        let pseudo = checksum::pseudo(arrived.source, arrived.destination, ipv4::TCP, plain.len);
        prop_assert_eq!(plain.pseudo().folded(), pseudo);
    } else if let Ok(arrived) = arrived {
        prop_assert!(
            arrived.to_group
                || arrived.protocol != ipv4::TCP
                || arrived.piece.is_some()
                || arrived.transport != A::TRANSPORT,
            "a plain frame was not known as one"
        );
    }
    Ok(())
}

#[test]
fn what_nearly_all_are_is_plain() {
    let frame = frame_v4(Ipv4Addr::new(192, 0, 2, 7), 20, 6);
    let (plain, _) = both::<Ipv4Addr>(&frame, false);
    let plain = plain.expect("a plain frame");
    assert_eq!((plain.destination, plain.tos, plain.len), (OWN, 0x0a, 20));
    assert_eq!(plain.transport(), 34..54, "without the padding");
    assert_eq!(both::<Ipv4Addr>(&frame[..33], false).0, None);
    assert_eq!(both::<Ipv6Addr>(&frame, false).0, None, "of its own family");
}

#[test]
fn so_it_is_over_ipv6() {
    for (source, destination) in [
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7), OWN_V6),
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7), OWN_LINK),
    ] {
        let frame = frame_v6(source, destination, 20, 6);
        let (plain, _) = both::<Ipv6Addr>(&frame, false);
        let plain = plain.expect("a plain frame");
        assert_eq!((plain.source, plain.destination, plain.tos, plain.len), (source, destination, 0x0a, 20));
        assert_eq!(plain.transport(), 54..74, "without the padding");
        assert_eq!(both::<Ipv6Addr>(&frame[..53], false).0, None);
        assert_eq!(both::<Ipv4Addr>(&frame, false).0, None, "of its own family");
    }
}

proptest! {
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
        changes in proptest::collection::vec((0..Ipv4Addr::TRANSPORT, any::<u8>()), 0..3),
        (mended, home) in any::<(bool, bool)>(),
    ) {
        let mut frame = frame_v4(source.into(), payload, padding);
        for (at, byte) in changes {
            frame[at] = byte;
        }
        if mended {
            mend(&mut frame);
        }
        frame.truncate(cut.max(1) + 20);
        compare::<Ipv4Addr>(&frame, home)?;
    }

    #[test]
    fn plain_is_what_the_steps_find_of_ipv6(
        source in prop_oneof![
            any::<[u16; 8]>(),
            any::<[u16; 7]>().prop_map(|[b, c, d, e, f, g, h]| [0x2001, b, c, d, e, f, g, h]),
            Just([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]),
            Just([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]),
            Just([0xfd00, 0, 0, 0, 0, 0, 0, 1]),
            Just([0xfe80, 0, 0, 0, 0, 0, 0, 2]),
            Just([0xfe80, 1, 0, 0, 0, 0, 0, 2]),
            Just([0, 0, 0, 0, 0, 0xffff, 0x0a00, 2]),
            Just([0xff02, 0, 0, 0, 0, 0, 0, 1]),
            Just([0, 0, 0, 0, 0, 0, 0, 1]),
            Just([0; 8]),
        ],
        destination in prop_oneof![
            4 => Just(OWN_V6),
            1 => Just(OWN_LINK),
            1 => Just(Ipv6Addr::LOCALHOST),
            1 => Just(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
        ],
        (payload, padding, cut) in (0..80usize, 0..8usize, 0..140usize),
        changes in proptest::collection::vec((0..Ipv6Addr::TRANSPORT, any::<u8>()), 0..3),
        home in any::<bool>(),
    ) {
        let mut frame = frame_v6(source.into(), destination, payload, padding);
        for (at, byte) in changes {
            frame[at] = byte;
        }
        frame.truncate(cut.max(1) + 20);
        compare::<Ipv6Addr>(&frame, home)?;
    }
}
