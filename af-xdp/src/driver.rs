//! The queues of one interface, seen as one NIC.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use nic::{Burst, Caps, Doorbell, Nic, Pool, RxChecksum, TxChecksum, TxPkt};

use crate::batch::Batch;
use crate::counters::XskCounters;
use crate::headers::{TAG, is_tagged};
use crate::interface::Interface;
use crate::ledger::{FrameCensus, Holder, Ledger, Slot};
use crate::mapped::Descriptor;
use crate::outlet::Outlet;
use crate::packet::PacketSocket;
use crate::port::{ETH_HEADER, receives};
use crate::queue::Queue;
use crate::socket::{BindMode, TX_METADATA, UmemMode, XskSocket, XskStatistics};
use crate::steer::XdpMode;
use crate::stock::{Shares, beside_the_nic};
use crate::tap::{self, Tap};

/// Frames in a row that the kernel is not seen to have sent before the rest is left for later.
const LATE: usize = 4;

/// AF_XDP on the queues of one interface.
///
/// Frames are received from all queues and sent on the first, so a flow's frames stay in order.
#[derive(Debug)]
pub struct XskNic {
    interface: Interface,
    xdp: XdpMode,
    mode: UmemMode,
    caps: Caps,
    pub(crate) queues: Vec<Queue>,
    /// In the place of queues: a TAP device; what is sent goes through the batch's outlet.
    tap: Option<Tap>,
    shared: Shared,
    batch: Batch,
    /// The queue to receive from first, in turn.
    turn: usize,
    fds: Vec<RawFd>,
}

/// What all interfaces of a stack have in common.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) ledger: Arc<Ledger>,
    /// The stack's number.
    pub(crate) slot: Slot,
    /// Frames in the arena.
    pub(crate) frames: u32,
    /// Bytes in a frame.
    pub(crate) frame_size: u32,
}

/// What all queues of a NIC need.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ledger: Arc<Ledger>,
    /// The stack's number.
    pub(crate) slot: Slot,
    /// Frames in the tx ring or beyond, in the order in which they went.
    sending: VecDeque<u32>,
    /// Frames sent for stacks that are gone.
    pub(crate) orphans: Vec<u32>,
    pub(crate) counters: XskCounters,
    pub(crate) checksum: RxChecksum,
    frames: u32,
    frame_shift: u32,
    pub(crate) shares: Shares,
}

impl Shared {
    /// The frame and the offset in it of a UMEM address, if the kernel has that frame for `holder`.
    pub(crate) fn locate(&mut self, address: u64, holder: Holder) -> Option<(u32, usize)> {
        let frame = u32::try_from(address >> self.frame_shift).ok().filter(|f| *f < self.frames);
        match frame.filter(|f| self.ledger.get(*f).holder() == holder) {
            Some(frame) => Some((frame, (address & ((1 << self.frame_shift) - 1)) as usize)),
            None => {
                self.counters.bad_entries += 1;
                None
            }
        }
    }

    /// The UMEM address of a byte of a frame.
    pub(crate) fn address(&self, frame: u32, offset: usize) -> u64 {
        (u64::from(frame) << self.frame_shift) + offset as u64
    }

    pub(crate) fn frame_size(&self) -> usize {
        1 << self.frame_shift
    }

    /// Takes frames that have been sent back into the pool.
    #[inline]
    fn collect(&mut self, pool: &mut Pool) {
        let mut late = 0;
        while late < LATE
            && let Some(frame) = self.sending.pop_front()
        {
            if self.ledger.collect(frame, self.slot) {
                pool.returned(frame);
            } else {
                // Those behind it may be back all the same.
                self.sending.push_back(frame);
                late += 1;
                if late == self.sending.len() {
                    break;
                }
            }
        }
    }
}

