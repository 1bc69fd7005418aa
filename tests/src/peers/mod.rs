//! Independent peers, one connection each, for a cable in virtual time: smoltcp and lwIP.

mod lwip;
mod smol;

use std::net::Ipv4Addr;

use stack::time::Instant;

pub use self::lwip::Lwip;
pub use self::smol::Smol;

/// Where every peer is.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Its link address.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// Where the stack is that it talks to.
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The stack's link address.
const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Somebody else's TCP, at the other end of the cable.
pub trait Peer {
    /// Waits for our connection.
    fn listen(&mut self, port: u16);

    /// Begins a connection to us.
    fn connect(&mut self, now: Instant, port: u16);

    /// A frame arrives.
    fn input(&mut self, now: Instant, frame: &[u8]);

    /// Time has passed, or a call was made: what is due happens.
    fn poll(&mut self, now: Instant);

    /// The next frame sent.
    fn output(&mut self) -> Option<Vec<u8>>;

    /// When [`Peer::poll`] is due at the latest.
    fn next(&mut self, now: Instant) -> Instant;

    /// Queues what fits; how much that is. Nothing before the connection is open.
    fn send(&mut self, bytes: &[u8]) -> usize;

    /// Takes what has come; how much it is.
    fn recv(&mut self, room: &mut [u8]) -> usize;

    /// Sends no more.
    fn finish(&mut self);

    /// Whether we have said that we send no more.
    fn has_ended(&mut self) -> bool;
}
