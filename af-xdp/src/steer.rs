//! The steering program on an interface, and its maps.
//!
//! The program redirects what the maps name and passes all else to the kernel (`bpf/steer.bpf.c`). It stays
//! attached as long as some process holds the link's descriptor. Everything here works on descriptors, so a
//! process that inherited them goes on without any privilege.

mod keys;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use aya::programs::{Xdp, loaded_programs};
use aya::{Ebpf, EbpfLoader};

use crate::error::{At, SetupError, Step};
use crate::interface::{Interface, xdp_program};
use crate::sys::{self, BpfMap};
use keys::{COUNTS, FlowKey, PortKey, SLOT};

pub use keys::{QUEUES, SLOTS, SteeringCounters};

/// The compiled steering program, as it is checked in.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../bpf/steer.bpf.o");

/// Where on the receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel's receive path, behind the driver: works everywhere, costs more.
    Generic,
}

impl XdpMode {
    /// The word for it in reports: `native` or `generic`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    fn flags(self) -> u32 {
        const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
        const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
        match self {
            Self::Native => XDP_FLAGS_DRV_MODE,
            Self::Generic => XDP_FLAGS_SKB_MODE,
        }
    }
}

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
}

/// The steering program on one interface. It is detached when the last process that holds its descriptors
/// closes them, however that comes about.
#[derive(Debug)]
pub struct Steering {
    link: OwnedFd,
    xsks: BpfMap,
    flows: BpfMap,
    ports: BpfMap,
    counters: BpfMap,
}

/// Bytes in keys and values of the four maps.
const XSKS_SHAPE: (usize, usize) = (4, SLOT);
const FLOWS_SHAPE: (usize, usize) = (FlowKey::SIZE, SLOT);
const PORTS_SHAPE: (usize, usize) = (PortKey::SIZE, SLOT);
const COUNTERS_SHAPE: (usize, usize) = (4, COUNTS);

impl Steering {
    /// Loads the program and attaches it: natively where the driver can, else generic, unless `mode` asks for
    /// one of them. `multi_buffer` loads the variant that says it can deal with frames in several buffers.
    ///
    /// # Errors
    /// [`Step::Load`] and [`Step::Attach`]; a program that is there already is named and left alone.
    pub fn open(
        interface: &Interface,
        mode: Option<XdpMode>,
        multi_buffer: bool,
    ) -> Result<(Self, XdpMode), SetupError> {
        let attempt = || -> Result<(Self, XdpMode), SetupError> {
            if let Some(id) = xdp_program(interface.index).filter(|id| *id != 0) {
                return Err(occupied(id));
            }
            let mut object = load()?;
            let program = program(&mut object, multi_buffer)?;
            let (link, mode) = match mode {
                Some(mode) => (attach(program.as_fd(), interface, mode)?, mode),
                None => attach_any(program.as_fd(), interface)?,
            };
            Ok((
                Self {
                    link,
                    xsks: map(&object, "xsks", XSKS_SHAPE)?,
                    flows: map(&object, "flows", FLOWS_SHAPE)?,
                    ports: map(&object, "ports", PORTS_SHAPE)?,
                    counters: map(&object, "counts", COUNTERS_SHAPE)?,
                },
                mode,
            ))
        };
        attempt().map_err(|e| e.on(&interface.name))
    }

