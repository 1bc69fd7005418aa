//! The gate against a linear judge that reads the rules as they are written.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::hash::HashKey;
use crate::ip::VerdictMemo;
use crate::time::Instant;
use crate::types::{Direction, FlowKey, Protocol};

/// The first rule that matches, tried in turn: rule number and action.
fn first_match(table: &TableSpec, key: &FlowKey, direction: Direction) -> Option<(usize, Action)> {
    let any = |ranges: &[PortRange], port| ranges.iter().any(|range| range.contains(port));
    table.rules.iter().enumerate().find_map(|(number, rule)| {
        let matches = rule.direction.includes(direction)
            && rule.protocol.includes(key.protocol)
            && any(&rule.local_ports, key.local.port())
            && any(&rule.remote_ports, key.remote.port())
            && (rule.remotes.iter().any(|prefix| prefix.contains(key.remote.ip()))
                || rule.remote_sets.iter().any(|s| s.prefixes.iter().any(|p| p.contains(key.remote.ip()))));
        matches.then_some((number, rule.action))
    })
}

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
    PolicySpec { default: Action::Allow, tables: vec![TableSpec::of_host(local, mode, rules)] }
}

fn gate(spec: &PolicySpec) -> Gate {
    Gate::new(Policy::compile(spec).unwrap(), HashKey::new([7; 16]))
}

fn judge(gate: &mut Gate, key: &FlowKey, direction: Direction) -> bool {
    gate.judge(&mut VerdictMemo::default(), key, direction, 100)
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
        assert!(gate.judge(&mut memo, &key, Direction::In, 10));
    }
    assert_eq!((memo.generation, memo.row), (1, 1));
    gate.swap(Policy::compile(&deny).unwrap());
    assert!(!gate.judge(&mut memo, &key, Direction::In, 10));
    assert_eq!((gate.generation(), memo.generation, memo.row), (2, 2, 2));

    let table = &gate.snapshot().tables[0];
    assert_eq!(table.rules[0].count, Count::default());
    assert_eq!(table.rules[1].count, Count { packets: 4, bytes: 40 }, "the name's counter goes on");
    assert_eq!(table.denied, Count { packets: 1, bytes: 10 });
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

    // One set in many tables is looked at in each: that, too, has an end.
    let prefixes = (0..100_000).map(|n| Prefix::host(Ipv4Addr::from_bits(n * 7).into())).collect();
    let set = Arc::new(AddressSet { name: "crowd".into(), prefixes });
    let crowd = |n: u8| {
        let rule =
            RuleSpec { remotes: vec![], remote_sets: vec![set.clone()], ..RuleSpec::any("r", Action::Deny) };
        TableSpec::of_host(Ipv4Addr::new(10, 0, 0, n).into(), Mode::Enforce, vec![rule])
    };
    let spec = PolicySpec { default: Action::Allow, tables: (0..6).map(crowd).collect() };
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
fn the_longest_local_prefix_answers_for_an_address() {
    let one = |name: &str, locals: &[&str], port| TableSpec {
        name: name.into(),
        locals: prefixes(locals),
        mode: Mode::Enforce,
        rules: vec![RuleSpec {
            local_ports: vec![PortRange::one(port)],
            ..RuleSpec::any(port.to_string(), Action::Allow)
        }],
    };
    let spec = PolicySpec {
        default: Action::Deny,
        tables: vec![
            one("net", &["10.77.0.0/24", "2001:db8::/64", "10.1.0.0/16"], 80),
            one("host", &["10.77.0.9/32"], 22),
        ],
    };
    let policy = Policy::compile(&spec).unwrap();
    let judged = |local: &str, remote: &str| policy.judge(&flow(local, remote), Direction::In);
    for local in ["10.77.0.1:80", "10.77.0.255:80", "10.1.2.3:80"] {
        let expected = Judgement { allowed: true, table: Some(0), rule: Some(0) };
        assert_eq!(judged(local, "1.2.3.4:5"), expected, "{local}");
    }
    assert!(judged("[2001:db8::77]:80", "[2001:db8:1::1]:5").allowed);
    let denied = Judgement { allowed: false, table: Some(1), rule: None };
    assert_eq!(judged("10.77.0.9:80", "1.2.3.4:5"), denied);
    assert!(judged("10.77.0.9:22", "1.2.3.4:5").allowed);
    let nobody = Judgement { allowed: false, table: None, rule: None };
    assert_eq!(judged("10.78.0.9:80", "1.2.3.4:5"), nobody);
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
        assert!(gate.judge(&mut memo, &key, Direction::In, 60), "the verdict itself knows no limit");
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

    // A flood is counted; another policy has other rows.
    gate.swap(Policy::compile(&table(Mode::Enforce, rules)).unwrap());
    (0..5000).for_each(|port| _ = judge(&mut gate, &at(port), Direction::Out));
    let mut told = Vec::new();
    assert_eq!(gate.take_refusals(&mut told) as usize + told.len(), 5000);
    assert!(told.iter().all(|refusal| refusal.dropped) && told.len() == 1024 && !gate.has_refusals());
}

