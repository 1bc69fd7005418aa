//! The port: what takes privilege to open and outlives a process image.
//!
//! A memfd holds a header, the description of the other descriptors, what the gates know together and the frames; the AF_XDP sockets, the steering
//! program's link and its maps, and a memfd with the policies, are plain descriptors beside it. All of them
//! survive `fork`, and `exec` when handed over. Several processes drive it, each a slot: a socket of its own on
//! every queue, on frames that all share.

mod again;
mod backend;
mod boxes;
mod claim;
mod commons;
mod desk;
mod fds;
mod header;
mod keeping;
mod loopback;
mod numbers;
mod plan;
mod policy;
mod post;
mod room;
mod roster;
mod secret;
mod shelf;
mod travel;
mod words;

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use af_xdp::{
    Crossing, Interface, InterfaceParts, Limits, PortParts, Road, SetupError, Slot, Steering, SteeringFds,
    XdpMode,
};
use nic::{Arena, Own, Pool};
use stack::types::MAX_IFACES;

use crate::config::Config;
use crate::error::StartError;
pub(crate) use backend::adapter_options;
use backend::{Opened, Opening};
pub(crate) use boxes::Bells;
use boxes::Place;
pub(crate) use desk::Desk;
pub(crate) use fds::{aside, borrow, close, socket_aside};
use header::{HEADER, Header, Layout};
pub(crate) use keeping::Guests;
use numbers::high;
use plan::Plan;
pub(crate) use plan::{PROCESSES, Sockets};
pub(crate) use policy::Texts;
pub(crate) use post::{Letter, Post, RING};
pub(crate) use roster::Roster;
use shelf::Shelf;

/// Bytes in a frame: an MTU of 1500 with headroom, two to a page would leave too little.
const FRAME_SIZE: u32 = 4096;
/// Room for the description of the descriptors.
const PARTS_ROOM: u64 = 60 * 1024;
const PAGE: u64 = 4096;
/// Where what the gates of its processes know together begins.
const COMMONS: u64 = (HEADER as u64 + PARTS_ROOM).next_multiple_of(PAGE);
/// The port that this process opened itself, as the number of its file.
static OWN: AtomicI32 = AtomicI32::new(-1);

/// A port, opened here or inherited; not yet driven.
#[derive(Debug)]
pub(crate) struct Port {
    file: Own<File>,
    header: Header,
    layout: Layout,
    /// The other end of the header's line, for the keeper of a port that was opened here.
    line: Option<OwnedFd>,
}

/// A slot of a port, which this process drives.
pub(crate) struct Claimed {
    port: Port,
    slot: Slot,
    /// Processes that may drive the port.
    stacks: Slot,
    /// The sockets of the slot, where they were not made with the port.
    sockets: Vec<Own>,
    /// Where others reach this process, if there may be some.
    place: Option<Place>,
}

/// What a claimed port is made of.
pub(crate) struct Driving {
    pub(crate) pool: Pool,
    pub(crate) roads: Vec<Road>,
    /// Why they are by this backend.
    pub(crate) why: String,
    /// The rings to the other stacks.
    pub(crate) crossing: Crossing,
}

impl Port {
    /// Opens the configured interfaces, with `policy` in the port for whoever drives it; what is beyond `limits` stays
    /// the kernel's. Needs privilege.
    pub(crate) fn open(
        config: &Config,
        policy: &str,
        limits: &Limits,
        sockets: Sockets,
    ) -> Result<Self, StartError> {
        let step = || format!("opening {}", config.interfaces.join(", "));
        let count = config.interfaces.len();
        if count > MAX_IFACES {
            let reason = format!("rules tell {MAX_IFACES} interfaces apart, and no more are driven");
            return Err(StartError::new(format!("opening {count} interfaces"), reason));
        }
        for name in &config.interfaces {
            if Interface::find(name).is_ok_and(|interface| interface.is_loopback())
                && let Some(command) = loopback::remedy(name)
            {
                let reason = format!("the kernel takes no frames of ours on {name} as it is set");
                return Err(StartError::new(step(), reason).remedy(command));
            }
        }
        let base = (COMMONS + commons::BYTES).next_multiple_of(PAGE);
        let mut layout = Layout {
            parts_len: 0,
            arena_base: base,
            frames: config.frames,
            frame_size: FRAME_SIZE,
            key: secret::of_host().map_err(|e| StartError::new(step(), e))?,
            adapters: false,
        };
        let (file, mut pool) = memory(&layout).map_err(|e| {
            StartError::new(step(), e).remedy(format!(
                "{} MiB are needed: RINGROAD_FRAMES sets it",
                (u64::from(config.frames) * u64::from(FRAME_SIZE)) >> 20
            ))
        })?;
        let names: Vec<&str> = config.interfaces.iter().map(String::as_str).collect();
        let opening = Opening { config, names: &names, limits, sockets };
        let Opened { port, why, adapters } = opening.open(&mut pool)?;
        layout.adapters = adapters;
        let plan = Plan::opened(names.len(), &port);
        numbers::keep_for(&plan);
        let written = port
            .inheritable(numbers::lowest())
            .and_then(|parts| Self::write(file, layout, &PortParts { why, ..parts }, policy));
        written.map_err(|e| match e.raw_os_error() {
            Some(libc::EMFILE) => StartError::new(step(), e).remedy(plan.remedy()),
            _ => StartError::new(step(), e),
        })
    }

