//! The suite on the rings between two stacks of one port, in one process and in two. As root.

use suite::{CrossingWire, conform, cross_until_killed, ping};

#[test]
fn driver() {
    cross_until_killed();
}

#[test]
fn shared_memory_conforms() {
    conform(&mut CrossingWire::new("crossing"));
}

/// Whoever stands still keeps nobody waiting, and whoever is killed loses no frame.
#[test]
fn a_stack_is_stopped_and_killed() {
    let mut wire = CrossingWire::new("crossing-killed");
    for number in [1, 10] {
        wire.stop_and_kill_a_driver("driver");
        ping(&mut wire, number);
    }
}
