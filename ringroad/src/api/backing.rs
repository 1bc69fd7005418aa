//! The kernel socket behind a socket of the stack: it holds the port, so that conflicts and the choice of
//! ephemeral ports are the kernel's.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::{set_ip_freebind, set_ipv6_freebind};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

/// A kernel TCP socket bound to `local`, an address of the stack's, and where it is bound.
pub(super) fn tcp(local: SocketAddr) -> io::Result<(OwnedFd, SocketAddr)> {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The stack may have addresses that the kernel has not.
    match local {
        SocketAddr::V4(_) => set_ip_freebind(&socket, true)?,
        SocketAddr::V6(_) => set_ipv6_freebind(&socket, true)?,
    }
    bind(&socket, &local)?;
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, bound))
}
