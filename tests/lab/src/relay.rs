//! A cable that misbehaves: it loses, repeats, holds back and spoils frames, by a seed; it may be thin, and long.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::bottleneck::{Bottleneck, Shape};
use crate::namespace::Namespace;
use crate::pcap::Pcap;
use crate::sys::{self, PacketSocket};

/// What the cable does to frames, both ways. Chances are parts of a million.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    /// The seed: the same seed and the same frames give the same trouble.
    pub seed: u64,
    /// The chance that a frame is lost.
    pub loss: u32,
    /// The chance that a frame comes twice.
    pub duplicate: u32,
    /// The chance that a frame is held back for `reorder_by` more than others.
    pub reorder: u32,
    /// How long a frame is held back.
    pub reorder_by: Duration,
    /// The chance that one bit of a frame, behind its link header, is turned.
    pub corrupt: u32,
    /// How long every frame takes.
    pub delay: Duration,
    /// A bottleneck in each direction, before the delay.
    pub shape: Option<Shape>,
    /// Where to write a capture of what arrived, before the trouble.
    pub capture: Option<PathBuf>,
}

impl Trouble {
    /// One in a hundred lost, one repeated, one held back.
    #[must_use]
    pub fn one_percent(seed: u64) -> Self {
        let reorder_by = Duration::from_micros(500);
        Self { seed, loss: 10_000, duplicate: 10_000, reorder: 10_000, reorder_by, ..Self::default() }
    }
}

/// What a relay has done so far.
#[derive(Debug, Default)]
struct Done {
    stop: AtomicBool,
    seen: AtomicU64,
    lost: AtomicU64,
    duplicated: AtomicU64,
    reordered: AtomicU64,
    corrupted: AtomicU64,
    overflowed: AtomicU64,
    queue: Mutex<Vec<(Instant, usize)>>,
}

/// A running relay; it stops when dropped.
#[derive(Debug)]
pub struct Relay {
    done: Arc<Done>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Joins the two interfaces of `host`, with trouble in between.
    pub(crate) fn start(host: &Namespace, ifaces: [&'static str; 2], trouble: Trouble) -> Self {
        let sockets = ifaces.map(|name| host.frames(name));
        let done = Arc::new(Done::default());
        let mut wire = Wire::new(sockets, trouble, Arc::clone(&done));
        let thread = thread::spawn(move || wire.run());
        Self { done, thread: Some(thread) }
    }

    /// Frames that came in, both ways.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.done.seen.load(Ordering::Relaxed)
    }

