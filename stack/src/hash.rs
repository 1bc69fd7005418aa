//! Keyed hashing of flows: SipHash (Aumasson and Bernstein, 2012).
//!
//! A peer chooses its ports and may choose its addresses; with a secret key it still cannot choose buckets.
//! Keys are packed into whole words, the last of which carries the message's length as SipHash wants it, so
//! the result is SipHash of a message of `8 × words − 1` bytes: messages of different lengths never meet.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::types::{FlowKey, LocalKey, Protocol, scope_id};

/// A secret of 128 bits, drawn from the system's randomness when a stack is made.
#[derive(Clone, Copy)]
pub struct HashKey {
    k0: u64,
    k1: u64,
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

impl HashKey {
    /// A key from 16 random bytes.
    pub const fn new(secret: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(secret);
        Self { k0: bits as u64, k1: (bits >> 64) as u64 }
    }

    /// A key of its own for the purpose `label`, so that what one use reveals helps nobody with another.
    pub fn derive(&self, label: u64) -> Self {
        Self { k0: self.sip24(&[label, 0]), k1: self.sip24(&[label, 1]) }
    }

    /// SipHash-1-3: for tables. The top byte of the last word must be zero.
    #[inline]
    pub fn sip13(&self, words: &[u64]) -> u64 {
        self.sip::<1, 3>(words)
    }

    /// SipHash-2-4: for values that peers see. The top byte of the last word must be zero.
    #[inline]
    pub fn sip24(&self, words: &[u64]) -> u64 {
        self.sip::<2, 4>(words)
    }

