//! Opening interfaces: one UMEM, a socket for every queue, the steering program on each interface.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, RawFd};
use std::sync::Arc;

use nic::Pool;

use crate::driver::{Common, XskNic};
use crate::error::{At, SetupError, Step};
use crate::interface::Interface;
use crate::ledger::{Ledger, NOBODY, Slot};
use crate::parts::{InterfaceParts, PortParts};
use crate::probe;
use crate::settle::{TakeOver, settle, shares};
use crate::socket::{BindMode, Place, RingSizes, UmemMode, XskSocket};
use crate::steer::{Limits, QUEUES, SteeredFlow, Steering, XdpMode};
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
    /// Stacks that may share the port: a socket for each on every queue. At least one, [`Options::STACKS`] at the
    /// most.
    pub stacks: Slot,
}

impl Options {
    /// The most stacks that can share a port.
    pub const STACKS: Slot = NOBODY;
}

impl Default for Options {
    fn default() -> Self {
        Self { rings: RingSizes::default(), xdp: None, bind: None, multi_buffer: true, stacks: 1 }
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

/// One interface, opened: the sockets of all stacks, or of one.
#[derive(Debug)]
struct Opened {
    interface: Interface,
    xdp: XdpMode,
    sockets: Vec<(Slot, XskSocket)>,
    steering: Steering,
}

/// All interfaces of a port on one UMEM. See the [crate's documentation](crate) for how it travels.
#[derive(Debug)]
pub struct Port {
    opened: Vec<Opened>,
    ledger: Arc<Ledger>,
    frames: (u32, u32),
    /// Stacks that may share it.
    stacks: Slot,
    mode: UmemMode,
}

impl Port {
    /// Opens the interfaces named, in the network namespace of the calling thread: looks for the best modes by
    /// trying them, down to sending a frame, and puts every socket into its slot of the steering map. Nothing
    /// is steered yet. Needs privilege, and may take some tenths of a second.
    ///
    /// `pool` lends a frame for the attempts; afterwards its frames are the port's, and it has none.
    ///
    /// # Errors
    /// The step that failed, the system's error, and what to do.
    pub fn open(pool: &mut Pool, names: &[&str], options: &Options) -> Result<Self, SetupError> {
        Self::open_within(pool, names, options, &Limits::default())
    }

    /// As [`Port::open`]; what is beyond `limits` stays the kernel's, whoever drives the port.
    ///
    /// # Errors
    /// As [`Port::open`].
    pub fn open_within(
        pool: &mut Pool,
        names: &[&str],
        options: &Options,
        limits: &Limits,
    ) -> Result<Self, SetupError> {
        let interfaces = find(pool, names)?;
        let attach = |multi| attach(&interfaces, options.xdp, multi, limits);
        let mut steerings = attach(options.multi_buffer)?;
        let native = steerings.iter().all(|(_, mode)| *mode == XdpMode::Native);
        let xdp: Vec<XdpMode> = steerings.iter().map(|(_, mode)| *mode).collect();
        let (nics, ledger, mode) = probe::bind_best(pool, &interfaces, &xdp, options, native)?;
        if options.multi_buffer && !mode.multi_buffer {
            // A program that says it takes long frames, and sockets that do not, would lose them.
            drop(steerings);
            steerings = attach(false)?;
        }
        let mut opened = Vec::new();
        for (nic, (steering, xdp)) in nics.into_iter().zip(steerings) {
            let (interface, firsts) = nic.into_parts();
            let sockets =
                beside(&interface, firsts, options.stacks, mode).map_err(|e| e.on(&interface.name))?;
            opened.push(Opened { interface, xdp, sockets, steering });
        }
        let mut free = vec![false; pool.frames() as usize];
        while let Some(frame) = pool.to_nic() {
            free[frame as usize] = true;
        }
        ledger.begin(|frame| free[frame as usize]);
        let (frames, stacks) = ((pool.frames(), pool.arena().frame_size()), options.stacks);
        let port = Self { opened, ledger, frames, stacks, mode };
        port.enter_slots()?;
        Ok(port)
    }

    /// Goes on, as stack `slot`, with what this process inherited: maps the rings again. The descriptors in
    /// `parts` stay open beside the copies taken here, so that children can inherit them in turn. Needs no
    /// privilege.
    ///
    /// # Errors
    /// [`Step::Inherit`] or [`Step::Rings`] when descriptors are closed or are not what `parts` says, or there is
    /// no such slot.
    pub fn from_parts(parts: &PortParts, slot: Slot) -> Result<Self, SetupError> {
        let ledger = sys::dup_inherited(parts.ledger).at(Step::Inherit)?;
        let ledger = Ledger::from_fd(ledger, parts.frames, parts.queues()).at(Step::Inherit)?;
        let mut opened = Vec::new();
        for part in &parts.interfaces {
            let ours = part.sockets.iter().filter(|s| s.slot == slot);
            let sockets: Result<Vec<_>, _> =
                ours.map(|s| XskSocket::from_parts(s).map(|socket| (slot, socket))).collect();
            let steering = Steering::from_fds(&part.steering);
            let (sockets, steering) = sockets
                .and_then(|sockets| Ok((sockets, steering?)))
                .map_err(|e| e.on(&part.interface.name))?;
            if sockets.is_empty() {
                let advice = format!("there is no slot {slot}");
                return Err(SetupError::found(Step::Inherit, libc::EINVAL, advice).on(&part.interface.name));
            }
            opened.push(Opened { interface: part.interface.clone(), xdp: part.xdp, sockets, steering });
        }
        let frames = (parts.frames, parts.frame_size);
        Ok(Self { opened, ledger: Arc::new(ledger), frames, stacks: parts.stacks(), mode: parts.mode })
    }

    /// Copies of all descriptors under numbers from `min` on that an `exec` leaves open, and their
    /// description. They stay open until the process ends.
    ///
    /// # Errors
    /// The operating system's, `EMFILE` above all; `EINVAL` when `min` is above the limit of open files.
    pub fn inheritable(&self, min: RawFd) -> io::Result<PortParts> {
        let keep = |fd: BorrowedFd<'_>| sys::dup(fd, min, false).map(IntoRawFd::into_raw_fd);
        let mut interfaces = Vec::new();
        for o in &self.opened {
            let part = |(slot, socket): &(Slot, XskSocket)| Ok(socket.parts(keep(socket.as_fd())?, *slot));
            interfaces.push(InterfaceParts {
                interface: o.interface.clone(),
                xdp: o.xdp,
                steering: o.steering.inheritable(min)?,
                sockets: o.sockets.iter().map(part).collect::<io::Result<_>>()?,
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

    /// Drives the rings of stack `slot` from here on, whoever did before; the caller sees to it that nobody
    /// else does, and which stacks are `gone`. What is left in them is settled first ([`TakeOver`]). `pool` must lie over the very arena that the
    /// port was opened with, and none of its frames may be in use: it gets them from the port's depot.
    ///
    /// # Errors
    /// [`Step::Inherit`] when the pool has another shape than the port, or there is no such slot.
    pub fn adopt(
        self,
        slot: Slot,
        pool: &mut Pool,
        gone: &dyn Fn(Slot) -> bool,
    ) -> Result<(Vec<Road>, TakeOver), SetupError> {
        if (pool.frames(), pool.arena().frame_size()) != self.frames {
            let advice = "the pool is not over the arena that the port was opened with";
            return Err(SetupError::found(Step::Inherit, libc::EINVAL, advice));
        }
        while pool.to_nic().is_some() {}
        let (ledger, frames, stacks) = (Arc::clone(&self.ledger), self.frames.0, self.stacks);
        for o in &self.opened {
            let released = o.steering.release(slot, None, gone, |_| {});
            released.at(Step::Steer).map_err(|e| e.on(&o.interface.name))?;
        }
        let (mut nics, steerings) = self.nics_of(slot)?;
        let found = settle(&mut nics, &ledger, (slot, slot), gone);
        let queues = nics.iter().map(|n| n.queues.len() as u32).sum();
        let shares = shares(frames, queues, stacks);
        for nic in &mut nics {
            nic.start(pool, shares);
        }
        let roads = nics.into_iter().zip(steerings).map(|(nic, steering)| Road { nic, steering });
        Ok((roads.collect(), found))
    }

    /// Settles what the dead stack of slot `slot`, which this port was opened for, left behind, on behalf of stack
    /// `me`; `gone` says which other stacks have died, too. Its endpoints are those of the others, its flows become
    /// `me`'s and are named to `flow`, once for each interface, its frames return.
    ///
    /// # Errors
    /// [`Step::Inherit`] when there is no such slot, [`Step::Steer`].
    pub fn settle(
        self,
        slot: Slot,
        me: Slot,
        gone: &dyn Fn(Slot) -> bool,
        mut flow: impl FnMut(SteeredFlow),
    ) -> Result<TakeOver, SetupError> {
        let ledger = Arc::clone(&self.ledger);
        for o in &self.opened {
            let released = o.steering.release(slot, (me != slot).then_some(me), gone, &mut flow);
            released.at(Step::Steer).map_err(|e| e.on(&o.interface.name))?;
        }
        let (mut nics, _) = self.nics_of(slot)?;
        Ok(settle(&mut nics, &ledger, (slot, me), gone))
    }

    fn nics_of(self, slot: Slot) -> Result<(Vec<XskNic>, Vec<Steering>), SetupError> {
        let Self { opened, ledger, frames, mode, .. } = self;
        let common = Common { ledger, slot, frames: frames.0, frame_size: frames.1 };
        let mut number = 0;
        let (mut nics, mut steerings) = (Vec::new(), Vec::new());
        for o in opened {
            let sockets: Vec<_> =
                o.sockets.into_iter().filter(|(s, _)| *s == slot).map(|(_, socket)| socket).collect();
            if sockets.is_empty() {
                let advice = format!("there is no slot {slot}");
                return Err(SetupError::found(Step::Inherit, libc::EINVAL, advice).on(&o.interface.name));
            }
            let queues = sockets.len();
            nics.push(XskNic::new((o.interface, number), o.xdp, mode, sockets, &common));
            steerings.push(o.steering);
            number += queues;
        }
        Ok((nics, steerings))
    }

    fn enter_slots(&self) -> Result<(), SetupError> {
        for o in &self.opened {
            for (slot, socket) in &o.sockets {
                o.steering
                    .set_xsk(*slot, socket.queue(), socket.as_fd())
                    .at(Step::Steer)
                    .map_err(|e| e.on(&o.interface.name))?;
            }
        }
        Ok(())
    }
}

/// The sockets of all stacks on an interface, given those of the first.
fn beside(
    interface: &Interface,
    firsts: Vec<XskSocket>,
    stacks: Slot,
    mode: UmemMode,
) -> Result<Vec<(Slot, XskSocket)>, SetupError> {
    let mut more = Vec::new();
    for slot in 1..stacks.clamp(1, Options::STACKS) {
        for first in &firsts {
            let place = Place { interface: interface.index, queue: first.queue() };
            more.push((slot, XskSocket::beside(first, place, mode)?));
        }
    }
    Ok(firsts.into_iter().map(|socket| (0, socket)).chain(more).collect())
}

fn find(pool: &Pool, names: &[&str]) -> Result<Vec<Interface>, SetupError> {
    if names.is_empty() {
        return Err(SetupError::found(Step::Interface, libc::EINVAL, "no interface was named"));
    }
    names.iter().map(|name| check(Interface::find(name)?, pool)).collect()
}

fn check(interface: Interface, pool: &Pool) -> Result<Interface, SetupError> {
    let room = pool.arena().frame_size().saturating_sub(RX_HEADROOM + LINK_HEADER_MAX);
    // On the loopback device longer ones are TCP, which is cut, or datagrams, which the program leaves to the kernel.
    let fault = if interface.mtu > room && !interface.is_loopback() {
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
    limits: &Limits,
) -> Result<Vec<(Steering, XdpMode)>, SetupError> {
    interfaces.iter().map(|i| Steering::open(i, mode, multi_buffer, limits)).collect()
}
