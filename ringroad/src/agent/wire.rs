//! What agent and user say to each other: a line of JSON each way, then the descriptors.

use serde::{Deserialize, Serialize};

use crate::port::PROCESSES;

/// The longest line.
pub(super) const LINE: usize = 1 << 14;

/// What a user wants.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wish {
    pub(super) interfaces: Vec<String>,
    pub(super) frames: u32,
    #[serde(default = "processes")]
    pub(super) processes: u8,
}

/// So many where nothing is said, by whoever wishes or permits.
pub(super) fn processes() -> u8 {
    PROCESSES
}

/// What the agent answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// So many descriptors follow.
    Port(usize),
    /// Why not, in words for the user.
    Refused(String),
}