    /// Frames that were lost on purpose.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.done.lost.load(Ordering::Relaxed)
    }

    /// Frames that went out twice.
    #[must_use]
    pub fn duplicated(&self) -> u64 {
        self.done.duplicated.load(Ordering::Relaxed)
    }

    /// Frames that were held back.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.done.reordered.load(Ordering::Relaxed)
    }

    /// Frames that found no room in the queue of the bottleneck.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.done.overflowed.load(Ordering::Relaxed)
    }

    /// The queue from the first interface to the second, in bytes, looked at some hundred times a second while frames
    /// come; taken, so that the next call begins anew.
    pub fn take_queue(&self) -> Vec<(Instant, usize)> {
        std::mem::take(&mut *self.done.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Frames that were spoiled.
    #[must_use]
    pub fn corrupted(&self) -> u64 {
        self.done.corrupted.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.done.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A frame on its way: when it leaves, in which order it came, by which side it leaves.
type Held = Reverse<(Instant, u64, usize, Vec<u8>)>;

struct Wire {
    sockets: [PacketSocket; 2],
    trouble: Trouble,
    random: SplitMix,
    held: BinaryHeap<Held>,
    order: u64,
    pcap: Option<Pcap>,
    begin: Instant,
    thin: [Option<Bottleneck>; 2],
    looked: Instant,
    done: Arc<Done>,
}

impl Wire {
    /// Frames taken from one side before the other has its turn.
    const BURST: usize = 64;
    /// How long a sleep lasts at most, so that a stop is seen.
    const NAP: Duration = Duration::from_millis(50);
    const LINK_HEADER: usize = 14;
    /// How often the queue is looked at.
    const LOOK: Duration = Duration::from_millis(10);

    fn new(sockets: [PacketSocket; 2], trouble: Trouble, done: Arc<Done>) -> Self {
        let random = SplitMix(trouble.seed);
        let thin = [0, 1].map(|_| trouble.shape.map(Bottleneck::new));
        let pcap = trouble.capture.as_ref().map(|path| Pcap::create(path).expect("a capture file"));
        Self {
            sockets,
            trouble,
            random,
            held: BinaryHeap::new(),
            order: 0,
            pcap,
            begin: Instant::now(),
            thin,
            looked: Instant::now(),
            done,
        }
    }

    fn run(&mut self) {
        let mut buffer = vec![0; 65536];
        if self.trouble.shape.is_some() {
            // A rate is only as good as the clock that it is held to.
            sys::hurry();
        }
        while !self.done.stop.load(Ordering::Relaxed) {
            let mut came = 0;
            for side in 0..2 {
                for _ in 0..Self::BURST {
                    let Some(n) = self.sockets[side].recv(&mut buffer) else { break };
                    came += 1;
                    self.pass(side, &mut buffer[..n]);
                }
            }
            let due = self.release(Instant::now());
            if came == 0 {
                sys::wait([&self.sockets[0], &self.sockets[1]], due.unwrap_or(Self::NAP).min(Self::NAP));
            }
        }
        if let Some(pcap) = &mut self.pcap {
            let _ = pcap.flush();
        }
    }

    /// Decides about a frame that came in on `side`.
    fn pass(&mut self, side: usize, frame: &mut [u8]) {
        count(&self.done.seen);
        let now = Instant::now();
        if let Some(pcap) = &mut self.pcap {
            let _ = pcap.frame(now - self.begin, frame);
        }
        if self.random.chance(self.trouble.loss) {
            return count(&self.done.lost);
        }
        if self.random.chance(self.trouble.corrupt) && frame.len() > Self::LINK_HEADER {
            let bits = (frame.len() - Self::LINK_HEADER) as u64 * 8;
            let bit = (self.random.next() % bits) as usize;
            frame[Self::LINK_HEADER + bit / 8] ^= 1 << (bit % 8);
            count(&self.done.corrupted);
        }
        let mut leaves = now;
        if let Some(thin) = &mut self.thin[side] {
            let since = |at: Instant| u64::try_from((at - self.begin).as_nanos()).unwrap_or(u64::MAX);
            if side == 0 && now - self.looked >= Self::LOOK {
                let queued = thin.queued(since(now));
                self.done.queue.lock().unwrap_or_else(PoisonError::into_inner).push((now, queued));
                self.looked = now;
            }
            let Some(at) = thin.pass(since(now), frame) else { return count(&self.done.overflowed) };
            leaves = self.begin + Duration::from_nanos(at);
        }
        let mut due = leaves + self.trouble.delay;
        if self.random.chance(self.trouble.reorder) {
            due += self.trouble.reorder_by;
            count(&self.done.reordered);
        }
        let copies = if self.random.chance(self.trouble.duplicate) {
            count(&self.done.duplicated);
            2
        } else {
            1
        };
        for _ in 0..copies {
            if due == now {
                let _ = self.sockets[1 - side].send(frame);
            } else {
                self.order += 1;
                self.held.push(Reverse((due, self.order, 1 - side, frame.to_vec())));
            }
        }
    }

    /// Sends what is due; how long until the next frame is.
    fn release(&mut self, now: Instant) -> Option<Duration> {
        while let Some(Reverse((due, ..))) = self.held.peek() {
            if *due > now {
                return Some(*due - now);
            }
            if let Some(Reverse((_, _, side, frame))) = self.held.pop() {
                let _ = self.sockets[side].send(&frame);
            }
        }
        None
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Steele, Lea and Flood's SplitMix64: small, and good enough to roll dice with.
#[derive(Clone, Debug)]
pub struct SplitMix(pub u64);

impl SplitMix {
    /// The next 64 bits.
    #[allow(clippy::should_implement_trait, reason = "it never ends: it is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True so many times of a million.
    pub fn chance(&mut self, parts_of_a_million: u32) -> bool {
        parts_of_a_million > 0 && self.next() % 1_000_000 < u64::from(parts_of_a_million)
    }
}
