//! What the gate refused comes to the office, and from there to those who are told.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use af_xdp::Slot;
use stack::policy::Refusal;
use stack::time::Instant;

use super::{Runtime, handover, now};
use crate::alerts::{Mates, Me, Office, Process, Seen, Shared, Sink, Sinks};
use crate::control::model::Alert;
use crate::port::Post;

/// The office, and the way to those of the other processes.
pub(super) struct Alerts {
    office: Office,
    mates: Neighbours,
    /// Kept, so that it need not grow again.
    refusals: Vec<Refusal>,
}

/// The other processes of the port, where there may be some.
struct Neighbours(Option<Post>);

impl Mates for Neighbours {
    fn is_home(&self, slot: Slot, owner: u64) -> bool {
        self.0.as_ref().is_some_and(|post| post.is_home(slot, owner))
    }

    fn call(&self, slot: Slot) -> bool {
        self.0.as_ref().is_some_and(|post| post.send(slot, &[handover::SEEN, 0]).is_ok())
    }
}

impl Alerts {
    /// For this process; what it tells goes to `sinks`, too.
    pub(super) fn new(sinks: &[Sink], shared: Shared, me: Me, post: Option<Post>) -> Self {
        let day = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let epoch = day - now().as_nanos() as f64 / 1e9;
        let command = std::fs::read_to_string("/proc/self/comm").unwrap_or_default().trim_end().to_owned();
        let process = Process { pid: std::process::id(), command };
        let opened = Sinks::open(sinks);
        let number = if opened.is_some() { number_of(sinks) } else { 0 };
        let office = Office::new(shared, me, (opened, number), epoch, process);
        Self { office, mates: Neighbours(post), refusals: Vec::new() }
    }
}

/// What the same places have in common in every process.
fn number_of(sinks: &[Sink]) -> u64 {
    let mut hasher = DefaultHasher::new();
    sinks.hash(&mut hasher);
    hasher.finish().max(1)
}

impl Runtime {
    /// Takes what the gate refused, and tells what there is to tell. When there will be more at the latest.
    pub(super) fn hear(&self, now: Instant) -> Instant {
        let mut alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(alerts) = &mut *alerts else { return Instant::NEVER };
        let news = self.gather(now, alerts);
        alerts.office.hear(now, news, &alerts.mates)
    }

    /// The process ends: what was refused is told now, or by others.
    pub(super) fn last_words(&self) {
        let alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut alerts) = alerts else { return };
        let now = now();
        self.gather(now, &mut alerts);
        alerts.office.close(now, &alerts.mates);
    }

    /// Takes what this process saw to the log of all. Whether there was something.
    fn gather(&self, now: Instant, alerts: &mut Alerts) -> bool {
        let Alerts { office, refusals, .. } = alerts;
        let mut turn = self.lock_quietly();
        turn.core().pulse.take_refused();
        let mut lost = turn.stack().take_refusals(refusals);
        let policy = Arc::clone(turn.stack().policy_in_force());
        drop(turn);
        let mut refused: Vec<Seen> =
            refusals.drain(..).map(|refusal| Seen::new(office.process(), &policy, &refusal)).collect();
        let guards = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        lost += guards.take(|seen| refused.push(seen));
        drop(guards);
        self.tell_refusals(now, &refused);
        let mut seen: HashMap<Seen, u64> = HashMap::new();
        refused.into_iter().for_each(|one| *seen.entry(one.without_chance()).or_default() += 1);
        let news = lost > 0 || !seen.is_empty();
        office.lost(now, lost);
        seen.into_iter().for_each(|(one, count)| office.saw(now, one, count));
        news
    }

    /// What was told lately, if this process is the one that tells.
    pub(crate) fn alerts(&self) -> Vec<Alert> {
        let now = now();
        if self.hear(now) != Instant::NEVER {
            // When there will be more was said to us: the helper has to be told, too.
            self.lock_quietly().core().refuses();
        }
        let alerts = self.alerts.lock().unwrap_or_else(PoisonError::into_inner);
        alerts.as_ref().map(|alerts| alerts.office.told(now, &alerts.mates)).unwrap_or_default()
    }
}
