//! Alerts: what the gate refused, gathered so that a flood is one alert with a number, and scans told from accidents.
//!
//! The helper thread takes refusals from the stack and brings them to a [`Desk`]; what the desk has to say goes to a
//! [`Board`], which `ringroad alerts` reads, and from there to the configured [`Sinks`] by a thread of its own. All of it
//! is bounded, and nobody waits for a reader.

mod board;
mod desk;
mod scan;
mod sinks;
#[cfg(test)]
mod tests;
mod young;

pub(crate) use board::Board;
pub(crate) use desk::{Desk, Process, Seen};
#[cfg(test)]
use scan::Carrier;
pub use sinks::Sink;
pub(crate) use sinks::Sinks;
