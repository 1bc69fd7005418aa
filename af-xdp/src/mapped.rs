//! Memory shared with the kernel and with other processes: the four rings, and words for the ledger.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use nic::Own;

use crate::ring::RingMemory;

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

/// Words that several processes, and perhaps the kernel, map: every access to them is atomic.
#[derive(Debug)]
pub(crate) struct Words {
    map: MmapRaw,
    fd: Own,
}

impl Words {
    /// Maps the first `bytes` bytes of a memfd, a multiple of eight.
    pub(crate) fn map(fd: OwnedFd, bytes: usize) -> io::Result<Self> {
        let file = File::from(fd);
        if file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file is too short"));
        }
        Self::of_map(file.into(), bytes)
    }

    /// Maps the values of a bpf map that allows it: `bytes` bytes, which the kernel finds to be there or refuses.
    pub(crate) fn of_map(fd: OwnedFd, bytes: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(bytes).map_raw(&fd)?;
        Ok(Self { map, fd: Own::new(fd) })
    }

    /// What is mapped.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Word `at` of 64 bits.
    ///
    /// # Panics
    /// When it lies outside.
    #[inline]
    pub(crate) fn long(&self, at: usize) -> &AtomicU64 {
        let offset = at * size_of::<u64>();
        assert!(offset + size_of::<u64>() <= self.map.len(), "word {at} is outside");
        // SAFETY: the place was just found to lie inside the mapping.
        let place = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: a mapping is page-aligned and the offset a multiple of eight; it lives as long as `self`, and
        // every process touches it with atomic operations only.
        unsafe { AtomicU64::from_ptr(place.cast()) }
    }

    /// So many words of 64 bits, from `at` on.
    ///
    /// # Panics
    /// When one lies outside.
    #[inline]
    pub(crate) fn longs<const N: usize>(&self, at: usize) -> [&AtomicU64; N] {
        std::array::from_fn(|n| self.long(at + n))
    }

    /// Word `at` of 32 bits.
    ///
    /// # Panics
    /// When it lies outside.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> &AtomicU32 {
        let offset = at * size_of::<u32>();
        assert!(offset + size_of::<u32>() <= self.map.len(), "word {at} is outside");
        // SAFETY: the place was just found to lie inside the mapping.
        let place = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: as in `long`, with an offset that is a multiple of four.
        unsafe { AtomicU32::from_ptr(place.cast()) }
    }
}
