//! What becomes known of datagrams that did not arrive: SO_ERROR, and with IP_RECVERR the error queue.

use core::net::SocketAddr;

use nic::Pkt;

use super::Stack;
use super::datagram::Datagram;
use super::entry::{Body, Entry};
use crate::error::SocketError;
use crate::ip::Egress;
use crate::ip::input::Arrived;
use crate::socket::Origin;
use crate::socket::stored::discover;
use crate::time::Instant;
use crate::types::{FlowKey, SocketId};
use crate::udp::{Known, Pending};
use crate::wire::icmp::Error;

/// An ICMP error about a datagram of ours.
pub(super) struct LostDatagram {
    /// The frame of the error.
    pub(super) pkt: Pkt,
    pub(super) arrived: Arrived,
    pub(super) error: Error,
    /// ICMP's type and code.
    pub(super) kind: (u8, u8),
    /// The flow that the error quotes.
    pub(super) key: FlowKey,
    /// Where the quoted payload begins in the frame.
    pub(super) payload: usize,
}

impl Datagram {
    /// What SO_ERROR says once an error was taken from the queue: the next one's, if it came by ICMP.
    pub(super) fn next_error(&self) -> Option<SocketError> {
        let errors = self.extra.as_ref()?.errors.as_ref()?;
        let next = errors.front().filter(|e| e.origin != Origin::Local as u8)?;
        SocketError::of_errno(next.errno)
    }
}

impl Stack {
    /// An ICMP error about a datagram. A connected socket hears of hard ones; who asked for errors (IP_RECVERR) of
    /// all, connected or not (RFC 1122 §4.1.3.3). False when it is nobody's.
    pub(super) fn icmp_for_datagram(&mut self, now: Instant, lost: LostDatagram) -> bool {
        let key = lost.key;
        let road = self.core.out.road_in(lost.arrived.iface, lost.arrived.home);
        let Some(Known { flow, .. }) = self.udp_flows.get(now, &key) else {
            return self.forget_lost(lost, false);
        };
        if !self.core.out.judge_in(flow, lost.arrived.packet.len(), road) {
            return self.forget_lost(lost, false);
        }
        let link = self.core.out.mtu(flow);
        let id = self.udp_socket_for(&key);
        let Some(id) = id else { return self.forget_lost(lost, false) };
        let Some(Entry { body: Body::Datagram(datagram), options, .. }) = self.table.get_mut(id) else {
            return self.forget_lost(lost, false);
        };
        let v4 = key.remote.is_ipv4();
        let discover = if v4 { options.mtu_discover } else { options.v6.mtu_discover };
        if let Error::TooBig(mtu) = lost.error
            && discover < discover::INTERFACE
        {
            self.core.narrow(key.remote.ip(), mtu, link, now);
        }
        let (error, hard) = match lost.error {
            Error::Hard(error) => (error, true),
            Error::Soft(error) => (error, false),
            Error::TooBig(_) if discover == discover::DONT => return self.forget_lost(lost, true),
            Error::TooBig(_) => (SocketError::MessageSize, true),
        };
        let wanted = if v4 { datagram.settings.recv_error } else { datagram.settings.recv_error6 };
        let connected = datagram.remote.is_some();
        let told = wanted || hard && connected;
        if !told {
            return self.forget_lost(lost, connected);
        }
        datagram.error = Some(error);
        match datagram.errors().filter(|_| wanted) {
            Some(errors) => {
                errors.push(&mut self.core.pool, pending(now, error, lost));
            }
            None => self.core.pool.free(lost.pkt),
        }
        self.wake(id);
        true
    }

    /// The frame is free again; whether its error was somebody's.
    fn forget_lost(&mut self, lost: LostDatagram, heard: bool) -> bool {
        self.core.pool.free(lost.pkt);
        heard
    }

    /// A datagram was refused here for its length: those who asked for errors are told of the path's MTU.
    pub(super) fn local_error(&mut self, now: Instant, id: SocketId, remote: SocketAddr, mtu: u16) {
        let Some(Entry { body: Body::Datagram(datagram), .. }) = self.table.get_mut(id) else { return };
        let settings = datagram.settings;
        let told = if remote.is_ipv4() { settings.recv_error } else { settings.recv_error6 };
        // Linux names the port of the connected peer, whoever the datagram was for.
        let port = datagram.remote.map_or(0, |peer| peer.port());
        let remote = SocketAddr::new(remote.ip(), port);
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

/// An error as it waits to be told: the frame's window is what it quotes of the datagram.
fn pending(now: Instant, error: SocketError, lost: LostDatagram) -> Pending {
    let LostDatagram { mut pkt, arrived, error: said, kind, key, payload } = lost;
    pkt.truncate(arrived.packet.end);
    pkt.trim_front(payload.min(pkt.len()));
    Pending {
        errno: error.errno(),
        origin: if key.remote.is_ipv4() { Origin::Icmp } else { Origin::Icmp6 } as u8,
        kind,
        info: match said {
            Error::TooBig(mtu) => mtu.into(),
            _ => 0,
        },
        offender: Some(arrived.source),
        remote: key.remote,
        iface: Some(arrived.iface),
        local: Some(SocketAddr::new(arrived.destination, key.local.port())),
        hops: (arrived.ttl, arrived.tos),
        at: now,
        quote: Some(pkt),
    }
}
