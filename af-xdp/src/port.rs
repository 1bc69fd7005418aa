//! Opening interfaces: one UMEM, a socket for every queue, the steering program on each interface.

mod behind;
mod opened;
mod options;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, RawFd};
use std::sync::Arc;

use nic::Pool;

use crate::crossing::{Crossing, Gangways};
use crate::driver::{Common, XskNic};
use crate::error::{At, SetupError, Step};
use crate::interface::Interface;
use crate::ledger::{Ledger, Slot};
use crate::packet::PacketSocket;
use crate::parts::{InterfaceParts, PortParts};
use crate::probe;
use crate::settle::{TakeOver, settle};
use crate::slots::Slots;
use crate::socket::{Place, UmemMode, XskSocket};
use crate::steer::{Limits, QUEUES, SteeredFlow, Steering, XdpMode};
use crate::stock::{expected, shares};
use crate::sys;

use opened::Opened;
pub use options::{Offload, Options};

/// What the kernel keeps free in front of a received frame (`XDP_PACKET_HEADROOM`).
pub const RX_HEADROOM: u32 = 256;

/// Link header with one VLAN tag.
const LINK_HEADER_MAX: u32 = 18;
/// Bytes of a link header without a tag.
pub(crate) const ETH_HEADER: u32 = 14;
/// Datagrams in longer frames are left to the kernel (`bpf/steer.bpf.c`).
const DATAGRAM_MAX: u32 = 3584;

/// One interface, ready to drive.
#[derive(Debug)]
pub struct Road {
    /// Frames in and out.
    pub nic: XskNic,
    /// What is steered to it; none where all is ([`XdpMode::Nowhere`]).
    pub steering: Option<Steering>,
}

