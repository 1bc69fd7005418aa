//! The memory between a stack and somebody who captures: a memfd that the stack's process makes, sealed so that nobody
//! can shorten it, with a page of words and a ring of bytes. The stack writes records and says how far; the reader says how
//! far it has read. The stack trusts nothing of what the reader can write: at worst the reader reads nonsense.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

/// Bytes in the ring: a power of two. A reader may be away for a tenth of a second where three gigabits a second pass.
pub(super) const BYTES: u64 = 32 << 20;
/// Bytes in front of it.
const WORDS: usize = 4096;
/// "RINGCAPT" as bytes in memory; changes with the meaning of any word or record.
const MAGIC: u64 = u64::from_ne_bytes(*b"RINGCAP1");

/// Interfaces that are counted apart.
pub(super) const INTERFACES: usize = 16;

/// Places of words. Those that different processes write are on lines of their own.
const MAGIC_AT: usize = 0;
const HEAD: usize = 8;
const TAIL: usize = 16;
const COUNTS: usize = 24;

/// What is counted for each interface.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counter {
    /// Frames that passed.
    Seen,
    /// Those that the filter wanted.
    Wanted,
    /// Those of them for which there was no room.
    Lost,
}

/// As many as there are.
const COUNTERS: usize = Counter::Lost as usize + 1;

/// The seals that a ring has.
fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// The memory, mapped.
#[derive(Debug)]
struct Memory {
    map: MmapRaw,
}

impl Memory {
    fn map(file: &File) -> io::Result<Self> {
        let map = MmapOptions::new().len(WORDS + BYTES as usize).populate().map_raw(file)?;
        // A child has a ring of its own, if any.
        map.advise(Advice::DontFork)?;
        Ok(Self { map })
    }

    fn word(&self, n: usize) -> &AtomicU64 {
        let at = n * size_of::<u64>();
        assert!(at + size_of::<u64>() <= WORDS);
        // SAFETY: `at` lies inside the mapping, which is longer than `WORDS`.
        let place = unsafe { self.map.as_mut_ptr().add(at) };
        // SAFETY: the mapping is page-aligned and `at` a multiple of eight, so the place is aligned; it lives as long as
        // `self`, and both processes touch it with atomic operations only.
        unsafe { AtomicU64::from_ptr(place.cast()) }
    }

    fn counter(&self, interface: usize, counter: Counter) -> &AtomicU64 {
        self.word(COUNTS + interface * COUNTERS + counter as usize)
    }

    /// The pieces that `len` bytes at `at` of the ring are in: where, and how many.
    fn pieces(at: u64, len: usize) -> [(usize, usize); 2] {
        assert!(len as u64 <= BYTES);
        let at = (at % BYTES) as usize;
        let first = len.min(BYTES as usize - at);
        [(WORDS + at, first), (WORDS, len - first)]
    }

    fn write(&self, at: u64, mut bytes: &[u8]) {
        for (place, len) in Self::pieces(at, bytes.len()) {
            let (now, rest) = bytes.split_at(len);
            // SAFETY: `pieces` stays within `WORDS + BYTES`, the length of the mapping.
            let to = unsafe { self.map.as_mut_ptr().add(place) };
            // SAFETY: `now` is ours and `to` in the mapping, so they do not overlap, and both are `len` long. A reader
            // that keeps to the rules does not read there until it is told.
            unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), to, len) };
            bytes = rest;
        }
    }

    fn read(&self, at: u64, mut into: &mut [u8]) {
        for (place, len) in Self::pieces(at, into.len()) {
            let (now, rest) = into.split_at_mut(len);
            // SAFETY: `pieces` stays within `WORDS + BYTES`, the length of the mapping.
            let from = unsafe { self.map.as_ptr().add(place) };
            // SAFETY: `from` is in the mapping and `now` is ours, so they do not overlap, and both are `len` long. What a
            // writer that breaks the rules does meanwhile is seen in bytes, which may have any value.
            unsafe { std::ptr::copy_nonoverlapping(from, now.as_mut_ptr(), len) };
            into = rest;
        }
    }
}

/// The stack's end.
#[derive(Debug)]
pub(super) struct Writer {
    memory: Memory,
    /// Up to here is written.
    head: u64,
    /// Up to here the reader has read, as far as we know.
    tail: u64,
    /// What was counted: in the ring the reader can write whatever it likes.
    counts: [[u64; COUNTERS]; INTERFACES],
}

impl Writer {
    /// A new ring, and the descriptor by which the reader comes to it. All its memory is there when this returns.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let fd =
            rustix::fs::memfd_create("ringroad-capture", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, WORDS as u64 + BYTES)?;
        rustix::fs::fcntl_add_seals(&fd, seals())?;
        let file = File::from(fd);
        let memory = Memory::map(&file)?;
        memory.word(MAGIC_AT).store(MAGIC, Ordering::Release);
        Ok((Self { memory, head: 0, tail: 0, counts: [[0; COUNTERS]; INTERFACES] }, file.into()))
    }

    /// Room for `len` bytes, which the reader does not see yet. `None` when it is slow.
    #[inline]
    pub(super) fn reserve(&mut self, len: usize) -> Option<u64> {
        let head = self.head + len as u64;
        if head - self.tail > BYTES {
            let tail = self.memory.word(TAIL).load(Ordering::Acquire);
            // What it says it has read it cannot have, or it goes back: then nothing changes.
            if (self.tail..=self.head).contains(&tail) {
                self.tail = tail;
            }
            if head - self.tail > BYTES {
                return None;
            }
        }
        Some(std::mem::replace(&mut self.head, head))
    }

    /// Writes into what was reserved.
    #[inline]
    pub(super) fn write(&self, at: u64, bytes: &[u8]) {
        self.memory.write(at, bytes);
    }

    /// Shows the reader all that was reserved.
    #[inline]
    pub(super) fn publish(&self) {
        self.memory.word(HEAD).store(self.head, Ordering::Release);
    }

    /// Counts a frame. Interfaces for which there are no counters are counted with the last.
    #[inline]
    pub(super) fn count(&mut self, interface: usize, counter: Counter) {
        let interface = interface.min(INTERFACES - 1);
        let count = &mut self.counts[interface][counter as usize];
        *count = count.saturating_add(1);
        self.memory.counter(interface, counter).store(*count, Ordering::Relaxed);
    }
}

