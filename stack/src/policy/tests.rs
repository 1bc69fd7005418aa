//! What the gate says and counts.

use core::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::*;
use crate::hash::HashKey;
use crate::ip::VerdictMemo;
use crate::time::Instant;
use crate::types::{Direction, FlowKey, Protocol, Road};

mod images;
mod interfaces;
mod linear;

fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    let prefix = |text: &&str| {
        let (address, len) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), len.parse().unwrap()).unwrap()
    };
    texts.iter().map(prefix).collect()
}

fn rule(name: &str, remotes: &[&str], local_ports: &[PortRange], action: Action) -> RuleSpec {
    RuleSpec {
        direction: RuleDirection::In,
        protocol: RuleProtocol::Tcp,
        local_ports: local_ports.into(),
        remotes: prefixes(remotes),
        ..RuleSpec::any(name, action)
    }
}

fn flow(local: &str, remote: &str) -> FlowKey {
    FlowKey { protocol: Protocol::Tcp, local: local.parse().unwrap(), remote: remote.parse().unwrap() }
}

fn table(mode: Mode, rules: Vec<RuleSpec>) -> PolicySpec {
    let local = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
    PolicySpec {
        default: Action::Allow,
        tables: vec![TableSpec::of_host(local, mode, rules)],
        shadow: Vec::new(),
    }
}

fn gate(spec: &PolicySpec) -> Gate {
    Gate::new(Policy::compile(spec).unwrap(), HashKey::new([7; 16]))
}

/// A packet that comes, by an interface of which nobody knows.
fn arrives(len: usize) -> Packet {
    Packet { len, way: Direction::In, road: Road::UNKNOWN }
}

fn judge(gate: &mut Gate, key: &FlowKey, direction: Direction) -> bool {
    gate.judge(&mut VerdictMemo::default(), key, direction, arrives(100))
}

const WEB: [PortRange; 1] = [PortRange::one(80)];

#[test]
fn the_first_match_decides_and_no_match_is_denied() {
    let spec = table(
        Mode::Enforce,
        vec![
            rule("one bad host", &["10.77.0.66/32"], &[PortRange::ANY], Action::Deny),
            rule("web", &["10.77.0.0/24"], &WEB, Action::Allow),
        ],
    );
    let mut gate = gate(&spec);
    assert!(judge(&mut gate, &flow("10.77.0.1:80", "10.77.0.2:5000"), Direction::In));
    assert!(!judge(&mut gate, &flow("10.77.0.1:80", "10.77.0.66:5000"), Direction::In));
    assert!(!judge(&mut gate, &flow("10.77.0.1:81", "10.77.0.2:5000"), Direction::In));
    assert!(!judge(&mut gate, &flow("10.77.0.1:80", "10.78.0.2:5000"), Direction::In));
    assert!(!judge(&mut gate, &flow("10.77.0.1:80", "10.77.0.2:5000"), Direction::Out));
    let udp = FlowKey { protocol: Protocol::Udp, ..flow("10.77.0.1:80", "10.77.0.2:5000") };
    assert!(!judge(&mut gate, &udp, Direction::In));
    // No table: the default.
    assert!(judge(&mut gate, &flow("10.77.0.2:81", "1.2.3.4:5"), Direction::Out));

    let snapshot = gate.snapshot();
    assert_eq!((snapshot.generation, snapshot.no_table), (1, Count { packets: 1, bytes: 100 }));
    let table = &snapshot.tables[0];
    assert_eq!(table.denied, Count { packets: 5, bytes: 500 });
    let rules: Vec<_> = table.rules.iter().map(|r| (&*r.name, r.count.packets, r.count.bytes)).collect();
    assert_eq!(rules, [("one bad host", 1, 100), ("web", 1, 100)]);
}

#[test]
fn monitor_counts_and_lets_pass() {
    let mut gate = gate(&table(Mode::Monitor, vec![rule("web", &["10.77.0.0/24"], &WEB, Action::Deny)]));
    assert!(judge(&mut gate, &flow("10.77.0.1:80", "10.77.0.2:5000"), Direction::In));
    assert!(judge(&mut gate, &flow("10.77.0.1:81", "10.77.0.2:5000"), Direction::In));
    let snapshot = gate.snapshot();
    assert_eq!(snapshot.tables[0].rules[0].count.packets, 1);
    assert_eq!(snapshot.tables[0].denied.packets, 2);
}

