//! Alerts: what the gate refused, gathered so that a flood is one alert with a number, and scans told from accidents.
//!
//! The helper thread takes refusals from the stack to its [`Office`], which appends them to the log of the port. One process
//! of the port reads that to its desk; what the desk has to say goes to the board, which `ringroad alerts` reads, and from there
//! to the configured [`Sinks`] by a thread of its own. All of it is bounded, and nobody waits for a reader.

mod board;
mod desk;
mod log;
mod office;
mod scan;
mod seats;
mod sinks;
#[cfg(test)]
mod tests;
mod young;

pub(crate) use desk::{Process, Seen};
pub(crate) use log::WORDS as LOG_WORDS;
pub(crate) use office::{Me, Office, Shared};
pub(crate) use seats::{Mates, WORDS as SEATS_WORDS};
pub use sinks::Sink;
pub(crate) use sinks::Sinks;
