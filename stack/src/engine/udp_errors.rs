//! What becomes known of datagrams that did not arrive: SO_ERROR, and with IP_RECVERR the error queue.

use core::net::SocketAddr;

use super::Stack;
use super::datagram::Datagram;
use super::entry::{Body, Entry};
use crate::error::SocketError;
use crate::socket::Origin;
use crate::time::Instant;
use crate::types::SocketId;
use crate::udp::Pending;

impl Datagram {
    /// What SO_ERROR says once an error was taken from the queue: the next one's, if it came by ICMP.
    pub(super) fn next_error(&self) -> Option<SocketError> {
        let errors = self.extra.as_ref()?.errors.as_ref()?;
        let next = errors.front().filter(|e| e.origin != Origin::Local as u8)?;
        SocketError::of_errno(next.errno)
    }
}

impl Stack {
    /// A datagram was refused here for its length: those who asked for errors are told of the path's MTU.
    pub(super) fn local_error(&mut self, now: Instant, id: SocketId, remote: SocketAddr, mtu: u16) {
        let Some(Entry { body: Body::Datagram(datagram), .. }) = self.table.get_mut(id) else { return };
        let settings = datagram.settings;
        let told = if remote.is_ipv4() { settings.recv_error } else { settings.recv_error6 };
        let Some(errors) = datagram.errors().filter(|_| told) else { return };
        let error = Pending {
            errno: SocketError::MessageSize.errno(),
            origin: Origin::Local as u8,
            kind: (0, 0),
            info: mtu.into(),
            offender: None,
            remote,
            iface: None,
            local: None,
            hops: (0, 0),
            at: now,
            quote: None,
        };
        if errors.push(&mut self.core.pool, error) {
            self.wake(id);
        }
    }
}