#[test]
fn a_memo_holds_until_the_policy_changes() {
    let allow = table(Mode::Enforce, vec![rule("web", &["0.0.0.0/0"], &WEB, Action::Allow)]);
    let mut deny = allow.clone();
    deny.tables[0].rules[0].action = Action::Deny;
    deny.tables[0].rules.insert(0, rule("ssh", &["0.0.0.0/0"], &[PortRange::one(22)], Action::Allow));

    let mut gate = gate(&allow);
    let (key, mut memo) = (flow("10.77.0.1:80", "10.77.0.2:5000"), VerdictMemo::default());
    for _ in 0..3 {
        assert!(gate.judge(&mut memo, &key, Direction::In, arrives(10)));
    }
    assert_eq!((memo.generation, memo.row()), (1, 1));
    gate.swap(Policy::compile(&deny).unwrap());
    assert!(!gate.judge(&mut memo, &key, Direction::In, arrives(10)));
    assert_eq!((gate.policies(), memo.generation, memo.row()), (2, 2, 2));

    let table = &gate.snapshot().tables[0];
    assert_eq!(table.rules[0].count, Count::default());
    assert_eq!(table.rules[1].count, Count { packets: 4, bytes: 40 }, "the name's counter goes on");
    assert_eq!(table.denied, Count { packets: 1, bytes: 10 });
}

/// Whatever becomes of the rules that denied: what was denied stays denied, what passed did not count.
#[test]
fn what_a_table_denied_goes_on_when_its_rules_change() {
    let any = &["0.0.0.0/0"][..];
    let on = |name: &str, port, action| rule(name, any, &[PortRange::one(port)], action);
    let with = |rules: &[RuleSpec]| table(Mode::Enforce, rules.to_vec());
    let (allow, deny) = (Action::Allow, Action::Deny);
    let mut gate = gate(&with(&[on("a", 1, deny), on("b", 2, deny), on("c", 3, allow), on("d", 4, deny)]));
    let judge = |gate: &mut Gate| {
        for port in 1..=5 {
            judge(gate, &flow(&format!("10.77.0.1:{port}"), "10.77.0.2:5000"), Direction::In);
        }
    };
    let told = |gate: &Gate| {
        let table = &gate.snapshot().tables[0];
        let rules = table.rules.iter().map(|rule| (rule.name.to_string(), rule.count.packets)).collect();
        (table.denied, rules)
    };
    let denied = |packets| Count { packets, bytes: 100 * packets };
    let counted = |rules: &[(&str, u64)]| -> Vec<(String, u64)> {
        rules.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
    };
    judge(&mut gate);
    assert_eq!(told(&gate), (denied(4), counted(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)])));
    // One goes, one is turned into its contrary and comes first, one comes to deny, one is new, one is as it was.
    let next = with(&[on("b", 2, allow), on("new", 5, deny), on("c", 3, deny), on("d", 4, deny)]);
    gate.swap(Policy::compile(&next).unwrap());
    assert_eq!(told(&gate), (denied(4), counted(&[("b", 1), ("new", 0), ("c", 1), ("d", 1)])));
    judge(&mut gate);
    assert_eq!(told(&gate), (denied(8), counted(&[("b", 2), ("new", 1), ("c", 2), ("d", 2)])));
    gate.swap(Policy::compile(&with(&[])).unwrap());
    assert_eq!(told(&gate), (denied(8), vec![]));
    judge(&mut gate);
    gate.swap(Policy::compile(&with(&[on("a", 1, deny)])).unwrap());
    assert_eq!(told(&gate), (denied(13), counted(&[("a", 0)])));
}

#[test]
fn mapped_addresses_are_ipv4() {
    let mut gate = gate(&table(Mode::Enforce, vec![rule("web", &["10.77.0.0/24"], &WEB, Action::Allow)]));
    assert!(judge(&mut gate, &flow("[::ffff:10.77.0.1]:80", "[::ffff:10.77.0.9]:1"), Direction::In));
    assert!(!judge(&mut gate, &flow("10.77.0.1:80", "[2001:db8::1]:1"), Direction::In));
}