/// Values near each other, so that rules overlap and packets hit their edges.
fn port() -> impl Strategy<Value = u16> {
    prop_oneof![0_u16..12, Just(80), Just(u16::MAX - 1), Just(u16::MAX), any::<u16>()]
}

fn ports() -> impl Strategy<Value = Vec<PortRange>> {
    let range = (port(), port()).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) });
    prop_oneof![
        Just(vec![PortRange::ANY]),
        prop::collection::vec(range, 0..4),
        port().prop_map(|port| vec![PortRange::one(port)]),
    ]
}

fn v4() -> impl Strategy<Value = IpAddr> {
    let near = (0_u32..8).prop_map(|low| 0x0a4d_0000 | low);
    prop_oneof![near, Just(0), Just(u32::MAX), any::<u32>()].prop_map(|bits| Ipv4Addr::from_bits(bits).into())
}

fn v6() -> impl Strategy<Value = IpAddr> {
    let near = (0_u128..8).prop_map(|low| 0x2001_0db8 << 96 | low << 60 | low);
    prop_oneof![near, Just(1), Just(u128::MAX), any::<u128>()]
        .prop_map(|bits| Ipv6Addr::from_bits(bits).into())
}

fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (v4(), 0_u8..=32).prop_map(|(address, len)| Prefix::new(address, len).unwrap()),
        (v6(), 0_u8..=128).prop_map(|(address, len)| Prefix::new(address, len).unwrap()),
        Just(Prefix::ANY_V4),
        Just(Prefix::ANY_V6),
    ]
}

fn rule_spec() -> impl Strategy<Value = RuleSpec> {
    let direction = prop_oneof![Just(RuleDirection::In), Just(RuleDirection::Out), Just(RuleDirection::Both)];
    let protocol = prop_oneof![Just(RuleProtocol::Tcp), Just(RuleProtocol::Udp), Just(RuleProtocol::Any)];
    let remotes = (prop::collection::vec(prefix(), 0..4), prop::collection::vec(0..SETS, 0..2));
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    (direction, protocol, ports(), remotes, ports(), action).prop_map(
        |(direction, protocol, local_ports, (remotes, sets), remote_ports, action)| RuleSpec {
            direction,
            protocol,
            local_ports,
            remotes,
            // By their numbers, until the sets are there.
            comment: sets.iter().map(|set| char::from(b'0' + *set as u8)).collect(),
            remote_ports,
            ..RuleSpec::any("", action)
        },
    )
}

/// Sets that the rules of a table may name.
const SETS: usize = 3;

fn table_spec(local: IpAddr, rules: usize) -> impl Strategy<Value = TableSpec> {
    let sets = prop::collection::vec(prop::collection::vec(prefix(), 0..30), SETS);
    (prop::collection::vec(rule_spec(), 0..rules), sets).prop_map(move |(mut rules, sets)| {
        let named = |(n, prefixes)| Arc::new(AddressSet { name: format!("set {n}"), prefixes });
        let sets: Vec<_> = sets.into_iter().enumerate().map(named).collect();
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = number.to_string();
            rule.remote_sets = rule.comment.bytes().map(|n| sets[usize::from(n - b'0')].clone()).collect();
        }
        TableSpec::of_host(local, Mode::Enforce, rules)
    })
}

