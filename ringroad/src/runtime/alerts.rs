//! What the gate refused comes to the desk, and what the desk has to say to those who are told.

use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use stack::policy::Refusal;
use stack::time::Instant;

use super::{Runtime, now};
use crate::alerts::{Board, Desk, Process, Seen, Sink, Sinks};
use crate::control::model::Alert;

/// The desk and the board.
pub(super) struct Alerts {
    desk: Desk,
    board: Board,
    /// Kept, so that it need not grow again.
    refusals: Vec<Refusal>,
}

impl Alerts {
    /// For this process; what is told goes to `sinks`, too.
    pub(super) fn new(sinks: &[Sink]) -> Self {
        let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let epoch = day - now().as_nanos() as f64 / 1e9;
        let command = std::fs::read_to_string("/proc/self/comm").unwrap_or_default().trim_end().to_owned();
        let desk = Desk::new(epoch, Process { pid: std::process::id(), command });
        Self { desk, board: Board::new(Sinks::open(sinks)), refusals: Vec::new() }
    }
}

impl Runtime {
    /// Takes what the gate refused, and tells what there is to tell. When there will be more at the latest.
    pub(super) fn hear(&self, now: Instant) -> Instant {
        self.gather(now, Desk::tell).desk.due()
    }

    /// The process ends: what was refused is told now, or never.
    pub(super) fn last_words(&self) {
        self.gather(now(), Desk::tell_all).board.close();
    }

    fn gather(
        &self,
        now: Instant,
        tell: impl Fn(&mut Desk, Instant) -> Vec<Alert>,
    ) -> std::sync::MutexGuard<'_, Alerts> {
        let mut alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        let Alerts { desk, board, refusals } = &mut *alerts;
        let mut turn = self.lock_quietly();
        turn.core().pulse.take_refused();
        let lost = turn.stack().take_refusals(refusals);
        let policy = Arc::clone(turn.stack().policy_in_force());
        drop(turn);
        let guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = lost + guards.take(|seen| desk.take(now, &seen));
        drop(guards);
        desk.lost(now, lost);
        self.tell_refusals(now, &policy, refusals);
        for refusal in refusals.drain(..) {
            desk.take(now, &Seen::new(&policy, &refusal));
        }
        for alert in tell(desk, now) {
            board.put(alert);
        }
        alerts
    }

    /// What was told lately.
    pub(crate) fn alerts(&self) -> Vec<Alert> {
        let alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        alerts.board.alerts().cloned().collect()
    }
}
