//! From fd to file, read without a lock.
//!
//! One word a descriptor number: zero for everything that is none of ours, else the file's slot and the
//! slot's generation. Changes are made under the state's lock (`state`); readers check the word again after
//! they read from the file, so that a close on another thread cannot hand them somebody else's socket.

mod file;
mod memory;

use core::sync::atomic::AtomicU64;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::OnceLock;

use libc::c_int;
use stack::types::SocketId;

pub(crate) use file::{File, Flag, Kind};
pub(crate) use memory::forgotten_by_children;

const MOST: usize = 1 << 20;

/// The word of a descriptor that belongs to the library: no file of the application, not to be closed.
const PROTECTED: u64 = u64::MAX;
/// The same of a runtime's, which a child does not have.
const RUNTIMES: u64 = PROTECTED - 1;
/// Generations keep out of the cookie's highest bit, which is the Rust API's.
const GENERATIONS: u32 = (1 << 31) - 1;
const _: () = assert!(ringroad::runtime::API_COOKIE == 1 << 63);

struct Memory {
    words: &'static [AtomicU64],
    files: &'static [File],
}

static MEMORY: OnceLock<Memory> = OnceLock::new();
/// Length of the table; zero until it is there, so that a fresh process reads one word and goes on.
static LEN: AtomicUsize = AtomicUsize::new(0);
static ANY: AtomicBool = AtomicBool::new(false);
/// The highest number that a runtime ever had.
static HIGHEST_OF_RUNTIME: AtomicI32 = AtomicI32::new(-1);

/// A file slot at one moment of its history; also the cookie of the file's socket in the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Word(u64);

impl Word {
    /// The slot.
    pub(crate) fn index(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }

    /// Whether it names a slot at all.
    fn is_file(self) -> bool {
        self.0 != 0 && self.0 < RUNTIMES
    }

    /// As a cookie.
    pub(crate) fn cookie(self) -> u64 {
        self.0
    }

    /// A name for what has no file here, by a number other than zero: no slot is the one before the first.
    pub(crate) fn without_file(number: u32) -> Word {
        Word(u64::from(number) << 32)
    }

    /// Of a cookie; none for zero.
    pub(crate) fn of_cookie(cookie: u64) -> Option<Word> {
        (cookie != 0).then_some(Word(cookie))
    }

    /// The file, if this word is still its name.
    pub(crate) fn file(self) -> Option<&'static File> {
        let file = MEMORY.get()?.files.get(self.index() as usize)?;
        (file.generation.load(Ordering::Acquire) == (self.0 >> 32) as u32).then_some(file)
    }
}

/// A descriptor of ours as a call found it.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    /// The descriptor number.
    pub(crate) fd: c_int,
    /// The file's name.
    pub(crate) word: Word,
    /// The file.
    pub(crate) file: &'static File,
}

impl Held {
    /// Whether the descriptor still names the same file.
    #[inline]
    pub(crate) fn holds(&self) -> bool {
        load(self.fd) == self.word.0
    }

    /// Whether no other descriptor of this process names the file.
    pub(crate) fn is_only_name(&self) -> bool {
        self.file.references.load(Ordering::Relaxed) == 1
    }

    /// The stack's socket, if it has one and the descriptor is still the same.
    #[inline]
    pub(crate) fn socket(&self) -> Option<SocketId> {
        let id = self.file.socket()?;
        self.holds().then_some(id)
    }
}

/// Makes the tables, for descriptors up to the hard limit. Called once; false without address space.
pub(crate) fn start() -> bool {
    let limit = crate::kernel::descriptor_limit().clamp(1024, MOST);
    let memory = || Some(Memory { words: memory::reserve(limit)?, files: memory::reserve(limit)? });
    // Of tests that begin at a time, one makes them for all.
    let made = MEMORY.get().is_some() || memory().map(|memory| MEMORY.get_or_init(|| memory)).is_some();
    if made {
        LEN.store(limit, Ordering::Release);
    }
    made
}

#[inline]
fn load(fd: c_int) -> u64 {
    // A negative fd is a huge index.
    let index = fd as u32 as usize;
    if index >= LEN.load(Ordering::Acquire) {
        return 0;
    }
    MEMORY.get().map_or(0, |m| m.words[index].load(Ordering::Acquire))
}

/// Whether the descriptor is none of ours. This is what every intercepted call costs other files.
#[inline]
pub(crate) fn is_plain(fd: c_int) -> bool {
    !ANY.load(Ordering::Relaxed) || load(fd) == 0
}

