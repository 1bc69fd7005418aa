//! Opening interfaces: one UMEM, a socket for every queue, the steering program on each interface.

use std::io;
use std::os::fd::{AsFd, IntoRawFd, RawFd};
use std::sync::Arc;

use nic::Pool;

use crate::adopt::{TakeOver, shares, take_over};
use crate::driver::XskNic;
use crate::error::{At, SetupError, Step};
use crate::interface::Interface;
use crate::mapped::Ledger;
use crate::parts::{InterfaceParts, PortParts};
use crate::probe;
use crate::socket::{BindMode, RingSizes, UmemMode, XskSocket};
use crate::steer::{QUEUES, Steering, XdpMode};
use crate::sys;

/// What the kernel keeps free in front of a received frame (`XDP_PACKET_HEADROOM`).
pub const RX_HEADROOM: u32 = 256;

/// Link header with one VLAN tag.
const LINK_HEADER_MAX: u32 = 18;

/// Wishes for [`Port::open`]. The default leaves every choice to probing.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Slots in each ring of each socket.
    pub rings: RingSizes,
    /// Only this XDP mode.
    pub xdp: Option<XdpMode>,
    /// Only this bind mode.
    pub bind: Option<BindMode>,
    /// Take frames longer than a chunk in several descriptors where the kernel can (Linux 6.6).
    pub multi_buffer: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { rings: RingSizes::default(), xdp: None, bind: None, multi_buffer: true }
    }
}

/// One interface, ready to drive.
#[derive(Debug)]
pub struct Road {
    /// Frames in and out.
    pub nic: XskNic,
    /// What is steered to it.
    pub steering: Steering,
}

/// All interfaces of a stack on one UMEM. See the [crate's documentation](crate) for how it travels.
#[derive(Debug)]
pub struct Port {
    pub(crate) roads: Vec<Road>,
    ledger: Arc<Ledger>,
    frames: (u32, u32),
    mode: UmemMode,
}

impl Port {
    /// Opens the interfaces named, in the network namespace of the calling thread: looks for the best modes by
    /// trying them, down to sending a frame, and puts every queue's socket into slot 0 of the steering map.
    /// Nothing is steered yet. Needs privilege, and may take some tenths of a second.
    ///
    /// `pool` lends a frame for the attempts and is whole again afterwards.
    ///
    /// # Errors
    /// The step that failed, the system's error, and what to do.
    pub fn open(pool: &mut Pool, names: &[&str], options: &Options) -> Result<Self, SetupError> {
        let interfaces = find(pool, names)?;
        let mut steerings = attach(&interfaces, options.xdp, options.multi_buffer)?;
        let native = steerings.iter().all(|(_, mode)| *mode == XdpMode::Native);
        let xdp: Vec<XdpMode> = steerings.iter().map(|(_, mode)| *mode).collect();
        let (nics, ledger, mode) = probe::bind_best(pool, &interfaces, &xdp, options, native)?;
        if options.multi_buffer && !mode.multi_buffer {
            // A program that says it takes long frames, and sockets that do not, would lose them.
            drop(steerings);
            steerings = attach(&interfaces, options.xdp, false)?;
        }
        let roads: Vec<Road> =
            nics.into_iter().zip(steerings).map(|(nic, (steering, _))| Road { nic, steering }).collect();
        let port = Self { roads, ledger, frames: (pool.frames(), pool.arena().frame_size()), mode };
        port.enter_slot(0)?;
        Ok(port)
    }

    /// Goes on with what this process inherited: maps the rings again. The descriptors in `parts` stay open
    /// beside the copies taken here, so that children can inherit them in turn. Needs no privilege.
    ///
    /// # Errors
    /// [`Step::Inherit`] or [`Step::Rings`] when descriptors are closed or are not what `parts` says.
    pub fn from_parts(parts: &PortParts) -> Result<Self, SetupError> {
        let frames = (parts.frames, parts.frame_size);
        let ledger = sys::dup_inherited(parts.ledger).at(Step::Inherit)?;
        let ledger = Arc::new(Ledger::from_fd(ledger, parts.frames).at(Step::Inherit)?);
        let mut roads = Vec::new();
        for part in &parts.interfaces {
            let sockets: Result<Vec<_>, _> = part.sockets.iter().map(XskSocket::from_parts).collect();
            let steering = Steering::from_fds(&part.steering);
            let (sockets, steering) = sockets
                .and_then(|sockets| Ok((sockets, steering?)))
                .map_err(|e| e.on(&part.interface.name))?;
            let nic = XskNic::new(
                part.interface.clone(),
                part.xdp,
                parts.mode,
                sockets,
                Arc::clone(&ledger),
                frames,
            );
            roads.push(Road { nic, steering });
        }
        Ok(Self { roads, ledger, frames, mode: parts.mode })
    }

