//! The kernel's control plane, followed: links, addresses, routes and neighbours, and neighbours resolved by
//! asking the kernel. Works without privilege.

mod apart;
mod channel;
mod device;
mod facts;
mod links;
mod lost;
mod mirror;
mod near;
mod prober;
#[cfg(test)]
mod tests;
mod vlans;

use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;

use af_xdp::device_name;
use netlink_packet_route::RouteNetlinkMessage;
use stack::control::ControlEvent;
use stack::types::{IfaceId, MAX_IFACES, is_link_local};

use crate::config::{Apart, Candidate};
use crate::log;
use channel::{Dumps, Heard, Notices, Table};
use facts::LinkFact;
use lost::Lost;
use mirror::Mirror;
use prober::Prober;

/// An interface that the stack drives, with what only its driver knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Driven {
    pub(crate) iface: IfaceId,
    /// Frames may be sent with unfinished checksums.
    pub(crate) tx_checksum: bool,
    /// The longest IP packet that the driver can take.
    pub(crate) max_packet: usize,
    /// Frames come with their VLAN tags, unless its NIC takes those off.
    pub(crate) sees_tags: bool,
    /// It is a VLAN of another that is driven: of which, and its number.
    pub(crate) vlan: Option<(IfaceId, u16)>,
}

impl Driven {
    fn event(&self, link: &LinkFact) -> ControlEvent {
        let mtu = self.max_packet.min(link.mtu as usize).min(usize::from(u16::MAX)) as u16;
        ControlEvent::Iface {
            iface: self.iface,
            mac: link.mac,
            mtu,
            up: link.up,
            tx_checksum: self.tx_checksum,
        }
    }
}

/// The kernel's tables, followed for one stack.
pub(crate) struct Netlink {
    notices: Notices,
    dumps: Dumps,
    mirror: Mirror,
    prober: Prober,
    driven: Vec<Driven>,
    /// Those of them that are gone.
    lost: Lost,
    /// Places that the stack has left for more interfaces.
    places: usize,
    /// The stack's own addresses, where it has not the host's.
    apart: Apart,
}

impl Netlink {
    /// Begins to follow; `events` gets the state of everything.
    pub(crate) fn open(
        driven: Vec<Driven>,
        reopening: Reopening,
        apart: &Apart,
        events: &mut Vec<ControlEvent>,
    ) -> io::Result<Self> {
        // Listening begins before the tables are read, so nothing falls between.
        let notices = Notices::open()?;
        let mut all = Self {
            notices,
            dumps: Dumps::open()?,
            mirror: Mirror::default(),
            prober: Prober::default(),
            places: MAX_IFACES - driven.len().min(MAX_IFACES),
            driven,
            lost: Lost::new(reopening),
            apart: apart.clone(),
        };
        all.read_all(events)?;
        all.take_back(events)?;
        apart::told(apart, events, 0);
        Ok(all)
    }

    /// Readable when something changed.
    pub(crate) fn fd(&self) -> RawFd {
        self.notices.fd()
    }

    /// Takes in what changed; events for the stack are appended.
    pub(crate) fn follow(&mut self, events: &mut Vec<ControlEvent>) -> io::Result<()> {
        let before = events.len();
        let followed = self.follow_kernel(events).and_then(|()| self.take_back(events));
        apart::told(&self.apart, events, before);
        followed
    }

    /// Whether an interface is there again and nobody has opened it yet: [`Netlink::follow`] is to be called soon.
    pub(crate) fn awaits(&self) -> bool {
        self.lost.awaits(&self.mirror)
    }

    /// What is there again and open is driven again; all is told anew then.
    fn take_back(&mut self, events: &mut Vec<ControlEvent>) -> io::Result<()> {
        while self.lost.take_back(&mut self.driven, &self.mirror, events) {
            self.read_all(events)?;
        }
        Ok(())
    }

    fn follow_kernel(&mut self, events: &mut Vec<ControlEvent>) -> io::Result<()> {
        let Self { notices, mirror, driven, lost, places, .. } = self;
        let (mut routes, mut overrun) = (false, false);
        notices.drain(|heard| match heard {
            Heard::Message(message) => {
                tell_of_loss(&message, driven, lost);
                vlans::learn(&message, driven, mirror, places);
                routes |= mirror.apply(&message, driven, events).routes;
                if matches!(*message, RouteNetlinkMessage::DelLink(_)) {
                    lost.gather(driven, mirror);
                    lost.hope(mirror);
                }
            }
            Heard::Overrun => overrun = true,
        });
        if overrun {
            return self.read_all(events);
        }
        if routes {
            let table = self.dumps.all(Table::Routes)?;
            self.mirror.routing(&table, events);
        }
        Ok(())
    }

