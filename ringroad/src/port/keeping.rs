//! The port as its keeper has it: a slot that no application takes, and descriptors for a program that comes later.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use af_xdp::{Interface, PortParts, Slot, XdpMode};
use nic::Own;

use crate::config::Backend;

use super::backend::ADAPTERS_PROCESSES;
use super::boxes::Place;
use super::fds::{aside, borrow};
use super::plan::Plan;
use super::shelf::Shelf;
use super::{Claimed, Port, Roster, claim, policy};
use crate::error::StartError;

/// The keeper's slot: the last one, where there are several.
pub(super) fn slot(stacks: Slot) -> Option<Slot> {
    (stacks > 1).then(|| stacks - 1)
}

fn is_behind(parts: &PortParts) -> bool {
    parts.interfaces.iter().any(|part| part.xdp == XdpMode::Tc)
}

/// Who is at the port besides the keeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guests {
    /// A process that lives and drives a slot.
    pub(crate) living: Option<u32>,
    /// Somebody died and is not buried.
    pub(crate) dead: bool,
}

impl Port {
    /// Whether there can be a keeper.
    pub(crate) fn can_be_kept(&self) -> bool {
        self.parts().is_ok_and(|parts| slot(parts.stacks).is_some())
    }

    /// The keeper's end of the line that everybody else at this port holds, if it was opened here.
    pub(crate) fn take_line(&mut self) -> Option<OwnedFd> {
        self.line.take()
    }

    /// The number of everybody else's end.
    pub(crate) fn line(&self) -> RawFd {
        self.header.line()
    }

    /// Makes this process the keeper.
    ///
    /// # Errors
    /// There can be none, or there is one.
    pub(crate) fn claim_keepers(self) -> Result<Claimed, StartError> {
        let step = "keeping the port";
        let parts = self.parts().map_err(|e| StartError::new(step, e))?;
        let stacks = parts.stacks;
        let slot = slot(stacks).ok_or_else(|| StartError::new(step, "it has one slot"))?;
        claim::claim(self.header.owner(slot)).map_err(|owner| StartError::busy(owner.pid))?;
        let sockets = if parts.has_slot(slot) {
            Vec::new()
        } else {
            parts.open_slot(slot).map_err(|e| StartError::new(step, e))?
        };
        let sockets = sockets.into_iter().map(|fd| Own::new(aside(fd))).collect();
        let place = Some(Place::make(&self.header, slot).map_err(|e| StartError::new(step, e))?);
        Ok(Claimed { port: self, slot, stacks, sockets, place })
    }

    /// Whether its interfaces are driven on the kernel's receive path.
    pub(crate) fn is_behind(&self) -> bool {
        self.parts().is_ok_and(|parts| is_behind(&parts))
    }

    /// Whether the port is of these interfaces, as they are now, has so many frames, is for so many processes,
    /// and by this backend.
    pub(crate) fn is_of(
        &self,
        interfaces: &[String],
        frames: u32,
        processes: Option<u8>,
        backend: Backend,
    ) -> bool {
        let Ok(parts) = self.parts() else { return false };
        let mut wanted: Vec<&str> = interfaces.iter().map(String::as_str).collect();
        let mut here: Vec<&str> = parts.interfaces.iter().map(|p| p.interface.name.as_str()).collect();
        wanted.sort_unstable();
        here.sort_unstable();
        let (behind, adapters) = (is_behind(&parts), self.layout.adapters);
        let is_by = match backend {
            // What somebody asked for is not what would be chosen.
            Backend::Auto => !behind && !adapters || parts.why.starts_with(Backend::Auto.name()),
            Backend::AfXdp => !behind && !adapters,
            Backend::Packet => behind && !adapters,
            // It has no keeper.
            Backend::Tap => false,
            Backend::EfVi => adapters,
        };
        let processes = if adapters { ADAPTERS_PROCESSES } else { processes };
        let is_still = |known: &Interface, open: Option<u32>| {
            Interface::find(&known.name).is_ok_and(|mut now| {
                // Our program is there: it has the queues that it brought.
                now.recount();
                now.index == open.unwrap_or(known.index) && (behind || now.queues == known.queues)
            })
        };
        let queues = parts.interfaces.iter().map(|p| p.interface.queues).sum();
        is_by
            && wanted == here
            && self.layout.frames == frames
            && Plan::of(&parts) == Plan::new(here.len(), queues, processes, Plan::sockets_of(&parts))
            && parts.interfaces.iter().all(|p| is_still(&p.interface, p.open_on()))
    }

