//! The listener's side: listen, accept, and what happens to its connections when it goes.

use std::collections::VecDeque;

use super::Stack;
use super::entry::{Body, Entry, Listener, Stage};
use crate::error::SocketError;
use crate::socket::{Accepted, Result};
use crate::tcp::call;
use crate::time::Instant;
use crate::types::{LocalKey, Protocol, SocketId};

/// The longest backlog (Linux: net.core.somaxconn).
const MOST: u32 = 4096;
/// How much of a backlog gets its memory at once.
const AHEAD: usize = 128;

impl Stack {
    /// Begins to listen, or changes the backlog of a listener. At most `backlog + 1` connections wait in the
    /// accept queue, as in Linux.
    ///
    /// # Errors
    /// `Invalid` when it is connected or not bound; `AddressInUse`; `NotSupported` for UDP.
    pub fn listen(&mut self, id: SocketId, backlog: u32) -> Result<()> {
        let backlog = backlog.min(MOST);
        let entry = self.owned_mut(id)?;
        match &mut entry.body {
            Body::Datagram(_) => Err(SocketError::NotSupported),
            Body::Connection(_) => Err(SocketError::Invalid),
            Body::Listener(listener) => {
                listener.backlog = backlog;
                Ok(())
            }
            Body::Fresh => {
                let local = entry.local.ok_or(SocketError::Invalid)?;
                let key = LocalKey { protocol: Protocol::Tcp, address: local.ip(), port: local.port() };
                if self.locals.get(&key).is_some() {
                    return Err(SocketError::AddressInUse);
                }
                let queue = VecDeque::with_capacity((backlog as usize + 1).min(AHEAD));
                let attempts = VecDeque::with_capacity(AHEAD);
                let listener = Listener { key, backlog, embryos: 0, attempts, queue };
                self.owned_mut(id)?.body = Body::Listener(listener);
                self.locals.insert(&key, id);
                self.steer_port(key);
                Ok(())
            }
        }
    }

    /// Takes the oldest connection of a listener's queue. Its cookie is zero until
    /// [`set_cookie`](Stack::set_cookie); options are inherited from the listener.
    ///
    /// # Errors
    /// `WouldBlock`; `Invalid` when it does not listen; `NotSupported` for UDP.
    pub fn accept(&mut self, _now: Instant, id: SocketId) -> Result<Accepted> {
        let entry = self.owned_mut(id)?;
        let listener = match &mut entry.body {
            Body::Listener(listener) => listener,
            Body::Datagram(_) => return Err(SocketError::NotSupported),
            Body::Fresh | Body::Connection(_) => return Err(SocketError::Invalid),
        };
        let id = listener.queue.pop_front().ok_or(SocketError::WouldBlock)?;
        let connection = self.table.get_mut(id).and_then(Entry::connection_mut);
        let connection = connection.ok_or(SocketError::ConnectionAborted)?;
        connection.stage = Stage::Owned;
        let key = connection.tcb.flow.key;
        Ok(Accepted { id, local: key.local, remote: key.remote })
    }

    /// Notes a handshake that has begun. Now and then those that are over leave the list.
    pub(super) fn attempted(&mut self, parent: SocketId, id: SocketId) {
        let Some(listener) = self.table.get_mut(parent).and_then(Entry::listener_mut) else { return };
        listener.embryos += 1;
        listener.attempts.push_back(id);
        if listener.attempts.len() < 2 * listener.most_embryos() as usize {
            return;
        }
        let mut attempts = core::mem::take(&mut listener.attempts);
        attempts.retain(|&id| self.is_embryo(id, parent));
        if let Some(listener) = self.table.get_mut(parent).and_then(Entry::listener_mut) {
            listener.attempts = attempts;
        }
    }

    /// Forgets the handshake that has been under way longest, for a new one: of a flood of SYNs that nobody
    /// will complete, none holds its place for long, and whoever answers within a round trip gets through.
    pub(super) fn displace(&mut self, parent: SocketId) {
        while let Some(listener) = self.table.get_mut(parent).and_then(Entry::listener_mut)
            && let Some(oldest) = listener.attempts.pop_front()
        {
            if self.is_embryo(oldest, parent) {
                return self.remove(oldest);
            }
        }
    }

    fn is_embryo(&self, id: SocketId, parent: SocketId) -> bool {
        let connection = self.table.get(id).and_then(Entry::connection);
        connection.is_some_and(|c| c.stage == Stage::Embryo(parent))
    }

    /// The listener becomes a socket that does nothing. Connections that nobody accepted are reset; those in
    /// their handshake are forgotten without a word, as Linux does.
    pub(super) fn stop_listening(&mut self, now: Instant, id: SocketId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let Body::Listener(listener) = core::mem::replace(&mut entry.body, Body::Fresh) else { return };
        self.locals.remove(&listener.key);
        for child in listener.queue {
            if let Some(connection) = self.table.get_mut(child).and_then(Entry::connection_mut) {
                call::abort(&mut connection.tcb, &mut self.core.env(now, false));
            }
            self.remove(child);
        }
        let embryos: Vec<SocketId> = self
            .table
            .iter()
            .filter(|(_, e)| e.connection().is_some_and(|c| c.stage == Stage::Embryo(id)))
            .map(|(child, _)| child)
            .collect();
        for child in embryos {
            self.remove(child);
        }
        self.unsteer_port(listener.key);
    }
}
