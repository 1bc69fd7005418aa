//! What every [`nic::Nic`] has to do, as checks that run on any two of them that are joined by a wire.
//!
//! A backend is put to them by a [`Wire`]: [`MemoryWire`] is one in memory, [`XskWire`] AF_XDP on two interfaces,
//! [`CrossingWire`] the rings between two stacks of one port. That
//! each check can fail is tested too: a wire in memory can be given one [`Fault`] for each.

mod checks;
mod closing;
mod crossing;
mod end;
mod frame;
mod memory;
mod sys;
mod xsk;

pub use checks::CHECKS;
pub use crossing::{CrossingWire, cross_until_killed};
pub use end::{End, Wire, ping};
pub use frame::{Address, PORT};
pub use memory::{Fault, MemoryWire};
pub use xsk::{XskWire, drive_until_killed};

/// Puts a wire to all checks, one after the other.
///
/// # Panics
/// When one does not hold.
pub fn conform(wire: &mut dyn Wire) {
    for (name, check) in CHECKS {
        println!("  {name}");
        check(wire);
    }
}
