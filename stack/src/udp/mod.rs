//! UDP (RFC 768): datagrams that wait for `recv`, errors that wait beside them, the groups a socket hears, and
//! what the gate decided for the flows they belong to.

mod crowds;
mod errors;
mod flows;
mod groups;
mod queue;
mod segment;
mod wants;

pub use crowds::{Crowds, share};
pub use errors::{ErrorQueue, Pending};
pub use flows::{FlowCache, Known};
pub use groups::{Change, Groups};
pub use queue::{DatagramTable, Queue, Waiting};
pub use segment::{Cut, MOST as MOST_SEGMENTS, Train};
pub use wants::Wants;
