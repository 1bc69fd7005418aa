//! Timers: a hierarchical wheel (Varghese and Lauck, 1987) with exact deadlines.
//!
//! Level `l` has 64 slots of 64^l nanoseconds each; eleven levels span all of [`Instant`]. A timer lies on the
//! level of the highest digit (base 64) in which its deadline differs from the wheel's time, in the slot of
//! that digit. As time reaches a slot, its timers fall to lower levels; those that are due by then skip them.
//! A level's slots are later than all slots of the levels below, so the first taken slot holds the earliest
//! timer.
//!
//! Timers are named by a small number of the owner's (a socket's slot, say), links live in a table indexed by
//! it, and nothing is allocated once the table has grown to the highest number.

use core::ops::{Index, IndexMut};

use crate::time::Instant;

/// Bits of a digit.
const BITS: u32 = 6;
/// Slots a level.
const SLOTS: usize = 1 << BITS;
/// Levels: 11 digits of 6 bits hold 64.
const LEVELS: usize = 11;
/// The list of timers found due and not yet handed out.
const DUE: u16 = (LEVELS * SLOTS) as u16;
/// Not armed.
const IDLE: u16 = u16::MAX;
/// No timer.
const NIL: u32 = u32::MAX;
/// How many timers of a crowded slot are looked at for the earliest.
const LOOK: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Timer {
    deadline: u64,
    prev: u32,
    next: u32,
    /// Which list it is on: level × 64 + slot, [`DUE`] or [`IDLE`].
    list: u16,
}

const UNARMED: Timer = Timer { deadline: 0, prev: NIL, next: NIL, list: IDLE };

/// Timers in a chunk.
const CHUNK: usize = 1024;

/// All timers by handle, in chunks: growing moves nothing, and takes no more than is used.
#[derive(Debug, Default)]
struct Timers(Vec<Box<[Timer; CHUNK]>>);

impl Timers {
    fn len(&self) -> usize {
        self.0.len() * CHUNK
    }

    fn reserve(&mut self, handles: usize) {
        while self.len() < handles {
            // Not by way of the stack, of which an application's thread may have less.
            let Ok(chunk) = vec![UNARMED; CHUNK].into_boxed_slice().try_into() else { unreachable!() };
            self.0.push(chunk);
        }
    }

    #[inline]
    fn get(&self, handle: u32) -> Option<&Timer> {
        self.0.get(handle as usize / CHUNK).map(|chunk| &chunk[handle as usize % CHUNK])
    }
}

impl Index<u32> for Timers {
    type Output = Timer;
    #[inline]
    fn index(&self, handle: u32) -> &Timer {
        &self.0[handle as usize / CHUNK][handle as usize % CHUNK]
    }
}