    fn write(file: File, mut layout: Layout, parts: &PortParts, policy: &str) -> io::Result<Self> {
        let sockets = Plan::sockets_of(parts);
        let parts = description(parts)?;
        layout.parts_len = parts.len() as u64;
        file.write_all_at(parts.as_bytes(), HEADER as u64)?;
        commons::begin(&file, COMMONS)?;
        let header = Header::map(&file)?;
        header.write(&layout);
        header.set_home(claim::home());
        let roster = eventfd(0, EventfdFlags::NONBLOCK)?;
        header.set_roster(high(&roster)?);
        header.set_policy(high(&policy::create(policy)?)?);
        shelf::make(&header)?;
        let mut secret = [0; 16];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())?;
        header.set_secret(secret);
        header.set_keepers_box(desk::make()?);
        if sockets == Sockets::Later {
            header.set_desk(desk::make()?);
        }
        let (line, held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        header.set_line(high(&held)?);
        Ok(Self { file: Own::new(file), header, layout, line: Some(line) })
    }

    /// Puts the port's file at a high number that an `exec` leaves open, for `RINGROAD_PORT`.
    pub(crate) fn hand_over(self) -> io::Result<RawFd> {
        high(&self.file)
    }

    /// Keeps the port for this process and its children, but for no program they execute.
    pub(crate) fn keep(self) -> io::Result<()> {
        let parts = self.parts()?;
        for fd in self.descriptors(&parts) {
            let fd = borrow(fd)?;
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
        }
        let file = rustix::io::fcntl_dupfd_cloexec(&self.file, numbers::lowest())?;
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
        let mut all = vec![parts.ledger, parts.crossing, self.header.roster(), self.header.policy()];
        all.extend(self.header.shelf());
        for part in &parts.interfaces {
            all.extend(part.steering.iter().flat_map(SteeringFds::all));
            all.extend(part.packet);
            all.extend(&part.taps);
            all.extend(part.sockets.iter().map(|x| x.fd));
        }
        for (read, write) in [self.header.keepers_box()].into_iter().chain(self.header.desk()) {
            all.extend([read, write]);
        }
        all.push(self.header.line());
        all
    }

    fn import(fd: RawFd) -> io::Result<Self> {
        let file: File = aside(rustix::io::fcntl_dupfd_cloexec(borrow(fd)?, 0)?).into();
        Self::of_file(file).map(|(port, _)| port)
    }

