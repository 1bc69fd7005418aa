//! A process's part in telling of what the gates of its port see: it appends what its own saw to the log of all, and where
//! the telling is its, reads that to its desk. Who takes the telling over from another reads again what there was, and goes
//! on where that one stopped.

use std::sync::atomic::AtomicU64;

use stack::time::Instant;

use super::board::Board;
use super::desk::{Desk, Process, Seen};
use super::log::{Entry, Log, Reader};
use super::seats::{DEAF, Mates, Role, Seat};
use super::sinks::Sinks;
use crate::control::model::Alert;

/// The memory that the processes of a port share for it: what they saw, and who they are. All zero at first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    pub(crate) log: &'static [AtomicU64],
    pub(crate) seats: &'static [AtomicU64],
}

/// Who we are: the slot of the port, the word of its owner, and whether we keep the port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Me {
    pub(crate) slot: u8,
    pub(crate) owner: u64,
    pub(crate) keeps: bool,
}

/// The telling.
#[derive(Debug)]
struct Telling {
    reader: Reader,
    desk: Desk,
    /// Until then another told.
    until: Instant,
    /// When what was read last was seen.
    latest: Instant,
}

/// This process's part.
#[derive(Debug)]
pub(crate) struct Office {
    log: Log,
    seat: Seat,
    board: Board,
    /// While the telling is ours.
    telling: Option<Telling>,
    /// The time of day, in seconds, when the clock was zero.
    epoch: f64,
    process: Process,
}

impl Office {
    /// `sinks`: where our alerts go, with a number for those places, 0 for none.
    pub(crate) fn new(
        shared: Shared,
        me: Me,
        (sinks, number): (Option<Sinks>, u64),
        epoch: f64,
        process: Process,
    ) -> Self {
        let seat = Seat::take(shared.seats, (me.slot, me.owner), me.keeps, number);
        Self { log: Log::new(shared.log), seat, board: Board::new(sinks), telling: None, epoch, process }
    }

    /// Whose gate ours is.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Our gate saw something, so often.
    pub(crate) fn saw(&self, at: Instant, seen: Seen, count: u64) {
        self.log.append(&Entry { at, count, seen: Some(seen) });
    }

    /// There was more than it could show.
    pub(crate) fn lost(&self, at: Instant, count: u64) {
        if count > 0 {
            self.log.append(&Entry { at, count, seen: None });
        }
    }

    /// Tells what there is to tell, or has those told who do; `news`: something was appended. When to look again.
    pub(crate) fn hear(&mut self, now: Instant, news: bool, mates: &dyn Mates) -> Instant {
        self.seat.looks();
        let role = self.seat.role(now, mates);
        let awaits = match (news, role != Role::Silent) {
            (true, _) => self.seat.ring(now, mates),
            (false, true) => false,
            (false, false) => self.seat.awaits(mates),
        };
        // Who does not look is passed over then.
        let again = if awaits { now + DEAF } else { Instant::NEVER };
        if role == Role::Silent {
            self.telling = None;
            return again;
        }
        let voice = self.seat.voice();
        if voice.by != self.seat.owner() || self.telling.is_none() {
            // Somebody else told until now.
            self.board.begin(voice.number);
            let desk = Desk::new(self.epoch, self.process.clone());
            let (reader, until) = (self.log.reader(), voice.until.min(now));
            self.telling = Some(Telling { reader, desk, until, latest: Instant::ZERO });
        }
        let Some(telling) = &mut self.telling else { return again };
        let due = telling.read(&self.log, &mut self.board, now);
        self.seat.tells(now, self.board.number());
        again.min(due)
    }

    /// We are going. What nobody else would tell is told now.
    pub(crate) fn close(&mut self, now: Instant, mates: &dyn Mates) {
        let last = self.seat.is_last(now, mates);
        self.hear(now, true, mates);
        if let Some(telling) = self.telling.as_mut().filter(|_| last) {
            telling.desk.tell_all(now).into_iter().for_each(|alert| self.board.put(alert));
        }
        self.seat.leave();
        if last {
            self.log.close();
        } else {
            self.seat.ring(now, mates);
        }
        self.board.close();
    }

    /// What was told lately, oldest first, if it is ours to say.
    pub(crate) fn told(&self, now: Instant, mates: &dyn Mates) -> Vec<Alert> {
        let speaks = self.seat.role(now, mates) == Role::Speaks;
        self.board.alerts().filter(|_| speaks).cloned().collect()
    }
}

impl Telling {
    /// Takes what is new in the log to the desk, and what that says to the board, each at its time: what another has told
    /// of is remembered, and no news. When there is more to say at the latest.
    fn read(&mut self, log: &Log, board: &mut Board, now: Instant) -> Instant {
        let mut left = log.records();
        while left > 0
            && let Some(entry) = self.reader.next(log, now)
        {
            left -= 1;
            // Whatever a clock or a word of another says: it is over, and nothing was seen before what was read already.
            self.latest = entry.at.min(now).max(self.latest);
            self.tell_until(self.latest, board);
            match &entry.seen {
                Some(seen) => self.desk.take(self.latest, seen, entry.count),
                None => self.desk.lost(self.latest, entry.count),
            }
        }
        self.desk.lost(now, self.reader.missed(log));
        // Of very much the rest is read with the next look.
        let (until, again) = if left == 0 { (self.latest, now) } else { (now, self.reader.due()) };
        self.tell_until(until, board);
        again.min(self.desk.due())
    }

    /// What is said is said at its time, however late it is looked for: who reads the log again says the same.
    fn tell_until(&mut self, moment: Instant, board: &mut Board) {
        while self.desk.due() <= moment {
            let due = self.desk.due();
            let say = if due <= self.until { Board::recall } else { Board::put };
            self.desk.tell(due).into_iter().for_each(|alert| say(board, alert));
        }
    }
}
