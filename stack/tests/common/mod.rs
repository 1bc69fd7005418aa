//! Two stacks on a wire in memory, with virtual time and a seeded bad link.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod book;
#[path = "../../../tests/lab/src/bottleneck.rs"]
mod bottleneck;
pub mod twins;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nic::{Arena, Census, Pool, RxChecksum, RxFrame, RxMeta};
use ringroad_stack::Stack;
use ringroad_stack::config::{Config, Secrets};
use ringroad_stack::control::{ControlEvent, Request, Route};
use ringroad_stack::error::SocketError;
use ringroad_stack::socket::{RecvFlags, SendFlags, Wake};
use ringroad_stack::time::Instant;
use ringroad_stack::types::{IfaceId, Readiness, SocketId};
use ringroad_stack::wire::checksum;

pub const IFACE: IfaceId = IfaceId(1);
pub const FRAMES: u32 = 1024;

/// xorshift64*: the same numbers for the same seed, everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }

    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

pub use bottleneck::{Bottleneck, Shape};

/// What the wire does to frames, in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub delay: Duration,
    pub jitter: Duration,
    pub loss: u64,
    pub duplicate: u64,
    pub corrupt: u64,
    /// A bottleneck in each direction.
    pub shape: Option<Shape>,
    /// The longest packet that a router on the way lets through whole; others it cuts, whatever they say of it.
    pub cut: Option<usize>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::from_micros(50),
            jitter: Duration::ZERO,
            loss: 0,
            duplicate: 0,
            corrupt: 0,
            shape: None,
            cut: None,
        }
    }
}

impl Link {
    pub fn bad() -> Self {
        Self {
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(2),
            loss: 20,
            duplicate: 10,
            corrupt: 5,
            shape: None,
            cut: None,
        }
    }
}

/// What the two hosts talk: every host has an address of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// The address of host `n`.
    pub fn of(self, n: u8) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::new(10, 0, 0, n).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).into(),
        }
    }

    /// Its network's prefix.
    pub fn prefix(self) -> u8 {
        match self {
            Family::V4 => 24,
            Family::V6 => 64,
        }
    }

    pub fn unspecified(self) -> IpAddr {
        match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

pub struct Host {
    pub stack: Stack,
    /// Its address of the family that the test is about.
    pub address: IpAddr,
    pub mac: [u8; 6],
    pub wakes: Vec<Wake>,
    pub requests: Vec<Request>,
    /// Frames sent, as they left.
    pub sent: Vec<Vec<u8>>,
    /// Keep a copy of what is sent.
    pub capture: bool,
}

impl Host {
    pub fn new(n: u8, config: Config) -> Self {
        Self::with_frames(n, config, FRAMES)
    }

    pub fn with_frames(n: u8, config: Config, frames: u32) -> Self {
        let pool = Pool::new(Arena::new(frames, 2048).unwrap());
        let mut stack = Stack::new(config, pool, Secrets([n; 32]));
        let (address, mac) = (Family::V4.of(n), mac(n));
        let now = Instant::ZERO;
        stack
            .control(now, ControlEvent::Iface { iface: IFACE, mac, mtu: 1500, up: true, tx_checksum: false });
        for family in Family::BOTH {
            let (address, prefix) = (family.of(n), family.prefix());
            stack.control(now, ControlEvent::Address { iface: IFACE, address, prefix, deprecated: false });
        }
        stack.control(
            now,
            ControlEvent::Routes(
                Family::BOTH
                    .map(|family| Route {
                        network: family.of(0),
                        prefix: family.prefix(),
                        gateway: None,
                        iface: IFACE,
                        source: None,
                        mtu: None,
                    })
                    .into(),
            ),
        );
        Self { stack, address, mac, wakes: vec![], requests: vec![], sent: vec![], capture: false }
    }

    pub fn knows(&mut self, n: u8) {
        for address in Family::BOTH.map(|family| family.of(n)) {
            let event = ControlEvent::Neighbour { iface: IFACE, address, mac: mac(n) };
            self.stack.control(Instant::ZERO, event);
        }
    }

    /// Everything the stack has to say: requests, wakes; frames are returned.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        while let Some(request) = self.stack.next_request() {
            self.requests.push(request);
        }
        let mut frames = Vec::new();
        let (pool, queue) = self.stack.tx_queue(IFACE).unwrap();
        while let Some(tx) = queue.pop_front() {
            frames.push(pool.lent_bytes(&tx).to_vec());
            pool.take_back(tx);
        }
        if self.capture {
            self.sent.extend(frames.iter().cloned());
        }
        while let Some(wake) = self.stack.next_wake() {
            self.wakes.push(wake);
        }
        frames
    }

    pub fn frame(&mut self, bytes: &[u8]) -> RxFrame {
        let pool = self.stack.pool_mut();
        let mut pkt = pool.alloc().expect("a frame to receive into");
        let wrote = pool.append_with(&mut pkt, bytes.len(), |room| {
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            Ok::<_, ()>(n)
        });
        assert_eq!(wrote, Some(Ok(bytes.len())), "the frame is too long for a test");
        RxFrame { pkt, meta: RxMeta { checksum: RxChecksum::Unknown } }
    }

    /// The frame arrives; without a frame to receive into it is lost, as on a NIC whose fill ring is empty.
    pub fn receive(&mut self, now: Instant, bytes: &[u8]) {
        if self.stack.pool().available() == 0 {
            return;
        }
        let frame = self.frame(bytes);
        self.stack.rx(now, IFACE, frame);
    }

    /// Whether every frame is where it should be when nothing is queued anywhere.
    pub fn assert_whole(&self) {
        let frames = self.stack.pool().frames();
        assert_eq!(self.stack.pool().census(), Census { free: frames, ..Census::default() });
    }
}

