//! The one place that waits.

use std::hint;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stack::time::Instant;

use super::block::{input, ppoll};
use super::signals::Blocked;
use super::sleepers::SleeperId;
use super::thread::Kept;
use super::{Runtime, Turn};
use crate::config::Call;

/// The longest sleep of a thread that could not make its bell: it has to look by itself.
const BLIND_SLEEP: Duration = Duration::from_millis(1);

/// How long to spin before blocking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spin {
    /// As the profile says, less while it does not pay.
    #[default]
    Profile,
    /// As it is set for this call, always; where nothing is, as the profile says.
    Of(Call),
    /// Not at all.
    Never,
    /// This long.
    For(Duration),
}

/// What a wait watches besides the stack.
#[derive(Default)]
pub struct Wait<'a> {
    /// Kernel descriptors; `revents` is filled in as `poll` does.
    pub kernel: &'a mut [libc::pollfd],
    /// A number that names the one descriptor in `kernel` for its life, and no other ever, when it is an epoll
    /// descriptor: waits in a row for it then cost no system call to look at it. Never for others: the watch
    /// holds the file open for some time after its descriptor is closed.
    pub watch: Option<u64>,
    /// When to give up, by the runtime's clock; `None`: never. A moment in the past: one look, no sleep.
    pub deadline: Option<Instant>,
    /// How long to spin.
    pub spin: Spin,
    /// The signal mask while blocked (`epoll_pwait`, `ppoll`).
    pub sigmask: Option<&'a libc::sigset_t>,
    /// The keys that wake this thread: those that the observer passes to
    /// [`Sleepers::notify`](super::Sleepers::notify).
    pub keys: &'a [u64],
    /// Counts the signal handlers run in this thread, when somebody counts: a change ends the wait, whether it
    /// spins or is about to block.
    pub handlers: Option<&'a AtomicU64>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited<R> {
    /// `ready` was satisfied. `revents` of the kernel descriptors are filled in too.
    Ready(R),
    /// Kernel descriptors are ready, `ready` is not satisfied.
    Kernel,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran (EINTR).
    Interrupted,
}

impl Runtime {
    /// Polls the interfaces and asks `ready` until it answers, a kernel descriptor is ready, the deadline has
    /// passed or a signal came. Looks at least once at everything. `ready` runs under the lock, once a turn,
    /// and must be quick.
    pub fn wait<R>(&self, wait: Wait<'_>, ready: impl FnMut(&mut Turn<'_>) -> Option<R>) -> Waited<R> {
        let handlers = wait.handlers.map_or(0, |h| h.load(Ordering::Relaxed));
        let mut waiting = Waiting { runtime: self, wait, kept: Kept::take(), id: None, handlers };
        let waited = waiting.run(ready);
        waiting.kept.keep();
        waited
    }

    /// The application closed a descriptor that was watched ([`Wait::watch`]): the threads drop what they keep
    /// of it when they next wait.
    pub fn forget_watched() {
        super::watch::forget();
    }
}

struct Waiting<'r, 'w> {
    runtime: &'r Runtime,
    wait: Wait<'w>,
    kept: Box<Kept>,
    /// Our place among the sleepers, once we slept.
    id: Option<SleeperId>,
    /// The count of signal handlers when the wait began.
    handlers: u64,
}

/// What a sleep brought.
enum Slept {
    /// Something of ours, or nothing.
    On,
    /// A kernel descriptor is ready.
    Kernel,
    /// A signal.
    Signal,
}