/// All interfaces of a port on one UMEM. See the [crate's documentation](crate) for how it travels.
#[derive(Debug)]
pub struct Port {
    opened: Vec<Opened>,
    ledger: Arc<Ledger>,
    ways: Arc<Gangways>,
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
        let mut interfaces = find(pool, names, options)?;
        if options.xdp == Some(XdpMode::Tc) {
            return Self::open_behind(pool, interfaces, options, limits);
        }
        let attach = |on: &[Interface], multi| attach(on, options.xdp, multi, limits);
        let mut steerings = attach(&interfaces, options.multi_buffer)?;
        let native = steerings.iter().all(|(_, mode)| *mode == XdpMode::Native);
        let brought = recount(&mut interfaces)?;
        let stacks = options.stacks_on(&interfaces);
        let obstacle = probe::obstacle(pool.frames(), &interfaces, native, brought);
        let xdp: Vec<XdpMode> = steerings.iter().map(|(_, mode)| *mode).collect();
        let (nics, ledger, mode) = probe::bind_best(pool, &interfaces, &xdp, options, obstacle)?;
        if options.multi_buffer && !mode.multi_buffer {
            // A program that says it takes long frames, and sockets that do not, would lose them.
            drop(steerings);
            steerings = attach(&interfaces, false)?;
        }
        let mut opened = Vec::new();
        for (nic, (steering, xdp)) in nics.into_iter().zip(steerings) {
            let (interface, firsts) = nic.into_parts();
            let at_once = stacks.min(options.at_once.max(1));
            let sockets = beside(&interface, firsts, at_once, mode).map_err(|e| e.on(&interface.name))?;
            let packet = options.offload.socket(&interface, mode);
            let taps = Vec::new();
            opened.push(Opened { interface, xdp, packet, sockets, taps, steering: Some(steering) });
        }
        let port = Self::of(opened, pool, ledger, (stacks, mode))?;
        port.enter_slots()?;
        Ok(port)
    }

    /// The port of what was opened: all frames that are free are its.
    fn of(
        opened: Vec<Opened>,
        pool: &mut Pool,
        ledger: Arc<Ledger>,
        (stacks, mode): (Slot, UmemMode),
    ) -> Result<Self, SetupError> {
        let mut free = vec![false; pool.frames() as usize];
        while let Some(frame) = pool.to_nic() {
            free[frame as usize] = true;
        }
        ledger.begin(|frame| free[frame as usize]);
        let frames = (pool.frames(), pool.arena().frame_size());
        let ways = Arc::new(Gangways::new(Arc::clone(&ledger), stacks).at(Step::Rings)?);
        Ok(Self { opened, ledger, ways, frames, stacks, mode })
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
            let steering = part.steering.as_ref().map(Steering::from_fds).transpose();
            let packet = part.packet.map(PacketSocket::inherited).transpose().at(Step::Inherit);
            let ours = (0..).zip(&part.taps).filter(|(s, _)| *s == slot);
            let taps = ours.map(|(_, fd)| sys::dup_inherited(*fd).map(|tap| (slot, tap)));
            let taps = taps.collect::<io::Result<_>>();
            let (sockets, steering, packet, taps) = sockets
                .and_then(|sockets| Ok((sockets, steering?, packet?, taps.at(Step::Inherit)?)))
                .map_err(|e| e.on(&part.interface.name))?;
            let (mut interface, xdp) = (part.interface.clone(), part.xdp);
            // It may have gone and come back since.
            interface.index = part.open_on().unwrap_or(interface.index);
            opened.push(Opened { interface, xdp, packet, sockets, taps, steering });
        }
        let frames = (parts.frames, parts.frame_size);
        let (ledger, stacks) = (Arc::new(ledger), parts.stacks);
        let ways = sys::dup_inherited(parts.crossing).at(Step::Inherit)?;
        let ways = Gangways::from_fd(ways, Arc::clone(&ledger), stacks).at(Step::Inherit)?;
        Ok(Self { opened, ledger, ways: Arc::new(ways), frames, stacks, mode: parts.mode })
    }

    /// Stacks that may share it: fewer than were wished for where [`Options::sockets`] says so.
    pub fn stacks(&self) -> Slot {
        self.stacks
    }

    /// Those of them whose sockets are there.
    pub fn opened(&self) -> Slot {
        let last = |o: &Opened| {
            o.sockets.iter().map(|(slot, _)| *slot).chain(o.taps.iter().map(|(slot, _)| *slot)).max()
        };
        self.opened.iter().filter_map(last).min().map_or(0, |last| last + 1)
    }

    /// The ends that stack `slot` has of the rings between the stacks, for whoever [adopts](Port::adopt) the slot.
    pub fn crossing(&self, slot: Slot) -> Crossing {
        Crossing::new(Arc::clone(&self.ways), slot, self.frames.1 as usize)
    }

    /// Receive queues of all its interfaces together.
    pub fn queues(&self) -> u32 {
        self.opened.iter().map(|o| o.interface.queues).sum()
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
                steering: o.steering.as_ref().map(|steering| steering.inheritable(min)).transpose()?,
                packet: o.packet.as_ref().map(|packet| keep(packet.as_fd())).transpose()?,
                sockets: o.sockets.iter().map(part).collect::<io::Result<_>>()?,
                taps: o.taps.iter().map(|(_, tap)| keep(tap.as_fd())).collect::<io::Result<_>>()?,
            });
        }
        Ok(PortParts {
            ledger: keep(self.ledger.fd())?,
            crossing: keep(self.ways.fd())?,
            frames: self.frames.0,
            frame_size: self.frames.1,
            stacks: self.stacks,
            mode: self.mode,
            interfaces,
            why: String::new(),
        })
    }

    /// Whom to wake at once: frames of stack `slot`, which nobody drives any more, wait for them. It can be asked again.
    ///
    /// # Errors
    /// [`Step::Inherit`] when the memory of the rings cannot be had.
    pub fn take_back(&self, slot: Slot) -> Result<Slots, SetupError> {
        self.ways.take_back(slot).at(Step::Inherit)
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
        self.begin(slot, None, pool, gone)
    }

    /// The same, for a stack that others have led flows to before it begins: these stay its own.
    ///
    /// # Errors
    /// As [`Port::adopt`].
    pub fn adopt_led(
        self,
        slot: Slot,
        pool: &mut Pool,
        gone: &dyn Fn(Slot) -> bool,
    ) -> Result<(Vec<Road>, TakeOver), SetupError> {
        self.begin(slot, Some(slot), pool, gone)
    }

    fn begin(
        self,
        slot: Slot,
        heir: Option<Slot>,
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
            let released = o.steering.iter().try_for_each(|s| s.release(slot, heir, gone, |_| {}));
            released.at(Step::Steer).map_err(|e| e.on(&o.interface.name))?;
        }
        self.take_back(slot)?;
        let (mut nics, steerings) = self.nics_of(slot)?;
        let found = settle(&mut nics, &ledger, (slot, slot), gone);
        let queues = nics.iter().map(|n| n.queues.len() as u32).sum();
        // Who goes on with what others left has to take it in, whichever slot that is.
        let rank = if heir.is_some() { 0 } else { slot };
        let shares = shares(frames, queues, expected(stacks, rank));
        for nic in &mut nics {
            nic.start(pool, shares);
        }
        let roads = nics.into_iter().zip(steerings).map(|(nic, steering)| Road { nic, steering });
        Ok((roads.collect(), found))
    }

    /// Settles what the dead stack of slot `slot`, which this port was opened for, left behind, on behalf of stack
    /// `me`; `gone` says which other stacks have died, too. Its endpoints are those of the others, its flows become
    /// `me`'s and are named to `flow`, once for each interface, its frames return. Where its sockets are gone, the port
    /// being opened without them, what was in their rings is lost.
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
        for o in &self.opened {
            let heir = (me != slot).then_some(me);
            let released = o.steering.iter().try_for_each(|s| s.release(slot, heir, gone, &mut flow));
            released.at(Step::Steer).map_err(|e| e.on(&o.interface.name))?;
        }
        self.return_frames((slot, me), gone)
    }

    /// Returns the frames of stack `slot`, which this port was opened for and which has just ended. What is steered to it
    /// stays so until somebody takes the slot: of its flows some may be another's by now, who is about to lead them.
    ///
    /// # Errors
    /// [`Step::Inherit`] when there is no such slot.
    pub fn vacate(self, slot: Slot, gone: &dyn Fn(Slot) -> bool) -> Result<TakeOver, SetupError> {
        self.return_frames((slot, slot), gone)
    }

    fn return_frames(
        self,
        (slot, me): (Slot, Slot),
        gone: &dyn Fn(Slot) -> bool,
    ) -> Result<TakeOver, SetupError> {
        let ledger = Arc::clone(&self.ledger);
        self.take_back(slot)?;
        let is_gone = self.opened.iter().all(|o| o.sockets.is_empty() && o.taps.is_empty());
        let mut nics = if is_gone { Vec::new() } else { self.nics_of(slot)?.0 };
        Ok(settle(&mut nics, &ledger, (slot, me), gone))
    }

    fn nics_of(self, slot: Slot) -> Result<(Vec<XskNic>, Vec<Option<Steering>>), SetupError> {
        let Self { opened, ledger, frames, mode, .. } = self;
        let common = Common { ledger, slot, frames: frames.0, frame_size: frames.1 };
        let mut number = 0;
        let (mut nics, mut steerings) = (Vec::new(), Vec::new());
        for o in opened {
            let (nic, steering) = o.nic(number, mode, &common)?;
            number += nic.queues.len();
            nics.push(nic);
            steerings.push(steering);
        }
        Ok((nics, steerings))
    }

    fn enter_slots(&self) -> Result<(), SetupError> {
        for o in &self.opened {
            let Some(steering) = &o.steering else { continue };
            for (slot, socket) in &o.sockets {
                steering
                    .set_xsk(*slot, socket.queue(), socket.as_fd())
                    .at(Step::Steer)
                    .map_err(|e| e.on(&o.interface.name))?;
            }
        }
        Ok(())
    }
}

