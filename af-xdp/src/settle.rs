//! What the last stack of a slot left behind, whether it ended well, was killed in the middle of something, or
//! never was: settled so that every frame is where the ledger says.
//!
//! The kernel goes on receiving into the slot's rx ring and finishes what it is sending, whoever held the rings.
//! Received frames that nobody read are dropped; frames that were written to the tx ring and never shown to
//! the kernel are taken back; those that it is sending come back when it has sent them, whichever stack then
//! looks.

use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use crate::driver::XskNic;
use crate::ledger::{Holder, Ledger, Slot};
use crate::socket::Rings;
use crate::sys;

/// How long frames that are being sent are waited for.
const SENDING_WAIT: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(1);

/// What a successor found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeOver {
    /// Received frames that nobody had read: dropped.
    pub dropped: u32,
    /// Frames that were to be sent and never shown to the kernel: not sent.
    pub unsent: u32,
    /// Frames that the kernel is still sending: they come back later.
    pub sending: u32,
    /// Rings to send by that were left in no order: what was in them is not sent.
    pub mended: u32,
}

/// Settles slot `slot`, whose rings `nics` are, for stack `me` (which may be the new one of that slot). Nobody
/// else may be at that slot; `gone` says which other stacks have died, too. Every frame but those that the kernel
/// has is in the depot afterwards.
pub(crate) fn settle(
    nics: &mut [XskNic],
    ledger: &Ledger,
    (slot, me): (Slot, Slot),
    gone: &dyn Fn(Slot) -> bool,
) -> TakeOver {
    let mut found = TakeOver::default();
    for nic in &mut *nics {
        found.dropped += nic.drain();
        let frame_of = nic.frame_of();
        for queue in &mut nic.queues {
            let rings = &mut queue.socket.rings;
            found.mended += u32::from(rings.tx.mend());
            keep_promise(rings, ledger, (queue.number, slot), frame_of);
            found.unsent += take_back(rings, ledger, (queue.number, slot), frame_of);
            while let Some(entry) = rings.rx.pop() {
                ledger.set(frame_of(entry.address), Holder::Stack, slot);
                found.dropped += 1;
            }
            rings.rx.release();
        }
    }
    found.sending = finish_sending(nics, ledger, slot);
    while !ledger.bury(slot, me, gone) {
        // A living stack is at the depot, and may have been stopped there.
        thread::sleep(PAUSE);
    }
    found
}

/// Publishes what the slot's last stack had written to a fill ring and promised to the kernel.
fn keep_promise(
    rings: &mut Rings,
    ledger: &Ledger,
    (queue, slot): (usize, Slot),
    frame_of: impl Fn(u64) -> u32,
) {
    let Some((filling, base, count)) = ledger.inherit_fill(queue, slot) else { return };
    rings.fill.resume();
    if count > 0 && rings.fill.index() == base {
        let frames: Vec<u32> = (0..count).map(|n| frame_of(rings.fill.peek(base.wrapping_add(n)))).collect();
        filling.promise(base, &frames);
        rings.fill.take_as_pushed(count);
        rings.fill.publish();
    }
    filling.kept();
}

/// Takes back what is written to a tx ring and was never published. Says how many frames that is.
fn take_back(
    rings: &mut Rings,
    ledger: &Ledger,
    (queue, slot): (usize, Slot),
    frame_of: impl Fn(u64) -> u32,
) -> u32 {
    let base = rings.tx.index();
    let count = ledger.written(queue, slot).wrapping_sub(base);
    let mut unsent = 0;
    if count <= rings.tx.len() {
        for n in 0..count {
            let frame = frame_of(rings.tx.peek(base.wrapping_add(n)).address);
            if ledger.is(frame, Holder::Sending, slot) {
                ledger.set(frame, Holder::Stack, slot);
                unsent += 1;
            }
        }
    }
    ledger.wrote(queue, slot, base);
    unsent
}

/// Has the kernel send what is queued and waits, for a bounded time, until all of it has come back. Says how
/// many frames have not.
fn finish_sending(nics: &mut [XskNic], ledger: &Ledger, slot: Slot) -> u32 {
    let until = Instant::now() + SENDING_WAIT;
    loop {
        let mut queued = 0;
        for nic in &mut *nics {
            for queue in &mut nic.queues {
                let left = queue.socket.rings.tx.refresh();
                if left > 0 {
                    // A refusal shows in the indices; the next round tries again.
                    let _ = sys::kick_tx(queue.socket.as_fd().as_raw_fd());
                }
                queued += left;
            }
            nic.book_completions();
        }
        let sending = (0..ledger.frames()).filter(|f| ledger.is(*f, Holder::Sending, slot)).count() as u32;
        if (sending == 0 && queued == 0) || Instant::now() >= until {
            return sending;
        }
        thread::sleep(PAUSE);
    }
}
