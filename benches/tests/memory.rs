//! What an idle established connection takes, everything counted: its slot, its share of the flow table, its timer.
//! (`cargo xtask bench --engine` counts it with a million of them.)

use allocation_counter::measure;
use ringroad_benches::engines::{Engine, Ours, Ours6};
use ringroad_benches::workload::Bench;

/// Bytes that the allocator has given for a stack with so many real connections.
fn bytes<E: Engine>(connections: u32) -> u64 {
    let mut bench = None;
    let info = measure(|| bench = Some(Bench::<E>::new(connections, 0)));
    let script = bench.as_ref().map_or(0, Bench::own_bytes);
    info.bytes_current.unsigned_abs() - script
}

#[test]
fn an_idle_connection_takes_less_than_a_kibibyte_all_told() {
    // The difference leaves out what a stack takes without any. With so many, the index of flows has just doubled.
    let (few, many) = (5_000, 41_000);
    let each = |bytes: fn(u32) -> u64| (bytes(many) - bytes(few)) / u64::from(many - few);
    for each in [each(bytes::<Ours>), each(bytes::<Ours6>)] {
        assert!(each <= 1024, "{each} bytes");
        assert!(each > 500, "{each} bytes: something is not counted");
    }
}
