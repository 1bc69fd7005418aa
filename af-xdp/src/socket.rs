//! One AF_XDP socket with its four rings: made and bound, or mapped again in another process.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::thread;
use std::time::Duration;

use nic::{Arena, Own};

use crate::error::{At, SetupError, Step};
use crate::ledger::Slot;
use crate::mapped::{Descriptor, Mapped};
use crate::ring::{Consumer, Producer};
use crate::sys;

/// Slots in each ring of a socket, powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// Frames handed to the kernel to receive into.
    pub fill: u32,
    /// Frames the kernel has sent.
    pub completion: u32,
    /// Frames received.
    pub rx: u32,
    /// Frames to be sent.
    pub tx: u32,
}

impl Default for RingSizes {
    fn default() -> Self {
        Self { fill: 2048, completion: 2048, rx: 2048, tx: 2048 }
    }
}

/// How frames pass between the driver and the UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMode {
    /// The NIC reads and writes the UMEM itself.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

impl BindMode {
    /// The word for it in reports: `zerocopy` or `copy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zerocopy",
            Self::Copy => "copy",
        }
    }
}

/// How a UMEM was registered and its first socket bound; sockets that share the UMEM share this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UmemMode {
    /// Who copies.
    pub bind: BindMode,
    /// Frames longer than a chunk arrive as several descriptors.
    pub multi_buffer: bool,
    /// Descriptors may carry metadata in front of the bytes (`XDP_TX_METADATA`).
    pub tx_metadata: bool,
}

/// `struct xsk_tx_metadata` at its present length: flags, then the request (checksum start and offset, launch
/// time). Older kernels read less of it.
pub(crate) const TX_METADATA: usize = 24;

/// What another process image needs to go on with a socket it inherited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XskParts {
    /// The socket.
    pub fd: RawFd,
    /// The stack it is for.
    pub slot: Slot,
    /// The queue it is bound to.
    pub queue: u32,
    /// Its rings.
    pub rings: RingSizes,
}

/// An AF_XDP socket, bound to one queue, its own two rings, and the two of the queue, which it shares with the
/// other sockets there: those only under the ledger's locks.
#[derive(Debug)]
pub struct XskSocket {
    fd: Own,
    queue: u32,
    sizes: RingSizes,
    pub(crate) rings: Rings,
}

/// The four rings, seen from our side.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) fill: Producer<Mapped<u64>>,
    pub(crate) completion: Consumer<Mapped<u64>>,
    pub(crate) rx: Consumer<Mapped<Descriptor>>,
    pub(crate) tx: Producer<Mapped<Descriptor>>,
}

/// Where a socket binds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) interface: u32,
    pub(crate) queue: u32,
}

impl XskSocket {
    /// Registers the arena as UMEM and binds a first socket to it.
    pub(crate) fn first(
        arena: &Arena,
        place: Place,
        sizes: RingSizes,
        mode: UmemMode,
    ) -> Result<Self, SetupError> {
        let fd = new_socket()?;
        register_umem(fd.as_fd(), arena, mode.tx_metadata)?;
        make_queue_rings(fd.as_fd(), sizes)?;
        make_rings(fd.as_fd(), sizes)?;
        let mut flags = libc::XDP_USE_NEED_WAKEUP;
        flags |= if mode.bind == BindMode::ZeroCopy { libc::XDP_ZEROCOPY } else { libc::XDP_COPY };
        if mode.multi_buffer {
            flags |= libc::XDP_USE_SG;
        }
        bind(fd.as_fd(), place, flags, 0).at(Step::Bind)?;
        Self::mapped(fd, place.queue, sizes).map(|socket| socket.tuned(mode))
    }

    /// Binds a further socket that shares the UMEM of `first`: the first on another queue, whose rings are made
    /// with it.
    pub(crate) fn sharing(first: &Self, place: Place, mode: UmemMode) -> Result<Self, SetupError> {
        let fd = new_socket()?;
        make_queue_rings(fd.as_fd(), first.sizes)?;
        Self::bind_sharing(fd, first, place, mode)
    }

    /// Binds a further socket to the queue of `first`, whose rings it shares.
    pub(crate) fn beside(first: &Self, place: Place, mode: UmemMode) -> Result<Self, SetupError> {
        Self::bind_sharing(new_socket()?, first, place, mode)
    }

