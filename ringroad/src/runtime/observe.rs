//! Who is told that a socket became ready.

use std::any::Any;

use stack::types::{Readiness, SocketId};

use super::Sleepers;

/// Cookies with this bit belong to the Rust API of this crate; observers never see them.
pub const API_COOKIE: u64 = 1 << 63;

/// Told of every socket that became ready, under the runtime's lock. The shim keeps its epoll sets in it:
/// [`Turn::observer`](super::Turn::observer) gives them back under the same lock.
pub trait WakeObserver: Any + Send {
    /// The socket with `cookie` is ready for `readiness`. Whoever sleeps for it is named with
    /// [`Sleepers::notify`].
    fn woken(&mut self, id: SocketId, cookie: u64, readiness: Readiness, sleepers: &mut Sleepers);
}
