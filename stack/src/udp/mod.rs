//! UDP (RFC 768): datagrams that wait for `recv`, and what the gate decided for the flows they belong to.

mod flows;
mod queue;

pub use flows::FlowCache;
pub use queue::{DatagramTable, Queue, Waiting};
