//! An interface on the kernel's receive path that went away and is there again, as another one of its name.
//!
//! The device that hears for the stacks outlives it, and so does the program, which its link keeps: that is attached to the
//! new interface, and has the maps as they are. The packet socket is one for all processes of the port. So whoever binds it
//! anew does that for all, and where it is bound tells all of them, without privilege, that it was done.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::programs::loaded_programs;

use crate::error::{At, SetupError, Step};
use crate::interface::Interface;
use crate::parts::InterfaceParts;
use crate::steer::XdpMode;
use crate::sys;
use crate::tap;

impl InterfaceParts {
    /// The index of the interface on which this one is open now. None while there is none, and of one that has AF_XDP
    /// sockets, which are of one interface for good.
    pub fn open_on(&self) -> Option<u32> {
        let packet = self.packet.filter(|_| self.xdp == XdpMode::Tc)?;
        let index = sys::dup_inherited(packet).and_then(|packet| sys::packet_interface(&packet));
        index.ok().flatten()
    }

    /// Opens it on the interface that has its name now, unless it is open; the index of that is answered. It stays open there as
    /// long as this process lives, or whoever has got its descriptors from it since. Takes the privilege that
    /// [`Port::open`](crate::Port::open) takes, and CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// The step that failed; [`Step::Interface`] while there is no such interface.
    pub fn open_again(&self) -> Result<u32, SetupError> {
        if let Some(index) = self.open_on() {
            return Ok(index);
        }
        let Interface { index, name, .. } = Interface::find(&self.interface.name)?;
        self.open_at(index).map(|()| index).map_err(|e| e.on(&name))
    }

    fn open_at(&self, index: u32) -> Result<(), SetupError> {
        let lacks = || SetupError::found(Step::Inherit, libc::EINVAL, "it was opened with AF_XDP sockets");
        let (Some(steering), Some(packet), [queue, ..]) = (&self.steering, self.packet, &self.taps[..])
        else {
            return Err(lacks());
        };
        let inherited = |fd| sys::dup_inherited(fd).at(Step::Inherit);
        let (queue, packet) = (inherited(*queue)?, inherited(packet)?);
        let program = program_of(&inherited(steering.link)?)?;
        // Its name tells others that the interface is taken.
        tap::rename(queue.as_fd(), &tap::name(index)).at(Step::Device)?;
        match sys::link_tcx(program.as_fd(), index) {
            Ok(link) => sys::replace(&link, steering.link).at(Step::Attach)?,
            // Another process was faster, or the interface is the same one, back from another network namespace.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(SetupError::new(Step::Attach, error)),
        }
        sys::bind_packet(packet.as_raw_fd(), index).at(Step::Packet)?;
        // That the former interface went is not the next one's error.
        sys::take_error(&packet).at(Step::Packet)
    }
}

/// The program that a link keeps, wherever it is attached.
fn program_of(link: &OwnedFd) -> Result<OwnedFd, SetupError> {
    let id = sys::program_of_link(link).at(Step::Attach)?;
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let program = program.ok_or_else(|| {
        SetupError::found(Step::Attach, libc::EPERM, "to find the program again takes CAP_SYS_ADMIN")
    })?;
    let fd = program.fd().map_err(|e| SetupError::new(Step::Attach, std::io::Error::other(e.to_string())))?;
    fd.as_fd().try_clone_to_owned().at(Step::Attach)
}
