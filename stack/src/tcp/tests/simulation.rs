//! Two connections over a seeded bad link: loss in ones and in bursts, reordering, duplication, delay. Judged
//! from outside: the bytes are equal, both ends are closed, every frame is back.

use std::collections::BTreeMap;

use super::drill::pattern;
use super::host::Host;
use crate::error::SocketError;
use crate::tcp::{State, call};
use crate::time::Instant;

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// How bad the link is; chances in a thousand.
#[derive(Clone, Copy, Debug)]
struct Link {
    loss: u64,
    burst: u64,
    duplicate: u64,
    reorder: u64,
    delay_us: u64,
}

struct World {
    hosts: [Host; 2],
    /// Segments under way, by arrival: (to, bytes).
    under_way: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    serial: u64,
    random: Random,
    link: Link,
    burst_ends: [Instant; 2],
    now: Instant,
    /// Both ends open the connection.
    at_once: bool,
    /// How long the server pauses between reads at the most.
    nap_ms: u64,
}

/// What an application does with its end.
struct App {
    to_send: u32,
    sent: u32,
    to_recv: u32,
    received: u32,
    shut: bool,
    ended: bool,
    /// How long it pauses between reads at the most.
    nap_ms: u64,
    nap_ends: Instant,
}

impl App {
    fn new(to_send: u32, to_recv: u32) -> Self {
        Self {
            to_send,
            sent: 0,
            to_recv,
            received: 0,
            shut: false,
            ended: false,
            nap_ms: 0,
            nap_ends: Instant::ZERO,
        }
    }

    fn step(&mut self, host: &mut Host, random: &mut Random) {
        if host.tcb.as_ref().is_none_or(|t| matches!(t.state, State::SynSent | State::SynReceived)) {
            return;
        }
        let awake = host.now >= self.nap_ends;
        if awake && self.nap_ms > 0 {
            // A lazy reader lets its window shut now and then.
            self.nap_ends = host.now + core::time::Duration::from_millis(random.below(self.nap_ms));
        }
        while awake && !self.ended {
            let want = 1 + random.below(6000) as usize;
            match host.recv(want) {
                Ok(bytes) if bytes.is_empty() => self.ended = true,
                Ok(bytes) => {
                    for (n, &byte) in bytes.iter().enumerate() {
                        assert_eq!(byte, pattern(self.received + n as u32), "octet {}", self.received);
                    }
                    self.received += bytes.len() as u32;
                }
                Err(SocketError::WouldBlock) => break,
                Err(other) => panic!("recv: {other}"),
            }
        }
        while self.sent < self.to_send {
            let n = (1 + random.below(5000) as u32).min(self.to_send - self.sent);
            let bytes: Vec<u8> = (self.sent..self.sent + n).map(pattern).collect();
            match host.send(&bytes) {
                Ok(n) => self.sent += n as u32,
                Err(SocketError::WouldBlock) => break,
                Err(other) => panic!("send: {other}"),
            }
        }
        if self.sent == self.to_send && !self.shut {
            self.shut = true;
            host.with(call::shutdown_send).unwrap();
        }
    }

    fn is_done(&self) -> bool {
        self.ended && self.shut
    }
}

impl World {
    fn new(seed: u64, link: Link) -> Self {
        Self::with_frames(seed, link, 1024)
    }

