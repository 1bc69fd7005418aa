//! Rules that can never match, because an earlier one takes all that they would.

use stack::policy::{PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec};

/// Of longer tables nothing is said: each rule is compared with all before it.
const LONGEST: usize = 4096;

/// For each rule of a table, the first earlier rule that alone matches everything it matches.
pub(super) fn shadows(rules: &[RuleSpec]) -> Vec<Option<usize>> {
    if rules.len() > LONGEST {
        return vec![None; rules.len()];
    }
    (0..rules.len()).map(|n| rules[..n].iter().position(|earlier| covers(earlier, &rules[n]))).collect()
}

fn covers(earlier: &RuleSpec, later: &RuleSpec) -> bool {
    (earlier.direction == RuleDirection::Both || earlier.direction == later.direction)
        && (earlier.protocol == RuleProtocol::Any || earlier.protocol == later.protocol)
        && later.local_ports.iter().all(|range| covers_ports(&earlier.local_ports, *range))
        && later.remote_ports.iter().all(|range| covers_ports(&earlier.remote_ports, *range))
        && later.remotes.iter().all(|inner| earlier.remotes.iter().any(|outer| covers_network(outer, inner)))
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
