//! Timers: re-armed with each segment, and firing, among ten and a million.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringroad_benches::shuffled;
use stack::time::Instant;
use stack::wheel::Wheel;

/// Timers between 200 ms and 60 s from `now`.
fn deadline(now: Instant, random: u32) -> Instant {
    now + Duration::from_millis(200) + Duration::from_nanos(u64::from(random) * 14)
}

fn wheel(c: &mut Criterion) {
    let mut group = c.benchmark_group("wheel");
    for timers in [10, 1_000_000] {
        let mut wheel = Wheel::new();
        let (mut which, mut random) = (shuffled(timers), shuffled(u32::MAX));
        let mut next = || (which.next().unwrap_or_default(), random.next().unwrap_or_default());
        (0..timers).for_each(|timer| wheel.arm(timer, deadline(Instant::ZERO, next().1)));
        let mut now = Instant::ZERO;
        group.bench_function(BenchmarkId::new("re-arm one of", timers), |b| {
            b.iter(|| {
                let (timer, random) = next();
                wheel.arm(black_box(timer), deadline(now, random));
            });
        });
        group.bench_function(BenchmarkId::new("next deadline of", timers), |b| {
            b.iter(|| black_box(&wheel).next_deadline());
        });
        // One turn: the time passes to the next deadline, what is due fires and is armed again.
        group.bench_function(BenchmarkId::new("fire and re-arm one of", timers), |b| {
            b.iter(|| {
                now = wheel.next_deadline().map_or(now, |next| next.max(now));
                while let Some(timer) = wheel.pop_due(now) {
                    wheel.arm(timer, deadline(now, next().1));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, wheel);
criterion_main!(benches);
