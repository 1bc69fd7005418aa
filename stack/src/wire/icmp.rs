//! ICMP errors (RFC 792, RFC 1191, RFC 1812 §5.2.7.1).

use super::{be16, checksum, ipv4};
use crate::error::SocketError;

/// Bytes in front of the packet that an error quotes.
pub const HEADER: usize = 8;

/// What an error says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The path is bad for now: what the socket reports if it fails later (RFC 1122 §4.2.3.9).
    Soft(SocketError),
    /// Nobody there will answer.
    Hard(SocketError),
    /// The next hop takes at most so many bytes; zero when an old router does not say.
    TooBig(u16),
}

/// Reads an error message, with the errno and the hardness that Linux gives each code. `message` is the whole ICMP message; the bytes after [`HEADER`] quote the packet
/// that caused it. None for everything that is no error.
pub fn parse_error(message: &[u8]) -> Option<Error> {
    let [kind, code] = *message.first_chunk::<2>()?;
    if message.len() < HEADER {
        return None;
    }
    use SocketError::{ConnectionRefused, HostDown, HostUnreachable, NetworkUnreachable, NoNetwork};
    use SocketError::{NoProtocolOption, Protocol};
    Some(match (kind, code) {
        (3, 0 | 11) => Error::Soft(NetworkUnreachable),
        (3, 1 | 5 | 12) => Error::Soft(HostUnreachable),
        (3, 2) => Error::Hard(NoProtocolOption),
        (3, 3) => Error::Hard(ConnectionRefused),
        (3, 4) => Error::TooBig(be16(message, 6)?),
        (3, 6 | 9) => Error::Hard(NetworkUnreachable),
        (3, 7) => Error::Hard(HostDown),
        (3, 8) => Error::Hard(NoNetwork),
        (3, 10 | 13..=15) => Error::Hard(HostUnreachable),
        (11, 0 | 1) => Error::Soft(HostUnreachable),
        (12, 0..=2) => Error::Hard(Protocol),
        _ => return None,
    })
}

/// An error to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Nobody listens there: type 3, code 3.
    PortUnreachable,
    /// Pieces of the packet did not come in time: type 11, code 1.
    ReassemblyTimeout,
}

impl Emit {
    /// Writes header, quote and checksum to the front of `into` and says how many bytes that is. None when
    /// `into` is too short.
    pub fn write(self, quoted: &[u8], into: &mut [u8]) -> Option<usize> {
        let len = HEADER + quoted.len();
        let message = into.get_mut(..len)?;
        let (kind, code) = match self {
            Emit::PortUnreachable => (3, 3),
            Emit::ReassemblyTimeout => (11, 1),
        };
        message[..HEADER].copy_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
        message[HEADER..].copy_from_slice(quoted);
        let sum = checksum::finish(checksum::sum(message));
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        Some(len)
    }
}

/// How much of a packet an error quotes: RFC 1812 §4.3.2.3 asks for as much as fits 576 bytes.
pub const QUOTE: usize = 576 - ipv4::HEADER - HEADER;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_from_the_rest() {
        let message = |kind, code| [kind, code, 0, 0, 0, 0, 5, 0xdc];
        assert_eq!(parse_error(&message(3, 4)), Some(Error::TooBig(1500)));
        assert_eq!(parse_error(&message(3, 3)), Some(Error::Hard(SocketError::ConnectionRefused)));
        assert_eq!(parse_error(&message(3, 1)), Some(Error::Soft(SocketError::HostUnreachable)));
        assert_eq!(parse_error(&message(11, 0)), Some(Error::Soft(SocketError::HostUnreachable)));
        assert_eq!(parse_error(&message(8, 0)), None);
        assert_eq!(parse_error(&message(5, 1)), None);
        assert_eq!(parse_error(&message(3, 99)), None);
        assert_eq!(parse_error(&message(3, 4)[..7]), None);
    }

    /// RFC 1122 §4.1.3.1
    #[test]
    fn port_unreachable_quotes_and_sums() {
        let mut b = [0u8; 64];
        let n = Emit::PortUnreachable.write(&[0x45; 28], &mut b).unwrap();
        assert_eq!(n, 36);
        assert!(checksum::intact(checksum::sum(&b[..n])));
        assert_eq!(parse_error(&b[..n]), Some(Error::Hard(SocketError::ConnectionRefused)));
        assert_eq!(Emit::PortUnreachable.write(&[0; 60], &mut b), None);
        let n = Emit::ReassemblyTimeout.write(&[0x45; 28], &mut b).unwrap();
        assert_eq!(parse_error(&b[..n]), Some(Error::Soft(SocketError::HostUnreachable)));
    }
}
