//! Datagrams, through the stack where it has the way and the kernel elsewhere.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::Duration;

use stack::error::SocketError;
use stack::socket::RecvFlags;

use super::ring::{Outcome, Ring, Side, cookie};
use super::{each_address, error, runtime};

/// A UDP socket. It is bound in the kernel, and on the stack too where an accelerated interface has the
/// address; datagrams come from both.
pub struct UdpSocket {
    kernel: std::net::UdpSocket,
    ring: Option<Ring>,
}

impl UdpSocket {
    /// Binds to the first of the addresses that can be bound.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::bind`].
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        each_address(address, Self::bind_one)
    }

    fn bind_one(address: SocketAddr) -> io::Result<Self> {
        let kernel = std::net::UdpSocket::bind(address)?;
        let bound = kernel.local_addr()?;
        let mut socket = Self { kernel, ring: None };
        let Some(runtime) = runtime()?.filter(|_| bound.is_ipv4()) else { return Ok(socket) };
        let mut turn = runtime.lock();
        if !turn.stack().serves(bound.ip()) {
            return Ok(socket);
        }
        let cookie = cookie();
        let id = turn.stack().udp_socket(cookie).map_err(error)?;
        drop(turn);
        let ring = Ring::new(runtime, id, cookie, None);
        ring.call(|stack, _| stack.bind(id, bound))?;
        socket.kernel.set_nonblocking(true)?;
        socket.ring = Some(ring);
        Ok(socket)
    }

    /// Names the one peer that [`send`](Self::send) sends to and [`recv`](Self::recv) hears.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::connect`].
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        each_address(address, |remote| {
            self.kernel.connect(remote)?;
            match self.way_to(remote) {
                Some(ring) => ring.call(|stack, now| stack.connect(now, ring.id, remote)),
                None => Ok(()),
            }
        })
    }

    /// Sends one datagram to `address`.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::send_to`]; `PermissionDenied` when the policy forbids it.
    pub fn send_to(&self, bytes: &[u8], address: impl ToSocketAddrs) -> io::Result<usize> {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to");
        let remote = address.to_socket_addrs()?.next().ok_or_else(none)?;
        match self.way_to(remote) {
            Some(ring) => self.send_ring(ring, bytes, Some(remote)),
            None => self.kernel.send_to(bytes, remote),
        }
    }

    /// Sends one datagram to the connected peer.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::send`].
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.kernel.peer_addr().ok().and_then(|remote| self.way_to(remote)) {
            Some(ring) => self.send_ring(ring, bytes, None),
            None => self.kernel.send(bytes),
        }
    }

    /// Receives one datagram, and who sent it. What does not fit is lost.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::recv_from`].
    pub fn recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let Some(ring) = &self.ring else { return self.kernel.recv_from(into) };
        loop {
            let mut kernel = [libc::pollfd { fd: self.kernel.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
            let outcome = ring.block_with(Side::Recv, &mut kernel, |stack, now| {
                let mut at = 0;
                stack.recv_from(now, ring.id, into.len(), RecvFlags::default(), &mut |bytes: &[u8]| {
                    into[at..at + bytes.len()].copy_from_slice(bytes);
                    at += bytes.len();
                    Ok(())
                })
            })?;
            match outcome {
                Outcome::Done(datagram) => return Ok((datagram.copied, datagram.remote)),
                Outcome::Kernel => match self.kernel.recv_from(into) {
                    // Its checksum was wrong, or another thread was faster.
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                },
            }
        }
    }

    /// Receives one datagram of the connected peer.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::recv`].
    pub fn recv(&self, into: &mut [u8]) -> io::Result<usize> {
        self.recv_from(into).map(|(n, _)| n)
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.kernel.local_addr()
    }

    /// The connected peer.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.kernel.peer_addr()
    }

    /// How long receiving waits; `None`: for ever.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match &self.ring {
            Some(ring) => ring.set_timeout(Side::Recv, timeout),
            None => self.kernel.set_read_timeout(timeout),
        }
    }

    /// Whether calls that would wait answer `WouldBlock`.
    ///
    /// # Errors
    /// The socket's.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match &self.ring {
            Some(ring) => {
                ring.set_nonblocking(on);
                Ok(())
            }
            None => self.kernel.set_nonblocking(on),
        }
    }

    /// Whether the stack carries datagrams of this socket.
    pub fn is_accelerated(&self) -> bool {
        self.ring.is_some()
    }

    fn way_to(&self, remote: SocketAddr) -> Option<&Ring> {
        self.ring.as_ref().filter(|r| r.runtime.lock().stack().source_for(remote).is_some())
    }

    fn send_ring(&self, ring: &Ring, bytes: &[u8], remote: Option<SocketAddr>) -> io::Result<usize> {
        let sent = ring.block(Side::Send, |stack, now| {
            let mut rest = bytes;
            stack.send_to(now, ring.id, remote, bytes.len(), &mut |room: &mut [u8]| {
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                Ok(n)
            })
        });
        match (sent, remote) {
            // It would need fragments: the kernel makes those.
            (Err(e), Some(to)) if e.raw_os_error() == Some(SocketError::MessageSize.errno()) => {
                self.kernel.send_to(bytes, to)
            }
            (Err(e), None) if e.raw_os_error() == Some(SocketError::MessageSize.errno()) => {
                self.kernel.send(bytes)
            }
            (sent, _) => sent,
        }
    }
}
