//! Independent peers, both as client and as server, over loss, duplication and reordering: what one says the other
//! hears, byte for byte, both ways at once. smoltcp and lwIP, in virtual time.
//!
//! `INTEROP_BYTES` says how many bytes each way; `cargo xtask interop` sets it to 100 MiB.

use std::time::Duration;

use lab::Trouble;
use ringroad_tests::interop::{Opener, exchange};
use ringroad_tests::peers::{Lwip, Smol};

/// Losses, in millionths; so much is repeated and held back, too.
const LOSSES: [u32; 4] = [0, 1_000, 10_000, 50_000];

/// Bytes each way: so many, or what was asked for.
fn bytes(usual: u64) -> u64 {
    std::env::var("INTEROP_BYTES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn trouble(loss: u32) -> Trouble {
    Trouble {
        seed: 7 + u64::from(loss),
        loss,
        duplicate: loss,
        reorder: loss,
        reorder_by: Duration::from_micros(500),
        delay: Duration::from_micros(100),
        ..Trouble::default()
    }
}

#[test]
fn smoltcp_connects_to_us() {
    for loss in LOSSES {
        exchange(Smol::new(), Opener::Them, bytes(512 << 10), trouble(loss));
    }
}

#[test]
fn we_connect_to_smoltcp() {
    for loss in LOSSES {
        exchange(Smol::new(), Opener::Us, bytes(512 << 10), trouble(loss));
    }
}

#[test]
fn lwip_connects_to_us() {
    for loss in LOSSES {
        exchange(Lwip::new(), Opener::Them, bytes(512 << 10), trouble(loss));
    }
}

#[test]
fn we_connect_to_lwip() {
    for loss in LOSSES {
        exchange(Lwip::new(), Opener::Us, bytes(512 << 10), trouble(loss));
    }
}
