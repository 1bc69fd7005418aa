//! The way out: gate, route, neighbour, headers, queue.

use core::net::IpAddr;
use std::collections::VecDeque;

use nic::{Pkt, Pool, TxChecksum, TxPkt};

use super::headers::{IpHeader, Parts, ip_header, link_and_ip};
use super::home::{self, Home};
use super::mates::{Outbound, ToMate};
use super::parking::{Parking, Vehicle};
use super::tap::Taps;
use crate::config::AutoLabels;
use crate::control::table::{Control, NextHop, Resolved};
use crate::control::{ControlEvent, Request};
use crate::hash::{FlowWords, HashKey};
use crate::ip::ids::Ids;
use crate::ip::{Egress, Flow, Outgoing, Payload, RouteMemo, Unsent};
use crate::policy::Gate;
use crate::stats::Stats;
use crate::time::Instant;
use crate::types::{FlowKey, IfaceId, scope_id};
use crate::wire::{ethernet, ipv6};

/// Frames that wait for a NIC. There is room for every frame of the pool, so it never grows.
pub type TxQueue = VecDeque<TxPkt>;

/// The path to a peer when there is no route: RFC 1122 §3.3.3's least.
const MTU_LEAST: u16 = 576;
/// The bit of a flow label that says that it is of no use to whoever keeps state by labels: it comes from a hash
/// (Linux: net.ipv6.flowlabel_state_ranges). It also keeps labels from being zero.
const STATELESS: u32 = 1 << 19;

/// Whether the path takes a packet of so many bytes.
#[inline]
fn fits(flow: &Flow, bytes: usize) -> Result<(), Unsent> {
    if bytes > usize::from(flow.route.mtu) { Err(Unsent::TooBig) } else { Ok(()) }
}

/// What the way out counts.
#[derive(Debug, Default)]
struct Counts {
    frames: u64,
    bytes: u64,
    no_frames: u64,
    no_neighbour: u64,
    denied: u64,
}

/// Everything that a packet passes on its way out.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) control: Control,
    pub(super) gate: Gate,
    pub(super) requests: VecDeque<Request>,
    parking: Parking,
    queues: Vec<TxQueue>,
    pub(super) home: Home,
    pub(super) outbound: Outbound,
    pub(super) taps: Taps,
    frames: usize,
    counts: Counts,
    labels: HashKey,
    auto_labels: AutoLabels,
    ids: Ids,
}

impl Output {
    /// A way out for the frames of `pool`. Flow labels come from `labels`, for those whom `auto_labels` permits them.
    pub(super) fn new(pool: &Pool, labels: HashKey, auto_labels: AutoLabels) -> Self {
        let mut control = Control::default();
        control.set_home_mtu(home::mtu(pool));
        Self {
            ids: Ids::new(labels.derive(1)),
            control,
            gate: Gate::open(labels.derive(2)),
            requests: VecDeque::with_capacity(256),
            parking: Parking::default(),
            queues: Vec::new(),
            home: Home::new(pool.frames()),
            outbound: Outbound::default(),
            taps: Taps::default(),
            frames: pool.frames() as usize,
            counts: Counts::default(),
            labels,
            auto_labels,
        }
    }

    /// Takes a control event in and lets go what waited for it. Frames that will never leave are handed to
    /// `failed`: whose they were, and the transport header's second word, which for TCP is the sequence number.
    pub(super) fn apply(
        &mut self,
        pool: &mut Pool,
        event: ControlEvent,
        failed: &mut dyn FnMut(FlowKey, u32),
    ) {
        if let ControlEvent::IfaceName { iface, name } = &event
            && let Some(port) = self.control.port(*iface)
        {
            self.gate.name_road(port, name);
        }
        if let ControlEvent::IfaceGone(iface) = event
            && let Some(queue) = self.queue(iface)
        {
            // Nobody will fetch them any more; TCP sends again by another way, if there is one.
            queue.drain(..).for_each(|frame| pool.take_back(frame));
        }
        let news = match event {
            ControlEvent::Neighbour { iface, address, mac } => Some((iface, address, Some(mac))),
            ControlEvent::NeighbourGone { iface, address, failed: true } => Some((iface, address, None)),
            _ => None,
        };
        self.control.apply(event);
        while self.queues.len() < self.control.ifaces().len() {
            self.queues.push(VecDeque::with_capacity(self.frames));
        }
        let Some((iface, hop, mac)) = news else { return };
        let Some(port) = self.control.port(iface) else { return };
        while let Some(parked) = self.parking.take(port as u16, hop) {
            match mac {
                Some(mac) => {
                    let own = self.control.ifaces()[port].mac;
                    if let Some(frame) = parked.depart(pool, mac, own) {
                        self.gate.forget_judged();
                        self.enqueue(pool, (port, false), frame);
                    }
                }
                None => {
                    let (key, word) = parked.abandon(pool);
                    failed(key, word);
                }
            }
        }
    }