    /// Makes the kernel resolve a neighbour; the answer comes as a notification.
    pub(crate) fn resolve(&mut self, iface: IfaceId, address: IpAddr) {
        let name = self.mirror.name_of(iface).unwrap_or_default();
        if let Err(error) = self.prober.probe(iface, name, address) {
            tracing::debug!(%address, %error, "asking the kernel for a neighbour");
        }
    }

    /// Has the kernel confirm the neighbours it has not heard of lately: it does not see our traffic.
    pub(crate) fn refresh(&mut self) {
        let stale: Vec<_> = self.mirror.stale().collect();
        for (iface, address) in stale {
            self.resolve(iface, address);
        }
    }

    fn read_all(&mut self, events: &mut Vec<ControlEvent>) -> io::Result<()> {
        let mut fresh = Mirror::default();
        for table in [Table::Links, Table::Addresses, Table::Neighbours] {
            let mut messages = self.dumps.all(table)?;
            vlans::after_their_parents(&mut messages);
            for message in messages {
                if self.mirror.interfaces().next().is_none() {
                    vlans::learn(&message, &mut self.driven, &fresh, &mut self.places);
                }
                fresh.apply(&message, &self.driven, events);
            }
        }
        // What failed before we came is asked for again when somebody wants it.
        events.retain(|e| !matches!(e, ControlEvent::NeighbourGone { failed: true, .. }));
        fresh.routing(&self.dumps.all(Table::Routes)?, events);
        self.mirror.replaced_by(fresh, &self.driven, events);
        self.lost.gather(&mut self.driven, &self.mirror);
        Ok(())
    }
}

/// Says that a driven interface is gone, or the device that hears for it (the backend `packet`). Where it has AF_XDP sockets,
/// what takes its name later is another one: the steering program and the sockets went with it.
fn tell_of_loss(message: &RouteNetlinkMessage, driven: &[Driven], lost: &Lost) {
    let RouteNetlinkMessage::DelLink(link) = message else { return };
    if !facts::is_gone(link) {
        return;
    }
    let LinkFact { index, name, .. } = facts::link(link);
    if driven.iter().any(|d| d.iface.0 == index && d.vlan.is_none()) {
        let later = match lost.may_return(IfaceId(index)) {
            true => "its connections wait for it to come back",
            false => "what comes by that name later is the kernel's until a new start",
        };
        log::tell(format_args!("{name} is gone: {later}"));
    }
    if driven.iter().any(|d| !d.sees_tags && name == device_name(d.iface.0)) {
        log::tell(format_args!("somebody has deleted {name}: nothing is heard any more until a new start"));
    }
}

pub(crate) use links::Links;
pub(crate) use lost::Reopening;
pub(crate) use near::{look_at as look_at_near_side, make as make_near_side};
pub(crate) use vlans::hidden as hidden_vlans;

/// The names of all interfaces of the network namespace.
///
/// # Errors
/// The operating system's, from netlink.
pub fn interface_names() -> io::Result<Vec<String>> {
    let mut mirror = Mirror::default();
    for message in Dumps::open()?.all(Table::Links)? {
        mirror.apply(&message, &[], &mut Vec::new());
    }
    Ok(mirror.interfaces().map(|(link, _)| link.name.clone()).collect())
}

/// The interfaces that could be accelerated: up, not the loopback, with an address that is good for more
/// than its link.
///
/// # Errors
/// The operating system's, from netlink.
pub(crate) fn candidates() -> io::Result<Vec<Candidate>> {
    let mut dumps = Dumps::open()?;
    let mut mirror = Mirror::default();
    for table in [Table::Links, Table::Addresses] {
        for message in dumps.all(table)? {
            mirror.apply(&message, &[], &mut Vec::new());
        }
    }
    let reaches_far = |a: &IpAddr| !matches!(a, IpAddr::V6(a) if is_link_local(a));
    let usable = mirror
        .interfaces()
        .filter(|(link, addresses)| link.up && !link.loopback && addresses.iter().any(reaches_far));
    Ok(usable.map(|(link, addresses)| Candidate { name: link.name.clone(), addresses }).collect())
}
