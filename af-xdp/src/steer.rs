//! The steering program on an interface, and its maps.
//!
//! The program redirects what the maps name and passes all else to the kernel (`bpf/steer.bpf.c`). It stays
//! attached as long as some process holds the link's descriptor. Everything here works on descriptors, so a
//! process that inherited them goes on without any privilege.

mod attach;
mod credit;
mod directory;
mod fds;
mod groups;
mod guard;
mod keys;
mod limits;
mod vlans;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::error::{At, SetupError, Step};
use crate::interface::{Interface, xdp_program};
use crate::ledger::Slot;
use crate::mapped::Words;
use crate::sys::{self, BpfMap};
use crate::tap;
use attach::{attach, attach_any, classifier, filter, is_vacant, load, map, occupied, program};
use aya::Ebpf;
use credit::Credits;
use directory::Directory;
use groups::Groups;
use guard::Guards;
use keys::{CONFIG_WORDS, COUNTS, CREDIT_WORDS, DIRECTORY, FLOW_WORDS, FlowKey, GROUP_WORDS, PortKey, SLOT};
use nic::Own;

pub use fds::SteeringFds;
pub use guard::{Alarm, Guard, GuardTable, Place, PlaceKind, PreparedGuard};
pub use keys::{
    CLASSES, GUARD_RULES, GUARD_TABLES, GUARD_WORDS, QUEUES, SLOTS, SteeredFlow, SteeringCounters, TALLIES,
};
pub use limits::Limits;

/// The compiled steering program, as it is checked in: for XDP, and for tc.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/steer.bpf.o");
static OBJECT_TC: &[u8] = aya::include_bytes_aligned!("../bpf/steer_tc.bpf.o");

/// Where on the receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel's receive path, behind the driver: works everywhere, costs more.
    Generic,
    /// Still behind, at tc ingress: no AF_XDP then, but long frames whole, from a TAP device and through a packet socket.
    Tc,
    /// Nowhere: the interface is a TAP device of the stack's own, and all that the kernel sends there is for it.
    Nowhere,
}

impl XdpMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Native, Self::Generic, Self::Tc, Self::Nowhere];

    /// The word for it in reports: `native`, `generic`, `tc` or `none`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
            Self::Nowhere => "none",
        }
    }

    /// What the kernel calls it; nothing that is not XDP has flags.
    fn flags(self) -> u32 {
        const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
        const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
        match self {
            Self::Native => XDP_FLAGS_DRV_MODE,
            Self::Generic => XDP_FLAGS_SKB_MODE,
            Self::Tc | Self::Nowhere => 0,
        }
    }
}

/// The steering program on one interface. It is detached when the last process that holds its descriptors
/// closes them, however that comes about.
#[derive(Debug)]
pub struct Steering {
    link: Own,
    xsks: BpfMap,
    flows: BpfMap,
    ports: BpfMap,
    counters: BpfMap,
    directory: Directory,
    groups: Groups,
    config: Words,
    credits: Credits,
    tagged: BpfMap,
    guards: Guards,
}

/// The words of `struct steer_config`.
const SEED: usize = 0;
const LOCK: usize = 1;
/// The directory's mask, and in the upper half the flows that found no place in it.
const MASK_AND_OVERFLOW: usize = 2;
const ONE_MORE: u64 = 1 << 32;

/// How long a lock of another stack is waited for: it is held for a few system calls.
const LOCK_WAIT: Duration = Duration::from_millis(200);

/// Bytes in keys and values of the maps.
const XSKS_SHAPE: (usize, usize) = (4, SLOT);
const FLOWS_SHAPE: (usize, usize) = (FlowKey::SIZE, SLOT);
const PORTS_SHAPE: (usize, usize) = (PortKey::SIZE, SLOT);
const COUNTERS_SHAPE: (usize, usize) = (4, COUNTS);
const DIRECTORY_SHAPE: (usize, usize) = (4, FLOW_WORDS * 8);
const GROUPS_SHAPE: (usize, usize) = (4, GROUP_WORDS * 8);
const CONFIG_SHAPE: (usize, usize) = (4, CONFIG_WORDS * 8);
const CREDITS_SHAPE: (usize, usize) = (4, CREDIT_WORDS * 8);
const LIMITS_SHAPE: (usize, usize) = (4, limits::SIZE);