    /// The frames that wait for an interface.
    pub(super) fn queue(&mut self, iface: IfaceId) -> Option<&mut TxQueue> {
        let port = self.control.port(iface)?;
        self.queues.get_mut(port)
    }

    /// Frames that wait for interfaces.
    pub(super) fn queued(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// Whether frames wait for any interface, or for this host.
    pub(super) fn is_waiting(&self) -> bool {
        self.queues.iter().any(|q| !q.is_empty())
            || self.home.next_deadline() != Instant::NEVER
            || !self.outbound.is_empty()
    }

    /// When [`Output::expire`] is due.
    pub(super) fn next_deadline(&self) -> Instant {
        self.parking.next_deadline().min(self.home.next_deadline())
    }

    /// Drops frames that have waited too long for a neighbour.
    pub(super) fn expire(&mut self, pool: &mut Pool, now: Instant) {
        self.parking.expire(pool, now);
    }

    /// Takes all frames back that were never handed to a NIC.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        for frame in self.queues.iter_mut().flat_map(|q| q.drain(..)) {
            pool.take_back(frame);
        }
        self.home.clear(pool);
        self.outbound.clear(pool);
        self.parking.expire(pool, Instant::NEVER);
    }

    /// Adds what was counted here.
    pub(super) fn count_into(&self, stats: &mut Stats) {
        stats.tx_frames += self.counts.frames;
        stats.tx_bytes += self.counts.bytes;
        stats.tx_no_frames += self.counts.no_frames;
        stats.tx_no_neighbour += self.counts.no_neighbour;
        stats.drop_denied_out += self.counts.denied;
        stats.tx_parked_dropped += self.parking.dropped();
    }

    /// Sends an IP packet that belongs to no flow (an ICMP error) by way of `iface` if its destination is of one
    /// link; its payload is the window of `pkt`. The gate has judged what it answers.
    pub(super) fn send_raw(
        &mut self,
        pool: &mut Pool,
        mut pkt: Pkt,
        (header, iface): (&IpHeader, IfaceId),
        now: Instant,
    ) -> Result<(), Unsent> {
        let mut route = RouteMemo::default();
        match self.find_route(&mut route, (header.destination, iface.0), now) {
            Ok(None) => {}
            Ok(Some(_)) => return self.lose(pool, pkt, Unsent::NoNeighbour),
            Err(unsent) => return self.lose(pool, pkt, unsent),
        }
        let len = link_and_ip(header.destination);
        match pool.headroom_mut(&mut pkt, len) {
            Some(head) => {
                head[..ethernet::HEADER].copy_from_slice(&route.link);
                header.write(&mut head[ethernet::HEADER..]);
            }
            None => return self.lose(pool, pkt, Unsent::TooBig),
        }
        let frame = pool.give(pkt, len, TxChecksum::Complete);
        self.gate.forget_judged();
        self.enqueue(pool, (usize::from(route.port), route.home), frame);
        Ok(())
    }

    fn lose(&mut self, pool: &mut Pool, pkt: Pkt, unsent: Unsent) -> Result<(), Unsent> {
        pool.free(pkt);
        Err(unsent)
    }

    /// The next packet for this host leaves by an interface after all.
    pub(super) fn send_home(&mut self, pool: &Pool, port: usize) {
        if let Some((_, frame)) = self.home.pop() {
            self.gate.forget_judged();
            self.enqueue(pool, (port, false), frame);
        }
    }

    /// The next packet for this host goes to another stack, which hears it at the address of `iface`.
    pub(super) fn send_to_mate(&mut self, pool: &Pool, to: u8, iface: IfaceId) {
        let Some((_, frame)) = self.home.pop() else { return };
        if self.taps.is_on() {
            self.gate.forget_judged();
            self.taps.leaves(iface, pool.lent_bytes(&frame), &self.gate);
        }
        self.outbound.push(ToMate { to, iface, frame });
    }

    #[inline(always)]
    fn enqueue(&mut self, pool: &Pool, (port, home): (usize, bool), frame: TxPkt) {
        if home {
            return self.home.push(port, frame);
        }
        if self.taps.is_on() {
            let iface = self.control.ifaces()[port].id;
            self.taps.leaves(iface, pool.lent_bytes(&frame), &self.gate);
        }
        self.counts.frames += 1;
        self.counts.bytes += frame.len() as u64;
        let queue = &mut self.queues[port];
        if queue.is_empty() {
            // It has room for every frame of the pool: let it use the same lines of the cache again.
            queue.clear();
        }
        queue.push_back(frame);
    }

    /// Fills the memo in. When only the link address is missing, the next hop to wait for.
    fn find_route(
        &mut self,
        memo: &mut RouteMemo,
        (destination, scope): (IpAddr, u32),
        now: Instant,
    ) -> Result<Option<NextHop>, Unsent> {
        if memo.generation == self.control.generation() {
            return Ok(None);
        }
        let hop = self.control.route(destination, scope).ok_or(Unsent::Unreachable)?;
        let iface = &self.control.ifaces()[usize::from(hop.port)];
        let (id, own) = (iface.id, iface.mac);
        (memo.port, memo.home, memo.mtu, memo.hops) = (hop.port, hop.home, hop.mtu, iface.six.1);
        let mac = match destination {
            _ if hop.home => ethernet::NOWHERE,
            IpAddr::V4(a) if self.control.is_broadcast(a) => ethernet::BROADCAST,
            a if a.is_multicast() => ethernet::group(a),
            _ => match self.control.resolve(now, &hop) {
                Resolved::Known(mac) => mac,
                Resolved::AskAgain(mac) => {
                    self.requests.push_back(Request::Neighbour { iface: id, address: hop.address });
                    mac
                }
                Resolved::Dead => return Err(Unsent::NeighbourFailed),
                Resolved::Asked => return Ok(Some(hop)),
                Resolved::Ask => {
                    self.requests.push_back(Request::Neighbour { iface: id, address: hop.address });
                    return Ok(Some(hop));
                }
            },
        };
        let own = if hop.home { ethernet::NOWHERE } else { own };
        memo.link = ethernet::header(mac, own, ethernet::type_of(destination));
        memo.generation = self.control.generation();
        Ok(None)
    }

    /// The way of a flow to a group by an interface that the sender named: no route is asked.
    pub(super) fn route_to_group(&self, iface: IfaceId, flow: &Flow) -> Option<RouteMemo> {
        let port = self.control.port(iface)?;
        let iface = &self.control.ifaces()[port];
        let group = flow.key.remote.ip();
        let link = ethernet::header(ethernet::group(group), iface.mac, ethernet::type_of(group));
        let (generation, label) = (self.control.generation(), self.label_of(flow));
        let (mtu, hops) = (iface.mtu_towards(group), iface.six.1);
        iface.up.then_some(RouteMemo { generation, port: port as u16, home: false, mtu, hops, label, link })
    }

    /// Writes the headers in front of a payload.
    fn close_frame(
        &mut self,
        pool: &mut Pool,
        pkt: &mut Pkt,
        flow: &Flow,
        parts: &Parts<'_>,
    ) -> Result<TxChecksum, Unsent> {
        let is_finished_later = self.leaves_checksum(&flow.route);
        parts.close(pool, pkt, flow, (is_finished_later, &mut self.ids))
    }

    /// Whether somebody else finishes checksums, or nobody looks at them.
    #[inline]
    fn leaves_checksum(&self, route: &RouteMemo) -> bool {
        let port = if route.home { self.control.loopback() } else { Some(usize::from(route.port)) };
        port.is_none_or(|port| self.control.ifaces()[port].tx_checksum)
    }

    /// Whether the way to the peer is known.
    #[inline]
    fn knows_way(&self, flow: &Flow) -> bool {
        flow.route.generation == self.control.generation()
    }

    /// Judges and routes. What remains is to write and to queue.
    #[inline]
    fn admit(&mut self, flow: &mut Flow, bytes: usize, now: Instant) -> Result<Option<NextHop>, Unsent> {
        self.pass(flow, bytes)?;
        let hop = if self.knows_way(flow) { None } else { self.seek(flow, now)? };
        fits(flow, bytes)?;
        Ok(hop)
    }

    /// Judges.
    #[inline(always)]
    fn pass(&mut self, flow: &mut Flow, bytes: usize) -> Result<(), Unsent> {
        if !self.judge_out(flow, bytes) {
            self.counts.denied += 1;
            return Err(Unsent::Denied);
        }
        Ok(())
    }

    /// Sends a packet that its sender keeps: it is judged, and the way is known.
    #[inline]
    fn lend(&mut self, pool: &mut Pool, pkt: &mut Pkt, flow: &Flow, parts: &Parts<'_>) -> Result<(), Unsent> {
        if pool.is_lent(pkt) {
            return Err(Unsent::Lent);
        }
        let left = self.close_frame(pool, pkt, flow, parts)?;
        let header = link_and_ip(flow.key.remote.ip()) + parts.header.len();
        let frame = pool.lend(pkt, header, left).ok_or(Unsent::TooBig)?;
        self.enqueue(pool, (usize::from(flow.route.port), flow.route.home), frame);
        Ok(())
    }

    /// Fills in what the route's memo of a flow holds.
    #[inline(never)]
    fn seek(&mut self, flow: &mut Flow, now: Instant) -> Result<Option<NextHop>, Unsent> {
        let remote = flow.key.remote;
        let hop = self.find_route(&mut flow.route, (remote.ip(), scope_id(&remote)), now)?;
        flow.route.label = self.label_of(flow);
        Ok(hop)
    }

    /// RFC 6437 §3: the same for all packets of a flow, and not to be guessed from those of others.
    fn label_of(&self, flow: &Flow) -> u32 {
        if flow.key.remote.is_ipv4() || !self.auto_labels.permit(flow.auto_label) {
            return 0;
        }
        // The keys derived with smaller numbers are for other things.
        let key = match flow.paths_tried {
            0 => self.labels,
            n => self.labels.derive(0x100 + u64::from(n)),
        };
        let hash = FlowWords::new(&flow.key).strong_hash(&key) as u32;
        hash & 0x000f_ffff | STATELESS
    }

    /// Sends a frame that nobody keeps: it may be parked.
    fn send_once(
        &mut self,
        pool: &mut Pool,
        mut pkt: Pkt,
        flow: &Flow,
        parts: &Parts<'_>,
        wait_for: Option<(NextHop, Instant)>,
    ) -> Result<(), Unsent> {
        if flow.ttl == Some(0) && flow.key.remote.ip().is_multicast() {
            // RFC 1112 §6.1: it stays on this host, where nobody but the kernel's sockets would hear it.
            pool.free(pkt);
            return Ok(());
        }
        let left = match self.close_frame(pool, &mut pkt, flow, parts) {
            Ok(left) => left,
            Err(unsent) => return self.lose(pool, pkt, unsent),
        };
        let header = link_and_ip(flow.key.remote.ip()) + parts.header.len();
        match wait_for {
            None => {
                let frame = pool.give(pkt, header, left);
                self.enqueue(pool, (usize::from(flow.route.port), flow.route.home), frame);
            }
            Some((hop, now)) => {
                self.counts.no_neighbour += 1;
                self.parking.park(pool, Vehicle { pkt, header, checksum: left }, hop, flow.key, now);
            }
        }
        Ok(())
    }
}

