//! Two netlink sockets: one asks for whole tables, one hears of changes.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{address, link, neighbour};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nic::Own;

use crate::port::socket_aside;

/// Multicast groups: links, neighbours, then addresses and routes of IPv4 and of IPv6, and what routers say of links.
const GROUPS: [u32; 7] = [1, 3, 5, 7, 9, 11, 12];
/// Room for a burst of notifications before the kernel reports an overrun; a quarter of the default maximum
/// of unprivileged sockets is enough for thousands.
const NOTICE_BUFFER: usize = 1 << 20;

/// Hears of changes.
pub(super) struct Notices {
    socket: Own<Socket>,
}

/// What was heard.
pub(super) enum Heard {
    /// A message.
    Message(Box<RouteNetlinkMessage>),
    /// Some were lost: ask for everything again.
    Overrun,
}

impl Notices {
    /// Of all that a stack needs to know.
    pub(super) fn open() -> io::Result<Self> {
        Self::of(&GROUPS)
    }

    /// Of interfaces alone.
    pub(super) fn of_links() -> io::Result<Self> {
        Self::of(&GROUPS[..1])
    }

    fn of(groups: &[u32]) -> io::Result<Self> {
        let mut socket = socket_aside(Socket::new(NETLINK_ROUTE)?);
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Less room means more overruns, which are dealt with.
        let _ = socket.set_rx_buf_sz(NOTICE_BUFFER);
        groups.iter().try_for_each(|&group| socket.add_membership(group))?;
        Ok(Self { socket: Own::new(socket) })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Hands everything that waits to `each`.
    pub(super) fn drain(&self, mut each: impl FnMut(Heard)) {
        loop {
            match self.socket.recv_from_full() {
                Ok((bytes, _)) => messages(&bytes, |_, payload| {
                    if let NetlinkPayload::InnerMessage(message) = payload {
                        each(Heard::Message(Box::new(message)));
                    }
                    true
                }),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => each(Heard::Overrun),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// Which table to ask for.
#[derive(Clone, Copy)]
pub(super) enum Table {
    Links,
    Addresses,
    Routes,
    Neighbours,
}

/// Asks for whole tables.
pub(super) struct Dumps {
    socket: Own<Socket>,
    sequence: u32,
}

impl Dumps {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = socket_aside(Socket::new(NETLINK_ROUTE)?);
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket: Own::new(socket), sequence: 0 })
    }

    /// Makes a change; takes privilege.
    pub(super) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence += 1;
        self.say(message, NLM_F_ACK | flags)?;
        self.answers(|_| {})
    }

    /// Every entry of a table, of all families.
    pub(super) fn all(&mut self, table: Table) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        self.ask(table)?;
        let mut entries = Vec::new();
        self.answers(|entry| entries.push(entry)).map(|()| entries)
    }

    /// Hears what was asked for last, to its end.
    fn answers(&self, mut each: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
        let mut outcome = None;
        while outcome.is_none() {
            let (bytes, _) = self.socket.recv_from_full()?;
            messages(&bytes, |header, payload| {
                if header.sequence_number != self.sequence {
                    return true;
                }
                match payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Done(_) => outcome = Some(Ok(())),
                    // An error that is none says that a change was made.
                    NetlinkPayload::Error(e) => {
                        outcome = Some(if e.code.is_none() { Ok(()) } else { Err(e.to_io()) });
                    }
                    _ => {}
                }
                outcome.is_none()
            });
        }
        outcome.unwrap_or(Ok(()))
    }

    fn ask(&self, table: Table) -> io::Result<()> {
        let message = match table {
            Table::Links => RouteNetlinkMessage::GetLink(link::LinkMessage::default()),
            Table::Addresses => RouteNetlinkMessage::GetAddress(address::AddressMessage::default()),
            Table::Neighbours => RouteNetlinkMessage::GetNeighbour(neighbour::NeighbourMessage::default()),
            Table::Routes => RouteNetlinkMessage::GetRoute(RouteMessage::default()),
        };
        self.say(message, NLM_F_DUMP)
    }

    fn say(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }
}

/// Walks the messages of a datagram until `each` has enough. What cannot be read is stepped over.
fn messages(
    mut bytes: &[u8],
    mut each: impl FnMut(&NetlinkHeader, NetlinkPayload<RouteNetlinkMessage>) -> bool,
) {
    /// `struct nlmsghdr`.
    const HEADER: usize = 16;
    while let Some(length) = bytes.first_chunk::<4>() {
        let length = u32::from_ne_bytes(*length) as usize;
        if length < HEADER || length > bytes.len() {
            return;
        }
        if let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes[..length]) {
            let (header, payload) = message.into_parts();
            if !each(&header, payload) {
                return;
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}
