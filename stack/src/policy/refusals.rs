//! What the gate refused, and what rules permit that are logged: one entry a judgement, until somebody takes them away to
//! tell of them.

use std::collections::VecDeque;

use crate::types::{Direction, FlowKey};

/// Refusals that wait at the most; what comes beyond is counted.
const MOST: usize = 1024;

/// A flow that was refused, or would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The flow.
    pub key: FlowKey,
    /// Who began it.
    pub direction: Direction,
    /// The flags of the segment that would have begun a TCP connection to us.
    pub flags: Option<u8>,
    /// It was not refused at all: the rule that permits it is logged.
    pub permitted: bool,
    /// Its source had begun too many; else a rule, or none, refuses it.
    pub limited: bool,
    /// Whether it was dropped, or its table only monitors.
    pub dropped: bool,
    pub(super) row: u32,
}

/// Refusals in the order they came.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    ring: VecDeque<Refusal>,
    lost: u64,
}

impl Refusals {
    /// Makes the room, if there may be refusals at all: none is made on the way of a packet.
    pub(super) fn prepare(&mut self, needed: bool) {
        if needed && self.ring.capacity() < MOST {
            self.ring.reserve_exact(MOST);
        }
    }

    pub(super) fn push(&mut self, refusal: Refusal) {
        if self.ring.len() < MOST && self.ring.len() < self.ring.capacity() {
            self.ring.push_back(refusal);
        } else {
            self.lost += 1;
        }
    }

    /// Puts `refusal` in place of what was just said of the flow: that a logged rule permits it.
    pub(super) fn amend(&mut self, refusal: Refusal) {
        let same = |last: &&mut Refusal| last.permitted && (last.key, last.row) == (refusal.key, refusal.row);
        match self.ring.back_mut().filter(same) {
            Some(last) => *last = refusal,
            None => self.push(refusal),
        }
    }

    #[inline]
    pub(super) fn wait(&self) -> bool {
        !self.ring.is_empty()
    }

    /// Moves them to `into`; how many were lost since the last time.
    pub(super) fn take(&mut self, into: &mut Vec<Refusal>) -> u64 {
        into.extend(self.ring.drain(..));
        std::mem::take(&mut self.lost)
    }

    /// Their rows mean nothing any more.
    pub(super) fn forget(&mut self) {
        self.lost += self.ring.len() as u64;
        self.ring.clear();
    }
}