impl Egress for Output {
    #[inline(always)]
    fn send(
        &mut self,
        pool: &mut Pool,
        flow: &mut Flow,
        out: Outgoing<'_>,
        now: Instant,
    ) -> Result<(), Unsent> {
        match out {
            // As nearly always.
            Outgoing { header, checksum_at, ecn, payload: Payload::Lend(pkt) } if self.knows_way(flow) => {
                let parts = Parts { header, checksum_at, ecn, payload: pkt.len() };
                let bytes = ip_header(flow.key.remote.ip()) + header.len() + pkt.len();
                self.pass(flow, bytes)?;
                fits(flow, bytes)?;
                self.lend(pool, pkt, flow, &parts)
            }
            Outgoing { header, checksum_at, ecn, payload: Payload::None } if self.knows_way(flow) => {
                self.send_bare(pool, flow, &Parts { header, checksum_at, ecn, payload: 0 })
            }
            out => self.send_any(pool, flow, out, now),
        }
    }

    fn mtu(&mut self, flow: &mut Flow) -> u16 {
        if flow.route.generation == self.control.generation() {
            return flow.route.mtu;
        }
        let remote = flow.key.remote;
        let least = if remote.is_ipv4() { MTU_LEAST } else { ipv6::MTU_LEAST };
        self.control.route(remote.ip(), scope_id(&remote)).map_or(least, |hop| hop.mtu)
    }
}

