//! What the kernel says of an interface.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{At, SetupError, Step};
use crate::netdev::rx_queues;
use crate::port::receives;
use crate::steer::QUEUES;
use crate::sys::{self, IfRequest};

/// An interface as AF_XDP needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index in its network namespace.
    pub index: u32,
    /// Its link address.
    pub mac: [u8; 6],
    /// Its MTU in bytes, link header not counted.
    pub mtu: u32,
    /// Its receive queues.
    pub queues: u32,
    /// Frames that a NIC of its own keeps to receive into, on each queue; 0 when the driver does not say.
    pub rx_ring: u32,
    /// Its driver's name, a VLAN's that of the interface below; `unknown` when the driver does not say.
    pub driver: String,
}

/// Drivers whose frames may come from this very host with their checksums unfinished, by the name that
/// ethtool reports.
const VIRTUAL: &[&str] = &[
    "veth",
    "netkit",
    "tun",
    "bridge",
    "macvlan",
    "ipvlan",
    "dummy",
    "ifb",
    "vxlan",
    "geneve",
    "openvswitch",
    "virtio_net",
    "vif",
    "netvsc",
    "hv_netvsc",
    VLAN,
];

/// A VLAN's device on one that is not to be found, by its name without spaces.
const VLAN: &str = "802.1QVLANSupport";

const ETHTOOL_GDRVINFO: u32 = 3;
const ETHTOOL_GRINGPARAM: u32 = 0x10;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

impl Interface {
    /// Looks interface `name` up in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Step::Interface`] when there is no such interface.
    pub fn find(name: &str) -> Result<Self, SetupError> {
        Self::ask(name).at(Step::Interface).map_err(|e| e.on(name))
    }

    fn ask(name: &str) -> io::Result<Self> {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
        let fd = socket.as_fd();
        let index = sys::interface_index(name)?;
        let hardware = get(fd, name, libc::SIOCGIFHWADDR as libc::Ioctl)?;
        let mtu = get(fd, name, libc::SIOCGIFMTU as libc::Ioctl)?;
        let mut mac = [0; 6];
        // A `sockaddr`: two bytes of family, then the address.
        mac.copy_from_slice(&hardware[2..8]);
        Ok(Self {
            name: name.to_owned(),
            index,
            mac,
            mtu: u32::from_ne_bytes([mtu[0], mtu[1], mtu[2], mtu[3]]),
            queues: queues(fd, name).unwrap_or(1),
            rx_ring: rx_ring(fd, name).unwrap_or(0),
            driver: driver_below(fd, name, index).unwrap_or_else(|_| "unknown".to_owned()),
        })
    }

    /// Whether frames may arrive with `CHECKSUM_PARTIAL` checksums, because their sender may be a kernel that
    /// shares memory with this one.
    pub fn is_virtual(&self) -> bool {
        VIRTUAL.contains(&self.driver.as_str()) || self.is_loopback()
    }

    /// Counts the receive queues again, those that XDP programs have brought by now among them: ethtool's channels,
    /// which [`Interface::find`] counts, leave these out. One more than a port can have stands for all beyond.
    pub fn recount(&mut self) {
        self.queues = rx_queues(self.index, self.queues, QUEUES + 1);
    }

    /// Whether VLAN tags of frames that interface `name` receives are taken off before an XDP program sees them (ethtool's
    /// rx-vlan-offload), so that nobody can tell whose they are. Also when the driver does not say.
    pub fn takes_tags(name: &str) -> bool {
        let flags = || -> io::Result<u32> {
            let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
            // `struct ethtool_value`: command, value.
            let mut value = [ETHTOOL_GFLAGS, 0];
            IfRequest::new(name)?.ethtool(socket.as_fd(), &mut value)?;
            Ok(value[1])
        };
        flags().map_or(true, |flags| flags & ETH_FLAG_RXVLAN != 0)
    }

    /// Its transmit queues, as it is now: those in use where the driver tells of some (ethtool), otherwise those it was
    /// made with: many, of a multi-queue TUN or TAP that nobody has opened yet.
    pub(crate) fn transmit_queues(&self) -> Option<u32> {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let channels = socket.and_then(|socket| channels(socket.as_fd(), &self.name));
        channels.ok().map(|c| c[6] + c[8]).filter(|n| *n > 0).or_else(|| transmit_queues_made(self.index))
    }

