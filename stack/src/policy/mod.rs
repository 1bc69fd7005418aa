//! The gate: a table of five-tuple rules for each local address.
//!
//! A [`PolicySpec`] says what is permitted. It is compiled once into a [`Policy`], which never changes and is
//! swapped whole. [`Gate`] holds the current one with its generation and the counters; what it decided for a
//! flow is kept in the flow's [`VerdictMemo`](crate::types::VerdictMemo), so that rules cost nothing for
//! established flows, and a new policy re-judges them.
//!
//! A table answers for one local address. Its rules are read in order, the first that matches decides, and what
//! no rule matches is denied. A rule's direction is that in which the flow began: replies belong to the flow.

mod classifier;
mod compile;
mod gate;
mod nest;
mod ports;
mod spec;
#[cfg(test)]
mod tests;

pub use compile::{MAX_CELLS, MAX_RULES, Policy, PolicyError};
pub use gate::{Count, Gate, GateSnapshot, RuleSnapshot, TableSnapshot};
pub use spec::{
    Action, Mode, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec, TableSpec,
};
