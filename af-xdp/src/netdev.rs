//! The receive queues that an interface really has, as the kernel's `netdev` family of generic netlink tells (Linux 6.8).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::interface::attribute;
use crate::sys;

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_QUEUE_GET: u8 = 10;
const NETDEV_A_QUEUE_ID: u16 = 1;
const NETDEV_A_QUEUE_IFINDEX: u16 = 2;
const NETDEV_A_QUEUE_TYPE: u16 = 3;
const NETDEV_QUEUE_TYPE_RX: u32 = 0;

/// `struct nlmsghdr`, then `struct genlmsghdr`.
const HEADERS: usize = 20;

/// The receive queues of interface `index`, in the network namespace of the calling thread: `known` of them, and those
/// behind, up to `most`. A kernel that does not tell, and an interface that is down, have those that are known.
///
/// ethtool's channels are fewer where an XDP program brings queues of its own (virtio_net: one pair a processor),
/// and the NIC receives on those as well.
pub(crate) fn rx_queues(index: u32, known: u32, most: u32) -> u32 {
    let Ok(netdev) = Netdev::open() else { return known };
    (known..most).find(|queue| !netdev.has_rx_queue(index, *queue)).unwrap_or(most)
}

struct Netdev {
    socket: OwnedFd,
    family: u16,
}

impl Netdev {
    fn open() -> io::Result<Self> {
        let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC)?;
        let mut netdev = Self { socket, family: GENL_ID_CTRL };
        let answer = netdev.ask(CTRL_CMD_GETFAMILY, &[(CTRL_ATTR_FAMILY_NAME, b"netdev\0")])?;
        let id = attribute(answer.get(HEADERS..).unwrap_or_default(), &[CTRL_ATTR_FAMILY_ID]);
        let id: Option<[u8; 2]> = id.and_then(|id| id.get(..2)?.try_into().ok());
        netdev.family = id.map(u16::from_ne_bytes).ok_or(io::ErrorKind::Unsupported)?;
        Ok(netdev)
    }

    fn has_rx_queue(&self, index: u32, queue: u32) -> bool {
        let [queue, index, kind] = [queue, index, NETDEV_QUEUE_TYPE_RX].map(u32::to_ne_bytes);
        let attributes: [(u16, &[u8]); 3] =
            [(NETDEV_A_QUEUE_ID, &queue), (NETDEV_A_QUEUE_IFINDEX, &index), (NETDEV_A_QUEUE_TYPE, &kind)];
        self.ask(NETDEV_CMD_QUEUE_GET, &attributes).is_ok()
    }

    /// Asks one question; the answer, an error if it is one.
    fn ask(&self, command: u8, attributes: &[(u16, &[u8])]) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; 4096];
        let len = sys::netlink(self.socket.as_fd(), &request(self.family, command, attributes), &mut answer)?;
        answer.truncate(len);
        match answer.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]])) {
            Some(kind) if kind == self.family => Ok(answer),
            // Only errors are of another kind.
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn request(family: u16, command: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut request = vec![0; HEADERS];
    for (kind, payload) in attributes {
        request.extend(((4 + payload.len()) as u16).to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(*payload);
        request.resize(request.len().next_multiple_of(4), 0);
    }
    let len = request.len() as u32;
    request[0..4].copy_from_slice(&len.to_ne_bytes());
    request[4..6].copy_from_slice(&family.to_ne_bytes());
    request[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request[16] = command;
    request[17] = 1;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_one_queue() {
        assert_eq!(rx_queues(1, 0, 8).max(1), 1);
        assert_eq!(rx_queues(1, 1, 8), 1, "and none behind it");
    }

    #[test]
    fn a_request_holds_its_length_and_padded_attributes() {
        let bytes = request(16, 3, &[(2, b"netdev\0")]);
        assert_eq!((bytes.len(), bytes[0], bytes[4], bytes[16]), (32, 32, 16, 3));
        assert_eq!(bytes[20..], [11, 0, 2, 0, b'n', b'e', b't', b'd', b'e', b'v', 0, 0]);
    }
}