impl XskNic {
    /// `first_queue`: the number of the interface's first queue in the ledger.
    pub(crate) fn new(
        (interface, first_queue): (Interface, usize),
        xdp: XdpMode,
        mode: UmemMode,
        sockets: Vec<XskSocket>,
        common: &Common,
    ) -> Self {
        let checksum = if interface.is_virtual() { RxChecksum::MayBeUnfinished } else { RxChecksum::Unknown };
        // What peers send is as long as what we say that we take, which is what we send: it has to come whole.
        let most = match interface.is_wide(common.frame_size) {
            true => receives(common.frame_size) + ETH_HEADER,
            false => (interface.mtu + ETH_HEADER).min(common.frame_size),
        };
        let tx_checksum = mode.tx_metadata && mode.bind == BindMode::Copy;
        let caps = Caps { tx_checksum, max_frame: most as usize };
        let numbers = first_queue..;
        Self {
            fds: sockets.iter().map(|s| s.as_fd().as_raw_fd()).collect(),
            queues: sockets
                .into_iter()
                .zip(numbers)
                .map(|(socket, number)| Queue::new(socket, number))
                .collect(),
            shared: Shared {
                ledger: Arc::clone(&common.ledger),
                slot: common.slot,
                sending: VecDeque::with_capacity(common.frames as usize),
                orphans: Vec::with_capacity(common.frames as usize),
                counters: XskCounters::default(),
                checksum,
                frames: common.frames,
                frame_shift: common.frame_size.trailing_zeros(),
                shares: Shares::default(),
            },
            batch: Batch::new(None),
            tap: None,
            interface,
            xdp,
            mode,
            caps,
            turn: 0,
        }
    }

    /// One that has a TAP device in the place of queues: it hears `tap` and sends through `outlet`.
    pub(crate) fn behind(
        (interface, xdp): (Interface, XdpMode),
        mode: UmemMode,
        (tap, outlet): (Tap, Outlet),
        common: &Common,
    ) -> Self {
        let mut nic = Self::new((interface, 0), xdp, mode, Vec::new(), common);
        nic.caps.tx_checksum = true;
        nic.fds = vec![tap.number()];
        nic.tap = Some(tap);
        nic.batch = Batch::new(Some(outlet));
        nic
    }

    /// Drops what arrived and was not read, where that is the kernel's to keep. Says how many frames that was.
    pub(crate) fn drain(&self) -> u32 {
        self.tap.as_ref().and_then(|tap| tap.drain().ok()).unwrap_or(0)
    }

    /// Sends superframes through `socket` where that pays.
    pub(crate) fn offload(&mut self, socket: Option<PacketSocket>) {
        self.batch = Batch::new(socket.map(Outlet::Packet));
    }

    /// Sends every frame by itself, whatever the port was opened for, where there is another way than the packet
    /// socket. To be called before anything is sent.
    pub fn forgo_offload(&mut self) {
        if self.tap.is_none() {
            self.offload(None);
        }
    }

    /// The interface and the sockets: nothing is driven any more.
    pub(crate) fn into_parts(self) -> (Interface, Vec<XskSocket>) {
        (self.interface, self.queues.into_iter().map(|q| q.socket).collect())
    }

    /// The interface.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Where the steering program runs.
    pub fn xdp_mode(&self) -> XdpMode {
        self.xdp
    }

    /// How the UMEM is bound.
    pub fn umem_mode(&self) -> UmemMode {
        self.mode
    }

    /// Frames that can wait to be read on a queue.
    pub fn backlog(&self) -> u32 {
        if self.tap.is_some() {
            return tap::QUEUE;
        }
        self.queues.iter().map(|queue| queue.socket.sizes().rx).fold(self.shared.shares.fill, u32::min)
    }

    /// Who has the frames of the port, all its stacks and interfaces together. Looks at every frame: for reports.
    pub fn frames(&self) -> FrameCensus {
        self.shared.ledger.census()
    }

    /// What was counted since the NIC was made.
    pub fn counters(&self) -> XskCounters {
        self.shared.counters
    }