    fn with_frames(seed: u64, link: Link, frames: u32) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut hosts = [Host::new(frames, 80, 40000), Host::new(frames, 40000, 80)];
        core::mem::swap(&mut hosts[1].flow.local, &mut hosts[1].flow.remote);
        hosts[1].flow.local.set_port(40000);
        hosts[1].flow.remote.set_port(80);
        for host in &mut hosts {
            // Small buffers meet more edges.
            if random.chance(500) {
                host.options.recv_buffer = 4096 << random.below(5);
                host.options.send_buffer = 4096 << random.below(5);
            }
            host.options.nodelay = random.chance(300);
            host.wire.slow_nic = random.chance(300);
            host.wire.mtu = [576, 1500, 1500][random.below(3) as usize];
        }
        let now = hosts[0].now;
        Self {
            hosts,
            under_way: BTreeMap::new(),
            serial: 0,
            random,
            link,
            burst_ends: [Instant::ZERO; 2],
            now,
            at_once: false,
            nap_ms: 0,
        }
    }

    /// Puts what `from` sent on the link.
    fn collect(&mut self, from: usize) {
        while let Some(bytes) = self.hosts[from].wire.sent.pop_front() {
            if self.random.chance(self.link.burst) {
                let length = core::time::Duration::from_micros(self.random.below(2 * self.link.delay_us));
                self.burst_ends[from] = self.now + length;
            }
            if self.now < self.burst_ends[from] || self.random.chance(self.link.loss) {
                continue;
            }
            let copies = 1 + usize::from(self.random.chance(self.link.duplicate));
            for _ in 0..copies {
                let mut delay = self.link.delay_us;
                if self.random.chance(self.link.reorder) {
                    delay += self.random.below(4 * self.link.delay_us + 1000);
                }
                self.serial += 1;
                let at = self.now + core::time::Duration::from_micros(delay);
                self.under_way.insert((at, self.serial), (1 - from, bytes.clone()));
            }
        }
        if self.random.chance(500) {
            self.hosts[from].complete();
        }
    }

    /// The next moment at which something happens. None: nothing ever will.
    fn next(&self) -> Option<Instant> {
        let arrival = self.under_way.keys().next().map(|key| key.0);
        let timers = self.hosts.iter().filter_map(|h| h.tcb.as_ref()).map(|tcb| tcb.next_deadline());
        arrival.into_iter().chain(timers).filter(|&at| at != Instant::NEVER).min()
    }

    /// Goes on to the next event; `wakes` is when an application ends its nap.
    fn step(&mut self, wakes: Instant) -> bool {
        let nap = (wakes > self.now && wakes != Instant::NEVER).then_some(wakes);
        let Some(now) = self.next().into_iter().chain(nap).min() else { return false };
        self.now = now.max(self.now);
        for host in &mut self.hosts {
            host.run_to(self.now);
        }
        while let Some(entry) = self.under_way.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, bytes) = entry.remove();
            self.hosts[to].receive(&bytes);
        }
        true
    }
}

/// Runs a transfer of so many octets each way; `seed` decides everything.
fn transfer(seed: u64, link: Link, up: u32, down: u32) -> World {
    run(World::new(seed, link), seed, up, down)
}

fn run(mut world: World, seed: u64, up: u32, down: u32) -> World {
    let mut apps = [App::new(down, up), App::new(up, down)];
    world.hosts[1].connect().unwrap();
    apps[0].nap_ms = world.nap_ms;
    if world.at_once {
        world.hosts[0].connect().unwrap();
    }
    let began = world.now;
    loop {
        for (end, app) in apps.iter_mut().enumerate() {
            app.step(&mut world.hosts[end], &mut world.random);
            world.collect(end);
        }
        let over = |host: &Host| host.tcb.as_ref().is_some_and(|t| t.state == State::Closed);
        if over(&world.hosts[0]) && over(&world.hosts[1]) && apps.iter().all(App::is_done) {
            break;
        }
        let wakes = if apps[0].ended { Instant::NEVER } else { apps[0].nap_ends };
        assert!(
            world.step(wakes),
            "seed {seed}: stuck: {:?}",
            world.hosts.each_ref().map(|h| h.tcb.as_ref())
        );
        assert!(
            world.now.since(began).as_secs() < 3600,
            "seed {seed}: an hour has passed: {:?}",
            world.hosts.each_ref().map(|h| h.tcb.as_ref())
        );
    }
    for (end, app) in apps.iter().enumerate() {
        assert!(app.is_done(), "seed {seed}: end {end} is not done");
        assert_eq!(app.received, app.to_recv, "seed {seed}: octets received by end {end}");
        assert_eq!(world.hosts[end].tcb().error, None, "seed {seed}");
    }
    for host in &mut world.hosts {
        host.close_books();
    }
    world
}

