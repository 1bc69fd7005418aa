//! Datagrams in: gate, connected socket, bound socket, or port unreachable.

use super::Stack;
use super::entry::{Body, Entry};
use super::rx::Inbound;
use crate::hash::FlowWords;
use crate::ip::Flow;
use crate::ip::input::{Arrived, Reason, is_intact};
use crate::journal::Traffic;
use crate::time::Instant;
use crate::types::{Direction, FlowKey, LocalKey, Protocol, SocketId};
use crate::udp::{Known, Waiting, share};
use crate::wire::udp;

impl Stack {
    pub(super) fn receive_udp(&mut self, now: Instant, inbound: Inbound) {
        let Inbound { mut pkt, arrived, checksum } = inbound;
        let bytes = &self.core.pool.bytes(&pkt)[arrived.payload()];
        let Some(header) = udp::parse(bytes).filter(|h| h.destination != 0) else {
            return self.drop_packet(pkt, Reason::BadHeader);
        };
        let bytes = &bytes[..header.len];
        let key = arrived.flow(Protocol::Udp, header.source, header.destination);
        // RFC 768: zero means that there is none.
        let unsummed = header.checksum == 0 && self.takes_unsummed(&key);
        if !unsummed && !is_intact(bytes, udp::CHECKSUM_AT, &arrived, checksum) {
            return self.drop_packet(pkt, Reason::L4Checksum);
        }
        let mut new = Flow::new(key, Direction::In);
        // What a socket sends to itself is one flow in both directions: the sender's is remembered.
        let to_itself = key.local == key.remote;
        let (payload, road) = (header.len - udp::HEADER, self.core.out.road_in(arrived.iface, arrived.home));
        let known = if to_itself { None } else { self.udp_flows.get(now, &key) };
        let is_new = known.is_none();
        let may = match known {
            Some(Known { flow, carried }) => {
                let may = self.core.out.judge_in(flow, arrived.packet.len(), road);
                if may {
                    carried.arrives(payload);
                }
                may
            }
            None => self.core.out.judge_first(now, &mut new, arrived.packet.len(), road),
        };
        if !may {
            return self.drop_packet(pkt, Reason::Denied);
        }
        pkt.truncate(arrived.transport + header.len);
        let id = self.udp_socket_for(&key).filter(|_| !arrived.to_group);
        if id.is_none() && !arrived.to_group {
            self.port_unreachable(now, &pkt, &arrived);
            return self.drop_packet(pkt, Reason::NoSocket);
        }
        pkt.trim_front(arrived.transport + udp::HEADER);
        let Arrived { iface, ttl, tos, .. } = arrived;
        let (remote, local) = (key.remote, key.local);
        let waiting = Waiting { pkt, remote, local, iface, ttl, tos, at: now, drops: 0 };
        let unheard = match id {
            Some(id) => {
                self.deliver_datagram(id, waiting);
                None
            }
            None => self.deliver_to_group(waiting),
        };
        match unheard {
            Some(waiting) => self.drop_packet(waiting.pkt, Reason::NoSocket),
            // Only where somebody hears it, so that strangers cannot push the flows of sockets out.
            None if is_new && !to_itself => {
                let mut carried = Traffic::default();
                carried.arrives(payload);
                self.udp_flows.insert(now, new, carried);
            }
            None => {}
        }
    }

    /// Whether a datagram may come without a checksum. RFC 8200 §8.1: not over IPv6, but to who asked for it (RFC
    /// 6935, RFC 6936 §4; UDP_NO_CHECK6_RX).
    fn takes_unsummed(&self, key: &FlowKey) -> bool {
        let asked = |id| match self.table.get(id) {
            Some(Entry { body: Body::Datagram(datagram), .. }) => datagram.settings.no_check6_rx,
            _ => false,
        };
        key.remote.is_ipv4() || self.udp_socket_for(key).is_some_and(asked)
    }

    /// The socket with this peer, else the one bound there; of several that share the end, the flow's own.
    pub(super) fn udp_socket_for(&self, key: &FlowKey) -> Option<SocketId> {
        if let Some(id) = self.peers.get(key) {
            return Some(id);
        }
        let front = self.local_socket(Protocol::Udp, key.local.ip(), key.local.port())?;
        match self.table.get(front) {
            Some(Entry { body: Body::Datagram(d), options, .. }) if d.crowded && options.reuse_port => {
                let bound = d.bound?;
                let end = LocalKey { protocol: Protocol::Udp, address: bound.ip(), port: bound.port() };
                let crowd = self.crowds.open(&end);
                let at = share(FlowWords::new(key).hash(&self.share_key), crowd.len());
                crowd.get(at).copied().or(Some(front))
            }
            _ => Some(front),
        }
    }

    pub(super) fn deliver_datagram(&mut self, id: SocketId, mut waiting: Waiting) {
        let exhausted = self.core.is_exhausted();
        let Some(Entry { body: Body::Datagram(datagram), options, .. }) = self.table.get_mut(id) else {
            return self.drop_packet(waiting.pkt, Reason::NoSocket);
        };
        waiting.drops = datagram.drops;
        let full = datagram.queue.is_full(options.udp_recv_buffer as usize);
        datagram.drops = datagram.drops.wrapping_add(u32::from(full || exhausted));
        if full {
            return self.drop_packet(waiting.pkt, Reason::BufferFull);
        }
        if exhausted {
            return self.drop_packet(waiting.pkt, Reason::NoFrames);
        }
        datagram.queue.push(&mut self.datagrams, waiting);
        self.core.stats.udp_in += 1;
        self.wake(id);
    }
}