    /// The kernel's counters, all queues together.
    ///
    /// # Errors
    /// The operating system's.
    pub fn statistics(&self) -> io::Result<XskStatistics> {
        let mut sum = XskStatistics::default();
        for queue in &self.queues {
            let s = queue.socket.statistics()?;
            sum.rx_dropped += s.rx_dropped;
            sum.rx_invalid_descs += s.rx_invalid_descs;
            sum.tx_invalid_descs += s.tx_invalid_descs;
            sum.rx_ring_full += s.rx_ring_full;
            sum.rx_fill_ring_empty_descs += s.rx_fill_ring_empty_descs;
        }
        Ok(sum)
    }

    /// Says how many frames are to be kept where; fills pool and rings.
    pub(crate) fn start(&mut self, pool: &mut Pool, shares: Shares) {
        self.shared.shares = shares;
        let fill = match self.mode.bind {
            BindMode::ZeroCopy => beside_the_nic(shares.fill, self.interface.rx_ring),
            BindMode::Copy => shares.fill,
        };
        for queue in &mut self.queues {
            self.shared.shares.fill = fill.min(queue.socket.rings.fill.len());
            queue.refill(&mut self.shared, pool);
        }
        self.shared.fetch(pool);
        self.shared.stock(pool);
    }

    /// The frame of a UMEM address.
    pub(crate) fn frame_of(&self) -> impl Fn(u64) -> u32 + Copy + use<> {
        let shift = self.shared.frame_shift;
        move |address| u32::try_from(address >> shift).unwrap_or(u32::MAX)
    }

    /// Books what the kernel has sent, whoever's it is.
    pub(crate) fn book_completions(&mut self) {
        for queue in &mut self.queues {
            queue.complete(&mut self.shared);
        }
    }

    fn sendable(&self, pool: &Pool, frame: &TxPkt) -> bool {
        let room = !self.mode.tx_metadata || frame.offset() >= TX_METADATA;
        // The kernel never gets past an entry whose checksum lies outside its frame.
        let checksum = match frame.checksum {
            TxChecksum::Complete => true,
            TxChecksum::Partial { start, offset } => {
                self.caps.tx_checksum && usize::from(start) + usize::from(offset) + 2 <= frame.len()
            }
        };
        let most = self.caps.max_frame;
        let fits = frame.len() <= most || frame.len() <= most + TAG && is_tagged(pool.lent_bytes(frame));
        room && checksum && fits && frame.len() >= ETH_HEADER as usize
    }

    /// Puts a frame into the tx ring.
    fn enter(&mut self, pool: &mut Pool, mut frame: TxPkt) -> Result<(), TxPkt> {
        let Queue { socket, number, .. } = &mut self.queues[0];
        let ring = &mut socket.rings.tx;
        if !ring.has_room() {
            return Err(frame);
        }
        let options = Self::describe(pool, &mut frame);
        let (address, len) = (self.shared.address(frame.frame(), frame.offset()), frame.len() as u32);
        ring.push(Descriptor { address, len, options });
        // In this order: a successor must find either none of it or all.
        self.shared.ledger.wrote(*number, self.shared.slot, ring.written());
        let frame = frame.into_frame();
        self.shared.ledger.lend(frame, self.shared.slot);
        self.shared.sending.push_back(frame);
        self.shared.counters.tx_frames += 1;
        Ok(())
    }

    /// Has the kernel send what is in the tx ring.
    fn send(&mut self) -> Doorbell {
        self.queues[0].send(&mut self.shared, self.mode.bind == BindMode::Copy)
    }

    /// Sends the batch, by one road or the other. What is in the ring was before it and must have left.
    fn send_batch(&mut self, pool: &mut Pool) {
        if self.batch.plan(pool) {
            self.send();
            if self.queues[0].socket.rings.tx.refresh() == 0 {
                self.batch.send(pool, &mut self.shared.counters);
            }
        }
        while let Some(frame) = self.batch.pop() {
            if let Err(frame) = self.enter(pool, frame) {
                self.batch.unpop(frame);
                return;
            }
        }
    }

