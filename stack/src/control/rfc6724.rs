//! Source address selection for IPv6 (RFC 6724 §5).
//!
//! Rule 4 (home addresses) has no meaning here, rule 7 (temporary addresses) is off, as in Linux when
//! net.ipv6.conf.*.use_tempaddr is.

use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};

use super::addresses::Address;
use crate::types::{IfaceId, is_link_local};

/// The best of `candidates` to send to `destination` from when `iface` is the way out. An address of one link
/// is a candidate on that link only.
pub(super) fn select(candidates: &[Address], destination: Ipv6Addr, iface: IfaceId) -> Option<Ipv6Addr> {
    let on_link = is_link_local(&destination);
    let usable = candidates.iter().filter_map(|c| {
        let IpAddr::V6(address) = c.address else { return None };
        let strays = c.iface != iface && (on_link || is_link_local(&address));
        (!strays).then_some((c, address))
    });
    // `max_by_key` takes the last of equals, so the first has to come last.
    usable.rev().max_by_key(|(c, address)| rank(c, *address, destination, iface)).map(|(_, address)| address)
}

/// Rules 1, 2, 3, 5, 6 and 8, the first that tells two candidates apart decides; more is better.
fn rank(c: &Address, address: Ipv6Addr, destination: Ipv6Addr, iface: IfaceId) -> impl Ord + use<> {
    let (own, theirs) = (scope(address), scope(destination));
    // Rule 2: the smallest scope that reaches there; when none does, the largest.
    let by_scope = if own >= theirs { (true, Reverse(own)) } else { (false, Reverse(u8::MAX - own)) };
    let common = common_prefix(address, destination).min(u32::from(c.prefix));
    (
        address == destination,
        by_scope,
        !c.deprecated,
        c.iface == iface,
        label(address) == label(destination),
        common,
    )
}

/// RFC 4291 §2.7's numbers; RFC 6724 §3.1.
fn scope(address: Ipv6Addr) -> u8 {
    let [first, second, ..] = address.octets();
    match first {
        0xff => second & 0x0f,
        _ if is_link_local(&address) || address.is_loopback() => 2,
        0xfe if second & 0xc0 == 0xc0 => 5,
        _ => 14,
    }
}

/// The labels of RFC 6724 §2.1's default table.
fn label(address: Ipv6Addr) -> u8 {
    let s = address.segments();
    match s {
        [0, 0, 0, 0, 0, 0, 0, 1] => 0,
        [0, 0, 0, 0, 0, 0xffff, ..] => 4,
        [0, 0, 0, 0, 0, 0, ..] => 3,
        [0x2002, ..] => 2,
        [0x2001, 0, ..] => 5,
        [0x3ffe, ..] => 12,
        [first, ..] if first & 0xfe00 == 0xfc00 => 13,
        [first, ..] if first & 0xffc0 == 0xfec0 => 11,
        _ => 1,
    }
}

/// Bits that two addresses have in common from the left.
pub(super) fn common_prefix(a: Ipv6Addr, b: Ipv6Addr) -> u32 {
    (a.to_bits() ^ b.to_bits()).leading_zeros()
}

#[cfg(test)]
mod tests {
    //! RFC 6724 §5 and the examples of §10.1.

    use super::*;

    const ETH: IfaceId = IfaceId(2);

    fn select_from(sources: &[&str], destination: &str) -> String {
        let candidates: Vec<Address> = sources
            .iter()
            .map(|s| Address { iface: ETH, address: s.parse().unwrap(), prefix: 64, deprecated: false })
            .collect();
        select(&candidates, destination.parse().unwrap(), ETH).map_or_else(String::new, |a| a.to_string())
    }

    #[test]
    fn the_examples_of_section_10_1() {
        assert_eq!(select_from(&["2001:db8:3::1", "fe80::1"], "2001:db8:1::1"), "2001:db8:3::1");
        assert_eq!(select_from(&["fe80::1", "2001:db8:3::1"], "ff05::1"), "2001:db8:3::1");
        assert_eq!(select_from(&["2001:db8:1::1", "2001:db8:3::2"], "2001:db8:1::1"), "2001:db8:1::1");
        assert_eq!(select_from(&["2001:db8:1::2", "2001:db8:3::2"], "2001:db8:1::1"), "2001:db8:1::2");
        assert_eq!(select_from(&["fe80::2", "2001:db8:1::2"], "fe80::1"), "fe80::2");
        assert_eq!(
            select_from(&["2001:db8:1::2", "2002:c633:6401::2"], "2002:c633:6401::1"),
            "2002:c633:6401::2"
        );
        assert_eq!(select_from(&["2001:db8::2", "fd00:7::2"], "fd00:9::1"), "fd00:7::2");
    }

    #[test]
    fn deprecated_addresses_and_other_interfaces_come_second() {
        let of = |iface, address: &str, deprecated| Address {
            iface,
            address: address.parse().unwrap(),
            prefix: 64,
            deprecated,
        };
        let other = IfaceId(9);
        let to: Ipv6Addr = "2001:db8:1::1".parse().unwrap();
        let best = |candidates: &[Address]| select(candidates, to, ETH).map(|a| a.to_string());
        let here = of(ETH, "2001:db8:1::2", true);
        let there = of(other, "2001:db8:9::2", false);
        // Rule 3 goes before rule 5, rule 5 before rule 8.
        assert_eq!(best(&[here, there]).as_deref(), Some("2001:db8:9::2"));
        assert_eq!(
            best(&[of(ETH, "2001:db8:7::2", false), of(other, "2001:db8:1::2", false)]).as_deref(),
            Some("2001:db8:7::2")
        );
        assert_eq!(best(&[here]).as_deref(), Some("2001:db8:1::2"));
        // Of equals the first.
        assert_eq!(
            best(&[of(ETH, "2001:db8:1::9", false), of(ETH, "2001:db8:1::8", false)]).as_deref(),
            Some("2001:db8:1::9")
        );
        // An address of another link is no candidate.
        assert_eq!(best(&[of(other, "fe80::1", false)]), None);
    }
}