    /// Whether packets may come that are longer than what a frame of so many bytes takes. They come in parts, of which TCP's
    /// are cut; longer datagrams the program leaves to the kernel. On the loopback device there are no others.
    pub fn is_wide(&self, frame_size: u32) -> bool {
        self.mtu > receives(frame_size) && !self.is_loopback()
    }

    /// Whether it is a VLAN of another interface, whose driver it names as its own.
    pub fn is_vlan(&self) -> bool {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        socket.and_then(|socket| driver(socket.as_fd(), &self.name)).is_ok_and(|name| name == VLAN)
    }

    /// Whether it leads back to this host (Linux: LOOPBACK_IFINDEX, in every network namespace).
    pub fn is_loopback(&self) -> bool {
        self.index == 1
    }
}

fn get(fd: BorrowedFd<'_>, name: &str, request: libc::Ioctl) -> io::Result<[u8; 24]> {
    let mut r = IfRequest::new(name)?;
    r.get(fd, request)?;
    Ok(r.bytes())
}

/// The name of the driver that hears the wire.
fn driver_below(fd: BorrowedFd<'_>, name: &str, index: u32) -> io::Result<String> {
    let driver = driver(fd, name)?;
    if driver != VLAN {
        return Ok(driver);
    }
    let below = parent(index).and_then(|(index, name)| driver_below(fd, &name, index).ok());
    Ok(below.unwrap_or(driver))
}

/// `struct ethtool_drvinfo` is 196 bytes: command, then the driver's name in 32.
fn driver(fd: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    let mut info = [0u32; 49];
    info[0] = ETHTOOL_GDRVINFO;
    IfRequest::new(name)?.ethtool(fd, &mut info)?;
    let bytes: Vec<u8> = info[1..9].iter().flat_map(|w| w.to_ne_bytes()).take_while(|b| *b != 0).collect();
    let usable = |b: &u8| b.is_ascii_graphic() && *b != b':';
    Ok(bytes.iter().filter(|b| usable(b)).map(|b| char::from(*b)).collect())
}

/// A queue that can receive is an rx channel or a combined one.
fn queues(fd: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    channels(fd, name).map(|channels| (channels[5] + channels[8]).max(1))
}

/// `struct ethtool_channels`: command, four maxima, then rx, tx, other and combined counts.
fn channels(fd: BorrowedFd<'_>, name: &str) -> io::Result<[u32; 9]> {
    let mut channels = [0u32; 9];
    channels[0] = ETHTOOL_GCHANNELS;
    IfRequest::new(name)?.ethtool(fd, &mut channels)?;
    Ok(channels)
}

/// `struct ethtool_ringparam`: command, four maxima, then what is set: rx, and three others.
fn rx_ring(fd: BorrowedFd<'_>, name: &str) -> io::Result<u32> {
    let mut rings = [0u32; 9];
    rings[0] = ETHTOOL_GRINGPARAM;
    IfRequest::new(name)?.ethtool(fd, &mut rings)?;
    Ok(rings[5])
}

/// The id of the XDP program on an interface, if there is one (`IFLA_XDP`).
pub(crate) fn xdp_program(index: u32) -> Option<u32> {
    const IFLA_XDP: u16 = 43;
    const IFLA_XDP_PROG_ID: [u16; 4] = [4, 5, 6, 7]; // any mode, native, generic, hardware
    let link = link(index)?;
    let xdp = attribute(&link, &[IFLA_XDP])?;
    word(attribute(xdp, &IFLA_XDP_PROG_ID)?)
}

/// The transmit queues that an interface was made with (`IFLA_NUM_TX_QUEUES`); it may use fewer.
fn transmit_queues_made(index: u32) -> Option<u32> {
    const IFLA_NUM_TX_QUEUES: u16 = 31;
    word(attribute(&link(index)?, &[IFLA_NUM_TX_QUEUES])?)
}

