//! Datagrams out: where to, from where, in how many pieces.

use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nic::Pkt;

use super::Stack;
use super::core::Core;
use super::datagram::Settings;
use super::entry::Body;
use super::headers::ip_header;
use super::udp_calls::sending_end;
use crate::error::{Fault, SocketError};
use crate::ip::{Egress, Flow, NO_CHECKSUM, Outgoing, Payload};
use crate::journal::Traffic;
use crate::socket::stored::discover;
use crate::socket::{self, Outbound, Result};
use crate::time::Instant;
use crate::types::{Direction, Ecn, FlowKey, IfaceId, Protocol, Road, SocketId, canonical, scope_id};
use crate::udp::{Cut, Known, MOST_SEGMENTS};
use crate::wire::udp;

/// The longest payload of a datagram, in bytes.
const MOST: usize = 65_507;
/// Where the application's bytes come from.
type Source<'a> = dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault> + 'a;

/// A send that was looked at: which flow, and what its headers say.
struct Plan {
    key: FlowKey,
    /// The interface that a group's datagram leaves by, when the socket says which.
    via: Option<IfaceId>,
    tos: u8,
    ttl: Option<u8>,
    checksum_at: usize,
    segment: u16,
    /// IP_MTU_DISCOVER.
    discover: i32,
}

impl Stack {
    /// Sends one datagram of exactly `len` bytes, to `remote` or the connected peer. On a stream `remote` is
    /// ignored, as Linux does.
    ///
    /// # Errors
    /// As [`Stack::send_msg`].
    pub fn send_to(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: Option<SocketAddr>,
        len: usize,
        source: &mut Source<'_>,
    ) -> Result<usize> {
        self.send_msg(now, id, &Outbound::to(remote), len, source)
    }

    /// Sends `len` bytes: one datagram, or with UDP_SEGMENT a train of them, which is judged and routed once.
    /// On a stream what `out` asks for is ignored, as Linux does.
    ///
    /// # Errors
    /// `MessageSize` when it would need fragments (the kernel's socket can send those where
    /// [`Stack::may_fragment`]); `DestinationRequired`, `Access` (broadcast), `NotPermitted`, the socket's error,
    /// the source's.
    pub fn send_msg(
        &mut self,
        now: Instant,
        id: SocketId,
        out: &Outbound,
        len: usize,
        source: &mut Source<'_>,
    ) -> Result<usize> {
        if self.owned(id)?.protocol() == Protocol::Tcp {
            return self.send_stream(now, id, len, socket::SendFlags::default(), source);
        }
        if len > MOST {
            return Err(SocketError::MessageSize);
        }
        let plan = self.plan(id, out)?;
        let sent = self.send_datagrams(now, id, &plan, len, source);
        match sent {
            Ok(count) => self.core.stats.udp_out += count as u64,
            Err(SocketError::WouldBlock) => self.starve(id),
            Err(_) => {}
        }
        sent.map(|_| len)
    }

    /// Whether what is too long for a path may leave in fragments (IP_MTU_DISCOVER).
    pub fn may_fragment(&self, id: SocketId) -> bool {
        self.owned(id).is_ok_and(|e| !(discover::DO..=discover::INTERFACE).contains(&e.options.mtu_discover))
    }

    /// Judges a datagram of `len` bytes that the kernel's socket is about to send in our place.
    ///
    /// # Errors
    /// `NotPermitted`; what makes it no datagram at all.
    pub fn judge_send(&mut self, now: Instant, id: SocketId, out: &Outbound, len: usize) -> Result<()> {
        let key = match (self.plan(id, out), out.iface, out.remote) {
            (Ok(plan), via, _) => return self.may_send(now, plan.key, via.or(plan.via), len),
            // By an interface of ours, though no route leads there: the kernel does as it is told.
            (Err(SocketError::NetworkUnreachable), Some(iface), Some(remote)) if self.drives(iface) => {
                self.flow_to_group(self.owned(id)?.local().map(sending_end), canonical(remote), iface)?
            }
            (Err(error), ..) => return Err(error),
        };
        self.may_send(now, key, out.iface, len)
    }

    /// Judges a datagram of `len` bytes that leaves by an interface; none is named: by that to which the route leads.
    fn may_send(&mut self, now: Instant, key: FlowKey, via: Option<IfaceId>, len: usize) -> Result<()> {
        let out = &self.core.out;
        let road = via.map_or_else(|| out.road_out(&Flow::new(key, Direction::Out)), |via| out.road_by(via));
        let may = self.judge_flow(now, key, (Direction::Out, road), len);
        if may { Ok(()) } else { Err(SocketError::NotPermitted) }
    }

    /// Judges a datagram of `len` bytes that the kernel's socket has received in our place, by `via` if it says so.
    /// `local` is where it was sent to.
    pub fn judge_recv(
        &mut self,
        now: Instant,
        (local, remote): (SocketAddr, SocketAddr),
        via: Option<IfaceId>,
        len: usize,
    ) -> bool {
        let road = via.map_or(Road::UNKNOWN, |via| self.core.out.road_by(via));
        let key = FlowKey { protocol: Protocol::Udp, local, remote };
        self.judge_flow(now, key, (Direction::In, road), len)
    }