impl Steering {
    /// Loads the program and attaches it: natively where the driver can, else generic, unless `mode` asks for
    /// one of them. `multi_buffer` loads the variant that says it can deal with frames in several buffers. What is
    /// beyond `limits` stays the kernel's, whatever those who hold the descriptors ask for.
    ///
    /// # Errors
    /// [`Step::Load`] and [`Step::Attach`]; a program that is there already is named and left alone.
    pub fn open(
        interface: &Interface,
        mode: Option<XdpMode>,
        multi_buffer: bool,
        limits: &Limits,
    ) -> Result<(Self, XdpMode), SetupError> {
        let attempt = || -> Result<(Self, XdpMode), SetupError> {
            if let Some(id) = xdp_program(interface.index).filter(|id| *id != 0) {
                return Err(occupied(id));
            }
            let mut object = loaded(OBJECT, interface, limits)?;
            let program = program(&mut object, multi_buffer)?;
            let (link, mode) = match mode {
                Some(mode) => (attach(program.as_fd(), interface, mode)?, mode),
                None => attach_any(program.as_fd(), interface)?,
            };
            Ok((Self::begin(link, &object)?, mode))
        };
        attempt().map_err(|e| e.on(&interface.name))
    }

    /// The same at tc ingress ([`XdpMode::Tc`]), and a queue of a device for each of `stacks` stacks, which hears there
    /// what is steered to it.
    ///
    /// # Errors
    /// [`Step::Device`], [`Step::Load`] and [`Step::Attach`].
    pub(crate) fn open_behind(
        interface: &Interface,
        stacks: Slot,
        limits: &Limits,
    ) -> Result<(Self, Vec<OwnedFd>), SetupError> {
        let attempt = || -> Result<(Self, Vec<OwnedFd>), SetupError> {
            let mut object = loaded(OBJECT_TC, interface, limits)?;
            let (queue_of, is_led) = (filter(&mut object, "queue_of")?, filter(&mut object, "is_led")?);
            let name = tap::name(interface.index);
            let (device, queues) =
                tap::make(&name, stacks, queue_of.as_fd(), is_led.as_fd()).at(Step::Device)?;
            let devices = map(&object, "xsks", XSKS_SHAPE)?;
            for slot in 0..u32::from(stacks) {
                devices.update(&slot.to_ne_bytes(), &device.to_ne_bytes()).at(Step::Steer)?;
            }
            // Whoever drives the port may not lead packets to other devices.
            devices.freeze().at(Step::Steer)?;
            let program = classifier(&mut object)?;
            let link = sys::link_tcx(program.as_fd(), interface.index).at(Step::Attach)?;
            Ok((Self::begin(link, &object)?, queues))
        };
        attempt().map_err(|e| e.on(&interface.name))
    }

    /// The program that has just been attached, its maps as they are to be at first.
    fn begin(link: OwnedFd, object: &Ebpf) -> Result<Self, SetupError> {
        let steering = Self::over(link, |name, shape| map(object, name, shape))?;
        steering.config.long(SEED).store(RandomState::new().hash_one(0), Ordering::Relaxed);
        steering.config.long(MASK_AND_OVERFLOW).store(u64::from(DIRECTORY - 1), Ordering::Relaxed);
        Ok(steering)
    }

    /// The program behind `link`, with the maps that `map` finds by name and shape.
    fn over(
        link: OwnedFd,
        map: impl Fn(&str, (usize, usize)) -> Result<BpfMap, SetupError>,
    ) -> Result<Self, SetupError> {
        let mapped = |name, shape| map(name, shape).map(BpfMap::into_fd);
        let config = mapped("config", CONFIG_SHAPE)?;
        Ok(Self {
            link: Own::new(link),
            xsks: map("xsks", XSKS_SHAPE)?,
            flows: map("flows", FLOWS_SHAPE)?,
            ports: map("ports", PORTS_SHAPE)?,
            counters: map("counts", COUNTERS_SHAPE)?,
            directory: Directory::map(mapped("directory", DIRECTORY_SHAPE)?).at(Step::Load)?,
            groups: Groups::map(mapped("groups", GROUPS_SHAPE)?).at(Step::Load)?,
            config: Words::of_map(config, CONFIG_SHAPE.1).at(Step::Load)?,
            credits: Credits::map(mapped("credits", CREDITS_SHAPE)?).at(Step::Load)?,
            tagged: map("tagged", vlans::SHAPE)?,
            guards: Guards::over(&map)?,
        })
    }