impl IndexMut<u32> for Timers {
    #[inline]
    fn index_mut(&mut self, handle: u32) -> &mut Timer {
        &mut self.0[handle as usize / CHUNK][handle as usize % CHUNK]
    }
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// Timers by deadline. Arming, re-arming and cancelling are O(1); a timer is moved at most once a level.
#[derive(Debug)]
pub struct Wheel {
    /// Every timer that is armed and not due is later than this.
    now: u64,
    timers: Timers,
    lists: Box<[List; LEVELS * SLOTS + 1]>,
    /// One bit a slot that is not empty.
    taken: [u64; LEVELS],
    /// One bit a level that is not empty.
    levels: u32,
    armed: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Wheel {
    /// A wheel without timers.
    pub fn new() -> Self {
        Self {
            now: 0,
            timers: Timers::default(),
            lists: Box::new([List { first: NIL, last: NIL }; LEVELS * SLOTS + 1]),
            taken: [0; LEVELS],
            levels: 0,
            armed: 0,
        }
    }

    /// Makes room for the timers `0..handles`, so that arming them allocates nothing.
    pub fn reserve(&mut self, handles: u32) {
        self.timers.reserve(handles as usize);
    }

    /// Bytes that a timer takes.
    pub const fn bytes_each() -> usize {
        size_of::<Timer>()
    }

    /// Armed timers.
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// Arms timer `handle`, or moves it. A deadline that has passed fires at the next [`Wheel::pop_due`];
    /// [`Instant::NEVER`] cancels.
    ///
    /// Handles index a table: use small numbers. `u32::MAX` is none.
    #[inline]
    pub fn arm(&mut self, handle: u32, deadline: Instant) {
        debug_assert!(handle != NIL, "a timer's handle indexes a table");
        if deadline == Instant::NEVER {
            self.cancel(handle);
            return;
        }
        if handle as usize >= self.timers.len() {
            self.reserve(handle + 1);
        }
        let deadline = deadline.as_nanos();
        let list = self.place(deadline);
        let timer = &mut self.timers[handle];
        timer.deadline = deadline;
        if timer.list != list {
            if timer.list == IDLE {
                self.armed += 1;
            } else {
                self.unlink(handle);
            }
            self.link(handle, list);
        }
    }

    /// Disarms timer `handle`. False when it was not armed.
    #[inline]
    pub fn cancel(&mut self, handle: u32) -> bool {
        match self.timers.get(handle) {
            Some(timer) if timer.list != IDLE => {
                self.unlink(handle);
                self.timers[handle].list = IDLE;
                self.armed -= 1;
                true
            }
            _ => false,
        }
    }

    /// Asks the processor to fetch timer `handle`.
    #[inline]
    pub fn prefetch(&self, handle: u32) {
        if let Some(timer) = self.timers.get(handle) {
            nic::prefetch(timer, nic::LINE);
        }
    }

    /// When timer `handle` is to fire, if it is armed.
    pub fn deadline(&self, handle: u32) -> Option<Instant> {
        let timer = self.timers.get(handle)?;
        (timer.list != IDLE).then(|| Instant::from_nanos(timer.deadline))
    }

    /// When to call [`Wheel::pop_due`] next. Exact, unless more than sixteen timers crowd the first slot: then
    /// it may be early by less than the slot's width, never late.
    pub fn next_deadline(&self) -> Option<Instant> {
        let due = self.lists[usize::from(DUE)].first;
        if due != NIL {
            return Some(Instant::from_nanos(self.timers[due].deadline));
        }
        let (list, start) = self.first_slot()?;
        let mut at = self.lists[usize::from(list)].first;
        let mut earliest = u64::MAX;
        for _ in 0..LOOK {
            let timer = &self.timers[at];
            earliest = earliest.min(timer.deadline);
            at = timer.next;
            if at == NIL {
                return Some(Instant::from_nanos(earliest));
            }
        }
        Some(Instant::from_nanos(start))
    }

    /// Disarms one timer whose deadline is `now` or earlier and names it; `None` when there is none. The order
    /// is roughly that of the deadlines. Time never goes back: an earlier `now` counts as the latest seen.
    #[inline]
    pub fn pop_due(&mut self, now: Instant) -> Option<u32> {
        loop {
            let handle = self.lists[usize::from(DUE)].first;
            if handle != NIL {
                self.cancel(handle);
                return Some(handle);
            }
            let now = now.as_nanos().max(self.now);
            match self.first_slot() {
                Some((list, start)) if start <= now => self.fall(list, start, now),
                _ => {
                    self.now = now;
                    return None;
                }
            }
        }
    }

    /// The list on which a timer for `deadline` belongs.
    #[inline]
    fn place(&self, deadline: u64) -> u16 {
        if deadline <= self.now {
            return DUE;
        }
        let level = (deadline ^ self.now).ilog2() / BITS;
        let slot = (deadline >> (level * BITS)) as usize % SLOTS;
        (level as usize * SLOTS + slot) as u16
    }

    /// The earliest slot that is not empty, and the moment at which it begins.
    #[inline]
    fn first_slot(&self) -> Option<(u16, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let slot = self.taken[level as usize].trailing_zeros();
        // The digits above the level are those of the wheel's time, the digits below are zero.
        let above = u64::MAX.checked_shl((level + 1) * BITS).unwrap_or(0);
        let start = (self.now & above) | (u64::from(slot) << (level * BITS));
        Some(((level as usize * SLOTS + slot as usize) as u16, start))
    }

    /// Time reached the slot `list`, which begins at `start`: its timers go where they belong now.
    fn fall(&mut self, list: u16, start: u64, now: u64) {
        self.now = start;
        let mut at = self.lists[usize::from(list)].first;
        while at != NIL {
            let timer = self.timers[at];
            let to = if timer.deadline <= now { DUE } else { self.place(timer.deadline) };
            self.unlink(at);
            self.link(at, to);
            at = timer.next;
        }
    }

    #[inline]
    fn link(&mut self, handle: u32, to: u16) {
        let list = &mut self.lists[usize::from(to)];
        let last = list.last;
        list.last = handle;
        if last == NIL {
            list.first = handle;
            if to != DUE {
                let (level, slot) = (usize::from(to) / SLOTS, usize::from(to) % SLOTS);
                self.taken[level] |= 1 << slot;
                self.levels |= 1 << level;
            }
        } else {
            self.timers[last].next = handle;
        }
        let timer = &mut self.timers[handle];
        (timer.prev, timer.next, timer.list) = (last, NIL, to);
    }

    #[inline]
    fn unlink(&mut self, handle: u32) {
        let Timer { prev, next, list: from, .. } = self.timers[handle];
        match prev {
            NIL => self.lists[usize::from(from)].first = next,
            _ => self.timers[prev].next = next,
        }
        match next {
            NIL => self.lists[usize::from(from)].last = prev,
            _ => self.timers[next].prev = prev,
        }
        if prev == NIL && next == NIL && from != DUE {
            let (level, slot) = (usize::from(from) / SLOTS, usize::from(from) % SLOTS);
            self.taken[level] &= !(1 << slot);
            if self.taken[level] == 0 {
                self.levels &= !(1 << level);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ns(n: u64) -> Instant {
        Instant::from_nanos(n)
    }

    fn drain(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        core::iter::from_fn(|| wheel.pop_due(ns(now))).collect()
    }

    #[test]
    fn fires_at_the_nanosecond_and_not_before() {
        let mut wheel = Wheel::new();
        wheel.arm(3, ns(200_000_000));
        wheel.arm(1, ns(40_000_000));
        assert_eq!(wheel.next_deadline(), Some(ns(40_000_000)));
        assert_eq!(drain(&mut wheel, 39_999_999), []);
        assert_eq!(drain(&mut wheel, 40_000_000), [1]);
        assert_eq!(wheel.next_deadline(), Some(ns(200_000_000)));
        assert_eq!(drain(&mut wheel, 199_999_999), []);
        assert_eq!(drain(&mut wheel, 200_000_000), [3]);
        assert_eq!((wheel.next_deadline(), wheel.len()), (None, 0));
    }

    #[test]
    fn cancelled_and_moved_timers_do_not_fire() {
        let mut wheel = Wheel::new();
        wheel.arm(0, ns(10));
        wheel.arm(1, ns(20));
        wheel.arm(0, ns(5_000));
        assert!(wheel.cancel(1));
        assert!(!wheel.cancel(1));
        assert!(!wheel.cancel(77));
        assert_eq!(drain(&mut wheel, 4_999), []);
        assert_eq!(wheel.deadline(0), Some(ns(5_000)));
        wheel.arm(0, Instant::NEVER);
        assert_eq!((wheel.deadline(0), wheel.is_empty()), (None, true));
    }

    #[test]
    fn a_deadline_in_the_past_is_due_at_once() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.pop_due(ns(1_000)), None);
        wheel.arm(0, ns(999));
        wheel.arm(1, ns(1_000));
        wheel.arm(2, ns(1_001));
        assert_eq!(wheel.next_deadline(), Some(ns(999)));
        assert_eq!(drain(&mut wheel, 1_000), [0, 1]);
        wheel.arm(5, ns(1));
        assert!(wheel.cancel(5));
        assert_eq!(drain(&mut wheel, 1_001), [2]);
    }

    #[test]
    fn the_whole_range_of_time_is_covered() {
        let mut wheel = Wheel::new();
        let moments = [1, 63, 64, 4_095, 4_096, 1 << 30, 1 << 59, 1 << 60, (1 << 63) + 5, u64::MAX - 1];
        for (handle, moment) in moments.iter().enumerate() {
            wheel.arm(handle as u32, ns(*moment));
        }
        for (handle, moment) in moments.iter().enumerate() {
            assert_eq!(wheel.next_deadline(), Some(ns(*moment)));
            assert_eq!(drain(&mut wheel, moment - 1), []);
            assert_eq!(drain(&mut wheel, *moment), [handle as u32]);
        }
    }

    #[test]
    fn a_crowd_wakes_early_rather_than_late() {
        let mut wheel = Wheel::new();
        let deadline = 1 << 40;
        for handle in 0..100 {
            wheel.arm(handle, ns(deadline + u64::from(handle)));
        }
        let mut turns = 0;
        while let Some(at) = wheel.next_deadline() {
            assert!(at <= ns(deadline + turns), "late");
            for handle in drain(&mut wheel, at.as_nanos()) {
                assert_eq!(at, ns(deadline + u64::from(handle)), "handle {handle}");
                turns += 1;
            }
        }
        assert_eq!(turns, 100);
    }

    /// A table of deadlines is the judge: whatever is armed, moved and cancelled, each pop is due and armed,
    /// nothing due is left, and the next deadline is never late.
    #[test]
    fn equals_a_plain_table() {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut wheel = Wheel::new();
        let mut model: Vec<Option<u64>> = vec![None; 50];
        let mut now = 0;
        for _ in 0..200_000 {
            let handle = random(50) as usize;
            match random(8) {
                0..4 => {
                    let ahead = 1 << random(45);
                    let deadline = (now + random(ahead)).saturating_sub(random(2) * 100);
                    model[handle] = Some(deadline);
                    wheel.arm(handle as u32, ns(deadline));
                }
                4 => assert_eq!(wheel.cancel(handle as u32), model[handle].take().is_some()),
                _ => {
                    let ahead = 1 << random(40);
                    now += random(ahead);
                    while let Some(popped) = wheel.pop_due(ns(now)) {
                        let deadline = model[popped as usize].take().expect("armed");
                        assert!(deadline <= now, "{popped} fired early");
                    }
                    assert!(model.iter().flatten().all(|d| *d > now), "a due timer was left");
                }
            }
            assert_eq!(wheel.len(), model.iter().flatten().count());
            let earliest = model.iter().flatten().min();
            assert_eq!(wheel.next_deadline().is_some(), earliest.is_some());
            if let (Some(next), Some(earliest)) = (wheel.next_deadline(), earliest) {
                assert!(next <= ns(*earliest.max(&now)), "{next:?} is later than {earliest}");
            }
        }
    }
}
