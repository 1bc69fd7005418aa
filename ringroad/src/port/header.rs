//! The first pages of a port's file: what it is, and which processes drive it.

use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use af_xdp::{SLOTS, Slot};

use super::boxes::Secret;
use super::secret::Key;
use super::words::Words;

/// "RINGROAD" as bytes in memory.
const MAGIC: u64 = u64::from_ne_bytes(*b"RINGROAD");
/// Changes with the meaning of any word, and of what the steering program's maps hold.
const VERSION: u64 = 14;

/// Bytes in front of the texts.
pub(super) const HEADER: usize = 2 * 4096;

/// The words of the header, by place.
#[derive(Clone, Copy)]
enum Word {
    Magic,
    Version,
    PartsLen,
    Policy,
    ArenaBase,
    Frames,
    FrameSize,
    KeyLow,
    KeyHigh,
    Roster,
    Line,
    Adapters,
    Home,
    ShelfInside,
    ShelfDoor,
    DeskInbox,
    Desk,
    KeepersInbox,
    KeepersBox,
    SecretLow,
    SecretHigh,
}

/// The word of the first slot's process; those of the others follow.
const OWNERS: usize = 64;
/// The name of the first slot's box and bell; those of the others follow.
const NAMES: usize = OWNERS + SLOTS as usize;
const _: () = assert!((NAMES + SLOTS as usize) * size_of::<u64>() <= HEADER);

/// How the file is laid out: header, description of the descriptors, arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) parts_len: u64,
    /// Where the arena begins; a multiple of the page size.
    pub(super) arena_base: u64,
    pub(super) frames: u32,
    pub(super) frame_size: u32,
    /// The key of initial sequence numbers.
    pub(super) key: Key,
    /// Its interfaces are those of adapters that ef_vi drives.
    pub(super) adapters: bool,
}

/// The header, mapped.
#[derive(Debug)]
pub(super) struct Header {
    words: Words,
}

impl Header {
    /// Maps the header of a file that is long enough for it.
    pub(super) fn map(file: &File) -> io::Result<Self> {
        Ok(Self { words: Words::map(file, 0, HEADER / size_of::<u64>())? })
    }

    /// Makes the header that of a port.
    pub(super) fn write(&self, layout: &Layout) {
        let set = |word, value| self.word(word).store(value, Ordering::Relaxed);
        set(Word::Version, VERSION);
        set(Word::PartsLen, layout.parts_len);
        set(Word::ArenaBase, layout.arena_base);
        set(Word::Frames, layout.frames.into());
        set(Word::FrameSize, layout.frame_size.into());
        set(Word::KeyLow, layout.key[0]);
        set(Word::KeyHigh, layout.key[1]);
        set(Word::Adapters, layout.adapters.into());
        self.word(Word::Magic).store(MAGIC, Ordering::Release);
    }

    /// Reads what [`Header::write`] wrote.
    pub(super) fn read(&self) -> io::Result<Layout> {
        let get = |word| self.word(word).load(Ordering::Acquire);
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        if get(Word::Magic) != MAGIC {
            return Err(invalid("it is not a port"));
        }
        if get(Word::Version) != VERSION {
            return Err(invalid("it was made by another version of ringroad"));
        }
        let small = |word| u32::try_from(get(word)).map_err(|_| invalid("its frames make no sense"));
        Ok(Layout {
            parts_len: get(Word::PartsLen),
            arena_base: get(Word::ArenaBase),
            frames: small(Word::Frames)?,
            frame_size: small(Word::FrameSize)?,
            key: [get(Word::KeyLow), get(Word::KeyHigh)],
            adapters: get(Word::Adapters) != 0,
        })
    }

    /// The number of the eventfd that is rung when a process takes a slot.
    pub(super) fn roster(&self) -> RawFd {
        self.word(Word::Roster).load(Ordering::Acquire) as RawFd
    }

    /// Notes that number.
    pub(super) fn set_roster(&self, fd: RawFd) {
        self.word(Word::Roster).store(fd as u64, Ordering::Release);
    }

    /// The number of the end of a pipe that whoever may use the port holds open: the keeper has the other.
    pub(super) fn line(&self) -> RawFd {
        self.word(Word::Line).load(Ordering::Acquire) as RawFd
    }

    /// Notes that number.
    pub(super) fn set_line(&self, fd: RawFd) {
        self.word(Word::Line).store(fd as u64, Ordering::Release);
    }

    /// The PID namespace whose processes drive the port, by its inode: what a slot says of its process means nothing in
    /// another one. Zero: it was not known.
    pub(super) fn home(&self) -> u64 {
        self.word(Word::Home).load(Ordering::Acquire)
    }

    /// Notes that namespace.
    pub(super) fn set_home(&self, inode: u64) {
        self.word(Word::Home).store(inode, Ordering::Release);
    }

    /// The number of the file with the policies.
    pub(super) fn policy(&self) -> RawFd {
        self.word(Word::Policy).load(Ordering::Acquire) as RawFd
    }

