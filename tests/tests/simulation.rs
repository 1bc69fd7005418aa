//! Two stacks and a bad cable in virtual time: bytes arrive as they were sent, both ends close, no frame is
//! lost. Every failure prints its seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use lab::{SplitMix, Trouble};
use ringroad_tests::host::Host;
use ringroad_tests::world::World;
use stack::config::Config;
use stack::error::SocketError;
use stack::socket::How;
use stack::time::Instant;
use stack::types::{Readiness, SocketId};

const PORT: u16 = 80;
const FRAMES: u32 = 2048;
/// The lives of all tests here, in CI.
const IN_CI: u64 = 200;

/// One end of a connection: what it has to say, and what it has heard.
struct End {
    host: usize,
    id: Option<SocketId>,
    say: Vec<u8>,
    said: usize,
    heard: Vec<u8>,
    ended: bool,
    shut: bool,
}

impl End {
    fn new(host: usize, bytes: usize, random: &mut SplitMix) -> Self {
        let say = (0..bytes).map(|_| random.next() as u8).collect();
        Self { host, id: None, say, said: 0, heard: Vec::new(), ended: false, shut: false }
    }

    /// Says and hears what it can; true once it has said all and heard the end.
    fn turn(&mut self, host: &mut Host, now: Instant, piece: usize) -> bool {
        let Some(id) = self.id else { return false };
        while self.said < self.say.len() {
            let end = self.say.len().min(self.said + piece);
            match host.send(now, id, &self.say[self.said..end]) {
                Ok(n) => self.said += n,
                Err(SocketError::WouldBlock | SocketError::NotConnected) => break,
                Err(error) => panic!("host {} cannot send: {error}", self.host + 1),
            }
        }
        // Before it is connected, a shutdown would end it, as in Linux.
        let connected = host.stack.readiness(id).contains(Readiness::OUT);
        if self.said == self.say.len() && connected && !self.shut {
            self.shut = host.stack.shutdown(now, id, How::Write).is_ok();
        }
        while !self.ended {
            match host.recv(now, id, piece, &mut self.heard) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(SocketError::WouldBlock | SocketError::NotConnected) => break,
                Err(error) => panic!("host {} cannot receive: {error}", self.host + 1),
            }
        }
        self.ended && self.shut
    }
}

/// One life of a connection, from SYN to the last frame in the pool.
fn life(trouble: Trouble, sizes: [usize; 2]) {
    let mut world = World::new(trouble, FRAMES, &Config::default());
    let mut ends = [0, 1].map(|n| End::new(n, sizes[n], world.random()));
    let listener = world.hosts[0].listen(PORT).expect("a listener");
    let remote = (world.hosts[0].address, PORT).into();
    let now = world.now;
    ends[1].id = Some(world.hosts[1].connect(now, 40_000, remote).expect("a connection on its way"));
    world.until(Duration::from_secs(3600), |world| {
        let now = world.now;
        if ends[0].id.is_none() {
            ends[0].id = world.hosts[0].accept(now, listener).map(|a| a.id);
        }
        let piece = 1 + world.random().next() as usize % 20_000;
        let done = [0, 1].map(|n| ends[n].turn(&mut world.hosts[n], now, piece));
        done == [true, true]
    });
    assert!(ends[0].heard == ends[1].say, "what 2 said is not what 1 heard");
    assert!(ends[1].heard == ends[0].say, "what 1 said is not what 2 heard");
    for end in &ends {
        let id = end.id.expect("both ends were connected");
        let now = world.now;
        world.hosts[end.host].stack.close(now, id).expect("an open socket");
    }
    let now = world.now;
    world.hosts[0].stack.close(now, listener).expect("a listener");
    world.settle(Duration::from_secs(7200));
    for host in &world.hosts {
        assert_eq!(
            host.stack.sockets().count(),
            0,
            "all sockets are gone: {:?}",
            host.stack.sockets().next()
        );
        assert!(host.is_whole(), "{:?}", host.stack.pool().census());
    }
}

#[track_caller]
fn lives(count: u64, trouble: impl Fn(&mut SplitMix) -> (Trouble, [usize; 2])) {
    for seed in seeds(count) {
        let mut dice = SplitMix(seed);
        let (trouble, sizes) = trouble(&mut dice);
        let trouble = Trouble { seed, ..trouble };
        let lived = catch_unwind(AssertUnwindSafe(|| life(trouble.clone(), sizes)));
        assert!(lived.is_ok(), "seed {seed}: {trouble:?}, sizes {sizes:?}");
    }
}

/// The seeds of one test: `count` in CI; in `cargo xtask simulate` its share of as many as were asked for, from the
/// one that was named.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let Ok(asked) = std::env::var("RINGROAD_SEEDS") else { return 1..count + 1 };
    let (from, all) = asked.split_once(':').expect("FROM:COUNT");
    let (from, all): (u64, u64) = (from.parse().expect("a seed"), all.parse().expect("a number"));
    from..from + all * count / IN_CI
}

fn sizes(dice: &mut SplitMix, most: u64) -> [usize; 2] {
    [0, 1].map(|_| if dice.chance(200_000) { 0 } else { (dice.next() % most) as usize })
}

#[test]
fn a_good_cable() {
    lives(30, |dice| {
        (Trouble { delay: Duration::from_micros(50), ..Trouble::default() }, sizes(dice, 2_000_000))
    });
}

#[test]
fn a_long_cable() {
    lives(20, |dice| {
        (Trouble { delay: Duration::from_millis(100), ..Trouble::default() }, sizes(dice, 1_000_000))
    });
}

#[test]
fn one_frame_in_a_hundred() {
    lives(60, |dice| {
        let delay = Duration::from_micros(10 + dice.next() % 2000);
        (Trouble { delay, ..Trouble::one_percent(0) }, sizes(dice, 500_000))
    });
}

#[test]
fn a_terrible_cable() {
    lives(90, |dice| {
        let mut part = |most: u64| (dice.next() % most) as u32;
        let (loss, duplicate, reorder, corrupt) = (part(150_000), part(100_000), part(300_000), part(50_000));
        let delay = Duration::from_micros(dice.next() % 20_000);
        let reorder_by = Duration::from_micros(dice.next() % 50_000);
        let trouble = Trouble { loss, duplicate, reorder, reorder_by, corrupt, delay, ..Trouble::default() };
        (trouble, sizes(dice, 50_000))
    });
}
