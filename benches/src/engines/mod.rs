//! Three engines behind one set of calls, so that they can be measured on the same workload: ours, smoltcp and
//! lwIP. A frame is where the engine's driver has it before it is measured, and what is sent waits in the
//! driver's queue until it is fetched, which is not measured either.

mod lwip;
mod ours;
mod ours6;
pub mod peer;
mod smol;

pub use self::lwip::Lwip;
pub use self::ours::Ours;
pub use self::ours6::Ours6;
pub use self::smol::Smol;

/// The engine's link address.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// That of the gateway, behind which all clients are.
pub const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// An engine with one interface, listening on port 80.
pub trait Engine {
    /// A connection.
    type Id: Copy;
    /// A frame as its driver has it.
    type Frame;
    /// Connections that it can have when each has buffers for a thousand segments.
    const MOST_WINDOWS: u32 = u32::MAX;

    /// An engine for so many connections, of which each may have `window` bytes on their way.
    fn new(connections: u32, window: usize) -> Self;

    /// Makes ready for so many SYNs.
    fn expect(&mut self, _syns: usize) {}

    /// A frame arrives at the driver.
    fn frame(&mut self, bytes: &[u8]) -> Self::Frame;

    /// Measured: the frames are handed in; on return their sockets are readable.
    fn input(&mut self, ms: u64, frames: Vec<Self::Frame>);

    /// Hands every frame sent to `each`.
    fn output(&mut self, each: &mut dyn FnMut(&[u8]));

    /// The next connection that was completed.
    fn accept(&mut self, ms: u64) -> Option<Self::Id>;

    /// Measured: sends `bytes`; on return the frames are in the driver's queue, if the windows allow. How many
    /// bytes were taken.
    fn send(&mut self, ms: u64, id: Self::Id, bytes: &[u8]) -> usize;

    /// Takes what has come; how much it was.
    fn recv(&mut self, ms: u64, id: Self::Id) -> usize;

    /// Measured: the application is done with the connection.
    fn close(&mut self, ms: u64, id: Self::Id);

    /// Forgets what is left of a connection that was closed.
    fn forget(&mut self, _id: Self::Id) {}

    /// Time passes.
    fn time(&mut self, ms: u64);
}
