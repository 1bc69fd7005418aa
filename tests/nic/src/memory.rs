//! A wire in memory: the plainest NIC, and every fault that the checks are there to find.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nic::{
    Arena, Burst, Caps, Doorbell, FrameIndex, Nic, Pool, RxChecksum, RxFrame, RxMeta, TxChecksum, TxPkt,
};

use crate::end::{End, Wire};
use crate::frame::{Address, Sum, fold, sum};

const FRAMES: u32 = 512;
const RING: usize = 64;
const LONGEST: usize = 1514;

/// What is wrong with a NIC; each is found by the check that it is named beside in `tests/memory.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A frame in a hundred overtakes the one before it.
    Overtakes,
    /// A frame that finds the ring full is dropped.
    DropsWhenFull,
    /// Frames for which the receiver has no room come a second time.
    Repeats,
    /// Frames that were lent never come back.
    KeepsLoans,
    /// `rx` gives what there is.
    IgnoresMax,
    /// A fill ring that ran empty is never filled again.
    StarvesForGood,
    /// Every checksum was verified.
    CallsAllVerified,
    /// A frame that is too long stays in the ring, and all behind it.
    StopsAtLong,
    /// There is always something to send.
    NeverQuiet,
    /// Nobody is woken.
    WakesNobody,
    /// An end that is opened again goes on with what was on the wire.
    RemembersFrames,
}

/// One direction of the wire, frames as they are on it.
#[derive(Debug)]
struct Line {
    frames: VecDeque<Vec<u8>>,
    /// Readable while frames wait.
    bell: (UnixStream, UnixStream),
}

impl Line {
    fn new() -> Self {
        let bell = UnixStream::pair().expect("a pair of sockets");
        for side in [&bell.0, &bell.1] {
            side.set_nonblocking(true).expect("a socket that does not block");
        }
        Self { frames: VecDeque::new(), bell }
    }

    fn ring(&mut self) {
        let _ = self.bell.0.write(&[1]);
    }

    fn silence(&mut self) {
        while matches!(self.bell.1.read(&mut [0; 64]), Ok(1..)) {}
    }
}

type Shared = Arc<Mutex<Line>>;

fn lock(line: &Shared) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One NIC of the wire.
#[derive(Debug)]
struct MemoryNic {
    fault: Option<Fault>,
    out: Shared,
    incoming: Shared,
    fds: Vec<RawFd>,
    fill: VecDeque<FrameIndex>,
    tx: VecDeque<TxPkt>,
    sent: Vec<FrameIndex>,
    count: u32,
    starved: bool,
}

impl MemoryNic {
    fn is(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn refill(&mut self, pool: &mut Pool) {
        if self.starved && self.is(Fault::StarvesForGood) {
            return;
        }
        while self.fill.len() < RING
            && let Some(frame) = pool.to_nic()
        {
            self.fill.push_back(frame);
        }
        self.starved |= self.fill.is_empty();
    }

    /// The bytes on the wire: with the checksum that was left to us.
    fn transmit(&mut self, pool: &Pool, frame: &TxPkt) {
        let mut bytes = pool.lent_bytes(frame).to_vec();
        if let TxChecksum::Partial { start, offset } = frame.checksum {
            let (start, at) = (usize::from(start), usize::from(start) + usize::from(offset));
            let field = !fold(&bytes[start..], 0);
            bytes[at..at + 2].copy_from_slice(&field.to_be_bytes());
        }
        self.count += 1;
        let mut line = lock(&self.out);
        if line.frames.len() < 2 * RING {
            line.frames.push_back(bytes);
        } else if self.fault == Some(Fault::Repeats) {
            let last = line.frames.back().cloned();
            line.frames.extend(last);
        }
        let waiting = line.frames.len();
        if self.fault == Some(Fault::Overtakes) && self.count.is_multiple_of(100) && waiting > 1 {
            line.frames.swap(waiting - 1, waiting - 2);
        }
        if self.fault != Some(Fault::WakesNobody) {
            line.ring();
        }
    }
}

impl Nic for MemoryNic {
    fn caps(&self) -> Caps {
        Caps { tx_checksum: true, max_frame: LONGEST }
    }

    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst, max: usize) -> usize {
        let before = burst.len();
        let max = if self.is(Fault::IgnoresMax) { RING } else { max };
        self.refill(pool);
        let incoming = Arc::clone(&self.incoming);
        let mut line = lock(&incoming);
        while burst.len() - before < max
            && !line.frames.is_empty()
            && let Some(frame) = self.fill.pop_front()
        {
            let bytes = line.frames.pop_front().unwrap_or_default();
            let mut pkt = pool.from_nic(frame, 0, bytes.len());
            if let Some(room) = pool.bytes_mut(&mut pkt) {
                room.copy_from_slice(&bytes);
            }
            let verified = self.is(Fault::CallsAllVerified) || sum(&bytes) == Sum::Finished;
            let checksum = if verified { RxChecksum::Verified } else { RxChecksum::Unknown };
            burst.push(RxFrame { pkt, meta: RxMeta { checksum } });
        }
        if line.frames.is_empty() {
            line.silence();
        }
        drop(line);
        self.refill(pool);
        burst.len() - before
    }

