//! Ethernet II: destination, source, EtherType.

/// Bytes in the header.
pub const HEADER: usize = 14;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;

/// The address of everybody on the link.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// A header in one piece, as it is kept to be sent again.
pub fn header(destination: [u8; 6], source: [u8; 6], ether_type: u16) -> [u8; HEADER] {
    let mut h = [0; HEADER];
    h[..6].copy_from_slice(&destination);
    h[6..12].copy_from_slice(&source);
    h[12..].copy_from_slice(&ether_type.to_be_bytes());
    h
}

/// The link address of an IPv4 group (RFC 1112 §6.4): its low 23 bits.
pub fn group(address: core::net::Ipv4Addr) -> [u8; 6] {
    let [_, b, c, d] = address.octets();
    [1, 0, 0x5e, b & 0x7f, c, d]
}

/// Whether the address is a group's (broadcast included).
#[inline]
pub fn is_group(address: &[u8]) -> bool {
    address.first().is_some_and(|b| b & 1 == 1)
}