    /// Goes on with the maps and the link that this process inherited under these numbers; the numbers stay
    /// open beside the copies taken here.
    ///
    /// # Errors
    /// [`Step::Inherit`] when one of them is not open or not such a map.
    pub fn from_fds(fds: &SteeringFds) -> Result<Self, SetupError> {
        let inherited = |fd, shape| shaped(sys::dup_inherited(fd).at(Step::Inherit)?, shape, Step::Inherit);
        Ok(Self {
            link: sys::dup_inherited(fds.link).at(Step::Inherit)?,
            xsks: inherited(fds.xsks, XSKS_SHAPE)?,
            flows: inherited(fds.flows, FLOWS_SHAPE)?,
            ports: inherited(fds.ports, PORTS_SHAPE)?,
            counters: inherited(fds.counters, COUNTERS_SHAPE)?,
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
        }
    }

    /// Copies of the descriptors under numbers from `min` on that an `exec` leaves open. They stay open until
    /// the process ends or someone closes them.
    ///
    /// # Errors
    /// The operating system's, `EMFILE` above all.
    pub fn inheritable(&self, min: RawFd) -> io::Result<SteeringFds> {
        let copy = |fd: &OwnedFd| sys::dup(fd.as_fd(), min, false);
        let (link, xsks, flows) = (copy(&self.link)?, copy(self.xsks.fd())?, copy(self.flows.fd())?);
        let (ports, counters) = (copy(self.ports.fd())?, copy(self.counters.fd())?);
        let keep = std::os::fd::IntoRawFd::into_raw_fd;
        Ok(SteeringFds {
            link: keep(link),
            xsks: keep(xsks),
            flows: keep(flows),
            ports: keep(ports),
            counters: keep(counters),
        })
    }

    /// Puts a socket that is bound to `queue` into slot `slot`: what is steered to the slot and arrives on
    /// that queue is redirected to it.
    ///
    /// # Errors
    /// `EINVAL` when slot or queue are out of range, else the operating system's.
    pub fn set_xsk(&self, slot: u32, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        if slot >= SLOTS || queue >= QUEUES {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let index = slot * QUEUES + queue;
        self.xsks.update(&index.to_ne_bytes(), &socket.as_raw_fd().to_ne_bytes())
    }

    /// Steers what is sent to `local` to slot `slot`. `protocol` is the IP protocol number, TCP or UDP. The
    /// address must be one address: the program knows no wildcard.
    ///
    /// # Errors
    /// The operating system's; `E2BIG` when the map is full.
    pub fn add_port(&self, protocol: u8, local: SocketAddr, slot: u32) -> io::Result<()> {
        self.ports.update(&PortKey::new(protocol, local).0, &slot.to_ne_bytes())
    }

    /// Ends [`Steering::add_port`]; an endpoint that is not there is no error.
    ///
    /// # Errors
    /// The operating system's.
    pub fn remove_port(&self, protocol: u8, local: SocketAddr) -> io::Result<()> {
        self.ports.delete(&PortKey::new(protocol, local).0)
    }

    /// Steers one flow to slot `slot`; it goes before [`Steering::add_port`].
    ///
    /// # Errors
    /// The operating system's; `E2BIG` when the map is full.
    pub fn add_flow(&self, protocol: u8, local: SocketAddr, remote: SocketAddr, slot: u32) -> io::Result<()> {
        self.flows.update(&FlowKey::new(protocol, local, remote).0, &slot.to_ne_bytes())
    }

    /// Ends [`Steering::add_flow`]; a flow that is not there is no error.
    ///
    /// # Errors
    /// The operating system's.
    pub fn remove_flow(&self, protocol: u8, local: SocketAddr, remote: SocketAddr) -> io::Result<()> {
        self.flows.delete(&FlowKey::new(protocol, local, remote).0)
    }

    /// Steers nothing any more: a successor begins with this, since what a dead process had steered stays.
    ///
    /// # Errors
    /// The operating system's.
    pub fn clear(&self) -> io::Result<()> {
        self.flows.clear()?;
        self.ports.clear()
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

fn load() -> Result<Ebpf, SetupError> {
    EbpfLoader::new().load(OBJECT).map_err(|e| SetupError::new(Step::Load, system_error(&e)))
}

/// Verifies one of the two variants; the descriptor keeps it, and it keeps the maps.
fn program(object: &mut Ebpf, multi_buffer: bool) -> Result<OwnedFd, SetupError> {
    let name = if multi_buffer { "steer_frags" } else { "steer_linear" };
    let failed = |e: &(dyn std::error::Error + 'static)| SetupError::new(Step::Load, system_error(e));
    let program = object
        .program_mut(name)
        .ok_or_else(|| SetupError::found(Step::Load, libc::ENOENT, "the object lacks the program"))?;
    let program: &mut Xdp = program.try_into().map_err(|e| failed(&e))?;
    program.load().map_err(|e| failed(&e))?;
    program.fd().map_err(|e| failed(&e))?.as_fd().try_clone_to_owned().at(Step::Load)
}

fn map(object: &Ebpf, name: &str, shape: (usize, usize)) -> Result<BpfMap, SetupError> {
    use aya::maps::Map;
    let lacks = || SetupError::found(Step::Load, libc::ENOENT, format!("the object lacks the map {name}"));
    let data = match object.map(name).ok_or_else(lacks)? {
        Map::HashMap(m) | Map::PerCpuArray(m) | Map::XskMap(m) => m,
        _ => return Err(lacks()),
    };
    shaped(data.fd().as_fd().try_clone_to_owned().at(Step::Load)?, shape, Step::Load)
}

/// The map behind `fd`, if its keys and values are as long as `shape` says.
fn shaped(fd: OwnedFd, shape: (usize, usize), step: Step) -> Result<BpfMap, SetupError> {
    let map = BpfMap::new(fd).at(step)?;
    if map.shape() != shape {
        let advice = format!("a map of shape {:?} where {shape:?} is expected", map.shape());
        return Err(SetupError::found(step, libc::EINVAL, advice));
    }
    Ok(map)
}

/// The operating system's error at the bottom of one of aya's.
fn system_error(error: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if let Some(errno) = e.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(errno);
        }
        cause = e.source();
    }
    io::Error::other(error.to_string())
}

fn attach_any(program: BorrowedFd<'_>, at: &Interface) -> Result<(OwnedFd, XdpMode), SetupError> {
    match attach(program, at, XdpMode::Native) {
        Ok(link) => Ok((link, XdpMode::Native)),
        // What native XDP cannot do here, generic may; what is forbidden stays forbidden.
        Err(e) if matches!(e.errno(), libc::EPERM | libc::EBUSY | libc::EEXIST | libc::ENODEV) => Err(e),
        Err(_) => Ok((attach(program, at, XdpMode::Generic)?, XdpMode::Generic)),
    }
}

fn attach(program: BorrowedFd<'_>, at: &Interface, mode: XdpMode) -> Result<OwnedFd, SetupError> {
    sys::link_xdp(program, at.index, mode.flags()).map_err(|e| {
        let busy = matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
        match xdp_program(at.index).filter(|id| busy && *id != 0) {
            Some(id) => occupied(id),
            None => SetupError::new(Step::Attach, e),
        }
    })
}

/// The interface has a program of someone else: say which.
fn occupied(id: u32) -> SetupError {
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|p| p.id() == id)
        .and_then(|p| p.name_as_str().map(str::to_owned))
        .unwrap_or_else(|| "unnamed".to_owned());
    let ours = if name == "steer_frags" || name == "steer_linear" {
        "another ringroad runs on this interface: end it, or choose another interface"
    } else {
        "ip link set dev ... xdp off, if it is not needed"
    };
    SetupError::found(
        Step::Attach,
        libc::EBUSY,
        format!("the XDP program \"{name}\" (id {id}) is on it already; {ours}"),
    )
}