    fn bind_sharing(fd: OwnedFd, first: &Self, place: Place, mode: UmemMode) -> Result<Self, SetupError> {
        make_rings(fd.as_fd(), first.sizes)?;
        bind(fd.as_fd(), place, libc::XDP_SHARED_UMEM, first.fd.as_raw_fd() as u32).at(Step::Bind)?;
        Self::mapped(fd, place.queue, first.sizes).map(|socket| socket.tuned(mode))
    }

    /// Maps the rings of a bound socket.
    fn mapped(fd: OwnedFd, queue: u32, sizes: RingSizes) -> Result<Self, SetupError> {
        let rings = map_rings(fd.as_fd(), sizes).at(Step::Rings)?;
        Ok(Self { fd: Own::new(fd), queue, sizes, rings })
    }

    /// Maps the rings of a socket that this process inherited as descriptor `parts.fd`, which stays open
    /// beside the copy taken here.
    ///
    /// # Errors
    /// [`Step::Inherit`] when the descriptor is not open, [`Step::Rings`] when it is not such a socket.
    pub fn from_parts(parts: &XskParts) -> Result<Self, SetupError> {
        Self::mapped(sys::dup_inherited(parts.fd).at(Step::Inherit)?, parts.queue, parts.rings)
    }

    /// What another process image needs to go on with this socket when it inherits the descriptor `fd`.
    pub fn parts(&self, fd: RawFd, slot: Slot) -> XskParts {
        XskParts { fd, slot, queue: self.queue, rings: self.sizes }
    }

    /// The queue it is bound to.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// The sizes of its rings.
    pub(crate) fn sizes(&self) -> RingSizes {
        self.sizes
    }

    /// The kernel's counters of this socket.
    ///
    /// # Errors
    /// The operating system's.
    pub fn statistics(&self) -> io::Result<XskStatistics> {
        let (s, _) = sys::xdp_option::<libc::xdp_statistics>(self.fd.as_raw_fd(), libc::XDP_STATISTICS)?;
        Ok(XskStatistics {
            rx_dropped: s.rx_dropped,
            rx_invalid_descs: s.rx_invalid_descs,
            tx_invalid_descs: s.tx_invalid_descs,
            rx_ring_full: s.rx_ring_full,
            rx_fill_ring_empty_descs: s.rx_fill_ring_empty_descs,
        })
    }

