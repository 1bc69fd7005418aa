//! The book that all stacks of a port keep together: who holds each frame, the depot of frames that nobody
//! holds, and the locks of the rings that several stacks use.
//!
//! It lies in a memfd that outlives every process. A process may be killed between any two stores, so nothing
//! here depends on the next one: a lock is a word that names its holder, what a holder is about to do is
//! written down before it is done, and whoever finds the holder dead finishes it ([`Ledger::bury`]).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::{hint, io};

use crate::entry::{self, Entry};
use crate::mapped::Words;
use crate::sys;

pub(crate) use crate::entry::Slot;
pub(crate) use crate::entry::{Holder, NOBODY};

/// Frames handled under one lock, one intention at a time.
pub(crate) const BATCH: usize = 32;
/// Looks at a lock that is held before it is left for later: its holder does a few dozen stores.
const PATIENCE: u32 = 256;

/// How many frames of a port are in which hands; the sum is always all. Exact while nothing moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCensus {
    /// Nobody's.
    pub depot: u32,
    /// With the stacks, or on their way from one to another.
    pub stacks: u32,
    /// With the kernel, to receive into, and received frames that no stack has read.
    pub receiving: u32,
    /// With the kernel, to send.
    pub sending: u32,
}

/// The words in front of the frames' entries, by place.
const DEPOT_LOCK: usize = 0;
const DEPOT_LEN: usize = 1;
const QUEUES: usize = 8;
/// Words of each queue.
const FILL_LOCK: usize = 0;
const FILL_INTENT: usize = 1;
const COMPLETION_LOCK: usize = 2;
const TALLIED: usize = 3;
const TALLY: usize = 4;
/// One for each slot: how far its tx ring is written.
const WRITTEN: usize = 40;
const QUEUE_WORDS: usize = WRITTEN + 1 + NOBODY as usize;

/// The book, mapped.
#[derive(Debug)]
pub(crate) struct Ledger {
    words: Words,
    frames: u32,
    queues: usize,
}

/// A lock, held.
struct Guard<'a>(&'a AtomicU64);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

impl Ledger {
    /// A book of `frames` frames, all in the depot, for `queues` queues.
    pub(crate) fn new(frames: u32, queues: usize) -> io::Result<Self> {
        let file = sys::memfd(c"ringroad-ledger", Self::bytes(frames, queues) as u64)?;
        let ledger = Self::from_fd(file, frames, queues)?;
        ledger.begin(|_| true);
        Ok(ledger)
    }

    /// Begins anew: frames that are `free` are in the depot, others come when the kernel has sent them.
    pub(crate) fn begin(&self, free: impl Fn(u32) -> bool) {
        for frame in 0..self.frames {
            let holder = if free(frame) { Holder::Depot } else { Holder::Sending };
            self.set(frame, holder, NOBODY);
        }
        self.rebuild();
    }

    /// Maps a book that exists.
    pub(crate) fn from_fd(fd: OwnedFd, frames: u32, queues: usize) -> io::Result<Self> {
        Ok(Self { words: Words::map(fd, Self::bytes(frames, queues))?, frames, queues })
    }

    fn bytes(frames: u32, queues: usize) -> usize {
        (QUEUES + queues * QUEUE_WORDS) * size_of::<u64>() + 2 * frames as usize * size_of::<u32>()
    }

