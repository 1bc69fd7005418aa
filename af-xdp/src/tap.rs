//! The kernel's receive path as a NIC: a TAP device to which the steering program at tc ingress leads what is ours; or one
//! of the stack's own, to which the kernel sends as to any neighbour.
//!
//! There the kernel has joined what came in a burst (GRO), and a local sender's superframes are whole (TSO); a TAP takes
//! both uncut and says of each what is left to be done (`struct virtio_net_hdr`). One queue for each stack; the program
//! chooses it by the same maps as for XDP, so nothing is looked up twice and the kernel's stack never sees the frame.
//! (A packet socket would be handed every frame of the interface before the program runs, in each stack.) A frame is
//! read into frames of the pool by one call, without a copy between, and cut where those end (`cut.rs`).

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use nic::{Burst, HEADROOM, Own, Pool, RxChecksum, RxFrame, RxMeta};

use crate::chain::{Chain, Part};
use crate::driver::Shared;
use crate::interface::Tun;
use crate::ledger::Slot;
use crate::superframe::{NEEDS_CSUM, VNET};
use crate::sys::{self, IfRequest, PARTS_MAX};

/// Frames that wait to be read in a queue, at the most (`TUN_READQ_SIZE`).
pub(crate) const QUEUE: u32 = 500;
/// The longest frame: 64 KiB of an IP packet, its link header and a tag.
const LONGEST: usize = 65535 + 18;
/// In `struct virtio_net_hdr`: a NIC has verified the checksum.
const DATA_VALID: u8 = 2;

const CLONE: &str = "/dev/net/tun";
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
const TUNSETOWNER: libc::Ioctl = 0x4004_54cc;
const TUNSETOFFLOAD: libc::Ioctl = 0x4004_54d0;
const TUNSETSTEERINGEBPF: libc::Ioctl = 0x8004_54e0;
const TUNSETFILTEREBPF: libc::Ioctl = 0x8004_54e1;
const TUNSETVNETHDRSZ: libc::Ioctl = 0x4004_54d8;
const TUNGETIFF: libc::Ioctl = 0x8004_54d2;
/// TAP, frames as they are, with a `struct virtio_net_hdr` in front.
const FLAGS: u16 = 0x0002 | 0x1000 | 0x4000;
/// Several queues.
const QUEUES: u16 = 0x0100;
/// Only a device that is not there yet.
const EXCLUSIVE: u16 = 0x8000;
/// The kernel's answer: it stays when nobody holds it any more (`IFF_PERSIST`).
const STAYS: u16 = 0x0800;
/// Unfinished checksums, and superframes of TCP over IPv4 and IPv6, with ECN.
const OFFLOADS: libc::c_ulong = 1 | 2 | 4 | 8;

/// The name of the device that hears for interface `index` by the backend `packet`.
pub fn name(index: u32) -> String {
    format!("rr{index}")
}

/// A device with a queue for each of `stacks` stacks, up, and its index. `queue_of` says which queue hears a frame,
/// `is_led` whether one does at all. It is gone when nobody holds a queue any more. Other users cannot join it.
///
/// # Errors
/// The operating system's; EBUSY also when somebody joined it before it was said whose it is.
pub(crate) fn make(
    name: &str,
    stacks: Slot,
    queue_of: BorrowedFd<'_>,
    is_led: BorrowedFd<'_>,
) -> io::Result<(u32, Vec<OwnedFd>)> {
    let mut queues: Vec<OwnedFd> = Vec::new();
    for slot in 0..stacks {
        let mut options = File::options();
        // Nothing is written: what is, the kernel would take for a frame that came.
        let queue: OwnedFd = options.read(true).custom_flags(libc::O_NONBLOCK).open(CLONE)?.into();
        let flags = FLAGS | QUEUES | if slot == 0 { EXCLUSIVE } else { 0 };
        IfRequest::with_flags(name, flags)?.get(queue.as_fd(), TUNSETIFF)?;
        if slot == 0 {
            own(name, queue.as_fd())?;
        }
        queues.push(queue);
    }
    if let Some(first) = queues.first() {
        sys::tell_value(first.as_fd(), TUNSETOFFLOAD, OFFLOADS)?;
        sys::tell(first.as_fd(), TUNSETSTEERINGEBPF, queue_of.as_raw_fd())?;
        sys::tell(first.as_fd(), TUNSETFILTEREBPF, is_led.as_raw_fd())?;
    }
    // No address, where that can be said: what the kernel would send there on its account is dropped in any case.
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let up = (libc::IFF_UP | libc::IFF_NOARP) as u16;
    IfRequest::with_flags(name, up)?.get(socket.as_fd(), libc::SIOCSIFFLAGS as libc::Ioctl)?;
    Ok((sys::interface_index(name)?, queues))
}

/// Calls the device of a queue `name`, if it is not called so.
///
/// # Errors
/// The operating system's; EEXIST when another device is.
pub(crate) fn rename(queue: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let mut device = IfRequest::new("")?;
    device.get(queue, TUNGETIFF)?;
    let now = device.name();
    if now == name {
        return Ok(());
    }
    let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    // That it is up is no obstacle (Linux 6.2).
    IfRequest::to_rename(&now, name)?.get(socket.as_fd(), libc::SIOCSIFNAME as libc::Ioctl)
}