    /// Whether the kernel says that this socket is bound in zero-copy mode.
    pub(crate) fn is_zero_copy(&self) -> bool {
        sys::xdp_option::<libc::xdp_options>(self.fd.as_raw_fd(), libc::XDP_OPTIONS)
            .is_ok_and(|(o, _)| o.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// In copy mode one `sendto` moves 32 frames unless told otherwise; kernels before 6.17 refuse, and the
    /// kick loop calls more often.
    fn tuned(self, mode: UmemMode) -> Self {
        if mode.bind == BindMode::Copy {
            let _ = sys::set_xdp_option(self.fd.as_raw_fd(), sys::XDP_MAX_TX_SKB_BUDGET, &self.sizes.tx);
        }
        self
    }
}

impl AsFd for XskSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What the kernel counts on a socket (`XDP_STATISTICS`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XskStatistics {
    /// Frames dropped for other reasons than those below.
    pub rx_dropped: u64,
    /// Fill entries that made no sense to the kernel.
    pub rx_invalid_descs: u64,
    /// Tx entries that made no sense to the kernel.
    pub tx_invalid_descs: u64,
    /// Frames dropped because the rx ring was full.
    pub rx_ring_full: u64,
    /// Frames dropped because the fill ring was empty.
    pub rx_fill_ring_empty_descs: u64,
}

fn new_socket() -> Result<OwnedFd, SetupError> {
    sys::socket(libc::AF_XDP, libc::SOCK_RAW, 0).at(Step::Socket)
}

fn register_umem(fd: BorrowedFd<'_>, arena: &Arena, tx_metadata: bool) -> Result<(), SetupError> {
    let registration = libc::xdp_umem_reg {
        addr: arena.as_mut_ptr() as u64,
        len: arena.len() as u64,
        chunk_size: arena.frame_size(),
        headroom: 0,
        flags: if tx_metadata { libc::XDP_UMEM_TX_METADATA_LEN } else { 0 },
        tx_metadata_len: if tx_metadata { TX_METADATA as u32 } else { 0 },
    };
    let register = || sys::set_xdp_option(fd.as_raw_fd(), libc::XDP_UMEM_REG, &registration);
    match register() {
        // The frames count against RLIMIT_MEMLOCK: raise it for this one call where that is allowed.
        Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => with_memlock_raised(register),
        result => result,
    }
    .map_err(|e| umem_error(e, arena))
}

fn umem_error(e: io::Error, arena: &Arena) -> SetupError {
    let mut error = SetupError::new(Step::Umem, e);
    error.advice = match error.errno() {
        libc::ENOBUFS => format!(
            "{} KiB exceed the limit on locked memory: ulimit -l, or CAP_IPC_LOCK",
            arena.len().div_ceil(1024)
        ),
        libc::EINVAL => {
            format!("frames of {} bytes; the kernel takes 2048 up to a page", arena.frame_size())
        }
        _ => String::new(),
    };
    error
}

fn with_memlock_raised(call: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let before = sys::memlock()?;
    let infinite = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    let highest = libc::rlimit { rlim_cur: before.rlim_max, rlim_max: before.rlim_max };
    if sys::set_memlock(&infinite).is_err() {
        sys::set_memlock(&highest)?;
    }
    let result = call();
    sys::set_memlock(&before)?;
    result
}

/// Makes the rings of a queue, with its first socket.
fn make_queue_rings(fd: BorrowedFd<'_>, sizes: RingSizes) -> Result<(), SetupError> {
    make(fd, [(libc::XDP_UMEM_FILL_RING, sizes.fill), (libc::XDP_UMEM_COMPLETION_RING, sizes.completion)])
}

/// Makes the rings that every socket has for itself.
fn make_rings(fd: BorrowedFd<'_>, sizes: RingSizes) -> Result<(), SetupError> {
    make(fd, [(libc::XDP_RX_RING, sizes.rx), (libc::XDP_TX_RING, sizes.tx)])
}

fn make(fd: BorrowedFd<'_>, rings: [(libc::c_int, u32); 2]) -> Result<(), SetupError> {
    rings
        .iter()
        .try_for_each(|(option, size)| sys::set_xdp_option(fd.as_raw_fd(), *option, size))
        .at(Step::Rings)
}

/// Maps the four rings that a bound socket has or shares.
fn map_rings(fd: BorrowedFd<'_>, sizes: RingSizes) -> io::Result<Rings> {
    let (offsets, len) = sys::xdp_option::<libc::xdp_mmap_offsets>(fd.as_raw_fd(), libc::XDP_MMAP_OFFSETS)?;
    // Before Linux 5.4 the offsets had no flags word, and there was no need_wakeup either.
    if len < size_of::<libc::xdp_mmap_offsets>() {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    Ok(Rings {
        fill: Producer::new(Mapped::new(fd, libc::XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, sizes.fill)?),
        completion: Consumer::new(Mapped::new(
            fd,
            libc::XDP_UMEM_PGOFF_COMPLETION_RING,
            &offsets.cr,
            sizes.completion,
        )?),
        rx: Consumer::new(Mapped::new(fd, libc::XDP_PGOFF_RX_RING as u64, &offsets.rx, sizes.rx)?),
        tx: Producer::new(Mapped::new(fd, libc::XDP_PGOFF_TX_RING as u64, &offsets.tx, sizes.tx)?),
    })
}

/// The kernel lets a queue go some time after its last socket was closed; a successor waits for that.
const BUSY_TRIES: u32 = 100;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

fn bind(fd: BorrowedFd<'_>, place: Place, flags: u16, umem: u32) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: place.interface,
        sxdp_queue_id: place.queue,
        sxdp_shared_umem_fd: umem,
    };
    let mut tries = 0;
    loop {
        match sys::bind_xdp(fd.as_raw_fd(), &address) {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && tries < BUSY_TRIES => {
                tries += 1;
                thread::sleep(BUSY_PAUSE);
            }
            result => return result,
        }
    }
}
