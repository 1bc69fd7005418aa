//! What the stack wants steered, told to the steering programs of all interfaces.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use af_xdp::{Slot, Slots, Steering};
use stack::control::{ControlEvent, Request};
use stack::types::{FlowKey, IfaceId, LocalKey, Protocol};

use super::adapter::{Filters, Wishes};

/// Tells the steering programs what the stack wants.
pub(crate) trait Steer: Send {
    /// Carries out a steering request; others are not its business.
    fn steer(&mut self, request: &Request) -> io::Result<()>;

    /// The host's addresses changed: what is steered for every address follows.
    fn control(&mut self, event: &ControlEvent) -> io::Result<()>;

    /// The stack is ready for so many more connection requests.
    fn grant(&mut self, syns: u64);

    /// Connection requests that were too many, and were dropped before the stack had them.
    fn shed(&self) -> u64;

    /// Packets that went to the kernel since their tag is not that of the VLAN that has their address.
    fn miss_vlan(&self) -> u64;

    /// The processes of the port that hear what is sent to an end over TCP.
    fn hearers(&self, local: SocketAddr) -> Slots;

    /// The ends that a listener hears.
    fn ends(&self, key: &LocalKey) -> Vec<SocketAddr>;

    /// Whether a flow leads here by a rule of its own.
    fn holds(&self, key: &FlowKey) -> bool;

    /// A flow of this process leads to another one of the port from now on; a third one's stays where it is.
    fn lead(&mut self, key: &FlowKey, slot: Slot) -> io::Result<()>;

    /// Connections that have left for other processes: what leads here all that comes for their ends must do so no longer.
    fn depart(&mut self, _flows: &mut dyn Iterator<Item = FlowKey>) {}

    /// Nothing is steered any more.
    fn clear(&mut self);
}

/// The steering programs of all driven interfaces.
pub(crate) struct Programs {
    programs: Vec<Program>,
    /// This process's slot.
    slot: Slot,
    /// VLANs on those interfaces, with what they are VLANs of.
    vlans: Vec<(IfaceId, IfaceId, u16)>,
    /// The addresses of all of them.
    addresses: BTreeSet<IpAddr>,
    /// What is steered for every address.
    wildcards: Vec<LocalKey>,
    /// What adapters lead here before the programs see it.
    filters: Filters,
}

/// The steering program of one interface.
struct Program {
    iface: IfaceId,
    steering: Arc<Steering>,
    /// Connection requests that it was ever told to let pass.
    granted: u64,
    /// Those that it had dropped before this process came.
    shed_before: u64,
}

impl Programs {
    pub(crate) fn new(slot: Slot) -> Self {
        let (programs, vlans, addresses) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { programs, slot, vlans, addresses, wildcards: Vec::new(), filters: Filters::default() }
    }

    /// The adapter of an interface, as it hears of filters.
    pub(super) fn add_adapter(&mut self, wishes: Arc<Wishes>) {
        self.filters.add(wishes);
    }

    /// The program of an interface whose queues hold `backlog` frames that wait to be read: SYNs may not take all of
    /// that.
    pub(crate) fn add(&mut self, iface: IfaceId, steering: Arc<Steering>, backlog: u32) {
        let granted = steering.begin_credit(self.slot, backlog / 4 * 3);
        let shed_before = steering.shed(self.slot);
        self.programs.push(Program { iface, steering, granted, shed_before });
    }

    /// Applies a change to every interface; the first error counts, the others are tried all the same.
    fn each(&self, change: impl Fn(&Steering) -> io::Result<()>) -> io::Result<()> {
        let mut result = Ok(());
        for program in &self.programs {
            result = result.and(change(&program.steering));
        }
        result
    }

    fn port(&mut self, protocol: u8, local: SocketAddr, on: bool) -> io::Result<()> {
        let slot = self.slot;
        self.filters.port(protocol, local, on);
        self.each(|p| match on {
            true => p.add_port(protocol, local, slot),
            false => p.remove_port(protocol, local, slot),
        })
    }

    fn local(&mut self, key: &LocalKey, on: bool) -> io::Result<()> {
        let protocol = key.protocol as u8;
        if !key.address.is_unspecified() {
            return self.port(protocol, SocketAddr::new(key.address, key.port), on);
        }
        self.wildcards.retain(|w| w != key);
        if on {
            self.wildcards.push(*key);
        }
        let mut result = Ok(());
        for end in self.ends(key) {
            result = result.and(self.port(protocol, end, on));
        }
        result
    }

    fn address(&mut self, address: IpAddr, on: bool) -> io::Result<()> {
        let changed = if on { self.addresses.insert(address) } else { self.addresses.remove(&address) };
        let mut result = Ok(());
        let of_family = |w: &&LocalKey| changed && w.address.is_ipv4() == address.is_ipv4();
        let keys: Vec<LocalKey> = self.wildcards.iter().filter(of_family).copied().collect();
        for key in keys {
            result = result.and(self.port(key.protocol as u8, SocketAddr::new(address, key.port), on));
        }
        result
    }

