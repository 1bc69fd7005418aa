//! The socket calls that every protocol has. None blocks: what would is `WouldBlock`, or `InProgress` for a
//! connect that has begun.

use core::net::SocketAddr;

use super::Stack;
use super::datagram::Datagram;
use super::entry::{Body, Connection, Entry, Stage};
use crate::error::{Fault, SocketError};
use crate::socket::{How, RecvFlags, Result, SendFlags};
use crate::tcp::{State, call};
use crate::time::Instant;
use crate::types::{IfaceId, LocalKey, Protocol, Readiness, SocketId, canonical, scope_id};

impl Stack {
    /// A TCP socket, not bound, not connected. `cookie` comes back in its wake-ups.
    ///
    /// # Errors
    /// `NoBuffers` when there are `max_sockets` already.
    pub fn tcp_socket(&mut self, cookie: u64) -> Result<SocketId> {
        self.socket(cookie, Body::Fresh(None))
    }

    /// A UDP socket, not bound, not connected. `cookie` comes back in its wake-ups.
    ///
    /// # Errors
    /// `NoBuffers` when there are `max_sockets` already.
    pub fn udp_socket(&mut self, cookie: u64) -> Result<SocketId> {
        self.socket(cookie, Body::Datagram(Datagram::default()))
    }

    fn socket(&mut self, cookie: u64, body: Body) -> Result<SocketId> {
        let options = self.option_sets.defaults();
        self.table.insert(Entry::new(cookie, options, body)).map_err(|_| SocketError::NoBuffers)
    }

    /// The entry of a socket that an application holds.
    pub(super) fn owned(&self, id: SocketId) -> Result<&Entry> {
        self.table.get(id).filter(|e| e.is_owned()).ok_or(SocketError::BadSocket)
    }

    /// As [`Stack::owned`], for change.
    pub(super) fn owned_mut(&mut self, id: SocketId) -> Result<&mut Entry> {
        self.table.get_mut(id).filter(|e| e.is_owned()).ok_or(SocketError::BadSocket)
    }

    /// Names the local end. The port must not be zero: the backing kernel socket has chosen it. Port
    /// conflicts are the kernel's to find; two sockets of the stack on the same address and port get
    /// `AddressInUse` when they begin to listen (TCP) or here (UDP).
    ///
    /// # Errors
    /// `Invalid` when bound already or the port is zero; `AddressNotAvailable` when the address is not ours.
    pub fn bind(&mut self, id: SocketId, local: SocketAddr) -> Result<()> {
        let local = canonical(local);
        let (address, link) = (local.ip(), IfaceId(scope_id(&local)));
        let own = address.is_unspecified() || self.core.out.control.is_own(address, link);
        let entry = self.owned_mut(id)?;
        let ours = own || (address.is_multicast() && entry.protocol() == Protocol::Udp);
        if entry.local().is_some() || local.port() == 0 || matches!(entry.body, Body::Listener(_)) {
            return Err(SocketError::Invalid);
        }
        if !ours {
            return Err(SocketError::AddressNotAvailable);
        }
        match entry.protocol() {
            Protocol::Tcp => {
                entry.set_local(Some(local));
                Ok(())
            }
            Protocol::Udp => self.bind_udp(id, local),
        }
    }

    /// Sends up to `len` bytes on a stream, or one datagram to the connected peer. `source` is called with
    /// room in frames, one after the other, fills it and says how much it filled; when it fails, what was
    /// taken before counts and an error is answered only if that is nothing.
    ///
    /// # Errors
    /// `WouldBlock`, `NotConnected` (`BrokenPipe` on a stream, as Linux), the socket's error, the source's.
    pub fn send(
        &mut self,
        now: Instant,
        id: SocketId,
        len: usize,
        flags: SendFlags,
        source: &mut dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault>,
    ) -> Result<usize> {
        self.look_at(id);
        match self.table.get(id).map(|entry| &entry.body) {
            Some(Body::Datagram(_)) => self.send_to(now, id, None, len, source),
            _ => self.send_stream(now, id, len, flags, source),
        }
    }

    /// Receives up to `want` bytes of a stream, or one datagram. `sink` is handed the bytes piece by piece
    /// and takes all or fails; when it fails, the bytes of that piece stay in the queue. Zero: end of stream.
    ///
    /// # Errors
    /// `WouldBlock`, `NotConnected`, the socket's error, the sink's.
    pub fn recv(
        &mut self,
        now: Instant,
        id: SocketId,
        want: usize,
        flags: RecvFlags,
        sink: &mut dyn FnMut(&[u8]) -> core::result::Result<(), Fault>,
    ) -> Result<usize> {
        match self.owned(id)?.protocol() {
            Protocol::Tcp => self.recv_stream(now, id, want, flags, sink),
            Protocol::Udp => self.recv_from(now, id, want, flags, sink).map(|d| d.copied),
        }
    }

