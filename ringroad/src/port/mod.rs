//! The port: what takes privilege to open and outlives a process image.
//!
//! A memfd holds a header, the description of the other descriptors and the frames; the AF_XDP sockets, the steering
//! program's link and its maps, and a memfd with the policies, are plain descriptors beside it. All of them
//! survive `fork`, and `exec` when handed over. Several processes drive it, each a slot: a socket of its own on
//! every queue, on frames that all share.

mod claim;
mod fds;
mod header;
mod loopback;
mod policy;
mod post;
mod roster;
mod secret;
mod travel;

use std::fs::File;
use std::io;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use af_xdp::{Interface, Limits, Options, PortParts, RingSizes, Road, SetupError, Slot};
use nic::{Arena, Pool};

use crate::config::Config;
use crate::error::StartError;
use fds::borrow;
pub(crate) use fds::{aside, socket_aside};
use header::{HEADER, Header, Layout};
pub(crate) use policy::Texts;
pub(crate) use post::Post;
pub(crate) use roster::Roster;

/// Bytes in a frame: an MTU of 1500 with headroom, two to a page would leave too little.
const FRAME_SIZE: u32 = 4096;
/// Room for the description of the descriptors.
const PARTS_ROOM: u64 = 60 * 1024;
const PAGE: u64 = 4096;
/// Descriptors kept away from those that the application gets: so many below its limit.
const BELOW_LIMIT: u64 = 200;
/// A higher limit changes nothing: tables of descriptors are as large as the highest one.
const HIGHEST: u64 = 4096;

/// The port that this process opened itself, as the number of its file.
static OWN: AtomicI32 = AtomicI32::new(-1);

/// Processes that may drive a port side by side, where there are descriptors for so many.
const STACKS: Slot = 16;
/// Descriptors for their sockets: those below [`BELOW_LIMIT`] less what else a port needs.
const SOCKETS: u32 = 128;
/// Slots in the rx ring of each, when there are several: one that does not read holds so many frames at the most.
const RX_RING: u32 = 1024;

/// A port, opened here or inherited; not yet driven.
#[derive(Debug)]
pub(crate) struct Port {
    file: File,
    header: Header,
    layout: Layout,
}

/// A slot of a port, which this process drives.
pub(crate) struct Claimed {
    port: Port,
    slot: Slot,
    /// Processes that may drive the port.
    stacks: Slot,
}

/// What a claimed port is made of.
pub(crate) struct Driving {
    pub(crate) pool: Pool,
    pub(crate) roads: Vec<Road>,
}

impl Port {
    /// Opens the configured interfaces, with `policy` in the port for whoever drives it; what is beyond `limits` stays
    /// the kernel's. Needs privilege.
    pub(crate) fn open(config: &Config, policy: &str, limits: &Limits) -> Result<Self, StartError> {
        let step = || format!("opening {}", config.interfaces.join(", "));
        for name in &config.interfaces {
            if Interface::find(name).is_ok_and(|interface| interface.is_loopback())
                && let Some(command) = loopback::remedy(name)
            {
                let reason = format!("the kernel takes no frames of ours on {name} as it is set");
                return Err(StartError::new(step(), reason).remedy(command));
            }
        }
        let base = (HEADER as u64 + PARTS_ROOM).next_multiple_of(PAGE);
        let layout = Layout {
            parts_len: 0,
            arena_base: base,
            frames: config.frames,
            frame_size: FRAME_SIZE,
            key: secret::of_host().map_err(|e| StartError::new(step(), e))?,
        };
        let (file, mut pool) = memory(&layout).map_err(|e| {
            StartError::new(step(), e).remedy(format!(
                "{} MiB are needed: RINGROAD_FRAMES sets it",
                (u64::from(config.frames) * u64::from(FRAME_SIZE)) >> 20
            ))
        })?;
        let names: Vec<&str> = config.interfaces.iter().map(String::as_str).collect();
        let opened = options(&names)
            .and_then(|options| af_xdp::Port::open_within(&mut pool, &names, &options, limits))
            .map_err(|e| StartError::new(step(), e))?;
        let parts = opened.inheritable(high_numbers()).map_err(|e| StartError::new(step(), e))?;
        Self::write(file, layout, &parts, policy).map_err(|e| StartError::new(step(), e))
    }

