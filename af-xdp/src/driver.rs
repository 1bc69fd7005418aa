//! The queues of one interface, seen as one NIC.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use nic::{Burst, Caps, Doorbell, Nic, Pkt, Pool, RxChecksum, RxFrame, RxMeta, TxChecksum, TxPkt};

use crate::cut::Cut;
use crate::interface::Interface;
use crate::ledger::{BATCH, FrameCensus, Holder, Ledger, Slot};
use crate::mapped::Descriptor;
use crate::socket::{BindMode, TX_METADATA, UmemMode, XskSocket, XskStatistics};
use crate::steer::XdpMode;
use crate::sys;

const ETH_HEADER: u32 = 14;

/// Kicks in a row; in copy mode each moves 32 frames or, since Linux 6.17, a whole ring.
const KICKS_MAX: u32 = 16;

/// Frames in a row that the kernel is not seen to have sent before the rest is left for later.
const LATE: usize = 4;

/// What a NIC counts; the kernel's own counters are in [`XskNic::statistics`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XskCounters {
    /// Frames received, superframes counted by their segments.
    pub rx_frames: u64,
    /// Superframes cut into segments.
    pub rx_cut: u64,
    /// Descriptors of frames in several parts that could not be cut, dropped.
    pub rx_uncut: u64,
    /// Entries of the rx or completion ring that name a frame the kernel did not have.
    pub bad_entries: u64,
    /// Times that the pool had no frame for the fill ring.
    pub fill_starved: u64,
    /// Frames handed to the kernel.
    pub tx_frames: u64,
    /// Frames that can never be sent (too long, too short, no room for metadata), dropped.
    pub tx_rejected: u64,
    /// System calls made to have frames sent.
    pub kicks: u64,
    /// Kicks that the kernel could not serve at once (`EAGAIN`, `EBUSY`, `ENOBUFS`).
    pub kicks_refused: u64,
    /// Kicks while the interface was down.
    pub kicks_down: u64,
}

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
    shared: Shared,
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

/// One queue: this stack's socket there, and the superframe that it is in the middle of.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) socket: XskSocket,
    /// Its number in the ledger, which counts the queues of all interfaces.
    pub(crate) number: usize,
    chain: Chain,
}

#[derive(Debug)]
enum Chain {
    /// The next descriptor begins a frame.
    Between,
    /// It continues a superframe.
    Cutting(Cut),
    /// It continues a frame that is being dropped.
    Dropping,
}

/// What all queues of a NIC need.
#[derive(Debug)]
struct Shared {
    ledger: Arc<Ledger>,
    /// The stack's number.
    slot: Slot,
    /// Frames in the tx ring or beyond, in the order in which they went.
    sending: VecDeque<u32>,
    /// Frames sent for stacks that are gone.
    orphans: Vec<u32>,
    counters: XskCounters,
    checksum: RxChecksum,
    frames: u32,
    frame_shift: u32,
    shares: Shares,
}

/// How many frames are kept where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Frames that each queue may hold to receive into, those that wait to be read included.
    pub(crate) fill: u32,
    /// Frames that stay out of the fill rings, for sending.
    pub(crate) reserve: usize,
    /// Free frames that the pool is kept at, between half and twice as many.
    pub(crate) stock: usize,
}