/// The interface that one is on, if that is in the same network namespace: index and name.
fn parent(index: u32) -> Option<(u32, String)> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINK: u16 = 5;
    const IFLA_LINK_NETNSID: u16 = 37;
    let of = link(index)?;
    if attribute(&of, &[IFLA_LINK_NETNSID]).is_some() {
        return None;
    }
    let index = word(attribute(&of, &[IFLA_LINK])?)?;
    let below = link(index)?;
    let name = attribute(&below, &[IFLA_IFNAME])?.split(|byte| *byte == 0).next()?;
    Some((index, String::from_utf8(name.to_vec()).ok()?))
}

/// What the kernel says of a TUN or TAP with several queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tun {
    /// Queues that somebody holds, those not in use left out.
    pub(crate) queues: u32,
    /// Queues that somebody holds and has put out of use.
    pub(crate) detached: u32,
    /// It stays when nobody holds a queue any more.
    pub(crate) stays: bool,
}

impl Tun {
    /// That of interface `index`, if it is one.
    pub(crate) fn of(index: u32) -> Option<Self> {
        const IFLA_LINKINFO: u16 = 18;
        const IFLA_INFO_DATA: u16 = 2;
        const IFLA_TUN_PERSIST: u16 = 6;
        const IFLA_TUN_NUM_QUEUES: u16 = 8;
        const IFLA_TUN_NUM_DISABLED_QUEUES: u16 = 9;
        let link = link(index)?;
        let data = attribute(attribute(&link, &[IFLA_LINKINFO])?, &[IFLA_INFO_DATA])?;
        Some(Self {
            queues: word(attribute(data, &[IFLA_TUN_NUM_QUEUES])?)?,
            detached: word(attribute(data, &[IFLA_TUN_NUM_DISABLED_QUEUES])?)?,
            stays: attribute(data, &[IFLA_TUN_PERSIST])?.first() != Some(&0),
        })
    }
}

fn word(payload: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(payload.get(..4)?.try_into().ok()?))
}

/// The attributes of an interface (`RTM_GETLINK`).
fn link(index: u32) -> Option<Vec<u8>> {
    let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).ok()?;
    // struct nlmsghdr, then struct ifinfomsg.
    let mut request = [0u8; 32];
    request[0..4].copy_from_slice(&32u32.to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request[20..24].copy_from_slice(&index.to_ne_bytes());
    let mut answer = vec![0u8; 32768];
    let len = sys::netlink(socket.as_fd(), &request, &mut answer).ok()?;
    answer.get(32..len).map(<[u8]>::to_vec)
}

/// The first attribute of one of the types in `wanted`: `struct nlattr`, payload, padding to four bytes.
pub(crate) fn attribute<'a>(mut list: &'a [u8], wanted: &[u16]) -> Option<&'a [u8]> {
    while list.len() >= 4 {
        let len = usize::from(u16::from_ne_bytes([list[0], list[1]]));
        let kind = u16::from_ne_bytes([list[2], list[3]]) & 0x3fff;
        let payload = list.get(4..len)?;
        if wanted.contains(&kind) {
            return Some(payload);
        }
        list = list.get(len.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_found_and_an_unknown_name_refused() {
        let lo = Interface::find("lo").unwrap();
        assert_eq!((lo.index, lo.mac, lo.queues), (1, [0; 6], 1));
        assert_eq!(lo.transmit_queues(), Some(1), "its driver does not tell, but the kernel");
        let e = Interface::find("no-such-if").unwrap_err();
        assert_eq!(e.step, Step::Interface);
        assert!(e.to_string().contains("there is no such interface in this network namespace"), "{e}");
        assert!(Interface::find("a-name-longer-than-the-kernel-allows").is_err());
        assert!(Interface::find("nul\0").is_err());
    }

    #[test]
    fn attributes_are_walked_with_padding_and_cut_lists_refused() {
        let list = [5, 0, 1, 0, 9, 0, 0, 0, 8, 0, 2, 0, 1, 2, 3, 4];
        assert_eq!(attribute(&list, &[2]), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attribute(&list, &[3]), None);
        assert_eq!(attribute(&list[..14], &[2]), None);
        assert_eq!(attribute(&[0, 0, 1, 0], &[2]), None);
    }
}
