//! What a verdict costs: for a flow seen for the first time, by number, kind and family of rules, beside a scan of the
//! rules in turn; for one that is known; and what it costs to compile a policy.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringroad_benches::policies::{Family, Kind, first_match, flows, policy};
use stack::hash::HashKey;
use stack::ip::VerdictMemo;
use stack::policy::{Gate, Packet, Policy, PolicySpec};
use stack::types::{Direction, FlowKey, Road};

const COUNTS: [usize; 5] = [10, 1_000, 5_000, 10_000, 100_000];
const SEED: u64 = 1;
/// What is judged.
const PACKET: Packet = Packet { len: 100, way: Direction::In, road: Road::UNKNOWN };
/// Known flows that take turns.
const TURNS: usize = 64;
/// Rules up to which trying them in turn is worth waiting for.
const SCANNED: usize = 10_000;

fn gate_of(spec: &PolicySpec) -> Gate {
    let Ok(compiled) = Policy::compile(spec) else { unreachable!("the sets compile") };
    Gate::new(compiled, HashKey::new([0; 16]))
}

fn new_flows(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    for (kind, family) in [
        (Kind::Peers, Family::V4),
        (Kind::Ports, Family::V4),
        (Kind::Mixed, Family::V4),
        (Kind::Providers, Family::V4),
        (Kind::Nested, Family::V4),
        (Kind::Peers, Family::V6),
        (Kind::Providers, Family::V6),
        (Kind::Nested, Family::V6),
    ] {
        for rules in COUNTS {
            let spec = policy(kind, family, rules, SEED);
            let mut gate = gate_of(&spec);
            let flows = flows(&spec, SEED);
            let mut turn = flows.iter().cycle();
            group.bench_function(BenchmarkId::new(format!("new flow, {kind:?} {family:?}"), rules), |b| {
                b.iter(|| {
                    let flow = turn.next().unwrap_or(&flows[0]);
                    gate.judge(&mut VerdictMemo::default(), black_box(flow), Direction::In, PACKET)
                });
            });
            if kind == Kind::Providers && rules <= SCANNED {
                let rules = &spec.tables[0].rules;
                let id = BenchmarkId::new(format!("in turn, {kind:?} {family:?}"), rules.len());
                group.bench_function(id, |b| {
                    b.iter(|| first_match(rules, black_box(turn.next().unwrap_or(&flows[0])), Direction::In));
                });
            }
        }
    }
    group.finish();
}

fn known_flows(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    for (family, rules) in [(Family::V4, 10), (Family::V4, 100_000), (Family::V6, 100_000)] {
        let spec = policy(Kind::Providers, family, rules, SEED);
        let (mut gate, flow) = (gate_of(&spec), flows(&spec, SEED)[0]);
        let mut memo = VerdictMemo::default();
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new(format!("known flow, {family:?}"), rules), |b| {
            b.iter(|| gate.judge(black_box(&mut memo), black_box(&flow), Direction::In, PACKET));
        });
        // One packet after the other of one flow waits for that flow's counter; of several none does.
        let mut known: Vec<(VerdictMemo, FlowKey)> =
            flows(&spec, SEED).into_iter().take(TURNS).map(|flow| (VerdictMemo::default(), flow)).collect();
        group.throughput(Throughput::Elements(TURNS as u64));
        group.bench_function(BenchmarkId::new(format!("{TURNS} known flows, {family:?}"), rules), |b| {
            b.iter(|| {
                for (memo, flow) in &mut known {
                    black_box(gate.judge(black_box(memo), black_box(flow), Direction::In, PACKET));
                }
            });
        });
    }
    group.finish();
}

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    group.sample_size(10);
    for (kind, rules) in
        [(Kind::Providers, 5_000), (Kind::Peers, 100_000), (Kind::Mixed, 100_000), (Kind::Providers, 100_000)]
    {
        let spec = policy(kind, Family::V4, rules, SEED);
        let id = BenchmarkId::new(format!("compile, {kind:?}"), rules);
        group.bench_function(id, |b| b.iter(|| Policy::compile(black_box(&spec))));
    }
    group.finish();
}

criterion_group!(benches, new_flows, known_flows, compile);
criterion_main!(benches);
