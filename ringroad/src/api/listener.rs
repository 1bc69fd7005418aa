//! A listener that accepts from both worlds.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use rustix::net::sockopt;

use super::ring::{Outcome, Ring, Side, cookie};
use super::stream::TcpStream;
use super::{each_address, error, runtime};

/// What `std` listens with.
const BACKLOG: u32 = 4096;

/// A TCP socket that listens; on the stack where an accelerated interface has the address, and always in the
/// kernel too, for the interfaces that are not accelerated.
pub struct TcpListener {
    kernel: std::net::TcpListener,
    ring: Option<Ring>,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound.
    ///
    /// # Errors
    /// As [`std::net::TcpListener::bind`]; why the runtime did not start, when the configuration is strict.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        each_address(address, Self::bind_one)
    }

    fn bind_one(address: SocketAddr) -> io::Result<Self> {
        let kernel = std::net::TcpListener::bind(address)?;
        let bound = kernel.local_addr()?;
        let ring = match runtime()? {
            Some(runtime) => {
                let mut turn = runtime.lock();
                let (served, now) = (turn.stack().serves(bound.ip()), turn.now());
                let stack = turn.stack();
                if served {
                    let cookie = cookie();
                    let id = stack.tcp_socket(cookie).map_err(error)?;
                    let listens = stack.bind(id, bound).and_then(|()| stack.listen(id, BACKLOG));
                    if let Err(e) = listens {
                        // It was made just now: closing it cannot fail.
                        let _ = stack.close(now, id);
                        return Err(error(e));
                    }
                    drop(turn);
                    Some(Ring::new(runtime, id, cookie, None))
                } else {
                    None
                }
            }
            None => None,
        };
        if ring.is_some() {
            kernel.set_nonblocking(true)?;
        }
        Ok(Self { kernel, ring })
    }

    /// Chooses the congestion control of the connections that will be accepted (TCP_CONGESTION).
    ///
    /// # Errors
    /// `NotFound` when there is none of that name; the socket's.
    pub fn set_congestion(&self, name: &str) -> io::Result<()> {
        let in_kernel = sockopt::set_tcp_congestion(&self.kernel, name);
        match &self.ring {
            // The kernel may lack one of ours: then its own default serves the interfaces that are its.
            Some(ring) => ring.set_congestion(name),
            None => Ok(in_kernel?),
        }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// As [`std::net::TcpListener::accept`].
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let Some(ring) = &self.ring else {
            return self.kernel.accept().map(|(s, a)| (TcpStream::kernel(s), a));
        };
        loop {
            let mut kernel = [libc::pollfd { fd: self.kernel.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
            let connection = cookie();
            let outcome = ring.block_with(Side::Recv, &mut kernel, |stack, now| {
                let accepted = stack.accept(now, ring.id)?;
                stack.set_cookie(accepted.id, connection)?;
                Ok(accepted)
            })?;
            match outcome {
                Outcome::Done(accepted) => {
                    let ring = Ring::new(ring.runtime, accepted.id, connection, None);
                    return Ok((TcpStream::ring(Arc::new(ring)), self.told(accepted.remote)?));
                }
                Outcome::Kernel => match self.kernel.accept() {
                    Ok((stream, address)) => {
                        stream.set_nonblocking(false)?;
                        return Ok((TcpStream::kernel(stream), address));
                    }
                    // The connection was gone again before it was accepted.
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                },
            }
        }
    }

    /// An address as the kernel's socket would tell it: a listener of IPv6 maps those of IPv4.
    fn told(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        Ok(match address {
            SocketAddr::V4(v4) if self.kernel.local_addr()?.is_ipv6() => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            _ => address,
        })
    }

    /// An endless iterator over connections.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// As [`std::net::TcpListener::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.kernel.local_addr()
    }

    /// Whether [`accept`](Self::accept) answers `WouldBlock` instead of waiting.
    ///
    /// # Errors
    /// As [`std::net::TcpListener::set_nonblocking`].
    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        match &self.ring {
            Some(ring) => {
                ring.set_nonblocking(on);
                Ok(())
            }
            None => self.kernel.set_nonblocking(on),
        }
    }

    /// Whether the stack listens, not the kernel alone.
    pub fn is_accelerated(&self) -> bool {
        self.ring.is_some()
    }
}

/// The connections of a [`TcpListener`], for ever.
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}
