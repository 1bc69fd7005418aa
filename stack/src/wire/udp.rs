//! The UDP header (RFC 768).

use super::be16;

/// Bytes in the header.
pub const HEADER: usize = 8;

/// Where the checksum field is.
pub const CHECKSUM_AT: usize = 6;

/// A header as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// From which port.
    pub source: u16,
    /// To which port.
    pub destination: u16,
    /// Bytes of header and payload.
    pub len: usize,
    /// The checksum; zero means that the sender made none.
    pub checksum: u16,
}

/// Reads the header at the front of an IP payload. None when there are fewer bytes than it says, or it says
/// fewer than its own.
#[inline]
pub fn parse(bytes: &[u8]) -> Option<Header> {
    let len = usize::from(be16(bytes, 4)?);
    let header = Header {
        source: be16(bytes, 0)?,
        destination: be16(bytes, 2)?,
        len,
        checksum: be16(bytes, CHECKSUM_AT)?,
    };
    (HEADER..=bytes.len()).contains(&len).then_some(header)
}

/// The header with zeros in its checksum field.
#[inline]
pub fn emit(source: u16, destination: u16, payload: u16) -> [u8; HEADER] {
    let mut b = [0; HEADER];
    b[..2].copy_from_slice(&source.to_be_bytes());
    b[2..4].copy_from_slice(&destination.to_be_bytes());
    b[4..6].copy_from_slice(&(payload + HEADER as u16).to_be_bytes());
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 768 §Fields
    #[test]
    fn lengths_are_checked() {
        let mut b = emit(53, 1000, 4).to_vec();
        b.extend([1, 2, 3, 4]);
        assert_eq!(parse(&b), Some(Header { source: 53, destination: 1000, len: 12, checksum: 0 }));
        assert_eq!(parse(&b[..11]), None);
        b[5] = 7;
        assert_eq!(parse(&b), None);
        assert_eq!(parse(&b[..7]), None);
    }
}
