//! What the kernel's control plane knows, as a stack needs it: interfaces, addresses, routes, neighbours.

mod addresses;
mod latest;
mod rfc6724;
pub mod table;

use core::net::IpAddr;

use crate::types::IfaceId;

/// An Ethernet address.
pub type MacAddr = [u8; 6];

/// A change of the control plane, told by whoever follows it. Events are complete facts, not differences
/// that need an order: telling one twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// An interface that this stack drives appeared or changed.
    Iface {
        /// Which.
        iface: IfaceId,
        /// Its link address.
        mac: MacAddr,
        /// The longest IP packet, in bytes.
        mtu: u16,
        /// Whether it carries traffic (IFF_UP and carrier).
        up: bool,
        /// Whether frames may be sent with unfinished L4 checksums.
        tx_checksum: bool,
    },
    /// What an interface is called, once [`ControlEvent::Iface`] has told of it.
    IfaceName {
        /// Which.
        iface: IfaceId,
        /// Its name.
        name: Box<str>,
    },
    /// What an interface's routers, or its administrator, say of IPv6 there.
    IfaceSix {
        /// Which.
        iface: IfaceId,
        /// The longest packet, in bytes; that of the interface bounds it.
        mtu: u16,
        /// The hop limit of packets for which nobody chose one.
        hop_limit: u8,
    },
    /// An interface is a VLAN of another (IEEE 802.1Q), once [`ControlEvent::Iface`] has told of it: they share a wire. Whoever
    /// drives the stack takes the tags off and puts them on.
    Vlan {
        /// Which.
        iface: IfaceId,
        /// The interface whose frames carry the tags.
        parent: IfaceId,
        /// The VLAN's number.
        id: u16,
    },
    /// An interface went away.
    IfaceGone(IfaceId),
    /// An interface that went away is there again, as another one: what follows is told of that.
    IfaceBack {
        /// What it was.
        before: IfaceId,
        /// What it is.
        now: IfaceId,
    },
    /// The host has an address.
    Address {
        /// The interface it belongs to (also one that this stack does not drive).
        iface: IfaceId,
        /// The address.
        address: IpAddr,
        /// Bits of its network.
        prefix: u8,
        /// Not to be chosen for new flows while there is another (RFC 4862 §5.5.4).
        deprecated: bool,
    },
    /// The host lost an address.
    AddressGone {
        /// The interface it belonged to.
        iface: IfaceId,
        /// The address.
        address: IpAddr,
    },
    /// The whole unicast routing tables of both families, each in the order in which it is to be read: longest
    /// prefix first, then lowest metric.
    Routes(Vec<Route>),
    /// A neighbour's link address is known.
    Neighbour {
        /// On which interface.
        iface: IfaceId,
        /// Whose.
        address: IpAddr,
        /// Its link address.
        mac: MacAddr,
    },
    /// A neighbour could not be resolved, or its entry went away.
    NeighbourGone {
        /// On which interface.
        iface: IfaceId,
        /// Whose.
        address: IpAddr,
        /// True when the kernel tried and failed: senders get EHOSTUNREACH.
        failed: bool,
    },
}

/// A unicast route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination network.
    pub network: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
    /// The next hop; none when the network is on the link.
    pub gateway: Option<IpAddr>,
    /// Where it leaves.
    pub iface: IfaceId,
    /// The address to send from, when the route names one.
    pub source: Option<IpAddr>,
    /// Path MTU, when the route names one.
    pub mtu: Option<u16>,
}

/// What a stack asks of whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Resolve this neighbour and tell with [`ControlEvent::Neighbour`] or `NeighbourGone`.
    Neighbour {
        /// On which interface.
        iface: IfaceId,
        /// Whose address.
        address: IpAddr,
    },
    /// Steer everything for this local endpoint to the stack.
    SteerPort(crate::types::LocalKey),
    /// No longer.
    UnsteerPort(crate::types::LocalKey),
    /// Steer exactly this flow to the stack.
    SteerFlow(crate::types::FlowKey),
    /// The same, unless another stack of the port has taken the flow since its first packet was steered here.
    SteerNewFlow(crate::types::FlowKey),
    /// No longer.
    UnsteerFlow(crate::types::FlowKey),
}
