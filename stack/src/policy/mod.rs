//! The gate: tables of five-tuple rules for local addresses.
//!
//! A [`PolicySpec`] says what is permitted. It is compiled once into a [`Policy`], which never changes and is
//! swapped whole. [`Gate`] holds the current one with its generation and the counters; what it decided for a
//! flow is kept in the flow's [`VerdictMemo`](crate::types::VerdictMemo), so that rules cost nothing for
//! established flows, and a new policy re-judges them.
//!
//! A table answers for local addresses, by whichever interface or by some; where several hold one, that with the longest
//! prefix does. Its rules are read in order, the first that matches decides, and what no rule matches is denied. A rule's direction is that in which
//! the flow began: replies belong to the flow. Its interface is that by which whoever began the flow is heard: packets
//! that come another way are judged by what holds there. A rule may limit how many flows begin from one source: those
//! beyond are denied where they begin, and established ones never.

mod classifier;
mod compile;
mod gate;
mod image;
mod limit;
mod marked;
mod nest;
mod owners;
mod piles;
mod ports;
mod ready;
mod refusals;
mod roads;
mod rules;
mod spec;
mod stored;
mod successor;
#[cfg(test)]
mod tests;

pub use compile::{
    Judgement, MAX_CELLS, MAX_INTERFACES, MAX_PREFIXES, MAX_RULES, MAX_TABLES, Policy, PolicyError, Told,
};
pub use gate::{Count, CounterSnapshot, Gate, GateSnapshot, Judged, Packet, RuleSnapshot, TableSnapshot};
pub use limit::LIMIT_WORDS;
pub use marked::Marked;
pub use refusals::Refusal;
pub use roads::{Roads, Via, closeness, closest};
pub use rules::Name;
pub use spec::{
    Action, AddressSet, Mode, PolicySpec, PortRange, Prefix, RuleDirection, RuleProtocol, RuleSpec, TableSpec,
};
pub use successor::{Retired, Successor};