#[test]
fn contradictions_and_absurd_sizes_are_refused() {
    let web = rule("web", &["0.0.0.0/0"], &WEB, Action::Allow);
    let twice = table(Mode::Enforce, vec![web.clone(), web.clone()]);
    let name = || "10.77.0.1".to_owned();
    let error = Policy::compile(&twice).unwrap_err();
    assert_eq!(error, PolicyError::SameName { table: name(), rule: "web".into() });

    let mut spec = table(Mode::Enforce, vec![web.clone()]);
    spec.tables.push(TableSpec { name: "other".into(), ..spec.tables[0].clone() });
    let local = spec.tables[0].locals[0];
    assert_eq!(Policy::compile(&spec).unwrap_err(), PolicyError::SameAddress(local));
    spec.tables[1] = TableSpec { locals: prefixes(&["10.0.0.0/8"]), ..spec.tables[0].clone() };
    assert_eq!(Policy::compile(&spec).unwrap_err(), PolicyError::SameTable(name()));

    let many: Vec<PortRange> = (0..2_000).map(|n| PortRange::one(n * 2)).collect();
    let huge = RuleSpec { local_ports: many.clone(), remote_ports: many, ..web.clone() };
    let error = Policy::compile(&table(Mode::Enforce, vec![huge])).unwrap_err();
    assert_eq!(error, PolicyError::TooManyCells { table: name(), rule: "web".into() });

    let rules = (0..=MAX_RULES).map(|n| RuleSpec { name: n.to_string(), ..web.clone() }).collect();
    assert_eq!(Policy::compile(&table(Mode::Enforce, rules)).unwrap_err(), PolicyError::TooManyRules);

    let hosts = 0..=MAX_TABLES as u32;
    let empty = |n| TableSpec::of_host(Ipv4Addr::from_bits(n).into(), Mode::Enforce, vec![]);
    let spec = PolicySpec { tables: hosts.map(empty).collect(), ..PolicySpec::open() };
    assert_eq!(Policy::compile(&spec).unwrap_err(), PolicyError::TooManyTables);

    // Networks in one another with ranges that overlap at both ends: more than so many would take without end to compile.
    let tangled = |count: u32| {
        let rule = |n: u32| {
            let range = |seed: u32| {
                let first = (n.wrapping_mul(seed) >> 12) as u16;
                vec![PortRange { first, last: first.saturating_add(16_384) }]
            };
            let network = Prefix::new(Ipv4Addr::new(10, 77, 77, 77).into(), (n % 33) as u8).unwrap();
            RuleSpec {
                remotes: vec![network],
                local_ports: range(0x9e37_79b9),
                remote_ports: range(0x85eb_ca6b),
                direction: RuleDirection::In,
                protocol: RuleProtocol::Tcp,
                ..RuleSpec::any(format!("{n}"), Action::Allow)
            }
        };
        Policy::compile(&table(Mode::Enforce, (0..count).map(rule).collect()))
    };
    assert!(tangled(1000).is_ok());
    assert_eq!(tangled(20_000).unwrap_err(), PolicyError::TooManyPrefixes { table: "10.77.0.1".into() });

    // One set in many tables is looked at in each: that, too, has an end.
    let prefixes = (0..100_000).map(|n| Prefix::host(Ipv4Addr::from_bits(n * 7).into())).collect();
    let set = Arc::new(AddressSet { name: "crowd".into(), prefixes });
    let crowd = |n: u8| {
        let rule =
            RuleSpec { remotes: vec![], remote_sets: vec![set.clone()], ..RuleSpec::any("r", Action::Deny) };
        TableSpec::of_host(Ipv4Addr::new(10, 0, 0, n).into(), Mode::Enforce, vec![rule])
    };
    let spec = PolicySpec { default: Action::Allow, tables: (0..6).map(crowd).collect(), shadow: Vec::new() };
    let error = Policy::compile(&spec).unwrap_err();
    assert_eq!(error, PolicyError::TooManyPrefixes { table: "10.0.0.5".into() });
}

