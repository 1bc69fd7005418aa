//! More senders than frames, woken by edges only: nobody may be forgotten.

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::{Host, Net, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::error::SocketError;
use ringroad_stack::types::{Readiness, SocketId};

const SENDERS: usize = 60;
const BYTES: usize = 100_000;

/// A sender as an edge-triggered program has it: it tries again only when it was woken.
struct Sender {
    sent: usize,
    ready: bool,
}

/// Writes once for each sender that is ready; a call that took less than all waits for the next edge.
fn write(net: &mut Net, senders: &mut HashMap<SocketId, Sender>, data: &[u8]) {
    let wakes = std::mem::take(&mut net.hosts[1].wakes);
    for wake in wakes.iter().filter(|w| w.readiness.contains(Readiness::OUT)) {
        if let Some(sender) = senders.get_mut(&wake.id) {
            sender.ready = true;
        }
    }
    for (&id, sender) in senders.iter_mut().filter(|(_, s)| s.ready && s.sent < BYTES) {
        sender.ready = false;
        match net.send(1, id, &data[sender.sent..]) {
            Ok(n) => sender.sent += n,
            Err(SocketError::WouldBlock) => {}
            Err(error) => panic!("send: {error}"),
        }
    }
}

fn all_arrives_with(frames: u32) {
    let mut net = Net::ideal();
    net.hosts[1] = Host::with_frames(2, Config::default(), frames);
    net.hosts[1].knows(1);
    let listener = net.listen(1, 80, 128);
    let clients: Vec<_> = (0..SENDERS).map(|_| net.connecting(0, 80)).collect();
    net.run_ms(2000);
    let now = net.now;
    let mut senders = HashMap::new();
    while let Ok(accepted) = net.b().accept(now, listener) {
        senders.insert(accepted.id, Sender { sent: 0, ready: true });
    }
    assert_eq!(senders.len(), SENDERS);
    let data = pattern(BYTES, 3);
    let mut got = vec![0; SENDERS];
    let done = net.run_until(Duration::from_secs(120), |net| {
        write(net, &mut senders, &data);
        for (&client, got) in clients.iter().zip(&mut got) {
            while let Ok(bytes) = net.recv(0, client, 65_536) {
                *got += bytes.len();
            }
        }
        got.iter().all(|&n| n == BYTES)
    });
    let behind: Vec<_> = got.iter().filter(|&&n| n < BYTES).collect();
    assert!(done, "{frames} frames: {} of {SENDERS} have got {behind:?} only", behind.len());
}

#[test]
fn every_sender_that_was_cut_short_is_woken_again() {
    for frames in [192, 256, 512, 2048] {
        all_arrives_with(frames);
    }
}