    /// `struct xsk_tx_metadata` in front of a frame whose checksum the kernel is to finish.
    fn describe(pool: &mut Pool, frame: &mut TxPkt) -> u32 {
        let TxChecksum::Partial { start, offset } = frame.checksum else { return 0 };
        let Some(metadata) = pool.tx_metadata_mut(frame, TX_METADATA) else { return 0 };
        metadata.fill(0);
        metadata[..8].copy_from_slice(&u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM).to_ne_bytes());
        metadata[8..10].copy_from_slice(&start.to_ne_bytes());
        metadata[10..12].copy_from_slice(&offset.to_ne_bytes());
        libc::XDP_TX_METADATA
    }
}

impl Nic for XskNic {
    fn caps(&self) -> Caps {
        self.caps
    }

    fn rx(&mut self, pool: &mut Pool, burst: &mut Burst, max: usize) -> usize {
        let before = burst.len();
        if let Some(tap) = &mut self.tap {
            tap.receive(&mut self.shared, pool, burst, max);
        }
        let count = self.queues.len();
        for i in 0..count {
            let queue = &mut self.queues[(self.turn + i) % count];
            let left = max - (burst.len() - before);
            queue.receive(&mut self.shared, pool, burst, left);
        }
        self.turn = (self.turn + 1) % count.max(1);
        self.shared.stock(pool);
        let got = burst.len() - before;
        self.shared.counters.rx_frames += got as u64;
        got
    }

    fn tx(&mut self, pool: &mut Pool, frame: TxPkt) -> Result<(), TxPkt> {
        if !self.sendable(pool, &frame) {
            self.shared.counters.tx_rejected += 1;
            pool.take_back(frame);
            return Ok(());
        }
        if self.batch.is_on() { self.batch.push(frame) } else { self.enter(pool, frame) }
    }

    fn kick(&mut self, pool: &mut Pool) -> Doorbell {
        if self.tap.is_some() {
            return self.batch.send_all(pool, &mut self.shared.counters);
        }
        if !self.batch.is_empty() {
            self.send_batch(pool);
        }
        let mut doorbell = self.send();
        if !self.batch.is_empty() && self.queues[0].socket.rings.tx.has_room() {
            doorbell = Doorbell::Needed;
        }
        self.reap(pool);
        doorbell
    }

    fn reap(&mut self, pool: &mut Pool) {
        self.book_completions();
        self.shared.collect(pool);
    }

    fn fetch(&mut self, pool: &mut Pool) {
        self.shared.fetch(pool);
    }

    fn rest(&mut self, pool: &mut Pool) {
        self.shared.rest(pool);
    }

    fn count(&self, each: &mut dyn FnMut(&'static str, u64)) {
        let counters = &self.shared.counters;
        each("xdp_superframes_received", counters.rx_cut);
        each("xdp_superframes_sent", counters.tx_superframes);
        each("xdp_superframe_segments", counters.tx_joined);
        each("xdp_superframes_refused", counters.superframes_refused);
        each("xdp_frames_dropped", counters.tx_dropped);
    }

    fn census(&self, each: &mut dyn FnMut(&'static str, u64)) {
        let census = self.frames();
        each("nobody's", census.depot.into());
        each("with stacks", census.stacks.into());
        each("to receive into", census.receiving.into());
        each("to be sent", census.sending.into());
    }

    fn wait_fds(&self) -> &[RawFd] {
        &self.fds
    }

    fn rx_pending(&self) -> bool {
        let waits = |tap: &Tap| tap.is_pending();
        self.tap.as_ref().is_some_and(waits) || self.queues.iter().any(|q| q.socket.rings.rx.has_entries())
    }
}