/// The only queue of device `name`, to be read and written: what is written the kernel receives. A device that is not there
/// yet is made; it is gone then when nobody holds the queue any more. Whether it was made here is said.
///
/// # Errors
/// The operating system's: EBUSY when somebody has the queue, EPERM when the device is another user's, or not there and not
/// to be made; EINVAL when it has several queues, or is no TAP.
pub(crate) fn join(name: &str) -> io::Result<(OwnedFd, bool)> {
    let mut options = File::options();
    let queue: OwnedFd = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(CLONE)?.into();
    let mut device = IfRequest::with_flags(name, FLAGS)?;
    device.get(queue.as_fd(), TUNSETIFF)?;
    // One that stays may have been used otherwise before.
    sys::tell(queue.as_fd(), TUNSETVNETHDRSZ, VNET as i32)?;
    sys::tell_value(queue.as_fd(), TUNSETOFFLOAD, OFFLOADS)?;
    // Whether there was one before cannot be asked before: it may have been about to go. One that does not stay is gone with
    // its queue, and we have that: so it is new.
    device.get(queue.as_fd(), TUNGETIFF)?;
    let [low, high, ..] = device.bytes();
    Ok((queue, u16::from_ne_bytes([low, high]) & STAYS == 0))
}

/// Makes a new device this user's, by its only queue: nobody's would be everybody's.
fn own(name: &str, queue: BorrowedFd<'_>) -> io::Result<()> {
    sys::tell_value(queue, TUNSETOWNER, sys::effective_user().into())?;
    let is_alone = Tun::of(sys::interface_index(name)?) == Some(Tun { queues: 1, detached: 0, stays: false });
    if is_alone { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EBUSY)) }
}

/// A queue of such a device, and what was read from it.
#[derive(Debug)]
pub(crate) struct Tap {
    fd: Own,
    /// Frames of the pool that the longest frame takes.
    longest: usize,
    /// Frames to read into.
    armed: Vec<u32>,
    /// What was read last: frames, and bytes in each; those before `next` are delivered.
    filled: Vec<(u32, usize)>,
    next: usize,
    checksum: RxChecksum,
    chain: Chain,
}

impl Tap {
    /// Reads from a queue, into frames of `frame_size` bytes.
    pub(crate) fn new(fd: OwnedFd, frame_size: u32) -> Self {
        let longest = LONGEST.div_ceil(frame_size as usize - HEADROOM).min(PARTS_MAX);
        Self {
            fd: Own::new(fd),
            longest,
            armed: Vec::with_capacity(longest),
            filled: Vec::with_capacity(longest),
            next: 0,
            checksum: RxChecksum::Unknown,
            chain: Chain::default(),
        }
    }

    pub(crate) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether there is something to receive.
    pub(crate) fn is_pending(&self) -> bool {
        self.next < self.filled.len() || sys::is_readable(self.number())
    }

    /// Drops what waits to be read; says how many frames that was.
    pub(crate) fn drain(&self) -> io::Result<u32> {
        let mut file = File::from(self.fd.try_clone()?);
        let mut some = [0; VNET];
        Ok((0..QUEUE).take_while(|_| file.read(&mut some).is_ok()).count() as u32)
    }

    pub(crate) fn receive(&mut self, shared: &mut Shared, pool: &mut Pool, burst: &mut Burst, max: usize) {
        let end = burst.len() + max;
        loop {
            self.deliver(shared, pool, burst, end);
            if burst.len() >= end || !self.read(shared, pool) {
                return;
            }
        }
    }

    /// Takes packets out of what was read until the burst is `end` long.
    fn deliver(&mut self, shared: &mut Shared, pool: &mut Pool, burst: &mut Burst, end: usize) {
        let checksum = self.checksum;
        while burst.len() < end
            && let Some((frame, len)) = self.filled.get(self.next).copied()
        {
            self.next += 1;
            let part = Part { frame, offset: HEADROOM, len, more: self.next < self.filled.len(), checksum };
            if let Some(pkt) = self.chain.take(pool, &mut shared.counters, part) {
                burst.push(RxFrame { pkt, meta: RxMeta { checksum } });
            }
        }
    }

    /// Reads the next frame. False when there is none, or nothing to read it into.
    fn read(&mut self, shared: &mut Shared, pool: &mut Pool) -> bool {
        if !self.arm(shared, pool) {
            shared.counters.fill_starved += 1;
            return false;
        }
        let mut head = [0; VNET];
        let got = sys::read_frame(self.number(), &mut head, pool.arena(), &self.armed, HEADROOM);
        if got.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::EBADFD)) {
            // Somebody has deleted the device: whoever sleeps on the queue would be woken for ever.
            sys::silence(&self.fd);
        }
        let Some(len) = got.ok().and_then(|bytes| bytes.checked_sub(VNET)).filter(|len| *len > 0) else {
            return false;
        };
        self.checksum = match head[0] {
            flags if flags & NEEDS_CSUM != 0 => RxChecksum::MayBeUnfinished,
            flags if flags & DATA_VALID != 0 => RxChecksum::Verified,
            _ => RxChecksum::Unknown,
        };
        let room = pool.frame_size() - HEADROOM;
        let parts = len.div_ceil(room).min(self.armed.len());
        self.filled.clear();
        self.next = 0;
        let lens = (0..parts).map(|n| room.min(len - n * room));
        self.filled.extend(self.armed.drain(..parts).zip(lens));
        true
    }

    /// Sees to it that the longest frame can be read.
    #[inline]
    fn arm(&mut self, shared: &Shared, pool: &mut Pool) -> bool {
        let wanted = self.longest - self.armed.len();
        if pool.in_stock() < wanted {
            shared.draw(pool, wanted - pool.in_stock());
        }
        self.armed.extend(std::iter::from_fn(|| pool.to_nic()).take(wanted));
        self.armed.len() == self.longest
    }
}
