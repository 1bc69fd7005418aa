//! The suite on a wire in memory, and the suite itself: each of its checks finds the fault that it is there for.

use std::panic;

use suite::{CHECKS, Fault, MemoryWire, conform};

/// Every check, in their order, and a fault that it finds.
const FOUND: &[Fault] = &[
    Fault::Overtakes,
    Fault::DropsWhenFull,
    Fault::Repeats,
    Fault::KeepsLoans,
    Fault::IgnoresMax,
    Fault::StarvesForGood,
    Fault::CallsAllVerified,
    Fault::StopsAtLong,
    Fault::NeverQuiet,
    Fault::WakesNobody,
    Fault::RemembersFrames,
];

#[test]
fn a_wire_in_memory_conforms() {
    conform(&mut MemoryWire::new(None));
}

#[test]
fn every_check_finds_its_fault() {
    assert_eq!(FOUND.len(), CHECKS.len());
    std::thread::scope(|scope| {
        for ((name, check), fault) in CHECKS.iter().zip(FOUND) {
            scope.spawn(move || {
                let found = panic::catch_unwind(|| check(&mut MemoryWire::new(Some(*fault)))).is_err();
                assert!(found, "{name}: {fault:?} goes unnoticed");
            });
        }
    });
}
