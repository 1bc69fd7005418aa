//! One of ours and a peer that is not, on a cable that loses, repeats and reorders: so many bytes each way at
//! once, compared byte for byte, and both ends closed. In virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use lab::{SplitMix, Trouble};
use stack::config::Config;
use stack::control::ControlEvent;
use stack::error::SocketError;
use stack::socket::How;
use stack::time::Instant;
use stack::types::{Readiness, SocketId};

use crate::host::Host;
use crate::peers::{ADDRESS, MAC, Peer};

const PORT: u16 = 80;
const FRAMES: u32 = 4096;
/// What a frame takes to be put on the cable: 1500 bytes at about 1 Gbit/s.
const FRAME_TIME: Duration = Duration::from_micros(12);
/// Bytes of one call.
const PIECE: usize = 64 * 1024;

/// Who begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opener {
    /// We connect.
    Us,
    /// The peer does.
    Them,
}

/// A stream that both ends know: what one says is compared with what the other expects.
struct Stream {
    seed: u64,
    at: u64,
    bytes: u64,
}

impl Stream {
    fn byte(seed: u64, at: u64) -> u8 {
        SplitMix(seed ^ (at >> 3)).next().to_le_bytes()[(at & 7) as usize]
    }

    fn left(&self) -> usize {
        (self.bytes - self.at).min(PIECE as u64) as usize
    }

    fn fill(&self, room: &mut Vec<u8>) {
        room.clear();
        let mut at = self.at;
        let end = at + self.left() as u64;
        while at < end {
            let word = SplitMix(self.seed ^ (at >> 3)).next().to_le_bytes();
            let skip = (at & 7) as usize;
            let n = (8 - skip).min((end - at) as usize);
            room.extend_from_slice(&word[skip..skip + n]);
            at += n as u64;
        }
    }

    fn check(&mut self, got: &[u8], who: &str) {
        for byte in got {
            assert!(*byte == Self::byte(self.seed, self.at), "{who} heard another byte {}", self.at);
            self.at += 1;
        }
        assert!(self.at <= self.bytes, "{who} heard more than was said");
    }

    fn is_done(&self) -> bool {
        self.at == self.bytes
    }
}

/// A frame on the cable: when it arrives, its order, whether it comes to us.
type Flying = Reverse<(Instant, u64, bool, Vec<u8>)>;

/// The meeting of the two.
struct Meeting<P: Peer> {
    host: Host,
    peer: P,
    now: Instant,
    trouble: Trouble,
    random: SplitMix,
    flying: BinaryHeap<Flying>,
    order: u64,
    free: [Instant; 2],
}

/// Moves `bytes` each way at once and lets both ends close. Answers how long the two talked.
///
/// # Panics
/// When a byte is not what was said, or it takes longer than a day.
pub fn exchange<P: Peer>(peer: P, opener: Opener, bytes: u64, trouble: Trouble) -> Duration {
    let mut host = Host::new(1, FRAMES, Config::default());
    host.control(ControlEvent::Neighbour { iface: Host::IFACE, address: ADDRESS.into(), mac: MAC });
    let random = SplitMix(trouble.seed);
    let now = Instant::from_millis(1000);
    let flying = BinaryHeap::new();
    let mut meeting = Meeting { host, peer, now, trouble, random, flying, order: 0, free: [now; 2] };
    let id = meeting.open(opener);
    meeting.talk(id, bytes);
    let talked = meeting.now.since(now);
    meeting.host.stack.close(meeting.now, id).expect("an open socket");
    let end = meeting.now + Duration::from_secs(400);
    while meeting.now < end && meeting.step() {}
    let now = meeting.now;
    meeting.host.stack.reset_all(now);
    meeting.drain();
    meeting.host.sent(0);
    assert!(meeting.host.is_whole(), "{:?}", meeting.host.stack.pool().census());
    talked
}

impl<P: Peer> Meeting<P> {
    fn open(&mut self, opener: Opener) -> SocketId {
        if opener == Opener::Us {
            self.peer.listen(PORT);
            let id = self.host.connect(self.now, 40_000, (ADDRESS, PORT).into());
            return id.expect("a connection on its way");
        }
        let listener = self.host.listen(PORT).expect("a listener");
        self.peer.connect(self.now, PORT);
        loop {
            if let Some(accepted) = self.host.accept(self.now, listener) {
                return accepted.id;
            }
            assert!(self.step(), "nothing more happens");
        }
    }