    fn tx(&mut self, pool: &mut Pool, frame: TxPkt) -> Result<(), TxPkt> {
        if frame.len() > LONGEST && !self.is(Fault::StopsAtLong) {
            pool.take_back(frame);
            return Ok(());
        }
        if self.tx.len() < RING {
            self.tx.push_back(frame);
            return Ok(());
        }
        if self.is(Fault::DropsWhenFull) {
            pool.take_back(frame);
            return Ok(());
        }
        Err(frame)
    }

    fn kick(&mut self, pool: &mut Pool) -> Doorbell {
        while let Some(frame) = self.tx.front()
            && frame.len() <= LONGEST
            && let Some(frame) = self.tx.pop_front()
        {
            self.transmit(pool, &frame);
            self.sent.push(frame.frame());
            std::mem::forget(frame);
        }
        self.reap(pool);
        if self.is(Fault::NeverQuiet) { Doorbell::Needed } else { Doorbell::Quiet }
    }

    fn reap(&mut self, pool: &mut Pool) {
        if self.is(Fault::KeepsLoans) {
            return;
        }
        self.sent.drain(..).for_each(|frame| pool.returned(frame));
    }

    fn wait_fds(&self) -> &[RawFd] {
        &self.fds
    }

    fn rx_pending(&self) -> bool {
        !lock(&self.incoming).frames.is_empty()
    }
}

impl Drop for MemoryNic {
    fn drop(&mut self) {
        // Its pool goes with it.
        self.tx.drain(..).for_each(std::mem::forget);
    }
}

/// Two NICs in memory.
#[derive(Debug)]
pub struct MemoryWire {
    fault: Option<Fault>,
    lines: [Shared; 2],
    ends: [End; 2],
}

impl MemoryWire {
    /// A wire whose NICs do as they should, or have one fault.
    #[must_use]
    pub fn new(fault: Option<Fault>) -> Self {
        let lines = [0, 1].map(|_| Arc::new(Mutex::new(Line::new())));
        let ends = [0, 1].map(|side| open(&lines, side, fault));
        Self { fault, lines, ends }
    }
}

fn open(lines: &[Shared; 2], side: usize, fault: Option<Fault>) -> End {
    let (out, incoming) = (Arc::clone(&lines[side]), Arc::clone(&lines[1 - side]));
    let fds = vec![lock(&incoming).bell.1.as_raw_fd()];
    let (fill, tx, sent) = (VecDeque::new(), VecDeque::new(), Vec::new());
    let mut nic = MemoryNic { fault, out, incoming, fds, fill, tx, sent, count: 0, starved: false };
    let mut pool = Pool::new(Arena::new(FRAMES, 2048).expect("an arena"));
    nic.refill(&mut pool);
    let number = side as u8 + 1;
    let address = Address { mac: [2, 0, 0, 0, 0, number], ip: Ipv4Addr::new(10, 0, 0, number) };
    End::new(Box::new(nic), pool, address)
}

impl Wire for MemoryWire {
    fn ends(&mut self) -> [&mut End; 2] {
        self.ends.each_mut()
    }

    fn reopen(&mut self, side: usize) {
        if self.fault != Some(Fault::RemembersFrames) {
            let mut line = lock(&self.lines[1 - side]);
            line.frames.clear();
            line.silence();
        }
        self.ends[side] = open(&self.lines, side, self.fault);
    }
}
