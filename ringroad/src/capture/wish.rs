//! What is asked for, and what is answered, as JSON.

use serde::{Deserialize, Serialize};

use super::bpf::Insn;

/// What somebody wants to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The most bytes of each packet.
    pub snaplen: u32,
    /// The filter; empty: everything.
    pub filter: Vec<Insn>,
}

/// What the stack's process answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// A ring follows.
    Granted {
        /// What the process runs.
        command: String,
        /// The names of the interfaces, in the order of the numbers in the ring.
        interfaces: Vec<String>,
    },
    /// Why not, in words for the user.
    Refused(String),
}
