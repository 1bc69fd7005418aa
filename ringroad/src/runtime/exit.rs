//! The end: closed connections deliver what they have, within a bounded time, and the port is given back.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

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

    /// The process ends: its sockets are closed, what they have left gets the configured time to go out, what
    /// is left then is reset; nothing is steered to us any more, and the port is another process's to take.
    /// Returning from `main` and `exit` call it; call it for other ends, after the last socket call. The
    /// runtime is gone then; a second call does nothing.
    pub fn exit(&self) {
        if self.lock_quietly().core().stopped {
            return;
        }
        let mut turn = self.lock();
        let now = turn.now();
        turn.core().leave(now);
        turn.stack().close_all(now);
        drop(turn);
        self.hand_over();
        if !self.drain(self.linger) {
            tracing::info!("closed connections had data left when the process ended");
        }
        self.last_words();
        let mut turn = self.lock();
        turn.app_polls();
        let now = turn.now();
        let core = turn.core();
        core.stack.reset_all(now);
        core.flush(now);
        core.steer.clear();
        core.stopped = true;
        if let Some(helper) = core.helper.take() {
            helper.ring();
        }
        drop(turn);
        CURRENT.store(std::ptr::null_mut(), Ordering::Release);
        let path = self.control_socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(path) = path {
            // Someone may have tidied up already.
            let _ = std::fs::remove_file(path);
        }
        drop(self.claimed.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
