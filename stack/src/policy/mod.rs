//! The gate: tables of five-tuple rules for local addresses.
//!
//! A [`PolicySpec`] says what is permitted. It is compiled once into a [`Policy`], which never changes and is
//! swapped whole. [`Gate`] holds the current one with its generation and the counters; what it decided for a
//! flow is kept in the flow's [`VerdictMemo`](crate::types::VerdictMemo), so that rules cost nothing for
//! established flows, and a new policy re-judges them.
//!
//! A table answers for local addresses; where several hold one, that with the longest prefix does. Its rules are read
//! in order, the first that matches decides, and what no rule matches is denied. A rule's direction is that in which
//! the flow began: replies belong to the flow. A rule may limit how many flows begin from one source: those beyond are
//! denied where they begin, and established ones never.

mod classifier;
mod compile;
mod gate;
mod limit;
mod nest;
mod ports;
mod ready;
mod refusals;
mod spec;
#[cfg(test)]
mod tests;

pub use compile::{Judgement, MAX_CELLS, MAX_PREFIXES, MAX_RULES, Policy, PolicyError};
pub use gate::{Count, CounterSnapshot, Gate, GateSnapshot, Retired, RuleSnapshot, Successor, TableSnapshot};
pub use refusals::Refusal;
pub use spec::{
    Action, AddressSet, Mode, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec, TableSpec,
};
