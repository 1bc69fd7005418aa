//! The IPv6 header (RFC 8200 §3).

use core::net::Ipv6Addr;

/// Bytes in the header.
pub const HEADER: usize = 40;

/// The least MTU of a link (RFC 8200 §5).
pub const MTU_LEAST: u16 = 1280;

/// Next header: ICMPv6 (RFC 4443).
pub const ICMP: u8 = 58;

/// A header as it was read. Lengths are as the packet claims them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes after the header: extension headers and payload.
    pub payload_len: usize,
    /// Traffic class.
    pub tos: u8,
    /// Flow label: 20 bits.
    pub label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// The header that follows: an extension or a transport.
    pub next: u8,
    /// From.
    pub source: Ipv6Addr,
    /// To.
    pub destination: Ipv6Addr,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fewer bytes than a header has.
    Truncated,
    /// Not version 6.
    Malformed,
}

/// Reads the fields.
///
/// # Errors
/// [`Fault`].
#[inline]
pub fn parse(packet: &[u8]) -> Result<Header, Fault> {
    let Some(b) = packet.first_chunk::<HEADER>() else { return Err(Fault::Truncated) };
    let first = u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
    if first >> 28 != 6 {
        return Err(Fault::Malformed);
    }
    let address = |at: usize| Ipv6Addr::from(core::array::from_fn(|i| b[at + i]));
    Ok(Header {
        payload_len: usize::from(u16::from_be_bytes([b[4], b[5]])),
        tos: (first >> 20) as u8,
        label: first & 0x000f_ffff,
        next: b[6],
        hop_limit: b[7],
        source: address(8),
        destination: address(24),
    })
}

/// What a header that is to be sent says. Never with extension headers.
#[derive(Clone, Copy, Debug)]
pub struct Emit {
    /// Traffic class.
    pub tos: u8,
    /// Flow label: 20 bits.
    pub label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// What it carries.
    pub protocol: u8,
    /// From.
    pub source: Ipv6Addr,
    /// To.
    pub destination: Ipv6Addr,
    /// Bytes after the header.
    pub payload: u16,
}

impl Emit {
    /// The header.
    #[inline]
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut b = [0; HEADER];
        let first = 6 << 28 | u32::from(self.tos) << 20 | self.label & 0x000f_ffff;
        b[..4].copy_from_slice(&first.to_be_bytes());
        b[4..6].copy_from_slice(&self.payload.to_be_bytes());
        b[6] = self.protocol;
        b[7] = self.hop_limit;
        b[8..24].copy_from_slice(&self.source.octets());
        b[24..].copy_from_slice(&self.destination.octets());
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8200 §3, §6
    #[test]
    fn what_is_written_is_read() {
        let (source, destination) = ("2001:db8::1".parse().unwrap(), "fe80::2".parse().unwrap());
        let emit =
            Emit { tos: 0xb9, label: 0xabcde, hop_limit: 64, protocol: 6, source, destination, payload: 40 };
        let bytes = emit.bytes();
        assert_eq!(bytes[..8], [0x6b, 0x9a, 0xbc, 0xde, 0, 40, 6, 64]);
        let header = Header {
            payload_len: 40,
            tos: 0xb9,
            label: 0xabcde,
            hop_limit: 64,
            next: 6,
            source,
            destination,
        };
        assert_eq!(parse(&bytes), Ok(header));
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse(&[0x60; 39]), Err(Fault::Truncated));
        assert_eq!(parse(&[0x45; 40]), Err(Fault::Malformed));
        assert!(parse(&[0x60; 40]).is_ok());
    }
}