impl<'r> Waiting<'r, '_> {
    fn run<R>(&mut self, mut ready: impl FnMut(&mut Turn<'_>) -> Option<R>) -> Waited<R> {
        self.kept.begin(self.wait.watch, self.wait.kernel);
        let mut slept = None;
        let mut spin: Option<(Instant, Duration)> = None;
        loop {
            let mut turn = self.turn();
            turn.poll();
            let now = turn.now();
            if let Some(r) = ready(&mut turn) {
                self.leave(&mut turn);
                drop(turn);
                self.settle(spin, &slept);
                return Waited::Ready(r);
            }
            let over = self.wait.deadline.is_some_and(|d| d <= now);
            match slept {
                Some(Slept::Kernel) => return self.end(turn, Waited::Kernel),
                Some(Slept::Signal) => return self.end(turn, Waited::Interrupted),
                _ if over && slept.is_some() => return self.end(turn, Waited::TimedOut),
                _ => {}
            }
            let (since, budget) = *spin.get_or_insert_with(|| (now, self.budget()));
            if over || (slept.is_none() && now.since(since) < budget) {
                drop(turn);
                if let Some(waited) = self.look_aside(over) {
                    let turn = self.turn();
                    return self.end(turn, waited);
                }
                continue;
            }
            if slept.is_none() && !budget.is_zero() {
                self.kept.pays.wasted();
            }
            slept = Some(self.sleep(turn));
        }
    }

    /// The lock, for a thread that polls: a helper that leads is sent away, and our own bell silenced.
    fn turn(&mut self) -> Turn<'r> {
        let mut turn = self.runtime.lock();
        turn.app_polls();
        if let Some(id) = self.id
            && turn.core().woke(id)
            && let Some(bell) = &self.kept.bell
        {
            bell.quiet();
        }
        turn
    }

    fn budget(&mut self) -> Duration {
        if let Spin::Of(call) = self.wait.spin
            && let Some(set) = self.runtime.spins.of(call)
        {
            return set;
        }
        match self.wait.spin {
            Spin::Never => Duration::ZERO,
            Spin::For(d) => d,
            Spin::Of(_) | Spin::Profile if self.runtime.spin_always => self.runtime.spin,
            Spin::Of(_) | Spin::Profile => self.kept.pays.next(self.runtime.spin),
        }
    }

    /// Between two turns of a spin, or at its end when `over`: the kernel's descriptors, signals.
    fn look_aside<R>(&mut self, over: bool) -> Option<Waited<R>> {
        let kernel = &mut *self.wait.kernel;
        if if over { self.kept.look(kernel) } else { self.kept.glance(kernel) } {
            return Some(Waited::Kernel);
        }
        if over {
            return Some(Waited::TimedOut);
        }
        if self.was_interrupted() {
            return Some(Waited::Interrupted);
        }
        self.runtime.let_others_in();
        hint::spin_loop();
        None
    }

    /// Blocks until something happens.
    fn sleep(&mut self, mut turn: Turn<'_>) -> Slept {
        let now = turn.now();
        let mut until = self.wait.deadline.unwrap_or(Instant::NEVER);
        let kernel = self.wait.kernel.len();
        let fds = &mut self.kept.fds;
        fds.clear();
        fds.extend_from_slice(self.wait.kernel);
        if let Some(bell) = &self.kept.bell {
            let keys = self.wait.keys;
            let id = *self.id.get_or_insert_with(|| turn.sleepers().enter(bell.clone(), keys, false));
            // From here on whatever concerns us rings.
            turn.sleepers().sleep_until(id, until);
            fds.push(input(bell.raw()));
        } else {
            until = until.min(now + BLIND_SLEEP);
        }
        // What `ready` caused must not wait for company while we sleep.
        turn.flush();
        if self.id.is_none_or(|id| turn.sleepers().leads(id)) {
            turn.core().rest();
            until = until.min(turn.core().wake_at(now));
            fds.extend(turn.core().wait_fds().map(input));
        }
        if let Some(id) = self.id {
            turn.sleepers().sleep_until(id, until);
        }
        drop(turn);
        let timeout = (until != Instant::NEVER).then(|| until.since(now));
        // Between the last look at the count and the sleep nothing may slip in: signals are let through by
        // the sleep itself.
        let blocked = self.wait.handlers.map(|_| Blocked::all());
        if self.was_interrupted() {
            return Slept::Signal;
        }
        let mask = self.wait.sigmask.or(blocked.as_ref().map(Blocked::before));
        let result = ppoll(&mut self.kept.fds, timeout, mask);
        self.after(result, kernel)
    }

    fn was_interrupted(&self) -> bool {
        self.wait.handlers.is_some_and(|h| h.load(Ordering::Relaxed) != self.handlers)
    }

    fn after(&mut self, result: io::Result<usize>, kernel: usize) -> Slept {
        if let Err(e) = result {
            return if e.kind() == io::ErrorKind::Interrupted { Slept::Signal } else { Slept::On };
        }
        let mut ready = false;
        for (theirs, ours) in self.wait.kernel.iter_mut().zip(&self.kept.fds[..kernel]) {
            theirs.revents = ours.revents;
            ready |= ours.revents != 0;
        }
        if ready { Slept::Kernel } else { Slept::On }
    }

    fn end<R>(&mut self, mut turn: Turn<'_>, waited: Waited<R>) -> Waited<R> {
        self.leave(&mut turn);
        waited
    }

    fn leave(&mut self, turn: &mut Turn<'_>) {
        turn.app_goes();
        if let Some(id) = self.id.take()
            && turn.sleepers().leave(id)
            && let Some(bell) = &self.kept.bell
        {
            bell.quiet();
        }
    }

    /// The stack is ready: note whether spinning paid, and what the kernel's descriptors say.
    fn settle(&mut self, spin: Option<(Instant, Duration)>, slept: &Option<Slept>) {
        match slept {
            None if spin.is_some() => self.kept.pays.paid(),
            _ => {}
        }
        if !matches!(slept, Some(Slept::Kernel)) {
            self.kept.look(self.wait.kernel);
        }
    }
}
