//! The descriptors of a steering program and its maps, as they go from one process image to the next.

use std::io;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};

use super::Steering;
use super::attach::shaped;
use crate::error::{At, SetupError, Step};
use crate::sys;

/// The descriptors of a [`Steering`], for another process image that inherits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteeringFds {
    /// The link that keeps the program attached.
    pub link: RawFd,
    /// The map of sockets.
    pub xsks: RawFd,
    /// The map of exact flows.
    pub flows: RawFd,
    /// The map of local endpoints.
    pub ports: RawFd,
    /// The counters.
    pub counters: RawFd,
    /// The directory of flows.
    pub directory: RawFd,
    /// The groups of stacks that share endpoints.
    pub groups: RawFd,
    /// What the program is told besides.
    pub config: RawFd,
    /// How many connection requests each stack is ready for.
    pub credits: RawFd,
    /// The addresses that live on VLANs.
    pub tagged: RawFd,
    /// The guard: its places, its classes, its tables, and of what was kept out how much it was by rule, and the latest.
    pub guard: [RawFd; 5],
}

impl SteeringFds {
    /// All of them.
    pub fn all(&self) -> [RawFd; 15] {
        let mut copy = *self;
        copy.each().map(|fd| *fd)
    }

    /// All of them, in the same order, to be renumbered.
    pub fn each(&mut self) -> [&mut RawFd; 15] {
        let Self { link, xsks, flows, ports, counters, directory, groups, config, credits, tagged, guard } =
            self;
        let [places, classes, tables, tallies, alarms] = guard;
        [
            link, xsks, flows, ports, counters, directory, groups, config, credits, tagged, places, classes,
            tables, tallies, alarms,
        ]
    }
}

impl Steering {
    /// Goes on with the maps and the link that this process inherited under these numbers; the numbers stay
    /// open beside the copies taken here.
    ///
    /// # Errors
    /// [`Step::Inherit`] when one of them is not open or not such a map.
    pub fn from_fds(fds: &SteeringFds) -> Result<Self, SetupError> {
        let fd_of = |name: &str| match name {
            "xsks" => fds.xsks,
            "flows" => fds.flows,
            "ports" => fds.ports,
            "counts" => fds.counters,
            "directory" => fds.directory,
            "groups" => fds.groups,
            "credits" => fds.credits,
            "tagged" => fds.tagged,
            "places" => fds.guard[0],
            "classes" => fds.guard[1],
            "tables" => fds.guard[2],
            "tallies" => fds.guard[3],
            "alarms" => fds.guard[4],
            _ => fds.config,
        };
        Self::over(sys::dup_inherited(fds.link).at(Step::Inherit)?, |name, shape| {
            shaped(sys::dup_inherited(fd_of(name)).at(Step::Inherit)?, shape, Step::Inherit)
        })
    }

    /// The descriptors, still owned by `self`.
    pub fn fds(&self) -> SteeringFds {
        SteeringFds {
            link: self.link.as_raw_fd(),
            xsks: self.xsks.fd().as_raw_fd(),
            flows: self.flows.fd().as_raw_fd(),
            ports: self.ports.fd().as_raw_fd(),
            counters: self.counters.fd().as_raw_fd(),
            directory: self.directory.fd().as_raw_fd(),
            groups: self.groups.fd().as_raw_fd(),
            config: self.config.fd().as_raw_fd(),
            credits: self.credits.fd().as_raw_fd(),
            tagged: self.tagged.fd().as_raw_fd(),
            guard: self.guards.fds().map(AsRawFd::as_raw_fd),
        }
    }

    /// Copies of the descriptors under numbers from `min` on that an `exec` leaves open. They stay open until
    /// the process ends or someone closes them.
    ///
    /// # Errors
    /// The operating system's, `EMFILE` above all.
    pub fn inheritable(&self, min: RawFd) -> io::Result<SteeringFds> {
        let copy = |fd: &OwnedFd| sys::dup(fd.as_fd(), min, false).map(IntoRawFd::into_raw_fd);
        Ok(SteeringFds {
            link: copy(&self.link)?,
            xsks: copy(self.xsks.fd())?,
            flows: copy(self.flows.fd())?,
            ports: copy(self.ports.fd())?,
            counters: copy(self.counters.fd())?,
            directory: copy(self.directory.fd())?,
            groups: copy(self.groups.fd())?,
            config: copy(self.config.fd())?,
            credits: copy(self.credits.fd())?,
            tagged: copy(self.tagged.fd())?,
            guard: {
                let [places, classes, tables, tallies, alarms] = self.guards.fds();
                [copy(places)?, copy(classes)?, copy(tables)?, copy(tallies)?, copy(alarms)?]
            },
        })
    }
}
