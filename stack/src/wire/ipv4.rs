//! The IPv4 header (RFC 791).

use core::net::Ipv4Addr;

use super::checksum;

/// Bytes in a header without options.
pub const HEADER: usize = 20;

/// Don't fragment, in the word of flags and offset.
pub const DF: u16 = 0x4000;
/// More fragments.
pub const MF: u16 = 0x2000;
/// The fragment offset's bits.
pub const OFFSET: u16 = 0x1fff;

/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// A header as it was read. Lengths are as the packet claims them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes in the header, options included: 20 to 60.
    pub header_len: usize,
    /// Bytes in the packet, header included.
    pub total_len: usize,
    /// Identification: what pieces of one packet have in common.
    pub id: u16,
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// What it carries.
    pub protocol: u8,
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
}

impl Header {
    /// Whether it is a piece of a larger packet.
    pub fn is_fragment(&self) -> bool {
        self.fragment & (MF | OFFSET) != 0
    }
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fewer bytes than the header says.
    Truncated,
    /// Not version 4, or lengths that contradict each other.
    Malformed,
}

/// Reads the fields; the checksum is not looked at.
///
/// # Errors
/// [`Fault`].
#[inline]
pub fn parse(packet: &[u8]) -> Result<Header, Fault> {
    let Some(b) = packet.first_chunk::<HEADER>() else { return Err(Fault::Truncated) };
    let header_len = usize::from(b[0] & 0x0f) * 4;
    if b[0] >> 4 != 4 || header_len < HEADER {
        return Err(Fault::Malformed);
    }
    let total_len = usize::from(u16::from_be_bytes([b[2], b[3]]));
    if total_len < header_len {
        return Err(Fault::Malformed);
    }
    Ok(Header {
        header_len,
        total_len,
        id: u16::from_be_bytes([b[4], b[5]]),
        fragment: u16::from_be_bytes([b[6], b[7]]),
        tos: b[1],
        ttl: b[8],
        protocol: b[9],
        source: Ipv4Addr::new(b[12], b[13], b[14], b[15]),
        destination: Ipv4Addr::new(b[16], b[17], b[18], b[19]),
    })
}

/// What a header that is to be sent says. Always without options, never a fragment.
#[derive(Clone, Copy, Debug)]
pub struct Emit {
    /// Type of service.
    pub tos: u8,
    /// Time to live.
    pub ttl: u8,
    /// What it carries.
    pub protocol: u8,
    /// From.
    pub source: Ipv4Addr,
    /// To.
    pub destination: Ipv4Addr,
    /// Bytes after the header.
    pub payload: u16,
}

impl Emit {
    /// The header with its checksum. DF is set and the identification is zero: the packet is atomic, so the
    /// field means nothing (RFC 6864 §4.1).
    #[inline]
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut b = [0; HEADER];
        b[0] = 0x45;
        b[1] = self.tos;
        b[2..4].copy_from_slice(&(self.payload + HEADER as u16).to_be_bytes());
        b[6..8].copy_from_slice(&DF.to_be_bytes());
        b[8] = self.ttl;
        b[9] = self.protocol;
        b[12..16].copy_from_slice(&self.source.octets());
        b[16..20].copy_from_slice(&self.destination.octets());
        let sum = checksum::finish(checksum::header_sum(&b));
        b[10..12].copy_from_slice(&sum.to_be_bytes());
        b
    }
}

/// Makes the header at the front of `packet`, as [`Emit`] writes it, that of a packet which routers may cut: DF is
/// off, and so the identification counts (RFC 6864 §4.2).
pub fn allow_fragments(packet: &mut [u8], id: u16) {
    let Some(header) = packet.first_chunk_mut::<HEADER>() else { return };
    header[4..6].copy_from_slice(&id.to_be_bytes());
    header[6..8].fill(0);
    header[10..12].fill(0);
    let sum = checksum::finish(checksum::sum(header));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let emit = Emit {
            tos: 0x10,
            ttl: 64,
            protocol: TCP,
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
            payload: 40,
        };
        let bytes = emit.bytes();
        assert!(checksum::intact(checksum::sum(&bytes)));
        let h = parse(&bytes).unwrap();
        assert_eq!((h.header_len, h.total_len, h.tos, h.ttl, h.protocol), (20, 60, 0x10, 64, TCP));
        assert_eq!((h.source, h.destination), (emit.source, emit.destination));
        assert!(!h.is_fragment());
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(parse(&[0x45; 19]), Err(Fault::Truncated));
        let mut b = [0u8; 20];
        b[0] = 0x65;
        assert_eq!(parse(&b), Err(Fault::Malformed));
        b[0] = 0x44;
        assert_eq!(parse(&b), Err(Fault::Malformed));
        b[0] = 0x45;
        b[3] = 19;
        assert_eq!(parse(&b), Err(Fault::Malformed));
    }

    #[test]
    fn fragments_are_known_by_offset_or_by_more() {
        let mut b = [0u8; 20];
        b[0] = 0x45;
        b[3] = 20;
        for (word, fragment) in [(0x0000, false), (0x4000, false), (0x2000, true), (0x0001, true)] {
            b[6..8].copy_from_slice(&u16::to_be_bytes(word));
            assert_eq!(parse(&b).unwrap().is_fragment(), fragment, "{word:#x}");
        }
    }
}
