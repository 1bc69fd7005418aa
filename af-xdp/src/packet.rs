//! A packet socket for sending: it takes superframes, which an AF_XDP socket does not.
//!
//! It belongs to no protocol and so hears nothing. Whoever holds it may bind it anew, without privilege; therefore a
//! filter that lets nothing pass is locked in. What it can do beyond an AF_XDP socket is to send on other interfaces
//! of its network namespace, and to make them take frames for others (PACKET_ADD_MEMBERSHIP).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use libc::{SO_LOCK_FILTER, SO_SNDBUFFORCE, SOL_PACKET, SOL_SOCKET, c_int};

use nic::Own;

use crate::sys;

/// Bytes that may be under way: a NIC's whole ring of superframes, which have their say in completion.
const SEND_BUFFER: c_int = 4 << 20;

/// The socket, bound to one interface.
#[derive(Debug)]
pub(crate) struct PacketSocket(Own);

impl PacketSocket {
    /// Opens one on an interface of this network namespace. Needs privilege.
    ///
    /// `beside`: frames go past the queueing discipline, as those of AF_XDP do: the two must not overtake each other.
    /// Otherwise they are queued as the kernel's own, and cut for devices that do not.
    pub(crate) fn open(interface: u32, beside: bool) -> io::Result<Self> {
        let fd = sys::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        let number = fd.as_raw_fd();
        sys::drop_all(number)?;
        sys::set_option(number, SOL_SOCKET, SO_LOCK_FILTER, &1)?;
        sys::set_option(number, SOL_SOCKET, SO_SNDBUFFORCE, &SEND_BUFFER)?;
        sys::set_option(number, SOL_PACKET, libc::PACKET_VNET_HDR, &1)?;
        sys::set_option(number, SOL_PACKET, libc::PACKET_QDISC_BYPASS, &c_int::from(beside))?;
        sys::bind_packet(number, interface)?;
        Ok(Self(Own::new(fd)))
    }

    /// Goes on with one that this process inherited as descriptor `fd`, which stays open beside the copy taken here.
    pub(crate) fn inherited(fd: RawFd) -> io::Result<Self> {
        sys::dup_inherited(fd).map(|fd| Self(Own::new(fd)))
    }

    /// Sends one frame, a `struct virtio_net_hdr` and then the frame's bytes. The kernel has copied them when this
    /// returns. Never blocks.
    #[inline]
    pub(crate) fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        sys::send_parts(self.0.as_raw_fd(), parts)
    }

    /// Sends frames, each a `struct virtio_net_hdr` and its bytes, as [`PacketSocket::send`] does, by one call. How many of
    /// the first ones were sent.
    #[inline]
    pub(crate) fn send_each(&self, frames: &[[IoSlice<'_>; 2]]) -> io::Result<usize> {
        sys::send_each(self.0.as_raw_fd(), frames)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
