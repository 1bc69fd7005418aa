//! Taking rings over: from their opener before first use, or from a process that died.
//!
//! The kernel goes on receiving into the frames of the fill ring and finishes what it is sending, whoever
//! held the rings. The ledger says which frames those are; the rings' free-running indices say whether the
//! ledger's doubtful entries (frames booked as the kernel's by a process that died before it published them)
//! are really there. What stays in doubt is left to the kernel: a frame may be lost that way, never shared.

use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use nic::{Claim, Pool};

use crate::driver::XskNic;
use crate::mapped::{Holder, Ledger};
use crate::socket::Rings;
use crate::sys;

/// How long frames that a predecessor handed over for sending are waited for.
const SENDING_WAIT: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(1);

/// What a successor found in the rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeOver {
    /// Received frames that nobody had read: dropped.
    pub dropped: u32,
    /// Frames that the kernel sent meanwhile.
    pub sent: u32,
    /// Frames the kernel has to receive into.
    pub receiving: u32,
    /// Frames the kernel is still sending: they come back as completions.
    pub sending: u32,
    /// Whether the indices account for every frame. If not, the frames in doubt count as `receiving` or
    /// `sending`, and may not come back.
    pub exact: bool,
}

/// Settles what the kernel holds, books it in the pool, and leaves every other frame free.
pub(crate) fn take_over(nics: &mut [XskNic], ledger: &Ledger, pool: &mut Pool) -> TakeOver {
    let mut found = TakeOver::default();
    let frame_shift = (pool.frame_size() as u32).trailing_zeros();
    let frame = |address: u64| (address >> frame_shift) as u32;
    let sent_all = finish_sending(nics, ledger, &mut found, frame);
    let mut in_fill = vec![false; pool.frames() as usize];
    let mut filled_exactly = true;
    for queue in nics.iter_mut().flat_map(|n| &mut n.queues) {
        let rings = &mut queue.socket.rings;
        filled_exactly &= settle_receiving(rings, |rings| {
            drain(rings, ledger, &mut found.dropped, frame);
            rings.fill.outstanding(|address| {
                if let Some(mark) = in_fill.get_mut(frame(address) as usize) {
                    *mark = true;
                }
            })
        });
    }
    for f in 0..pool.frames() {
        let settled = match ledger.get(f) {
            Holder::Process => in_fill[f as usize].then_some(Holder::Receiving),
            Holder::Receiving => (filled_exactly && !in_fill[f as usize]).then_some(Holder::Process),
            Holder::Sending => sent_all.then_some(Holder::Process),
        };
        if let Some(holder) = settled {
            ledger.set(f, holder);
        }
    }
    pool.claim(|f| match ledger.get(f) {
        Holder::Process => Claim::Free,
        Holder::Receiving => Claim::Filling,
        Holder::Sending => Claim::Sending,
    });
    found.receiving = ledger.count(Holder::Receiving);
    found.sending = ledger.count(Holder::Sending);
    found.exact = filled_exactly && sent_all;
    found
}

/// Has the kernel send what is queued and waits, for a bounded time, until all of it has come back. True when
/// every frame that was ever queued has.
fn finish_sending(
    nics: &mut [XskNic],
    ledger: &Ledger,
    found: &mut TakeOver,
    frame: impl Fn(u64) -> u32 + Copy,
) -> bool {
    let until = Instant::now() + SENDING_WAIT;
    loop {
        let mut left = 0;
        for queue in nics.iter_mut().flat_map(|n| &mut n.queues) {
            if queue.socket.rings.tx.refresh() > 0 {
                // A refusal shows in the indices; the next round tries again.
                let _ = sys::kick_tx(queue.socket.as_fd().as_raw_fd());
            }
            let rings = &mut queue.socket.rings;
            while let Some(address) = rings.completion.pop() {
                ledger.set(frame(address), Holder::Process);
                found.sent += 1;
            }
            rings.completion.release();
            left += rings.tx.index().wrapping_sub(rings.completion.index());
        }
        if left == 0 || Instant::now() >= until {
            return left == 0;
        }
        thread::sleep(PAUSE);
    }
}

/// Drops what waits in the rx ring.
fn drain(rings: &mut Rings, ledger: &Ledger, dropped: &mut u32, frame: impl Fn(u64) -> u32) {
    while let Some(entry) = rings.rx.pop() {
        ledger.set(frame(entry.address), Holder::Process);
        *dropped += 1;
    }
    rings.rx.release();
}

/// Looks at fill and rx ring until both are seen at one moment in which every frame that the kernel took from
/// the one has come out of the other. False when there is no such moment: the kernel keeps frames to itself
/// (a driver's own ring in zero-copy mode, frames it took for a packet that it dropped).
fn settle_receiving(rings: &mut Rings, mut look: impl FnMut(&mut Rings) -> u32) -> bool {
    const LOOKS: u32 = 256;
    for _ in 0..LOOKS {
        let taken = look(rings);
        let received = rings.rx.produced();
        if taken == received && rings.rx.index() == received {
            return true;
        }
    }
    false
}

/// Frames that each queue may hold to receive into and frames that stay out of their hands, for `queues` queues
/// on a pool of `frames`: at most half of all frames are with the queues. A stack leaves more than that alone
/// when it sends data, so a sender can never starve the queue that its ACKs arrive by.
pub(crate) fn shares(frames: u32, queues: u32) -> (u32, usize) {
    (frames / 2 / queues.max(1), frames as usize / 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_rings_never_take_more_than_half_of_the_frames() {
        assert_eq!(shares(4096, 1), (2048, 64));
        assert_eq!(shares(4096, 4), (512, 64));
        assert_eq!(shares(64, 0), (32, 1));
    }
}
