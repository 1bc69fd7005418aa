//! What a slot of the socket table holds.

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::sync::Arc;

use super::datagram::Datagram;
use super::error_queue::{Completions, Refusal};
use super::fast_open::Pending;
use super::offering::Offer;
use crate::error::SocketError;
use crate::journal::Noted;
use crate::socket::stored::Stored;
use crate::tcp::Tcb;
use crate::time::Instant;
use crate::types::{LocalKey, Protocol, SocketId};

/// A socket, or a connection that no application has (yet, or any more). With what its slot says of it, all but the
/// connection's `Tcb` is in one line of the cache.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) cookie: u64,
    rare: Option<Box<Rare>>,
    pub(super) options: Arc<Stored>,
    /// When the wheel will call; may be earlier than needed.
    pub(super) armed: Instant,
    /// Waits in the queue of wake-ups.
    pub(super) waking: bool,
    /// Waits in the list of connections to push at the end of the burst.
    pub(super) dirty: bool,
    /// Waits in the list of senders that found no frame.
    pub(super) starved: bool,
    pub(super) noted: Noted,
    pub(super) body: Body,
}

/// What few connections have: made by a call, never by a packet.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// What `bind` said, or `connect` completed. A connection's flow says it: it needs no second place.
    bound: Option<SocketAddr>,
    pub(super) completions: Completions,
    pub(super) refusal: Option<Refusal>,
}

/// What kind of socket it is.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every socket is a connection")]
pub(super) enum Body {
    /// TCP, neither listening nor connected; with what SO_ERROR says of a connect that was shut.
    Fresh(Option<SocketError>),
    /// TCP, to be connected there with the first send (TCP_FASTOPEN_CONNECT).
    Deferred(SocketAddr),
    /// TCP, listening.
    Listener(Listener),
    /// TCP, a connection in any state.
    Connection(Connection),
    /// UDP.
    Datagram(Datagram),
}

/// A listener's queues.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) key: LocalKey,
    pub(super) backlog: u32,
    /// Since when it is nobody's, and what waits in it is for other stacks.
    pub(super) leaves: Option<Instant>,
    /// When nothing waited in it last, since it leaves.
    pub(super) empty_at: Instant,
    /// Others listen at the same end (SO_REUSEPORT).
    pub(super) crowded: bool,
    /// Handshakes under way: as many as the backlog (Linux: inet_csk_reqsk_queue_is_full).
    pub(super) requests: u32,
    /// Until when an ACK may be that of a cookie.
    pub(super) cookies_until: Instant,
    /// Connections open before their handshake is over.
    pub(super) fast_open: Pending,
    /// Connections that wait for `accept`, oldest first.
    pub(super) queue: VecDeque<SocketId>,
    /// When they are offered to others.
    pub(super) offer: Offer,
}

impl Listener {
    /// Linux: the accept queue is full when it holds more than the backlog.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() > self.backlog as usize
    }
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The listener's, waiting for `accept`; so many times it has waited in vain, here or elsewhere.
    Queued(SocketId, u8),
    /// The application's.
    Owned,
    /// Nobody's any more: it delivers what is left and goes.
    Orphan,
}

/// Whether the beginning of a connection concerns anybody yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// No longer.
    Over,
    /// `connect` has still to tell how it went.
    Untold,
    /// It counts as open before its handshake is over.
    Early,
}

/// A connection. What a segment looks at comes first, as in `Tcb`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection {
    pub(super) stage: Stage,
    /// Whether the five-tuple leads here. Not any more once the connection is closed.
    pub(super) attached: bool,
    /// Whether the flow has a steering entry of its own.
    pub(super) steered: bool,
    pub(super) begin: Begin,
    /// Urgent data was announced, and its owner has not been told.
    pub(super) urgent: bool,
    pub(super) tcb: Tcb,
}

impl Entry {
    pub(super) fn new(cookie: u64, options: Arc<Stored>, body: Body) -> Self {
        Self {
            cookie,
            rare: None,
            options,
            body,
            waking: false,
            dirty: false,
            starved: false,
            noted: Noted::New,
            armed: Instant::NEVER,
        }
    }

    /// Our end, once it is known.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match &self.body {
            Body::Connection(c) => Some(c.tcb.flow.key.local),
            _ => self.rare.as_ref()?.bound,
        }
    }

    /// Notes our end, of a socket that is no connection.
    pub(super) fn set_local(&mut self, local: Option<SocketAddr>) {
        if local.is_some() || self.rare.is_some() {
            self.rare_mut().bound = local;
        }
    }

    /// The rare part, if there is one.
    pub(super) fn rare(&self) -> Option<&Rare> {
        self.rare.as_deref()
    }

    /// The rare part, for change, if there is one.
    pub(super) fn made_rare(&mut self) -> Option<&mut Rare> {
        self.rare.as_deref_mut()
    }

    /// The rare part, made now if need be.
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn protocol(&self) -> Protocol {
        match self.body {
            Body::Datagram(_) => Protocol::Udp,
            _ => Protocol::Tcp,
        }
    }

    /// Whether an application holds it.
    #[inline]
    pub(super) fn is_owned(&self) -> bool {
        match &self.body {
            Body::Connection(c) => c.stage == Stage::Owned,
            Body::Listener(l) => l.leaves.is_none(),
            _ => true,
        }
    }

    pub(super) fn connection(&self) -> Option<&Connection> {
        match &self.body {
            Body::Connection(c) => Some(c),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        match &mut self.body {
            Body::Connection(c) => Some(c),
            _ => None,
        }
    }

    pub(super) fn listener_mut(&mut self) -> Option<&mut Listener> {
        match &mut self.body {
            Body::Listener(l) => Some(l),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn a_connection_is_a_quarter_of_linux_s() {
        // Linux: 3.96 KB of slab for an idle connection. Here it is 1 KiB all told, of which the flow table, the
        // wheel and the slab take up to 112 bytes: what few connections need belongs elsewhere.
        assert!(
            size_of::<Entry>() <= 888,
            "{} bytes: more than fourteen lines with its slot",
            size_of::<Entry>()
        );
        // A slot begins with a line; what it says of the entry takes eight bytes.
        let tcb = offset_of!(Entry, body) + offset_of!(Connection, tcb);
        assert_eq!(8 + tcb, nic::LINE, "the first line is all but the Tcb");
    }
}
