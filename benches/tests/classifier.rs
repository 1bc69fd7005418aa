//! The compiled policy answers as one that tries rule after rule, on sets of the shapes that are measured.

use ringroad_benches::policies::{Family, Kind, Random, first_match, flows, policy};
use stack::policy::{Policy, Via};
use stack::types::{Direction, Protocol};

/// Sets of each kind and family.
const SETS: u64 = 6;
/// Rules of a set, and of one that takes long to compile, at the most.
const RULES: usize = 3000;
const NESTED: usize = 300;
/// Flows tried of each.
const FLOWS: usize = 400;

#[test]
fn equals_trying_each_rule() {
    for kind in [Kind::Peers, Kind::Ports, Kind::Mixed, Kind::Providers, Kind::Nested] {
        for family in [Family::V4, Family::V6] {
            for seed in 0..SETS {
                let mut random = Random::new(seed);
                let most = if kind == Kind::Nested { NESTED } else { RULES };
                let spec = policy(kind, family, 1 + random.below(most), seed);
                let compiled = Policy::compile(&spec).unwrap();
                for mut key in flows(&spec, seed).into_iter().take(FLOWS) {
                    key.protocol = [Protocol::Tcp, Protocol::Udp][random.below(2)];
                    let direction = [Direction::In, Direction::Out][random.below(2)];
                    let expected = first_match(&spec.tables[0].rules, &key, direction);
                    let found = compiled.judge(&key, direction, Via::OTHER).rule;
                    assert_eq!(found, expected, "{kind:?} {family:?}, seed {seed}: {key:?} {direction:?}");
                }
            }
        }
    }
}

#[test]
fn a_hundred_thousand_rules_are_exact() {
    let (kind, seed) = (Kind::Providers, 99);
    let spec = policy(kind, Family::V4, 100_000, seed);
    let compiled = Policy::compile(&spec).unwrap();
    for key in flows(&spec, seed).into_iter().take(300) {
        let expected = first_match(&spec.tables[0].rules, &key, Direction::In);
        assert_eq!(compiled.judge(&key, Direction::In, Via::OTHER).rule, expected, "seed {seed}: {key:?}");
    }
}
