//! What a NIC and a stack exchange.
//!
//! A frame lives in an [`Arena`] and has exactly one owner. The [`Pool`] keeps the book: which frames are
//! free, which are in a NIC's hands to be filled, which are owned by a [`Pkt`], which are lent out for
//! transmission as a [`TxPkt`]. Handles are indices, never pointers, and cannot be copied; a handle that is
//! dropped instead of given back is a bug, which debug builds report at the place where it happens.
//!
//! [`Nic`] is the road itself: AF_XDP, ef_vi, or a wire in memory.

mod arena;
mod driver;
mod frozen;
mod own;
mod pkt;
mod pool;
mod prefetch;
#[cfg(test)]
mod tests;

pub use arena::Arena;
pub use driver::{Burst, Caps, Doorbell, Nic, RxChecksum, RxFrame, RxMeta};
pub use frozen::{Frozen, seal};
pub use own::{Own, observe_descriptors};
pub use pkt::{FrameIndex, Pkt, TxChecksum, TxPkt, leaked};
pub use pool::{Census, HEADROOM, Pool};
pub use prefetch::{LINE, prefetch};
