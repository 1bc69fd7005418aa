//! One queue of an interface, and this stack's AF_XDP socket there.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nic::{Burst, Doorbell, Pkt, Pool, RxFrame, RxMeta};

use crate::chain::{Chain, Part};
use crate::driver::Shared;
use crate::ledger::{BATCH, Holder};
use crate::mapped::Descriptor;
use crate::socket::XskSocket;
use crate::sys;

/// Kicks in a row; in copy mode each moves 32 frames or, since Linux 6.17, a whole ring.
const KICKS_MAX: u32 = 16;

/// One queue: this stack's socket there, and the superframe that it is in the middle of.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) socket: XskSocket,
    /// Its number in the ledger, which counts the queues of all interfaces.
    pub(crate) number: usize,
    chain: Chain,
}

impl Queue {
    pub(crate) fn new(socket: XskSocket, number: usize) -> Self {
        Self { socket, number, chain: Chain::default() }
    }

    pub(crate) fn receive(&mut self, shared: &mut Shared, pool: &mut Pool, burst: &mut Burst, max: usize) {
        let waiting = self.socket.rings.rx.available();
        let mut room = max;
        // Every descriptor makes at most one frame; those of a frame that is dropped make none.
        for _ in 0..waiting {
            if room == 0 {
                break;
            }
            let Some(entry) = self.socket.rings.rx.pop() else { break };
            if let Some(pkt) = self.take(shared, pool, entry) {
                burst.push(RxFrame { pkt, meta: RxMeta { checksum: shared.checksum } });
                room -= 1;
            }
        }
        self.socket.rings.rx.release();
        self.refill(shared, pool);
        if self.socket.rings.fill.needs_wakeup() {
            sys::kick_rx(self.socket.as_fd().as_raw_fd());
        }
    }

    /// The frame of an entry of the rx ring.
    fn take(&mut self, shared: &mut Shared, pool: &mut Pool, entry: Descriptor) -> Option<Pkt> {
        let (frame, offset) = shared.locate(entry.address, Holder::Receiving)?;
        shared.ledger.set(frame, Holder::Stack, shared.slot);
        let len = entry.len as usize;
        let fits = offset + len <= shared.frame_size();
        let more = entry.options & libc::XDP_PKT_CONTD != 0;
        if !fits {
            shared.counters.bad_entries += 1;
            pool.unfilled(frame);
            self.chain.spoilt(more);
            return None;
        }
        let checksum = shared.checksum;
        self.chain.take(pool, &mut shared.counters, Part { frame, offset, len, more, checksum })
    }

    /// Tops the fill ring up, unless another stack is at it.
    pub(crate) fn refill(&mut self, shared: &mut Shared, pool: &mut Pool) {
        let rings = &mut self.socket.rings;
        let waiting = rings.rx.available();
        if rings.fill.waiting() + waiting >= shared.shares.fill {
            return;
        }
        let Some(filling) = shared.ledger.fill(self.number, shared.slot) else { return };
        let fill = &mut rings.fill;
        fill.resume();
        // Frames that wait to be read are the NIC's too: a backlog must not draw further frames after it.
        let mut wanted = shared.shares.fill.saturating_sub(fill.in_use() + waiting) as usize;
        if pool.in_stock() < wanted + shared.shares.reserve {
            shared.draw(pool, wanted + shared.shares.reserve - pool.in_stock());
        }
        while wanted > 0 {
            let mut frames = [0; BATCH];
            let mut n = 0;
            while n < wanted.min(BATCH) && pool.in_stock() > shared.shares.reserve {
                let Some(frame) = pool.to_nic() else { break };
                fill.push(shared.address(frame, 0));
                frames[n] = frame;
                n += 1;
            }
            if n == 0 {
                shared.counters.fill_starved += 1;
                break;
            }
            filling.promise(fill.index(), &frames[..n]);
            fill.publish();
            filling.kept();
            wanted -= n;
        }
    }

    /// Has the kernel send what is in the tx ring; a bounded number of calls.
    pub(crate) fn send(&mut self, shared: &mut Shared, copy: bool) -> Doorbell {
        self.socket.rings.tx.publish();
        let mut left = self.socket.rings.tx.refresh();
        if left == 0 || (!copy && !self.socket.rings.tx.needs_wakeup()) {
            return Doorbell::Quiet;
        }
        let mut without_progress = 0;
        for _ in 0..KICKS_MAX {
            shared.counters.kicks += 1;
            let kicked = sys::kick_tx(self.socket.as_fd().as_raw_fd());
            // Copy mode stops when the completion ring is full: empty it between kicks.
            self.complete(shared);
            let now = self.socket.rings.tx.refresh();
            match kicked.map_err(|e| e.raw_os_error().unwrap_or(0)) {
                // In zero-copy mode the driver is awake and goes on by itself.
                Ok(()) if !copy => return Doorbell::Quiet,
                _ if now == 0 => return Doorbell::Quiet,
                Err(libc::ENETDOWN | libc::ENXIO) => {
                    // Until the interface is up again kicking is no use; the frames wait in the ring.
                    shared.counters.kicks_down += 1;
                    return Doorbell::Quiet;
                }
                Ok(()) => {}
                Err(_) => shared.counters.kicks_refused += 1,
            }
            without_progress = if now < left { 0 } else { without_progress + 1 };
            if without_progress == 2 {
                break;
            }
            left = now;
        }
        Doorbell::Needed
    }

    /// Books what the kernel has sent, whoever's it is, unless another stack is at it.
    #[inline]
    pub(crate) fn complete(&mut self, shared: &mut Shared) {
        if self.socket.rings.completion.has_unconsumed() {
            self.book_completions(shared);
        }
    }

    fn book_completions(&mut self, shared: &mut Shared) {
        let ledger = Arc::clone(&shared.ledger);
        let Some(mut completing) = ledger.complete(self.number, shared.slot) else { return };
        let completion = &mut self.socket.rings.completion;
        completion.resume();
        loop {
            while !completing.is_full()
                && let Some(address) = completion.pop()
            {
                let known = shared.locate(address, Holder::Sending);
                if let Some((frame, _)) = known {
                    completing.tally(frame);
                }
            }
            let full = completing.is_full();
            completing.promise();
            completion.release();
            completing.book(|frame| shared.orphans.push(frame));
            if !full {
                break;
            }
        }
        drop(completing);
        if !shared.orphans.is_empty() {
            ledger.put_orphans(shared.slot, &mut shared.orphans);
        }
    }
}
