//! Frames on their way to a doorbell, where some of them may go as superframes.
//!
//! A frame that goes alone costs the kernel about what a superframe costs it. So where the doorbell finds many
//! segments of a flow, all frames since the last one go through the packet socket, in their order, each run of
//! segments as one; otherwise they all go through the ring.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use nic::{Doorbell, Pool, TxChecksum, TxPkt};

use crate::counters::XskCounters;
use crate::outlet::Outlet;
use crate::superframe::{HEAD, SEGMENTS, Superframe, VNET, left_to_kernel};
use crate::sys::TOGETHER;

/// Frames that a doorbell may cover: two full superframes and company.
const FRAMES: usize = 128;
/// The longest pause, as a power of two.
const PAUSE_MAX: u32 = 12;

/// The frames, and how they may go.
#[derive(Debug)]
pub(crate) struct Batch {
    frames: VecDeque<TxPkt>,
    runs: VecDeque<Run>,
    outlet: Option<Outlet>,
    pause: Pause,
}

/// Frames that go together.
#[derive(Clone, Copy, Debug)]
struct Run {
    frames: usize,
    joined: Option<Superframe>,
}

impl Run {
    fn join(&mut self, first: &[u8], next: &[u8]) -> bool {
        let joined = &mut self.joined;
        let joins = self.frames < SEGMENTS && joined.as_mut().is_some_and(|run| run.join(first, next));
        self.frames += usize::from(joins);
        joins
    }
}

/// How long a device is left alone that has refused.
#[derive(Debug, Default)]
struct Pause {
    /// Refusals in a row.
    refused: u32,
    /// Batches that go by before the next attempt.
    left: u32,
}

impl Pause {
    fn is_over(&mut self) -> bool {
        let over = self.left == 0;
        self.left = self.left.saturating_sub(1);
        over
    }

    fn refused(&mut self) {
        self.left = 1 << self.refused.min(PAUSE_MAX);
        self.refused += 1;
    }

    fn taken(&mut self) {
        self.refused = 0;
    }
}

impl Batch {
    /// One that uses `outlet`; without, nothing is to be put in.
    pub(crate) fn new(outlet: Option<Outlet>) -> Self {
        let room = if outlet.is_some() { FRAMES } else { 0 };
        Self {
            frames: VecDeque::with_capacity(room),
            runs: VecDeque::with_capacity(room),
            outlet,
            pause: Pause::default(),
        }
    }

    /// Whether frames have to go through here.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.outlet.is_some() || !self.frames.is_empty()
    }

    /// Whether there is nothing in it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Puts a frame in.
    ///
    /// # Errors
    /// The frame, when there is no room.
    #[inline]
    pub(crate) fn push(&mut self, frame: TxPkt) -> Result<(), TxPkt> {
        if self.frames.len() >= FRAMES {
            return Err(frame);
        }
        self.frames.push_back(frame);
        Ok(())
    }

    /// The next frame, for the ring.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<TxPkt> {
        self.frames.pop_front()
    }

    /// Puts back what [`Batch::pop`] gave.
    pub(crate) fn unpop(&mut self, frame: TxPkt) {
        self.frames.push_front(frame);
    }

    /// Finds what can go together. False when the ring does as well.
    pub(crate) fn plan(&mut self, pool: &Pool) -> bool {
        self.outlet.is_some()
            && self.frames.len() >= 2
            // Small answers to many peers: no need to look at them all.
            && self.join(pool, self.frames.len() / 2)
            && self.pause.is_over()
    }

    /// Joins the frames to runs. False when that makes more than so many.
    fn join(&mut self, pool: &Pool, most: usize) -> bool {
        self.runs.clear();
        let mut first: &[u8] = &[];
        for frame in &self.frames {
            let bytes = pool.lent_bytes(frame);
            if !self.runs.back_mut().is_some_and(|run| run.join(first, bytes)) {
                first = bytes;
                self.runs.push_back(Run { frames: 1, joined: Superframe::begin(bytes) });
                if self.runs.len() > most {
                    return false;
                }
            }
        }
        true
    }

    /// Sends all there is through the outlet, where that is the only way out.
    pub(crate) fn send_all(&mut self, pool: &mut Pool, counters: &mut XskCounters) -> Doorbell {
        self.join(pool, self.frames.len());
        while let Some(run) = self.runs.pop_front() {
            let Some(outlet) = &self.outlet else { return Doorbell::Quiet };
            counters.kicks += 1;
            let alone = self.alone(run);
            let sent = if alone > 1 {
                send_alone(outlet, pool, &self.frames, alone)
            } else {
                send(outlet, pool, &self.frames, run).map(|()| 1)
            };
            match sent.map_err(|e| e.raw_os_error().unwrap_or(0)) {
                Ok(sent) => {
                    self.sent(run, pool, counters);
                    for _ in 1..sent {
                        // As the first, each one frame.
                        self.runs.pop_front().into_iter().for_each(|run| self.sent(run, pool, counters));
                    }
                }
                // Until the interface is up again the frames wait here.
                Err(libc::ENETDOWN | libc::ENXIO) => {
                    counters.kicks_down += 1;
                    return Doorbell::Quiet;
                }
                Err(libc::EAGAIN | libc::EINTR) => {
                    counters.kicks_refused += 1;
                    return Doorbell::Needed;
                }
                // The kernel took it, and a filter or a queue behind has dropped it: another time it would do the same.
                Err(libc::ENOBUFS | libc::ENOMEM) => {
                    counters.tx_dropped += run.frames as u64;
                    self.gone(run, pool);
                }
                Err(_) if run.frames > 1 => {
                    counters.superframes_refused += 1;
                    let alone = Run { frames: 1, joined: None };
                    self.runs.extend(std::iter::repeat_n(alone, run.frames));
                    self.runs.rotate_right(run.frames);
                }
                // Longer than the MTU is by now, for one.
                Err(_) => {
                    counters.tx_rejected += 1;
                    self.frames.drain(..1).for_each(|frame| pool.take_back(frame));
                }
            }
        }
        Doorbell::Quiet
    }

    /// How many frames from `run` on go each by itself, as far as one call sends them.
    fn alone(&self, run: Run) -> usize {
        let all = std::iter::once(&run).chain(&self.runs);
        all.take_while(|run| run.frames == 1).take(TOGETHER).count()
    }

    /// Books a run that the kernel has copied.
    fn sent(&mut self, run: Run, pool: &mut Pool, counters: &mut XskCounters) {
        counters.tx_frames += run.frames as u64;
        if run.frames > 1 {
            counters.tx_superframes += 1;
            counters.tx_joined += run.frames as u64;
        }
        self.gone(run, pool);
    }

    fn gone(&mut self, run: Run, pool: &mut Pool) {
        self.frames.drain(..run.frames).for_each(|frame| pool.take_back(frame));
    }

    /// Sends what was planned through the packet socket, until that refuses.
    pub(crate) fn send(&mut self, pool: &mut Pool, counters: &mut XskCounters) {
        while let Some(run) = self.runs.pop_front() {
            let Some(outlet) = &self.outlet else { return };
            match send(outlet, pool, &self.frames, run) {
                Ok(()) => self.pause.taken(),
                Err(error) => {
                    counters.superframes_refused += 1;
                    self.refused(&error);
                    return;
                }
            }
            self.sent(run, pool, counters);
        }
    }

    /// Tries later what may be otherwise then, and never again what cannot be.
    fn refused(&mut self, error: &io::Error) {
        match error.raw_os_error().unwrap_or(0) {
            // No room for now, or a device that has (for now) others cut; the interface is down; a frame of before its
            // MTU was lowered.
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::ENETDOWN | libc::ENXIO | libc::EMSGSIZE => {
                self.pause.refused()
            }
            _ => self.outlet = None,
        }
    }
}

