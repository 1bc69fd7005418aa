//! AF_XDP: frames between a stack and an interface of this host, past the kernel's own stack.
//!
//! A [`Port`] is a set of interfaces on one UMEM (the arena of one [`nic::Pool`]): an AF_XDP socket with four
//! rings for every queue, and on each interface the [`Steering`] program, which redirects to those sockets
//! what its maps name and passes everything else to the kernel.
//!
//! # How a port travels
//!
//! Opening takes privilege (CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF); driving takes none. So:
//!
//! 1. *Launcher.* `Port::open(&mut pool, &["eth0"], &Options { stacks: 16, .. })`: modes are found by trying, errors are
//!    one line each. The pool here serves the attempts only. Every stack gets a socket on every queue now, while there
//!    is privilege; or whoever keeps the privilege makes them when a stack comes ([`PortParts::open_slot`]). `port.inheritable(900)` puts copies of all descriptors at high numbers without close-on-exec; its
//!    [`PortParts`] goes to the application as text. The arena's memfd is the launcher's to hand over. Then `exec`.
//! 2. *Application*, any time later, as any user, after any fork: take a slot that no living process has, map the arena
//!    ([`nic::Arena::from_file`]), make a fresh `Pool` over it, `Port::from_parts(&text.parse()?, slot)`, then
//!    [`Port::adopt`] with the pool. That settles what the slot's last stack left in its rings, whether it ended well or
//!    was killed in the middle of something, and gives a [`Road`] for each interface: the [`XskNic`] to drive and
//!    the [`Steering`] to steer.
//! 3. *In one process* it is `Port::open` and `adopt` in a row, with one pool.
//!
//! Who has which slot is the caller's to arrange: one process drives a slot at a time, several slots are driven side
//! by side. Stacks share the frames, the fill and completion rings of each queue and the steering maps; how, and why a
//! process may be killed anywhere, is told in `ledger.rs`. What a dead stack had steered stays until its slot is taken
//! again or [`Port::settle`] hands it to another.
//!
//! When the last process that holds the descriptors ends, however it ends, the kernel detaches the program, and
//! all traffic is the kernel's again.
//!
//! # Driving
//!
//! [`XskNic`] is a [`nic::Nic`]. `kick` makes a bounded number of system calls; in copy mode (veth) nothing is
//! sent without one. `rx` makes none while the kernel does not ask to be woken. Before sleeping, poll
//! `wait_fds` for `POLLIN`; that wakes the kernel's side too.
//!
//! Transmit frames whose window begins at least 24 bytes behind the beginning of their frame
//! ([`nic::HEADROOM`] sees to it): the checksum request for the kernel goes there.
//!
//! TCP in frames longer than a chunk, which only a kernel on this host makes (TSO), is cut into segments again, so a
//! stack sees frames of one chunk at most; they may be longer than the MTU. On veth that happens in generic
//! mode alone: a native program, multi-buffer or not, makes the driver turn segmentation offload off at the
//! peer. UDP superframes (UDP_SEGMENT) do not say where to cut, and a datagram must arrive whole: what is longer
//! than a chunk the steering program leaves to the kernel, whose socket hears it. So an interface's MTU may be longer than a
//! chunk where frames come in parts: what `caps` says of it fits one, and peers send no longer segments than they are told.
//!
//! An interface that goes away and comes back under its name can be opened again where there are no AF_XDP sockets
//! ([`InterfaceParts::open_again`]), by one process for all.
//!
//! While the interface is down, `kick` leaves frames in the ring, says `Quiet` and counts (`kicks_down`); the
//! first kick after it is up again sends them.

#[cfg(not(loom))]
mod again;
#[cfg(not(loom))]
mod batch;
#[cfg_attr(loom, allow(dead_code))]
mod calling;
#[cfg(not(loom))]
mod chain;
#[cfg(not(loom))]
mod counters;
#[cfg(not(loom))]
mod crossing;
#[cfg(not(loom))]
mod cut;
#[cfg(not(loom))]
mod driver;
#[cfg_attr(loom, allow(dead_code))]
mod entry;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod headers;
#[cfg(not(loom))]
mod interface;
#[cfg(not(loom))]
mod later;
#[cfg(not(loom))]
mod ledger;
#[cfg(not(loom))]
mod mapped;
#[cfg(not(loom))]
mod netdev;
#[cfg(not(loom))]
mod outlet;
#[cfg(not(loom))]
mod packet;
#[cfg(not(loom))]
mod parts;
#[cfg(not(loom))]
mod port;
#[cfg(not(loom))]
mod probe;
#[cfg(not(loom))]
mod queue;
#[cfg_attr(loom, allow(dead_code))]
mod ring;
#[cfg(not(loom))]
mod settle;
#[cfg_attr(loom, allow(dead_code))]
mod slots;
#[cfg(not(loom))]
mod socket;
#[cfg(not(loom))]
mod steer;
#[cfg(not(loom))]
mod stock;
#[cfg(not(loom))]
mod superframe;
mod sync;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
mod tap;

#[cfg(not(loom))]
pub use self::{
    counters::XskCounters,
    crossing::{Crossed, Crossing, CrossingCounters},
    driver::XskNic,
    entry::Slot,
    error::{SetupError, Step},
    interface::Interface,
    ledger::FrameCensus,
    parts::{InterfaceParts, ParseError, PortParts},
    port::{Offload, Options, Port, RX_HEADROOM, Road},
    settle::TakeOver,
    slots::Slots,
    socket::{BindMode, RingSizes, UmemMode, XskParts, XskSocket, XskStatistics},
    steer::{
        Alarm, CLASSES, GUARD_RULES, GUARD_TABLES, GUARD_WORDS, Guard, GuardTable, Limits, Place, PlaceKind,
        PreparedGuard, QUEUES, SLOTS, SteeredFlow, Steering, SteeringCounters, SteeringFds, TALLIES, XdpMode,
    },
    tap::name as device_name,
};