    /// The memfd.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.words.fd().as_fd()
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        self.words.long(at)
    }

    fn queue_word(&self, queue: usize, at: usize) -> &AtomicU64 {
        debug_assert!(queue < self.queues);
        self.word(QUEUES + queue * QUEUE_WORDS + at)
    }

    fn entry(&self, frame: u32) -> Option<&AtomicU32> {
        let at = 2 * (QUEUES + self.queues * QUEUE_WORDS) + frame as usize;
        (frame < self.frames).then(|| self.words.word(at))
    }

    /// Place `at` of the depot's list.
    fn listed(&self, at: u32) -> &AtomicU32 {
        let first = 2 * (QUEUES + self.queues * QUEUE_WORDS) + self.frames as usize;
        self.words.word(first + at.min(self.frames - 1) as usize)
    }

    /// What the book says of a frame; one that is not in the arena is nobody's.
    #[inline]
    pub(crate) fn get(&self, frame: u32) -> Entry {
        self.entry(frame).map_or(Entry::from_word(0), |word| Entry::of(word, Ordering::Relaxed))
    }

    /// Frames in the arena.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// Whether `holder` has the frame, for stack `slot` or as that stack.
    pub(crate) fn is(&self, frame: u32, holder: Holder, slot: Slot) -> bool {
        let entry = self.get(frame);
        entry.holder() == holder && entry.slot() == slot
    }

    /// Books a frame that the caller holds.
    #[inline]
    pub(crate) fn set(&self, frame: u32, holder: Holder, slot: Slot) {
        if let Some(word) = self.entry(frame) {
            entry::set(word, holder, slot);
        }
    }

    /// Books a frame for sending: a turn of its own.
    #[inline]
    pub(crate) fn lend(&self, frame: u32, slot: Slot) {
        if let Some(word) = self.entry(frame) {
            entry::lend(word, slot);
        }
    }

    /// What the book will say of a frame that the caller holds when it is on its way to stack `to`: a turn of its own.
    #[inline]
    pub(crate) fn crossing(&self, frame: u32, to: Slot) -> u32 {
        entry::crossing(self.get(frame), to).word()
    }

    /// Books that, as it was answered.
    #[inline]
    pub(crate) fn embark(&self, frame: u32, crossing: u32) {
        if let Some(word) = self.entry(frame) {
            entry::embark(word, Entry::from_word(crossing));
        }
    }

    /// Whether a frame is on its way as `crossing` says; it is stack `slot`'s then.
    #[inline]
    pub(crate) fn land(&self, frame: u32, crossing: u32, slot: Slot) -> bool {
        self.entry(frame).is_some_and(|word| entry::land(word, Entry::from_word(crossing), slot))
    }

    /// Stack `slot` has written its tx ring of `queue` up to index `next`.
    #[inline]
    pub(crate) fn wrote(&self, queue: usize, slot: Slot, next: u32) {
        self.queue_word(queue, WRITTEN + usize::from(slot)).store(next.into(), Ordering::Release);
    }

    /// How far stack `slot` has written its tx ring of `queue`.
    pub(crate) fn written(&self, queue: usize, slot: Slot) -> u32 {
        self.queue_word(queue, WRITTEN + usize::from(slot)).load(Ordering::Acquire) as u32
    }

    /// The frame has been sent in the turn that `seen` shows. Said twice, or late, it changes nothing.
    fn sent(&self, frame: u32, seen: Entry) -> bool {
        self.entry(frame).is_some_and(|word| entry::sent(word, seen))
    }

    /// Whether a frame of stack `slot` has been sent; it is the stack's again then.
    #[inline]
    pub(crate) fn collect(&self, frame: u32, slot: Slot) -> bool {
        self.entry(frame).is_none_or(|word| entry::collect(word, slot))
    }

    /// Who has how many frames.
    pub(crate) fn census(&self) -> FrameCensus {
        let mut census = FrameCensus::default();
        for frame in 0..self.frames {
            *match self.get(frame).holder() {
                Holder::Depot => &mut census.depot,
                Holder::Stack | Holder::Sent | Holder::Crossing => &mut census.stacks,
                Holder::Receiving => &mut census.receiving,
                Holder::Sending => &mut census.sending,
            } += 1;
        }
        census
    }

    /// Frames in the depot, as a look without the lock shows it.
    #[inline]
    pub(crate) fn depot(&self) -> usize {
        self.word(DEPOT_LEN).load(Ordering::Relaxed) as usize
    }

    fn lock<'a>(&self, word: &'a AtomicU64, slot: Slot) -> Option<Guard<'a>> {
        let mine = u64::from(slot) + 1;
        word.compare_exchange(0, mine, Ordering::Acquire, Ordering::Relaxed).ok().map(|_| Guard(word))
    }

    fn lock_depot(&self, slot: Slot) -> Option<Guard<'_>> {
        let word = self.word(DEPOT_LOCK);
        (0..PATIENCE).find_map(|_| {
            self.lock(word, slot).or_else(|| {
                hint::spin_loop();
                None
            })
        })
    }

    /// The depot's lock for stack `me`, also from a stack that is `gone`: what that was doing is settled then.
    fn take_depot(&self, me: Slot, gone: &dyn Fn(Slot) -> bool) -> Option<Guard<'_>> {
        if let Some(guard) = self.lock_depot(me) {
            return Some(guard);
        }
        let word = self.word(DEPOT_LOCK);
        let holder = word.load(Ordering::Acquire);
        let dead = holder != 0 && gone((holder - 1) as Slot);
        let mine = u64::from(me) + 1;
        if !dead || word.compare_exchange(holder, mine, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return None;
        }
        self.rebuild();
        Some(Guard(word))
    }

    /// Takes up to `want` frames out of the depot for stack `slot`. None at all when another stack is at it.
    pub(crate) fn draw(&self, slot: Slot, want: usize, mut take: impl FnMut(u32)) -> usize {
        let Some(_guard) = self.lock_depot(slot) else { return 0 };
        let len = self.depot().min(self.frames as usize);
        let n = want.min(len);
        for at in (len - n..len).rev() {
            let frame = self.listed(at as u32).load(Ordering::Relaxed);
            self.set(frame, Holder::Stack, slot);
            self.word(DEPOT_LEN).store(at as u64, Ordering::Relaxed);
            take(frame);
        }
        n
    }

    /// Puts frames of stack `slot` into the depot while `give` gives some. False when another stack is at it.
    pub(crate) fn put(&self, slot: Slot, give: impl FnMut() -> Option<u32>) -> bool {
        let Some(guard) = self.lock_depot(slot) else { return false };
        self.put_under(&guard, give);
        true
    }

    fn put_under(&self, _lock: &Guard<'_>, give: impl FnMut() -> Option<u32>) {
        let mut len = self.depot();
        for frame in std::iter::from_fn(give) {
            self.listed(len as u32).store(frame, Ordering::Relaxed);
            self.set(frame, Holder::Depot, NOBODY);
            len += 1;
            self.word(DEPOT_LEN).store(len as u64, Ordering::Relaxed);
        }
    }

    /// Puts frames that were sent for stacks that are gone into the depot, unless somebody did. Those that stay
    /// in `orphans` are for later.
    pub(crate) fn put_orphans(&self, slot: Slot, orphans: &mut Vec<u32>) {
        self.put(slot, || {
            std::iter::from_fn(|| orphans.pop()).find(|frame| {
                let entry = self.get(*frame);
                entry.holder() == Holder::Sent && entry.slot() == NOBODY
            })
        });
    }

    /// Makes the list of the depot anew from the frames' entries. Under the depot's lock, or alone.
    fn rebuild(&self) {
        let mut len = 0;
        for frame in (0..self.frames).rev().filter(|f| self.get(*f).holder() == Holder::Depot) {
            self.listed(len).store(frame, Ordering::Relaxed);
            len += 1;
        }
        self.word(DEPOT_LEN).store(len.into(), Ordering::Release);
    }

    /// The fill ring of queue `queue` for stack `slot` alone. None: another stack fills it just now.
    pub(crate) fn fill(&self, queue: usize, slot: Slot) -> Option<Filling<'_>> {
        let guard = self.lock(self.queue_word(queue, FILL_LOCK), slot)?;
        Some(Filling { ledger: self, queue, _guard: guard })
    }

    /// The completion ring of queue `queue` for stack `slot` alone. None: another stack empties it just now.
    pub(crate) fn complete(&self, queue: usize, slot: Slot) -> Option<Completing<'_>> {
        let guard = self.lock(self.queue_word(queue, COMPLETION_LOCK), slot)?;
        Some(Completing { ledger: self, queue, tallied: 0, _guard: guard })
    }

    /// Whether dead stack `slot` held the fill lock of `queue`; then the lock is the caller's, and the intention
    /// that the dead stack had written down: the ring's index and the entries written from there on.
    pub(crate) fn inherit_fill(&self, queue: usize, slot: Slot) -> Option<(Filling<'_>, u32, u32)> {
        let word = self.queue_word(queue, FILL_LOCK);
        if word.load(Ordering::Acquire) != u64::from(slot) + 1 {
            return None;
        }
        let intent = self.queue_word(queue, FILL_INTENT).load(Ordering::Acquire);
        Some((Filling { ledger: self, queue, _guard: Guard(word) }, (intent >> 32) as u32, intent as u32))
    }

    /// Finishes what dead stack `slot` was doing with completions and the depot, and puts every frame that it
    /// held into the depot. What the kernel still sends for it follows when it has been sent. Afterwards the slot
    /// is as if it had never been used. `me` is the caller's slot, or the same; `gone` says which other stacks have
    /// died, too. False when a living stack is at the depot just now.
    pub(crate) fn bury(&self, slot: Slot, me: Slot, gone: &dyn Fn(Slot) -> bool) -> bool {
        for queue in 0..self.queues {
            let word = self.queue_word(queue, COMPLETION_LOCK);
            if word.load(Ordering::Acquire) == u64::from(slot) + 1 {
                drop(Completing { ledger: self, queue, tallied: BATCH, _guard: Guard(word) });
            }
            // Held still: its rings were gone with its sockets, and nobody could look what it had begun.
            if let Some((filling, ..)) = self.inherit_fill(queue, slot) {
                filling.kept();
            }
        }
        let Some(lock) = self.take_depot(me, &|other| other == slot || gone(other)) else { return false };
        for frame in 0..self.frames {
            let entry = self.get(frame);
            if entry.slot() == slot && entry.holder() == Holder::Sending {
                let word = self.entry(frame).expect("a frame of the arena");
                // Lost to whoever books it as sent just now: the next round takes that.
                entry::orphan(word, entry);
            }
        }
        let mut frames = (0..self.frames).filter(|f| {
            let entry = self.get(*f);
            match entry.holder() {
                // What is on its way to nobody.
                Holder::Stack | Holder::Crossing => entry.slot() == slot,
                Holder::Sent => entry.slot() == slot || entry.slot() == NOBODY,
                _ => false,
            }
        });
        self.put_under(&lock, || frames.next());
        true
    }
}