    #[inline(always)]
    fn sip<const C: usize, const D: usize>(&self, words: &[u64]) -> u64 {
        let mut v = [
            self.k0 ^ 0x736f_6d65_7073_6575,
            self.k1 ^ 0x646f_7261_6e64_6f6d,
            self.k0 ^ 0x6c79_6765_6e65_7261,
            self.k1 ^ 0x7465_6462_7974_6573,
        ];
        let last = words.len().wrapping_sub(1);
        for (i, &word) in words.iter().enumerate() {
            let word = if i == last { word | ((words.len() * 8 - 1) as u64) << 56 } else { word };
            v[3] ^= word;
            for _ in 0..C {
                round(&mut v);
            }
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        for _ in 0..D {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

#[inline(always)]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// A flow packed into words, by address family. The last word is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowWords {
    /// Both addresses; ports and protocol.
    V4([u64; 2]),
    /// Local address, remote address; ports and protocol.
    V6([u64; 5]),
}

impl FlowWords {
    /// Packs `key`. IPv4-mapped addresses are IPv4; the flow label is no part of a flow, the scope of a
    /// link-local address is (16 bits of it fit; the kernel's indices are small).
    #[inline]
    pub fn new(key: &FlowKey) -> Self {
        match (&key.local, &key.remote) {
            (SocketAddr::V4(local), SocketAddr::V4(remote)) => {
                Self::v4(key.protocol, (*local.ip(), local.port()), (*remote.ip(), remote.port()))
            }
            _ => Self::of_any(key),
        }
    }

    #[inline(never)]
    fn of_any(key: &FlowKey) -> Self {
        let (local, remote) = (key.local.port(), key.remote.port());
        match (key.local.ip().to_canonical(), key.remote.ip().to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => Self::v4(key.protocol, (a, local), (b, remote)),
            (a, b) => Self::v6(key.protocol, (mapped(a), local), (mapped(b), remote), scope_id(&key.remote)),
        }
    }

    /// Packs the parts of a [`FlowKey`] of IPv4.
    #[inline(always)]
    pub fn v4(protocol: Protocol, local: (Ipv4Addr, u16), remote: (Ipv4Addr, u16)) -> Self {
        Self::V4(v4_words(protocol, local, remote))
    }

    /// Packs the parts of a [`FlowKey`] of IPv6, whose remote end has that scope.
    #[inline(always)]
    pub fn v6(protocol: Protocol, local: (Ipv6Addr, u16), remote: (Ipv6Addr, u16), scope: u32) -> Self {
        let ([l0, l1], [r0, r1]) = (words(local.0), words(remote.0));
        let scope = u64::from(scope as u16) << 40;
        Self::V6([l0, l1, r0, r1, tail(protocol, local.1, remote.1) | scope])
    }

    /// Whether they are those of `key`, in which no address is IPv4-mapped.
    #[inline(always)]
    pub fn are_of(&self, key: &FlowKey) -> bool {
        match (self, &key.local, &key.remote) {
            (Self::V4(words), SocketAddr::V4(local), SocketAddr::V4(remote)) => {
                *words == v4_words(key.protocol, (*local.ip(), local.port()), (*remote.ip(), remote.port()))
            }
            (Self::V6(_), SocketAddr::V6(local), SocketAddr::V6(remote)) => {
                self.are_of_v6(key.protocol, local, remote)
            }
            _ => false,
        }
    }

    #[inline(never)]
    fn are_of_v6(&self, protocol: Protocol, local: &SocketAddrV6, remote: &SocketAddrV6) -> bool {
        let (local, port) = (*local.ip(), local.port());
        *self == Self::v6(protocol, (local, port), (*remote.ip(), remote.port()), remote.scope_id())
    }

    /// SipHash-1-3 of the words.
    #[inline(always)]
    pub fn hash(&self, key: &HashKey) -> u64 {
        match self {
            Self::V4(words) => key.sip13(words),
            Self::V6(words) => Self::hash_v6(words, key),
        }
    }

    #[inline(never)]
    fn hash_v6(words: &[u64; 5], key: &HashKey) -> u64 {
        key.sip13(words)
    }

    /// Some bits of them, which anybody can foresee: for what only guesses.
    #[inline(always)]
    pub fn shape(&self) -> u64 {
        let (remote, tail) = match *self {
            Self::V4([addresses, tail]) => (addresses, tail),
            Self::V6([_, _, network, host, tail]) => (network ^ host, tail),
        };
        (remote ^ tail.rotate_left(20)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// SipHash-2-4 of the words.
    pub fn strong_hash(&self, key: &HashKey) -> u64 {
        match self {
            Self::V4(words) => key.sip24(words),
            Self::V6(words) => key.sip24(words),
        }
    }

    /// SipHash-2-4 of the words and one more.
    pub fn strong_hash_with(&self, key: &HashKey, word: u64) -> u64 {
        match *self {
            Self::V4([addresses, tail]) => key.sip24(&[addresses, word, tail]),
            Self::V6([a, b, c, d, tail]) => key.sip24(&[a, b, c, d, word, tail]),
        }
    }
}

#[inline(always)]
fn v4_words(protocol: Protocol, local: (Ipv4Addr, u16), remote: (Ipv4Addr, u16)) -> [u64; 2] {
    let addresses = u64::from(local.0.to_bits()) << 32 | u64::from(remote.0.to_bits());
    [addresses, tail(protocol, local.1, remote.1)]
}

#[inline]
fn tail(protocol: Protocol, local: u16, remote: u16) -> u64 {
    u64::from(protocol as u8) << 32 | u64::from(local) << 16 | u64::from(remote)
}

/// A local endpoint packed into words, by address family. The last word is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalWords {
    /// Address, port and protocol.
    V4([u64; 1]),
    /// Address; port and protocol.
    V6([u64; 3]),
}

impl LocalWords {
    /// Packs `key`. IPv4-mapped addresses are IPv4.
    #[inline]
    pub fn new(key: &LocalKey) -> Self {
        Self::pack(key.protocol, key.address, key.port)
    }

    /// Packs the parts of a [`LocalKey`].
    #[inline]
    pub fn pack(protocol: Protocol, address: IpAddr, port: u16) -> Self {
        let tail = u64::from(port) << 8 | u64::from(protocol as u8);
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4([u64::from(v4.to_bits()) << 24 | tail]),
            v6 => {
                let [high, low] = address_words(v6);
                Self::V6([high, low, tail])
            }
        }
    }
}

/// An address as two words; IPv4 in its mapped form.
#[inline]
pub(crate) fn address_words(address: IpAddr) -> [u64; 2] {
    words(mapped(address))
}

#[inline]
fn words(address: Ipv6Addr) -> [u64; 2] {
    let bits = address.to_bits();
    [(bits >> 64) as u64, bits as u64]
}

#[inline]
fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::hash_map::DefaultHasher;
    use std::hash::Hasher;

    /// The reference implementation's vectors for key 00..0f and messages 00, 0001, 000102, …
    #[test]
    fn siphash_2_4_vectors() {
        let key = HashKey::new(core::array::from_fn(|i| i as u8));
        // Length 7 and length 15 are whole words with the length's byte.
        let seven = 0x0006_0504_0302_0100;
        assert_eq!(key.sip24(&[seven]), 0xab02_00f5_8b01_d137);
        let fifteen = [0x0706_0504_0302_0100, 0x000e_0d0c_0b0a_0908];
        assert_eq!(key.sip24(&fifteen), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn siphash_1_3_is_that_of_std() {
        // DefaultHasher is SipHash-1-3 with a zero key.
        let key = HashKey::new([0; 16]);
        for words in [vec![7], vec![1, 2], vec![u64::MAX, 3, 4, 5, 0x00ff_ffff_ffff_ffff]] {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            let mut std = DefaultHasher::new();
            std.write(&bytes[..bytes.len() - 1]);
            assert_eq!(key.sip13(&words), std.finish(), "{words:?}");
        }
    }

    #[test]
    fn flows_pack_by_family() {
        let flow = |local: &str, remote: &str| {
            FlowWords::new(&FlowKey {
                protocol: Protocol::Tcp,
                local: local.parse().unwrap(),
                remote: remote.parse().unwrap(),
            })
        };
        let v4 = flow("10.0.0.1:80", "10.0.0.2:4660");
        assert_eq!(v4, FlowWords::V4([0x0a00_0001_0a00_0002, 0x06_0050_1234]));
        assert_eq!(flow("[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:4660"), v4);
        let v6 = flow("[2001:db8::1]:80", "[2001:db8::2]:4660");
        assert_eq!(v6, FlowWords::V6([0x2001_0db8_0000_0000, 1, 0x2001_0db8_0000_0000, 2, 0x06_0050_1234]));
        assert!(matches!(flow("10.0.0.1:80", "[2001:db8::2]:4660"), FlowWords::V6(_)));
        let one_link = flow("[fe80::1%3]:80", "[fe80::2%3]:4660");
        assert_ne!(one_link, flow("[fe80::1%4]:80", "[fe80::2%4]:4660"));
    }

    #[test]
    fn derived_keys_differ() {
        let key = HashKey::new([7; 16]);
        assert_ne!(key.derive(1).sip13(&[1]), key.derive(2).sip13(&[1]));
        assert_eq!(format!("{key:?}"), "HashKey(secret)");
    }

    #[test]
    fn the_words_of_a_flow_are_of_no_other() {
        let flows = [
            ("10.0.0.1:80", "10.0.0.2:1000"),
            ("10.0.0.1:81", "10.0.0.2:1000"),
            ("10.0.0.2:80", "10.0.0.2:1000"),
            ("10.0.0.1:80", "10.0.0.3:1000"),
            ("10.0.0.1:80", "10.0.0.2:1001"),
            ("[::a00:1]:80", "[::a00:2]:1000"),
            ("[2001:db8::1]:80", "[2001:db8::2]:1000"),
            ("[fe80::1%3]:80", "[fe80::2%3]:1000"),
            ("[fe80::1%4]:80", "[fe80::2%4]:1000"),
        ];
        let keys = flows.map(|(local, remote)| {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            FlowKey { protocol: Protocol::Tcp, local, remote }
        });
        for (n, key) in keys.iter().enumerate() {
            let words = FlowWords::new(key);
            for (m, other) in keys.iter().enumerate() {
                assert_eq!(words.are_of(other), n == m, "{key:?} {other:?}");
            }
            assert!(!words.are_of(&FlowKey { protocol: Protocol::Udp, ..*key }));
        }
    }
}
