//! What an ACK costs in congestion avoidance.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use stack::config::TcpConfig;
use stack::seq::Seq;
use stack::tcp::cc::{Ack, Algorithm, Congestion};
use stack::tcp::rto::Rto;
use stack::time::Instant;

fn cubic(c: &mut Criterion) {
    let rtt = Duration::from_micros(500);
    let ack = Ack { acked: 2896, app_limited: false, una: Seq(0), nxt: Seq(0), rtt: Some(rtt), srtt: rtt };
    let mut cc = Congestion::new(Algorithm::Cubic, 1448);
    while cc.cwnd() < 1_000_000 {
        cc.on_ack(&ack, Instant::ZERO);
    }
    cc.on_congestion();
    cc.on_recovery_exit();
    let mut now = Instant::ZERO;
    c.bench_function("cubic, an ACK", |b| {
        b.iter(|| {
            now += Duration::from_nanos(100);
            cc.on_ack(black_box(&ack), now);
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
