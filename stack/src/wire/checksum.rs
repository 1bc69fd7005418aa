//! The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.
//!
//! Sums are kept folded to 16 bits, as the numbers that stand in big-endian fields; sums of pieces that begin
//! at even offsets are joined by [`add`].

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The folded sum of `bytes`; an odd last byte is padded with zero.
///
/// The order of bytes in a word does not matter to a ones' complement sum as long as it is the same for all
/// (RFC 1071 §2.B), so the words are read as the machine likes them, eight bytes at a time, and swapped once at
/// the end. A sum of 128 bits is an addition and an addition of its carry; two of them do not wait for each other.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    u16::from_be(fold(raw(bytes)))
}

/// The sum of the header of an IPv4 packet without options, not folded.
#[inline(always)]
fn raw_header(header: &[u8; 20]) -> u64 {
    let (words, rest) = header.as_chunks::<8>();
    let (low, high) = chain(0, 0, words);
    let last = rest.first_chunk().map_or(0, |rest| u64::from(u32::from_ne_bytes(*rest)));
    join(low, high + last)
}

/// As [`sum`], of a header of 20 bytes.
#[inline]
pub fn header_sum(header: &[u8; 20]) -> u16 {
    u16::from_be(fold(raw_header(header)))
}

/// Whether a header of 20 bytes, its checksum included, is intact.
#[inline]
pub fn is_header_intact(header: &[u8; 20]) -> bool {
    fold(raw_header(header)) == 0xffff
}

/// Whether `bytes`, their checksum included, and what is in `more` are intact: one fold for all.
#[inline]
pub fn is_intact(bytes: &[u8], more: Raw) -> bool {
    fold(join(raw_of(bytes), more.0)) == 0xffff
}

/// As [`raw`], without a call where there is only a header of 20 bytes, as in a bare ACK.
#[inline(always)]
fn raw_of(bytes: &[u8]) -> u64 {
    <&[u8; 20]>::try_from(bytes).map_or_else(|_| raw(bytes), raw_header)
}

/// The number for the checksum field of a packet of two pieces, of which the first is of even length, and what is in
/// `more`.
#[inline]
pub fn of_pieces(first: &[u8], second: &[u8], more: Raw) -> u16 {
    let second = if second.is_empty() { 0 } else { raw(second) };
    finish(u16::from_be(fold(join(join(raw_of(first), second), more.0))))
}

/// A sum that is not folded, of words in the machine's order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw(u64);

impl Raw {
    /// The sum of the pseudo-header; see [`pseudo`].
    #[inline]
    pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: u16) -> Self {
        match (source, destination) {
            (IpAddr::V4(a), IpAddr::V4(b)) => Self::pseudo_v4(a, b, protocol, len),
            (a, b) => Self(any_raw(a) + any_raw(b) + rest(protocol, len)),
        }
    }

    /// As [`Raw::pseudo`], of IPv4.
    #[inline]
    pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> Self {
        Self(v4_raw(source) + v4_raw(destination) + rest(protocol, len))
    }

    /// As [`Raw::pseudo`], of IPv6.
    #[inline]
    pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, len: u16) -> Self {
        Self(v6_raw(source) + v6_raw(destination) + rest(protocol, len))
    }

    /// As the number that stands in a big-endian field.
    #[inline]
    pub fn folded(self) -> u16 {
        u16::from_be(fold(self.0))
    }
}

/// Protocol and length.
#[inline]
fn rest(protocol: u8, len: u16) -> u64 {
    u64::from(u16::from(protocol).to_be()) + u64::from(len.to_be())
}

#[inline]
fn v4_raw(a: Ipv4Addr) -> u64 {
    u64::from(u32::from_ne_bytes(a.octets()))
}

#[inline]
fn any_raw(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(a) => v4_raw(a),
        IpAddr::V6(a) => v6_raw(a),
    }
}

#[inline]
fn v6_raw(a: Ipv6Addr) -> u64 {
    let bits = u128::from_ne_bytes(a.octets());
    (0..4).map(|n| (bits >> (32 * n)) as u64 & 0xffff_ffff).sum()
}

/// Ones' complement addition of 64 bits.
#[inline]
const fn join(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u64
}

