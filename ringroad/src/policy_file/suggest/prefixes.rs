//! Many addresses, few prefixes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use stack::policy::Prefix;

/// Addresses, or networks, that are named one by one within the next larger network; where there are more, that is named.
const FEW: usize = 8;
/// Prefixes of a family that a rule names; where there are more, it is for everybody.
const MOST: usize = 16;
/// Networks as they are given out, from the smallest.
const LEVELS_V4: [u8; 2] = [24, 16];
const LEVELS_V6: [u8; 3] = [64, 48, 32];

/// The others whom a rule is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Remotes {
    /// These.
    These(Vec<IpAddrPrefix>),
    /// Everybody.
    Any,
}

/// A prefix in the order of addresses.
pub(super) type IpAddrPrefix = (IpAddr, u8);

/// The prefixes that hold all of `addresses`.
pub(super) fn gather(addresses: &BTreeSet<IpAddr>) -> Remotes {
    let family = |v4: bool| -> Vec<IpAddrPrefix> {
        let longest = if v4 { 32 } else { 128 };
        addresses.iter().filter(|a| a.is_ipv4() == v4).map(|a| (*a, longest)).collect()
    };
    let (v4, v6) = (widen(family(true), &LEVELS_V4), widen(family(false), &LEVELS_V6));
    match (v4, v6) {
        (Some(v4), Some(v6)) => Remotes::These([v4, v6].concat()),
        _ => Remotes::Any,
    }
}

/// Goes from network to larger network; none when there are too many still.
fn widen(mut prefixes: Vec<IpAddrPrefix>, levels: &[u8]) -> Option<Vec<IpAddrPrefix>> {
    for &level in levels {
        let mut within: BTreeMap<IpAddr, Vec<IpAddrPrefix>> = BTreeMap::new();
        for (address, len) in prefixes {
            let network = Prefix::new(address, level.min(len)).map_or(address, |prefix| prefix.address());
            within.entry(network).or_default().push((address, len));
        }
        prefixes = within
            .into_iter()
            .flat_map(|(network, inside)| if inside.len() > FEW { vec![(network, level)] } else { inside })
            .collect();
    }
    (prefixes.len() <= MOST).then_some(prefixes)
}