    fn talk(&mut self, id: SocketId, bytes: u64) {
        let stream = |seed| Stream { seed, at: 0, bytes };
        let (mut say, mut hear) = (stream(1), stream(2));
        let (mut they_say, mut they_hear) = (stream(2), stream(1));
        let (mut shut, mut finished, mut ended) = (false, false, false);
        let (mut room, mut heard) = (Vec::new(), Vec::new());
        let mut theirs = vec![0; PIECE];
        let limit = self.now + Duration::from_secs(86_400);
        while !(ended && finished && shut && they_hear.is_done() && self.peer.has_ended()) {
            while !say.is_done() {
                say.fill(&mut room);
                match self.host.send(self.now, id, &room) {
                    Ok(n) => say.at += n as u64,
                    Err(SocketError::WouldBlock | SocketError::NotConnected) => break,
                    Err(error) => panic!("we cannot send: {error}"),
                }
            }
            if say.is_done() && !shut && self.host.stack.readiness(id).intersects(Readiness::OUT) {
                shut = self.host.stack.shutdown(self.now, id, How::Write).is_ok();
            }
            loop {
                heard.clear();
                match self.host.recv(self.now, id, PIECE, &mut heard) {
                    Ok(0) => {
                        ended = true;
                        break;
                    }
                    Ok(_) => hear.check(&heard, "we"),
                    Err(SocketError::WouldBlock | SocketError::NotConnected) => break,
                    Err(error) => panic!("we cannot receive: {error}"),
                }
            }
            while !they_say.is_done() {
                they_say.fill(&mut room);
                let n = self.peer.send(&room);
                they_say.at += n as u64;
                if n == 0 {
                    break;
                }
            }
            if they_say.is_done() && !finished {
                self.peer.finish();
                finished = true;
            }
            loop {
                let n = self.peer.recv(&mut theirs);
                if n == 0 {
                    break;
                }
                they_hear.check(&theirs[..n], "they");
            }
            self.peer.poll(self.now);
            assert!(self.step(), "nothing more happens at {} ms", self.now.as_millis());
            assert!(self.now < limit, "we heard {} bytes, they {} in a day", hear.at, they_hear.at);
        }
        assert!(hear.is_done(), "we heard {} bytes", hear.at);
    }

    /// Goes to the next moment at which something happens. False when there is none.
    fn step(&mut self) -> bool {
        self.drain();
        let arrival = self.flying.peek().map_or(Instant::NEVER, |Reverse((due, ..))| *due);
        let next = arrival.min(self.host.stack.next_deadline()).min(self.peer.next(self.now));
        if next == Instant::NEVER {
            return false;
        }
        self.now = self.now.max(next);
        while self.flying.peek().is_some_and(|Reverse((due, ..))| *due <= self.now) {
            match self.flying.pop() {
                Some(Reverse((_, _, true, frame))) => {
                    self.host.input(self.now, &frame);
                }
                Some(Reverse((_, _, false, frame))) => self.peer.input(self.now, &frame),
                None => {}
            }
        }
        if self.host.stack.next_deadline() <= self.now {
            self.host.stack.expire(self.now);
        }
        self.peer.poll(self.now);
        true
    }

    fn drain(&mut self) {
        let mut out = Vec::new();
        self.host.output(|frame| out.push(frame.to_vec()));
        self.host.sent(0);
        out.into_iter().for_each(|frame| self.put(false, frame));
        while let Some(frame) = self.peer.output() {
            self.put(true, frame);
        }
    }

    fn put(&mut self, to_us: bool, frame: Vec<u8>) {
        if self.random.chance(self.trouble.loss) {
            return;
        }
        let free = &mut self.free[usize::from(to_us)];
        *free = (*free).max(self.now) + FRAME_TIME;
        let mut due = *free + self.trouble.delay;
        if self.random.chance(self.trouble.reorder) {
            due += self.trouble.reorder_by;
        }
        let copies = if self.random.chance(self.trouble.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            self.order += 1;
            self.flying.push(Reverse((due, self.order, to_us, frame.clone())));
        }
    }
}
