//! What records of flows cost a second, with a million connections: when none carries anything, and when ten thousand do;
//! and what noting costs a segment.
//!
//! ```text
//! journal [CONNECTIONS [ACTIVE]]
//! ```

use std::time::{Duration, Instant};

use ringroad::flows::Verdict;
use ringroad::flows::ipfix::{Encoder, Told};
use ringroad_benches::engines::Ours;
use ringroad_benches::workload::{BATCH, Bench, Work};
use stack::engine::Journals;
use stack::journal::FlowRecord;
use stack::policy::Via;

/// Flows that are told of under one lock, as the runtime does it.
const AT_A_TIME: usize = 256;
/// Seconds that are measured.
const SECONDS: usize = 9;

fn main() {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse().ok());
    let (connections, active) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(10_000));
    let mut bench = Bench::<Ours>::new(connections, 0);
    let begin = Instant::now();
    let journals = Journals::new(bench.engine().stack.flow_slots());
    println!("making the journals: {:.1} ms", ms(begin.elapsed()));
    bench.engine().stack.keep_journals(journals);
    let (mut worst, mut from) = (Duration::ZERO, Some(0));
    let begin = Instant::now();
    while let Some(slot) = from {
        let step = Instant::now();
        from = bench.engine().stack.survey(slot, AT_A_TIME as u32);
        worst = worst.max(step.elapsed());
    }
    println!(
        "surveying {connections} connections: {:.1} ms, at most {:.3} at once",
        ms(begin.elapsed()),
        ms(worst)
    );
    tell(&mut bench);
    let idle = median((0..SECONDS).map(|_| tell(&mut bench).1).collect());
    println!(
        "a second in which none carries anything: {:.4} ms, {:.5} % of a core",
        ms(idle),
        ms(idle) / 10.0
    );
    let mut seconds = Vec::new();
    let mut told = 0;
    for _ in 0..SECONDS {
        for _ in 0..(active as usize).div_ceil(BATCH) {
            bench.run(Work::Segment(64));
        }
        let (records, took) = tell(&mut bench);
        told = records;
        seconds.push(took);
    }
    let took = median(seconds);
    println!(
        "a second in which {told} do: {:.2} ms, {:.2} % of a core, {:.0} ns for each",
        ms(took),
        ms(took) / 10.0,
        took.as_nanos() as f64 / told as f64
    );
    println!("a segment of 64 bytes that is noted: {:.0} ns", segment(&mut bench));
    drop(bench.engine().stack.drop_journals());
    println!("a segment of 64 bytes while nobody listens: {:.0} ns", segment(&mut bench));
}

/// Tells of all that carried something, as the messages that are written: how many, and how long it took.
fn tell(bench: &mut Bench<Ours>) -> (usize, Duration) {
    let stack = &mut bench.engine().stack;
    let mut records: Vec<FlowRecord> = Vec::with_capacity(AT_A_TIME);
    let mut told = 0;
    let policy = std::sync::Arc::clone(stack.policy_in_force());
    let mut encoder = Encoder::new(1);
    let begin = Instant::now();
    stack.turn_journals();
    loop {
        let more = stack.tell_flows(stack::time::Instant::from_millis(1), AT_A_TIME, &mut records);
        told += records.len();
        for record in records.drain(..) {
            let said = policy.tell(&record.key, record.direction, Via::OTHER);
            let (table, rule) = (said.table.map_or("", |t| t), said.rule.map_or("", |r| r));
            let told = Told { record: &record, verdict: Verdict::Allowed, table, rule, span: (0, 1) };
            encoder.put(&told, &mut |message, _| drop(std::hint::black_box(message.to_vec())));
        }
        if !more {
            return (told, begin.elapsed());
        }
    }
}

/// The median over many, in nanoseconds.
fn segment(bench: &mut Bench<Ours>) -> f64 {
    let batch = median((0..401).map(|_| bench.run(Work::Segment(64)).0).collect());
    batch.as_nanos() as f64 / BATCH as f64
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}
