//! What whoever opens a port may wish for.

use crate::interface::Interface;
use crate::ledger::Slot;
use crate::packet::PacketSocket;
use crate::socket::{BindMode, RingSizes, UmemMode};
use crate::steer::{SLOTS, XdpMode};

/// Wishes for [`Port::open`](super::Port::open). The default leaves every choice to probing.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Slots in each ring of each socket.
    pub rings: RingSizes,
    /// Only this XDP mode. [`XdpMode::Tc`] is never tried unless it is named: then there is no AF_XDP, and nothing else
    /// that is said here of rings, modes and superframes matters.
    pub xdp: Option<XdpMode>,
    /// Only this bind mode.
    pub bind: Option<BindMode>,
    /// Take frames longer than a chunk in several descriptors where the kernel can (Linux 6.6).
    pub multi_buffer: bool,
    /// Stacks that may share the port: a socket for each on every queue. At least one, [`Options::STACKS`] at the
    /// most.
    pub stacks: Slot,
    /// So many of them have their sockets at once, the others when they come ([`PortParts::open_slot`]). At least one;
    /// with [`XdpMode::Tc`] it is all.
    ///
    /// [`PortParts::open_slot`]: crate::PortParts::open_slot
    pub at_once: Slot,
    /// Sockets of all stacks together, at the most: there are fewer stacks where the queues, those that programs bring
    /// among them, would take more. One stack there is in any case. Those that are made later do not count.
    pub sockets: u32,
    /// Where segments may go as superframes.
    pub offload: Offload,
}

/// Whether runs of TCP segments go to the kernel as superframes, for the device or the peer to cut: past the rings,
/// through a packet socket. In zero-copy mode they never do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// Nowhere.
    #[default]
    Off,
    /// On interfaces with one transmit queue, where the two roads keep the order of a flow.
    Auto,
    /// Also on those with several, where frames of the two roads may overtake each other.
    On,
}

impl Offload {
    /// Whether that is wanted on an interface, as it is now.
    pub fn is_wanted_on(self, interface: &Interface) -> bool {
        match self {
            Self::Off => false,
            Self::Auto => interface.transmit_queues() == Some(1),
            Self::On => true,
        }
    }

    /// The socket for an interface that is bound in `mode`. Whoever lacks it, however that comes, does without.
    pub(super) fn socket(self, interface: &Interface, mode: UmemMode) -> Option<PacketSocket> {
        // The loopback device's MTU leaves nothing to join.
        let useful = mode.bind == BindMode::Copy && !interface.is_loopback();
        (useful && self.is_wanted_on(interface))
            .then(|| PacketSocket::open(interface.index, true).ok())
            .flatten()
    }
}

impl Options {
    /// The most stacks that can share a port.
    pub const STACKS: Slot = SLOTS as Slot;

    /// The stacks that there are sockets for on these interfaces.
    pub(super) fn stacks_on(&self, interfaces: &[Interface]) -> Slot {
        if self.at_once < self.stacks && self.xdp != Some(XdpMode::Tc) {
            return self.stacks.min(Self::STACKS);
        }
        let queues: u32 = interfaces.iter().map(|interface| interface.queues).sum();
        let most = Slot::try_from(self.sockets / queues.max(1)).unwrap_or(Self::STACKS);
        self.stacks.min(most).clamp(1, Self::STACKS)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rings: RingSizes::default(),
            xdp: None,
            bind: None,
            multi_buffer: true,
            stacks: 1,
            at_once: Slot::MAX,
            sockets: u32::MAX,
            offload: Offload::Off,
        }
    }
}
