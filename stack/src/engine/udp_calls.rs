//! Calls on a UDP socket.

use core::net::{IpAddr, SocketAddr};

use nic::Pkt;

use super::Stack;
use super::core::Core;
use super::entry::{Body, Datagram, Entry};
use crate::error::{Fault, SocketError};
use crate::ip::{Egress, Flow, Outgoing, Payload};
use crate::socket::{self, RecvFlags, Result};
use crate::time::Instant;
use crate::types::{Direction, Ecn, FlowKey, LocalKey, Protocol, Readiness, SocketId};
use crate::wire::{ipv4, udp};

/// The longest payload of a datagram, in bytes.
const MOST: usize = 65_507;

fn local_key(local: SocketAddr) -> LocalKey {
    LocalKey { protocol: Protocol::Udp, address: local.ip(), port: local.port() }
}

impl Stack {
    pub(super) fn bind_udp(&mut self, id: SocketId, local: SocketAddr) -> Result<()> {
        let key = local_key(local);
        if self.locals.get(&key).is_some() {
            return Err(SocketError::AddressInUse);
        }
        let entry = self.owned_mut(id)?;
        let Body::Datagram(datagram) = &mut entry.body else { return Err(SocketError::Invalid) };
        datagram.bound = Some(local);
        entry.local = Some(local);
        self.locals.insert(&key, id);
        self.steer_port(key);
        Ok(())
    }

    /// Forgets the ends of a UDP socket and what waits on it.
    pub(super) fn unbind_udp(&mut self, id: SocketId) {
        self.disconnect_udp(id);
        let Some(Entry { body: Body::Datagram(datagram), .. }) = self.table.get_mut(id) else { return };
        datagram.queue.clear(&mut self.datagrams, &mut self.core.pool);
        let Some(bound) = datagram.bound.take() else { return };
        let key = local_key(bound);
        if self.locals.get(&key) == Some(id) {
            self.locals.remove(&key);
        }
        self.unsteer_port(key);
    }

    /// Sets the peer. From then on datagrams of others are not for this socket.
    pub(super) fn connect_udp(&mut self, now: Instant, id: SocketId, remote: SocketAddr) -> Result<()> {
        let entry = self.owned(id)?;
        let bound = entry.local.ok_or(SocketError::Invalid)?;
        let broadcast = entry.options.broadcast;
        if remote.ip().is_unspecified() {
            self.disconnect_udp(id);
            return Ok(());
        }
        if !broadcast && self.is_broadcast(remote.ip()) {
            return Err(SocketError::Access);
        }
        if self.source_for(remote.ip()).is_none() {
            return Err(SocketError::NetworkUnreachable);
        }
        let key = self.flow_to(Protocol::Udp, Some(bound), remote)?;
        match self.flows.get(&key) {
            Some(holder) if holder == id => return Ok(()),
            Some(_) => return Err(SocketError::AddressInUse),
            None => {}
        }
        self.disconnect_udp(id);
        let entry = self.owned_mut(id)?;
        let Body::Datagram(datagram) = &mut entry.body else { return Err(SocketError::Invalid) };
        datagram.remote = Some(remote);
        entry.local = Some(key.local);
        let bound = local_key(datagram.bound.unwrap_or(bound));
        if self.locals.get(&bound) == Some(id) {
            self.locals.remove(&bound);
        }
        self.flows.insert(&key, id);
        if self.udp_flows.get(now, &key).is_none() {
            self.udp_flows.insert(now, Flow::new(key, Direction::Out));
        }
        Ok(())
    }

    /// Clears the peer; the socket hears everybody again, unless another took its place meanwhile.
    fn disconnect_udp(&mut self, id: SocketId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let Body::Datagram(datagram) = &mut entry.body else { return };
        let Some(remote) = datagram.remote.take() else { return };
        let (local, bound) = (entry.local, datagram.bound);
        entry.local = bound;
        if let Some(local) = local {
            self.flows.remove(&FlowKey { protocol: Protocol::Udp, local, remote });
        }
        if let Some(bound) = bound.map(local_key)
            && self.locals.get(&bound).is_none()
        {
            self.locals.insert(&bound, id);
        }
    }

