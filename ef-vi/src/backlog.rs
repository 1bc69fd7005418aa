//! What the adapter has told of and nobody has asked for yet: events come together, frames are asked for by number.

use std::collections::VecDeque;

use nic::{Burst, FrameIndex, Pool, RxChecksum, RxFrame, RxMeta};

use crate::counters::EfViCounters;
use crate::event::Seen;
use crate::verified::verified;
use crate::vi::{EVENTS, Vi};

/// Frames in superbuffers that may wait here: as long as one of a superbuffer does, it is not used again.
const HELD: usize = 2 * EVENTS;

/// Where a frame is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In a posted frame.
    Frame(FrameIndex),
    /// In a superbuffer, by the packet's number there.
    Superbuffer(u32),
}

/// A frame that came.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    place: Place,
    len: usize,
    seen: Seen,
}

/// Frames that came, in their order, and posted ones that hold nothing of use.
#[derive(Debug)]
pub(crate) struct Backlog {
    waiting: VecDeque<Waiting>,
    spare: Vec<FrameIndex>,
    /// Where a frame begins in a posted one, and how long that is.
    prefix: usize,
    room: usize,
}

impl Backlog {
    /// For an adapter that has at most `posted` frames of `room` bytes and begins behind a prefix in them; it never
    /// grows.
    pub(crate) fn new(posted: usize, prefix: usize, room: usize) -> Self {
        let most = posted.max(HELD) + EVENTS;
        Self { waiting: VecDeque::with_capacity(most), spare: Vec::with_capacity(most), prefix, room }
    }

    /// Whether all that one poll may bring has a place.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.capacity() - self.waiting.len() >= EVENTS
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Posted frames that wait.
    pub(crate) fn frames(&self) -> usize {
        let posted = |waiting: &Waiting| matches!(waiting.place, Place::Frame(_));
        // All are of one kind.
        if self.waiting.front().is_some_and(posted) { self.waiting.len() } else { 0 }
    }

    /// Those that can be posted again.
    pub(crate) fn spare(&self) -> usize {
        self.spare.len()
    }

    /// One of them.
    pub(crate) fn take_spare(&mut self) -> Option<FrameIndex> {
        self.spare.pop()
    }

    /// A posted frame was filled, up to this byte. What is not a frame of its own, or not to be trusted, is posted
    /// again.
    pub(crate) fn filled(&mut self, frame: FrameIndex, end: usize, seen: Seen, counters: &mut EfViCounters) {
        match (seen, end.checked_sub(self.prefix)) {
            (Seen::Well | Seen::BadChecksum, Some(len)) if end <= self.room => {
                self.waiting.push_back(Waiting { place: Place::Frame(frame), len, seen });
                return;
            }
            (Seen::Part, _) => counters.rx_parts += 1,
            _ => counters.rx_discarded += 1,
        }
        self.spare.push(frame);
    }

    /// A frame is in a superbuffer.
    pub(crate) fn held(&mut self, packet: u32, len: usize, seen: Seen) {
        self.waiting.push_back(Waiting { place: Place::Superbuffer(packet), len, seen });
    }

    /// Takes up to `max` frames, into the burst or to be dropped; how many they were. What is in a superbuffer is
    /// copied, once: it has to be given back soon, and a socket may keep a frame for long.
    pub(crate) fn take(
        &mut self,
        vi: &mut Vi,
        pool: &mut Pool,
        burst: &mut Burst,
        max: usize,
        counters: &mut EfViCounters,
    ) -> usize {
        let some = max.min(self.waiting.len());
        for Waiting { place, len, seen } in self.waiting.drain(..some) {
            let pkt = match place {
                Place::Frame(frame) => Some(pool.from_nic(frame, self.prefix, len)),
                Place::Superbuffer(packet) => copy(vi, pool, (packet, len), seen, counters),
            };
            let Some(pkt) = pkt else { continue };
            counters.rx_bad_checksum += u64::from(seen == Seen::BadChecksum);
            // What the adapter calls wrong may only be new to it: the stack looks itself.
            let checksum = if seen == Seen::Well { verified(pool.bytes(&pkt)) } else { RxChecksum::Unknown };
            burst.push(RxFrame { pkt, meta: RxMeta { checksum } });
        }
        some
    }
}

/// A copy of a frame in a superbuffer, which is let go of in any case. `None` when it is not to be trusted, or there is
/// no frame for it.
fn copy(
    vi: &mut Vi,
    pool: &mut Pool,
    (packet, len): (u32, usize),
    seen: Seen,
    counters: &mut EfViCounters,
) -> Option<nic::Pkt> {
    let mut pkt = if seen == Seen::Bad || len > pool.payload_capacity() {
        counters.rx_discarded += 1;
        None
    } else {
        let free = pool.alloc();
        counters.rx_starved += u64::from(free.is_none());
        free
    };
    vi.take_held(packet, len, |bytes| {
        if let Some(pkt) = &mut pkt {
            let _ = pool.append_with(pkt, len, |room| {
                room.copy_from_slice(bytes);
                Ok::<_, ()>(len)
            });
        }
    });
    pkt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fits_between_prefix_and_end_is_a_frame() {
        let (mut backlog, mut counters) = (Backlog::new(8, 14, 2048), EfViCounters::default());
        for (frame, end) in [(0, 13), (1, 14), (2, 74), (3, 2048), (4, 2049)] {
            backlog.filled(frame, end, Seen::Well, &mut counters);
        }
        let lens: Vec<usize> = backlog.waiting.iter().map(|waiting| waiting.len).collect();
        assert_eq!((lens, counters.rx_discarded), (vec![0, 60, 2034], 2));
        assert_eq!((backlog.spare, backlog.waiting.len()), (vec![0, 4], 3), "none is lost");
    }
}
