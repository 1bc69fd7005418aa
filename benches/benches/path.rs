//! A frame in until its socket is readable, and a send until its frame is out, on one established connection.

use std::time::{Duration, Instant as Wall};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringroad_tests::host::Host;
use stack::config::Config;
use stack::socket::{OptName, Value};
use stack::time::Instant;
use stack::types::{Readiness, SocketId};

/// Segments of one measured run.
const BATCH: u64 = 64;

/// Two hosts and an established connection between them; time goes on by a millisecond a step.
struct Path {
    hosts: [Host; 2],
    ids: [SocketId; 2],
    now: Instant,
    heard: Vec<u8>,
}

impl Path {
    fn new() -> Self {
        let mut hosts = Host::pair(4096, &Config::default());
        let now = Instant::from_millis(1);
        let listener = hosts[0].listen(80).expect("a listener");
        let remote = (hosts[0].address, 80).into();
        let client = hosts[1].connect(now, 40_000, remote).expect("a connection");
        settle(&mut hosts, now);
        let server = hosts[0].accept(now, listener).expect("a connection").id;
        for (host, id) in hosts.iter_mut().zip([server, client]) {
            host.stack.set_option(now, id, OptName::NoDelay, Value::Int(1)).expect("TCP_NODELAY");
        }
        Self { hosts, ids: [server, client], now, heard: Vec::with_capacity(1 << 20) }
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        for host in &mut self.hosts {
            if host.stack.next_deadline() <= self.now {
                host.stack.expire(self.now);
            }
        }
        settle(&mut self.hosts, self.now);
    }

    /// Frames that carry `size` bytes each from the client to the server.
    fn segments(&mut self, size: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for _ in 0..BATCH {
            assert_eq!(self.hosts[1].send(self.now, self.ids[1], &[5; 1460][..size]), Ok(size));
            self.hosts[1].output(|bytes| frames.push(bytes.to_vec()));
            self.hosts[1].sent(0);
        }
        frames
    }

    fn read(&mut self) {
        for (host, id) in self.hosts.iter_mut().zip(self.ids) {
            self.heard.clear();
            while host.recv(self.now, id, 1 << 20, &mut self.heard).is_ok_and(|n| n > 0) {}
        }
    }

    /// The time that the server takes to make a batch of segments readable.
    fn receive(&mut self, size: usize) -> Duration {
        let frames = self.segments(size);
        let begin = Wall::now();
        for frame in &frames {
            self.hosts[0].input(self.now, frame);
            while self.hosts[0].stack.next_wake().is_some() {}
        }
        let took = begin.elapsed();
        assert!(self.hosts[0].stack.readiness(self.ids[0]).contains(Readiness::IN));
        self.read();
        self.step();
        took
    }

    /// The time that the server takes to turn a batch of sends into frames.
    fn send(&mut self, size: usize) -> Duration {
        let before = self.hosts[0].stack.stats().tx_frames;
        let begin = Wall::now();
        for _ in 0..BATCH {
            assert_eq!(self.hosts[0].send(self.now, self.ids[0], &[6; 1460][..size]), Ok(size));
        }
        let took = begin.elapsed();
        assert!(self.hosts[0].stack.stats().tx_frames > before, "no frame came out");
        self.step();
        self.read();
        self.step();
        took
    }
}

fn settle(hosts: &mut [Host; 2], now: Instant) {
    for _ in 0..64 {
        for from in 0..2 {
            let mut out = Vec::new();
            hosts[from].output(|bytes| out.push(bytes.to_vec()));
            hosts[from].sent(0);
            out.iter().for_each(|bytes| {
                hosts[1 - from].input(now, bytes);
            });
        }
    }
}

/// Runs `batch` until it has done `iterations` segments; the time for exactly that many.
fn batches(iterations: u64, mut batch: impl FnMut() -> Duration) -> Duration {
    let runs = iterations.div_ceil(BATCH);
    let took: Duration = (0..runs).map(|_| batch()).sum();
    took.mul_f64(iterations as f64 / (runs * BATCH) as f64)
}

fn path(c: &mut Criterion) {
    let mut path = Path::new();
    let mut group = c.benchmark_group("path");
    for size in [64, 1400] {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_with_input(BenchmarkId::new("frame in to socket readable", size), &size, |b, size| {
            b.iter_custom(|n| batches(n, || path.receive(*size)));
        });
        group.bench_with_input(BenchmarkId::new("send to frame out", size), &size, |b, size| {
            b.iter_custom(|n| batches(n, || path.send(*size)));
        });
    }
    group.finish();
}

criterion_group!(benches, path);
criterion_main!(benches);
