//! The end: closed connections deliver what they have, within a bounded time, and the port is given back.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stack::time::Instant;

use super::{CURRENT, Runtime, Spin, Wait};

/// How long a process that ends waits for others to take what it has not accepted.
const TAKING: Duration = Duration::from_secs(1);
/// How often it looks whether they have.
const LOOK: Duration = Duration::from_millis(1);

impl Runtime {
    /// Waits until closed connections have delivered their data and their FIN, `limit` at most. True when
    /// nothing is left.
    pub fn drain(&self, limit: Duration) -> bool {
        let deadline = Some(self.now() + limit);
        let wait = Wait { deadline, spin: Spin::Never, ..Wait::default() };
        let waited = self.wait(wait, |turn| (!turn.stack().busy()).then_some(()));
        matches!(waited, super::Waited::Ready(()))
    }

    /// Waits a little until others have taken what the process has not accepted.
    fn hand_over(&self) {
        let until = self.now() + TAKING;
        loop {
            let mut turn = self.lock_quietly();
            turn.poll();
            let now = turn.now();
            let core = turn.core();
            core.read_letters(now);
            core.hand_over(now);
            if now >= until || !core.is_handing_over() {
                return;
            }
            drop(turn);
            std::thread::sleep(LOOK);
        }
    }

    /// Gives the keeper what is nobody's any more. Where there is none, or its box stays full for a moment, it stays.
    fn bequeath(&self) {
        let until = self.now() + self.linger.min(TAKING);
        let is_full = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        while self.hand_to_keeper().is_err_and(is_full) && self.awaits_room(until) {}
    }

    /// Puts what is nobody's into the keeper's box.
    fn hand_to_keeper(&self) -> io::Result<()> {
        let mut turn = self.lock_quietly();
        turn.flush();
        let now = turn.now();
        let result = turn.core().bequeath(now);
        turn.flush();
        result
    }

    /// Waits for room in the keeper's box. False when there is none in time: then all stays here.
    fn awaits_room(&self, until: Instant) -> bool {
        let Some(door) = self.lock_quietly().core().keepers_door() else { return false };
        let left = until.since(self.now());
        // Poll may say that there is room where there is none.
        if left.is_zero() {
            return false;
        }
        let left = Timespec::try_from(left).unwrap_or_default();
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&door, PollFlags::OUT)], Some(&left)))
            .is_ok_and(|ready| ready > 0)
    }

    /// This process may have had another runtime, before it was executed as this program: what that left and nobody has
    /// taken since is over, and its peers are told.
    pub fn bury_former(&self) {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(claimed) = claimed.as_ref() else { return };
        let flows = claimed.bury_former();
        if !flows.is_empty() {
            self.lock_quietly().core().deserted.extend(flows);
            claimed.ring();
        }
    }

    /// Whether the keeper has nothing left to do for anybody.
    pub(crate) fn is_over(&self) -> bool {
        let mut turn = self.lock_quietly();
        let now = turn.now();
        let over = turn.core().is_over(now);
        turn.flush();
        over
    }

    /// The process ends: its sockets are closed; what they have left is the keeper's to deliver. Where there is no
    /// keeper it gets the configured time to go out, and what is left then is reset; nothing is steered to us any more, and the port is another process's to take.
    /// Returning from `main` and `exit` call it; call it for other ends, after the last socket call. The
    /// runtime is gone then; a second call does nothing.
    pub fn exit(&self) {
        if self.lock_quietly().core().stopped {
            return;
        }
        let pulse = Arc::clone(&self.lock_quietly().core().pulse);
        pulse.end_burials();
        let mut turn = self.lock();
        let now = turn.now();
        turn.core().leave(now);
        turn.stack().close_all(now);
        drop(turn);
        self.hand_over();
        self.bequeath();
        if !self.drain(self.linger) {
            let connections = self.lock_quietly().stack().orphaned().len();
            tracing::info!(
                connections,
                "closed connections had data left when the process ended: they are reset"
            );
        }
        self.last_words();
        let mut turn = self.lock();
        turn.app_polls();
        let now = turn.now();
        let core = turn.core();
        // Meanwhile others may have written, and who was steered here before the end may have begun.
        core.read_letters(now);
        core.hand_over(now);
        core.stack.reset_all(now);
        core.flush(now);
        if let Err(error) = core.bequeath_departed() {
            tracing::debug!(%error, "connections that are on their way have nobody who is silent about them");
        }
        core.steer.clear();
        core.stopped = true;
        core.links.iter_mut().for_each(|link| link.nic.stop());
        // Our ends are those of whoever takes the slot next.
        core.mates = None;
        if let Some(helper) = core.helper.take() {
            helper.ring();
        }
        drop(turn);
        self.last_flows();
        self.last_shadow();
        CURRENT.store(std::ptr::null_mut(), Ordering::Release);
        let path = self.control_socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(path) = path {
            // Someone may have tidied up already.
            let _ = std::fs::remove_file(path);
        }
        drop(self.claimed.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