/// The other end.
#[derive(Debug)]
pub(super) struct Reader {
    memory: Memory,
    tail: u64,
}

impl Reader {
    /// Maps what a stack handed over.
    ///
    /// # Errors
    /// When it is no ring, or could be shortened under our hands.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let file = File::from(fd);
        if !rustix::fs::fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            return Err(invalid("the capture's memory is not sealed"));
        }
        if file.metadata()?.len() != WORDS as u64 + BYTES {
            return Err(invalid("the capture's memory has another size"));
        }
        let memory = Memory::map(&file)?;
        if memory.word(MAGIC_AT).load(Ordering::Acquire) != MAGIC {
            return Err(invalid("the capture's memory was made by another version of ringroad"));
        }
        Ok(Self { memory, tail: 0 })
    }

    /// Up to where there is something to read.
    pub(super) fn head(&self) -> u64 {
        self.memory.word(HEAD).load(Ordering::Acquire)
    }

    /// Copies the next bytes out, `None` when there are not so many up to `head`.
    pub(super) fn peek(&self, head: u64, skip: usize, into: &mut [u8]) -> Option<()> {
        let there = head.checked_sub(self.tail).filter(|there| *there <= BYTES)?;
        (skip as u64 + into.len() as u64 <= there).then(|| self.memory.read(self.tail + skip as u64, into))
    }

    /// They are read: their room may be used again.
    pub(super) fn advance(&mut self, len: usize) {
        self.tail += len as u64;
        self.memory.word(TAIL).store(self.tail, Ordering::Release);
    }

    /// What was counted of an interface: nothing where it is counted with another.
    pub(super) fn counted(&self, interface: usize, counter: Counter) -> u64 {
        if interface >= INTERFACES {
            return 0;
        }
        self.memory.counter(interface, counter).load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Writer, Reader) {
        let (writer, fd) = Writer::new().unwrap();
        (writer, Reader::new(fd).unwrap())
    }

    #[test]
    fn what_is_published_is_read_around_the_end_and_room_comes_back() {
        let (mut writer, mut reader) = pair();
        let chunk: Vec<u8> = (0..10_000_000u32).map(|n| (n % 251) as u8).collect();
        for round in 0..7u8 {
            let at = writer.reserve(chunk.len()).unwrap();
            writer.write(at, &chunk);
            writer.write(at, &[round]);
            let before = reader.head();
            writer.publish();
            let head = reader.head();
            assert_eq!(head - before, chunk.len() as u64);
            let mut got = vec![0; chunk.len()];
            reader.peek(head, 0, &mut got).unwrap();
            assert_eq!((got[0], &got[1..]), (round, &chunk[1..]));
            assert!(reader.peek(head, 1, &mut got).is_none());
            reader.advance(chunk.len());
        }
        writer.count(3, Counter::Lost);
        assert_eq!((reader.counted(3, Counter::Lost), reader.counted(3, Counter::Seen)), (1, 0));
    }

    #[test]
    fn a_reader_that_is_slow_or_lies_costs_only_room() {
        let (mut writer, mut reader) = pair();
        let half = (BYTES / 2) as usize;
        assert_eq!(
            (writer.reserve(half), writer.reserve(half), writer.reserve(8)),
            (Some(0), Some(BYTES / 2), None)
        );
        for lie in [BYTES + 1, u64::MAX] {
            reader.memory.word(TAIL).store(lie, Ordering::Release);
            assert_eq!(writer.reserve(8), None);
        }
        reader.advance(16);
        assert_eq!(writer.reserve(16), Some(BYTES));
        // It takes back what it said.
        reader.memory.word(TAIL).store(0, Ordering::Release);
        assert_eq!(writer.reserve(8), None);
    }

    #[test]
    fn counts_are_the_writers_whatever_the_reader_writes_and_each_is_told_once() {
        let (mut writer, reader) = pair();
        writer.count(2, Counter::Seen);
        reader.memory.counter(2, Counter::Seen).store(u64::MAX, Ordering::Relaxed);
        writer.count(2, Counter::Seen);
        assert_eq!(reader.counted(2, Counter::Seen), 2);
        (INTERFACES - 1..INTERFACES + 5).for_each(|interface| writer.count(interface, Counter::Lost));
        let all = (0..2 * INTERFACES).map(|interface| reader.counted(interface, Counter::Lost));
        assert_eq!(all.sum::<u64>(), 6);
        writer.counts[0][Counter::Wanted as usize] = u64::MAX;
        writer.count(0, Counter::Wanted);
        assert_eq!(reader.counted(0, Counter::Wanted), u64::MAX);
    }

    #[test]
    fn memory_that_can_be_shortened_is_refused() {
        let fd = rustix::fs::memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(Reader::new(fd.try_clone().unwrap()).unwrap_err().to_string().contains("not sealed"));
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK).unwrap();
        assert!(Reader::new(fd).unwrap_err().to_string().contains("another size"));
        let (_, fd) = Writer::new().unwrap();
        assert!(rustix::fs::ftruncate(&fd, 0).is_err());
    }
}
