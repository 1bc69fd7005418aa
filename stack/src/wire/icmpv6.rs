//! ICMPv6 errors (RFC 4443). What else there is, neighbour discovery first of all, is the kernel's.

use super::icmp::Error;
use super::ipv6_ext::Problem;
use super::{be32, checksum, ipv6};
use crate::error::SocketError;

/// Bytes in front of the packet that an error quotes.
pub const HEADER: usize = 8;

/// How much of a packet an error quotes: as much as fits the least MTU (§2.4 (c)).
pub const QUOTE: usize = ipv6::MTU_LEAST as usize - ipv6::HEADER - HEADER;

/// Reads an error message, with the errno and the hardness that Linux gives each code. `message` is the whole
/// ICMPv6 message; the bytes after [`HEADER`] quote the packet that caused it. None for everything that is no
/// error.
pub fn parse_error(message: &[u8]) -> Option<Error> {
    let [kind, code] = *message.first_chunk::<2>()?;
    if message.len() < HEADER {
        return None;
    }
    use SocketError::{Access, ConnectionRefused, HostUnreachable, NetworkUnreachable, Protocol};
    Some(match (kind, code) {
        (1, 0) => Error::Soft(NetworkUnreachable),
        (1, 1 | 5 | 6) => Error::Hard(Access),
        (1, 2 | 3) => Error::Soft(HostUnreachable),
        (1, 4) => Error::Hard(ConnectionRefused),
        (1, _) => Error::Hard(Protocol),
        // The code is ignored (§3.2).
        (2, _) => Error::TooBig(u16::try_from(be32(message, 4)?).unwrap_or(u16::MAX)),
        (3, _) => Error::Soft(HostUnreachable),
        (4, _) => Error::Hard(Protocol),
        _ => return None,
    })
}

/// What we tell others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Nobody listens there (§3.1, code 4).
    PortUnreachable,
    /// Pieces of the packet did not come in time (§3.3, code 1).
    ReassemblyTimeout,
    /// A header that we do not understand (§3.4).
    ParameterProblem(Problem),
}

impl Emit {
    /// Writes header and quote to the front of `into`, with zeros in the checksum field, and says how many
    /// bytes that is. None when `into` is too short.
    pub fn write(&self, quoted: &[u8], into: &mut [u8]) -> Option<usize> {
        let len = HEADER + quoted.len();
        let message = into.get_mut(..len)?;
        let (kind, code, word) = match self {
            Emit::PortUnreachable => (1, 4, 0),
            Emit::ReassemblyTimeout => (3, 1, 0),
            Emit::ParameterProblem(problem) => (4, problem.code, problem.pointer),
        };
        message[..4].copy_from_slice(&[kind, code, 0, 0]);
        message[4..HEADER].copy_from_slice(&word.to_be_bytes());
        message[HEADER..].copy_from_slice(quoted);
        Some(len)
    }
}

/// Fills in the checksum of a message whose pseudo-header sums up to `pseudo`.
pub fn seal(message: &mut [u8], pseudo: u16) {
    let sum = checksum::finish(checksum::add(pseudo, checksum::sum(message)));
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4443 §3.1, §3.2, §3.3
    #[test]
    fn errors_are_told_from_the_rest() {
        let message = |kind, code| [kind, code, 0, 0, 0, 0, 5, 0xdc];
        assert_eq!(parse_error(&message(1, 0)), Some(Error::Soft(SocketError::NetworkUnreachable)));
        assert_eq!(parse_error(&message(1, 1)), Some(Error::Hard(SocketError::Access)));
        assert_eq!(parse_error(&message(1, 3)), Some(Error::Soft(SocketError::HostUnreachable)));
        assert_eq!(parse_error(&message(1, 4)), Some(Error::Hard(SocketError::ConnectionRefused)));
        assert_eq!(parse_error(&message(2, 9)), Some(Error::TooBig(1500)));
        assert_eq!(parse_error(&[2, 0, 0, 0, 0, 1, 0, 0]), Some(Error::TooBig(u16::MAX)));
        assert_eq!(parse_error(&message(3, 0)), Some(Error::Soft(SocketError::HostUnreachable)));
        assert_eq!(parse_error(&message(4, 1)), Some(Error::Hard(SocketError::Protocol)));
        for kind in [0, 100, 127, 128, 129, 133, 134, 135, 136, 137] {
            assert_eq!(parse_error(&message(kind, 0)), None, "{kind}");
        }
        assert_eq!(parse_error(&message(2, 0)[..7]), None);
    }

    /// RFC 4443 §2.3
    #[test]
    fn what_is_written_is_read_and_sums() {
        let mut b = [0u8; 64];
        let problem = Problem { code: 2, pointer: 0x0102_0304, to_groups_too: true };
        assert_eq!(Emit::ParameterProblem(problem).write(&[7; 40], &mut b), Some(48));
        assert_eq!(b[..8], [4, 2, 0, 0, 1, 2, 3, 4]);
        assert_eq!(Emit::PortUnreachable.write(&[0x60; 48], &mut b), Some(56));
        assert_eq!(parse_error(&b[..56]), Some(Error::Hard(SocketError::ConnectionRefused)));
        seal(&mut b[..56], 0x1234);
        assert!(checksum::intact(checksum::add(0x1234, checksum::sum(&b[..56]))));
        assert_eq!(Emit::PortUnreachable.write(&[0; 60], &mut b), None);
    }
}
