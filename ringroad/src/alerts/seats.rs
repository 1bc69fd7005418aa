//! Which process of a port tells of what all of them see: the one that has been there for longest. Where processes write
//! their alerts to different places, the eldest of those that name the same ones writes there.
//!
//! Each says when it came, where its alerts go, and who tells last told for whom, in memory that all share. Who is rung for
//! and does not look for two seconds (it was stopped, or became a program without us) is passed over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stack::time::Instant;

/// Slots of a port at the most.
const SLOTS: usize = af_xdp::SLOTS as usize;
/// Words of a seat, by place: the process; its number among all that came; where its alerts go; since when it has been rung for.
const SEAT: usize = 4;
const OWNER: usize = 0;
const CAME: usize = 1;
const SINKS: usize = 2;
const RUNG: usize = 3;
/// Words of a voice, by place: who told last, until when all is told, and how many alerts there were.
const VOICE: usize = 3;
/// Words of all.
pub(crate) const WORDS: usize = ARRIVALS + 1;
const VOICES: usize = SLOTS * SEAT;
const ARRIVALS: usize = VOICES + SLOTS * VOICE;
/// Who keeps the port is younger than everybody.
const KEEPER: u64 = 1 << 63;
/// Who does not look for so long is passed over.
pub(super) const DEAF: Duration = Duration::from_secs(2);

/// The other processes of the port, to those that tell.
pub(crate) trait Mates {
    /// Whether the process that this word names has the slot, and lives.
    fn is_home(&self, slot: u8, owner: u64) -> bool;

    /// Has a slot's process look at what there is. Whether it was told.
    fn call(&self, slot: u8) -> bool;
}

/// What a process is to do with what all see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    Silent,
    /// Write to its places.
    Writes,
    /// That, and answer who asks.
    Speaks,
}

/// What was told to some places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voice {
    /// The process that told last.
    pub(super) by: u64,
    /// Until then all is told.
    pub(super) until: Instant,
    /// How many alerts there were.
    pub(super) number: u64,
}

/// Our seat among them.
#[derive(Debug)]
pub(super) struct Seat {
    words: &'static [AtomicU64],
    me: u8,
    owner: u64,
    sinks: u64,
}

impl Seat {
    /// Takes the seat of slot `me` for the process that `owner` names; `sinks`: where its alerts go, 0 for nowhere.
    pub(super) fn take(words: &'static [AtomicU64], (me, owner): (u8, u64), keeps: bool, sinks: u64) -> Self {
        let seat = Self { words, me, owner, sinks };
        let came = words[ARRIVALS].fetch_add(1, Ordering::AcqRel);
        seat.word(me, OWNER).store(0, Ordering::Release);
        seat.word(me, CAME).store(came | if keeps { KEEPER } else { 0 }, Ordering::Release);
        seat.word(me, SINKS).store(sinks, Ordering::Release);
        seat.word(me, RUNG).store(0, Ordering::Release);
        seat.word(me, OWNER).store(owner, Ordering::Release);
        seat
    }

    fn word(&self, slot: u8, word: usize) -> &'static AtomicU64 {
        &self.words[usize::from(slot) * SEAT + word]
    }

    fn voice_word(&self, word: usize) -> &'static AtomicU64 {
        &self.words[VOICES + self.sinks as usize % SLOTS * VOICE + word]
    }

    /// The process that we sit here for.
    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    fn hears(&self, slot: u8, now: Instant) -> bool {
        let rung = self.word(slot, RUNG).load(Ordering::Acquire);
        slot == self.me || rung == 0 || now.since(Instant::from_nanos(rung)) < DEAF
    }

    /// Those who are there, the eldest first, with where their alerts go.
    fn present(&self, now: Instant, mates: &dyn Mates) -> Vec<(u8, u64)> {
        let of = |slot: u8| {
            let owner = self.word(slot, OWNER).load(Ordering::Acquire);
            let is_there = match slot == self.me {
                true => owner == self.owner,
                false => owner != 0 && mates.is_home(slot, owner) && self.hears(slot, now),
            };
            let said = |word| self.word(slot, word).load(Ordering::Acquire);
            is_there.then(|| (said(CAME), slot, said(SINKS)))
        };
        let mut all: Vec<_> = (0..SLOTS as u8).filter_map(of).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, slot, sinks)| (slot, sinks)).collect()
    }

    /// What we are to do.
    pub(super) fn role(&self, now: Instant, mates: &dyn Mates) -> Role {
        self.role_among(&self.present(now, mates))
    }

    fn role_among(&self, present: &[(u8, u64)]) -> Role {
        let is_me = |&(slot, _): &(u8, u64)| slot == self.me;
        if present.first().is_none_or(is_me) {
            return Role::Speaks;
        }
        let same = present.iter().find(|(_, sinks)| *sinks == self.sinks);
        if self.sinks != 0 && same.is_some_and(is_me) { Role::Writes } else { Role::Silent }
    }

    /// Has those look who tell. Whether somebody has yet to.
    pub(super) fn ring(&self, now: Instant, mates: &dyn Mates) -> bool {
        let present = self.present(now, mates);
        let mut rung = false;
        for (at, &(slot, sinks)) in present.iter().enumerate() {
            let is_first = !present[..at].iter().any(|(_, before)| *before == sinks);
            if slot == self.me || !(at == 0 || sinks != 0 && is_first) {
                continue;
            }
            rung = true;
            let since = now.as_nanos().max(1);
            let word = self.word(slot, RUNG);
            if word.compare_exchange(0, since, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // Whose box is full looks anyway, or is passed over.
                mates.call(slot);
            }
        }
        rung
    }

    /// Whether somebody has been rung for and has not looked yet.
    pub(super) fn awaits(&self, mates: &dyn Mates) -> bool {
        let is_awaited = |slot: u8| {
            let owner = self.word(slot, OWNER).load(Ordering::Acquire);
            self.word(slot, RUNG).load(Ordering::Acquire) != 0 && owner != 0 && mates.is_home(slot, owner)
        };
        (0..SLOTS as u8).any(|slot| slot != self.me && is_awaited(slot))
    }

    /// We look.
    pub(super) fn looks(&self) {
        self.word(self.me, RUNG).store(0, Ordering::Release);
    }

    /// What was told last to our places.
    pub(super) fn voice(&self) -> Voice {
        let [by, until, number] = [0, 1, 2].map(|word| self.voice_word(word).load(Ordering::Acquire));
        Voice { by, until: Instant::from_nanos(until), number }
    }

    /// All is told until now, by us, in so many alerts.
    pub(super) fn tells(&self, now: Instant, number: u64) {
        self.voice_word(2).store(number, Ordering::Release);
        self.voice_word(1).store(now.as_nanos(), Ordering::Release);
        self.voice_word(0).store(self.owner, Ordering::Release);
    }

    /// Whether nobody is there but us and the keeper.
    pub(super) fn is_last(&self, now: Instant, mates: &dyn Mates) -> bool {
        let others = self.present(now, mates).into_iter().filter(|(slot, _)| *slot != self.me);
        others.map(|(slot, _)| self.word(slot, CAME).load(Ordering::Acquire)).all(|came| came & KEEPER != 0)
    }

    /// We are going.
    pub(super) fn leave(&self) {
        self.word(self.me, OWNER).store(0, Ordering::Release);
    }
}