fn packet() -> impl Strategy<Value = (FlowKey, Direction)> {
    let ends =
        prop_oneof![(Just("10.77.0.1".parse().unwrap()), v4()), (Just("2001:db8::1".parse().unwrap()), v6())];
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    let direction = prop_oneof![Just(Direction::In), Just(Direction::Out)];
    (ends, port(), port(), protocol, direction).prop_map(
        |((local, remote), local_port, remote_port, protocol, direction)| {
            let local = SocketAddr::new(local, local_port);
            (FlowKey { protocol, local, remote: SocketAddr::new(remote, remote_port) }, direction)
        },
    )
}

fn equals_the_linear_judge(spec: &PolicySpec, packets: &[(FlowKey, Direction)]) -> Result<(), TestCaseError> {
    let mut gate = gate(spec);
    for (key, direction) in packets {
        let table = spec.tables.iter().find(|table| table.locals[0].contains(key.local.ip())).unwrap();
        let expected = first_match(table, key, *direction);
        let mut memo = VerdictMemo::default();
        let allowed = gate.judge(&mut memo, key, *direction, 1);
        prop_assert_eq!(allowed, expected.is_some_and(|(_, action)| action == Action::Allow));
        let first_row = gate.policy().tables.iter().find(|t| *t.name == *table.name).unwrap().first_row;
        let row = expected.map_or(table.rules.len(), |(number, _)| number) as u32 + first_row;
        prop_assert_eq!(memo.row, row, "{:?} {:?}", key, direction);
    }
    Ok(())
}

/// The remote address and both ports on the edges of the rules' own.
fn on_edges(spec: &TableSpec, picks: &[u16]) -> Vec<(FlowKey, Direction)> {
    let mut picks = picks.iter().copied().cycle();
    let mut pick = move |count: usize| usize::from(picks.next().unwrap_or(0)) % count.max(1);
    let mut packets = Vec::new();
    for rule in &spec.rules {
        let other = &spec.rules[pick(spec.rules.len())];
        let local = spec.locals[0].address();
        let sets = rule.remote_sets.iter().flat_map(|set| &set.prefixes);
        let prefixes: Vec<_> = rule
            .remotes
            .iter()
            .chain(sets)
            .filter(|prefix| prefix.address().is_ipv4() == local.is_ipv4())
            .collect();
        let Some(prefix) = prefixes.get(pick(prefixes.len())) else { continue };
        let edge = |ranges: &[PortRange], n: usize| {
            let Some(range) = ranges.get(n / 4 % ranges.len().max(1)) else { return n as u16 };
            [range.first, range.last, range.first.wrapping_sub(1), range.last.wrapping_add(1)][n % 4]
        };
        let local_port = edge(&rule.local_ports, pick(64));
        let remote_port = edge(&other.remote_ports, pick(64));
        let key = FlowKey {
            protocol: [Protocol::Tcp, Protocol::Udp][pick(2)],
            local: SocketAddr::new(local, local_port),
            remote: SocketAddr::new(prefix.address(), remote_port),
        };
        packets.push((key, [Direction::In, Direction::Out][pick(2)]));
    }
    packets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_linear_judge_on_few_rules(
        v4 in table_spec("10.77.0.1".parse().unwrap(), 12),
        v6 in table_spec("2001:db8::1".parse().unwrap(), 12),
        packets in prop::collection::vec(packet(), 200),
    ) {
        let spec = PolicySpec { default: Action::Deny, tables: vec![v4, v6] };
        equals_the_linear_judge(&spec, &packets)?;
    }

    #[test]
    fn equals_the_linear_judge_on_many_rules(
        v4 in table_spec("10.77.0.1".parse().unwrap(), 150),
        v6 in table_spec("2001:db8::1".parse().unwrap(), 150),
        mut packets in prop::collection::vec(packet(), 200),
        picks in prop::collection::vec(any::<u16>(), 61),
    ) {
        packets.extend(on_edges(&v4, &picks));
        packets.extend(on_edges(&v6, &picks));
        let spec = PolicySpec { default: Action::Deny, tables: vec![v4, v6] };
        equals_the_linear_judge(&spec, &packets)?;
    }
}