    fn write(file: File, mut layout: Layout, parts: &PortParts, policy: &str) -> io::Result<Self> {
        let stacks = parts.stacks();
        let parts = parts.to_string();
        layout.parts_len = parts.len() as u64;
        file.write_all_at(parts.as_bytes(), HEADER as u64)?;
        let header = Header::map(&file)?;
        header.write(&layout);
        let roster = eventfd(0, EventfdFlags::NONBLOCK)?;
        let roster = rustix::io::fcntl_dupfd_cloexec(&roster, high_numbers())?;
        rustix::io::fcntl_setfd(&roster, rustix::io::FdFlags::empty())?;
        header.set_roster(roster.into_raw_fd());
        let policy = rustix::io::fcntl_dupfd_cloexec(&policy::create(policy)?, high_numbers())?;
        rustix::io::fcntl_setfd(&policy, rustix::io::FdFlags::empty())?;
        header.set_policy(policy.into_raw_fd());
        post::make(&header, stacks)?;
        Ok(Self { file, header, layout })
    }

    /// Puts the port's file at a high number that an `exec` leaves open, for `RINGROAD_PORT`.
    pub(crate) fn hand_over(self) -> io::Result<RawFd> {
        let file = rustix::io::fcntl_dupfd_cloexec(&self.file, high_numbers())?;
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
        Ok(file.into_raw_fd())
    }

    /// Keeps the port for this process and its children, but for no program they execute.
    pub(crate) fn keep(self) -> io::Result<()> {
        let parts = self.parts()?;
        for fd in self.descriptors(&parts) {
            let fd = borrow(fd)?;
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
        }
        let file = rustix::io::fcntl_dupfd_cloexec(&self.file, high_numbers())?;
        OWN.store(file.into_raw_fd(), Ordering::Release);
        Ok(())
    }

    /// The port of this process: the one it opened, or the one that the launcher handed over.
    pub(crate) fn inherited(config: &Config) -> Option<Result<Self, StartError>> {
        let own = OWN.load(Ordering::Acquire);
        let fd = if own >= 0 { own } else { config.port.as_ref()?.parse().unwrap_or(-1) };
        Some(Self::import(fd).map_err(|e| {
            StartError::new("taking over the port", e)
                .remedy("the program may have closed the descriptors that `ringroad run` gave it")
        }))
    }

    /// The descriptors of the port that this process opened or was given, its file included; none without one.
    pub(crate) fn held(config: &Config) -> Vec<RawFd> {
        let own = OWN.load(Ordering::Acquire);
        let file = if own >= 0 { Some(own) } else { config.port.as_ref().and_then(|p| p.parse().ok()) };
        let port = Self::inherited(config).and_then(Result::ok);
        let parts = port.as_ref().and_then(|port| port.parts().ok());
        let inherited = port.iter().zip(&parts).flat_map(|(port, parts)| port.descriptors(parts));
        inherited.chain(file).collect()
    }

    /// All of them but the file.
    fn descriptors(&self, parts: &PortParts) -> Vec<RawFd> {
        let mut all = vec![parts.ledger, self.header.roster(), self.header.policy()];
        for part in &parts.interfaces {
            all.extend(part.steering.all());
            all.extend(part.sockets.iter().map(|x| x.fd));
        }
        for (read, write) in (0..parts.stacks()).map(|slot| self.header.post(slot)) {
            all.extend([read, write]);
        }
        all
    }

    fn import(fd: RawFd) -> io::Result<Self> {
        let file: File = aside(rustix::io::fcntl_dupfd_cloexec(borrow(fd)?, 0)?).into();
        let header = Header::map(&file)?;
        let layout = header.read()?;
        Ok(Self { file, header, layout })
    }

