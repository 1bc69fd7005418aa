//! Where frames leave that go past the rings: whole superframes, each with a `struct virtio_net_hdr` in front.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nic::Own;

use crate::packet::PacketSocket;
use crate::sys;

/// One of two ways out. The kernel has copied what was sent when a call returns; none blocks.
#[derive(Debug)]
pub(crate) enum Outlet {
    /// A packet socket of the interface.
    Packet(PacketSocket),
    /// A TAP device: what is written there the kernel receives.
    Tap(Own<File>),
}

impl Outlet {
    /// The way out by a TAP, which is read beside.
    pub(crate) fn tap(queue: &OwnedFd) -> io::Result<Self> {
        sys::dup_inherited(queue.as_raw_fd()).map(|queue| Self::Tap(Own::new(queue.into())))
    }

    /// Sends one frame, a `struct virtio_net_hdr` and then the frame's bytes.
    #[inline]
    pub(crate) fn send(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        match self {
            Self::Packet(socket) => socket.send(parts),
            Self::Tap(device) => write(device, parts),
        }
    }

    /// Sends frames, each as [`Outlet::send`] does. How many of the first ones were sent.
    #[inline]
    pub(crate) fn send_each(&self, frames: &[[IoSlice<'_>; 2]]) -> io::Result<usize> {
        match self {
            Self::Packet(socket) => socket.send_each(frames),
            Self::Tap(device) => {
                let mut sent = 0;
                for frame in frames {
                    match write(device, frame) {
                        Ok(()) => sent += 1,
                        Err(error) if sent == 0 => return Err(error),
                        // The next call meets it again.
                        Err(_) => break,
                    }
                }
                Ok(sent)
            }
        }
    }
}

/// Writes a frame, which a TAP takes whole or not at all; its errors in the words of a packet socket.
fn write(mut device: &File, frame: &[IoSlice<'_>]) -> io::Result<()> {
    device.write_vectored(frame).map(drop).map_err(|error| match error.raw_os_error() {
        // `tun_get_user`: it is down.
        Some(libc::EIO) => io::Error::from_raw_os_error(libc::ENETDOWN),
        // Somebody has deleted it.
        Some(libc::EBADFD) => io::Error::from_raw_os_error(libc::ENXIO),
        _ => error,
    })
}
