//! The gate against a linear judge that reads the rules as they are written.

use core::net::{Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::*;

/// The table that answers for an address by an interface: with the longest prefix, then the closest name. All are tried.
fn table_of<'s>(spec: &'s PolicySpec, local: IpAddr, interface: &str) -> Option<&'s TableSpec> {
    let near = |entry: &String| match entry.strip_suffix('*') {
        Some(stem) => interface.starts_with(stem).then_some(stem.len()),
        None => (entry == interface).then_some(usize::MAX),
    };
    let names = |table: &TableSpec| match table.interfaces.is_empty() {
        true => Some(None),
        false => table.interfaces.iter().filter_map(near).max().map(Some),
    };
    let lens = |table: &TableSpec| table.locals.iter().filter(|p| p.contains(local)).map(Prefix::len).max();
    let holding = spec.tables.iter().filter_map(|table| Some(((lens(table)?, names(table)?), table)));
    holding.max_by_key(|(near, _)| *near).map(|(_, table)| table)
}

/// The first rule that matches, tried in turn: rule number and action.
fn first_match(
    table: &TableSpec,
    key: &FlowKey,
    direction: Direction,
    interface: Option<&str>,
) -> Option<(usize, Action)> {
    let any = |ranges: &[PortRange], port| ranges.iter().any(|range| range.contains(port));
    table.rules.iter().enumerate().find_map(|(number, rule)| {
        let matches = rule.direction.includes(direction)
            && rule.protocol.includes(key.protocol)
            && rule.holds_by(interface)
            && any(&rule.local_ports, key.local.port())
            && any(&rule.remote_ports, key.remote.port())
            && (rule.remotes.iter().any(|prefix| prefix.contains(key.remote.ip()))
                || rule.remote_sets.iter().any(|s| s.prefixes.iter().any(|p| p.contains(key.remote.ip()))));
        matches.then_some((number, rule.action))
    })
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

/// The interfaces of a stack; the one without a name is named by nobody.
const ROADS: [(&str, Road); 7] = [
    ("eth0", Road::of_port(0)),
    ("eth1", Road::of_port(1)),
    ("eth2", Road::of_port(2)),
    ("eth10", Road::of_port(3)),
    ("wan0", Road::of_port(4)),
    ("lo", Road::HOME),
    ("", Road::UNKNOWN),
];

fn interfaces() -> impl Strategy<Value = Vec<String>> {
    let all = vec!["eth0", "eth1", "lo", "wlan9", "eth*", "eth1*", "e*", "w*"];
    let some = prop::sample::subsequence(all, 1..=3);
    let some = some.prop_map(|names| names.into_iter().map(str::to_owned).collect());
    prop_oneof![3 => Just(Vec::new()), 2 => some]
}

fn rule_spec() -> impl Strategy<Value = RuleSpec> {
    let direction = prop_oneof![Just(RuleDirection::In), Just(RuleDirection::Out), Just(RuleDirection::Both)];
    let protocol = prop_oneof![Just(RuleProtocol::Tcp), Just(RuleProtocol::Udp), Just(RuleProtocol::Any)];
    let remotes = (prop::collection::vec(prefix(), 0..4), prop::collection::vec(0..SETS, 0..2));
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    (direction, protocol, ports(), remotes, ports(), (action, interfaces())).prop_map(
        |(direction, protocol, local_ports, (remotes, sets), remote_ports, (action, interfaces))| RuleSpec {
            interfaces,
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

/// Tables for an address, a network that holds it, and some interfaces; of those that contradict one another the first.
fn table_specs(local: IpAddr, rules: usize) -> impl Strategy<Value = Vec<TableSpec>> {
    let network = Prefix::new(local, 24).unwrap();
    let more = (table_spec(local, rules), any::<bool>(), interfaces());
    (table_spec(local, rules), prop::collection::vec(more, 0..5)).prop_map(move |(first, more)| {
        let mut tables = vec![first];
        for (number, (mut table, wide, interfaces)) in more.into_iter().enumerate() {
            (table.name, table.interfaces) = (format!("{local} {number}"), interfaces);
            table.locals = vec![if wide { network } else { Prefix::host(local) }];
            let same = |a: &TableSpec, b: &TableSpec| {
                let shared = a.interfaces.iter().any(|name| b.interfaces.contains(name));
                a.locals == b.locals && (shared || a.interfaces.is_empty() && b.interfaces.is_empty())
            };
            if !tables.iter().any(|other| same(other, &table)) {
                tables.push(table);
            }
        }
        tables
    })
}

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
    let compiled = Policy::compile(spec).unwrap();
    // What another process judges by.
    let read = Policy::from_image(&nic::Frozen::copied(&compiled.image())).unwrap();
    for policy in [compiled, read] {
        policy_equals_the_linear_judge(spec, policy, packets)?;
    }
    Ok(())
}

fn policy_equals_the_linear_judge(
    spec: &PolicySpec,
    policy: Arc<Policy>,
    packets: &[(FlowKey, Direction)],
) -> Result<(), TestCaseError> {
    let mut gate = Gate::new(policy, HashKey::new([7; 16]));
    for (name, road) in ROADS {
        road.port().into_iter().for_each(|port| gate.name_road(port, name));
    }
    for ((key, direction), (name, road)) in packets.iter().zip(ROADS.iter().cycle()) {
        let table = table_of(spec, key.local.ip(), name);
        let expected = table.and_then(|table| first_match(table, key, *direction, Some(*name)));
        let mut memo = VerdictMemo::default();
        let allowed = gate.judge(&mut memo, key, *direction, Packet { len: 1, way: *direction, road: *road });
        prop_assert_eq!(allowed, expected.is_some_and(|(_, action)| action == Action::Allow));
        let row = table.map_or(0, |table| {
            let first = gate.policy().tables.iter().find(|t| t.name() == table.name).unwrap().first_row;
            expected.map_or(table.rules.len(), |(number, _)| number) as u32 + first
        });
        prop_assert_eq!(memo.row(), row, "{:?} {:?} by {}", key, direction, name);
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
        mut v4 in table_specs("10.77.0.1".parse().unwrap(), 12),
        v6 in table_specs("2001:db8::1".parse().unwrap(), 12),
        packets in prop::collection::vec(packet(), 200),
    ) {
        v4.extend(v6);
        let spec = PolicySpec { default: Action::Deny, tables: v4, shadow: Vec::new() };
        equals_the_linear_judge(&spec, &packets)?;
    }

    #[test]
    fn equals_the_linear_judge_on_many_rules(
        mut v4 in table_specs("10.77.0.1".parse().unwrap(), 150),
        v6 in table_specs("2001:db8::1".parse().unwrap(), 150),
        mut packets in prop::collection::vec(packet(), 200),
        picks in prop::collection::vec(any::<u16>(), 61),
    ) {
        v4.extend(v6);
        v4.iter().for_each(|table| packets.extend(on_edges(table, &picks)));
        let spec = PolicySpec { default: Action::Deny, tables: v4, shadow: Vec::new() };
        equals_the_linear_judge(&spec, &packets)?;
    }
}
