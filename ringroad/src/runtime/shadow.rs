//! Whom the policy marks is recorded in full, where there is a place for it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use stack::engine::TapId;
use stack::policy::Marked;

use super::Runtime;
use crate::capture::Capture;
use crate::flows::Place;
use crate::shadow::{Recording, split};

/// What is recorded.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    place: Option<Place>,
    under_way: Option<UnderWay>,
    /// The process ends: nothing is begun any more.
    over: bool,
}

/// A recording that nobody looks on for yet.
struct Made {
    marked: Arc<Marked>,
    /// Where records of flows go.
    flows: Place,
    recording: Recording,
    tap: Capture,
}

#[derive(Debug)]
struct UnderWay {
    marked: Arc<Marked>,
    tap: TapId,
    recording: Recording,
}

impl Shadow {
    /// Records go to `place`.
    pub(super) fn new(place: Option<&Place>) -> Self {
        Self { place: place.cloned(), ..Self::default() }
    }

    /// Whether there is nothing to change for those to be recorded.
    fn follows(&self, marked: Option<&Arc<Marked>>) -> bool {
        self.over || self.under_way.as_ref().map(|under_way| &under_way.marked) == marked
    }
}

impl Runtime {
    fn shadow(&self) -> MutexGuard<'_, Shadow> {
        self.shadow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records whom the policy in force marks, and nobody else.
    pub(super) fn follow_marks(&self) {
        loop {
            let policy = Arc::clone(self.lock_quietly().stack().policy_in_force());
            let marked = policy.marked();
            let shadow = self.shadow();
            if shadow.follows(marked) {
                return;
            }
            let place = shadow.place.clone();
            drop(shadow);
            // Its memory takes a while to be there: nobody waits for that.
            let made = marked.and_then(|marked| self.make(place, marked));
            let mut shadow = self.shadow();
            if shadow.follows(marked) {
                return;
            }
            if self.lock_quietly().stack().policy_in_force().marked() != marked {
                continue;
            }
            let next = made.map(|made| self.record(made));
            if next.is_none() {
                self.mark_flows(None);
            }
            // Its thread writes what there is, and ends.
            if let Some(before) = std::mem::replace(&mut shadow.under_way, next) {
                drop(self.look_away(before));
            }
            return;
        }
    }

    fn make(&self, place: Option<Place>, marked: &Arc<Marked>) -> Option<Made> {
        let Some(place) = place else {
            tracing::warn!(
                "the policy has flows recorded (shadow), but RINGROAD_SHADOW says nowhere where to"
            );
            return None;
        };
        let (packets, flows) = split(&place);
        let begun = Recording::begin(packets, Arc::clone(marked), self.roads(), Arc::clone(&self.unrecorded));
        let (recording, tap) =
            begun.inspect_err(|error| tracing::warn!(%error, "marked flows are not recorded")).ok()?;
        Some(Made { marked: Arc::clone(marked), flows, recording, tap })
    }

    fn record(&self, made: Made) -> UnderWay {
        let Made { marked, flows, recording, tap } = made;
        let tap = self.tap(Box::new(tap));
        self.mark_flows(Some((flows, Arc::clone(&marked))));
        UnderWay { marked, tap, recording }
    }

    /// Nobody looks on for a recording any more.
    fn look_away(&self, under_way: UnderWay) -> Recording {
        // Its memory is given back where nobody waits for the lock.
        drop(self.untap(under_way.tap));
        under_way.recording
    }

    /// The process ends: what is not written now never will be.
    pub(super) fn last_shadow(&self) {
        let mut shadow = self.shadow();
        shadow.over = true;
        let under_way = shadow.under_way.take();
        drop(shadow);
        if let Some(under_way) = under_way {
            self.look_away(under_way).close();
        }
    }

    /// Packets of marked flows that are in no file.
    pub(super) fn unrecorded(&self) -> u64 {
        self.unrecorded.load(Ordering::Relaxed)
    }
}