    /// Whether packets to the addresses of an interface pass a program: its own, or the loopback device's, by which
    /// the host itself reaches all of them.
    fn sees(&self, iface: IfaceId) -> bool {
        let wire = self.vlan(iface).map_or(iface, |(_, parent, _)| parent);
        self.programs.iter().any(|program| program.iface == wire || program.iface == IfaceId::LOOPBACK)
    }

    fn vlan(&self, iface: IfaceId) -> Option<(IfaceId, IfaceId, u16)> {
        self.vlans.iter().find(|vlan| vlan.0 == iface).copied()
    }

    /// An address lives on an interface: the program there is told by which tag packets to it come.
    fn place(&self, iface: IfaceId, address: IpAddr) -> io::Result<()> {
        let (wire, id) = self.vlan(iface).map_or((iface, None), |(_, parent, id)| (parent, Some(id)));
        let there = self.programs.iter().find(|program| program.iface == wire);
        there.map_or(Ok(()), |program| program.steering.set_vlan(address, id))
    }
}

impl Steer for Programs {
    fn steer(&mut self, request: &Request) -> io::Result<()> {
        match request {
            Request::SteerFlow(f) | Request::SteerNewFlow(f) => self.filters.flow(f, true),
            Request::UnsteerFlow(f) => self.filters.flow(f, false),
            _ => {}
        }
        match request {
            Request::SteerPort(key) => self.local(key, true),
            Request::UnsteerPort(key) => self.local(key, false),
            Request::SteerFlow(f) => {
                self.each(|p| p.add_flow(f.protocol as u8, f.local, f.remote, self.slot))
            }
            Request::SteerNewFlow(f) => {
                self.each(|p| p.add_new_flow(f.protocol as u8, f.local, f.remote, self.slot))
            }
            Request::UnsteerFlow(f) => {
                self.each(|p| p.remove_flow(f.protocol as u8, f.local, f.remote, self.slot))
            }
            Request::Neighbour { .. } => Ok(()),
        }
    }

    fn control(&mut self, event: &ControlEvent) -> io::Result<()> {
        match event {
            ControlEvent::Vlan { iface, parent, id } => {
                self.vlans.retain(|vlan| vlan.0 != *iface);
                self.vlans.push((*iface, *parent, *id));
                Ok(())
            }
            ControlEvent::IfaceBack { before, now } => {
                self.programs
                    .iter_mut()
                    .filter(|program| program.iface == *before)
                    .for_each(|p| p.iface = *now);
                Ok(())
            }
            ControlEvent::Address { iface, address, .. } if self.sees(*iface) => {
                self.place(*iface, *address).and(self.address(*address, true))
            }
            ControlEvent::AddressGone { iface, address } if self.sees(*iface) => {
                self.address(*address, false)
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn grant(&mut self, syns: u64) {
        for program in &mut self.programs {
            program.granted += syns;
            program.steering.grant(self.slot, program.granted);
        }
    }

    fn shed(&self) -> u64 {
        self.programs.iter().map(|program| program.steering.shed(self.slot) - program.shed_before).sum()
    }

    fn miss_vlan(&self) -> u64 {
        let counted = self.programs.iter().filter_map(|program| program.steering.counters().ok());
        counted.map(|counters| counters.miss_vlan).sum()
    }

    fn hearers(&self, local: SocketAddr) -> Slots {
        let of = |program: &Steering| program.hearers(Protocol::Tcp as u8, local).unwrap_or_default();
        self.programs.iter().fold(Slots::NONE, |all, program| all | of(&program.steering))
    }

    fn ends(&self, key: &LocalKey) -> Vec<SocketAddr> {
        if !key.address.is_unspecified() {
            return vec![SocketAddr::new(key.address, key.port)];
        }
        let of_family = self.addresses.iter().filter(|a| a.is_ipv4() == key.address.is_ipv4());
        of_family.map(|address| SocketAddr::new(*address, key.port)).collect()
    }

    fn holds(&self, f: &FlowKey) -> bool {
        let slot = |program: &Steering| program.slot_of(f.protocol as u8, f.local, f.remote);
        self.programs.iter().any(|program| slot(&program.steering) == Some(self.slot))
    }

    fn lead(&mut self, f: &FlowKey, slot: Slot) -> io::Result<()> {
        if slot != self.slot {
            self.filters.away(f);
        }
        self.each(|p| p.lead_flow(f.protocol as u8, f.local, f.remote, (self.slot, slot)))
    }

    #[inline]
    fn depart(&mut self, flows: &mut dyn Iterator<Item = FlowKey>) {
        if !self.filters.is_off() {
            flows.for_each(|flow| self.filters.away(&flow));
        }
    }

    fn clear(&mut self) {
        for program in &self.programs {
            if let Err(error) = program.steering.release(self.slot, None, &|_| false, |_| {}) {
                tracing::warn!(%error, "clearing the steering maps");
            }
        }
    }
}
