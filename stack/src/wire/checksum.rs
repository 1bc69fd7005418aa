//! The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.
//!
//! Sums are kept folded to 16 bits, as the numbers that stand in big-endian fields; sums of pieces that begin
//! at even offsets are joined by [`add`].

use core::net::Ipv4Addr;

/// The folded sum of `bytes`; an odd last byte is padded with zero.
///
/// The order of bytes in a word does not matter to a ones' complement sum as long as it is the same for all
/// (RFC 1071 §2.B), so the words are read as the machine likes them, four bytes at a time into eight lanes
/// that the compiler turns into vector adds, and swapped once at the end.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut lanes = [0u64; 8];
    let mut blocks = bytes.chunks_exact(32);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.chunks_exact(4)) {
            *lane += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
    }
    let mut total: u64 = lanes.iter().sum();
    let mut words = blocks.remainder().chunks_exact(4);
    for word in &mut words {
        total += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut last = [0u8; 4];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_ne_bytes(last));
    u16::from_be(fold(total))
}

/// Joins the sums of two pieces.
#[inline]
pub const fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + carry as u16
}

/// The sum of the pseudo-header (RFC 9293 §3.1, RFC 768): `len` is the length of header and payload.
#[inline]
pub fn pseudo(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> u16 {
    let (s, d) = (u64::from(source.to_bits()), u64::from(destination.to_bits()));
    fold((s >> 16) + (s & 0xffff) + (d >> 16) + (d & 0xffff) + u64::from(protocol) + u64::from(len))
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
    let total = (total >> 32) + (total & 0xffff_ffff);
    let total = (total >> 16) + (total & 0xffff);
    let total = (total >> 16) + (total & 0xffff);
    ((total >> 16) + (total & 0xffff)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert_eq!(pseudo(s, d, 6, 1500), naive(&bytes));
    }

    proptest! {
        #[test]
        fn fast_is_naive(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            // Zero has two forms; both mean the same, and both sums give the same one.
            prop_assert_eq!(sum(&bytes), naive(&bytes));
        }

        #[test]
        fn pieces_join(bytes in proptest::collection::vec(any::<u8>(), 0..512), at in 0usize..256) {
            let at = (at * 2).min(bytes.len() & !1);
            prop_assert_eq!(add(sum(&bytes[..at]), sum(&bytes[at..])), sum(&bytes));
        }
    }
}
