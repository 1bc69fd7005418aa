//! What was told lately, for `ringroad alerts`, and the way to those who are told.

use std::collections::VecDeque;
use std::time::Duration;

use super::sinks::{LAST_WORDS, Sinks};
use crate::control::model::Alert;

/// Alerts remembered.
const LATELY: usize = 256;

/// The latest alerts.
#[derive(Debug, Default)]
pub(super) struct Board {
    lately: VecDeque<Alert>,
    /// The number of the last.
    number: u64,
    sinks: Option<Sinks>,
}

impl Board {
    /// A board whose alerts go to `sinks`, too.
    pub(super) fn new(sinks: Option<Sinks>) -> Self {
        Self { sinks, ..Self::default() }
    }

    /// Begins anew, after so many alerts.
    pub(super) fn begin(&mut self, number: u64) {
        self.lately.clear();
        self.number = number;
    }

    /// How many alerts there were.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Something new.
    pub(super) fn put(&mut self, mut alert: Alert) {
        self.number = self.number.wrapping_add(1);
        alert.number = self.number;
        if let Some(sinks) = &mut self.sinks {
            sinks.send(&alert);
        }
        self.keep(alert);
    }

    /// Something that was told before this board began, the latest.
    pub(super) fn recall(&mut self, alert: Alert) {
        self.keep(alert);
        for (alert, number) in self.lately.iter_mut().rev().zip((1..=self.number).rev()) {
            alert.number = number;
        }
    }

    fn keep(&mut self, alert: Alert) {
        if self.lately.len() == LATELY {
            self.lately.pop_front();
        }
        self.lately.push_back(alert);
    }

    /// Nothing more comes: what waits is written, within a bounded time.
    pub(super) fn close(&mut self) {
        self.close_within(LAST_WORDS);
    }

    pub(super) fn close_within(&mut self, limit: Duration) {
        if let Some(sinks) = self.sinks.take() {
            sinks.close(limit);
        }
    }

    /// What was told lately, oldest first.
    pub(super) fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.lately.iter()
    }
}