/// The sockets of the first so many stacks on an interface, given those of the first one.
fn beside(
    interface: &Interface,
    firsts: Vec<XskSocket>,
    stacks: Slot,
    mode: UmemMode,
) -> Result<Vec<(Slot, XskSocket)>, SetupError> {
    let mut more = Vec::new();
    for slot in 1..stacks {
        for first in &firsts {
            let place = Place { interface: interface.index, queue: first.queue() };
            more.push((slot, XskSocket::beside(first, place, mode)?));
        }
    }
    Ok(firsts.into_iter().map(|socket| (0, socket)).chain(more).collect())
}

/// Behind the driver their queues are the kernel's, which makes one of them for each stack.
fn find(pool: &Pool, names: &[&str], options: &Options) -> Result<Vec<Interface>, SetupError> {
    if names.is_empty() {
        return Err(SetupError::found(Step::Interface, libc::EINVAL, "no interface was named"));
    }
    let behind = matches!(options.xdp, Some(XdpMode::Tc | XdpMode::Nowhere));
    let frame_size = pool.arena().frame_size();
    let cuts = (behind || options.multi_buffer) && receives(frame_size) + ETH_HEADER >= DATAGRAM_MAX;
    let one = |name: &&str| {
        let found = Interface::find(name)?;
        let interface = if behind { Interface { queues: 1, ..found } } else { found };
        if !cuts && interface.is_wide(frame_size) {
            return Err(too_wide(&interface, frame_size));
        }
        check_queues(&interface).map(|()| interface)
    };
    names.iter().map(one).collect()
}