    /// Who is at the port besides the keeper.
    pub(crate) fn guests(&self) -> Guests {
        let stacks = self.parts().map_or(0, |parts| parts.stacks);
        let mut guests = Guests::default();
        for owner in
            (0..slot(stacks).unwrap_or(stacks)).filter_map(|slot| claim::owner(self.header.owner(slot)))
        {
            // The dead are ours while we bury them.
            if owner != claim::Owner::this() && owner.lives() {
                guests.living = Some(owner.pid);
            } else {
                guests.dead = true;
            }
        }
        guests
    }

    /// Everything that [`Port::joined`] expects, the file first, but for the line, which comes last.
    pub(crate) fn shared(&self) -> io::Result<Vec<BorrowedFd<'_>>> {
        let mut numbers = self.descriptors(&self.parts()?);
        numbers.pop();
        let mut all = vec![self.file.as_fd()];
        for number in numbers {
            all.push(borrow(number)?);
        }
        Ok(all)
    }

    /// A port that lives on and that its keeper has sent, with a policy of our own, or, where it is `used` by others, with
    /// theirs, which has to be the same. Its descriptors get the numbers that they have there: those are written down in
    /// the port. Who was started by a program at the port has them there already, and that one's end of the line.
    ///
    /// # Errors
    /// A number is taken here, or out of reach; it came incomplete; `PermissionDenied`: the policy is another one.
    pub(crate) fn joined(descriptors: Vec<OwnedFd>, policy: &str, used: bool) -> io::Result<Self> {
        let incomplete = || io::Error::new(io::ErrorKind::InvalidData, "the port came incomplete");
        let mut descriptors = descriptors.into_iter();
        let file: File = descriptors.next().ok_or_else(incomplete)?.into();
        let (port, parts) = Self::of_file(file)?;
        let numbers = port.descriptors(&parts);
        if numbers.len() != descriptors.len() {
            return Err(incomplete());
        }
        let mut placed = Vec::new();
        let all: Vec<_> = numbers.into_iter().zip(descriptors).collect();
        // The ledger is a file of its own.
        let is_inherited = all.first().is_some_and(|(number, fd)| is_at(*number, fd));
        for (number, fd) in all {
            let is_line = number == port.header.line();
            if is_inherited && (is_at(number, &fd) || is_line && borrow(number).is_ok()) {
                continue;
            }
            let here = rustix::io::fcntl_dupfd_cloexec(&fd, number)?;
            if here.as_raw_fd() != number {
                let taken = format!("descriptor {number} is taken");
                return Err(io::Error::new(io::ErrorKind::AddrInUse, taken));
            }
            rustix::io::fcntl_setfd(&here, rustix::io::FdFlags::empty())?;
            placed.push(here);
        }
        let policies = port.policy_file()?;
        if !used {
            let shelf = Shelf::of(&port.header)?;
            policy::succeed(&policies, policy, |put_in_force| {
                shelf.clear();
                put_in_force()
            })?;
        } else if policy::read(&policies)?.current != policy {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another policy is in force there"));
        }
        // They stay, as those of a port that was opened here.
        placed.into_iter().for_each(|fd| _ = fd.into_raw_fd());
        Ok(port)
    }
}

/// Whether what is open under this number is the file that `fd` is.
fn is_at(number: RawFd, fd: &OwnedFd) -> bool {
    let file = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino));
    borrow(number).is_ok_and(|there| file(there).is_some_and(|there| Some(there) == file(fd.as_fd())))
}

impl Claimed {
    /// Whether this process is the keeper.
    pub(crate) fn keeps(&self) -> bool {
        slot(self.stacks) == Some(self.slot)
    }
}

impl Roster {
    /// Looks at everybody and watches who lives; buries nobody.
    pub(crate) fn look(&mut self) -> Guests {
        self.hear();
        let mut guests = Guests::default();
        for (slot, owner) in self.others() {
            if owner.lives() && self.watch(slot, owner) {
                guests.living = Some(owner.pid);
            } else {
                self.forget(slot);
                guests.dead = true;
            }
        }
        guests
    }
}
