//! Makes the kernel resolve a neighbour without any privilege: sends it an empty datagram through the
//! kernel, to the discard port (RFC 863).

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use stack::types::IfaceId;

use super::device;

const DISCARD: u16 = 9;

/// One kernel socket an interface.
#[derive(Debug, Default)]
pub(super) struct Prober {
    sockets: HashMap<IfaceId, OwnedFd>,
}

impl Prober {
    /// Makes the kernel look for `address` on `iface`, or confirm what it knows.
    pub(super) fn probe(&mut self, iface: IfaceId, name: &str, address: Ipv4Addr) -> io::Result<()> {
        let socket = match self.sockets.entry(iface) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(open(name)?),
        };
        // Raw system calls: these sockets are the kernel's even where the shim is loaded.
        match sendto(&*socket, &[], SendFlags::empty(), &SocketAddrV4::new(address, DISCARD)) {
            // An earlier datagram was answered with an ICMP error: that is told here, and is no failure.
            Err(io::Errno::CONNREFUSED | io::Errno::HOSTUNREACH) => {
                sendto(&*socket, &[], SendFlags::empty(), &SocketAddrV4::new(address, DISCARD)).map(drop)
            }
            other => other.map(drop),
        }
    }
}

fn open(name: &str) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    // Kernels before 5.7 want a privilege for it; the routing table then finds the way.
    let _ = device::bind(&socket, name);
    Ok(socket)
}