/// The longest IP packet that comes whole in a frame of the pool.
pub(crate) fn receives(frame_size: u32) -> u32 {
    frame_size.saturating_sub(RX_HEADROOM + LINK_HEADER_MAX)
}

pub(crate) fn too_wide(interface: &Interface, frame_size: u32) -> SetupError {
    let fault = format!(
        "its MTU is {}, and frames of this size take {}: lower it, or use larger frames",
        interface.mtu,
        receives(frame_size)
    );
    SetupError::found(Step::Interface, libc::EOPNOTSUPP, fault).on(&interface.name)
}

/// Counts the queues again now that programs are there, which may have brought some: a frame that comes on a queue
/// without a socket is lost to the port. Whether they have.
fn recount(interfaces: &mut [Interface]) -> Result<bool, SetupError> {
    let mut brought = false;
    for interface in interfaces {
        let before = interface.queues;
        interface.recount();
        brought |= interface.queues > before;
        check_queues(interface)?;
    }
    Ok(brought)
}

fn check_queues(interface: &Interface) -> Result<(), SetupError> {
    if interface.queues <= QUEUES {
        return Ok(());
    }
    let fault = format!("it has {} receive queues, {QUEUES} is the limit: ethtool -L", interface.queues);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn with_queues(queues: u32) -> Interface {
        Interface { queues, ..Interface::find("lo").unwrap() }
    }

    #[test]
    fn there_are_no_more_stacks_than_sockets_for_them() {
        let stacks = |stacks, sockets, queues: &[u32]| {
            let interfaces: Vec<Interface> = queues.iter().copied().map(with_queues).collect();
            Options { stacks, sockets, ..Options::default() }.stacks_on(&interfaces)
        };
        assert_eq!([stacks(17, 112, &[1]), stacks(17, 112, &[4, 4]), stacks(17, 112, &[64])], [17, 14, 1]);
        assert_eq!([stacks(1, 0, &[1]), stacks(0, 112, &[1])], [1, 1], "one in any case");
        assert_eq!([stacks(61, u32::MAX, &[64]), stacks(Slot::MAX, u32::MAX, &[1])], [61, Options::STACKS]);
    }

    #[test]
    fn superframes_are_wanted_where_one_transmit_queue_is_known() {
        let wanted = |interface: &Interface| {
            [Offload::Off, Offload::Auto, Offload::On].map(|offload| offload.is_wanted_on(interface))
        };
        assert_eq!(wanted(&with_queues(1)), [false, true, true]);
        let gone = Interface { name: "no-such-if".into(), index: u32::MAX, ..with_queues(1) };
        assert_eq!(wanted(&gone), [false, false, true]);
    }
}