impl Output {
    /// Sends headers with nothing behind them, as an ACK is, by a way that is known.
    #[inline(never)]
    fn send_bare(&mut self, pool: &mut Pool, flow: &mut Flow, parts: &Parts<'_>) -> Result<(), Unsent> {
        let header = link_and_ip(flow.key.remote.ip()) + parts.header.len();
        let bytes = header - ethernet::HEADER;
        self.pass(flow, bytes)?;
        fits(flow, bytes)?;
        let Some(mut pkt) = pool.alloc() else {
            self.counts.no_frames += 1;
            return Err(Unsent::NoFrames);
        };
        let left = match self.close_frame(pool, &mut pkt, flow, parts) {
            Ok(left) => left,
            Err(unsent) => return self.lose(pool, pkt, unsent),
        };
        let frame = pool.give(pkt, header, left);
        self.enqueue(pool, (usize::from(flow.route.port), flow.route.home), frame);
        Ok(())
    }

    /// As [`Egress::send`], by a way that may have to be sought.
    #[inline(never)]
    fn send_any(
        &mut self,
        pool: &mut Pool,
        flow: &mut Flow,
        out: Outgoing<'_>,
        now: Instant,
    ) -> Result<(), Unsent> {
        let Outgoing { header, checksum_at, ecn, payload } = out;
        let len = match &payload {
            Payload::None => 0,
            Payload::Lend(pkt) => pkt.len(),
            Payload::Give(pkt) => pkt.len(),
        };
        let parts = Parts { header, checksum_at, ecn, payload: len };
        let bytes = ip_header(flow.key.remote.ip()) + header.len() + len;
        let wait_for = match self.admit(flow, bytes, now) {
            Ok(hop) => hop.map(|hop| (hop, now)),
            Err(unsent) => {
                if let Payload::Give(pkt) = payload {
                    pool.free(pkt);
                }
                return Err(unsent);
            }
        };
        match payload {
            Payload::Give(pkt) => self.send_once(pool, pkt, flow, &parts, wait_for),
            Payload::None => {
                let Some(pkt) = pool.alloc() else {
                    self.counts.no_frames += 1;
                    return Err(Unsent::NoFrames);
                };
                self.send_once(pool, pkt, flow, &parts, wait_for)
            }
            Payload::Lend(pkt) if wait_for.is_some() && !pool.is_lent(pkt) => {
                self.counts.no_neighbour += 1;
                Err(Unsent::NoNeighbour)
            }
            Payload::Lend(pkt) => self.lend(pool, pkt, flow, &parts),
        }
    }
}
