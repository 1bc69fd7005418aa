//! Hears of interfaces alone, for whoever has no stack.

use std::io;
use std::os::fd::RawFd;

use netlink_packet_route::RouteNetlinkMessage;

use super::channel::{Heard, Notices};

/// Where changes of interfaces are heard.
pub(crate) struct Links(Notices);

impl Links {
    pub(crate) fn open() -> io::Result<Self> {
        Notices::of_links().map(Self)
    }

    /// Readable when something changed.
    pub(crate) fn fd(&self) -> RawFd {
        self.0.fd()
    }

    /// Whether an interface may have come or changed since the last call.
    pub(crate) fn changed(&self) -> bool {
        let mut changed = false;
        self.0.drain(|heard| {
            changed |= match heard {
                Heard::Message(message) => matches!(*message, RouteNetlinkMessage::NewLink(_)),
                Heard::Overrun => true,
            };
        });
        changed
    }
}
