//! What a request takes of the engine behind thousands of rules, and behind none. In instructions, which are the same in
//! every run; what the server and the kernel do for a request comes on top for both.

use ringroad_benches::callgrind::counted;
use ringroad_benches::engines::Ours;
use ringroad_benches::policies::{Family, Kind, policy};
use ringroad_benches::workload::{Bench, Work};
use stack::policy::{Action, Policy, PortRange, Prefix, RuleDirection, RuleSpec};

const RULES: usize = 5_000;
const CONNECTIONS: u32 = 32;
/// Batches that callgrind sees.
const COUNTED: usize = 10;

/// The parts of a request: what comes, what is answered, what is acknowledged; and of a connection made for it.
const KEPT: [(&str, Work); 3] = [
    ("a request comes, 64 B", Work::Segment(64)),
    ("an answer goes, 1,400 B", Work::Send(1400)),
    ("an ACK comes", Work::Ack),
];
const EACH: (&str, Work) = ("a connection, SYN to closed", Work::Life);

/// Rules as ClassBench makes them, which let pass whom they match; the last one lets everybody in to the server.
fn rules(count: usize) -> Option<std::sync::Arc<Policy>> {
    let mut spec = policy(Kind::Providers, Family::V4, count, 1);
    let rules = &mut spec.tables[0].rules;
    rules.iter_mut().for_each(|rule| rule.action = Action::Allow);
    rules.push(RuleSpec {
        direction: RuleDirection::In,
        remotes: vec![Prefix::ANY_V4],
        local_ports: vec![PortRange::one(80)],
        ..RuleSpec::any("web".to_owned(), Action::Allow)
    });
    Policy::compile(&spec).ok()
}

/// Does one work for callgrind, and prints how often.
pub(crate) fn count(behind: &str, work: &str) {
    let mut bench = Bench::<Ours>::new(CONNECTIONS, 0);
    if let (Ok(behind @ 1..), Some(rules)) = (behind.parse::<usize>(), rules(RULES)) {
        assert_eq!(behind, RULES, "the rules that there are");
        bench.engine().stack.set_policy(rules);
    }
    // Connections are judged anew by another policy, once.
    bench.warm();
    let all = KEPT.iter().chain([&EACH]).map(|(_, work)| *work);
    let Some(work) = work.parse().ok().and_then(|n: usize| all.into_iter().nth(n)) else { return };
    let units: usize = (0..COUNTED).map(|_| bench.run(work).1).sum();
    println!("{units}");
}

/// The table.
pub(crate) fn print() {
    let side = |rules: usize, work: usize| counted(&["count", &rules.to_string(), &work.to_string()]);
    let works = || KEPT.iter().chain([&EACH]).enumerate();
    let Some(counts): Option<Vec<[f64; 2]>> =
        works().map(|(n, _)| Some([side(RULES, n)?, side(0, n)?])).collect()
    else {
        println!("what a request takes of our engine is left out: valgrind is not there");
        return;
    };
    println!(
        "what a request takes of our engine, in instructions (callgrind); what the server does comes on top"
    );
    println!("{:38} {:>12} {:>12} {:>7}", "", format!("{RULES} rules"), "no rules", "ratio");
    let row = |name: &str, [with, without]: [f64; 2]| {
        println!("{name:38} {with:12.1} {without:12.1} {:6.4}x", with / without);
    };
    works().zip(&counts).for_each(|((_, (name, _)), counts)| row(name, *counts));
    let sum = |of: &[[f64; 2]]| [0, 1].map(|side| of.iter().map(|counts| counts[side]).sum::<f64>());
    row("a request over a connection kept alive", sum(&counts[..KEPT.len()]));
    row("a request with a connection of its own", sum(&counts));
}
