//! The book of frames: who has which.

use std::ops::Range;

use crate::arena::Arena;
use crate::pkt::{FrameIndex, Pkt, TxChecksum, TxPkt};

/// Bytes kept free in front of the payload of a frame that is to be sent: link, network and transport
/// headers at their longest (14 + 4 + 60 + 60), a driver's transmit metadata, and room to align.
pub const HEADROOM: usize = 192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// On the free list.
    Free,
    /// Not here: in a NIC's fill ring to receive into, in a depot that several pools share, in another pool.
    Nic,
    /// A `Pkt` exists.
    Owned,
    /// A `Pkt` exists, and a NIC is sending the bytes.
    Lent,
    /// A NIC is sending the bytes; nobody wants the frame afterwards.
    Given,
}

/// How many frames are in which hands. The sum is the arena's size, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// On the free list.
    pub free: u32,
    /// Not here: in fill rings, in a depot, in other pools.
    pub nic: u32,
    /// Held by the stack, not being sent.
    pub owned: u32,
    /// Held by the stack and being sent.
    pub lent: u32,
    /// Being sent, to be freed on return.
    pub given: u32,
}

/// All frames of an arena and what has become of each.
#[derive(Debug)]
pub struct Pool {
    arena: Arena,
    free: Vec<FrameIndex>,
    state: Box<[State]>,
    depot: usize,
}

impl Pool {
    /// A pool over a fresh arena: every frame is free.
    pub fn new(arena: Arena) -> Self {
        let frames = arena.frames();
        Self {
            free: (0..frames).rev().collect(),
            state: vec![State::Free; frames as usize].into(),
            depot: 0,
            arena,
        }
    }

    /// The arena, for registration with a driver.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Frames in the pool.
    pub fn frames(&self) -> u32 {
        self.arena.frames()
    }

    /// Bytes in a frame.
    pub fn frame_size(&self) -> usize {
        self.arena.frame_size() as usize
    }

    /// The longest payload that [`Pool::alloc`]'s window can grow to, in bytes.
    pub fn payload_capacity(&self) -> usize {
        self.frame_size() - HEADROOM
    }

    /// Frames that can be had: those on the free list and those that a depot would give.
    #[inline]
    pub fn available(&self) -> usize {
        self.free.len() + self.depot
    }

    /// Frames on the free list.
    #[inline]
    pub fn in_stock(&self) -> usize {
        self.free.len()
    }

    /// Says how many frames a depot would give that this pool shares with others. Whoever does takes them from
    /// there in time, with [`Pool::unfilled`].
    #[inline]
    pub fn set_depot(&mut self, frames: usize) {
        self.depot = frames;
    }

