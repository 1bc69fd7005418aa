//! The road: what every NIC backend does for a stack.

use std::os::fd::RawFd;

use crate::pkt::{Pkt, TxPkt};
use crate::pool::Pool;

/// What is known of the L4 checksum of a received frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Nothing: verify it.
    #[default]
    Unknown,
    /// Nothing; but the interface is virtual, and a local sender may have left only the pseudo-header's sum
    /// in the field (`CHECKSUM_PARTIAL`). Accept that form too, verify all others.
    MayBeUnfinished,
    /// The NIC verified it.
    Verified,
}

/// What a NIC says of a received frame besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxMeta {
    /// The state of the L4 checksum.
    pub checksum: RxChecksum,
}

/// A received frame.
#[derive(Debug)]
pub struct RxFrame {
    /// The frame; its window begins at the link header.
    pub pkt: Pkt,
    /// What the NIC says of it.
    pub meta: RxMeta,
}

/// Received frames on their way from a NIC to the stack; reused, so that it never allocates.
pub type Burst = Vec<RxFrame>;

/// What a backend can do, found out when it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Frames with [`TxChecksum::Partial`](crate::TxChecksum::Partial) may be handed to [`Nic::tx`].
    pub tx_checksum: bool,
    /// The longest frame that can be sent or received, link header included, in bytes.
    pub max_frame: usize,
}

/// Whether the sender has to call [`Nic::kick`] for its frames to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// Frames wait for a kick.
    Needed,
    /// The NIC is on its way already, or there is nothing to send.
    Quiet,
}

/// One queue (or a set of queues seen as one) of a NIC, driven by the thread that holds it.
///
/// No call blocks. Frames go by ownership: what [`rx`](Nic::rx) hands out and what [`tx`](Nic::tx) takes is
/// booked in the pool that both sides share.
pub trait Nic: Send {
    /// What this backend can do.
    fn caps(&self) -> Caps;

    /// Moves up to `max` received frames to the end of `burst` and refills the NIC from the pool.
    /// Returns how many came.
    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst, max: usize) -> usize;

    /// Queues the frame. A full ring gives it back: keep it, [`kick`](Nic::kick), try again later.
    ///
    /// # Errors
    /// The frame itself, when there is no room for it now.
    fn tx(&mut self, pool: &mut Pool, frame: TxPkt) -> Result<(), TxPkt>;

    /// Rings the doorbell for what was queued, without waiting for it to be sent, and books the frames that
    /// have been sent meanwhile. `Needed` says that frames are left and another kick is due.
    fn kick(&mut self, pool: &mut Pool) -> Doorbell;

    /// Books the frames that have been sent; cheap when there are none.
    fn reap(&mut self, pool: &mut Pool);

    /// More frames are needed at once than the pool has: some come from where all stacks draw, if there is such a place.
    fn fetch(&mut self, pool: &mut Pool) {
        let _ = pool;
    }

    /// Its driver is about to sleep: frames that it keeps for a busy time are for others, where there are others.
    fn rest(&mut self, pool: &mut Pool) {
        let _ = pool;
    }

    /// The pool's memory is about to become other processes': what writes to it by itself has to end. It is not driven any
    /// more.
    fn stop(&mut self) {}

    /// What it counts that a report may show: names and numbers.
    fn count(&self, each: &mut dyn FnMut(&'static str, u64)) {
        let _ = each;
    }

    /// Who has the frames of the memory that it shares with other processes, all of them together. Exact while nothing
    /// moves. Looks at every frame: for reports.
    fn census(&self, each: &mut dyn FnMut(&'static str, u64)) {
        let _ = each;
    }

    /// Descriptors whose readability means that [`rx`](Nic::rx) has something; to be polled while asleep.
    fn wait_fds(&self) -> &[RawFd];

    /// Whether received frames are waiting, without touching them.
    fn rx_pending(&self) -> bool;
}