#[test]
fn a_set_is_one_thing_however_many_rules_name_it() {
    let prefixes =
        (0..100_000).map(|n| Prefix::host(Ipv4Addr::from_bits(0x0b00_0000 + n * 7).into())).collect();
    let crowd = Arc::new(AddressSet { name: "crowd".into(), prefixes });
    let few = Arc::new(AddressSet { name: "few".into(), prefixes: prefixes_of_few() });
    let of_set = |n: u16, set: &Arc<AddressSet>| RuleSpec {
        remotes: vec![],
        remote_sets: vec![set.clone()],
        protocol: RuleProtocol::Tcp,
        direction: RuleDirection::In,
        local_ports: vec![PortRange::one(n)],
        ..RuleSpec::any(n.to_string(), if n.is_multiple_of(2) { Action::Allow } else { Action::Deny })
    };
    let rules = (1..=1000).map(|n| of_set(n, if n % 3 == 0 { &few } else { &crowd })).collect();
    let mut gate = gate(&table(Mode::Enforce, rules));
    for (remote, port, allowed) in [
        ("11.0.0.0", 2, true),
        ("11.0.0.0", 1, false),
        ("11.0.0.0", 6, false),
        ("11.0.0.1", 2, false),
        ("11.0.0.7", 1000, true),
        ("192.0.2.200", 6, true),
        ("192.0.2.200", 2, false),
    ] {
        let key = flow(&format!("10.77.0.1:{port}"), &format!("{remote}:4000"));
        assert_eq!(judge(&mut gate, &key, Direction::In), allowed, "{remote} {port}");
    }
}

fn prefixes_of_few() -> Vec<Prefix> {
    prefixes(&["192.0.2.0/24", "2001:db8::/32"])
}

#[test]
fn named_counters_sum_up() {
    let counted = |name: &str, port, counter: &str| RuleSpec {
        counter: Some(counter.into()),
        ..rule(name, &["0.0.0.0/0"], &[PortRange::one(port)], Action::Allow)
    };
    let rules = vec![counted("a", 80, "web"), counted("b", 443, "web"), counted("c", 22, "ssh")];
    let mut gate = gate(&table(Mode::Enforce, rules));
    for port in [80, 443, 443, 22] {
        judge(&mut gate, &flow(&format!("10.77.0.1:{port}"), "1.2.3.4:5"), Direction::In);
    }
    let told = gate.snapshot().counters;
    let told: Vec<_> = told.iter().map(|c| (&*c.name, c.count.packets, c.count.bytes)).collect();
    assert_eq!(told, [("ssh", 1, 100), ("web", 3, 300)]);
}

#[test]
fn a_limit_holds_for_what_begins_and_for_nothing_else() {
    let limited = RuleSpec { limit: Some(3), ..rule("web", &["0.0.0.0/0"], &WEB, Action::Allow) };
    let free = rule("ssh", &["0.0.0.0/0"], &[PortRange::one(22)], Action::Allow);
    let policy = |mode| table(mode, vec![free.clone(), limited.clone()]);
    let mut gate = gate(&policy(Mode::Enforce));
    let begun = |gate: &mut Gate, ms: u64, port: u16| {
        let key = flow(&format!("10.77.0.1:{port}"), "1.2.3.4:5");
        let mut memo = VerdictMemo::default();
        assert!(gate.judge(&mut memo, &key, Direction::In, arrives(60)), "the verdict itself knows no limit");
        gate.begins(Instant::from_millis(ms), &memo, &key, 60)
    };
    let web: Vec<bool> = (0..5).map(|_| begun(&mut gate, 1000, 80)).collect();
    assert_eq!(web, [true, true, true, false, false]);
    assert!((0..100).all(|_| begun(&mut gate, 1000, 22)));
    assert!(begun(&mut gate, 1400, 80));
    let told = gate.snapshot();
    assert_eq!((told.tables[0].rules[1].limited, told.tables[0].rules[0].limited), (2, 0));
    assert_eq!(told.tables[0].denied, Count { packets: 2, bytes: 120 });

    // In monitor mode it is counted only; what was counted, and who was seen, stays over a swap.
    gate.swap(Policy::compile(&policy(Mode::Monitor)).unwrap());
    assert!((0..5).all(|_| begun(&mut gate, 1400, 80)));
    assert_eq!(gate.snapshot().tables[0].rules[1].limited, 2 + 5);
}

