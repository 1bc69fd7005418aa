//! What a verdict about a flow seen for the first time takes: ours, a scan of the rules in turn, and DPDK's rte_acl where
//! Debian's libdpdk-dev is installed; the same rules and flows in the same run, and all must give the same verdicts. Then
//! what a request takes of our engine behind thousands of rules and behind none, in instructions.
//!
//! ```text
//! firewalls                     all of it
//! firewalls count RULES WORK    one piece of work so often that callgrind can count it
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use ringroad_benches::policies::{Family, Kind, first_match, flows, policy};
use stack::hash::HashKey;
use stack::ip::VerdictMemo;
use stack::policy::{Gate, Packet, Policy, RuleSpec};
use stack::types::{Direction, FlowKey, Road};

#[path = "firewalls/acl.rs"]
mod acl;
#[path = "firewalls/behind.rs"]
mod behind;

use acl::Acl;

/// What is judged: its length is counted.
const PACKET: Packet = Packet { len: 100, way: Direction::In, road: Road::UNKNOWN };
const COUNTS: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
const KINDS: [Kind; 3] = [Kind::Peers, Kind::Mixed, Kind::Providers];
const SEED: u64 = 1;
/// Rounds of which the lowest counts, unless they take longer than a side is given.
const ROUNDS: usize = 40;
const LIMIT: Duration = Duration::from_secs(3);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [count, rules, work] = &args[..]
        && count == "count"
    {
        return behind::count(rules, work);
    }
    verdicts();
    println!();
    behind::print();
}

fn verdicts() {
    let acl = Acl::compile();
    if let Err(why) = &acl {
        println!("rte_acl is left out: {why}");
    }
    println!("a new flow's verdict in ns, the lowest of {ROUNDS} rounds over flows without a pattern (IPv4)");
    println!(
        "{:9} {:>7} {:>9} {:>10} {:>9} {:>9}   {:>9} {:>8}   {:>11} {:>11}",
        "kind",
        "rules",
        "ringroad",
        "in turn",
        "rte_acl",
        "in bursts",
        "/ in turn",
        "/ acl",
        "compiled, ms",
        "acl, ms"
    );
    for kind in KINDS {
        for count in COUNTS {
            row(kind, count, acl.as_ref().ok());
        }
    }
}

fn row(kind: Kind, count: usize, acl: Option<&Acl>) {
    let spec = policy(kind, Family::V4, count, SEED);
    let (flows, rules) = (flows(&spec, SEED), &spec.tables[0].rules);
    let begun = Instant::now();
    let Ok(compiled) = Policy::compile(&spec) else { unreachable!("the sets compile") };
    let took = begun.elapsed();
    let mut gate = Gate::new(compiled, HashKey::new([0; 16]));
    let mut judge = |flow: &FlowKey| gate.judge(&mut VerdictMemo::default(), flow, Direction::In, PACKET);
    let expected: Vec<Option<usize>> =
        flows.iter().map(|flow| first_match(rules, flow, Direction::In)).collect();
    for (flow, rule) in flows.iter().zip(&expected) {
        assert_eq!(judge(flow), rule.is_some_and(|rule| is_allow(&rules[rule])), "{flow:?}: rule {rule:?}");
    }
    let ours = lowest(&flows, &mut judge);
    let in_turn = lowest(&flows, |flow| first_match(rules, flow, Direction::In).is_some());
    let theirs = acl.and_then(|acl| acl.measure(rules, &flows, &expected));
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let [one, burst, built] = [0, 1, 2].map(|at| theirs.map(|all| all[at]));
    println!(
        "{:9} {count:7} {ours:9.1} {in_turn:10.1} {:>9} {:>9}   {:>9} {:>8}   {:11.1} {:>11}",
        format!("{kind:?}").to_lowercase(),
        cell(one),
        cell(burst),
        format!("{:.0}x", in_turn / ours),
        cell(one.map(|one| one / ours)),
        took.as_secs_f64() * 1e3,
        cell(built),
    );
}

fn is_allow(rule: &RuleSpec) -> bool {
    rule.action == stack::policy::Action::Allow
}

/// The least that a verdict took in a round over all flows, in nanoseconds.
fn lowest(flows: &[FlowKey], mut judge: impl FnMut(&FlowKey) -> bool) -> f64 {
    let (begun, mut least) = (Instant::now(), f64::INFINITY);
    for _ in 0..ROUNDS {
        let round = Instant::now();
        for flow in flows {
            black_box(judge(black_box(flow)));
        }
        least = least.min(round.elapsed().as_nanos() as f64 / flows.len() as f64);
        if begun.elapsed() > LIMIT {
            break;
        }
    }
    least
}
