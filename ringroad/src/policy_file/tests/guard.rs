//! The guard says what the policy says: it is read here as the steering program reads it.

use std::net::{IpAddr, SocketAddr};

use stack::policy::{Policy, RuleDirection, TableSpec};
use stack::types::FlowKey;

use super::*;
use crate::policy_file::PolicyFile;

/// The class at a place: that of the longest prefix that holds it.
fn class(guard: &Guard, kind: PlaceKind, table: u8, data: [u8; 16]) -> Rules {
    let bits = u128::from_be_bytes;
    let holds = |place: &Place| {
        place.kind == kind
            && place.table == table
            && (bits(place.data) ^ bits(data)).leading_zeros() >= u32::from(place.len)
    };
    let longest = guard.places.iter().filter(|(place, _)| holds(place)).max_by_key(|(place, _)| place.len);
    guard.classes[longest.map_or(0, |(_, class)| *class as usize)]
}

/// What the program says to a packet: whether it is permitted, and the bit of the rule.
fn judge(
    guard: &Guard,
    table: u8,
    protocol: usize,
    remote: IpAddr,
    ports: (u16, u16),
) -> (bool, Option<u32>) {
    let number = |number: u16| std::array::from_fn(|n| *number.to_be_bytes().get(n).unwrap_or(&0));
    let (kind, data) = match remote {
        IpAddr::V4(v4) => (PlaceKind::Remote4, std::array::from_fn(|n| *v4.octets().get(n).unwrap_or(&0))),
        IpAddr::V6(v6) => (PlaceKind::Remote6, v6.octets()),
    };
    let mut all = vec![class(guard, kind, table, data)];
    if protocol < 2 {
        all.push(class(guard, PlaceKind::LocalPort, table, number(ports.0)));
        all.push(class(guard, PlaceKind::RemotePort, table, number(ports.1)));
    } else {
        all.push(class(guard, PlaceKind::IcmpType, table, number(ports.0)));
    }
    let of = &guard.tables[usize::from(table)];
    all.push(guard.classes[of.protocol[protocol] as usize]);
    let words = (0..GUARD_WORDS).map(|word| all.iter().fold(u64::MAX, |both, rules| both & rules[word]));
    let first = (0..).zip(words).find(|(_, word)| *word != 0);
    let rule = first.map(|(n, word)| n * 64 + word.trailing_zeros());
    let allow = guard.classes[of.allow as usize];
    (rule.is_some_and(|bit| allow[bit as usize / 64] >> (bit % 64) & 1 == 1), rule)
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn prefix(&mut self) -> String {
        let (a, b, len) = (self.below(3), self.below(4), [8, 16, 24, 30, 32][self.below(5) as usize]);
        let prefix = Prefix::new(format!("10.{a}.0.{b}").parse().unwrap(), len).unwrap();
        match self.below(4) {
            0 => "2001:db8::/32".into(),
            1 => format!("2001:db8::{b}"),
            _ => prefix.to_string(),
        }
    }

    fn ports(&mut self) -> String {
        let first = self.below(6) + 20;
        match self.below(3) {
            0 => "\"any\"".into(),
            1 => format!("[{first}, \"{}-{}\"]", first + 3, first + 3 + self.below(9)),
            _ => format!("\"{first}-{}\"", first + self.below(70)),
        }
    }

    fn rule(&mut self, n: usize) -> String {
        let direction = ["in", "in", "both", "out"][self.below(4) as usize];
        let protocol = ["tcp", "udp", "any"][self.below(3) as usize];
        let remote = match self.below(4) {
            0 => String::new(),
            1 => "remote = '@some', ".into(),
            _ => format!("remote = ['{}', '{}'], ", self.prefix(), self.prefix()),
        };
        let action = ["allow", "deny"][self.below(2) as usize];
        let interface =
            ["", "", "interface = 'eth0', ", "interface = ['eth1', 'eth0'], ", "interface = 'eth*', "]
                [self.below(5) as usize];
        format!(
            "{{ name = '{n}', {interface}direction = '{direction}', protocol = '{protocol}', local_port = {}, {remote}\
             remote_port = {}, action = '{action}' }},\n",
            self.ports(),
            self.ports()
        )
    }
}