impl Shared {
    /// The frame and the offset in it of a UMEM address, if the kernel has that frame for `holder`.
    fn locate(&mut self, address: u64, holder: Holder) -> Option<(u32, usize)> {
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
    fn address(&self, frame: u32, offset: usize) -> u64 {
        (u64::from(frame) << self.frame_shift) + offset as u64
    }

    fn frame_size(&self) -> usize {
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

    /// Keeps the pool at its stock: from the depot when it runs low, to it when other stacks may need more.
    fn stock(&mut self, pool: &mut Pool) {
        let (here, stock) = (pool.in_stock(), self.shares.stock);
        if here < stock / 2 {
            self.draw(pool, stock - here);
        } else if here > stock * 2 {
            let mut surplus = here - stock;
            self.ledger.put(self.slot, || {
                surplus = surplus.checked_sub(1)?;
                pool.to_nic()
            });
        }
        pool.set_depot(self.ledger.depot());
    }

    /// Takes up to `want` frames from the depot.
    fn draw(&self, pool: &mut Pool, want: usize) {
        if self.ledger.depot() > 0 {
            self.ledger.draw(self.slot, want, |frame| pool.unfilled(frame));
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
        let caps = Caps {
            tx_checksum: mode.tx_metadata && mode.bind == BindMode::Copy,
            max_frame: (interface.mtu + ETH_HEADER).min(common.frame_size) as usize,
        };
        let numbers = first_queue..;
        let queue = |(socket, number)| Queue { socket, number, chain: Chain::Between };
        Self {
            fds: sockets.iter().map(|s| s.as_fd().as_raw_fd()).collect(),
            queues: sockets.into_iter().zip(numbers).map(queue).collect(),
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
            interface,
            xdp,
            mode,
            caps,
            turn: 0,
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
        for queue in &mut self.queues {
            self.shared.shares.fill = shares.fill.min(queue.socket.rings.fill.len());
            queue.refill(&mut self.shared, pool);
        }
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

    fn sendable(&self, frame: &TxPkt) -> bool {
        let room = !self.mode.tx_metadata || frame.offset() >= TX_METADATA;
        // The kernel never gets past an entry whose checksum lies outside its frame.
        let checksum = match frame.checksum {
            TxChecksum::Complete => true,
            TxChecksum::Partial { start, offset } => {
                self.caps.tx_checksum && usize::from(start) + usize::from(offset) + 2 <= frame.len()
            }
        };
        room && checksum && (ETH_HEADER as usize..=self.caps.max_frame).contains(&frame.len())
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
        let count = self.queues.len();
        for i in 0..count {
            let queue = &mut self.queues[(self.turn + i) % count];
            let left = max - (burst.len() - before);
            queue.receive(&mut self.shared, pool, burst, left);
        }
        self.turn = (self.turn + 1) % count;
        self.shared.stock(pool);
        let got = burst.len() - before;
        self.shared.counters.rx_frames += got as u64;
        got
    }

    fn tx(&mut self, pool: &mut Pool, mut frame: TxPkt) -> Result<(), TxPkt> {
        if !self.sendable(&frame) {
            self.shared.counters.tx_rejected += 1;
            pool.take_back(frame);
            return Ok(());
        }
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

    fn kick(&mut self, pool: &mut Pool) -> Doorbell {
        let copy = self.mode.bind == BindMode::Copy;
        let doorbell = self.queues[0].send(&mut self.shared, copy);
        self.reap(pool);
        doorbell
    }

    fn reap(&mut self, pool: &mut Pool) {
        self.book_completions();
        self.shared.collect(pool);
    }

    fn wait_fds(&self) -> &[RawFd] {
        &self.fds
    }

    fn rx_pending(&self) -> bool {
        self.queues.iter().any(|q| q.socket.rings.rx.has_entries())
    }
}

impl Queue {
    fn receive(&mut self, shared: &mut Shared, pool: &mut Pool, burst: &mut Burst, max: usize) {
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
            self.chain = if more { Chain::Dropping } else { Chain::Between };
            return None;
        }
        if !more && matches!(self.chain, Chain::Between) {
            return Some(pool.from_nic(frame, offset, len));
        }
        let part = self.part(shared, pool, (frame, offset, len), more);
        if part.is_none() {
            shared.counters.rx_uncut += 1;
        }
        if !more {
            self.chain = Chain::Between;
        }
        part
    }

    /// A descriptor of a frame that has several.
    fn part(
        &mut self,
        shared: &mut Shared,
        pool: &mut Pool,
        (frame, offset, len): (u32, usize, usize),
        more: bool,
    ) -> Option<Pkt> {
        match &mut self.chain {
            Chain::Between => {
                let mut pkt = pool.from_nic(frame, offset, len);
                let local = shared.checksum == RxChecksum::MayBeUnfinished;
                match pool.bytes_mut(&mut pkt).filter(|_| local).and_then(Cut::begin) {
                    Some(cut) => {
                        shared.counters.rx_cut += 1;
                        self.chain = Chain::Cutting(cut);
                        Some(pkt)
                    }
                    None => {
                        self.chain = Chain::Dropping;
                        pool.free(pkt);
                        None
                    }
                }
            }
            Chain::Cutting(cut) if cut.headers() <= offset => {
                let headers = cut.headers();
                let mut pkt = pool.from_nic(frame, offset - headers, len + headers);
                let payload = match pool.bytes_mut(&mut pkt) {
                    Some(bytes) => cut.next(len, !more, &mut bytes[..headers]),
                    None => 0,
                };
                pkt.truncate(headers + payload);
                Some(pkt)
            }
            Chain::Cutting(_) | Chain::Dropping => {
                pool.unfilled(frame);
                None
            }
        }
    }

    /// Tops the fill ring up, unless another stack is at it.
    fn refill(&mut self, shared: &mut Shared, pool: &mut Pool) {
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
    fn send(&mut self, shared: &mut Shared, copy: bool) -> Doorbell {
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
    fn complete(&mut self, shared: &mut Shared) {
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
