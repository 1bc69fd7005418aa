//! Ethernet II: destination, source, EtherType.

use core::net::IpAddr;

/// Bytes in the header.
pub const HEADER: usize = 14;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// The address of everybody on the link.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// The address at both ends of a loopback device, and of no other link.
pub const NOWHERE: [u8; 6] = [0; 6];

/// A header in one piece, as it is kept to be sent again.
pub fn header(destination: [u8; 6], source: [u8; 6], ether_type: u16) -> [u8; HEADER] {
    let mut h = [0; HEADER];
    h[..6].copy_from_slice(&destination);
    h[6..12].copy_from_slice(&source);
    h[12..].copy_from_slice(&ether_type.to_be_bytes());
    h
}

/// The link address of a group: its low 23 bits (RFC 1112 §6.4), or 32 (RFC 2464 §7).
pub fn group(address: IpAddr) -> [u8; 6] {
    match address {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [1, 0, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let o = group.octets();
            [0x33, 0x33, o[12], o[13], o[14], o[15]]
        }
    }
}

/// The EtherType of an address's family.
#[inline]
pub fn type_of(address: IpAddr) -> u16 {
    if address.is_ipv4() { IPV4 } else { IPV6 }
}

/// Whether the address is a group's (broadcast included).
#[inline]
pub fn is_group(address: &[u8]) -> bool {
    address.first().is_some_and(|b| b & 1 == 1)
}
