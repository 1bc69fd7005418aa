//! What the helper reads without the lock, so that it never holds the application up.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use stack::journal::News;
use stack::time::Instant;

/// A descriptor, and what to call when it is readable.
type Guest = (RawFd, fn());

/// Something that the helper does once.
type Work = Box<dyn FnOnce() + Send>;

/// Signs of life of the application.
#[derive(Default)]
pub(crate) struct Pulse {
    /// When it last polled, in nanoseconds of the stack's clock.
    polled: AtomicU64,
    /// Since when frames wait for the doorbell; zero: none do.
    held: AtomicU64,
    /// The stack asked for something that the helper does.
    asked: AtomicBool,
    /// Connections are on their way to other processes, or from them.
    moving: AtomicBool,
    /// Held while the helper buries the dead. True: it does so no more.
    burials_over: Mutex<bool>,
    /// What the helper attends to besides.
    guest: Mutex<Option<Guest>>,
    /// What the helper is to do next.
    work: Mutex<Vec<Work>>,
    /// The gate refused something.
    refused: AtomicBool,
    /// What waits to be told of flows.
    news: AtomicU8,
    /// The steering programs keep packets out by themselves.
    watches: AtomicBool,
    /// When to look who has the connections open that are kept for others, in nanoseconds; zero: never.
    looks: AtomicU64,
    /// When a pump has something to do, in nanoseconds; zero: none has, as far as is known.
    pumps: AtomicU64,
    /// Readable when something has happened to one.
    crew: OnceLock<RawFd>,
}

/// A moment in one word, which says never where it is zero.
fn word(when: Instant) -> u64 {
    if when == Instant::NEVER { 0 } else { when.as_nanos().max(1) }
}

/// The moment that a word says.
fn moment(word: u64) -> Instant {
    if word == 0 { Instant::NEVER } else { Instant::from_nanos(word) }
}

impl Pulse {
    /// The application polls.
    #[inline]
    pub(super) fn polls(&self, now: Instant) {
        self.polled.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Whether it has not polled for `time`.
    pub(super) fn absent(&self, now: Instant, time: Duration) -> bool {
        now.since(Instant::from_nanos(self.polled.load(Ordering::Relaxed))) >= time
    }

    /// Frames wait for the doorbell, the oldest since then.
    #[inline]
    pub(super) fn holds(&self, since: Instant) {
        self.held.store(since.as_nanos().max(1), Ordering::Relaxed);
    }

    /// None wait any more.
    #[inline]
    pub(super) fn holds_none(&self) {
        self.held.store(0, Ordering::Relaxed);
    }

    /// Whether frames have waited for `time`.
    pub(super) fn overdue(&self, now: Instant, time: Duration) -> bool {
        match self.held.load(Ordering::Relaxed) {
            0 => false,
            since => now.since(Instant::from_nanos(since)) >= time,
        }
    }

    /// Connections go to other processes or come from them, which the helper sees to, or no longer.
    pub(super) fn moves(&self, on: bool) {
        self.moving.store(on, Ordering::Release);
    }

    /// Whether they do.
    pub(super) fn is_moving(&self) -> bool {
        self.moving.load(Ordering::Acquire)
    }

    /// The helper buries who has died, and tells their peers; none where the process ends: others do.
    pub(super) fn burial(&self) -> Option<MutexGuard<'_, bool>> {
        Some(self.burials_over.lock().unwrap_or_else(PoisonError::into_inner)).filter(|over| !**over)
    }

