//! Memory shared with the kernel and with other processes: the four rings, and the ledger of frames.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use memmap2::{MmapOptions, MmapRaw};

use crate::ring::RingMemory;
use crate::sys;

/// What the slots of a ring hold. The kernel's layout.
///
/// # Safety
/// Any bytes must be a valid value.
pub(crate) unsafe trait Slot: Copy {}

// SAFETY: an integer.
unsafe impl Slot for u64 {}
// SAFETY: integers without padding.
unsafe impl Slot for Descriptor {}

/// `struct xdp_desc`: a frame's bytes in the UMEM, in the rx and tx rings. Fill and completion rings hold
/// the bare address.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// First byte, from the beginning of the UMEM.
    pub(crate) address: u64,
    /// Bytes.
    pub(crate) len: u32,
    /// `XDP_PKT_CONTD`, `XDP_TX_METADATA`.
    pub(crate) options: u32,
}

/// A ring in memory that the kernel shares with us.
#[derive(Debug)]
pub(crate) struct Mapped<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    mask: u32,
    /// Keeps the memory mapped.
    _map: MmapRaw,
}

// SAFETY: the pointers lead into the mapping, which moves along and stays where it is.
unsafe impl<T: Send> Send for Mapped<T> {}

impl<T: Slot> Mapped<T> {
    /// Maps the ring at page offset `page` of an xsk, laid out as `offsets` says, with `len` slots.
    pub(crate) fn new(
        fd: BorrowedFd<'_>,
        page: u64,
        offsets: &libc::xdp_ring_offset,
        len: u32,
    ) -> io::Result<Self> {
        if !len.is_power_of_two() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a ring's length is a power of two"));
        }
        let bytes = offsets.desc as usize + len as usize * size_of::<T>();
        let map = MmapOptions::new().offset(page).len(bytes).populate().map_raw(&fd)?;
        let word = |at: u64| Self::place::<AtomicU32>(&map, at, 1);
        Ok(Self {
            producer: word(offsets.producer)?,
            consumer: word(offsets.consumer)?,
            flags: word(offsets.flags)?,
            slots: Self::place(&map, offsets.desc, len as usize)?,
            mask: len - 1,
            _map: map,
        })
    }

    /// Where `count` objects at byte `at` of the mapping are, if they lie inside it.
    fn place<U>(map: &MmapRaw, at: u64, count: usize) -> io::Result<NonNull<U>> {
        let at = at as usize;
        if at + count * size_of::<U>() > map.len() || !at.is_multiple_of(align_of::<U>()) {
            return Err(io::Error::other("the kernel describes a ring that does not fit its mapping"));
        }
        // SAFETY: the range was just found to lie inside the mapping.
        let pointer = unsafe { map.as_mut_ptr().add(at) };
        NonNull::new(pointer.cast()).ok_or_else(|| io::Error::other("a ring at address zero"))
    }

    fn slot(&self, index: u32) -> NonNull<T> {
        // SAFETY: the masked index is below the number of slots, which `new` found to lie in the mapping.
        unsafe { self.slots.add((index & self.mask) as usize) }
    }
}

impl<T: Slot> RingMemory for Mapped<T> {
    type Entry = T;

    #[inline]
    fn len(&self) -> u32 {
        self.mask + 1
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: the word lies in the mapping, aligned, for as long as `self`; all access to it is atomic.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    #[inline]
    fn needs_wakeup(&self) -> bool {
        // SAFETY: as in `producer`.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    #[inline]
    fn read(&self, index: u32) -> T {
        // SAFETY: `slot` is inside the mapping and any bytes are a value. Volatile: a process that breaks the
        // ring's rules may write meanwhile, which must stay a wrong number and nothing worse.
        unsafe { self.slot(index).read_volatile() }
    }

    #[inline]
    fn write(&self, index: u32, entry: T) {
        // SAFETY: `slot` is inside the mapping, aligned as the kernel lays rings out.
        unsafe { self.slot(index).write_volatile(entry) };
    }
}

/// Who holds a frame, as the successor of a dead process needs to know it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The process (free, owned, whatever its pool says).
    Process = 0,
    /// The kernel, to receive into.
    Receiving = 1,
    /// The kernel, to send.
    Sending = 2,
}

/// One byte a frame in a memfd that outlives the process: which frames the kernel holds.
///
/// A frame's byte is written before the ring index that hands the frame over is published, and after an
/// entry was read, before its slot is released. So it may say "kernel" of a frame that never reached the
/// kernel, never the reverse.
#[derive(Debug)]
pub(crate) struct Ledger {
    map: MmapRaw,
    file: File,
}

impl Ledger {
    /// A ledger for `frames` frames, all with the process.
    pub(crate) fn new(frames: u32) -> io::Result<Self> {
        Self::from_fd(sys::memfd(c"ringroad-ledger", u64::from(frames))?, frames)
    }

    /// Maps a ledger that exists.
    pub(crate) fn from_fd(fd: OwnedFd, frames: u32) -> io::Result<Self> {
        let file = File::from(fd);
        if file.metadata()?.len() < u64::from(frames) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the ledger is shorter than the arena"));
        }
        let map = MmapOptions::new().len(frames as usize).map_raw(&file)?;
        Ok(Self { map, file })
    }

    /// The memfd.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn bytes(&self) -> &[AtomicU8] {
        // SAFETY: the mapping is `len` bytes long and lives as long as `self`; all access is atomic.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast(), self.map.len()) }
    }

    /// Books frame `frame`; a frame that is not in the arena is nobody's.
    #[inline]
    pub(crate) fn set(&self, frame: u32, holder: Holder) {
        if let Some(byte) = self.bytes().get(frame as usize) {
            byte.store(holder as u8, Ordering::Relaxed);
        }
    }

    /// Who holds frame `frame`.
    #[inline]
    pub(crate) fn get(&self, frame: u32) -> Holder {
        match self.bytes().get(frame as usize).map(|b| b.load(Ordering::Relaxed)) {
            Some(1) => Holder::Receiving,
            Some(2) => Holder::Sending,
            _ => Holder::Process,
        }
    }

    /// Frames that `holder` has.
    pub(crate) fn count(&self, holder: Holder) -> u32 {
        self.bytes().iter().filter(|b| b.load(Ordering::Relaxed) == holder as u8).count() as u32
    }
}
