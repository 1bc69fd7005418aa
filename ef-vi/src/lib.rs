//! ef_vi: frames between a stack and the rings of a Solarflare, Xilinx or AMD adapter, past the kernel.
//!
//! [`EfVi`] is a [`nic::Nic`] over one virtual interface: an event queue, a receive and a transmit ring, in the
//! library that the vendor's package brings (`ef-vi-sys` says how it is found). What comes here is what
//! [`EfVi::add_filter`] names; the kernel keeps the rest.
//!
//! - *Receiving.* Adapters up to X2 fill frames of the pool that were posted before: nothing is copied. X3 and X4 fill
//!   superbuffers of their own; each frame is copied to one of the pool, once, and the superbuffer given back.
//! - *Sending* is by DMA from the pool's frames, told at [`nic::Nic::kick`]. Small frames, where nothing else is under
//!   way, are written to the adapter at once: by CTPIO (X2; the adapter fetches the frame where that fails) or by PIO
//!   (7000 and 8000 series). X3 and X4 send through their FIFO.
//! - *Checksums* are the stack's when it sends. Received segments and datagrams are verified by the adapter.
//! - *Timestamps* are not asked for: a frame has no place for them yet.
//! - *Frames* have at most 4096 bytes. Longer packets than that, which a jumbo MTU allows, are not received.
//! - *An adapter that stops* (a reset, an event queue that overflowed, an event that cannot be) stays so until it is
//!   opened again: nothing is received, what is to be sent is dropped and counted, and frames that were under way stay
//!   lent.
//!
//! Without the vendor's headers all this is left out, and [`EfVi::open`] says so.

#[cfg(not(ef_vi))]
mod absent;
#[cfg(ef_vi)]
mod backlog;
#[cfg(ef_vi)]
mod counters;
#[cfg(ef_vi)]
mod driver;
#[cfg_attr(not(ef_vi), allow(dead_code, reason = "nothing gets that far"))]
mod error;
#[cfg(ef_vi)]
mod event;
mod options;
#[cfg(ef_vi)]
mod verified;
#[cfg(ef_vi)]
mod vi;

#[cfg(all(test, ef_vi))]
#[path = "../tests/common/mod.rs"]
mod common;
#[cfg(all(test, ef_vi))]
extern crate self as ef_vi;

/// Whether this was built with ef_vi.
pub const AVAILABLE: bool = cfg!(ef_vi);

#[cfg(not(ef_vi))]
pub use absent::EfVi;
pub use error::{Error, Step};
pub use options::{Filter, Options, Small};
#[cfg(ef_vi)]
pub use {counters::EfViCounters, driver::EfVi};
