//! What a verdict costs: for a flow seen for the first time, by number and kind of rules, and for one that is
//! known; and what it costs to compile a policy.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringroad_benches::policies::{Kind, flows, policy};
use stack::ip::VerdictMemo;
use stack::policy::{Gate, Policy};
use stack::types::Direction;

fn gate(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    for kind in [Kind::Peers, Kind::Ports, Kind::Mixed] {
        for rules in [10, 1_000, 5_000, 10_000] {
            let spec = policy(kind, rules);
            let Ok(compiled) = Policy::compile(&spec) else { unreachable!("the sets compile") };
            let mut gate = Gate::new(compiled);
            let flows = flows(&spec);
            let mut turn = flows.iter().cycle();
            group.bench_function(BenchmarkId::new(format!("new flow, {kind:?}"), rules), |b| {
                b.iter(|| {
                    let flow = turn.next().unwrap_or(&flows[0]);
                    gate.judge(&mut VerdictMemo::default(), black_box(flow), Direction::In, 100)
                });
            });
        }
    }
    let spec = policy(Kind::Mixed, 5_000);
    let Ok(compiled) = Policy::compile(&spec) else { unreachable!("the sets compile") };
    let (mut gate, flow) = (Gate::new(compiled), flows(&spec)[0]);
    let mut memo = VerdictMemo::default();
    group.bench_function("known flow", |b| {
        b.iter(|| gate.judge(black_box(&mut memo), black_box(&flow), Direction::In, 100));
    });
    group.sample_size(10);
    group.bench_function("compile 5000 rules", |b| b.iter(|| Policy::compile(black_box(&spec))));
    group.finish();
}

criterion_group!(benches, gate);
criterion_main!(benches);