const GOOD: Link = Link { loss: 0, burst: 0, duplicate: 0, reorder: 0, delay_us: 500 };

#[test]
fn a_good_link_loses_nothing_and_resends_nothing() {
    for seed in 0..20 {
        let world = transfer(seed, GOOD, 300_000, 300_000);
        for host in &world.hosts {
            assert_eq!(host.stats.tcp_retransmits, 0, "seed {seed}");
        }
    }
}

#[test]
fn two_hundred_bad_links() {
    for seed in 0..200 {
        let mut random = Random(seed + 77);
        let link = Link {
            loss: random.below(60),
            burst: random.below(10),
            duplicate: random.below(50),
            reorder: random.below(100),
            delay_us: 50 + random.below(20_000),
        };
        let (up, down) = (random.below(150_000) as u32, random.below(150_000) as u32);
        let mut world = World::new(seed, link);
        world.nap_ms = [0, 0, 20, 500][random.below(4) as usize];
        run(world, seed, up, down);
    }
}

#[test]
fn both_ends_open_at_once() {
    for seed in 0..50 {
        let mut world = World::new(seed, Link { loss: seed % 5 * 20, ..GOOD });
        world.at_once = true;
        let world = run(world, seed, 20_000, 30_000);
        if seed % 5 == 0 {
            assert!(world.serial < 400, "seed {seed}: {} segments", world.serial);
        }
    }
}

#[test]
fn a_lossy_path_is_used_as_it_allows() {
    // RFC 9438 §4.3 promises at least what Reno gets: 1.22 · MSS / (RTT · √p), here 1.7 MB/s.
    let link = Link { loss: 10, burst: 0, duplicate: 0, reorder: 0, delay_us: 5000 };
    let mut world = World::new(5, link);
    for host in &mut world.hosts {
        host.options = crate::tcp::TcpOptions::new(&host.config);
        host.wire.mtu = 1500;
    }
    let began = world.now;
    let world = run(world, 5, 0, 4_000_000);
    let took = world.now.since(began) - world.hosts[1].config.time_wait;
    assert!(took.as_secs_f64() < 4.0 / 1.4, "{took:?}");
    assert!(world.hosts[0].stats.tcp_timeouts <= 2, "{:?}", world.hosts[0].stats);
}

#[test]
fn a_path_that_reorders_is_soon_known() {
    // One segment in a hundred comes up to two round trips late; nothing is lost.
    let link = Link { loss: 0, burst: 0, duplicate: 0, reorder: 10, delay_us: 5000 };
    let mut world = World::new(3, link);
    for host in &mut world.hosts {
        host.options = crate::tcp::TcpOptions::new(&host.config);
        host.wire.mtu = 1500;
    }
    let began = world.now;
    let world = run(world, 3, 0, 10_000_000);
    let took = world.now.since(began) - world.hosts[1].config.time_wait;
    assert!(took.as_secs_f64() < 1.5, "{took:?}");
    let stats = &world.hosts[0].stats;
    assert!(stats.spurious() * 2 > stats.tcp_sack_recovery, "{stats:?}");
}

#[test]
fn a_few_frames_are_enough() {
    for seed in 0..100 {
        let link = Link { loss: seed % 4 * 10, burst: 0, duplicate: 5, reorder: 20, delay_us: 1000 };
        let frames = 12 + seed as u32 % 40;
        run(World::with_frames(seed, link, frames), seed, 60_000, 60_000);
    }
}

/// Two hosts with what they would have by default, over this link.
fn plain(seed: u64, link: Link) -> World {
    let mut world = World::new(seed, link);
    for host in &mut world.hosts {
        host.options = crate::tcp::TcpOptions::new(&host.config);
        host.wire.mtu = 1500;
        host.wire.slow_nic = false;
    }
    world
}