    /// Copies of all descriptors under numbers from `min` on that an `exec` leaves open, and their
    /// description. They stay open until the process ends.
    ///
    /// # Errors
    /// The operating system's, `EMFILE` above all; `EINVAL` when `min` is above the limit of open files.
    pub fn inheritable(&self, min: RawFd) -> io::Result<PortParts> {
        let keep = |fd| sys::dup(fd, min, false).map(IntoRawFd::into_raw_fd);
        let mut interfaces = Vec::new();
        for road in &self.roads {
            let sockets: io::Result<Vec<_>> =
                road.nic.queues.iter().map(|q| Ok(q.socket.parts(keep(q.socket.as_fd())?))).collect();
            interfaces.push(InterfaceParts {
                interface: road.nic.interface().clone(),
                xdp: road.nic.xdp_mode(),
                steering: road.steering.inheritable(min)?,
                sockets: sockets?,
            });
        }
        Ok(PortParts {
            ledger: keep(self.ledger.fd())?,
            frames: self.frames.0,
            frame_size: self.frames.1,
            mode: self.mode,
            interfaces,
        })
    }

    /// The interfaces, to look at their modes before driving them.
    pub fn roads(&self) -> &[Road] {
        &self.roads
    }

    /// Takes the rings over, whoever held them before, and fills them. `pool` must lie over the very arena that
    /// the port was opened with, and all its frames must be free. Frames that the kernel still holds from
    /// an earlier process are booked as such; received frames that nobody read are dropped; frames being sent
    /// are waited for, 100 ms at most.
    ///
    /// # Errors
    /// [`Step::Inherit`] when the pool has another shape than the port.
    pub fn adopt(self, pool: &mut Pool) -> Result<(Vec<Road>, TakeOver), SetupError> {
        if (pool.frames(), pool.arena().frame_size()) != self.frames {
            let advice = "the pool is not over the arena that the port was opened with";
            return Err(SetupError::found(Step::Inherit, libc::EINVAL, advice));
        }
        let (mut nics, steerings): (Vec<_>, Vec<_>) =
            self.roads.into_iter().map(|r| (r.nic, r.steering)).unzip();
        let found = take_over(&mut nics, &self.ledger, pool);
        let queues = nics.iter().map(|n| n.queues.len() as u32).sum();
        let (fill, reserve) = shares(pool.frames(), queues);
        for nic in &mut nics {
            nic.start(pool, fill, reserve);
        }
        let roads = nics.into_iter().zip(steerings).map(|(nic, steering)| Road { nic, steering });
        Ok((roads.collect(), found))
    }

    fn enter_slot(&self, slot: u32) -> Result<(), SetupError> {
        for road in &self.roads {
            for queue in &road.nic.queues {
                road.steering
                    .set_xsk(slot, queue.socket.queue(), queue.socket.as_fd())
                    .at(Step::Steer)
                    .map_err(|e| e.on(&road.nic.interface().name))?;
            }
        }
        Ok(())
    }
}

fn find(pool: &Pool, names: &[&str]) -> Result<Vec<Interface>, SetupError> {
    if names.is_empty() {
        return Err(SetupError::found(Step::Interface, libc::EINVAL, "no interface was named"));
    }
    names.iter().map(|name| check(Interface::find(name)?, pool)).collect()
}

fn check(interface: Interface, pool: &Pool) -> Result<Interface, SetupError> {
    let room = pool.arena().frame_size().saturating_sub(RX_HEADROOM + LINK_HEADER_MAX);
    let fault = if interface.mtu > room {
        format!(
            "its MTU is {}, and frames of this size take {room}: lower it, or use larger frames",
            interface.mtu
        )
    } else if interface.queues > QUEUES {
        format!("it has {} receive queues, {QUEUES} is the limit: ethtool -L", interface.queues)
    } else {
        return Ok(interface);
    };
    Err(SetupError::found(Step::Interface, libc::EOPNOTSUPP, fault).on(&interface.name))
}

fn attach(
    interfaces: &[Interface],
    mode: Option<XdpMode>,
    multi_buffer: bool,
) -> Result<Vec<(Steering, XdpMode)>, SetupError> {
    interfaces.iter().map(|i| Steering::open(i, mode, multi_buffer)).collect()
}
