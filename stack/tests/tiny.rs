//! One-byte segments for sockets that nobody reads: they pin a frame or two each, not the pool; others transfer on,
//! and no window that was offered is ever taken back (RFC 9293 §3.8.6.2.2 SHLD-14).

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::{Host, Link, Net, pattern};
use ringroad_stack::config::Config;
use ringroad_stack::error::SocketError;
use ringroad_stack::seq::Seq;
use ringroad_stack::socket::{OptName, Value};
use ringroad_stack::types::SocketId;
use ringroad_stack::wire::tcp::{Flags, Segment};

const ATTACKERS: usize = 1000;
const BYTES: usize = 100;
const FRAMES: u32 = 1024;

/// A server with few frames, a client with many, and a transfer between them.
struct Scene {
    net: Net,
    ours: SocketId,
    theirs: SocketId,
    attackers: Vec<SocketId>,
}

impl Scene {
    fn new() -> Self {
        let mut net = Net::with_frames(Config::default(), Link::default(), 1, FRAMES);
        net.hosts[0] = Host::with_frames(1, Config::default(), 8 * FRAMES);
        net.hosts[0].knows(2);
        let (theirs, ours, _) = net.connected();
        net.hosts[1].capture = true;
        let listener = net.listen(1, 81, 1100);
        let attackers: Vec<_> = (0..ATTACKERS).map(|_| net.connecting(0, 81)).collect();
        net.run_ms(3000);
        let now = net.now;
        for id in &attackers {
            net.a().set_option(now, *id, OptName::NoDelay, Value::Int(1)).unwrap();
        }
        let accepted = std::iter::from_fn(|| net.b().accept(now, listener).ok()).count();
        assert_eq!(accepted, ATTACKERS);
        Self { net, ours, theirs, attackers }
    }

    /// A byte from each attacker, again and again.
    fn attack(&mut self) {
        for _ in 0..BYTES {
            for id in &self.attackers {
                match self.net.send(0, *id, b"x") {
                    Ok(_) | Err(SocketError::WouldBlock) => {}
                    Err(error) => panic!("send: {error}"),
                }
            }
            self.net.run_ms(1);
        }
    }
}

/// No right edge that the server told a client of lies before an earlier one, but for what the scale cuts off.
fn edges_only_advance(frames: &[Vec<u8>]) -> usize {
    let mut edges: HashMap<u16, (u8, Option<Seq>)> = HashMap::new();
    let mut told = 0;
    for frame in frames {
        let seg = Segment::parse(&frame[34..]).unwrap();
        if seg.flags.has(Flags::SYN) {
            edges.insert(seg.dst_port, (seg.options.window_scale.unwrap_or(0), None));
            continue;
        }
        let Some((shift, last)) = edges.get_mut(&seg.dst_port) else { continue };
        let edge = seg.ack + (u32::from(seg.wnd) << *shift);
        if let Some(last) = last {
            assert!((edge + (1 << *shift)).after(*last), "port {}: {edge:?} after {last:?}", seg.dst_port);
        }
        *last = Some(edge);
        told += 1;
    }
    told
}

#[test]
fn one_byte_segments_pin_little() {
    let mut scene = Scene::new();
    let before = scene.net.hosts[1].stack.pool().available();
    scene.attack();
    // The frames of the last ACKs come back, holes are filled.
    scene.net.run_ms(3000);
    let pinned = before - scene.net.hosts[1].stack.pool().available();
    // Four frames each until frames are scarce; none more after that.
    assert!(pinned <= FRAMES as usize / 2 + 64, "{pinned} frames for {ATTACKERS} sockets");
    assert!(edges_only_advance(&scene.net.hosts[1].sent) > ATTACKERS);
}

#[test]
fn others_transfer_on() {
    let mut scene = Scene::new();
    scene.attack();
    let data = pattern(1_000_000, 9);
    let (ours, theirs) = (scene.ours, scene.theirs);
    scene.net.transfer(0, theirs, ours, &data, Duration::from_secs(120));
    scene.attack();
    scene.net.transfer(1, ours, theirs, &data, Duration::from_secs(120));
}
