//! Rules that can never match, because an earlier one takes all that they would.

use std::sync::Arc;

use stack::policy::{AddressSet, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec};

/// Comparisons after which nothing more is said of a table.
const COMPARISONS: usize = 20_000_000;
/// Of larger sets that an earlier rule does not name as such nothing is said.
const LOOKED_AT: usize = 64;

/// For each rule of a table, the first earlier rule that alone matches everything it matches.
pub(super) fn shadows(rules: &[RuleSpec]) -> Vec<Option<usize>> {
    let mut all: Vec<(Place, usize)> = Vec::with_capacity(rules.len());
    // Of most lengths there is no prefix: nobody looks for one.
    let mut lengths = [false; 129];
    for (number, rule) in rules.iter().enumerate() {
        rule.remotes.iter().for_each(|prefix| lengths[usize::from(prefix.len())] = true);
        let own = rule.remotes.iter().map(|p| Place::Prefix(*p)).chain(rule.remote_sets.iter().map(set));
        all.extend(own.map(|place| (place, number)));
    }
    all.sort_unstable();
    let mut left = COMPARISONS;
    let mut found = Vec::with_capacity(rules.len());
    for (number, rule) in rules.iter().enumerate() {
        // Whoever matches all of it matches its first remote: by one that holds that, or by the same set.
        let mut earlier = None;
        for place in places(rule, &lengths) {
            let there = &all[all.partition_point(|(other, _)| *other < place)..];
            let before =
                there.iter().take_while(|(other, at)| *at < number && *other == place).map(|(_, at)| *at);
            let compared = before.take_while(|at| earlier.is_none_or(|first| *at < first)).take(left);
            let mut n = 0;
            let hit = compared.inspect(|_| n += 1).find(|at| covers(&rules[*at], rule));
            left -= n;
            earlier = hit.or(earlier);
        }
        found.push(earlier);
    }
    found
}

/// Something that rules are for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Prefix(Prefix),
    Set(*const AddressSet),
}

fn set(set: &Arc<AddressSet>) -> Place {
    Place::Set(Arc::as_ptr(set))
}

/// What holds the first remote of a rule, of those lengths that there are.
fn places(rule: &RuleSpec, lengths: &[bool; 129]) -> impl Iterator<Item = Place> {
    let own = rule.remote_sets.first().filter(|_| rule.remotes.is_empty());
    let first = rule.remotes.first().or(own.and_then(|set| set.prefixes.first()));
    let round = move |prefix: &Prefix| {
        let address = prefix.address();
        let there = (0..=prefix.len()).filter(|len| lengths[usize::from(*len)]);
        there.filter_map(move |len| Prefix::new(address, len)).map(Place::Prefix)
    };
    own.map(set).into_iter().chain(first.map(round).into_iter().flatten())
}

fn covers(earlier: &RuleSpec, later: &RuleSpec) -> bool {
    (earlier.direction == RuleDirection::Both || earlier.direction == later.direction)
        && (earlier.protocol == later.protocol
            || (earlier.protocol == RuleProtocol::Any && !later.protocol.is_icmp()))
        && covers_interfaces(earlier, later)
        && later.icmp_types.iter().all(|range| covers_ports(&earlier.icmp_types, *range))
        && later.local_ports.iter().all(|range| covers_ports(&earlier.local_ports, *range))
        && later.remote_ports.iter().all(|range| covers_ports(&earlier.remote_ports, *range))
        && later.remotes.iter().all(|inner| earlier.remotes.iter().any(|outer| covers_network(outer, inner)))
        && later.remote_sets.iter().all(|set| covers_set(earlier, set))
}

fn covers_interfaces(earlier: &RuleSpec, later: &RuleSpec) -> bool {
    earlier.interfaces.is_empty()
        || (!later.interfaces.is_empty() && later.interfaces.iter().all(|name| earlier.holds_by(Some(name))))
}

fn covers_set(earlier: &RuleSpec, set: &Arc<AddressSet>) -> bool {
    earlier.remote_sets.iter().any(|other| Arc::ptr_eq(other, set))
        || earlier.is_for_all()
        || (set.prefixes.len() <= LOOKED_AT
            && set
                .prefixes
                .iter()
                .all(|inner| earlier.remotes.iter().any(|outer| covers_network(outer, inner))))
}

/// Whether every port of `range` is in one of `ranges`.
fn covers_ports(ranges: &[PortRange], range: PortRange) -> bool {
    let mut next = range.first;
    loop {
        match ranges.iter().filter(|r| r.contains(next)).map(|r| r.last).max() {
            None => return false,
            Some(last) if last >= range.last => return true,
            Some(last) => next = last + 1,
        }
    }
}

fn covers_network(outer: &Prefix, inner: &Prefix) -> bool {
    outer.len() <= inner.len() && outer.contains(inner.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_together() {
        let range = |first, last| PortRange { first, last };
        let ranges = [range(100, 200), range(10, 20), range(21, 99), range(65_000, 65_535)];
        assert!(covers_ports(&ranges, range(10, 200)));
        assert!(covers_ports(&ranges, range(65_535, 65_535)));
        assert!(!covers_ports(&ranges, range(9, 20)));
        assert!(!covers_ports(&ranges, range(150, 201)));
        assert!(!covers_ports(&[], range(1, 1)));
    }

    #[test]
    fn networks_cover_what_lies_in_them() {
        let prefix = |text: &str, len| Prefix::new(text.parse().unwrap(), len).unwrap();
        assert!(covers_network(&prefix("10.0.0.0", 8), &prefix("10.1.0.0", 16)));
        assert!(covers_network(&prefix("10.0.0.0", 8), &prefix("10.0.0.0", 8)));
        assert!(!covers_network(&prefix("10.1.0.0", 16), &prefix("10.0.0.0", 8)));
        assert!(!covers_network(&prefix("10.1.0.0", 16), &prefix("10.2.0.0", 16)));
        assert!(!covers_network(&Prefix::ANY_V4, &Prefix::ANY_V6));
    }
}
