//! What an ACK costs in congestion avoidance.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use stack::config::TcpConfig;
use stack::tcp::cc::{CongestionControl, Cubic};
use stack::tcp::rto::Rto;
use stack::time::Instant;

fn cubic(c: &mut Criterion) {
    let rtt = Duration::from_micros(500);
    let mut cc = Cubic::new(1448);
    cc.on_ack(1_000_000, rtt, Instant::ZERO, false);
    cc.on_congestion();
    cc.on_recovery_exit();
    let mut now = Instant::ZERO;
    c.bench_function("cubic, an ACK", |b| {
        b.iter(|| {
            now += Duration::from_nanos(100);
            cc.on_ack(black_box(2896), rtt, now, false);
            cc.cwnd()
        });
    });
    let mut rto = Rto::new(&TcpConfig::default());
    c.bench_function("RTO, a sample", |b| {
        b.iter(|| {
            rto.on_sample(black_box(rtt));
            rto.rto()
        });
    });
}

criterion_group!(benches, cubic);
criterion_main!(benches);