    fn parts(&self) -> io::Result<PortParts> {
        let text = self.text(HEADER as u64, self.layout.parts_len)?;
        text.parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    fn text(&self, at: u64, len: u64) -> io::Result<String> {
        let mut bytes = vec![0; usize::try_from(len.min(self.layout.arena_base)).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, at)?;
        String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    /// The file with the policies.
    fn policy_file(&self) -> io::Result<File> {
        Ok(rustix::io::fcntl_dupfd_cloexec(borrow(self.header.policy())?, 0)?.into())
    }

    /// Whether the process that drove a slot has died there.
    fn is_dead(&self, slot: Slot) -> bool {
        claim::owner(self.header.owner(slot)).is_some_and(|owner| !owner.lives())
    }

    /// Makes this process the one that drives a slot of the port, the first that is free.
    ///
    /// # Errors
    /// The pid of a live process that has one, when all are taken.
    pub(crate) fn claim(self) -> Result<Claimed, StartError> {
        let stacks = self.parts().map_err(|e| StartError::new("taking over the port", e))?.stacks();
        let mut other = None;
        // A dead one's slot is left to those who bury it while there are others.
        if let Some(slot) = (0..stacks).find(|slot| claim::claim_free(self.header.owner(*slot))) {
            return Ok(Claimed { port: self, slot, stacks });
        }
        for slot in 0..stacks {
            match claim::claim(self.header.owner(slot)) {
                Ok(()) => return Ok(Claimed { port: self, slot, stacks }),
                Err(owner) => other = Some(owner.pid),
            }
        }
        Err(StartError::busy(other.unwrap_or_default()))
    }
}

impl Claimed {
    /// The slot.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether other processes may drive the port beside this one.
    pub(crate) fn is_shared(&self) -> bool {
        self.stacks > 1
    }

    /// The host's key of initial sequence numbers, as bytes.
    pub(crate) fn isn_key(&self) -> [u8; 16] {
        let [low, high] = self.port.layout.key.map(u64::to_ne_bytes);
        std::array::from_fn(|n| if n < 8 { low[n] } else { high[n - 8] })
    }

    /// The policies of the port.
    pub(crate) fn policies(&self) -> io::Result<Texts> {
        policy::read(&self.port.policy_file()?)
    }

    /// Puts another policy in force, for whoever comes to drive the port.
    pub(crate) fn replace_policy(&self, text: &str) -> io::Result<()> {
        policy::replace(&self.port.policy_file()?, text)
    }

    /// Takes the rings over, whoever drove them before.
    pub(crate) fn drive(&self) -> Result<Driving, StartError> {
        let step = "taking over the port";
        let failed = |e: io::Error| StartError::new(step, e);
        let layout = &self.port.layout;
        let file = aside(self.port.file.try_clone().map_err(failed)?.into()).into();
        let arena =
            Arena::from_file(file, layout.arena_base, layout.frames, layout.frame_size).map_err(failed)?;
        let mut pool = Pool::new(arena);
        let parts = self.port.parts().map_err(failed)?;
        let slot = self.slot;
        let (roads, found) = af_xdp::Port::from_parts(&parts, slot)
            .and_then(|port| port.adopt(slot, &mut pool, &|slot| self.port.is_dead(slot)))
            .map_err(|e| StartError::new(step, e))?;
        tracing::debug!(slot, ?found, "took the rings over");
        Ok(Driving { pool, roads })
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        claim::release(self.port.header.owner(self.slot));
    }
}

/// As many stacks as there are descriptors for.
fn options(names: &[&str]) -> Result<Options, SetupError> {
    let queues =
        names.iter().map(|name| Ok(Interface::find(name)?.queues)).sum::<Result<u32, SetupError>>()?;
    let stacks = Slot::try_from(SOCKETS / queues.max(1)).unwrap_or(STACKS).clamp(1, STACKS);
    let rx = if stacks > 1 { RX_RING } else { RingSizes::default().rx };
    Ok(Options { stacks, rings: RingSizes { rx, ..RingSizes::default() }, ..Options::default() })
}

/// The file of a port, and a pool over its arena.
fn memory(layout: &Layout) -> io::Result<(File, Pool)> {
    let fd = rustix::fs::memfd_create("ringroad-port", rustix::fs::MemfdFlags::CLOEXEC)?;
    let file = File::from(fd);
    file.set_len(layout.arena_base + u64::from(layout.frames) * u64::from(layout.frame_size))?;
    let arena = Arena::from_file(file.try_clone()?, layout.arena_base, layout.frames, layout.frame_size)?;
    Ok((file, Pool::new(arena)))
}

/// The lowest number for descriptors that the application should not run into.
fn high_numbers() -> RawFd {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(HIGHEST);
    limit.min(HIGHEST).saturating_sub(BELOW_LIMIT).max(3) as RawFd
}
