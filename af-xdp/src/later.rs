//! The sockets of a slot, made when somebody takes it and not with the port: by a process that has the privilege still,
//! for one that has it no longer.

use std::os::fd::{AsFd, OwnedFd, RawFd};

use crate::error::{At, SetupError, Step};
use crate::ledger::Slot;
use crate::parts::{InterfaceParts, PortParts};
use crate::socket::{Place, XskParts, XskSocket};
use crate::steer::Steering;
use crate::sys;

impl PortParts {
    /// Whether what stack `slot` hears by is there: made with the port, or since ([`PortParts::with_slot`]).
    pub fn has_slot(&self, slot: Slot) -> bool {
        self.interfaces.iter().all(|part| part.has_slot(slot))
    }

    /// Makes the sockets of a slot that has none, and leads to them what is steered to it. In the order that
    /// [`PortParts::with_slot`] takes. They are the slot's as long as somebody holds them. Takes the privilege that
    /// [`Port::open`](crate::Port::open) takes.
    ///
    /// # Errors
    /// The step that failed; [`Step::Inherit`] when there is no such slot, or nothing to make.
    pub fn open_slot(&self, slot: Slot) -> Result<Vec<OwnedFd>, SetupError> {
        if slot >= self.stacks || self.has_slot(slot) {
            return Err(SetupError::found(Step::Inherit, libc::EINVAL, format!("slot {slot}")));
        }
        let mut all = Vec::new();
        for part in &self.interfaces {
            all.extend(self.open_on(part, slot).map_err(|e| e.on(&part.interface.name))?);
        }
        Ok(all)
    }

    fn open_on(&self, part: &InterfaceParts, slot: Slot) -> Result<Vec<OwnedFd>, SetupError> {
        let steering = part.steering.as_ref().map(Steering::from_fds).transpose()?;
        let one = |first: &XskParts| {
            let place = Place { interface: part.interface.index, queue: first.queue };
            let socket = XskSocket::beside(&XskSocket::from_parts(first)?, place, self.mode)?;
            if let Some(steering) = &steering {
                steering.set_xsk(slot, first.queue, socket.as_fd()).at(Step::Steer)?;
            }
            sys::dup(socket.as_fd(), 0, true).at(Step::Socket)
        };
        part.firsts().map(one).collect()
    }

    /// The same with the sockets of one more slot, which this process holds under these numbers.
    ///
    /// # Errors
    /// [`Step::Inherit`] when it is not one for each queue.
    pub fn with_slot(mut self, slot: Slot, sockets: &[RawFd]) -> Result<Self, SetupError> {
        let incomplete = || {
            let fault = format!("{} sockets came for slot {slot}", sockets.len());
            SetupError::found(Step::Inherit, libc::EINVAL, fault)
        };
        let mut given = sockets.iter();
        for part in &mut self.interfaces {
            let mut more = Vec::new();
            for first in part.firsts() {
                let fd = *given.next().ok_or_else(incomplete)?;
                more.push(XskParts { fd, slot, ..*first });
            }
            part.sockets.extend(more);
        }
        if given.next().is_some() { Err(incomplete()) } else { Ok(self) }
    }
}

impl InterfaceParts {
    fn has_slot(&self, slot: Slot) -> bool {
        usize::from(slot) < self.taps.len() || self.sockets.iter().any(|socket| socket.slot == slot)
    }

    /// The sockets of the first stack, one for each queue.
    fn firsts(&self) -> impl Iterator<Item = &XskParts> {
        self.sockets.iter().filter(|socket| socket.slot == 0)
    }
}
