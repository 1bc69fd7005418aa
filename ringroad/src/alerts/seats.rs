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
/// Words of a voice, by place: for which places it is; who told last, until when all is told, and how many alerts there were.
const VOICE: usize = 4;
const PLACES: usize = 0;
const TOLD: [usize; 3] = [1, 2, 3];
/// Words of all.
pub(crate) const WORDS: usize = ARRIVALS + 1;
const VOICES: usize = SLOTS * SEAT;
const ARRIVALS: usize = VOICES + SLOTS * VOICE;
/// Who keeps the port is younger than everybody.
const KEEPER: u64 = 1 << 63;
/// In the place of where alerts go: nowhere.
const NOWHERE: u64 = u64::MAX;
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

/// One that has a seat: the eldest is the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sitter {
    came: u64,
    slot: u8,
    owner: u64,
    sinks: u64,
}

/// Our seat among them.
#[derive(Debug)]
pub(super) struct Seat {
    words: &'static [AtomicU64],
    me: u8,
    owner: u64,
    sinks: u64,
    /// The words of the voice for our places.
    voice: &'static [AtomicU64],
}

impl Seat {
    /// Takes the seat of slot `me` for the process that `owner` names; `sinks`: where its alerts go, 0 for nowhere.
    pub(super) fn take(words: &'static [AtomicU64], (me, owner): (u8, u64), keeps: bool, sinks: u64) -> Self {
        let seat = Self { words, me, owner, sinks, voice: voice_for(words, sinks) };
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

    /// The process that we sit here for.
    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    fn hears(&self, slot: u8, now: Instant) -> bool {
        let rung = self.word(slot, RUNG).load(Ordering::Acquire);
        slot == self.me || rung == 0 || now.since(Instant::from_nanos(rung)) < DEAF
    }

    /// Those who have a seat, the eldest first. Whether one is there still takes a look at its process, which is dear:
    /// only those are looked at whom it depends on.
    fn seated(&self) -> Vec<Sitter> {
        let of = |slot: u8| {
            let said = |word| self.word(slot, word).load(Ordering::Acquire);
            let (owner, came, sinks) = (said(OWNER), said(CAME), said(SINKS));
            (owner != 0).then_some(Sitter { came, slot, owner, sinks })
        };
        let mut all: Vec<_> = (0..SLOTS as u8).filter_map(of).collect();
        all.sort_unstable();
        all
    }

    fn is_there(&self, one: &Sitter, now: Instant, mates: &dyn Mates) -> bool {
        match one.slot == self.me {
            true => one.owner == self.owner,
            false => self.hears(one.slot, now) && mates.is_home(one.slot, one.owner),
        }
    }

    /// What we are to do.
    pub(super) fn role(&self, now: Instant, mates: &dyn Mates) -> Role {
        let seated = self.seated();
        let mut there = seated.iter().filter(|one| self.is_there(one, now, mates));
        let Some(first) = there.next().filter(|one| one.slot != self.me) else { return Role::Speaks };
        let is_same = |one: &&Sitter| one.sinks == self.sinks;
        if self.sinks == 0 || is_same(&first) {
            return Role::Silent;
        }
        let same = seated.iter().filter(is_same).find(|one| self.is_there(one, now, mates));
        if same.is_some_and(|one| one.slot == self.me) { Role::Writes } else { Role::Silent }
    }

    /// Has those look who tell. Whether somebody has yet to.
    pub(super) fn ring(&self, now: Instant, mates: &dyn Mates) -> bool {
        let (mut told, mut rung) = (Vec::new(), false);
        for one in self.seated() {
            let matters = told.is_empty() || one.sinks != 0 && !told.contains(&one.sinks);
            if !matters || !self.is_there(&one, now, mates) {
                continue;
            }
            told.push(one.sinks);
            if one.slot == self.me {
                continue;
            }
            rung = true;
            let since = now.as_nanos().max(1);
            let word = self.word(one.slot, RUNG);
            if word.compare_exchange(0, since, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                // Whose box is full looks anyway, or is passed over.
                mates.call(one.slot);
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
        let [by, until, number] = TOLD.map(|word| self.voice[word].load(Ordering::Acquire));
        Voice { by, until: Instant::from_nanos(until), number }
    }

    /// All is told until now, by us, in so many alerts.
    pub(super) fn tells(&self, now: Instant, number: u64) {
        let [by, until, told] = TOLD.map(|word| &self.voice[word]);
        told.store(number, Ordering::Release);
        until.store(now.as_nanos(), Ordering::Release);
        by.store(self.owner, Ordering::Release);
    }

    /// Whether nobody is there but us and the keeper.
    pub(super) fn is_last(&self, now: Instant, mates: &dyn Mates) -> bool {
        let is_other = |one: &Sitter| one.slot != self.me && one.came & KEEPER == 0;
        !self.seated().iter().any(|one| is_other(one) && self.is_there(one, now, mates))
    }

    /// We are going.
    pub(super) fn leave(&self) {
        self.word(self.me, OWNER).store(0, Ordering::Release);
    }
}

/// The voice for these places, of which no others have it: the first one free from where their number leads.
fn voice_for(words: &'static [AtomicU64], sinks: u64) -> &'static [AtomicU64] {
    let places = if sinks == 0 { NOWHERE } else { sinks };
    let from = places as usize % SLOTS;
    let of = |n: usize| &words[VOICES + (from + n) % SLOTS * VOICE..][..VOICE];
    let is_ours = |voice: &&[AtomicU64]| {
        let taken = voice[PLACES].compare_exchange(0, places, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok() || taken == Err(places)
    };
    // There may have been more than have room in the life of a port.
    (0..SLOTS).map(of).find(is_ours).unwrap_or_else(|| of(0))
}
