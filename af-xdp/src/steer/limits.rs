//! What may be steered at all, whoever drives the port: for users that an agent opens an interface for.

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::keys::sixteen;

/// Entries of each kind (`STEER_LIMITS`).
pub(super) const MOST: usize = 16;

/// Local addresses and local ports that may be steered away from the kernel. An empty list is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// The ports.
    pub ports: Vec<RangeInclusive<u16>>,
}

/// `struct steer_limits`.
pub(super) const SIZE: usize = 8 + MOST * 16 + 2 * MOST * 2;

impl Limits {
    /// As the program reads them.
    pub(super) fn bytes(&self) -> io::Result<[u8; SIZE]> {
        if self.addresses.len() > MOST || self.ports.len() > MOST {
            let words = format!("more than {MOST} addresses or ranges of ports");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&(self.addresses.len() as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&(self.ports.len() as u32).to_ne_bytes());
        for (at, address) in self.addresses.iter().enumerate() {
            bytes[8 + at * 16..][..16].copy_from_slice(&sixteen(*address));
        }
        for (at, ports) in self.ports.iter().enumerate() {
            let first = 8 + MOST * 16 + at * 2;
            bytes[first..][..2].copy_from_slice(&ports.start().to_ne_bytes());
            bytes[first + MOST * 2..][..2].copy_from_slice(&ports.end().to_ne_bytes());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_lie_where_the_program_reads_them() {
        let limits = Limits { addresses: vec![[10, 0, 0, 1].into()], ports: vec![80..=80, 8000..=8099] };
        let bytes = limits.bytes().unwrap();
        assert_eq!((bytes[0], bytes[4]), (1, 2));
        assert_eq!(bytes[18..24], [0xff, 0xff, 10, 0, 0, 1]);
        let short = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        assert_eq!((short(264), short(266), short(296), short(298)), (80, 8000, 80, 8099));
        assert!(Limits::default().bytes().unwrap().iter().all(|b| *b == 0));
        assert!(Limits { ports: vec![1..=1; 17], ..Limits::default() }.bytes().is_err());
    }
}