    /// The port that a file is, and what it says of its descriptors, for which numbers are kept from here on.
    fn of_file(file: File) -> io::Result<(Self, PortParts)> {
        let header = Header::map(&file)?;
        let layout = header.read()?;
        let port = Self { file: Own::new(file), header, layout, line: None };
        let parts = port.parts()?;
        numbers::keep_for(&Plan::of(&parts));
        Ok((port, parts))
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

    /// Calls `act` if `text` is the policy in force; nobody puts another in its place meanwhile.
    pub(crate) fn while_in_force(&self, text: &str, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        policy::while_in_force(&self.policy_file()?, text, act)
    }

    /// Whoever comes to drive the port may judge by `image`, which is what `text` was compiled to, if that is in force.
    pub(crate) fn offer(&self, text: &str, image: BorrowedFd<'_>) -> io::Result<()> {
        let shelf = Shelf::of(&self.header)?;
        self.while_in_force(text, || {
            if shelf.look().is_none() {
                shelf.put(image);
            }
            Ok(())
        })
    }

    /// Its interfaces that have a steering program, with that, for who drives it not yet.
    pub(crate) fn steered(&self) -> io::Result<Vec<(Interface, Steering)>> {
        let steered = |part: &InterfaceParts| {
            let fds = part.steering.as_ref()?;
            Some(Steering::from_fds(fds).map(|steering| (part.interface.clone(), steering)))
        };
        let all: Result<_, SetupError> = self.parts()?.interfaces.iter().filter_map(steered).collect();
        all.map_err(io::Error::other)
    }

    /// Whether the process that drove a slot has died there.
    fn is_dead(&self, slot: Slot) -> bool {
        claim::owner(self.header.owner(slot)).is_some_and(|owner| !owner.lives())
    }

    /// Makes this process the one that drives a slot of the port, the first that is free.
    ///
    /// # Errors
    /// The pid of a live process that has one, when all are taken; this process is of another PID namespace, where nobody
    /// would see it die.
    pub(crate) fn claim(self) -> Result<Claimed, StartError> {
        let homes = [self.header.home(), claim::home()];
        if homes[0] != homes[1] && !homes.contains(&0) {
            let reason = "it is driven from another PID namespace, and neither sees whether the other lives";
            return Err(StartError::new("joining the port", reason));
        }
        let parts = self.parts().map_err(|e| StartError::new("taking over the port", e))?;
        let stacks = parts.stacks;
        let mut other = None;
        let slots = 0..keeping::slot(stacks).unwrap_or(stacks);
        // A dead one's slot is left to those who bury it while there are others.
        if let Some(slot) = slots.clone().find(|slot| claim::claim_free(self.header.owner(*slot))) {
            return self.settle_in(slot, &parts);
        }
        for slot in slots {
            match claim::claim(self.header.owner(slot)) {
                Ok(()) => return self.settle_in(slot, &parts),
                Err(owner) => other = Some(owner.pid),
            }
        }
        let busy = StartError::busy(other.unwrap_or_default());
        let is_apart = parts.interfaces.iter().any(|part| part.xdp == XdpMode::Nowhere);
        Err(if is_apart { busy.remedy("a TAP device is for one process") } else { busy })
    }

    /// What has been claimed, with its sockets, which the keeper may have to make.
    fn settle_in(self, slot: Slot, parts: &PortParts) -> Result<Claimed, StartError> {
        let named = |step, error| {
            claim::release(self.header.owner(slot));
            StartError::new(step, error)
        };
        let sockets = self
            .sockets_of(slot, parts)
            .map_err(|e| named("asking the keeper for a place at the port", e))?;
        let place = (parts.stacks > 1).then(|| Place::make(&self.header, slot)).transpose();
        let place = place.map_err(|e| named("making a box for letters", e))?;
        Ok(Claimed { port: self, slot, stacks: parts.stacks, sockets, place })
    }
}

impl Claimed {
    /// The slot.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    /// Whether this process drives adapters beside the port's own sockets: the keeper has no use for them.
    pub(crate) fn has_adapters(&self) -> bool {
        self.port.layout.adapters && !self.keeps()
    }

    /// Whether other processes may drive the port beside this one.
    pub(crate) fn is_shared(&self) -> bool {
        self.stacks > 1
    }

