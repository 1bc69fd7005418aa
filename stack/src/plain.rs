//! Values as plain bytes, for another stack on the same host: each field in its order, little-endian, no pointers,
//! no padding. What comes in is not trusted: a value that there is no such thing as is none.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};
use core::num::NonZeroU16;

use crate::seq::Seq;
use crate::time::Instant;
use crate::types::CongestionControl;

/// What can be written as bytes and read back.
pub trait Plain: Sized {
    /// Appends the value.
    fn put(&self, to: &mut Vec<u8>);

    /// Takes the value off the front; none when it is not there.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! integers {
    ($($name:ident)*) => { $(
        impl Plain for $name {
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        }
    )* };
}

integers!(u8 u16 u32 u64 u128 i16 i32);

/// Has a struct written field by field, those behind `but` left at their defaults. A field in neither list does not
/// compile: whoever adds one decides.
macro_rules! plain {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::plain::Plain for $name {
            fn put(&self, to: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($crate::plain::Plain::put($field, to);)*
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::plain::Plain::take(from)?),* })
            }
        }
    };
    ($name:ident { $($field:ident),* $(,)? } but { $($left:ident),* $(,)? }) => {
        impl $crate::plain::Plain for $name {
            fn put(&self, to: &mut Vec<u8>) {
                let Self { $($field,)* $($left: _),* } = self;
                $($crate::plain::Plain::put($field, to);)*
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::plain::Plain::take(from)?,)* ..Self::default() })
            }
        }
    };
}

pub(crate) use plain;

impl Plain for bool {
    fn put(&self, to: &mut Vec<u8>) {
        u8::from(*self).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Plain for Seq {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        u32::take(from).map(Seq)
    }
}

impl Plain for Instant {
    fn put(&self, to: &mut Vec<u8>) {
        self.as_nanos().put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        u64::take(from).map(Instant::from_nanos)
    }
}

impl Plain for CongestionControl {
    fn put(&self, to: &mut Vec<u8>) {
        let at = Self::ALL.iter().position(|c| c == self).unwrap_or_default();
        (at as u8).put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Self::ALL.get(usize::from(u8::take(from)?)).copied()
    }
}

impl<T: Plain> Plain for Option<T> {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_some().put(to);
        if let Some(value) = self {
            value.put(to);
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        if bool::take(from)? { T::take(from).map(Some) } else { Some(None) }
    }
}

impl Plain for NonZeroU16 {
    fn put(&self, to: &mut Vec<u8>) {
        self.get().put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Self::new(u16::take(from)?)
    }
}

impl<A: Plain, B: Plain> Plain for (A, B) {
    fn put(&self, to: &mut Vec<u8>) {
        self.0.put(to);
        self.1.put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

/// As long as it says, and no longer than what is there.
impl Plain for Vec<u8> {
    fn put(&self, to: &mut Vec<u8>) {
        (self.len() as u32).put(to);
        to.extend_from_slice(self);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let len = u32::take(from)? as usize;
        let (bytes, rest) = from.split_at_checked(len)?;
        *from = rest;
        Some(bytes.to_vec())
    }
}

/// The address with its scope; flow labels are not an address's.
impl Plain for SocketAddr {
    fn put(&self, to: &mut Vec<u8>) {
        self.is_ipv4().put(to);
        match self {
            SocketAddr::V4(v4) => v4.ip().to_bits().put(to),
            SocketAddr::V6(v6) => (v6.ip().to_bits(), v6.scope_id()).put(to),
        }
        self.port().put(to);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        if bool::take(from)? {
            let ip = IpAddr::V4(u32::take(from)?.into());
            Some(SocketAddr::new(ip, u16::take(from)?))
        } else {
            let (ip, scope) = <(u128, u32)>::take(from)?;
            Some(SocketAddrV6::new(ip.into(), u16::take(from)?, 0, scope).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<T: Plain + PartialEq + core::fmt::Debug>(value: T) {
        let mut bytes = Vec::new();
        value.put(&mut bytes);
        assert_eq!(T::take(&mut &bytes[..]).as_ref(), Some(&value));
        for short in 0..bytes.len() {
            assert_eq!(T::take(&mut &bytes[..short]), None, "{short} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn what_was_written_is_read_and_a_part_of_it_is_nothing() {
        there_and_back(0x1234_5678_u32);
        there_and_back((true, -5_i32));
        there_and_back(Some(Seq(7)));
        there_and_back(None::<u64>);
        there_and_back(Instant::NEVER);
        there_and_back(b"octets".to_vec());
        there_and_back("192.0.2.1:80".parse::<SocketAddr>().unwrap());
        there_and_back(SocketAddr::from(SocketAddrV6::new("fe80::1".parse().unwrap(), 443, 0, 3)));
        CongestionControl::ALL.iter().for_each(|c| there_and_back(*c));
    }

    #[test]
    fn what_there_is_not_is_not_read() {
        assert_eq!(bool::take(&mut &[2][..]), None);
        assert_eq!(CongestionControl::take(&mut &[200][..]), None);
        assert_eq!(NonZeroU16::take(&mut &[0, 0][..]), None);
        assert_eq!(Vec::take(&mut &[255, 255, 255, 255, 1, 2][..]), None, "longer than there is");
    }
}