pub fn mac(n: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, n]
}

/// The pieces of a frame's packet, each of at most `most` bytes: RFC 791 §3.2, RFC 8200 §4.5.
pub fn cut(frame: &[u8], most: usize, id: u32) -> Vec<Vec<u8>> {
    let v4 = frame[12] == 8;
    let headers = 14 + if v4 { 20 } else { 40 };
    let room = (most - (headers - 14) - if v4 { 0 } else { 8 }) & !7;
    let payload = &frame[headers..];
    let pieces = payload.chunks(room).enumerate().map(|(n, part)| {
        let (offset, more) = (n * room, (n + 1) * room < payload.len());
        let mut f = frame[..headers].to_vec();
        if v4 {
            f[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            f[18..20].copy_from_slice(&(id as u16).to_be_bytes());
            f[20..22].copy_from_slice(&((offset / 8) as u16 | u16::from(more) << 13).to_be_bytes());
            f[24..26].fill(0);
            let sum = checksum::finish(checksum::sum(&f[14..34]));
            f[24..26].copy_from_slice(&sum.to_be_bytes());
        } else {
            f[18..20].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            let next = std::mem::replace(&mut f[20], 44);
            f.extend([next, 0]);
            f.extend((offset as u16 | u16::from(more)).to_be_bytes());
            f.extend(id.to_be_bytes());
        }
        f.extend(part);
        f
    });
    pieces.collect()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    at: Instant,
    order: u64,
    to: usize,
    bytes: Vec<u8>,
}

/// Two hosts on one wire: 10.0.0.1 and 10.0.0.2, or 2001:db8::1 and 2001:db8::2.
pub struct Net {
    pub hosts: [Host; 2],
    pub now: Instant,
    pub link: Link,
    pub rng: Rng,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    /// The last port that a [client](Net::connecting) was bound to.
    pub ports: u16,
    thin: [Option<Bottleneck>; 2],
}

impl Net {
    pub fn new(link: Link, seed: u64) -> Self {
        Self::with_config(Config::default(), link, seed)
    }

    pub fn with_config(config: Config, link: Link, seed: u64) -> Self {
        Self::with_frames(config, link, seed, FRAMES)
    }

    /// With so many frames for each host.
    pub fn with_frames(config: Config, link: Link, seed: u64, frames: u32) -> Self {
        let mut hosts = [1, 2].map(|n| Host::with_frames(n, config.clone(), frames));
        hosts[0].knows(2);
        hosts[1].knows(1);
        let now = Instant::from_millis(1000);
        let thin = [0, 1].map(|_| link.shape.map(Bottleneck::new));
        Self {
            hosts,
            now,
            link,
            rng: Rng::new(seed),
            flying: BinaryHeap::new(),
            order: 0,
            ports: 40_000,
            thin,
        }
    }

    pub fn ideal() -> Self {
        Self::new(Link::default(), 1)
    }

    /// The hosts talk another family.
    pub fn over(mut self, family: Family) -> Self {
        for (host, n) in self.hosts.iter_mut().zip(1..) {
            host.address = family.of(n);
        }
        self
    }

    pub fn a(&mut self) -> &mut Stack {
        &mut self.hosts[0].stack
    }

    pub fn b(&mut self) -> &mut Stack {
        &mut self.hosts[1].stack
    }

    fn launch(&mut self, to: usize, bytes: Vec<u8>) {
        match self.link.cut {
            Some(most) if bytes.len() - 14 > most => {
                self.order += 1;
                cut(&bytes, most, self.order as u32).into_iter().for_each(|piece| self.launch_one(to, piece));
            }
            _ => self.launch_one(to, bytes),
        }
    }

    fn launch_one(&mut self, to: usize, mut bytes: Vec<u8>) {
        if self.rng.chance(self.link.loss) {
            return;
        }
        let mut leaves = self.now;
        if let Some(thin) = &mut self.thin[to] {
            let Some(at) = thin.pass(self.now.as_nanos(), &mut bytes) else { return };
            leaves = Instant::from_nanos(at);
        }
        if self.rng.chance(self.link.corrupt) {
            let at = self.rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.rng.below(8);
        }
        let copies = if self.rng.chance(self.link.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = Duration::from_nanos(self.rng.below(self.link.jitter.as_nanos() as u64 + 1));
            let at = leaves + self.link.delay + jitter;
            self.order += 1;
            self.flying.push(Reverse(Flying { at, order: self.order, to, bytes: bytes.clone() }));
        }
    }

    /// Bytes that wait before the bottleneck towards host `to`.
    pub fn queued(&mut self, to: usize) -> usize {
        let now = self.now.as_nanos();
        self.thin[to].as_mut().map_or(0, |thin| thin.queued(now))
    }

    /// Moves what the stacks have to send onto the wire.
    pub fn pump(&mut self) {
        for from in 0..2 {
            for bytes in self.hosts[from].drain() {
                self.launch(1 - from, bytes);
            }
        }
    }

    /// When something happens next by itself.
    pub fn next_event(&self) -> Instant {
        let wire = self.flying.peek().map_or(Instant::NEVER, |f| f.0.at);
        self.hosts.iter().map(|h| h.stack.next_deadline()).fold(wire, Instant::min)
    }

    /// Goes on to `to` and does all that happens there.
    fn advance(&mut self, to: Instant) {
        self.now = self.now.max(to);
        while self.flying.peek().is_some_and(|f| f.0.at <= self.now) {
            let Some(Reverse(f)) = self.flying.pop() else { break };
            self.hosts[f.to].receive(self.now, &f.bytes);
        }
        for host in &mut self.hosts {
            if host.stack.next_deadline() <= self.now {
                host.stack.expire(self.now);
            }
        }
        self.pump();
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.pump();
        let mut steps = 0u64;
        while self.next_event() <= end {
            let next = self.next_event();
            self.advance(next);
            steps += 1;
            assert!(steps < 5_000_000, "something spins at {:?}", self.now);
        }
        self.now = end;
    }

    /// Lets time pass until `done`, at most `time` of it. Whether it came to that.
    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Net) -> bool) -> bool {
        let end = self.now + time;
        self.pump();
        loop {
            if done(self) {
                return true;
            }
            self.pump();
            let next = self.next_event();
            if next > end {
                self.now = end;
                return done(self);
            }
            self.advance(next);
        }
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run_for(Duration::from_millis(ms));
    }

    /// A listener on host `h`.
    pub fn listen(&mut self, h: usize, port: u16, backlog: u32) -> SocketId {
        let address = self.hosts[h].address;
        let stack = &mut self.hosts[h].stack;
        let id = stack.tcp_socket(1).unwrap();
        stack.bind(id, SocketAddr::from((address, port))).unwrap();
        stack.listen(id, backlog).unwrap();
        id
    }

    /// A socket on host `h` that has begun to connect to the other.
    pub fn connecting(&mut self, h: usize, port: u16) -> SocketId {
        let remote = SocketAddr::from((self.hosts[1 - h].address, port));
        self.ports += 1;
        let family = if remote.is_ipv4() { Family::V4 } else { Family::V6 };
        let local = SocketAddr::from((family.unspecified(), self.ports));
        let now = self.now;
        let stack = &mut self.hosts[h].stack;
        let id = stack.tcp_socket(2).unwrap();
        stack.bind(id, local).unwrap();
        assert_eq!(stack.connect(now, id, remote), Err(SocketError::InProgress));
        id
    }

    /// A connection: the client's end on host 0, the server's on host 1, and the listener.
    pub fn connected(&mut self) -> (SocketId, SocketId, SocketId) {
        let listener = self.listen(1, 80, 16);
        let client = self.connecting(0, 80);
        let mut server = None;
        let ok = self.run_until(Duration::from_secs(60), |net| {
            let now = net.now;
            server = server.or_else(|| net.b().accept(now, listener).ok().map(|a| a.id));
            server.is_some() && net.a().readiness(client).contains(Readiness::OUT)
        });
        assert!(ok, "the handshake was not done in a minute");
        (client, server.unwrap(), listener)
    }

    pub fn send(&mut self, h: usize, id: SocketId, data: &[u8]) -> Result<usize, SocketError> {
        send(&mut self.hosts[h].stack, self.now, id, data)
    }

    pub fn recv(&mut self, h: usize, id: SocketId, want: usize) -> Result<Vec<u8>, SocketError> {
        recv(&mut self.hosts[h].stack, self.now, id, want)
    }

    pub fn close(&mut self, h: usize, id: SocketId) {
        let now = self.now;
        self.hosts[h].stack.close(now, id).unwrap();
    }

    /// Moves all of `data` from `from` to `to` on the other host and compares it, both ends busy at once.
    pub fn transfer(&mut self, h: usize, from: SocketId, to: SocketId, data: &[u8], time: Duration) {
        let (mut sent, mut got) = (0, Vec::with_capacity(data.len()));
        let ok = self.run_until(time, |net| {
            while sent < data.len() {
                match net.send(h, from, &data[sent..]) {
                    Ok(n) => sent += n,
                    Err(SocketError::WouldBlock) => break,
                    Err(e) => panic!("send after {sent} bytes: {e}"),
                }
            }
            loop {
                match net.recv(1 - h, to, 65_536) {
                    Ok(bytes) if bytes.is_empty() => panic!("the end after {} bytes", got.len()),
                    Ok(bytes) => got.extend(bytes),
                    Err(SocketError::WouldBlock) => break,
                    Err(e) => panic!("recv after {} bytes: {e}", got.len()),
                }
            }
            got.len() >= data.len()
        });
        assert!(ok, "{} of {} bytes came in {time:?}", got.len(), data.len());
        assert!(got == data, "the bytes differ");
    }

    pub fn assert_whole(&self) {
        for host in &self.hosts {
            host.assert_whole();
        }
        assert!(self.flying.is_empty(), "frames are still on the wire");
    }
}

pub fn send(stack: &mut Stack, now: Instant, id: SocketId, data: &[u8]) -> Result<usize, SocketError> {
    let mut at = 0;
    stack.send(now, id, data.len(), SendFlags::default(), &mut |room| {
        let n = room.len().min(data.len() - at);
        room[..n].copy_from_slice(&data[at..at + n]);
        at += n;
        Ok(n)
    })
}

pub fn recv(stack: &mut Stack, now: Instant, id: SocketId, want: usize) -> Result<Vec<u8>, SocketError> {
    let mut got = Vec::new();
    let n = stack.recv(now, id, want, RecvFlags::default(), &mut |piece| {
        got.extend_from_slice(piece);
        Ok(())
    })?;
    assert_eq!(n, got.len());
    Ok(got)
}

/// Bytes that tell their place, so that a shift or a swap is seen.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next() as u8).collect()
}
