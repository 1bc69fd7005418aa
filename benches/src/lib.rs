//! What the benchmarks of the parts share. The benchmarks are in `benches/`; `cargo xtask bench --parts` runs
//! them.

pub mod callgrind;
pub mod engines;
pub mod policies;
pub mod workload;

use std::net::{Ipv4Addr, SocketAddr};

use stack::types::{FlowKey, Protocol};

/// The address the benchmarks serve on.
pub const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The `n`-th of many flows to port 80: a thousand ports on each of many remote addresses.
#[must_use]
pub fn flow(n: u32) -> FlowKey {
    let remote = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 80, 0, 0)) + n / 1000);
    FlowKey {
        protocol: Protocol::Tcp,
        local: SocketAddr::from((LOCAL, 80)),
        remote: SocketAddr::from((remote, 20_000 + (n % 1000) as u16)),
    }
}

/// Numbers below `n` in an order without a pattern, each as likely as the other.
pub fn shuffled(n: u32) -> impl Iterator<Item = u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (((state >> 32) * u64::from(n)) >> 32) as u32
    })
}