#[test]
fn it_equals_the_policy_for_random_rules() {
    let mut dice = Dice(7);
    let (mut permitted, mut by_rule, mut tries) = (0, 0, 0);
    for count in [1, 3, 8, 30, 200] {
        for _ in 0..4 {
            let mut rules = || (0..count).map(|n| dice.rule(n)).collect::<String>();
            let both = "local = ['10.77.0.1', '2001:db8::77']";
            let text = format!(
                "sets.some = ['10.1.0.0/16', '10.1.0.1', '2001:db8::3']\n[[table]]\nlocal = '10.0.0.7'\n[[table]]\n\
                 {both}\ncloak = true\nrule = [\n{}]\n[[table]]\n{both}\ninterface = 'eth1*'\ncloak = true\nrule = \
                 [\n{}]\n[[table]]\n{both}\ninterface = ['eth10', 'lo']\n",
                rules(),
                rules()
            );
            let file = PolicyFile::parse(&text).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
            let guarded = file.guard.clone().unwrap();
            let local: IpAddr = "10.77.0.1".parse().unwrap();
            for _ in 0..200 {
                let v4 = dice.below(3) > 0;
                let remote: IpAddr = match v4 {
                    true => format!("10.{}.0.{}", dice.below(4), dice.below(5)).parse().unwrap(),
                    false => format!("2001:db8::{}", dice.below(5)).parse().unwrap(),
                };
                let local = if v4 { local } else { "2001:db8::77".parse().unwrap() };
                let (here, there) = (dice.below(60) as u16 + 15, dice.below(60) as u16 + 15);
                let (at, protocol) = [(0, Protocol::Tcp), (1, Protocol::Udp)][dice.below(2) as usize];
                let key = FlowKey {
                    protocol,
                    local: SocketAddr::new(local, here),
                    remote: SocketAddr::new(remote, there),
                };
                let interface = ["eth0", "eth1", "eth11", "eth10", "wlan0"][dice.below(5) as usize];
                let via = file.policy.via(Some(interface));
                let (part, table) = (guarded.part(interface), file.policy.table_of(local, via).unwrap());
                assert_eq!(
                    table,
                    match interface {
                        "eth10" => 3,
                        "eth1" | "eth11" => 2,
                        _ => 1,
                    }
                );
                let Some(number) = part.number_of(table) else {
                    assert_eq!(table, 3, "the only one that the programs leave to stacks");
                    continue;
                };
                let expected = file.policy.judge(&key, Direction::In, via);
                let (allowed, bit) = judge(&part.guard, number, at, remote, (here, there));
                let rule = part.origin(number.into(), bit).unwrap();
                assert_eq!((allowed, rule), (expected.allowed, (table, expected.rule)), "{key:?}\n{text}");
                tries += 1;
                permitted += usize::from(allowed);
                by_rule += usize::from(bit.is_some());
            }
        }
    }
    // The dice show all sides.
    assert!(permitted > tries / 10 && permitted < tries / 2, "{permitted} of {tries}");
    assert!(by_rule > permitted * 3 / 2 && by_rule < tries * 19 / 20, "{by_rule} of {tries}");
}

#[test]
fn icmp_is_judged_by_type_and_code() {
    let text = "[[table]]\nlocal = '10.77.0.1'\ncloak = true\nrule = [\n\
        { name = 'no', direction = 'in', protocol = 'icmp', icmp_type = '13/1', action = 'deny' },\n\
        { name = 'web', direction = 'in', protocol = 'tcp', local_port = 80, action = 'allow' },\n\
        { name = 'echo', direction = 'in', protocol = 'icmp', icmp_type = ['echo-request', 13], remote = '10.1.0.0/16', action = 'allow' },\n\
        { name = 'all', direction = 'in', action = 'allow', remote = '10.2.0.0/16' },\n]\n";
    let guarded = PolicyFile::parse(text).unwrap().guard.unwrap();
    let guard = &guarded.part("eth0").guard;
    let asked = |remote: &str, message: u16| judge(guard, 0, 2, remote.parse().unwrap(), (message, 0));
    assert_eq!(asked("10.1.0.1", 8 << 8), (true, Some(2)));
    assert_eq!(asked("10.1.0.1", 8 << 8 | 7), (true, Some(2)));
    assert_eq!(asked("10.1.0.1", 13 << 8), (true, Some(2)));
    assert_eq!(asked("10.1.0.1", 13 << 8 | 1), (false, Some(0)));
    assert_eq!(asked("10.2.0.1", 8 << 8), (false, None), "any means TCP and UDP");
    assert_eq!(judge(guard, 0, 0, "10.2.0.1".parse().unwrap(), (22, 1)), (true, Some(3)));
}