/// The file behind a descriptor, if it is one of ours.
#[inline]
pub(crate) fn get(fd: c_int) -> Option<Held> {
    let word = Word(load(fd));
    if !word.is_file() {
        return None;
    }
    word.file().map(|file| Held { fd, word, file })
}

/// Whether the descriptor's connection is in the stack of another process.
pub(crate) fn is_elsewhere(fd: c_int) -> bool {
    get(fd).is_some_and(|held| held.file.is(Flag::Inherited))
}

/// Whether a file of ours can be hung on this descriptor.
pub(crate) fn covers(fd: c_int) -> bool {
    (fd as u32 as usize) < LEN.load(Ordering::Acquire)
}

/// Marks a descriptor as the library's own, or takes the mark away. The application cannot close it.
pub(crate) fn protect(fd: c_int, on: bool) {
    mark(fd, if on { PROTECTED } else { 0 });
}

/// As [`protect`], of what a runtime of this process has open.
pub(crate) fn protect_runtimes(fd: c_int, on: bool) {
    HIGHEST_OF_RUNTIME.fetch_max(fd, Ordering::Relaxed);
    mark(fd, if on { RUNTIMES } else { 0 });
}

/// After a fork, in the child: what the runtime had is the parent's.
pub(crate) fn forget_runtimes() {
    let Some(memory) = MEMORY.get() else { return };
    let end = usize::try_from(HIGHEST_OF_RUNTIME.swap(-1, Ordering::Relaxed) + 1).unwrap_or(0);
    let theirs = memory.words.iter().take(end).filter(|word| word.load(Ordering::Relaxed) == RUNTIMES);
    theirs.for_each(|word| word.store(0, Ordering::Release));
}

fn mark(fd: c_int, word: u64) {
    if let Some(memory) = MEMORY.get().filter(|_| covers(fd)) {
        ANY.store(true, Ordering::Relaxed);
        memory.words[fd as usize].store(word, Ordering::Release);
    }
}

/// Whether a descriptor is the library's own.
pub(crate) fn is_protected(fd: c_int) -> bool {
    load(fd) >= RUNTIMES
}

/// The library's own descriptors between `first` and `last`, in order.
pub(crate) fn protected(first: c_int, last: c_int) -> impl Iterator<Item = c_int> {
    let words = MEMORY.get().map_or(&[][..], |m| m.words);
    let end = (last as usize).saturating_add(1).min(words.len());
    let begin = (first.max(0) as usize).min(end);
    let own = move |fd: &usize| words[*fd].load(Ordering::Acquire) >= RUNTIMES;
    (begin..end).filter(own).map(|fd| fd as c_int)
}

/// The file in a slot.
#[inline]
pub(crate) fn file_at(index: u32) -> Option<&'static File> {
    MEMORY.get()?.files.get(index as usize)
}

/// Whether any descriptor of this process was ever ours.
#[inline]
pub(crate) fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

/// The free slots and the highest descriptor: what changes the table, kept under the state's lock.
#[derive(Default)]
pub(crate) struct Registry {
    free: Vec<u32>,
    used: u32,
    highest: c_int,
}

/// What became of a file when one of its descriptors went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// Other descriptors still name it.
    Shared,
    /// That was the last one.
    Last,
}

impl Registry {
    /// A new file of this kind, named by `fd`; none when there is no slot for it.
    pub(crate) fn create(&mut self, fd: c_int, kind: Kind) -> Option<Held> {
        let memory = MEMORY.get().filter(|_| covers(fd))?;
        let index = match self.free.pop() {
            Some(index) => index,
            None if (self.used as usize) < memory.files.len() => {
                self.used += 1;
                self.used - 1
            }
            None => return None,
        };
        let file = &memory.files[index as usize];
        file.reset(kind);
        file.references.store(1, Ordering::Relaxed);
        let generation = file.generation.load(Ordering::Relaxed);
        let word = Word(u64::from(generation) << 32 | u64::from(index + 1));
        self.point(fd, word);
        Some(Held { fd, word, file })
    }

    fn point(&mut self, fd: c_int, word: Word) {
        ANY.store(true, Ordering::Relaxed);
        self.highest = self.highest.max(fd);
        if let Some(memory) = MEMORY.get() {
            memory.words[fd as usize].store(word.0, Ordering::Release);
        }
    }

    /// `fd` became another name of the file `held`.
    pub(crate) fn alias(&mut self, fd: c_int, held: &Held) {
        if covers(fd) && held.word.file().is_some() {
            held.file.references.fetch_add(1, Ordering::Relaxed);
            self.point(fd, held.word);
        }
    }