    /// Who has how many frames. Looks at every frame: for reports and tests.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for state in &self.state {
            *match state {
                State::Free => &mut census.free,
                State::Nic => &mut census.nic,
                State::Owned => &mut census.owned,
                State::Lent => &mut census.lent,
                State::Given => &mut census.given,
            } += 1;
        }
        census
    }

    /// A free frame with an empty window after [`HEADROOM`] bytes. `None` when there is none.
    #[inline]
    pub fn alloc(&mut self) -> Option<Pkt> {
        let frame = self.free.pop()?;
        self.turn(frame, State::Free, State::Owned);
        Some(Pkt::new(frame, HEADROOM as u16, 0))
    }

    /// Takes a packet back. While its bytes are lent, the frame is freed when the NIC returns it.
    #[inline]
    pub fn free(&mut self, pkt: Pkt) {
        let frame = pkt.into_frame();
        let state = &mut self.state[frame as usize];
        if *state == State::Owned {
            *state = State::Free;
            self.free.push(frame);
        } else {
            self.turn(frame, State::Lent, State::Given);
        }
    }

    /// The bytes of a packet's window.
    #[inline]
    pub fn bytes(&self, pkt: &Pkt) -> &[u8] {
        self.arena.bytes(pkt.frame, pkt.offset, pkt.len)
    }

    /// Asks the processor to fetch the first bytes of a packet's window: they will be read soon.
    #[inline]
    pub fn prefetch(&self, pkt: &Pkt) {
        self.arena.prefetch(pkt.frame, pkt.offset);
    }

    /// The same of a frame that is elsewhere and may be about to come. Nothing, when there is no such frame.
    #[inline]
    pub fn expect(&self, frame: FrameIndex, offset: usize) {
        if frame < self.frames() && offset < self.frame_size() {
            self.arena.prefetch(frame, offset as u16);
        }
    }

    /// The bytes of a packet's window, for writing. `None` while they are lent.
    #[inline]
    pub fn bytes_mut(&mut self, pkt: &mut Pkt) -> Option<&mut [u8]> {
        (!self.is_lent(pkt)).then(|| self.arena.bytes_mut(pkt.frame, pkt.offset, pkt.len))
    }

    /// Whether a NIC is sending the packet's bytes just now.
    #[inline]
    pub fn is_lent(&self, pkt: &Pkt) -> bool {
        self.state[pkt.frame as usize] == State::Lent
    }

    /// Room behind the window, in bytes.
    pub fn tailroom(&self, pkt: &Pkt) -> usize {
        self.frame_size() - pkt.offset() - pkt.len()
    }

    /// Grows the window by up to `want` bytes at its end and lets `write` fill them; `write` says how many it
    /// filled, and only those join the window. `None` while the bytes are lent.
    #[inline]
    pub fn append_with<E>(
        &mut self,
        pkt: &mut Pkt,
        want: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Option<Result<usize, E>> {
        if self.is_lent(pkt) {
            return None;
        }
        let room = self.tailroom(pkt).min(want);
        let space = self.arena.bytes_mut(pkt.frame, pkt.offset + pkt.len, room as u16);
        Some(write(space).map(|n| {
            let n = n.min(room);
            pkt.len += n as u16;
            n
        }))
    }

    /// Copies bytes `range` of `from`'s window to byte `at` of `to`'s, which grows to hold them: what it grows
    /// over in front of them is whatever the frame held before. False, and nothing is done, when the frame has no
    /// room, `to` is lent, or `from` has no such bytes.
    #[inline]
    pub fn copy(&mut self, from: &Pkt, range: Range<usize>, to: &mut Pkt, at: usize) -> bool {
        let end = at.saturating_add(range.len());
        let roomy = end <= to.len() + self.tailroom(to);
        if !roomy || range.start > range.end || range.end > from.len() || self.is_lent(to) {
            return false;
        }
        let (source, target) = (from.offset + range.start as u16, to.offset + at as u16);
        self.arena.copy((from.frame, source), (to.frame, target), range.len() as u16);
        to.len = to.len.max(end as u16);
        true
    }

    /// The `n` bytes in front of the window, for headers; the window stays as it is. `None` while the bytes
    /// are lent or the headroom is shorter than `n`.
    #[inline]
    pub fn headroom_mut(&mut self, pkt: &mut Pkt, n: usize) -> Option<&mut [u8]> {
        if self.is_lent(pkt) || pkt.offset() < n {
            return None;
        }
        Some(self.arena.bytes_mut(pkt.frame, pkt.offset - n as u16, n as u16))
    }

    /// The window and the `n` bytes in front of it, in one piece, for headers and a sum over all; the window stays as it
    /// is. `None` as of [`Pool::headroom_mut`].
    #[inline]
    pub fn whole_mut(&mut self, pkt: &mut Pkt, n: usize) -> Option<&mut [u8]> {
        if self.is_lent(pkt) || pkt.offset() < n {
            return None;
        }
        Some(self.arena.bytes_mut(pkt.frame, pkt.offset - n as u16, pkt.len + n as u16))
    }

    /// Lends the window and the `header` bytes in front of it. The owner keeps the packet and may free it,
    /// but cannot write it until [`Pool::returned`]. `None` while it is lent already.
    #[inline]
    pub fn lend(&mut self, pkt: &Pkt, header: usize, checksum: TxChecksum) -> Option<TxPkt> {
        if self.is_lent(pkt) || pkt.offset() < header {
            return None;
        }
        self.turn(pkt.frame, State::Owned, State::Lent);
        Some(TxPkt::new(pkt.frame, pkt.offset - header as u16, pkt.len + header as u16, checksum))
    }

    /// Gives the packet away to be sent once, with the `header` bytes in front of its window.
    ///
    /// # Panics
    /// When the packet is lent or has less headroom than `header`.
    #[inline]
    pub fn give(&mut self, pkt: Pkt, header: usize, checksum: TxChecksum) -> TxPkt {
        assert!(pkt.offset() >= header, "a header of {header} bytes in a headroom of {}", pkt.offset);
        let (offset, len) = (pkt.offset - header as u16, pkt.len + header as u16);
        let frame = pkt.into_frame();
        self.turn(frame, State::Owned, State::Given);
        TxPkt::new(frame, offset, len, checksum)
    }

    /// The bytes that are on loan, for drivers that must copy them and for captures.
    #[inline]
    pub fn lent_bytes(&self, tx: &TxPkt) -> &[u8] {
        self.arena.bytes(tx.frame, tx.offset, tx.len)
    }

    /// The `n` bytes in front of a lent frame, for a driver's transmit metadata (never on the wire).
    /// `None` when there are fewer than `n`.
    #[inline]
    pub fn tx_metadata_mut(&mut self, tx: &mut TxPkt, n: usize) -> Option<&mut [u8]> {
        (tx.offset() >= n).then(|| self.arena.bytes_mut(tx.frame, tx.offset - n as u16, n as u16))
    }

    /// Makes a lent frame `n` bytes longer at its front, for a tag in its link header: all of its bytes, the new ones
    /// first. `None` when there are fewer than `n` in front of it.
    pub fn widen(&mut self, tx: &mut TxPkt, n: usize) -> Option<&mut [u8]> {
        if tx.offset() < n {
            return None;
        }
        (tx.offset, tx.len) = (tx.offset - n as u16, tx.len + n as u16);
        if let TxChecksum::Partial { start, .. } = &mut tx.checksum {
            *start += n as u16;
        }
        Some(self.arena.bytes_mut(tx.frame, tx.offset, tx.len))
    }

    /// A NIC has sent frame `frame`: the loan is over.
    ///
    /// # Panics
    /// When the frame was not lent: the driver returned it twice.
    #[inline]
    pub fn returned(&mut self, frame: FrameIndex) {
        match self.state[frame as usize] {
            State::Lent => self.turn(frame, State::Lent, State::Owned),
            _ => {
                self.turn(frame, State::Given, State::Free);
                self.free.push(frame);
            }
        }
    }

    /// Ends a loan that was never handed to a NIC.
    #[inline]
    pub fn take_back(&mut self, tx: TxPkt) {
        self.returned(tx.into_frame());
    }

    /// What a NIC would bring to its receiver, when that is us: the packet in a frame of its own, headers and all.
    /// The loan is over. A frame that nobody wants back goes on as it is, of one that is kept this is a copy.
    ///
    /// # Errors
    /// The loan, when there is no free frame for the copy.
    #[inline]
    pub fn loop_back(&mut self, tx: TxPkt) -> Result<Pkt, TxPkt> {
        let (offset, len) = (tx.offset, tx.len);
        if self.state[tx.frame as usize] == State::Given {
            let frame = tx.into_frame();
            self.turn(frame, State::Given, State::Owned);
            return Ok(Pkt::new(frame, offset, len));
        }
        let Some(frame) = self.free.pop() else { return Err(tx) };
        self.turn(frame, State::Free, State::Owned);
        self.arena.copy((tx.frame, offset), (frame, offset), len);
        self.take_back(tx);
        Ok(Pkt::new(frame, offset, len))
    }

    /// The packet's frame goes to another pool over the same arena, which takes it with [`Pool::from_nic`].
    ///
    /// # Panics
    /// When the packet is lent.
    #[inline]
    pub fn depart(&mut self, pkt: Pkt) -> FrameIndex {
        let frame = pkt.into_frame();
        self.turn(frame, State::Owned, State::Nic);
        frame
    }

    /// A free frame for a NIC's fill ring or a depot. `None` when there is none.
    #[inline]
    pub fn to_nic(&mut self) -> Option<FrameIndex> {
        let frame = self.free.pop()?;
        self.turn(frame, State::Free, State::Nic);
        Some(frame)
    }

    /// Whether a NIC, a depot or another pool over the same arena has frame `frame`. Of one that is not in the arena: no.
    #[inline]
    pub fn is_away(&self, frame: FrameIndex) -> bool {
        self.state.get(frame as usize) == Some(&State::Nic)
    }

    /// A NIC filled `len` bytes of frame `frame` from byte `offset` on.
    ///
    /// # Panics
    /// When the NIC did not have the frame, or the bytes lie outside it.
    #[inline]
    pub fn from_nic(&mut self, frame: FrameIndex, offset: usize, len: usize) -> Pkt {
        assert!(offset + len <= self.frame_size(), "a NIC claims bytes {offset}+{len} of a frame");
        self.turn(frame, State::Nic, State::Owned);
        // Another processor or a device wrote it: by the time the burst is complete, its headers are near.
        self.arena.prefetch(frame, offset as u16);
        Pkt::new(frame, offset as u16, len as u16)
    }

    /// A NIC gave frame `frame` back unfilled, or a depot gave it.
    pub fn unfilled(&mut self, frame: FrameIndex) {
        self.turn(frame, State::Nic, State::Free);
        self.free.push(frame);
    }

    #[inline]
    fn turn(&mut self, frame: FrameIndex, from: State, to: State) {
        let state = &mut self.state[frame as usize];
        assert!(*state == from, "frame {frame} is {state:?}, not {from:?}, and cannot become {to:?}");
        *state = to;
    }
}