#[test]
fn what_is_too_much_for_the_program_is_refused_with_the_table() {
    let rules = |n: usize| {
        let rule = |n| format!("{{ name = '{n}', direction = 'in', action = 'allow', local_port = {n} }},\n");
        let rules: String = (1..=n).map(rule).collect();
        format!("[[table]]\nlocal = '10.0.0.1'\nname = 'shop'\noffload = 'xdp'\nrule = [\n{rules}]\n")
    };
    assert!(PolicyFile::parse(&rules(GUARD_RULES)).is_ok());
    let faults = PolicyFile::parse(&rules(GUARD_RULES + 1)).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "3:8: 1025 rules for what comes in: the steering program can carry out 1024 a table; \
         leave `cloak` and `offload` out of it"
    );
    let crowd: Vec<Prefix> =
        (0..=PLACES as u32).map(|n| Prefix::host(std::net::Ipv4Addr::from_bits(n * 3).into())).collect();
    let rule = RuleSpec {
        direction: RuleDirection::In,
        protocol: RuleProtocol::Tcp,
        remotes: crowd,
        ..RuleSpec::any("crowd", Action::Deny)
    };
    let mut table = TableSpec::of_host("10.0.0.1".parse().unwrap(), Mode::Enforce, vec![rule]);
    table.cloak = true;
    let spec = PolicySpec { default: Action::Allow, tables: vec![table], shadow: Vec::new() };
    assert!(Policy::compile(&spec).is_ok());
    assert!(Guarded::of(&spec).unwrap_err().1.starts_with("more than 250000 prefixes"));
}

#[test]
fn rules_have_counts_of_their_own_while_there_is_room() {
    let table = |n: usize, rules: usize| {
        let rule = |r| {
            format!(
                "{{ name = '{r}', direction = 'in', action = 'deny', counter = 'c{r}', protocol = 'tcp' }},\n"
            )
        };
        let rules: String = (0..rules).map(rule).collect();
        let out = "{ name = 'out', direction = 'out', action = 'allow' },\n";
        format!("[[table]]\nlocal = '10.0.1.{n}'\ncloak = true\nrule = [\n{out}{rules}]\n")
    };
    let all = TALLIES / GUARD_RULES;
    let full: String = (1..all).map(|n| table(n, GUARD_RULES)).collect();
    let text = [full, table(200, 1000), table(201, 25), table(202, 24), table(203, 1)].concat();
    let guarded = PolicyFile::parse(&text).unwrap().guard.unwrap();
    let part = guarded.part("eth0");
    let places = |number: usize| part.tallied(number as u8).map(|t| t.at as usize).collect::<Vec<_>>();
    let full = (all - 1) * GUARD_RULES;
    assert_eq!(places(1), (GUARD_RULES..2 * GUARD_RULES).collect::<Vec<_>>());
    assert_eq!(places(all - 1), (full..full + 1000).collect::<Vec<_>>());
    assert_eq!(places(all), [0; 0], "there is no room for all of its rules");
    assert_eq!(places(all + 1), (full + 1000..TALLIES).collect::<Vec<_>>());
    assert_eq!(places(all + 2), [0; 0]);
    let first = part.tallied(0).next().unwrap();
    assert_eq!((first.rule, first.counter), (1, Some("c0")), "the rule before it is for what goes out");
}

#[test]
fn only_tables_that_ask_for_it_are_in_it() {
    let guard = |keys: &str| {
        PolicyFile::parse(&format!("[[table]]\nlocal = '10.0.0.1'\n{keys}\n")).unwrap().guard.is_some()
    };
    assert!(guard("cloak = true") && guard("offload = 'xdp'"));
    assert!(!guard("") && !guard("cloak = false\noffload = 'none'"));
}

#[test]
fn a_table_that_monitors_is_marked_so() {
    let monitors = |mode: &str| {
        let text = format!("[[table]]\nlocal = '10.0.0.1'\ncloak = true\nmode = '{mode}'\n");
        let guarded = PolicyFile::parse(&text).unwrap().guard.unwrap();
        guarded.part("eth0").guard.tables[0].monitor
    };
    assert!(monitors("monitor") && !monitors("enforce"));
}
