//! Two hosts and a cable in virtual time, with trouble from a seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use lab::{SplitMix, Trouble};
use stack::config::Config;
use stack::time::Instant;

use crate::host::Host;

/// A frame on the cable: when it arrives, its order, at whom.
type Flying = Reverse<(Instant, u64, usize, Vec<u8>)>;

/// Two hosts on one cable.
pub struct World {
    /// 10.77.0.1 and 10.77.0.2.
    pub hosts: [Host; 2],
    /// The time.
    pub now: Instant,
    trouble: Trouble,
    random: SplitMix,
    flying: BinaryHeap<Flying>,
    order: u64,
    /// When the cable is free again, each way; frames leave one after the other.
    free: [Instant; 2],
}

impl World {
    /// What a frame takes to be put on the cable: 1500 bytes at about 1 Gbit/s.
    const FRAME_TIME: Duration = Duration::from_micros(12);
    /// Frames a NIC has not given back yet, at most.
    const NIC_RING: u64 = 32;

    /// A world with this trouble, and so many frames for each host.
    #[must_use]
    pub fn new(trouble: Trouble, frames: u32, config: &Config) -> Self {
        Self {
            hosts: Host::pair(frames, config),
            now: Instant::from_millis(1),
            random: SplitMix(trouble.seed),
            trouble,
            flying: BinaryHeap::new(),
            order: 0,
            free: [Instant::ZERO; 2],
        }
    }

    /// The dice of this world.
    pub fn random(&mut self) -> &mut SplitMix {
        &mut self.random
    }

    /// Lets things happen, and `act` act after each, until it says that it is done.
    ///
    /// # Panics
    /// When nothing more happens, or `limit` has passed.
    #[track_caller]
    pub fn until(&mut self, limit: Duration, mut act: impl FnMut(&mut Self) -> bool) {
        let end = self.now + limit;
        loop {
            let done = act(self);
            self.drain();
            if done {
                return;
            }
            assert!(self.step(), "nothing more happens at {} ms", self.now.as_millis());
            assert!(self.now <= end, "not done at {} ms", self.now.as_millis());
        }
    }

    /// Lets all that will happen by itself happen, for at most `limit`.
    pub fn settle(&mut self, limit: Duration) {
        let end = self.now + limit;
        self.drain();
        while self.now <= end && self.step() {
            self.drain();
        }
        self.hosts.iter_mut().for_each(|h| h.sent(0));
    }

    /// Goes to the next moment at which something happens. False when there is none.
    fn step(&mut self) -> bool {
        let arrival = self.flying.peek().map_or(Instant::NEVER, |Reverse((due, ..))| *due);
        let deadlines = self.hosts.iter().map(|h| h.stack.next_deadline());
        let next = deadlines.fold(arrival, Instant::min);
        if next == Instant::NEVER {
            return false;
        }
        self.now = self.now.max(next);
        while let Some(Reverse((due, ..))) = self.flying.peek() {
            if *due > self.now {
                break;
            }
            if let Some(Reverse((_, _, at, bytes))) = self.flying.pop() {
                self.hosts[at].input(self.now, &bytes);
            }
        }
        for host in &mut self.hosts {
            if host.stack.next_deadline() <= self.now {
                host.stack.expire(self.now);
            }
        }
        true
    }

    /// Puts on the cable what the hosts have to send.
    fn drain(&mut self) {
        for from in 0..2 {
            let mut out = Vec::new();
            self.hosts[from].output(|bytes| out.push(bytes.to_vec()));
            out.into_iter().for_each(|bytes| self.put(from, bytes));
            let keep = self.random.next() % Self::NIC_RING;
            self.hosts[from].sent(keep as usize);
        }
    }

    fn put(&mut self, from: usize, mut bytes: Vec<u8>) {
        if self.random.chance(self.trouble.loss) {
            return;
        }
        if self.random.chance(self.trouble.corrupt) {
            let bit = self.random.next() as usize % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        self.free[from] = self.free[from].max(self.now) + Self::FRAME_TIME;
        let mut due = self.free[from] + self.trouble.delay;
        if self.random.chance(self.trouble.reorder) {
            due += self.trouble.reorder_by;
        }
        let copies = if self.random.chance(self.trouble.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            self.order += 1;
            self.flying.push(Reverse((due, self.order, 1 - from, bytes.clone())));
        }
    }
}