/// That it was a SYN is what scans are known by; and what is kept out was not let in, though its rule is logged.
#[test]
fn what_a_limit_keeps_out_is_told_as_what_it_was() {
    for (mode, log) in
        [(Mode::Enforce, false), (Mode::Enforce, true), (Mode::Monitor, false), (Mode::Monitor, true)]
    {
        let limited = RuleSpec { limit: Some(1), log, ..rule("web", &["0.0.0.0/0"], &WEB, Action::Allow) };
        let mut gate = gate(&table(mode, vec![limited]));
        for port in 1..=3 {
            let key = flow("10.77.0.1:80", &format!("1.2.3.4:{port}"));
            let mut memo = VerdictMemo::default();
            gate.in_hand(Some(2));
            assert!(gate.judge(&mut memo, &key, Direction::In, arrives(60)));
            let begins = gate.begins(Instant::from_millis(1000), &memo, &key, 60);
            gate.in_hand(None);
            assert_eq!(begins, port == 1 || mode == Mode::Monitor);
        }
        let mut told = Vec::new();
        assert_eq!(gate.take_refusals(&mut told), 0);
        let told: Vec<_> =
            told.iter().map(|r| (r.key.remote.port(), r.flags, r.permitted, r.limited, r.dropped)).collect();
        let kept_out = |port| (port, Some(2), false, true, mode == Mode::Enforce);
        let mut expected = vec![(1, Some(2), true, false, false), kept_out(2), kept_out(3)];
        if !log {
            expected.remove(0);
        }
        assert_eq!(told, expected, "{mode:?}, log: {log}");
    }
}

#[test]
fn what_is_refused_waits_to_be_told() {
    let rules = vec![
        rule("no ssh", &["0.0.0.0/0"], &[PortRange::one(22)], Action::Deny),
        rule("web", &["0.0.0.0/0"], &WEB, Action::Allow),
    ];
    let mut gate = gate(&table(Mode::Monitor, rules.clone()));
    let at = |port: u16| flow(&format!("10.77.0.1:{port}"), "1.2.3.4:5");
    judge(&mut gate, &at(80), Direction::In);
    assert!(!gate.has_refusals());
    gate.in_hand(Some(2));
    judge(&mut gate, &at(22), Direction::In);
    judge(&mut gate, &at(23), Direction::Out);
    gate.in_hand(None);
    let mut told = Vec::new();
    assert_eq!(gate.take_refusals(&mut told), 0);
    let policy = Arc::clone(gate.policy());
    let names = |refusal: &Refusal| policy.names(refusal).1.map(|name| name.to_string());
    let told: Vec<_> =
        told.iter().map(|r| (r.key.local.port(), r.direction, r.flags, r.dropped, names(r))).collect();
    assert_eq!(
        told,
        [
            (22, Direction::In, Some(2), false, Some("no ssh".to_owned())),
            (23, Direction::Out, None, false, None)
        ]
    );

    // What was told of is not told again where the verdict was not kept; a segment out of nowhere is another thing.
    let mut told = Vec::new();
    for (port, direction) in [(22, Direction::In), (23, Direction::Out)] {
        let mut memo = VerdictMemo::TOLD;
        assert!(gate.judge(&mut memo, &at(port), direction, arrives(100)) && !gate.has_refusals());
    }
    gate.in_hand(Some(16));
    let mut memo = VerdictMemo::default();
    gate.judge(&mut memo, &at(22), Direction::In, arrives(100));
    assert_eq!((gate.take_refusals(&mut told), told.len()), (0, 1));
    // Under another policy a connection is told of again.
    gate.swap(Policy::compile(&table(Mode::Monitor, rules.clone())).unwrap());
    gate.judge(&mut memo, &at(22), Direction::In, arrives(100));
    assert_eq!((gate.take_refusals(&mut told), told.len()), (0, 2));

    // A flood is counted; another policy has other rows.
    gate.swap(Policy::compile(&table(Mode::Enforce, rules)).unwrap());
    (0..5000).for_each(|port| _ = judge(&mut gate, &at(port), Direction::Out));
    let mut told = Vec::new();
    assert_eq!(gate.take_refusals(&mut told) as usize + told.len(), 5000);
    assert!(told.iter().all(|refusal| refusal.dropped) && told.len() == 1024 && !gate.has_refusals());
}
