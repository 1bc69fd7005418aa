//! Datagrams, through the stack where it has the way and the kernel elsewhere.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use stack::error::SocketError;
use stack::socket::{Datagram, OptName, Outbound, RecvFlags};
use stack::types::{IfaceId, Protocol};
use stack::udp::Change;

use super::ring::{Outcome, Ring, Side, cookie};
use super::{Meta, each_address, error, message, runtime};

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
        let Some(runtime) = runtime()? else { return Ok(socket) };
        let mut turn = runtime.lock();
        if !turn.stack().serves(bound.ip()) {
            return Ok(socket);
        }
        let cookie = cookie();
        let id = turn.stack().udp_socket(cookie).map_err(error)?;
        drop(turn);
        let ring = Ring::new(runtime, id, cookie, None);
        ring.call(|stack, _| stack.bind(id, bound))?;
        // Where the kernel's datagrams were sent to is what the gate judges them by.
        message::ask_for_meta(socket.kernel.as_fd())?;
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
        self.send_with(bytes, &Meta::to(remote))
    }

    /// Sends one datagram to the connected peer.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::send`].
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send_with(bytes, &Meta::default())
    }

    /// Sends as `meta` says: to whom, from which address, with which header fields; and with
    /// [`segment`](Meta::segment), cut into datagrams of that length, which are judged and routed once.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to); `InvalidInput` for a segment that needs fragments, or more than 128 of them.
    pub fn send_with(&self, bytes: &[u8], meta: &Meta) -> io::Result<usize> {
        let remote = match meta.remote {
            Some(remote) => Some(remote),
            None => self.kernel.peer_addr().ok(),
        };
        match remote.and_then(|remote| self.way_to(remote)) {
            Some(ring) => self.send_ring(ring, bytes, meta),
            None => message::send(self.kernel.as_fd(), bytes, meta),
        }
    }

    /// Receives one datagram, and who sent it. What does not fit is lost.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::recv_from`].
    pub fn recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (n, meta) = self.recv_with(into)?;
        let nobody = || io::Error::new(io::ErrorKind::InvalidData, "a datagram from nobody");
        Ok((n, meta.remote.ok_or_else(nobody)?))
    }

    /// Receives one datagram, or where [`set_gro`](Self::set_gro) is on a train of them, and all that is known of
    /// it.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::recv_from`].
    pub fn recv_with(&self, into: &mut [u8]) -> io::Result<(usize, Meta)> {
        let Some(ring) = &self.ring else {
            return message::recv(self.kernel.as_fd(), into).map(|(n, meta, _)| (n, meta));
        };
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
                Outcome::Done(told) => return Ok((told.copied, meta_of(&told))),
                Outcome::Kernel => match message::recv(self.kernel.as_fd(), into) {
                    // Its checksum was wrong, or another thread was faster.
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Ok((n, meta, via)) if !self.passes(ring, n, (&meta, via)) => {}
                    result => return result.map(|(n, meta, _)| (n, meta)),
                },
            }
        }
    }

    /// Whether the gate lets a datagram in that came to the kernel's socket.
    fn passes(&self, ring: &Ring, len: usize, (meta, via): (&Meta, Option<IfaceId>)) -> bool {
        let Some(remote) = meta.remote else { return true };
        let Ok(bound) = self.kernel.local_addr() else { return true };
        let mut turn = ring.runtime.lock();
        let now = turn.now();
        match turn.stack().source_for(Protocol::Udp, remote) {
            Some(road) => {
                let local = SocketAddr::new(meta.local.unwrap_or(road), bound.port());
                turn.stack().judge_recv(now, (local, remote), via, len)
            }
            None => true,
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

    /// Joins a group on the interface that has the address `interface` (unspecified: the system chooses).
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::join_multicast_v4`].
    pub fn join_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.kernel.join_multicast_v4(group, interface)?;
        self.change_group(*group, *interface, Change::Join)
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// As [`std::net::UdpSocket::leave_multicast_v4`].
    pub fn leave_multicast_v4(&self, group: &Ipv4Addr, interface: &Ipv4Addr) -> io::Result<()> {
        self.kernel.leave_multicast_v4(group, interface)?;
        self.change_group(*group, *interface, Change::Leave)
    }

    /// Joins a group to hear one source in it; called again, one more (RFC 3376's INCLUDE mode).
    ///
    /// # Errors
    /// The operating system's.
    pub fn join_source_v4(
        &self,
        group: &Ipv4Addr,
        source: &Ipv4Addr,
        interface: &Ipv4Addr,
    ) -> io::Result<()> {
        message::change_source(self.kernel.as_fd(), true, [*group, *interface, *source])?;
        self.change_group(*group, *interface, Change::JoinSource((*source).into()))
    }

    /// Hears the source no longer; without sources the group is left.
    ///
    /// # Errors
    /// The operating system's.
    pub fn leave_source_v4(
        &self,
        group: &Ipv4Addr,
        source: &Ipv4Addr,
        interface: &Ipv4Addr,
    ) -> io::Result<()> {
        message::change_source(self.kernel.as_fd(), false, [*group, *interface, *source])?;
        self.change_group(*group, *interface, Change::LeaveSource((*source).into()))
    }

    /// The kernel's socket is a member; the stack, where the interface is one of its own, hears what it does.
    fn change_group(&self, group: Ipv4Addr, interface: Ipv4Addr, change: Change) -> io::Result<()> {
        let Some(ring) = &self.ring else { return Ok(()) };
        ring.call(|stack, _| {
            let iface = if interface.is_unspecified() {
                stack.iface_towards(SocketAddr::new(group.into(), 0))
            } else {
                stack.iface_with(interface.into())
            };
            match iface {
                Some(iface) => stack.change_group(ring.id, group.into(), iface, change),
                None => Ok(()),
            }
        })
    }

    /// Whether datagrams to broadcast addresses may be sent.
    ///
    /// # Errors
    /// The socket's.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.kernel.set_broadcast(on)?;
        self.set_ring(OptName::Broadcast, on.into())
    }

    /// Time to live of what is sent.
    ///
    /// # Errors
    /// `InvalidInput` for zero and above 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.kernel.set_ttl(ttl)?;
        self.set_ring(OptName::Ttl, ttl as i32)
    }

    /// Time to live of what is sent to groups.
    ///
    /// # Errors
    /// `InvalidInput` above 255.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.kernel.set_multicast_ttl_v4(ttl)?;
        self.set_ring(OptName::MulticastTtl, ttl as i32)
    }

    /// Whether datagrams of one length that came together may be received together: [`recv_with`](Self::recv_with)
    /// tells their length.
    ///
    /// # Errors
    /// The socket's.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        message::set_gro(self.kernel.as_fd(), on)?;
        self.set_ring(OptName::Gro, on.into())
    }

    fn set_ring(&self, name: OptName, value: i32) -> io::Result<()> {
        self.ring.as_ref().map_or(Ok(()), |ring| ring.set_option(name, value))
    }

    /// The stack's socket, if it is the one to send to `remote` with. Groups and broadcasts are for the kernel's,
    /// which alone can let others on this host hear them.
    fn way_to(&self, remote: SocketAddr) -> Option<&Ring> {
        self.ring.as_ref().filter(|ring| {
            let mut turn = ring.runtime.lock();
            let stack = turn.stack();
            stack.source_for(Protocol::Udp, remote).is_some()
                && !remote.ip().is_multicast()
                && !stack.is_broadcast(remote.ip())
        })
    }

    fn send_ring(&self, ring: &Ring, bytes: &[u8], meta: &Meta) -> io::Result<usize> {
        let Meta { remote, local: source, ttl, tos, segment } = *meta;
        let out = Outbound { remote, source, iface: None, ttl, tos, segment };
        let sent = ring.block(Side::Send, |stack, now| {
            let mut rest = bytes;
            stack.send_msg(now, ring.id, &out, bytes.len(), &mut |room: &mut [u8]| {
                let n = room.len().min(rest.len());
                room[..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                Ok(n)
            })
        });
        match sent {
            // It would need fragments: the kernel makes those, after what is queued here.
            Err(e) if e.raw_os_error() == Some(SocketError::MessageSize.errno()) && segment.is_none() => {
                ring.runtime.lock().flush();
                message::send(self.kernel.as_fd(), bytes, meta)
            }
            sent => sent,
        }
    }
}

fn meta_of(told: &Datagram) -> Meta {
    let (local, remote) = (Some(told.local.ip()), Some(told.remote));
    Meta { remote, local, ttl: Some(told.ttl), tos: Some(told.tos), segment: told.segment }
}