    fn judge_flow(
        &mut self,
        now: Instant,
        key: FlowKey,
        (direction, road): (Direction, Road),
        len: usize,
    ) -> bool {
        let mut new = Flow::new(key, direction);
        let known = self.udp_flows.get(now, &key);
        let is_new = known.is_none();
        let bytes = ip_header(key.remote.ip()) + udp::HEADER + len;
        let may = match known {
            Some(Known { flow, carried }) => {
                let may = match direction {
                    Direction::In => self.core.out.judge_in(flow, bytes, road),
                    Direction::Out => self.core.out.judge_out_by(flow, bytes, road),
                };
                if may {
                    carry(carried, direction, len);
                }
                may
            }
            None if direction == Direction::In => self.core.out.judge_first(now, &mut new, bytes, road),
            None => self.core.out.judge_out_by(&mut new, bytes, road),
        };
        if !may {
            match direction {
                Direction::In => self.core.stats.drop_denied_in += 1,
                Direction::Out => self.core.stats.drop_denied_out += 1,
            }
        } else if is_new {
            let mut carried = Traffic::default();
            carry(&mut carried, direction, len);
            self.udp_flows.insert(now, new, carried);
        }
        may
    }

    /// Looks at everything but the bytes.
    fn plan(&mut self, id: SocketId, out: &Outbound) -> Result<Plan> {
        let entry = self.owned_mut(id)?;
        let (local, options) = (entry.local(), &entry.options);
        let (broadcast, own) = (options.broadcast, Arc::clone(options));
        let asked = out.remote.map(canonical);
        let Body::Datagram(datagram) = &mut entry.body else { return Err(SocketError::Invalid) };
        if let Some(error) = datagram.error.take() {
            return Err(error);
        }
        if datagram.shut_write {
            return Err(SocketError::BrokenPipe);
        }
        let remote = asked.or(datagram.remote).ok_or(SocketError::DestinationRequired)?;
        if remote.port() == 0 {
            return Err(SocketError::Invalid);
        }
        if own.v6.only && remote.is_ipv4() {
            return Err(SocketError::NetworkUnreachable);
        }
        let connected = datagram.remote == Some(remote) && out.source.is_none();
        let settings = datagram.settings;
        let group = datagram.extra.as_ref().and_then(|e| e.group_iface);
        if !broadcast && self.is_broadcast(remote.ip()) {
            return Err(SocketError::Access);
        }
        let to_group = remote.ip().is_multicast();
        let wanted = out.iface.or(group.filter(|_| to_group));
        let (tos, ttl) = own.header(remote.ip());
        let tos = out.tos.unwrap_or(tos);
        let group_ttl = if remote.is_ipv4() { settings.group_ttl } else { settings.group_hops };
        if remote.is_ipv4() && out.ttl == Some(0) {
            // Linux: ip_cmsg_send. For a group its own option may say so, for IPv6 anybody.
            return Err(SocketError::Invalid);
        }
        let ttl = out.ttl.or(if to_group { Some(group_ttl) } else { ttl });
        let from = self.from(local, out.source)?;
        let key = match (local, wanted) {
            (Some(local), _) if connected => FlowKey { protocol: Protocol::Udp, local, remote },
            (_, Some(iface)) if to_group => self.flow_to_group(from, remote, iface)?,
            _ => self.flow_to(Protocol::Udp, from, remote)?,
        };
        if self.is_the_kernels(&key) {
            return Err(SocketError::NetworkUnreachable);
        }
        if !to_group && wanted.is_some_and(|iface| self.iface_towards(remote) != Some(iface)) {
            return Err(SocketError::NetworkUnreachable);
        }
        let via = wanted.filter(|_| to_group);
        let discover = if remote.is_ipv4() { own.mtu_discover } else { own.v6.mtu_discover };
        let segment = out.segment.unwrap_or(settings.segment);
        Ok(Plan { key, via, tos, ttl, checksum_at: checksum_at(&settings, remote.ip()), segment, discover })
    }

    /// The local end of one send: the socket's, at the address that the send names.
    fn from(&self, local: Option<SocketAddr>, source: Option<IpAddr>) -> Result<Option<SocketAddr>> {
        let local = local.map(sending_end);
        let (Some(mut local), Some(source)) = (local, source) else { return Ok(local) };
        // Linux: ENETUNREACH for an address that is none of ours (older ones: EINVAL).
        if !self.core.out.control.is_own(source, IfaceId(scope_id(&local))) {
            return Err(SocketError::NetworkUnreachable);
        }
        local.set_ip(source);
        Ok(Some(local))
    }

    /// A flow to a group, by an interface that needs no route to it.
    pub(super) fn flow_to_group(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        iface: IfaceId,
    ) -> Result<FlowKey> {
        let mut local = local.ok_or(SocketError::Invalid)?;
        if local.ip().is_unspecified() {
            let own = self.core.out.control.address_on(iface, remote.ip());
            local.set_ip(own.ok_or(SocketError::AddressNotAvailable)?);
        }
        Ok(FlowKey { protocol: Protocol::Udp, local, remote })
    }

