//! Finding a connection among ten, ten thousand and a million.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringroad_benches::{flow, shuffled};
use stack::demux::FlowTable;
use stack::hash::HashKey;

fn demux(c: &mut Criterion) {
    let mut group = c.benchmark_group("demux");
    for flows in [10, 10_000, 1_000_000] {
        let mut table = FlowTable::<u32>::new(HashKey::new([7; 16]));
        (0..flows).for_each(|n| {
            table.insert(&flow(n), n);
        });
        let asked: Vec<_> = shuffled(flows).take(1 << 16).map(flow).collect();
        let mut turn = asked.iter().cycle();
        group.bench_with_input(BenchmarkId::new("any of", flows), &flows, |b, _| {
            b.iter(|| table.get(black_box(turn.next().unwrap_or(&asked[0]))));
        });
        group.bench_with_input(BenchmarkId::new("the same of", flows), &flows, |b, _| {
            b.iter(|| table.get(black_box(&asked[0])));
        });
        let absent = flow(flows);
        group.bench_with_input(BenchmarkId::new("none of", flows), &flows, |b, _| {
            b.iter(|| table.get(black_box(&absent)));
        });
    }
    group.finish();
}

criterion_group!(benches, demux);
criterion_main!(benches);
