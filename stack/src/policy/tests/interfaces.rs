//! Rules by interfaces, and tables by addresses and interfaces.

use super::*;

/// A gate between `eth0` and `eth1` that has a rule for the latter.
fn gate_of_two_roads() -> Gate {
    let lan =
        RuleSpec { interfaces: vec!["eth1".into()], ..rule("lan", &["0.0.0.0/0"], &WEB, Action::Allow) };
    let ssh = rule("ssh", &["0.0.0.0/0"], &[PortRange::one(22)], Action::Allow);
    let mut gate = gate(&table(Mode::Enforce, vec![lan, ssh]));
    gate.name_road(0, "eth0");
    gate.name_road(1, "eth1");
    gate
}

#[test]
fn a_flow_is_judged_anew_when_it_comes_another_way() {
    let (mut gate, mut memo) = (gate_of_two_roads(), VerdictMemo::default());
    let key = flow("10.77.0.1:80", "10.77.0.2:5000");
    let mut passes = |gate: &mut Gate, way, road| {
        gate.judge(&mut memo, &key, Direction::In, Packet { len: 10, way, road })
    };
    let [eth0, eth1] = [0, 1].map(Road::of_port);
    assert!(passes(&mut gate, Direction::In, eth1));
    assert!(!passes(&mut gate, Direction::In, eth0));
    assert!(passes(&mut gate, Direction::Out, eth1), "who is refused elsewhere does not cut the flow");
    assert!(
        !passes(&mut gate, Direction::In, Road::UNKNOWN) && !passes(&mut gate, Direction::In, Road::HOME)
    );
    assert!(passes(&mut gate, Direction::In, eth1));
    assert!(passes(&mut gate, Direction::Out, eth0), "a reply belongs to the flow, whichever way it goes");
    gate.name_road(1, "wan");
    assert!(!passes(&mut gate, Direction::In, eth1), "names are what rules go by");
    gate.name_road(0, "eth1");
    assert!(passes(&mut gate, Direction::In, eth0));
    assert_eq!((gate.policies(), gate.snapshot().generation), (1, 1), "a name is no policy");
}

/// What an interface changes for flows that pass is counted; where packets take turns between two it is not news each
/// time. Who is kept out is.
#[test]
fn a_flow_that_passes_by_two_interfaces_is_told_of_once() {
    let by = |name: &str, interface: &str| RuleSpec {
        interfaces: vec![interface.into()],
        log: true,
        ..rule(name, &["0.0.0.0/0"], &WEB, Action::Allow)
    };
    let mut spec = table(Mode::Enforce, vec![by("lan", "eth0"), by("wan", "eth1")]);
    let mut gate = gate(&spec);
    ["eth0", "eth1", "eth2"].iter().enumerate().for_each(|(port, name)| gate.name_road(port, name));
    let (key, mut memo) = (flow("10.77.0.1:80", "10.77.0.2:5000"), VerdictMemo::default());
    let mut told = |gate: &mut Gate, port| {
        let packet = Packet { len: 10, way: Direction::In, road: Road::of_port(port) };
        let passes = gate.judge(&mut memo, &key, Direction::In, packet);
        let mut told = Vec::new();
        gate.take_refusals(&mut told);
        (passes, told.iter().map(|entry| (entry.permitted, entry.dropped)).collect::<Vec<_>>())
    };
    assert_eq!(told(&mut gate, 0), (true, vec![(true, false)]));
    for port in [1, 0, 1] {
        assert_eq!(told(&mut gate, port), (true, vec![]));
    }
    let counts = gate.snapshot().tables[0].rules.iter().map(|rule| rule.count.packets).collect::<Vec<_>>();
    assert_eq!(counts, [2, 2]);
    assert_eq!(told(&mut gate, 2), (false, vec![(false, true)]));
    assert_eq!(told(&mut gate, 2), (false, vec![(false, true)]));

    // Another policy keeps it out by either: one packet, one entry.
    spec.tables[0].rules.iter_mut().for_each(|rule| rule.action = Action::Deny);
    gate.swap(Policy::compile(&spec).unwrap());
    assert_eq!(told(&mut gate, 0), (false, vec![(false, true)]));
    // And one that lets it pass tells of it anew.
    spec.tables[0].rules.iter_mut().for_each(|rule| rule.action = Action::Allow);
    gate.swap(Policy::compile(&spec).unwrap());
    assert_eq!(told(&mut gate, 0), (true, vec![(true, false)]));
}

