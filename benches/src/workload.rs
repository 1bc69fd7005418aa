//! What the engines are measured with: the same frames, the same calls, in the same order.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::engines::Engine;
use crate::engines::peer::{self, ACK, Client, SYN};
use crate::shuffled;

/// Segments, calls or connections of one measurement.
pub const BATCH: usize = 64;
/// Segments in flight when retransmission is measured.
pub const WINDOW: usize = 1000;
const MSS: usize = 1460;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A segment in order of so many bytes, from the driver until its socket is readable: headers and checksums read
    /// and found right, and an ACK made where one is due at once (every second full segment). Reading is not in it.
    Segment(usize),
    /// An ACK of 64 bytes of ours.
    Ack,
    /// A send of so many bytes, until the frame is in the driver's queue, its checksums computed.
    Send(usize),
    /// A connection from its SYN, over `accept` and both FINs, until nothing is left of it.
    Life,
    /// An ACK that tells of one more segment behind a lost one, in a window of 1,000.
    Loss,
}

impl Work {
    /// All of them.
    pub const ALL: [Work; 7] = [
        Work::Segment(64),
        Work::Segment(1400),
        Work::Ack,
        Work::Send(64),
        Work::Send(1400),
        Work::Life,
        Work::Loss,
    ];

    /// As it stands in the table.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Work::Segment(size) => format!("segment in, {size} B"),
            Work::Ack => "ACK in".into(),
            Work::Send(size) => format!("send, {size} B"),
            Work::Life => "SYN to closed".into(),
            Work::Loss => "ACK in a loss, window of 1,000".into(),
        }
    }

    /// Bytes that a connection must be able to have in flight.
    #[must_use]
    pub fn window(self) -> usize {
        if self == Work::Loss { 2 * WINDOW * MSS } else { 0 }
    }
}

/// An engine with its connections.
pub struct Bench<E: Engine> {
    engine: E,
    clients: Vec<Client>,
    ids: Vec<E::Id>,
    ms: u64,
    /// Whose turn it is: without a pattern, unless there are too few for that.
    order: Box<dyn Iterator<Item = u32>>,
    fresh: u32,
    losses: usize,
    /// What goes on now is the work, not its preparation.
    watch: bool,
}

/// Calls `what` and says how long it took. Callgrind counts what happens in `watched` and nothing else.
fn measured(watch: bool, what: &mut dyn FnMut()) -> Duration {
    if watch {
        return watched(what);
    }
    what();
    Duration::ZERO
}

#[inline(never)]
fn watched(what: &mut dyn FnMut()) -> Duration {
    let begin = Instant::now();
    what();
    begin.elapsed()
}

impl<E: Engine> Bench<E> {
    /// So many established connections.
    #[must_use]
    pub fn new(connections: u32, window: usize) -> Self {
        let mut bench = Self {
            engine: E::new(connections, window),
            clients: Vec::with_capacity(connections as usize),
            ids: Vec::with_capacity(connections as usize),
            ms: 1000,
            order: if connections < 1000 {
                Box::new((0..connections).cycle())
            } else {
                Box::new(shuffled(connections))
            },
            fresh: connections,
            losses: 0,
            watch: false,
        };
        let all: Vec<u32> = (0..connections).collect();
        for some in all.chunks(BATCH) {
            let mut clients: Vec<Client> = some.iter().map(|&n| Client::new(n)).collect();
            let (ids, _) = bench.open(&mut clients);
            bench.clients.extend(clients);
            bench.ids.extend(ids);
            bench.greet(bench.ids.len() - some.len());
        }
        bench
    }

    /// A request and an answer of each connection, which nobody measures.
    pub fn warm(&mut self) {
        self.greet(0);
    }

    /// A request and an answer of each connection from the `first` on, as of any that is in use: from then on no engine
    /// acknowledges small segments at once.
    fn greet(&mut self, first: usize) {
        let requests = self.clients[first..].iter_mut().map(|client| client.data(&[4; 64])).collect();
        self.input(requests);
        for &id in &self.ids[first..] {
            assert_eq!(self.engine.recv(self.ms, id), 64, "a request is there");
            assert_eq!(self.engine.send(self.ms, id, &[4; 64]), 64, "an answer is taken");
        }
        self.engine.output(&mut |_| {});
        let acks = self.clients[first..].iter_mut().map(|client| client.acknowledge(64)).collect();
        self.input(acks);
        self.engine.output(&mut |_| {});
    }

