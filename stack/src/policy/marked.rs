//! Addresses whose flows are recorded in full.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::image::{Reader, Writer};
use super::nest::{Block, NONE, Steps, nest};
use super::ready::block;
use super::spec::Prefix;

/// The marked addresses, found in nanoseconds.
#[derive(Debug)]
pub struct Marked {
    prefixes: Vec<Prefix>,
    v4: Steps<u32>,
    v6: Steps<u128>,
}

impl Marked {
    /// Those in `prefixes`; `None`: there are none.
    pub(super) fn of(prefixes: &[Prefix]) -> Option<Self> {
        let mut prefixes = prefixes.to_vec();
        prefixes.sort_unstable();
        prefixes.dedup();
        let (v4, v6): (Vec<Prefix>, Vec<Prefix>) = prefixes.iter().partition(|p| p.address().is_ipv4());
        let blocks = |of: &[Prefix]| of.iter().map(block).collect::<Vec<Block>>();
        let (v4, v6) = (nest::<u32>(&blocks(&v4)).0, nest::<u128>(&blocks(&v6)).0);
        (!prefixes.is_empty()).then(|| Self { v4: Steps::new(&v4), v6: Steps::new(&v6), prefixes })
    }

    pub(super) fn write(&self, to: &mut Writer) {
        let (bits, lens): (Vec<u128>, Vec<u8>) = self.prefixes.iter().map(block).unzip();
        to.word(self.prefixes.iter().filter(|prefix| prefix.address().is_ipv4()).count() as u32);
        to.list(&bits);
        to.list(&lens);
    }

    /// They are made anew: there are few.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (v4, bits, lens) = (from.word()? as usize, from.list::<u128>()?, from.list::<u8>()?);
        let prefix = |(at, (&bits, &len)): (usize, (&u128, &u8))| {
            // Those of IPv4 come first.
            let address = match at < v4 {
                true => Ipv4Addr::from_bits(u32::try_from(bits).ok()?).into(),
                false => Ipv6Addr::from_bits(bits).into(),
            };
            Prefix::new(address, len)
        };
        let prefixes = bits.iter().zip(&*lens).enumerate().map(prefix).collect::<Option<Vec<_>>>()?;
        Self::of(&prefixes).filter(|_| bits.len() == lens.len())
    }

    /// Whether an address is one of them.
    #[inline]
    pub fn holds(&self, address: IpAddr) -> bool {
        let found = match address {
            IpAddr::V4(v4) => self.v4.find(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.find(v6.to_bits()),
        };
        found != NONE
    }
}

impl PartialEq for Marked {
    fn eq(&self, other: &Self) -> bool {
        self.prefixes == other.prefixes
    }
}

impl Eq for Marked {}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(prefixes: &[(&str, u8)]) -> Option<Marked> {
        let prefix = |&(address, len): &(&str, u8)| Prefix::new(address.parse().unwrap(), len).unwrap();
        Marked::of(&prefixes.iter().map(prefix).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_in_any_of_them_are_marked() {
        let all =
            [("10.1.0.0", 16), ("10.1.2.0", 24), ("192.0.2.7", 32), ("2001:db8::", 32), ("192.0.2.7", 32)];
        let marked = marked(&all).unwrap();
        for (address, is) in [
            ("10.0.255.255", false),
            ("10.1.0.0", true),
            ("10.1.2.255", true),
            ("10.1.3.0", true),
            ("10.2.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
            ("::", false),
        ] {
            assert_eq!(marked.holds(address.parse().unwrap()), is, "{address}");
        }
    }

    #[test]
    fn the_same_addresses_are_the_same_in_any_order() {
        let (a, b) = (("10.1.0.0", 16), ("2001:db8::", 32));
        assert_eq!(marked(&[a, b]), marked(&[b, a, b]));
        assert_ne!(marked(&[a]), marked(&[b]));
        assert_eq!(marked(&[]), None);
    }
}