    /// The descriptor is about to go; `Shared` also when another thread was faster. After `Last` the caller ends what hangs on the file, then calls
    /// [`release`](Registry::release).
    pub(crate) fn remove(&mut self, held: &Held) -> Removed {
        if !held.holds() {
            return Removed::Shared;
        }
        if let Some(memory) = MEMORY.get() {
            memory.words[held.fd as usize].store(0, Ordering::Release);
        }
        match held.file.references.fetch_sub(1, Ordering::Relaxed) {
            1 => Removed::Last,
            _ => Removed::Shared,
        }
    }

    /// Frees the slot of a file that no descriptor names any more.
    pub(crate) fn release(&mut self, word: Word) {
        if let Some(file) = word.file() {
            file.reset(Kind::Free);
            let next = file.generation.load(Ordering::Relaxed).wrapping_add(1) & GENERATIONS;
            file.generation.store(next, Ordering::Release);
            self.free.push(word.index());
        }
    }

    /// Every descriptor of ours in `range`.
    pub(crate) fn in_range(&self, first: c_int, last: c_int) -> Vec<Held> {
        (first.max(0)..=last.min(self.highest)).filter_map(get).collect()
    }

    /// Every file of ours, once.
    pub(crate) fn files(&self) -> impl Iterator<Item = (Word, &'static File)> + use<> {
        let files = MEMORY.get().map_or(&[][..], |m| &m.files[..self.used as usize]);
        files.iter().enumerate().filter(|(_, f)| f.kind() != Kind::Free).map(|(index, file)| {
            let generation = u64::from(file.generation.load(Ordering::Relaxed));
            (Word(generation << 32 | (index as u64 + 1)), file)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_finds_its_file_until_it_is_closed() {
        assert!(start());
        // Away from the slots of other tests.
        let mut registry = Registry { used: 512, ..Registry::default() };
        let held = registry.create(900, Kind::Stream).unwrap();
        assert!(!is_plain(900));
        assert!(is_plain(901) && is_plain(-1) && is_plain(c_int::MAX) && is_plain(c_int::MIN));
        held.file.set_socket(Some(SocketId { index: 7, generation: 3 }));
        assert_eq!(get(900).unwrap().socket(), Some(SocketId { index: 7, generation: 3 }));
        assert_eq!(registry.remove(&held), Removed::Last);
        assert!(get(900).is_none());
        assert_eq!(held.socket(), None);
        registry.release(held.word);
        assert!(held.word.file().is_none());
    }

    #[test]
    fn a_name_without_a_file_is_no_files() {
        assert!(start());
        assert!(Word::without_file(7).file().is_none());
        assert_ne!(Word::without_file(7), Word::without_file(8));
    }

    #[test]
    fn dups_share_a_file_and_the_last_one_ends_it() {
        assert!(start());
        let mut registry = Registry { used: 600, ..Registry::default() };
        let held = registry.create(910, Kind::Datagram).unwrap();
        registry.alias(911, &held);
        get(911).unwrap().file.set(Flag::NonBlocking, true);
        assert!(held.file.is(Flag::NonBlocking));
        assert_eq!(registry.remove(&held), Removed::Shared);
        let other = get(911).unwrap();
        assert_eq!(other.word, held.word);
        assert_eq!(registry.remove(&other), Removed::Last);
        registry.release(held.word);
        let again = registry.create(910, Kind::Stream).unwrap();
        assert_eq!(again.word.index(), held.word.index());
        assert_ne!(again.word, held.word);
        assert!(!again.file.is(Flag::NonBlocking));
        assert_eq!(registry.in_range(905, c_int::MAX).len(), 1);
        registry.remove(&again);
        registry.release(again.word);
    }

    #[test]
    fn the_library_keeps_its_own_descriptors() {
        assert!(start());
        protect(1000, true);
        assert!(is_protected(1000) && !is_protected(1001) && !is_protected(-1));
        protect(1000, false);
        assert!(!is_protected(1000));
        protect_runtimes(1001, true);
        protect(1002, true);
        assert!(is_protected(1001) && get(1001).is_none() && !is_plain(1001));
        assert_eq!(protected(1001, 1002).collect::<Vec<_>>(), [1001, 1002]);
        // A child has what is the process's, and nothing of the runtime.
        forget_runtimes();
        assert!(!is_protected(1001) && is_protected(1002));
        protect(1002, false);
    }
}