    fn is_broadcast(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(a) if self.core.out.control.is_broadcast(a))
    }

    /// Sends one datagram of exactly `len` bytes, to `remote` or the connected peer. On a stream `remote` is
    /// ignored, as Linux does.
    ///
    /// # Errors
    /// `MessageSize` when it would need fragments (the kernel's socket can send those);
    /// `DestinationRequired`, `Access` (broadcast), `NotPermitted`, the socket's error, the source's.
    pub fn send_to(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: Option<SocketAddr>,
        len: usize,
        source: &mut dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault>,
    ) -> Result<usize> {
        if self.owned(id)?.protocol() == Protocol::Tcp {
            return self.send_stream(now, id, len, socket::SendFlags::default(), source);
        }
        if len > MOST {
            return Err(SocketError::MessageSize);
        }
        let key = self.datagram_flow(id, remote)?;
        let sent = self.send_datagram(now, id, key, len, source);
        match sent {
            Ok(()) => self.core.stats.udp_out += 1,
            Err(SocketError::WouldBlock) => self.starve(id),
            Err(_) => {}
        }
        sent.map(|()| len)
    }

    /// The flow that a datagram from `id` to `remote` belongs to.
    fn datagram_flow(&mut self, id: SocketId, remote: Option<SocketAddr>) -> Result<FlowKey> {
        let entry = self.owned_mut(id)?;
        let (local, broadcast) = (entry.local, entry.options.broadcast);
        let Body::Datagram(datagram) = &mut entry.body else { return Err(SocketError::Invalid) };
        if let Some(error) = datagram.error.take() {
            return Err(error);
        }
        if datagram.shut_write {
            return Err(SocketError::BrokenPipe);
        }
        let peer = datagram.remote;
        let remote = remote.or(peer).ok_or(SocketError::DestinationRequired)?;
        if remote.port() == 0 {
            return Err(SocketError::Invalid);
        }
        if let (Some(local), true) = (local, peer == Some(remote)) {
            return Ok(FlowKey { protocol: Protocol::Udp, local, remote });
        }
        if !broadcast && self.is_broadcast(remote.ip()) {
            return Err(SocketError::Access);
        }
        self.flow_to(Protocol::Udp, local, remote)
    }

    fn send_datagram(
        &mut self,
        now: Instant,
        id: SocketId,
        key: FlowKey,
        len: usize,
        source: &mut dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault>,
    ) -> Result<()> {
        let options = &self.owned(id)?.options;
        let (tos, ttl) = (options.tos, options.ttl);
        let mut new = Flow::new(key, Direction::Out);
        let known = self.udp_flows.get(now, &key);
        let is_new = known.is_none();
        let flow = known.unwrap_or(&mut new);
        (flow.tos, flow.ttl) = (tos, ttl);
        let core = &mut self.core;
        let mtu = match key.remote.ip() {
            IpAddr::V4(peer) => self.path_mtus.limit(peer, core.out.mtu(flow), now),
            IpAddr::V6(_) => return Err(SocketError::NetworkUnreachable),
        };
        if ipv4::HEADER + udp::HEADER + len > usize::from(mtu) {
            return Err(SocketError::MessageSize);
        }
        let pkt = fill(core, len, source)?;
        let header = udp::emit(key.local.port(), key.remote.port(), len as u16);
        let out = Outgoing {
            header: &header,
            checksum_at: udp::CHECKSUM_AT,
            ecn: Ecn::NotEct,
            payload: Payload::Give(pkt),
        };
        core.out.send(&mut core.pool, flow, out, now)?;
        if is_new {
            // Only what was let out is remembered: its answers may come in.
            self.udp_flows.insert(now, new);
        }
        Ok(())
    }

    /// Receives one datagram, at most `want` bytes of it; the rest is thrown away.
    ///
    /// # Errors
    /// `WouldBlock`, the socket's error, the sink's (the datagram stays).
    pub fn recv_from(
        &mut self,
        now: Instant,
        id: SocketId,
        want: usize,
        flags: RecvFlags,
        sink: &mut dyn FnMut(&[u8]) -> core::result::Result<(), Fault>,
    ) -> Result<socket::Datagram> {
        let entry = self.table.get_mut(id).filter(|e| e.is_owned()).ok_or(SocketError::BadSocket)?;
        let Body::Datagram(datagram) = &mut entry.body else {
            let copied = self.recv_stream(now, id, want, flags, sink)?;
            let ends = self.owned(id)?;
            let key = ends.connection().map(|c| c.tcb.flow.key).ok_or(SocketError::NotConnected)?;
            return Ok(socket::Datagram { copied, len: copied, remote: key.remote, local: key.local });
        };
        if let Some(error) = datagram.error.take() {
            return Err(error);
        }
        let Some(waiting) = datagram.queue.front(&self.datagrams) else {
            let end = datagram.shut_read;
            let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
            let nothing = socket::Datagram { copied: 0, len: 0, remote: nobody, local: nobody };
            return if end { Ok(nothing) } else { Err(SocketError::WouldBlock) };
        };
        let bytes = self.core.pool.bytes(&waiting.pkt);
        let copied = bytes.len().min(want);
        sink(&bytes[..copied])?;
        let told =
            socket::Datagram { copied, len: bytes.len(), remote: waiting.remote, local: waiting.local };
        if !flags.peek
            && let Some(done) = datagram.queue.pop(&mut self.datagrams)
        {
            self.core.pool.free(done.pkt);
        }
        Ok(told)
    }

    pub(super) fn datagram_readiness(datagram: &Datagram, entry: &Entry) -> Readiness {
        let mut ready = Readiness::NONE;
        if !datagram.queue.is_empty() {
            ready |= Readiness::IN;
        }
        if datagram.error.is_some() {
            ready |= Readiness::ERR;
        }
        if datagram.shut_read {
            ready |= Readiness::IN | Readiness::RDHUP;
        }
        if datagram.shut_read && datagram.shut_write {
            ready |= Readiness::HUP;
        }
        if !entry.starved {
            ready |= Readiness::OUT;
        }
        ready
    }
}

/// A frame with the application's bytes. `WouldBlock`: there is none to spare.
fn fill(
    core: &mut Core,
    len: usize,
    source: &mut dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault>,
) -> Result<Pkt> {
    if len > core.pool.payload_capacity() {
        return Err(SocketError::MessageSize);
    }
    let pkt = if core.spare_frames() > 0 { core.pool.alloc() } else { None };
    let mut pkt = pkt.ok_or(SocketError::WouldBlock)?;
    let error = match core.pool.append_with(&mut pkt, len, source) {
        Some(Ok(n)) if n == len => return Ok(pkt),
        Some(Ok(_)) => SocketError::Invalid,
        Some(Err(fault)) => fault.into(),
        None => SocketError::NoBuffers,
    };
    core.pool.free(pkt);
    Err(error)
}
