//! Bytes ↔ headers, and checksums. RFC 791, 8200, 768, 9293, 792, 4443.
//!
//! Reading never panics: a header is read only from a slice whose length was checked.

pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod ipv6_ext;
pub mod tcp;
pub mod udp;

/// The big-endian number at byte `at`. None when the slice is too short.
#[inline]
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes([two[0], two[1]]))
}

/// The big-endian number at byte `at`. None when the slice is too short.
#[inline]
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}
