//! Calls on a UDP socket.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Stack;
use super::entry::{Body, Entry};
use crate::error::SocketError;
use crate::ip::Flow;
use crate::journal::Traffic;
use crate::socket::Result;
use crate::time::Instant;
use crate::types::{Direction, FlowKey, LocalKey, Protocol, SocketId};

fn local_key(local: SocketAddr) -> LocalKey {
    LocalKey { protocol: Protocol::Udp, address: local.ip(), port: local.port() }
}

/// The end that a socket sends from: one bound to a group has an address like one bound to none.
pub(super) fn sending_end(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_multicast() {
        return bound;
    }
    let any = match bound.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, bound.port())
}

impl Stack {
    pub(super) fn bind_udp(&mut self, id: SocketId, local: SocketAddr) -> Result<()> {
        let key = local_key(local);
        if let Some(front) = self.locals.get(&key)
            && !self.may_share(front, id)
        {
            return Err(SocketError::AddressInUse);
        }
        let entry = self.owned_mut(id)?;
        let Body::Datagram(datagram) = &mut entry.body else { return Err(SocketError::Invalid) };
        datagram.bound = Some(local);
        entry.set_local(Some(local));
        self.crowds.join(key, id);
        self.refront(&key);
        if !key.address.is_multicast() {
            self.steer_port(id, key);
        }
        self.steer_groups(id, true);
        Ok(())
    }

    /// Whether two sockets may have one end (Linux: both say SO_REUSEADDR, or both SO_REUSEPORT).
    fn may_share(&self, one: SocketId, other: SocketId) -> bool {
        let options = |id| self.table.get(id).map(|e| (e.options.reuse_addr, e.options.reuse_port));
        match (options(one), options(other)) {
            (Some(a), Some(b)) => (a.0 && b.0) || (a.1 && b.1),
            _ => true,
        }
    }

    /// Whoever was bound to an end last, of those without a peer, is found there; and it knows whether it is alone.
    pub(super) fn refront(&mut self, key: &LocalKey) {
        let open = self.crowds.open(key);
        let Some(&front) = open.last() else {
            self.locals.remove(key);
            return;
        };
        let crowded = open.len() > 1;
        self.locals.insert(key, front);
        match self.table.get_mut(front).map(|entry| &mut entry.body) {
            Some(Body::Datagram(datagram)) => datagram.crowded = crowded,
            Some(Body::Listener(listener)) => listener.crowded = crowded,
            _ => {}
        }
    }

    /// Forgets the ends of a UDP socket and what waits on it.
    pub(super) fn unbind_udp(&mut self, id: SocketId) {
        self.disconnect_udp(id);
        self.steer_groups(id, false);
        let Some(Entry { body: Body::Datagram(datagram), .. }) = self.table.get_mut(id) else { return };
        datagram.clear(&mut self.datagrams, &mut self.core.pool);
        let Some(bound) = datagram.bound.take() else { return };
        let key = local_key(bound);
        self.crowds.leave(&key, id);
        self.refront(&key);
        if !key.address.is_multicast() {
            self.unsteer_port(id, key);
        }
    }

    /// Sets the peer. From then on datagrams of others are not for this socket.
    pub(super) fn connect_udp(&mut self, now: Instant, id: SocketId, remote: SocketAddr) -> Result<()> {
        let entry = self.owned(id)?;
        let bound = entry.local().ok_or(SocketError::Invalid)?;
        let broadcast = entry.options.broadcast;
        entry.speaks(remote)?;
        if remote.ip().is_unspecified() {
            self.disconnect_udp(id);
            return Ok(());
        }
        if !broadcast && self.is_broadcast(remote.ip()) {
            return Err(SocketError::Access);
        }
        let key = self.flow_to_peer(id, sending_end(bound), remote)?;
        match self.peers.get(&key) {
            Some(holder) if holder == id => return Ok(()),
            // The kernel has let both in (SO_REUSEADDR, SO_REUSEPORT): the later one is found first, as there.
            Some(holder) if !self.may_share(holder, id) => {
                return Err(SocketError::AddressInUse);
            }
            _ => {}
        }
        self.disconnect_udp(id);
        let entry = self.owned_mut(id)?;
        let Body::Datagram(datagram) = &mut entry.body else { return Err(SocketError::Invalid) };
        datagram.remote = Some(remote);
        let bound = local_key(datagram.bound.unwrap_or(bound));
        entry.set_local(Some(key.local));
        self.crowds.set_open(&bound, id, false);
        self.refront(&bound);
        self.peers.insert(&key, id);
        if self.udp_flows.get(now, &key).is_none() {
            self.udp_flows.insert(now, Flow::new(key, Direction::Out), Traffic::default());
        }
        Ok(())
    }

    /// Both ends of a socket's flow to a peer. A group needs no route where IP_MULTICAST_IF names a way.
    fn flow_to_peer(&self, id: SocketId, local: SocketAddr, remote: SocketAddr) -> Result<FlowKey> {
        let Body::Datagram(datagram) = &self.owned(id)?.body else { return Err(SocketError::Invalid) };
        let way = datagram.extra.as_ref().and_then(|e| e.group_iface);
        match way.filter(|_| remote.ip().is_multicast()) {
            Some(iface) => self.flow_to_group(Some(local), remote, iface),
            None if self.source_for(Protocol::Udp, remote).is_none() => Err(SocketError::NetworkUnreachable),
            None => self.flow_to(Protocol::Udp, Some(local), remote),
        }
    }

    /// Clears the peer; the socket hears everybody again, unless another took its place meanwhile.
    fn disconnect_udp(&mut self, id: SocketId) {
        let Some(entry) = self.table.get_mut(id) else { return };
        let local = entry.local();
        let Body::Datagram(datagram) = &mut entry.body else { return };
        let Some(remote) = datagram.remote.take() else { return };
        let bound = datagram.bound;
        entry.set_local(bound);
        if let Some(local) = local {
            let key = FlowKey { protocol: Protocol::Udp, local, remote };
            if self.peers.get(&key) == Some(id) {
                self.peers.remove(&key);
            }
        }
        if let Some(bound) = bound.map(local_key) {
            self.crowds.set_open(&bound, id, true);
            self.refront(&bound);
        }
    }

    /// Whether the address is everybody's on a network of this host.
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(a) if self.core.out.control.is_broadcast(a))
    }
}