    /// What the script of the clients takes, in bytes: no part of the engine.
    #[must_use]
    pub fn own_bytes(&self) -> u64 {
        (self.clients.capacity() * size_of::<Client>() + self.ids.capacity() * size_of::<E::Id>()) as u64
    }

    /// The engine.
    pub fn engine(&mut self) -> &mut E {
        &mut self.engine
    }

    /// Opens a connection for each client; and how long that took the engine.
    fn open(&mut self, clients: &mut [Client]) -> (Vec<E::Id>, Duration) {
        self.engine.expect(clients.len());
        let syns = clients.iter_mut().map(Client::syn).collect();
        let mut took = self.input(syns);
        let first = clients.first().map_or(0, |client| client.n);
        let mut answers = Vec::new();
        self.engine.output(&mut |frame| {
            if peer::flags(frame) & (SYN | ACK) == SYN | ACK {
                let client = &mut clients[(peer::flow_of(frame) - first) as usize];
                answers.push(client.answer(frame));
            }
        });
        assert_eq!(answers.len(), clients.len(), "every SYN is answered");
        took += self.input(answers);
        let (engine, ms, watch) = (&mut self.engine, self.ms, self.watch);
        let mut ids = Vec::with_capacity(clients.len());
        took += measured(watch, &mut || {
            while let Some(id) = engine.accept(ms) {
                ids.push(id);
            }
        });
        assert_eq!(ids.len(), clients.len(), "every connection is accepted");
        (ids, took)
    }

    /// Hands frames in; how long that took the engine.
    fn input(&mut self, frames: Vec<Vec<u8>>) -> Duration {
        let mut ready: Option<Vec<E::Frame>> =
            Some(frames.iter().map(|bytes| self.engine.frame(bytes)).collect());
        let (engine, ms, watch) = (&mut self.engine, self.ms, self.watch);
        measured(watch, &mut || engine.input(ms, black_box(ready.take()).unwrap_or_default()))
    }

    /// As [`Bench::input`], as the work that is measured.
    fn work(&mut self, frames: Vec<Vec<u8>>) -> Duration {
        self.watch = true;
        let took = self.input(frames);
        self.watch = false;
        took
    }

    /// Time goes on, and what was sent goes away.
    fn rest(&mut self) {
        self.ms += 1;
        self.engine.output(&mut |_| {});
        self.engine.time(self.ms);
        self.engine.output(&mut |_| {});
    }

    fn pick(&mut self) -> usize {
        self.order.next().unwrap_or_default() as usize
    }

    /// Does the work once; how long it took, and how many of it there were.
    pub fn run(&mut self, work: Work) -> (Duration, usize) {
        match work {
            Work::Segment(size) => (self.segments(size), BATCH),
            Work::Ack => (self.acks(), BATCH),
            Work::Send(size) => (self.sends(size), BATCH),
            Work::Life => (self.lives(), BATCH),
            Work::Loss => self.loss(),
        }
    }

    fn segments(&mut self, size: usize) -> Duration {
        let chosen: Vec<usize> = (0..BATCH).map(|_| self.pick()).collect();
        let frames = chosen.iter().map(|&n| self.clients[n].data(&[5; MSS][..size])).collect();
        let took = self.work(frames);
        let mut got = 0;
        for n in chosen {
            got += self.engine.recv(self.ms, self.ids[n]);
        }
        assert_eq!(got, BATCH * size, "all that was sent is there");
        self.rest();
        took
    }

    fn acks(&mut self) -> Duration {
        let chosen: Vec<usize> = (0..BATCH).map(|_| self.pick()).collect();
        for &n in &chosen {
            assert_eq!(self.engine.send(self.ms, self.ids[n], &[6; 64]), 64);
        }
        self.rest();
        let frames = chosen.iter().map(|&n| self.clients[n].acknowledge(64)).collect();
        let took = self.work(frames);
        self.rest();
        took
    }

