//! The gate: a table of five-tuple rules for each local address.
//!
//! A [`Policy`] is compiled once, never changed, and swapped whole. [`Gate`] holds the current one with its
//! generation and the counters; what it decided for a flow is kept in the flow's [`Memo`], so that rules cost
//! nothing for established flows, and a new policy re-judges them.
