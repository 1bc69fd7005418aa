//! What was told lately, for `ringroad alerts`, and the way to those who are told.

use std::collections::VecDeque;
use std::time::Duration;

use super::sinks::{LAST_WORDS, Sinks};
use crate::control::model::Alert;

/// Alerts remembered.
const LATELY: usize = 256;

/// The latest alerts.
#[derive(Debug, Default)]
pub(crate) struct Board {
    lately: VecDeque<Alert>,
    /// The number of the next.
    next: u64,
    sinks: Option<Sinks>,
}

impl Board {
    /// A board whose alerts go to `sinks`, too.
    pub(crate) fn new(sinks: Option<Sinks>) -> Self {
        Self { sinks, ..Self::default() }
    }

    pub(crate) fn put(&mut self, mut alert: Alert) {
        self.next += 1;
        alert.number = self.next;
        if let Some(sinks) = &mut self.sinks {
            sinks.send(&alert);
        }
        if self.lately.len() == LATELY {
            self.lately.pop_front();
        }
        self.lately.push_back(alert);
    }

    /// Nothing more comes: what waits is written, within a bounded time.
    pub(crate) fn close(&mut self) {
        self.close_within(LAST_WORDS);
    }

    pub(super) fn close_within(&mut self, limit: Duration) {
        if let Some(sinks) = self.sinks.take() {
            sinks.close(limit);
        }
    }

    /// What was told lately, oldest first.
    pub(crate) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.lately.iter()
    }
}
