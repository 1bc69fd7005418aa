//! Random and mutated frames into a stack with live connections: nothing breaks, every frame is accounted for.

use std::time::Duration;

use lab::SplitMix;
use ringroad_tests::host::Host;
use stack::config::Config;
use stack::control::{ControlEvent, Request};
use stack::time::Instant;

const FRAMES: u64 = 300_000;

/// Frames that two stacks exchange in earnest, to be mutated: a handshake, data both ways, a close.
fn conversation() -> Vec<Vec<u8>> {
    let mut hosts = Host::pair(512, &Config::default());
    let mut heard = Vec::new();
    let listener = hosts[0].listen(80).expect("a listener");
    let mut now = Instant::from_millis(1);
    let client =
        hosts[1].connect(now, 40_000, "10.77.0.1:80".parse().expect("an address")).expect("a connection");
    for turn in 0..40 {
        now += Duration::from_millis(50);
        if turn == 5 {
            let _ = hosts[1].send(now, client, &[7; 5000]);
        }
        if turn == 10
            && let Some(accepted) = hosts[0].accept(now, listener)
        {
            let _ = hosts[0].send(now, accepted.id, &[8; 3000]);
            let _ = hosts[0].stack.close(now, accepted.id);
        }
        for from in 0..2 {
            let mut out = Vec::new();
            hosts[from].stack.expire(now);
            hosts[from].output(|bytes| out.push(bytes.to_vec()));
            hosts[from].sent(0);
            for bytes in out {
                hosts[1 - from].input(now, &bytes);
                if from == 1 {
                    heard.push(bytes);
                }
            }
        }
    }
    hosts.iter_mut().for_each(|h| h.stack.reset_all(now));
    hosts.iter_mut().for_each(|h| h.output(|_| ()));
    heard
}

fn mutate(random: &mut SplitMix, frame: &mut Vec<u8>) {
    match random.next() % 6 {
        0 => frame.truncate(random.next() as usize % (frame.len() + 1)),
        1 => frame.extend((0..random.next() % 100).map(|n| n as u8)),
        2 => frame.iter_mut().skip(12).for_each(|b| *b = random.next() as u8),
        _ => {
            for _ in 0..=random.next() % 8 {
                let at = random.next() as usize % frame.len().min(80);
                frame[at] = random.next() as u8;
            }
        }
    }
    if random.chance(700_000) {
        finish(frame);
    }
}

fn fold(bytes: &[u8], start: u64) -> u16 {
    let words = bytes.chunks(2).map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0)));
    let mut sum = start + words.sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Makes the checksums right where there is room for them, so that what lies behind them is reached.
fn finish(frame: &mut [u8]) {
    let header = frame.get(14).map_or(0, |b| usize::from(b & 0xf) * 4);
    if header < 20 || frame.len() < 14 + header + 18 {
        return;
    }
    frame[24..26].fill(0);
    let sum = fold(&frame[14..14 + header], 0);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let end = frame.len().min(14 + total.max(header + 18));
    let l4 = 14 + header;
    frame[l4 + 16..l4 + 18].fill(0);
    let pseudo = u64::from(!fold(&frame[26..34], 0)) + 6 + (end - l4) as u64;
    let sum = fold(&frame[l4..end], pseudo);
    frame[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
}

/// The kernel's answers to what the stack asked: half of the neighbours are there, half are not.
fn answer(host: &mut Host, now: Instant, random: &mut SplitMix) {
    for request in std::mem::take(&mut host.requests) {
        let Request::Neighbour { iface, address } = request else { continue };
        host.stack.control(
            now,
            match random.next() % 2 {
                0 => ControlEvent::Neighbour { iface, address, mac: [2, 0, 0, 0, 0, 9] },
                _ => ControlEvent::NeighbourGone { iface, address, failed: true },
            },
        );
    }
}

#[test]
fn mutated_frames_leave_the_pool_whole() {
    let seeds = conversation();
    assert!(seeds.len() >= 8, "{} frames to mutate", seeds.len());
    let mut random = SplitMix(11);
    let mut host = Host::new(1, 4096, Config::default());
    let listener = host.listen(80).expect("a listener");
    let mut now = Instant::from_millis(1);
    for n in 0..FRAMES {
        now += Duration::from_micros(50);
        let mut frame = seeds[random.next() as usize % seeds.len()].clone();
        if !frame.is_empty() && random.chance(900_000) {
            mutate(&mut random, &mut frame);
        }
        assert!(host.input(now, &frame), "frame {n}: none was left for it: {:?}", host.stack.pool().census());
        if host.stack.next_deadline() <= now {
            host.stack.expire(now);
        }
        if random.chance(100_000)
            && let Some(accepted) = host.accept(now, listener)
        {
            let _ = host.send(now, accepted.id, &[1; 2000]);
            let _ = host.recv(now, accepted.id, 10_000, &mut Vec::new());
            host.stack.close(now, accepted.id).expect("an open socket");
        }
        host.output(|_| ());
        host.sent(random.next() as usize % 8);
        answer(&mut host, now, &mut random);
    }
    host.stack.close(now, listener).expect("a listener");
    host.stack.reset_all(now);
    host.output(|_| ());
    host.sent(0);
    assert_eq!(host.stack.sockets().count(), 0);
    assert!(host.is_whole(), "{:?}", host.stack.pool().census());
    let stats = host.stack.stats();
    assert_eq!(stats.rx_frames, FRAMES);
    for (name, count) in [
        ("truncated", stats.drop_truncated),
        ("not IP", stats.drop_not_ip),
        ("bad header", stats.drop_bad_header),
        ("IP checksum", stats.drop_ip_checksum),
        ("L4 checksum", stats.drop_l4_checksum),
        ("not ours", stats.drop_not_ours),
        ("martian", stats.drop_martian),
    ] {
        assert!(count > 0, "{name}: none of {FRAMES}");
    }
}
