//! poll and select over any mix of descriptors.

pub(crate) mod poll;
pub(crate) mod select;
mod watch;