/// Sends the first frames as one.
fn send(outlet: &Outlet, pool: &Pool, frames: &VecDeque<TxPkt>, run: Run) -> io::Result<()> {
    let mut parts = [IoSlice::new(&[]); 1 + SEGMENTS];
    let mut head = [0; HEAD];
    let Some(first) = frames.front() else { return Ok(()) };
    let (len, skip) = match run.joined.filter(|_| run.frames > 1) {
        Some(joined) => (joined.head(pool.lent_bytes(first), &mut head), joined.headers()),
        None => {
            head[..VNET].copy_from_slice(&head_of(first));
            (VNET, 0)
        }
    };
    parts[0] = IoSlice::new(&head[..len]);
    for (part, frame) in parts[1..].iter_mut().zip(frames.range(..run.frames)) {
        *part = IoSlice::new(&pool.lent_bytes(frame)[skip..]);
    }
    outlet.send(&parts[..=run.frames])
}

/// Sends the first frames each by itself; says how many were sent.
fn send_alone(outlet: &Outlet, pool: &Pool, frames: &VecDeque<TxPkt>, count: usize) -> io::Result<usize> {
    let mut heads = [[0; VNET]; TOGETHER];
    for (head, frame) in heads.iter_mut().zip(frames.range(..count)) {
        *head = head_of(frame);
    }
    let mut parts = [[IoSlice::new(&[]); 2]; TOGETHER];
    for ((parts, head), frame) in parts.iter_mut().zip(&heads).zip(frames.range(..count)) {
        *parts = [IoSlice::new(head), IoSlice::new(pool.lent_bytes(frame))];
    }
    outlet.send_each(&parts[..count])
}

/// What the kernel is told of a frame that goes by itself.
fn head_of(frame: &TxPkt) -> [u8; VNET] {
    match frame.checksum {
        TxChecksum::Partial { start, offset } => left_to_kernel(start, offset),
        TxChecksum::Complete => [0; VNET],
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // The ledger says whose they are: whoever settles what is left here finds them.
        self.frames.drain(..).for_each(|frame| {
            frame.into_frame();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_is_asked_ever_less_and_who_takes_at_once() {
        let mut pause = Pause::default();
        let asked = |pause: &mut Pause| {
            let over = pause.is_over();
            if over {
                pause.refused();
            }
            over
        };
        let at: Vec<u32> = (0..40_000).filter(|_| asked(&mut pause)).collect();
        assert_eq!(at[..6], [0, 2, 5, 10, 19, 36]);
        assert_eq!(at[at.len() - 1] - at[at.len() - 2], 1 + (1 << PAUSE_MAX), "never given up");
        pause = Pause { refused: 3, left: 0 };
        assert!(pause.is_over());
        pause.taken();
        assert!(pause.is_over());
        assert!(asked(&mut pause) && !asked(&mut pause) && asked(&mut pause), "from the beginning");
    }
}
