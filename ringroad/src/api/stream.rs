//! A connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use stack::error::SocketError;
use stack::socket::{How, OptName, RecvFlags};
use stack::types::{IfaceId, Protocol, on_link, scope_id};

use super::ring::{Ring, Side, cookie};
use super::{backing, each_address, error, runtime};
use crate::runtime::Runtime;

/// A TCP connection, on the stack or in the kernel.
pub struct TcpStream {
    inner: Inner,
}

enum Inner {
    Kernel(std::net::TcpStream),
    Ring(Arc<Ring>),
}

/// Runs the same call on whichever socket it is.
macro_rules! either {
    ($stream:expr, $kernel:ident => $in_kernel:expr, $ring:ident => $on_ring:expr) => {
        match &$stream.inner {
            Inner::Kernel($kernel) => $in_kernel,
            Inner::Ring($ring) => $on_ring,
        }
    };
}

impl TcpStream {
    pub(super) fn kernel(stream: std::net::TcpStream) -> Self {
        Self { inner: Inner::Kernel(stream) }
    }

    pub(super) fn ring(ring: Arc<Ring>) -> Self {
        Self { inner: Inner::Ring(ring) }
    }

    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    /// As [`std::net::TcpStream::connect`]; `PermissionDenied` when the policy does not let the flow out.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<Self> {
        each_address(address, Self::connect_one)
    }

    fn connect_one(remote: SocketAddr) -> io::Result<Self> {
        if let Some(runtime) = runtime()? {
            let source = runtime.lock().stack().source_for(Protocol::Tcp, remote);
            if let Some(source) = source {
                // A link-local end is on the link of the other one.
                let link = IfaceId(scope_id(&remote));
                return Self::connect_ring(runtime, on_link(SocketAddr::new(source, 0), link), remote);
            }
        }
        std::net::TcpStream::connect(remote).map(Self::kernel)
    }

    fn connect_ring(runtime: &'static Runtime, source: SocketAddr, remote: SocketAddr) -> io::Result<Self> {
        let (backing, local) = backing::tcp(source)?;
        let cookie = cookie();
        let id = runtime.lock().stack().tcp_socket(cookie).map_err(error)?;
        let ring = Ring::new(runtime, id, cookie, Some(backing));
        ring.call(|stack, _| stack.bind(id, local))?;
        ring.block(Side::Send, |stack, now| match stack.connect(now, id, remote) {
            Err(SocketError::InProgress | SocketError::AlreadyConnecting) => Err(SocketError::WouldBlock),
            Err(SocketError::IsConnected) => Ok(()),
            result => result,
        })?;
        Ok(Self::ring(Arc::new(ring)))
    }

    /// Whether the stack carries the connection, not the kernel.
    pub fn is_accelerated(&self) -> bool {
        matches!(self.inner, Inner::Ring(_))
    }

    /// The other end.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        either!(self, k => k.peer_addr(), r => r.call(|stack, _| stack.peer(r.id)))
    }

    /// Our end.
    ///
    /// # Errors
    /// As [`std::net::TcpStream::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        either!(self, k => k.local_addr(), r => r.call(|stack, _| {
            stack.local(r.id)?.ok_or(SocketError::Invalid)
        }))
    }

    /// Another handle of the same connection.
    ///
    /// # Errors
    /// As [`std::net::TcpStream::try_clone`].
    pub fn try_clone(&self) -> io::Result<Self> {
        either!(self, k => k.try_clone().map(Self::kernel), r => Ok(Self::ring(Arc::clone(r))))
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let direction = match how {
            Shutdown::Read => How::Read,
            Shutdown::Write => How::Write,
            Shutdown::Both => How::Both,
        };
        either!(self, k => k.shutdown(how), r => r.call(|stack, now| stack.shutdown(now, r.id, direction)))
    }

    /// Whether small segments are sent at once (TCP_NODELAY).
    ///
    /// # Errors
    /// The socket's.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        either!(self, k => k.set_nodelay(on), r => r.set_option(OptName::NoDelay, on.into()))
    }

    /// Whether small segments are sent at once (TCP_NODELAY).
    ///
    /// # Errors
    /// The socket's.
    pub fn nodelay(&self) -> io::Result<bool> {
        either!(self, k => k.nodelay(), r => r.option(OptName::NoDelay).map(|v| v != 0))
    }

    /// Chooses the congestion control (TCP_CONGESTION): `cubic`, `reno` or `bbr`, or what else the kernel has where it
    /// carries the connection.
    ///
    /// # Errors
    /// `NotFound` when there is none of that name; the socket's.
    pub fn set_congestion(&self, name: &str) -> io::Result<()> {
        either!(self, k => Ok(sockopt::set_tcp_congestion(k, name)?), r => r.set_congestion(name))
    }

    /// The name of the congestion control (TCP_CONGESTION).
    ///
    /// # Errors
    /// The socket's.
    pub fn congestion(&self) -> io::Result<String> {
        either!(self, k => Ok(sockopt::tcp_congestion(k)?), r => r.congestion())
    }

    /// The time to live of what is sent (IP_TTL).
    ///
    /// # Errors
    /// The socket's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let value = i32::try_from(ttl).unwrap_or(i32::MAX);
        either!(self, k => k.set_ttl(ttl), r => r.set_option(OptName::Ttl, value))
    }

    /// How long reads wait; `None`: for ever.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        either!(self, k => k.set_read_timeout(timeout), r => r.set_timeout(Side::Recv, timeout))
    }

    /// How long writes wait; `None`: for ever.
    ///
    /// # Errors
    /// `InvalidInput` for zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        either!(self, k => k.set_write_timeout(timeout), r => r.set_timeout(Side::Send, timeout))
    }

    /// How long reads wait.
    ///
    /// # Errors
    /// The socket's.
    pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
        either!(self, k => k.read_timeout(), r => Ok(r.timeout(Side::Recv)))
    }

    /// How long writes wait.
    ///
    /// # Errors
    /// The socket's.
    pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
        either!(self, k => k.write_timeout(), r => Ok(r.timeout(Side::Send)))
    }

    /// Whether calls that would wait answer `WouldBlock`.
    ///
    /// # Errors
    /// The socket's.
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        either!(self, k => k.set_nonblocking(on), r => {
            r.set_nonblocking(on);
            Ok(())
        })
    }

    /// Reads without taking the bytes out.
    ///
    /// # Errors
    /// As [`Read::read`].
    pub fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        let flags = RecvFlags { peek: true, ..RecvFlags::default() };
        either!(self, k => k.peek(into), r => r.recv(into, flags))
    }

    /// The pending error, which is cleared (SO_ERROR).
    ///
    /// # Errors
    /// The socket's.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        either!(self, k => k.take_error(), r => r.call(|stack, _| Ok(stack.take_error(r.id).map(error))))
    }
}

impl Read for &TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &self.inner {
            Inner::Kernel(stream) => (&*stream).read(into),
            Inner::Ring(ring) => ring.recv(into, RecvFlags::default()),
        }
    }
}

impl Write for &TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.inner {
            Inner::Kernel(stream) => (&*stream).write(bytes),
            Inner::Ring(ring) => ring.send(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for TcpStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }
}

impl Write for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
