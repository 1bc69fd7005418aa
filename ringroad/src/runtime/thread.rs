//! What each thread keeps from wait to wait.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bell::Bell;
use super::block::ppoll;
use super::watch::Watch;

/// Waits on the same descriptor before a ring is set up for it.
const WATCH_AFTER: u32 = 16;
/// While spinning without a ring, looks at the stack between two looks at the kernel.
const LOOKS: u32 = 16;

/// Counts forks: what a thread kept from before belongs to the parent.
static FORKS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static KEPT: Cell<Option<Box<Kept>>> = const { Cell::new(None) };
}

/// What a thread keeps from wait to wait.
pub(super) struct Kept {
    /// None when there was no descriptor left for it.
    pub(super) bell: Option<Bell>,
    pub(super) pays: SpinBudget,
    /// Reused for `ppoll`.
    pub(super) fds: Vec<libc::pollfd>,
    watch: Option<Watch>,
    watchable: bool,
    /// What the present wait may watch, by [`Wait::watch`](super::Wait::watch).
    token: Option<u64>,
    /// The token of the last wait, and how many waits in a row had it.
    last: (u64, u32),
    looks: u32,
    forks: u64,
}

impl Kept {
    /// Takes what the thread keeps; a wait inside a signal handler inside a wait gets its own.
    pub(super) fn take() -> Box<Self> {
        let forks = FORKS.load(Ordering::Relaxed);
        match KEPT.try_with(Cell::take).ok().flatten() {
            Some(mut kept) if kept.forks == forks => {
                kept.bell = kept.bell.or_else(|| Bell::new().ok());
                return kept;
            }
            // The ring and the eventfd are the parent's: neither use them nor undo anything of theirs.
            Some(kept) => std::mem::forget(kept),
            None => {}
        }
        Box::new(Self {
            bell: Bell::new().ok(),
            pays: SpinBudget::default(),
            fds: Vec::new(),
            watch: None,
            watchable: true,
            token: None,
            last: (0, 0),
            looks: 0,
            forks,
        })
    }

    /// Keeps it for the thread's next wait.
    pub(super) fn keep(self: Box<Self>) {
        let _ = KEPT.try_with(|kept| kept.set(Some(self)));
    }

    /// Asks the kernel descriptors, unless it is known that none is ready; fills in `revents`.
    pub(super) fn look(&mut self, kernel: &mut [libc::pollfd]) -> bool {
        if kernel.is_empty() || self.watch_of(kernel).is_some_and(|w| !w.hot()) {
            kernel.iter_mut().for_each(|k| k.revents = 0);
            return false;
        }
        let ready = ppoll(kernel, Some(Duration::ZERO), None).is_ok_and(|n| n > 0);
        if !ready && let Some(watch) = self.watch_of(kernel) {
            watch.cool();
        }
        ready
    }

    /// As [`Kept::look`], but seldom when each look is a system call.
    pub(super) fn glance(&mut self, kernel: &mut [libc::pollfd]) -> bool {
        if kernel.is_empty() {
            return false;
        }
        if self.watch_of(kernel).is_none() {
            self.looks += 1;
            if !self.looks.is_multiple_of(LOOKS) {
                return false;
            }
        }
        self.look(kernel)
    }

    /// A wait begins: watch its descriptor when it is always the same one.
    pub(super) fn begin(&mut self, token: Option<u64>, kernel: &[libc::pollfd]) {
        self.token = token;
        let (Some(token), [only]) = (token, kernel) else { return };
        if self.watch_of(kernel).is_some() || !self.watchable {
            return;
        }
        self.watch = None;
        self.last = (token, if self.last.0 == token { self.last.1 + 1 } else { 0 });
        if self.last.1 >= WATCH_AFTER {
            self.last.1 = 0;
            self.watch = Watch::new(token, only);
            self.watchable = self.watch.is_some();
        }
    }

    fn watch_of(&mut self, kernel: &[libc::pollfd]) -> Option<&mut Watch> {
        let (Some(token), [only]) = (self.token, kernel) else { return None };
        self.watch.as_mut().filter(|w| w.is_of(token, only))
    }
}

/// In the child after a fork.
pub(super) fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// How much of the spin budget is worth using: halved when a spin ended in sleep, doubled when it did not.
#[derive(Debug)]
pub(super) struct SpinBudget {
    /// The budget is shifted right by this.
    shift: u32,
    /// Waits without a spin since the last trial.
    idle: u32,
}

/// Beyond this shift there is no spinning at all.
const NO_SPIN: u32 = 4;
/// Every so many waits without a spin, one is tried.
const TRIAL: u32 = 64;

impl Default for SpinBudget {
    fn default() -> Self {
        Self { shift: 1, idle: 0 }
    }
}

impl SpinBudget {
    /// How long this wait may spin, of at most `full`.
    pub(super) fn next(&mut self, full: Duration) -> Duration {
        if self.shift < NO_SPIN {
            return full / (1 << self.shift);
        }
        self.idle += 1;
        if self.idle < TRIAL {
            return Duration::ZERO;
        }
        self.idle = 0;
        full / 2
    }

    /// The spin found what it waited for.
    pub(super) fn paid(&mut self) {
        self.shift = self.shift.min(NO_SPIN).saturating_sub(1);
    }

    /// It ended in sleep.
    pub(super) fn wasted(&mut self) {
        self.shift = (self.shift + 1).min(NO_SPIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinning_ends_when_it_does_not_pay_and_comes_back_when_it_does() {
        let full = Duration::from_micros(32);
        let mut budget = SpinBudget::default();
        let mut spins = Vec::new();
        for _ in 0..5 {
            spins.push(budget.next(full).as_micros());
            budget.wasted();
        }
        assert_eq!(spins, [16, 8, 4, 0, 0]);
        let trial = (0..TRIAL).map(|_| budget.next(full)).filter(|d| !d.is_zero()).count();
        assert_eq!(trial, 1);
        budget.paid();
        assert_eq!(budget.next(full).as_micros(), 4);
        (0..4).for_each(|_| budget.paid());
        assert_eq!(budget.next(full), full);
    }
}