    fn sends(&mut self, size: usize) -> Duration {
        let chosen: Vec<usize> = (0..BATCH).map(|_| self.pick()).collect();
        // An application has the connection's name at hand: where the script keeps it is not the engine's.
        let ids: Vec<E::Id> = chosen.iter().map(|&n| self.ids[n]).collect();
        let (engine, ms) = (&mut self.engine, self.ms);
        let mut taken = 0;
        let took = measured(true, &mut || {
            for &id in &ids {
                taken += engine.send(ms, id, black_box(&[6; MSS][..size]));
            }
        });
        assert_eq!(taken, BATCH * size, "all is taken");
        let mut sent = 0;
        self.engine.output(&mut |frame| sent += peer::payload(frame));
        assert_eq!(sent, BATCH * size, "all is sent at once");
        let frames = chosen.iter().map(|&n| self.clients[n].acknowledge(size as u32)).collect();
        self.input(frames);
        self.rest();
        took
    }

    fn lives(&mut self) -> Duration {
        let fresh = self.fresh;
        // Never a flow that is in use; each again after a while.
        self.fresh += BATCH as u32;
        let mut clients: Vec<Client> = (fresh..self.fresh).map(Client::new).collect();
        self.watch = true;
        let (ids, mut took) = self.open(&mut clients);
        let fins = clients.iter_mut().map(Client::fin).collect();
        took += self.input(fins);
        let (engine, ms, watch) = (&mut self.engine, self.ms, self.watch);
        took += measured(watch, &mut || ids.iter().for_each(|&id| engine.close(ms, id)));
        self.engine.output(&mut |_| {});
        let last = clients.iter_mut().map(|client| client.acknowledge(1)).collect();
        took += self.input(last);
        self.watch = false;
        ids.into_iter().for_each(|id| self.engine.forget(id));
        self.rest();
        took
    }

    /// One connection fills a window of a thousand segments; all but the first arrive, each is acknowledged, and
    /// then the first is too. Every time another connection, since congestion control remembers.
    fn loss(&mut self) -> (Duration, usize) {
        let n = self.losses % self.ids.len();
        self.losses += 1;
        let out = self.fill(n);
        let client = self.clients[n];
        let frames: Vec<Vec<u8>> = (1..out.len()).map(|k| client.duplicate(out[1].0, end(out[k]))).collect();
        let mut took = Duration::ZERO;
        for some in frames.chunks(BATCH) {
            took += self.work(some.to_vec());
            self.engine.output(&mut |_| {});
        }
        self.clients[n].ack = out.iter().map(|&piece| end(piece)).fold(client.ack, later);
        let last = self.clients[n].bare(ACK);
        took += self.work(vec![last]);
        self.empty(n);
        (took, out.len())
    }

    /// Acknowledges whatever comes until nothing more does.
    fn empty(&mut self, n: usize) {
        let mut out = Vec::new();
        for idle in 0.. {
            sent_data(&mut self.engine, &mut out);
            if out.is_empty() && idle > 4 {
                return;
            }
            self.ms += 300;
            self.engine.time(self.ms);
            sent_data(&mut self.engine, &mut out);
            let client = &mut self.clients[n];
            client.ack = out.drain(..).map(end).fold(client.ack, later);
            let ack = client.bare(ACK);
            self.input(vec![ack]);
        }
    }

    /// Slow start, until a thousand segments are in flight: where each begins and how long it is.
    fn fill(&mut self, n: usize) -> Vec<(u32, usize)> {
        let mut flight = Vec::new();
        for _ in 0..200 {
            while flight.len() < WINDOW && self.engine.send(self.ms, self.ids[n], &[7; 40 * MSS]) > 0 {
                sent_data(&mut self.engine, &mut flight);
            }
            if flight.len() >= WINDOW {
                return flight;
            }
            self.ms += 10;
            self.engine.time(self.ms);
            let arrived = core::mem::take(&mut flight);
            for some in arrived.chunks(BATCH) {
                let client = &mut self.clients[n];
                let acks = some.iter().map(|&(_, len)| client.acknowledge(len as u32)).collect();
                self.input(acks);
                sent_data(&mut self.engine, &mut flight);
            }
        }
        panic!("the window never opens to a thousand segments");
    }
}

/// Adds where each frame of data that was sent begins and how long it is.
fn sent_data<E: Engine>(engine: &mut E, flight: &mut Vec<(u32, usize)>) {
    engine.output(&mut |frame| {
        if peer::payload(frame) > 0 {
            flight.push((peer::sequence(frame), peer::payload(frame)));
        }
    });
}

fn end((seq, len): (u32, usize)) -> u32 {
    seq.wrapping_add(len as u32)
}

fn later(a: u32, b: u32) -> u32 {
    if (b.wrapping_sub(a) as i32) > 0 { b } else { a }
}
