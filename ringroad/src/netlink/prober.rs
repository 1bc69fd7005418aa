//! Makes the kernel resolve a neighbour without any privilege: sends it an empty datagram through the
//! kernel, to the discard port (RFC 863).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use nic::Own;
use rustix::io;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use stack::types::{IfaceId, scope_of};

use super::device;
use crate::port::aside;

const DISCARD: u16 = 9;

/// One kernel socket an interface and family.
#[derive(Debug, Default)]
pub(super) struct Prober {
    sockets: HashMap<(IfaceId, bool), Own>,
}

impl Prober {
    /// Makes the kernel look for `address` on `iface`, or confirm what it knows.
    pub(super) fn probe(&mut self, iface: IfaceId, name: &str, address: IpAddr) -> io::Result<()> {
        let (family, to): (_, SocketAddr) = match address {
            IpAddr::V4(ip) => (AddressFamily::INET, SocketAddrV4::new(ip, DISCARD).into()),
            IpAddr::V6(ip) => {
                (AddressFamily::INET6, SocketAddrV6::new(ip, DISCARD, 0, scope_of(&ip, iface)).into())
            }
        };
        let socket = match self.sockets.entry((iface, address.is_ipv6())) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(open(family, name)?),
        };
        // Raw system calls: these sockets are the kernel's even where the shim is loaded.
        match sendto(&*socket, &[], SendFlags::empty(), &to) {
            // An earlier datagram was answered with an ICMP error: that is told here, and is no failure.
            Err(io::Errno::CONNREFUSED | io::Errno::HOSTUNREACH | io::Errno::ACCESS) => {
                sendto(&*socket, &[], SendFlags::empty(), &to).map(drop)
            }
            other => other.map(drop),
        }
    }
}

fn open(family: AddressFamily, name: &str) -> io::Result<Own> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    // Kernels before 5.7 want a privilege for it; the routing table then finds the way.
    let _ = device::bind(&socket, name);
    Ok(Own::new(aside(socket)))
}