/// In monitor mode nothing shows but what is told: what another interface would refuse is, once a flow.
#[test]
fn what_a_monitored_flow_would_meet_by_another_interface_is_told_of_once() {
    let by = |name: &str, interface: &str, action| RuleSpec {
        interfaces: vec![interface.into()],
        ..rule(name, &["0.0.0.0/0"], &WEB, action)
    };
    let rules = vec![
        by("lan", "eth0", Action::Allow),
        by("wan", "eth1", Action::Deny),
        by("dmz", "eth2", Action::Deny),
    ];
    let spec = table(Mode::Monitor, rules);
    let mut gate = gate(&spec);
    ["eth0", "eth1", "eth2", "eth3"].iter().enumerate().for_each(|(port, name)| gate.name_road(port, name));
    let policy = Arc::clone(gate.policy());
    let flow_by = |gate: &mut Gate, memo: &mut VerdictMemo, port: usize| {
        let packet = Packet { len: 10, way: Direction::In, road: Road::of_port(port) };
        assert!(gate.judge(memo, &flow("10.77.0.1:80", "10.77.0.2:5000"), Direction::In, packet));
        let mut told = Vec::new();
        gate.take_refusals(&mut told);
        told.iter().map(|r| (r.dropped, policy.names(r).1.map(|name| name.to_string()))).collect::<Vec<_>>()
    };
    let wan = || vec![(false, Some("wan".to_owned()))];
    let mut memo = VerdictMemo::default();
    assert_eq!(flow_by(&mut gate, &mut memo, 0), []);
    assert_eq!(flow_by(&mut gate, &mut memo, 1), wan());
    // However often packets take turns, and whatever there is besides.
    for port in [0, 1, 0, 2, 1, 3, 0, 1] {
        assert_eq!(flow_by(&mut gate, &mut memo, port), [], "{port}");
    }
    // Another flow is another matter, and so is this one by another policy.
    assert_eq!(flow_by(&mut gate, &mut VerdictMemo::default(), 1), wan());
    gate.swap(Policy::compile(&spec).unwrap());
    assert_eq!(flow_by(&mut gate, &mut memo, 0), []);
    assert_eq!(flow_by(&mut gate, &mut memo, 1), wan());
    let counted = gate.snapshot();
    assert_eq!(counted.tables[0].denied.packets, 8, "each is counted");
}

#[test]
fn of_a_flow_that_nothing_is_known_of_a_reply_tells_the_way() {
    let mut gate = gate_of_two_roads();
    let key = flow("10.77.0.1:80", "10.77.0.2:5000");
    let mut replies = |port| {
        let packet = Packet { len: 10, way: Direction::Out, road: Road::of_port(port) };
        gate.judge(&mut VerdictMemo::default(), &key, Direction::In, packet)
    };
    assert!(replies(1) && !replies(0));
}

#[test]
fn a_policy_without_interfaces_does_not_look_at_them() {
    let mut gate = gate(&table(Mode::Enforce, vec![rule("web", &["0.0.0.0/0"], &WEB, Action::Allow)]));
    gate.name_road(0, "eth0");
    assert!(!gate.tells_roads_apart());
    gate.swap(gate_of_two_roads().policy().clone());
    assert!(gate.tells_roads_apart());
}

#[test]
fn the_longest_local_prefix_answers_for_an_address() {
    let one = |name: &str, locals: &[&str], port| TableSpec {
        name: name.into(),
        locals: prefixes(locals),
        interfaces: Vec::new(),
        mode: Mode::Enforce,
        cloak: false,
        offload: false,
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
        shadow: Vec::new(),
    };
    let policy = Policy::compile(&spec).unwrap();
    let judged = |local: &str, remote: &str| policy.judge(&flow(local, remote), Direction::In, Via::OTHER);
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
fn of_tables_for_one_address_that_which_names_the_interface_most_closely_answers() {
    let by = |name: &str, interfaces: &[&str]| TableSpec {
        name: name.into(),
        interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
        ..TableSpec::of_host(Ipv4Addr::new(10, 77, 0, 1).into(), Mode::Enforce, vec![])
    };
    let of = |tables| PolicySpec { default: Action::Deny, tables, shadow: Vec::new() };
    let spec = of(vec![by("all", &[]), by("wired", &["eth*", "eno1"]), by("lan", &["eth1", "lo"])]);
    let policy = Policy::compile(&spec).unwrap();
    let table =
        |interface| policy.table_of(Ipv4Addr::new(10, 77, 0, 1).into(), policy.via(interface)).unwrap();
    let by_each = [None, Some("wlan0"), Some("eth0"), Some("eno1"), Some("eth10"), Some("eth1"), Some("lo")];
    assert_eq!(by_each.map(table), [0, 0, 1, 1, 1, 2, 2]);

    // What two mean equally closely is for neither.
    for twice in [&["eth1"][..], &["eth*", "lo"], &["wlan0", "eno1"]] {
        let mut spec = spec.clone();
        spec.tables.push(by("again", twice));
        let same = spec.tables[0].locals[0];
        assert_eq!(Policy::compile(&spec).unwrap_err(), PolicyError::SameAddress(same), "{twice:?}");
    }
    // By an interface the address may have none.
    let policy = Policy::compile(&of(vec![by("lan", &["eth1"])])).unwrap();
    assert_eq!(policy.table_of(Ipv4Addr::new(10, 77, 0, 1).into(), policy.via(Some("eth0"))), None);
    assert!(policy.tells_interfaces_apart());

    // The addresses are looked at for each interface that is told apart, and that has an end.
    let crowd = (0..100_000).map(|n| Prefix::host(Ipv4Addr::from_bits(n * 7).into())).collect();
    let mut spec = of(vec![TableSpec { locals: crowd, ..by("crowd", &[]) }]);
    spec.tables.extend((0..30).map(|n| by(&format!("eth{n}"), &[&format!("eth{n}")])));
    assert!(Policy::compile(&of(spec.tables[..20].to_vec())).is_ok());
    let error = Policy::compile(&spec).unwrap_err();
    assert_eq!(error, PolicyError::TooManyPrefixes { table: "eth0".into() });
}
