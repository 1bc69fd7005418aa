//! Connections that died with the stack of another process: their peers are made to show themselves, and are reset. Who
//! was reset is asked once more: when it answers that there is no connection any more, its flow is free.

use std::collections::HashMap;

use super::Stack;
use crate::ip::Flow;
use crate::tcp::reset;
use crate::time::Instant;
use crate::types::{Direction, FlowKey, Protocol, VerdictMemo};
use crate::wire::tcp::{Flags, Segment};

/// Flows whose peers are being told.
#[derive(Debug, Default)]
pub(super) struct Bereaved(HashMap<FlowKey, Told>);

impl Bereaved {
    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// What a peer has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// It was reset, and has been asked whether it knows.
    Reset,
}

impl Stack {
    /// The stack of another process died with connections: has their peer show itself, so that it is told.
    /// Flows that are no TCP connection, or are one here, are left alone. What left for the dead one is silent no longer.
    pub fn provoke(&mut self, now: Instant, key: FlowKey) {
        if key.protocol == Protocol::Tcp && !self.is_taken(&key) {
            self.departed.forget(&key);
            self.bereaved.0.entry(key).or_insert(Told::Nothing);
            self.ask(now, key);
        }
    }

    fn ask(&mut self, now: Instant, key: FlowKey) {
        let mut flow = Flow::new(key, Direction::In);
        flow.memo = VerdictMemo::TOLD;
        reset::provoke(&mut flow, &mut self.core.env(now, false));
    }

    /// Peers count as told.
    pub fn forget_bereaved(&mut self) {
        self.bereaved.0.clear();
    }

    /// A stray segment has come, and was answered or not: whether its peer was being told, and knows now.
    pub(super) fn note_told(&mut self, now: Instant, key: &FlowKey, seg: &Segment, answered: bool) {
        if self.bereaved.0.is_empty() {
            return;
        }
        let Some(told) = self.bereaved.0.get_mut(key) else { return };
        if seg.flags.has(Flags::RST) {
            self.bereaved.0.remove(key);
            self.unsteer_flow(true, *key);
        } else if answered && *told == Told::Nothing {
            *told = Told::Reset;
            self.ask(now, *key);
        }
    }
}