    /// Shuts one direction or both. A listener that is shut for reading stops listening.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn shutdown(&mut self, now: Instant, id: SocketId, how: How) -> Result<()> {
        let (read, write) = (how != How::Write, how != How::Read);
        let entry = self.table.get_mut(id).filter(|e| e.is_owned()).ok_or(SocketError::BadSocket)?;
        match &mut entry.body {
            Body::Fresh(_) => Err(SocketError::NotConnected),
            Body::Deferred(_) => {
                // Linux: a connect that is shut is a connect that is over.
                entry.body = Body::Fresh(None);
                Ok(())
            }
            Body::Listener(_) => {
                if read {
                    self.stop_listening(now, id);
                }
                Ok(())
            }
            Body::Datagram(datagram) => {
                if datagram.remote.is_none() {
                    return Err(SocketError::NotConnected);
                }
                datagram.shut_read |= read;
                datagram.shut_write |= write;
                self.wake(id);
                Ok(())
            }
            Body::Connection(connection) if connection.tcb.state == State::SynSent => {
                self.disconnect(now, id);
                Ok(())
            }
            Body::Connection(connection) => {
                let mut env = self.core.env(now, false);
                let result = shut(connection, &mut env, read, write);
                self.settle(id);
                result
            }
        }
    }

    /// The application is done with the socket; the id is void from here on. Data not yet sent and the FIN
    /// go on by themselves (an orphan), unless SO_LINGER is zero or received data was not read: then RST.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn close(&mut self, now: Instant, id: SocketId) -> Result<()> {
        let entry = self.owned_mut(id)?;
        let abort = entry.options.linger == Some(0);
        match &mut entry.body {
            Body::Fresh(_) | Body::Deferred(_) => self.remove(id),
            Body::Listener(_) => {
                self.stop_listening(now, id);
                self.remove(id);
            }
            Body::Datagram(_) => {
                self.unbind_udp(id);
                self.remove(id);
            }
            Body::Connection(_) => self.close_stream(now, id, abort),
        }
        Ok(())
    }

    /// What the socket is ready for, with `poll`'s meaning; nothing but HUP and ERR for a void id.
    pub fn readiness(&self, id: SocketId) -> Readiness {
        let Ok(entry) = self.owned(id) else { return Readiness::ERR | Readiness::HUP };
        let ready = match &entry.body {
            Body::Fresh(None) => Readiness::OUT | Readiness::HUP,
            Body::Fresh(Some(_)) => Readiness::OUT | Readiness::HUP | Readiness::ERR,
            Body::Deferred(_) => Readiness::OUT,
            Body::Listener(listener) if listener.queue.is_empty() => Readiness::NONE,
            Body::Listener(_) => Readiness::IN,
            Body::Datagram(datagram) => datagram.readiness(entry.starved),
            Body::Connection(connection) => Self::stream_readiness(connection, entry),
        };
        if entry.has_report() { ready | Readiness::REPORT } else { ready }
    }

    /// Whether it is a TCP socket that neither listens nor has a connection: a new one, or one whose connect failed.
    pub fn is_fresh(&self, id: SocketId) -> bool {
        self.owned(id).is_ok_and(|entry| matches!(entry.body, Body::Fresh(_)))
    }

    /// Takes our end from a socket that [is fresh](Stack::is_fresh): another may be named.
    ///
    /// # Errors
    /// `Invalid` of any other; `BadSocket`.
    pub fn unbind(&mut self, id: SocketId) -> Result<()> {
        let entry = self.owned_mut(id)?;
        if !matches!(entry.body, Body::Fresh(_)) {
            return Err(SocketError::Invalid);
        }
        entry.set_local(None);
        Ok(())
    }

    /// Our end (`getsockname`). None before it is bound.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn local(&self, id: SocketId) -> Result<Option<SocketAddr>> {
        Ok(self.owned(id)?.local())
    }

    /// The other end (`getpeername`).
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer(&self, id: SocketId) -> Result<SocketAddr> {
        match &self.owned(id)?.body {
            Body::Connection(c) if !matches!(c.tcb.state, State::Closed | State::SynSent) => {
                Ok(c.tcb.flow.key.remote)
            }
            Body::Datagram(d) => d.remote.ok_or(SocketError::NotConnected),
            _ => Err(SocketError::NotConnected),
        }
    }

    /// SO_ERROR: the pending error, which is cleared.
    pub fn take_error(&mut self, id: SocketId) -> Option<SocketError> {
        match &mut self.owned_mut(id).ok()?.body {
            Body::Connection(connection) => connection.tcb.take_error(),
            Body::Datagram(datagram) => datagram.error.take(),
            Body::Fresh(error) => error.take(),
            Body::Deferred(_) | Body::Listener(_) => None,
        }
    }

    /// Bytes that `recv` would find now (FIONREAD): of the stream, or of the first datagram.
    ///
    /// # Errors
    /// `BadSocket`; `Invalid` for a listener.
    pub fn recv_queue(&self, id: SocketId) -> Result<usize> {
        match &self.owned(id)?.body {
            Body::Fresh(_) | Body::Deferred(_) => Ok(0),
            Body::Listener(_) => Err(SocketError::Invalid),
            Body::Connection(connection) => Ok(connection.tcb.recv_ahead() as usize),
            Body::Datagram(d) => Ok(d.queue.front(&self.datagrams).map_or(0, |w| w.pkt.len())),
        }
    }

    /// SO_RCVLOWAT: bytes that a receive which may wait waits for; at least one.
    pub fn recv_low_water(&self, id: SocketId) -> usize {
        self.owned(id).map_or(1, |entry| entry.options.recv_low_water as usize)
    }

    /// Whether the next byte to be read is the urgent one (SIOCATMARK).
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn is_at_mark(&self, id: SocketId) -> Result<bool> {
        Ok(self.owned(id)?.connection().is_some_and(|c| c.tcb.at_mark()))
    }

    /// Bytes that were not sent yet (SIOCOUTQNSD).
    ///
    /// # Errors
    /// As [`Stack::send_queue`].
    pub fn unsent(&self, id: SocketId) -> Result<usize> {
        match &self.owned(id)?.body {
            Body::Listener(_) => Err(SocketError::Invalid),
            Body::Connection(connection) => Ok(connection.tcb.unsent() as usize),
            Body::Fresh(_) | Body::Deferred(_) | Body::Datagram(_) => Ok(0),
        }
    }

    /// Bytes in the send queue, acknowledged bytes excepted (SIOCOUTQ).
    ///
    /// # Errors
    /// `BadSocket`; `Invalid` for a listener.
    pub fn send_queue(&self, id: SocketId) -> Result<usize> {
        match &self.owned(id)?.body {
            Body::Listener(_) => Err(SocketError::Invalid),
            Body::Connection(connection) => Ok(connection.tcb.send_queue() as usize),
            Body::Fresh(_) | Body::Deferred(_) | Body::Datagram(_) => Ok(0),
        }
    }

    /// Octets in a full segment of a connection. `None`: it is none.
    #[inline]
    pub fn segment_size(&self, id: SocketId) -> Option<usize> {
        let connection = self.table.get(id)?.connection()?;
        Some(usize::from(connection.tcb.segment_size()))
    }

    /// What its owner hung on it.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn cookie(&self, id: SocketId) -> Result<u64> {
        Ok(self.owned(id)?.cookie)
    }

    /// Hangs another cookie on it.
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn set_cookie(&mut self, id: SocketId, cookie: u64) -> Result<()> {
        self.owned_mut(id)?.cookie = cookie;
        Ok(())
    }

    /// Wants the packets of a socket's local endpoint.
    pub(super) fn steer_port(&mut self, id: SocketId, key: LocalKey) {
        for key in self.steered_ends(id, key).into_iter().flatten() {
            self.steering.hold(key, &mut self.core.out.requests);
        }
    }

    /// No longer; connections that came by it get entries of their own first.
    pub(super) fn unsteer_port(&mut self, id: SocketId, key: LocalKey) {
        for key in self.steered_ends(id, key).into_iter().flatten() {
            if !self.steering.release(&key) {
                continue;
            }
            if key.protocol == Protocol::Udp {
                // Datagrams have no connections that could be stranded.
                self.core.out.requests.push_back(crate::control::Request::UnsteerPort(key));
            } else {
                let (steering, requests) = (&self.steering, &mut self.core.out.requests);
                steering.rescue(&key, &mut self.table, requests);
            }
        }
    }
}

fn shut<E: crate::ip::Egress>(
    connection: &mut Connection,
    env: &mut crate::tcp::Env<'_, E>,
    read: bool,
    write: bool,
) -> Result<()> {
    debug_assert!(connection.stage == Stage::Owned, "only an owner shuts");
    let tcb = &mut connection.tcb;
    if write {
        call::shutdown_send(tcb, env)?;
    }
    if read {
        call::shutdown_recv(tcb, env)?;
    }
    Ok(())
}