    /// The process ends, but not in the middle of a burial: what it had found nobody else would find again.
    pub(super) fn end_burials(&self) {
        *self.burials_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// What the helper is to call whenever a descriptor is readable.
    pub(super) fn set_guest(&self, fd: RawFd, attend: fn()) {
        *self.guest.lock().unwrap_or_else(PoisonError::into_inner) = Some((fd, attend));
    }

    /// That descriptor, and what to call.
    pub(super) fn guest(&self) -> Option<Guest> {
        *self.guest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The helper is to do this next, when its bell rings.
    pub(super) fn give(&self, work: impl FnOnce() + Send + 'static) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(work));
    }

    /// What it was given.
    pub(super) fn take_work(&self) -> Vec<Work> {
        std::mem::take(&mut self.work.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The gate refused something. Whether it had not since the last time somebody looked.
    #[inline]
    pub(super) fn refuses(&self) -> bool {
        !self.refused.load(Ordering::Relaxed) && !self.refused.swap(true, Ordering::AcqRel)
    }

    /// Whether it has.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Somebody looks.
    pub(super) fn take_refused(&self) {
        self.refused.store(false, Ordering::Release);
    }

    /// There is something to tell of flows. Whether there was less since the last time somebody looked.
    #[inline]
    pub(super) fn stirs(&self, news: News) -> bool {
        self.news.load(Ordering::Relaxed) < news as u8
            && self.news.swap(news as u8, Ordering::AcqRel) < news as u8
    }

    /// What there is.
    pub(super) fn news(&self) -> News {
        match self.news.load(Ordering::Relaxed) {
            0 => News::None,
            1 => News::Some,
            _ => News::Much,
        }
    }

    /// Somebody looks.
    pub(super) fn take_news(&self) {
        self.news.store(News::None as u8, Ordering::Release);
    }

    /// The steering programs keep packets out, which nobody else hears of; or no longer.
    pub(super) fn watches(&self, on: bool) {
        self.watches.store(on, Ordering::Release);
    }

    /// Whether they do.
    pub(super) fn is_watching(&self) -> bool {
        self.watches.load(Ordering::Acquire)
    }

    /// When to look next who has connections open that are kept for others.
    pub(super) fn looks_at(&self, when: Instant) {
        self.looks.store(word(when), Ordering::Release);
    }

    /// The same, unless it is due before: that is not put off.
    pub(super) fn looks_by(&self, when: Instant) {
        self.looks_at(self.wards_due().min(when));
    }

    /// When that is.
    pub(super) fn wards_due(&self) -> Instant {
        moment(self.looks.load(Ordering::Acquire))
    }

    /// Where it is told that something has happened to a pump, from now on.
    pub(super) fn set_crew(&self, fd: RawFd) {
        // There is one for all.
        let _ = self.crew.set(fd);
    }

    /// The same; -1 while there are no pumps.
    pub(super) fn crew(&self) -> RawFd {
        self.crew.get().copied().unwrap_or(-1)
    }

    /// When a pump has something to do. To be said under the runtime's lock.
    pub(super) fn pumps_at(&self, when: Instant) {
        self.pumps.store(word(when), Ordering::Release);
    }

    /// When that is.
    pub(super) fn pumps_due(&self) -> Instant {
        moment(self.pumps.load(Ordering::Acquire))
    }

    /// The helper has something to do.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// Whether it had.
    pub(super) fn take_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_is_due_is_not_put_off() {
        let pulse = Pulse::default();
        let at = Instant::from_millis;
        pulse.looks_by(at(7));
        pulse.looks_by(at(9));
        assert_eq!(pulse.wards_due(), at(7));
        pulse.looks_by(at(6));
        assert_eq!(pulse.wards_due(), at(6));
        pulse.looks_at(Instant::NEVER);
        assert_eq!(pulse.wards_due(), Instant::NEVER);
    }

    #[test]
    fn frames_are_overdue_only_while_they_are_held() {
        let pulse = Pulse::default();
        let (start, limit) = (Instant::from_millis(5), Duration::from_micros(500));
        assert!(!pulse.overdue(start, limit));
        pulse.holds(start);
        assert!(!pulse.overdue(start + Duration::from_micros(499), limit));
        assert!(pulse.overdue(start + limit, limit));
        pulse.holds_none();
        assert!(!pulse.overdue(start + limit, limit));
    }

    #[test]
    fn a_request_is_taken_once() {
        let pulse = Pulse::default();
        assert!(!pulse.take_asked());
        pulse.ask();
        assert!(pulse.take_asked() && !pulse.take_asked());
    }
}