    /// Puts a socket that is bound to `queue` into slot `slot`: what is steered to the slot and arrives on
    /// that queue is redirected to it.
    ///
    /// # Errors
    /// `EINVAL` when slot or queue are out of range, else the operating system's.
    pub fn set_xsk(&self, slot: Slot, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        let slot = u32::from(slot);
        if slot >= SLOTS || queue >= QUEUES {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let index = slot * QUEUES + queue;
        self.xsks.update(&index.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes())
    }

    /// Stack `slot` hears what is sent to `local` and is no flow of another stack's; several stacks share it, flow
    /// by flow. `protocol` is the IP protocol number, TCP or UDP. The address must be one address: the program
    /// knows no wildcard.
    ///
    /// # Errors
    /// The operating system's; `E2BIG` when the map is full, `EBUSY` when another stack does not get done.
    pub fn add_port(&self, protocol: u8, local: SocketAddr, slot: Slot) -> io::Result<()> {
        let key = PortKey::new(protocol, local).0;
        let _lock = self.lock(slot)?;
        let group = match self.group(&key)? {
            Some(group) => group,
            None => {
                let vacant = self.groups.vacant().ok_or_else(|| io::Error::from_raw_os_error(libc::E2BIG))?;
                self.groups.change(vacant, slot, true);
                self.ports.update(&key, &vacant.to_ne_bytes()).inspect_err(|_| {
                    self.groups.change(vacant, slot, false);
                })?;
                vacant
            }
        };
        self.groups.change(group, slot, true);
        Ok(())
    }

    /// Ends [`Steering::add_port`]; an endpoint that is not there is no error.
    ///
    /// # Errors
    /// As [`Steering::add_port`].
    pub fn remove_port(&self, protocol: u8, local: SocketAddr, slot: Slot) -> io::Result<()> {
        let key = PortKey::new(protocol, local).0;
        let _lock = self.lock(slot)?;
        match self.group(&key)? {
            Some(group) if !self.groups.change(group, slot, false) => self.ports.delete(&key),
            _ => Ok(()),
        }
    }

    fn group(&self, key: &[u8]) -> io::Result<Option<u32>> {
        let mut group = [0; SLOT];
        Ok(self.ports.lookup(key, &mut group)?.then(|| u32::from_ne_bytes(group)))
    }

    /// One flow is stack `slot`'s; that goes before [`Steering::add_port`].
    ///
    /// # Errors
    /// The operating system's; `E2BIG` when the directory and the map behind it are full.
    pub fn add_flow(
        &self,
        protocol: u8,
        local: SocketAddr,
        remote: SocketAddr,
        slot: Slot,
    ) -> io::Result<()> {
        let key = FlowKey::new(protocol, local, remote);
        if self.directory.insert(&key, self.seed(), slot) {
            return Ok(());
        }
        self.flows.update(&key.0, &u32::from(slot).to_ne_bytes())?;
        self.config.long(MASK_AND_OVERFLOW).fetch_add(ONE_MORE, Ordering::Relaxed);
        Ok(())
    }

    /// As [`Steering::add_flow`], but a flow that another stack has stays that stack's: its first packet was steered
    /// here before.
    ///
    /// # Errors
    /// As [`Steering::add_flow`].
    pub fn add_new_flow(
        &self,
        protocol: u8,
        local: SocketAddr,
        remote: SocketAddr,
        slot: Slot,
    ) -> io::Result<()> {
        match self.slot_of(protocol, local, remote) {
            Some(other) if other != slot => Ok(()),
            _ => self.add_flow(protocol, local, remote, slot),
        }
    }

    /// What leads to stack `from`, or nowhere by a rule of its own, leads to stack `to`. A flow that a third one has stays
    /// with that.
    ///
    /// # Errors
    /// As [`Steering::add_flow`].
    pub fn lead_flow(
        &self,
        protocol: u8,
        local: SocketAddr,
        remote: SocketAddr,
        (from, to): (Slot, Slot),
    ) -> io::Result<()> {
        if self.directory.hand(&FlowKey::new(protocol, local, remote), self.seed(), (from, to)) {
            return Ok(());
        }
        match self.slot_of(protocol, local, remote) {
            Some(other) if other != from => Ok(()),
            _ => self.add_flow(protocol, local, remote, to),
        }
    }

    /// Ends [`Steering::add_flow`]; a flow that is not there, or another stack's by now, is no error.
    ///
    /// # Errors
    /// The operating system's.
    pub fn remove_flow(
        &self,
        protocol: u8,
        local: SocketAddr,
        remote: SocketAddr,
        slot: Slot,
    ) -> io::Result<()> {
        let key = FlowKey::new(protocol, local, remote);
        if self.directory.remove(&key, self.seed(), slot) || self.overflown(&key)? != Some(slot) {
            return Ok(());
        }
        self.flows.delete(&key.0)
    }

    /// The stack of a flow that found no place in the directory.
    fn overflown(&self, key: &FlowKey) -> io::Result<Option<Slot>> {
        let mut slot = [0; SLOT];
        let some = self.config.long(MASK_AND_OVERFLOW).load(Ordering::Relaxed) >= ONE_MORE;
        let found = some && self.flows.lookup(&key.0, &mut slot)?;
        Ok(if found { Slot::try_from(u32::from_ne_bytes(slot)).ok() } else { None })
    }

    /// Stack `slot` begins to say how many connection requests it is ready for: `most` now, and never more at once.
    /// Answers the number to go on from with [`Steering::grant`].
    pub fn begin_credit(&self, slot: Slot, most: u32) -> u64 {
        self.credits.begin(slot, most)
    }

    /// Stack `slot` was ever ready for `granted` connection requests. SYNs beyond that are dropped, those that come
    /// again last. A stack that never began has all its SYNs.
    #[inline]
    pub fn grant(&self, slot: Slot, granted: u64) {
        self.credits.grant(slot, granted);
    }

    /// SYNs to stack `slot` that were dropped, whichever process it was.
    pub fn shed(&self, slot: Slot) -> u64 {
        self.credits.shed(slot)
    }

    /// The stack that has a flow.
    pub fn slot_of(&self, protocol: u8, local: SocketAddr, remote: SocketAddr) -> Option<Slot> {
        let key = FlowKey::new(protocol, local, remote);
        self.directory.get(&key, self.seed()).or_else(|| self.overflown(&key).ok().flatten())
    }

    /// Nothing is steered to stack `slot` any more, which is gone or begins anew; `gone` says which others are, too. Its
    /// flows go to `heir`, if there is one, and are named to `flow`; they stay as they are when that is itself. Looks at
    /// everything.
    ///
    /// # Errors
    /// As [`Steering::add_port`].
    pub fn release(
        &self,
        slot: Slot,
        heir: Option<Slot>,
        gone: &dyn Fn(Slot) -> bool,
        mut flow: impl FnMut(SteeredFlow),
    ) -> io::Result<()> {
        let lock = self.take_lock(heir.unwrap_or(slot), &|other| other == slot || gone(other))?;
        let mut empty = Vec::new();
        self.groups.release(slot, |group| empty.push(group));
        let stale = self.ports.keys_where(|_, group| empty.contains(&group))?;
        stale.iter().try_for_each(|key| self.ports.delete(key))?;
        drop(lock);
        self.credits.grant(slot, 0);
        if heir == Some(slot) {
            return Ok(());
        }
        self.directory.release(slot, heir, &mut flow);
        for key in self.flows.keys_where(|_, of| of == u32::from(slot))? {
            self.flows.delete(&key)?;
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.config.long(SEED).load(Ordering::Relaxed)
    }

    fn lock(&self, slot: Slot) -> io::Result<Lock<'_>> {
        self.take_lock(slot, &|_| false)
    }

    /// The lock, also from a stack that is `gone`: what that was changing is made whole then.
    fn take_lock(&self, me: Slot, gone: &dyn Fn(Slot) -> bool) -> io::Result<Lock<'_>> {
        let (word, mine) = (self.config.long(LOCK), u64::from(me) + 1);
        let until = Instant::now() + LOCK_WAIT;
        loop {
            let Err(holder) = word.compare_exchange(0, mine, Ordering::Acquire, Ordering::Acquire) else {
                return Ok(Lock(word));
            };
            if gone((holder - 1) as Slot)
                && word.compare_exchange(holder, mine, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                self.groups.mend();
                return Ok(Lock(word));
            }
            if Instant::now() >= until {
                return Err(io::Error::from_raw_os_error(libc::EBUSY));
            }
            thread::yield_now();
        }
    }

    /// What the program has done since it was loaded, all CPUs together.
    ///
    /// # Errors
    /// The operating system's.
    pub fn counters(&self) -> io::Result<SteeringCounters> {
        let mut values = SteeringCounters::buffer();
        self.counters.lookup_per_cpu(&0u32.to_ne_bytes(), &mut values)?;
        Ok(SteeringCounters::sum(&values))
    }
}

/// One of the two objects with its maps, in which the limits are written.
fn loaded(object: &[u8], interface: &Interface, limits: &Limits) -> Result<Ebpf, SetupError> {
    is_vacant(interface)?;
    let object = load(object)?;
    let bytes = limits.bytes().at(Step::Load)?;
    map(&object, "limits", LIMITS_SHAPE)?.update(&0u32.to_ne_bytes(), &bytes).at(Step::Load)?;
    Ok(object)
}

/// The right to change groups.
struct Lock<'a>(&'a std::sync::atomic::AtomicU64);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}
