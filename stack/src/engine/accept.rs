//! The listener's side: listen, accept, and what happens to its connections when it goes.

use std::collections::VecDeque;

use super::Stack;
use super::entry::{Body, Entry, Listener, Stage};
use super::fast_open::Pending;
use super::offering::Offer;
use crate::error::SocketError;
use crate::hash::FlowWords;
use crate::socket::{Accepted, Result};
use crate::tcp::call;
use crate::time::Instant;
use crate::types::{FlowKey, LocalKey, Protocol, SocketId};
use crate::udp::share;

/// How much of a backlog gets its memory at once.
const AHEAD: usize = 128;

impl Stack {
    /// Begins to listen, or changes the backlog of a listener. At most `backlog + 1` connections wait in the
    /// accept queue, as in Linux.
    ///
    /// # Errors
    /// `Invalid` when it is connected or not bound; `AddressInUse`; `NotSupported` for UDP.
    pub fn listen(&mut self, id: SocketId, backlog: u32) -> Result<()> {
        let backlog = backlog.min(self.core.config.sockets.backlog_max);
        let entry = self.owned_mut(id)?;
        match &mut entry.body {
            Body::Datagram(_) => Err(SocketError::NotSupported),
            Body::Connection(_) | Body::Deferred(_) => Err(SocketError::Invalid),
            Body::Listener(listener) => {
                listener.backlog = backlog;
                Ok(())
            }
            Body::Fresh(_) => {
                let local = entry.local().ok_or(SocketError::Invalid)?;
                let options = entry.options.clone();
                let key = LocalKey { protocol: Protocol::Tcp, address: local.ip(), port: local.port() };
                if let Some(front) = self.locals.get(&key)
                    && !self.leavers.contains(&front)
                    && !(options.reuse_port && self.reuses_port(front))
                {
                    return Err(SocketError::AddressInUse);
                }
                let queue = VecDeque::with_capacity((backlog as usize + 1).min(AHEAD));
                let cookies_until = Instant::ZERO;
                let mut fast_open = Pending::default();
                fast_open.reserve(self.fast_open_limit(&options, backlog));
                let listener = Listener {
                    key,
                    backlog,
                    leaves: None,
                    empty_at: Instant::ZERO,
                    crowded: false,
                    requests: 0,
                    cookies_until,
                    fast_open,
                    queue,
                    offer: Offer::default(),
                };
                self.owned_mut(id)?.body = Body::Listener(listener);
                self.crowds.join(key, id);
                self.refront(&key);
                self.steer_port(id, key);
                self.succeed_leaver(&key, id);
                Ok(())
            }
        }
    }

    fn reuses_port(&self, id: SocketId) -> bool {
        self.table.get(id).is_some_and(|entry| entry.options.reuse_port)
    }

    /// Who answers a connection request: of listeners that share an end (SO_REUSEPORT), the flow's own.
    pub(super) fn listener_for(&self, key: &FlowKey) -> Option<SocketId> {
        let front = self.local_socket(Protocol::Tcp, key.local.ip(), key.local.port())?;
        let Body::Listener(listener) = &self.table.get(front)?.body else { return None };
        if !listener.crowded {
            return Some(front);
        }
        let crowd = self.crowds.open(&listener.key);
        let at = share(FlowWords::new(key).hash(&self.share_key), crowd.len());
        crowd.get(at).copied().or(Some(front))
    }

    /// Takes the oldest connection of a listener's queue. Its cookie is zero until
    /// [`set_cookie`](Stack::set_cookie); options are inherited from the listener.
    ///
    /// # Errors
    /// `WouldBlock`; `Invalid` when it does not listen; `NotSupported` for UDP.
    pub fn accept(&mut self, now: Instant, id: SocketId) -> Result<Accepted> {
        let entry = self.owned_mut(id)?;
        let listener = match &mut entry.body {
            Body::Listener(listener) => listener,
            Body::Datagram(_) => return Err(SocketError::NotSupported),
            Body::Fresh(_) | Body::Deferred(_) | Body::Connection(_) => return Err(SocketError::Invalid),
        };
        let id = listener.queue.pop_front().ok_or(SocketError::WouldBlock)?;
        listener.offer.accepted(now, !listener.queue.is_empty());
        let entry = self.table.get_mut(id).ok_or(SocketError::ConnectionAborted)?;
        let chosen = entry.options.tcp;
        let connection = entry.connection_mut().ok_or(SocketError::ConnectionAborted)?;
        connection.stage = Stage::Owned;
        connection.tcb.set_options(chosen, &mut self.core.segs, now);
        let key = connection.tcb.flow.key;
        Ok(Accepted { id, local: key.local, remote: key.remote })
    }

    /// The listener becomes a socket that does nothing. Connections that nobody accepted are reset; those in
    /// their handshake are forgotten without a word, and at once: in Linux, when something of theirs comes up next.
    pub(super) fn stop_listening(&mut self, now: Instant, id: SocketId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let Body::Listener(listener) = core::mem::replace(&mut entry.body, Body::Fresh(None)) else { return };
        self.crowds.leave(&listener.key, id);
        self.refront(&listener.key);
        for child in listener.queue {
            if let Some(connection) = self.table.get_mut(child).and_then(Entry::connection_mut) {
                call::abort(&mut connection.tcb, &mut self.core.env(now, false));
            }
            self.remove(child);
        }
        if listener.requests > 0 {
            // The socket may listen again: they are not the next listener's.
            self.forget_requests(id);
        }
        if listener.leaves.is_none() {
            self.unsteer_port(id, listener.key);
        }
    }
}