/// The fill ring, locked: entries are written first, then promised, then published.
pub(crate) struct Filling<'a> {
    ledger: &'a Ledger,
    queue: usize,
    _guard: Guard<'a>,
}

impl Filling<'_> {
    /// `frames` are written to the ring from index `base` on and about to be published: whoever dies from here
    /// on, they are the kernel's.
    pub(crate) fn promise(&self, base: u32, frames: &[u32]) {
        let word = u64::from(base) << 32 | frames.len() as u64;
        self.ledger.queue_word(self.queue, FILL_INTENT).store(word, Ordering::Release);
        frames.iter().for_each(|f| self.ledger.set(*f, Holder::Receiving, NOBODY));
    }

    /// They are published.
    pub(crate) fn kept(&self) {
        self.ledger.queue_word(self.queue, FILL_INTENT).store(0, Ordering::Release);
    }
}

/// The completion ring, locked: entries are tallied first, then released, then booked.
pub(crate) struct Completing<'a> {
    ledger: &'a Ledger,
    queue: usize,
    tallied: usize,
    _guard: Guard<'a>,
}

impl Completing<'_> {
    /// Notes an entry; false when `frame` is none that the kernel had for sending. Up to [`BATCH`] entries.
    pub(crate) fn tally(&mut self, frame: u32) -> bool {
        let entry = self.ledger.get(frame);
        if entry.holder() != Holder::Sending {
            return false;
        }
        let word = u64::from(frame) << 32 | u64::from(entry.word());
        self.ledger.queue_word(self.queue, TALLY + self.tallied).store(word, Ordering::Relaxed);
        self.tallied += 1;
        true
    }

    /// Whether no more entries can be noted now.
    pub(crate) fn is_full(&self) -> bool {
        self.tallied == BATCH
    }

    /// The entries are about to leave the ring.
    pub(crate) fn promise(&self) {
        self.ledger.queue_word(self.queue, TALLIED).store(self.tallied as u64, Ordering::Release);
    }

    /// The entries have left the ring: they are booked. Frames whose stack is gone are for the depot.
    pub(crate) fn book(&mut self, mut orphan: impl FnMut(u32)) {
        let count = self.ledger.queue_word(self.queue, TALLIED);
        for at in 0..(count.load(Ordering::Acquire) as usize).min(BATCH) {
            let word = self.ledger.queue_word(self.queue, TALLY + at).load(Ordering::Relaxed);
            let (frame, seen) = ((word >> 32) as u32, Entry::from_word(word as u32));
            if self.ledger.sent(frame, seen) && seen.slot() == NOBODY {
                orphan(frame);
            }
        }
        count.store(0, Ordering::Release);
        self.tallied = 0;
    }
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        // What was promised and not booked: by a dead stack whose lock this is now.
        self.book(|_| {});
    }
}
