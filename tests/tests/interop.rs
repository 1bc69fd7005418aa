//! Independent peers, both as client and as server, over loss, duplication and reordering: what one says the other
//! hears, byte for byte, both ways at once. smoltcp and lwIP, in virtual time.
//!
//! `INTEROP_BYTES` says how many bytes each way, `cargo xtask interop` sets it to 100 MiB; `INTEROP_SEED` makes other
//! trouble. How long it took is printed (`--nocapture`).
//!
//! At 5 % smoltcp 0.14 as a sender takes two minutes of the cable's time for a MiB: without SACK most losses of a window
//! wait for its timer, whose back-off of up to 60 s stays until a round trip of new data is measured. (10 MiB: of 34 waits
//! over 0.9 s, 1,234 s in all, 31 ended with its timer; our 10 MiB were there after 3.6 s.) It computes for seconds.
//!
//! lwIP 2.1 has no SACK either, and when it opened the connection its first time-outs are 400 s and 800 s. Three duplicate ACKs
//! spare it those; so ours, of what came from behind a hole, go by themselves even while we have data to send (RFC 5681 §2).
//! Some waits are left (512 KiB at 5 %: one of 400 s).

use std::time::Duration;

use lab::Trouble;
use ringroad_tests::interop::{Opener, exchange};
use ringroad_tests::peers::{Lwip, Peer, Smol};

/// Losses, in millionths; so much is repeated and held back, too.
const LOSSES: [u32; 4] = [0, 1_000, 10_000, 50_000];

/// What was asked for, or the usual.
fn asked(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn trouble(seed: u64, loss: u32) -> Trouble {
    Trouble {
        seed: seed + u64::from(loss),
        loss,
        duplicate: loss,
        reorder: loss,
        reorder_by: Duration::from_micros(500),
        delay: Duration::from_micros(100),
        ..Trouble::default()
    }
}

/// Meets a peer at every loss; says how long it took by the clock of the cable.
fn meet<P: Peer>(peer: fn() -> P, opener: Opener) {
    let (bytes, seed) = (asked("INTEROP_BYTES", 512 << 10), asked("INTEROP_SEED", 7));
    for loss in LOSSES {
        let time = exchange(peer(), opener, bytes, trouble(seed, loss));
        println!("{bytes} bytes each way at {} %: {:.1} s", f64::from(loss) / 10_000.0, time.as_secs_f64());
    }
}

#[test]
fn smoltcp_connects_to_us() {
    meet(Smol::new, Opener::Them);
}

#[test]
fn we_connect_to_smoltcp() {
    meet(Smol::new, Opener::Us);
}

#[test]
fn lwip_connects_to_us() {
    meet(Lwip::new, Opener::Them);
}

#[test]
fn we_connect_to_lwip() {
    meet(Lwip::new, Opener::Us);
}
