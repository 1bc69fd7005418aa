//! Captures: what passes a stack, in and out, with what became of it.
//!
//! Whoever captures asks the stack's process over its control socket, with a filter that was compiled before
//! ([`bpf`]). The process makes a ring in memory that both share, hangs a tap into the stack and hands the ring's
//! descriptor over. The tap filters and copies, on the packet path, without waiting for anybody; the [`Source`] reads.
//! The connection over which was asked is the life line: when it breaks, for whatever reason, the tap goes.

pub mod bpf;
#[cfg(test)]
mod bpf_tests;
pub mod pcapng;
mod reading;
mod record;
mod ring;
mod serve;
mod source;
mod tap;
mod wish;
mod words;

pub(crate) use reading::Reading;
pub use reading::{Packet, Totals};
pub(crate) use serve::{begin, forked};
pub use source::{Source, WhyNot, everywhere};
pub use stack::engine::{Verdict, Way};
pub(crate) use tap::{Capture, Wanted};
pub use wish::Wish;
pub use words::{describe, flags};