/// RFC 8985 §7: of a message of ten segments the last one to three are lost. A probe finds that out, so no time-out
/// comes; a segment alone may meet a delayed ACK, else some round trips are enough.
#[test]
fn a_lost_tail_recovers_without_a_time_out() {
    const MESSAGE: usize = 14_000;
    for seed in 0..60 {
        let link = Link { delay_us: 1000 + 500 * (seed % 20), ..GOOD };
        let mut world = plain(seed, link);
        world.hosts[1].connect().unwrap();
        let lost = 1 + seed as usize % 3;
        let (mut began, mut sent, mut received) = (world.now, 0, 0);
        while received < MESSAGE {
            let open = world.hosts[0].tcb.as_ref().is_some_and(|t| t.state == State::Established);
            if open && sent == 0 {
                began = world.now;
                sent = world.hosts[0].send(&[7; MESSAGE]).unwrap();
                assert_eq!(world.hosts[0].wire.sent.len(), 10);
                world.hosts[0].wire.sent.truncate(10 - lost);
            }
            world.collect(0);
            world.collect(1);
            assert!(world.step(Instant::NEVER), "seed {seed}");
            match world.hosts[1].recv(MESSAGE) {
                Ok(bytes) => received += bytes.len(),
                Err(SocketError::WouldBlock) => {}
                Err(other) => panic!("recv: {other}"),
            }
        }
        let (took, rtt) = (world.now.since(began), 2 * link.delay_us);
        let patience = if lost == 1 { 200_000 } else { 40_000 };
        assert!(took.as_micros() < u128::from(7 * rtt + patience), "seed {seed}: {took:?}");
        let stats = &world.hosts[0].stats;
        assert_eq!((stats.tcp_timeouts, stats.tcp_loss_probes), (0, 1), "seed {seed}");
        assert!(stats.tcp_retransmits as usize <= lost + 1, "seed {seed}: {stats:?}");
        world.hosts.iter_mut().for_each(Host::close_books);
    }
}

/// RFC 5681 §4.2 and RFC 6298 §5: lost ACKs alone are no reason to send anything again.
#[test]
fn lost_acks_cost_nothing() {
    for seed in 0..20 {
        let mut world = plain(seed, Link { delay_us: 5000, ..GOOD });
        world.hosts[1].connect().unwrap();
        let (mut sent, mut received) = (0, 0);
        while received < 600_000 {
            if world.hosts[0].tcb.as_ref().is_some_and(|t| t.state == State::Established) {
                while sent < 600_000
                    && let Ok(n) = world.hosts[0].send(&[7; 8000])
                {
                    sent += n;
                }
            }
            let transferring = received > 0;
            let mut random = Random(world.random.next() | 1);
            world.hosts[1].wire.sent.retain(|_| !(transferring && random.chance(300)));
            world.collect(0);
            world.collect(1);
            assert!(world.step(Instant::NEVER), "seed {seed}");
            if let Ok(bytes) = world.hosts[1].recv(1 << 20) {
                received += bytes.len();
            }
        }
        let stats = &world.hosts[0].stats;
        assert!(stats.tcp_retransmits <= 2 && stats.tcp_timeouts == 0, "seed {seed}: {stats:?}");
        world.hosts.iter_mut().for_each(Host::close_books);
    }
}

/// RFC 8985 §6, RFC 9937 §6: a burst that takes half a flight is one recovery, not a time-out.
#[test]
fn bursts_are_recovered_without_time_outs() {
    let (mut recoveries, mut timeouts) = (0, 0);
    for seed in 0..50 {
        let link = Link { burst: 2, delay_us: 5000, ..GOOD };
        let world = run(plain(seed, link), seed, 0, 1_000_000);
        recoveries += world.hosts[0].stats.tcp_sack_recovery;
        timeouts += world.hosts[0].stats.tcp_timeouts;
    }
    assert!(recoveries >= 20 && timeouts * 4 < recoveries, "{recoveries} recoveries, {timeouts} time-outs");
}