    /// Notes that number.
    pub(super) fn set_policy(&self, fd: RawFd) {
        self.word(Word::Policy).store(fd as u64, Ordering::Release);
    }

    /// The numbers of the ends of what the policy was compiled to lies in.
    pub(super) fn shelf(&self) -> [RawFd; 2] {
        [Word::ShelfInside, Word::ShelfDoor].map(|word| self.word(word).load(Ordering::Acquire) as RawFd)
    }

    /// Notes those numbers.
    pub(super) fn set_shelf(&self, [inside, door]: [RawFd; 2]) {
        for (word, fd) in [(Word::ShelfInside, inside), (Word::ShelfDoor, door)] {
            self.word(word).store(fd as u64, Ordering::Release);
        }
    }

    /// The ends of the keeper's desk: to read, to write. None where all that is to be had there was made with the port.
    pub(super) fn desk(&self) -> Option<(RawFd, RawFd)> {
        let end = |word| self.word(word).load(Ordering::Acquire) as RawFd;
        Some((end(Word::DeskInbox), end(Word::Desk))).filter(|(_, write)| *write > 0)
    }

    /// Notes those numbers.
    pub(super) fn set_desk(&self, (read, write): (RawFd, RawFd)) {
        self.word(Word::DeskInbox).store(read as u64, Ordering::Release);
        self.word(Word::Desk).store(write as u64, Ordering::Release);
    }

    /// The word that names the process that drives slot `slot`.
    pub(super) fn owner(&self, slot: Slot) -> &AtomicU64 {
        self.at(OWNERS + usize::from(slot))
    }

    /// The ends of the keeper's box for letters: to read, to write. It has room for more than others'.
    pub(super) fn keepers_box(&self) -> (RawFd, RawFd) {
        let end = |word| self.word(word).load(Ordering::Acquire) as RawFd;
        (end(Word::KeepersInbox), end(Word::KeepersBox))
    }

    /// Notes those numbers.
    pub(super) fn set_keepers_box(&self, (read, write): (RawFd, RawFd)) {
        self.word(Word::KeepersInbox).store(read as u64, Ordering::Release);
        self.word(Word::KeepersBox).store(write as u64, Ordering::Release);
    }

    /// What the processes of the port know each other by.
    pub(super) fn secret(&self) -> Secret {
        let half = |word| self.word(word).load(Ordering::Relaxed).to_ne_bytes();
        let (low, high) = (half(Word::SecretLow), half(Word::SecretHigh));
        std::array::from_fn(|n| if n < 8 { low[n] } else { high[n - 8] })
    }

    /// Notes that.
    pub(super) fn set_secret(&self, secret: Secret) {
        let (halves, _) = secret.as_chunks::<8>();
        for (word, half) in [Word::SecretLow, Word::SecretHigh].into_iter().zip(halves) {
            self.word(word).store(u64::from_ne_bytes(*half), Ordering::Release);
        }
    }

    /// The name of the box and the bell of whoever drives a slot.
    pub(super) fn name(&self, slot: Slot) -> u64 {
        self.at(NAMES + usize::from(slot)).load(Ordering::Acquire)
    }

    /// Notes that name.
    pub(super) fn set_name(&self, slot: Slot, name: u64) {
        self.at(NAMES + usize::from(slot)).store(name, Ordering::Release);
    }

    fn word(&self, word: Word) -> &AtomicU64 {
        self.at(word as usize)
    }

    fn at(&self, word: usize) -> &AtomicU64 {
        &self.words.all()[word]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        parts_len: 300,
        arena_base: 65536,
        frames: 64,
        frame_size: 4096,
        key: [7, 9],
        adapters: true,
    };

    fn file() -> File {
        let fd = rustix::fs::memfd_create("header", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(fd);
        file.set_len(HEADER as u64).unwrap();
        file
    }

    #[test]
    fn what_one_mapping_wrote_another_reads() {
        let file = file();
        let writer = Header::map(&file).unwrap();
        writer.write(&LAYOUT);
        let reader = Header::map(&file).unwrap();
        assert_eq!(reader.read().unwrap(), LAYOUT);
        writer.owner(7).store(42, Ordering::Relaxed);
        assert_eq!([6, 7, 8].map(|slot| reader.owner(slot).load(Ordering::Relaxed)), [0, 42, 0]);
    }

    #[test]
    fn another_file_and_another_version_are_refused() {
        let file = file();
        let header = Header::map(&file).unwrap();
        assert_eq!(header.read().unwrap_err().to_string(), "it is not a port");
        header.write(&LAYOUT);
        header.word(Word::Version).store(VERSION + 1, Ordering::Relaxed);
        assert_eq!(header.read().unwrap_err().to_string(), "it was made by another version of ringroad");
        file.set_len(100).unwrap();
        assert_eq!(Header::map(&file).unwrap_err().to_string(), "it is too short");
    }
}
