//! Policies as images: what an image says is what was compiled, and whatever else somebody writes fails no search.

use nic::Frozen;

use super::*;

/// A policy of which every kind of part is in use.
fn rich() -> PolicySpec {
    let mut rules: Vec<RuleSpec> = (0..150_u16)
        .map(|n| {
            let remote = format!("10.{}.{}.0/{}", n % 7, n % 50, 16 + n % 9);
            let ports = PortRange { first: n * 28, last: n * 360 };
            let action = if n % 3 == 0 { Action::Deny } else { Action::Allow };
            RuleSpec {
                remote_ports: vec![PortRange { first: n, last: 20_000 + n * 160 }],
                log: n % 50 == 1,
                limit: (n % 40 == 2).then_some(u32::from(n)),
                counter: (n % 5 == 0).then(|| format!("counter {}", n % 20)),
                ..rule(
                    &format!("rule {n}"),
                    &[&remote, "0.0.0.0/0"][usize::from(n % 11 == 0)..][..1],
                    &[ports],
                    action,
                )
            }
        })
        .collect();
    rules[77].interfaces = vec!["eth*".into()];
    let six = Prefix::new("2001:db8::".parse().unwrap(), 32).unwrap();
    rules.extend((0..40).map(|n| RuleSpec {
        remotes: vec![Prefix::new(format!("2001:db8:{n}::").parse().unwrap(), 48).unwrap(), six],
        ..RuleSpec::any(format!("six {n}"), Action::Allow)
    }));
    let mut spec = table(Mode::Monitor, rules);
    spec.tables[0].locals.push(Prefix::host("2001:db8::1".parse().unwrap()));
    let host = |n: u8| TableSpec {
        interfaces: if n.is_multiple_of(2) { Vec::new() } else { vec!["lo".into()] },
        ..TableSpec::of_host([10, 77, 1, n].into(), Mode::Enforce, vec![RuleSpec::any("all", Action::Allow)])
    };
    spec.tables.extend((0..40).map(host));
    spec.shadow = prefixes(&["10.9.0.0/16", "192.0.2.1/32", "2001:db8:9::/48"]);
    spec
}

fn read(bytes: &[u8]) -> Option<Arc<Policy>> {
    Policy::from_image(&Frozen::copied(bytes))
}

/// Flows at all kinds of places of [`rich`].
fn flows() -> Vec<(FlowKey, Direction)> {
    let mut flows = Vec::new();
    for n in 0..200_u16 {
        let remote = format!("10.{}.{}.{}:{}", n % 9, n % 51, n % 256, n.wrapping_mul(331));
        let local = ["10.77.0.1", "10.77.1.7", "10.77.1.8"][usize::from(n % 3)];
        flows.push((flow(&format!("{local}:{}", n.wrapping_mul(101)), &remote), Direction::In));
        let six = format!("[2001:db8:{:x}::{n}]:{n}", n % 50);
        flows.push((flow(&format!("[2001:db8::1]:{n}"), &six), Direction::Out));
    }
    flows
}

#[test]
fn an_image_says_what_was_compiled() {
    let spec = rich();
    let policy = Policy::compile(&spec).unwrap();
    let image = policy.image();
    let read = read(&image).unwrap();
    for (key, direction) in flows() {
        for via in [None, Some("eth1"), Some("lo")] {
            let said = |policy: &Policy| {
                let told = policy.tell(&key, direction, policy.via(via));
                let names = (told.table.map(str::to_owned), told.rule.map(str::to_owned));
                (told.allowed, told.refused, names, policy.judge(&key, direction, policy.via(via)))
            };
            assert_eq!(said(&policy), said(&read), "{key:?} {direction:?} {via:?}");
        }
    }
    let gate = |policy: &Arc<Policy>| Gate::new(Arc::clone(policy), HashKey::new([7; 16]));
    assert_eq!(gate(&policy).snapshot(), gate(&read).snapshot());
    assert_eq!(gate(&policy).snapshot().counters.len(), 4);
    assert_eq!((read.marked(), read.rules()), (policy.marked(), policy.rules()));
    assert_eq!(image, read.image(), "an image of what was read is the same");
}

/// What is known of the form by those who read it must be changed whenever this fails.
#[test]
fn a_form_has_a_number() {
    let image = Policy::compile(&rich()).unwrap().image();
    let sum = image[16..].iter().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    assert_eq!((image.len(), sum), SEEN, "another FORM in image.rs, then these");
}

/// The length and a sum of the image of [`rich`].
const SEEN: (usize, u32) = (135072, 1158558953);

#[test]
fn what_is_cut_short_or_of_another_form_is_no_policy() {
    let image = Policy::compile(&rich()).unwrap().image();
    for len in (0..64).chain([image.len() / 2, image.len() - 1]) {
        assert!(read(&image[..len]).is_none(), "{len}");
    }
    for at in 0..8 {
        let mut other = image.clone();
        other[at] ^= 1;
        assert!(read(&other).is_none(), "{at}");
    }
}

/// Whatever is written over an image, it is refused, or no search in it fails.
#[test]
fn no_search_fails_in_what_somebody_else_has_written() {
    let image = Policy::compile(&rich()).unwrap().image();
    let mut x = 3_u64;
    let mut random = move |below: usize| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as usize % below
    };
    let mut taken = 0;
    for round in 0..600 {
        let mut other = image.clone();
        for _ in 0..=round % 3 {
            let word = [0, 1, 2, 16, 0xff, 0x7fff_ffff, u32::MAX, 1 << 31, 1 << 30][random(9)];
            let at = random(other.len() / 4) * 4;
            match round % 2 {
                0 => other[at..at + 4].copy_from_slice(&word.to_ne_bytes()),
                _ => other[at + random(4)] ^= 1 << random(8),
            }
        }
        let Some(policy) = read(&other) else { continue };
        taken += 1;
        for (key, direction) in flows().iter().step_by(7) {
            for via in [None, Some("eth1"), Some("lo")] {
                let _ = policy.tell(key, *direction, policy.via(via));
            }
        }
        let _ = Gate::new(policy, HashKey::new([7; 16])).snapshot();
    }
    assert!(taken > 10, "{taken}: what was changed was seen by other means");
}
