//! Flows: what each carried, second by second, for whoever wants to know, now or a day later.
//!
//! The helper thread takes records from the stack and writes them down as [IPFIX](ipfix) messages; a hub brings those to
//! who listens on the control socket, and to the store on disk, by a thread of its own. One format for all: a file of the
//! store is a file of messages (RFC 5655), what a listener gets is a stream of them, and a collector is sent the same. All of
//! it is bounded, and nobody waits for a reader.

pub mod filter;
mod hub;
pub mod ipfix;
mod model;
pub mod read;
mod shelf;
mod store;
#[cfg(test)]
mod tests;

pub use filter::Filter;
pub(crate) use hub::Hub;
pub use model::{Flow, Verdict};
pub(crate) use shelf::{Kind, Shelf, is_removed};
pub use store::Place;
pub(crate) use store::{FLOWS, LEAST, MARKED, Store};