    /// What wakes this process and others; none where nobody else may drive the port.
    pub(crate) fn bells(&self) -> io::Result<Option<Bells>> {
        let bells = |place| Ok(Bells::new(Header::map(&self.port.file)?, place, self.stacks));
        self.place.map(bells).transpose()
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

    /// The policy in force, and what it was compiled to, where somebody has.
    pub(crate) fn policy_in_force(&self) -> io::Result<(String, Option<File>)> {
        let shelf = Shelf::of(&self.port.header)?;
        policy::alone(&self.port.policy_file()?, |current| Ok((current, shelf.look())))
    }

    /// Calls `act` with what puts another policy in force for whoever comes to drive the port, with what that was compiled to;
    /// nobody else does so meanwhile.
    pub(crate) fn succeed_policy(
        &self,
        text: &str,
        image: Option<BorrowedFd<'_>>,
        act: impl FnOnce(&dyn Fn() -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let shelf = Shelf::of(&self.port.header)?;
        policy::succeed(&self.port.policy_file()?, text, |put_in_force| {
            act(&|| {
                // Whoever dies here leaves none, and never that of another policy.
                shelf.clear();
                put_in_force()?;
                image.into_iter().for_each(|image| shelf.put(image));
                Ok(())
            })
        })
    }

    /// As [`Port::while_in_force`].
    pub(crate) fn while_in_force(&self, text: &str, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.port.while_in_force(text, act)
    }

    /// The description of the port, with the sockets of the slot.
    fn parts(&self) -> io::Result<PortParts> {
        self.port.parts_with(self.slot, &self.sockets)
    }

    /// Takes the rings over, whoever drove them before.
    pub(crate) fn drive(&self) -> Result<Driving, StartError> {
        let step = "taking over the port";
        let failed = |e: io::Error| StartError::new(step, e);
        let layout = &self.port.layout;
        room::check(u64::from(layout.frames) * u64::from(layout.frame_size))?;
        let file = aside(self.port.file.try_clone().map_err(failed)?.into()).into();
        let arena =
            Arena::from_file(file, layout.arena_base, layout.frames, layout.frame_size).map_err(failed)?;
        let mut pool = Pool::new(arena);
        let parts = self.parts().map_err(failed)?;
        let slot = self.slot;
        let is_dead = |slot| self.port.is_dead(slot);
        // Who ends leads its flows to the keeper at once, whether that has a stack already or has to begin one.
        let keeps = keeping::slot(self.stacks) == Some(slot);
        let failed = |e: SetupError| StartError::new(step, e);
        let port = af_xdp::Port::from_parts(&parts, slot).map_err(failed)?;
        self.port.call(port.take_back(slot).map_err(failed)?);
        let crossing = port.crossing(slot);
        let adopted = match keeps {
            true => port.adopt_led(slot, &mut pool, &is_dead),
            false => port.adopt(slot, &mut pool, &is_dead),
        };
        let (roads, found) = adopted.map_err(failed)?;
        tracing::debug!(slot, ?found, "took the rings over");
        Ok(Driving { pool, roads, why: parts.why, crossing })
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        // Its frames are for the others now, not only when somebody takes the slot.
        let vacated = self.parts().and_then(|parts| self.port.vacate(self.slot, &parts));
        if let Err(error) = vacated {
            tracing::debug!(%error, "returning the frames of this process");
        }
    }
}

/// What is written of the descriptors, in front of the frames.
fn description(parts: &PortParts) -> io::Result<String> {
    let text = parts.to_string();
    if text.len() as u64 > PARTS_ROOM {
        let fault = format!(
            "its description takes {} bytes, and {PARTS_ROOM} are there: name fewer interfaces",
            text.len()
        );
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, fault));
    }
    Ok(text)
}

/// The file of a port, and a pool over its arena.
fn memory(layout: &Layout) -> io::Result<(File, Pool)> {
    let fd = rustix::fs::memfd_create("ringroad-port", rustix::fs::MemfdFlags::CLOEXEC)?;
    let file = File::from(fd);
    file.set_len(layout.arena_base + u64::from(layout.frames) * u64::from(layout.frame_size))?;
    let arena = Arena::from_file(file.try_clone()?, layout.arena_base, layout.frames, layout.frame_size)?;
    Ok((file, Pool::new(arena)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_that_would_reach_the_frames_is_refused() {
        let steering = ":9".repeat(15);
        let text = |sockets: usize| {
            let sockets = " xsk:9:0:0:64:64:64:64".repeat(sockets);
            format!("xdp7 9:10:64:4096:2:copy:0:0 if:lo:1:0:1500:1:0:unknown:native{steering}{sockets}")
        };
        let described = |sockets| description(&text(sockets).parse().unwrap());
        assert_eq!(described(2000).unwrap(), text(2000));
        let refused = described(4000).unwrap_err().to_string();
        assert!(refused.ends_with("61440 are there: name fewer interfaces"), "{refused}");
    }

    /// Rules that name the interfaces beyond would not hold there.
    #[test]
    fn no_more_interfaces_are_opened_than_rules_can_tell_apart() {
        let interfaces = (0..=MAX_IFACES).map(|n| format!("rr-none{n}")).collect();
        let config = Config { interfaces, ..Config::default() };
        let error = Port::open(&config, "", &Limits::default(), Sockets::AtOnce).unwrap_err();
        let expected = "opening 127 interfaces: rules tell 126 interfaces apart, and no more are driven";
        assert_eq!(error.to_string(), expected);
    }
}