/// The sum of `bytes`, folded to 64 bits.
#[inline]
fn raw(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (mut low, mut high) = (0, 0);
    for block in blocks {
        (low, high) = chain(low, high, block.as_chunks::<8>().0);
    }
    let mut rest = rest;
    if let Some((block, tail)) = rest.split_first_chunk::<32>() {
        (low, high) = chain(low, high, block.as_chunks::<8>().0);
        rest = tail;
    }
    if let Some((block, tail)) = rest.split_first_chunk::<16>() {
        (low, high) = chain(low, high, block.as_chunks::<8>().0);
        rest = tail;
    }
    if let Some((word, tail)) = rest.split_first_chunk::<8>() {
        (low, high) = chain(low, high, core::slice::from_ref(word));
        rest = tail;
    }
    let mut last = 0;
    if let Some((first, tail)) = rest.split_first_chunk::<4>() {
        last = u64::from(u32::from_ne_bytes(*first));
        rest = tail;
    }
    if let Some((first, tail)) = rest.split_first_chunk::<2>() {
        last += u64::from(u16::from_ne_bytes(*first));
        rest = tail;
    }
    if let [byte] = rest {
        last += u64::from(u16::from_ne_bytes([*byte, 0]));
    }
    join(join(low, high), last)
}

/// Adds words to a sum, each with the carry of the one before; the last carry is counted in `high`.
#[inline(always)]
fn chain(mut low: u64, high: u64, words: &[[u8; 8]]) -> (u64, u64) {
    let mut carry = false;
    for word in words {
        let (sum, first) = low.overflowing_add(u64::from_ne_bytes(*word));
        let (sum, second) = sum.overflowing_add(u64::from(carry));
        (low, carry) = (sum, first | second);
    }
    (low, high + u64::from(carry))
}

/// Joins the sums of two pieces.
#[inline]
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The sum of the pseudo-header (RFC 9293 §3.1, RFC 768, RFC 8200 §8.1): `len` is the length of header and
/// payload. Both addresses are of one family.
#[inline]
pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: u16) -> u16 {
    Raw::pseudo(source, destination, protocol, len).folded()
}

/// The number for the checksum field.
#[inline]
pub const fn finish(sum: u16) -> u16 {
    !sum
}

/// Whether a sum over data that includes its checksum says that it is intact.
#[inline]
pub const fn intact(sum: u16) -> bool {
    sum == 0xffff
}

#[inline]
const fn fold(total: u64) -> u16 {
    // Both halves added to each other: in the upper one the carry of the lower one has come round.
    let total = (total.wrapping_add(total.rotate_left(32)) >> 32) as u32;
    (total.wrapping_add(total.rotate_left(16)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use core::net::Ipv6Addr;

    use super::*;

    fn naive(bytes: &[u8]) -> u16 {
        let mut total = 0u32;
        for word in bytes.chunks(2) {
            total += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
            total = (total >> 16) + (total & 0xffff);
        }
        total as u16
    }

    #[test]
    fn the_example_of_rfc_1071() {
        // RFC 1071 §3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn a_known_ip_header_is_intact() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01,
            0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert!(intact(sum(&header)));
    }

    #[test]
    fn the_pseudo_header_is_the_sum_of_its_bytes() {
        let (s, d) = (Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(255, 254, 253, 252));
        let bytes = [10, 77, 0, 1, 255, 254, 253, 252, 0, 6, 0x05, 0xdc];
        assert_eq!(pseudo(s.into(), d.into(), 6, 1500), naive(&bytes));
    }

    #[test]
    fn the_pseudo_header_of_ipv6_is_the_sum_of_its_bytes() {
        // RFC 8200 §8.1.
        let s: Ipv6Addr = "2001:db8:ffff:fffe::1:2".parse().unwrap();
        let d: Ipv6Addr = "fe80::a00:27ff:fe4e:66a1".parse().unwrap();
        let mut bytes = [s.octets(), d.octets()].concat();
        bytes.extend([0, 0, 0x05, 0xdc, 0, 0, 0, 17]);
        assert_eq!(pseudo(s.into(), d.into(), 17, 1500), naive(&bytes));
    }

    proptest! {
        #[test]
        fn fast_is_naive(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            // Zero has two forms; both mean the same, and both sums give the same one.
            prop_assert_eq!(sum(&bytes), naive(&bytes));
        }

        #[test]
        fn a_header_is_its_bytes(bytes in any::<[u8; 20]>()) {
            prop_assert_eq!(header_sum(&bytes), naive(&bytes));
            prop_assert_eq!(is_header_intact(&bytes), is_intact(&bytes, Raw::default()));
        }

        #[test]
        fn pieces_join(bytes in proptest::collection::vec(any::<u8>(), 0..512), at in 0usize..256) {
            let at = (at * 2).min(bytes.len() & !1);
            prop_assert_eq!(add(sum(&bytes[..at]), sum(&bytes[at..])), sum(&bytes));
        }
    }
}
