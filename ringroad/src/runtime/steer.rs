//! What the stack wants steered, told to the steering programs of all interfaces.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use af_xdp::{Slot, Steering};
use stack::control::{ControlEvent, Request};
use stack::types::{IfaceId, LocalKey};

/// Tells the steering programs what the stack wants.
pub(crate) trait Steer: Send {
    /// Carries out a steering request; others are not its business.
    fn steer(&mut self, request: &Request) -> io::Result<()>;

    /// The host's addresses changed: what is steered for every address follows.
    fn control(&mut self, event: &ControlEvent) -> io::Result<()>;

    /// Nothing is steered any more.
    fn clear(&mut self);
}

/// The steering programs of all driven interfaces.
pub(crate) struct Programs {
    programs: Vec<(IfaceId, Steering)>,
    /// This process's slot.
    slot: Slot,
    /// The addresses of those interfaces.
    addresses: BTreeSet<IpAddr>,
    /// What is steered for every address.
    wildcards: Vec<LocalKey>,
}

impl Programs {
    pub(crate) fn new(programs: Vec<(IfaceId, Steering)>, slot: Slot) -> Self {
        Self { programs, slot, addresses: BTreeSet::new(), wildcards: Vec::new() }
    }

    /// Applies a change to every interface; the first error counts, the others are tried all the same.
    fn each(&self, change: impl Fn(&Steering) -> io::Result<()>) -> io::Result<()> {
        let mut result = Ok(());
        for (_, program) in &self.programs {
            result = result.and(change(program));
        }
        result
    }

    fn port(&self, protocol: u8, local: SocketAddr, on: bool) -> io::Result<()> {
        let slot = self.slot;
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
        for &address in self.addresses.iter().filter(|a| a.is_ipv4() == key.address.is_ipv4()) {
            result = result.and(self.port(protocol, SocketAddr::new(address, key.port), on));
        }
        result
    }

    fn address(&mut self, address: IpAddr, on: bool) -> io::Result<()> {
        let changed = if on { self.addresses.insert(address) } else { self.addresses.remove(&address) };
        let mut result = Ok(());
        let of_family = |w: &&LocalKey| changed && w.address.is_ipv4() == address.is_ipv4();
        for key in self.wildcards.iter().filter(of_family) {
            result = result.and(self.port(key.protocol as u8, SocketAddr::new(address, key.port), on));
        }
        result
    }

    fn drives(&self, iface: IfaceId) -> bool {
        self.programs.iter().any(|(i, _)| *i == iface)
    }
}

impl Steer for Programs {
    fn steer(&mut self, request: &Request) -> io::Result<()> {
        match request {
            Request::SteerPort(key) => self.local(key, true),
            Request::UnsteerPort(key) => self.local(key, false),
            Request::SteerFlow(f) => {
                self.each(|p| p.add_flow(f.protocol as u8, f.local, f.remote, self.slot))
            }
            Request::UnsteerFlow(f) => {
                self.each(|p| p.remove_flow(f.protocol as u8, f.local, f.remote, self.slot))
            }
            Request::Neighbour { .. } => Ok(()),
        }
    }

    fn control(&mut self, event: &ControlEvent) -> io::Result<()> {
        match event {
            ControlEvent::Address { iface, address, .. } if self.drives(*iface) => {
                self.address(*address, true)
            }
            ControlEvent::AddressGone { iface, address } if self.drives(*iface) => {
                self.address(*address, false)
            }
            _ => Ok(()),
        }
    }

    fn clear(&mut self) {
        for (_, program) in &self.programs {
            if let Err(error) = program.release(self.slot, None, &|_| false, |_| {}) {
                tracing::warn!(%error, "clearing the steering maps");
            }
        }
    }
}