    fn send_datagrams(
        &mut self,
        now: Instant,
        id: SocketId,
        plan: &Plan,
        len: usize,
        source: &mut Source<'_>,
    ) -> Result<usize> {
        let mut new = Known { flow: Flow::new(plan.key, Direction::Out), carried: Traffic::default() };
        let known = self.udp_flows.get(now, &plan.key);
        let is_new = known.is_none();
        let Known { flow, carried } = known.unwrap_or(&mut new);
        (flow.tos, flow.ttl) = (plan.tos, plan.ttl);
        // Linux: DF is on from WANT to PROBE.
        flow.may_fragment = !(discover::WANT..=discover::PROBE).contains(&plan.discover);
        let core = &mut self.core;
        if let Some(via) = plan.via {
            flow.route = core.out.route_to_group(via, flow).ok_or(SocketError::NetworkUnreachable)?;
        }
        let link = core.out.mtu(flow);
        let peer = plan.key.remote.ip();
        let mtu =
            if plan.discover >= discover::PROBE { link } else { core.path_mtus().limit(peer, link, now) };
        let room = usize::from(mtu).saturating_sub(ip_header(peer) + udp::HEADER);
        let cut = match plan.segment {
            0 => Cut::whole(len),
            _ if plan.checksum_at == NO_CHECKSUM => return Err(SocketError::Invalid),
            size => Cut::segments(len, size, room)?,
        };
        if cut.len_of(0) > room {
            if flow.route.home {
                // The kernel's loopback device takes it in one piece.
                return Err(SocketError::NetworkUnreachable);
            }
            return self.too_long(now, id, plan, len, mtu);
        }
        let sent = send_train(core, now, flow, plan, &cut, source);
        if let Ok(count) = sent {
            carried.leaves(count, len);
        }
        if is_new && sent.is_ok() {
            // Only what was let out is remembered: its answers may come in.
            self.udp_flows.insert(now, new.flow, new.carried);
        }
        sent
    }

    /// It would need fragments. The gate judges it all the same: the kernel's socket may be about to send it.
    fn too_long(&mut self, now: Instant, id: SocketId, plan: &Plan, len: usize, mtu: u16) -> Result<usize> {
        self.may_send(now, plan.key, plan.via, len)?;
        if (discover::DO..=discover::INTERFACE).contains(&plan.discover) {
            self.local_error(now, id, plan.key.remote, mtu);
        }
        Err(SocketError::MessageSize)
    }
}

/// RFC 768: a sender may leave the checksum out, on IPv4; on IPv6 where it was asked to (RFC 6935).
fn checksum_at(settings: &Settings, remote: IpAddr) -> usize {
    let without = if remote.is_ipv4() { settings.no_check } else { settings.no_check6_tx };
    if without { NO_CHECKSUM } else { udp::CHECKSUM_AT }
}

/// Takes the bytes into frames, all of them, then sends the frames. Answers how many.
fn send_train(
    core: &mut Core,
    now: Instant,
    flow: &mut Flow,
    plan: &Plan,
    cut: &Cut,
    source: &mut Source<'_>,
) -> Result<usize> {
    let count = cut.count();
    if count == 1 {
        let pkt = fill(core, cut.len_of(0), source)?;
        return send_one(core, now, flow, plan, pkt).map(|()| 1);
    }
    if core.spare_frames() < count {
        return Err(SocketError::WouldBlock);
    }
    let mut train = [const { None }; MOST_SEGMENTS];
    for at in 0..count {
        match fill(core, cut.len_of(at), source) {
            Ok(pkt) => train[at] = Some(pkt),
            Err(error) => {
                train.into_iter().flatten().for_each(|pkt| core.pool.free(pkt));
                return Err(error);
            }
        }
    }
    let mut sent = Ok(count);
    for pkt in train.into_iter().flatten() {
        match sent {
            Ok(_) => sent = send_one(core, now, flow, plan, pkt).map(|()| count),
            Err(_) => core.pool.free(pkt),
        }
    }
    sent
}

/// The kernel's socket sends, or has received, a datagram in our place.
fn carry(carried: &mut Traffic, direction: Direction, payload: usize) {
    match direction {
        Direction::In => carried.arrives(payload),
        Direction::Out => carried.leaves(1, payload),
    }
}

fn send_one(core: &mut Core, now: Instant, flow: &mut Flow, plan: &Plan, pkt: Pkt) -> Result<()> {
    let header = udp::emit(plan.key.local.port(), plan.key.remote.port(), pkt.len() as u16);
    let (checksum_at, payload) = (plan.checksum_at, Payload::Give(pkt));
    let out = Outgoing { header: &header, checksum_at, ecn: Ecn::NotEct, payload };
    Ok(core.out.send(&mut core.pool, flow, out, now)?)
}

/// A frame with the application's bytes. `WouldBlock`: there is none to spare.
fn fill(core: &mut Core, len: usize, source: &mut Source<'_>) -> Result<Pkt> {
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
