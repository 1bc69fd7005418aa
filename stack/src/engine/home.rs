//! Packets to the host's own addresses: from socket to socket, by no interface. What no socket of this stack hears
//! goes to the stack that does, if there is one beside this (`mates`), or leaves by the loopback device, if the stack
//! drives that; without either, it is not sent from here at all.
//!
//! They go the whole way down and up again, so that the gate judges them as they leave and as they arrive, and that
//! sockets cannot tell. Only the wire is missing: checksums are not computed, and the frame itself arrives where its
//! sender does not keep it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use nic::{Pkt, Pool, RxChecksum, TxPkt};

use super::Stack;
use super::family::{ANY_V4, ANY_V6};
use super::mates::Holder;
use super::rx::Inbound;
use super::tap::{Arrival, Way};
use crate::ip::input::{self, Arrived, Door, Reason};
use crate::time::Instant;
use crate::types::{FlowKey, IfaceId, LocalKey, Protocol, canonical, scope_id};
use crate::wire::{be16, ethernet, ipv4, tcp, udp};

/// Frames delivered together, before those who received them send.
const BATCH: usize = 32;
/// Batches a turn: what is left then waits for the next one.
const BATCHES: usize = 8;
/// How long frames wait when there is none to copy them into.
const NO_FRAME: Duration = Duration::from_millis(1);

/// The longest packet whose payload fits a frame, whatever the transport.
pub(super) fn mtu(pool: &Pool) -> u16 {
    u16::try_from(pool.payload_capacity() + ipv4::HEADER + udp::HEADER).unwrap_or(u16::MAX)
}

/// Frames on their way from the host to itself. There is room for every frame of the pool, so it never grows.
#[derive(Debug)]
pub(super) struct Home {
    /// With the interface whose address they are for.
    queue: VecDeque<(u16, TxPkt)>,
    /// When it is worth to go on.
    due: Instant,
}

impl Home {
    pub(super) fn new(frames: u32) -> Self {
        Self { queue: VecDeque::with_capacity(frames as usize), due: Instant::ZERO }
    }

    pub(super) fn push(&mut self, port: usize, frame: TxPkt) {
        self.queue.push_back((port as u16, frame));
    }

    /// Takes the oldest out.
    pub(super) fn pop(&mut self) -> Option<(u16, TxPkt)> {
        self.queue.pop_front()
    }

    /// When they are to be delivered: at once.
    #[inline]
    pub(super) fn next_deadline(&self) -> Instant {
        if self.queue.is_empty() { Instant::NEVER } else { self.due }
    }

    /// The next that arrives. A frame for the copy may have to come from a depot first; without any hope of one, the
    /// packet is lost, as where a NIC has none to receive into.
    fn next(&mut self, pool: &mut Pool, now: Instant) -> Next {
        let Some((port, frame)) = self.queue.pop_front() else { return Next::None };
        self.due = Instant::ZERO;
        match pool.loop_back(frame) {
            Ok(pkt) => Next::Arrives(usize::from(port), pkt),
            Err(frame) if pool.available() > 0 => {
                self.queue.push_front((port, frame));
                self.due = now + NO_FRAME;
                Next::None
            }
            Err(frame) => {
                pool.take_back(frame);
                Next::Lost
            }
        }
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.queue.drain(..).for_each(|(_, frame)| pool.take_back(frame));
    }
}

/// Where a packet to an address of the host goes.
enum Whither {
    /// A socket of this stack hears it, or nobody does.
    Here,
    /// Another stack.
    Mate(u8),
    /// By the loopback device.
    Loopback,
}

enum Next {
    Arrives(usize, Pkt),
    Lost,
    None,
}

impl Stack {
    /// The address to send from to `remote`, when what is sent there is this stack's: the way leaves by an interface
    /// that it drives, or ends at a socket that it has. Else such traffic is the kernel's.
    pub fn source_for(&self, protocol: Protocol, remote: SocketAddr) -> Option<IpAddr> {
        let remote = canonical(remote);
        let hop = self.core.out.control.route(remote.ip(), scope_id(&remote))?;
        let ours =
            !hop.home || self.core.out.control.leads_home(remote.ip()) || self.is_heard(protocol, remote);
        hop.source.filter(|_| ours)
    }

    /// Whether a socket of this stack may hear what is sent to an address of the host, which belongs to an interface
    /// of the stack's.
    fn is_heard(&self, protocol: Protocol, own: SocketAddr) -> bool {
        let (address, port) = (own.ip(), own.port());
        self.core.out.control.is_on_a_road(address)
            && (self.is_heard_here(protocol, address, port) || self.is_heard_by_mates(protocol, own))
    }

    fn is_heard_here(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        match protocol {
            Protocol::Tcp => self.local_socket(protocol, address, port).is_some(),
            // Those with a peer, too: which one is known when the sender is.
            Protocol::Udp => [address, if address.is_ipv4() { ANY_V4 } else { ANY_V6 }, ANY_V6]
                .into_iter()
                .any(|address| !self.crowds.all(&LocalKey { protocol, address, port }).is_empty()),
        }
    }

    /// Whether a flow ends at this host, though at no socket of this stack or its mates, and no interface of it leads
    /// there.
    pub(super) fn is_the_kernels(&self, key: &FlowKey) -> bool {
        let scope = IfaceId(scope_id(&key.remote));
        let (control, remote) = (&self.core.out.control, key.remote.ip());
        if !control.is_own(remote, scope) || control.leads_home(remote) {
            return false;
        }
        let there = FlowKey { protocol: key.protocol, local: key.remote, remote: key.local };
        match key.protocol {
            Protocol::Tcp => self.listener_for(&there).is_none() && !self.is_a_mates(&there),
            Protocol::Udp => self.udp_socket_for(&there).is_none() && !self.is_a_mates(&there),
        }
    }

    /// Delivers what the sockets of this stack have sent to each other, and what comes of it, within bounds. Part of
    /// [`push`](Stack::push) and [`expire`](Stack::expire); by itself for who waits with the former.
    #[inline]
    pub fn deliver_home(&mut self, now: Instant) {
        for _ in 0..BATCHES {
            if self.core.out.home.next_deadline() > now {
                break;
            }
            self.deliver_batch(now);
        }
    }

    fn deliver_batch(&mut self, now: Instant) {
        for _ in 0..BATCH {
            if self.pass_on() {
                continue;
            }
            match self.core.out.home.next(&mut self.core.pool, now) {
                Next::Arrives(port, pkt) => self.receive_at_home(now, port, pkt),
                Next::Lost => Reason::NoFrames.count(&mut self.core.stats),
                Next::None => break,
            }
        }
        self.push_dirty(now);
    }

    /// Lets the next packet leave, if nobody here hears it: to another stack that does, or by the loopback device, where
    /// a socket of the kernel's may.
    fn pass_on(&mut self) -> bool {
        let out = &self.core.out;
        let lo = out.control.loopback();
        if lo.is_none() && out.outbound.mates.is_none() {
            return false;
        }
        let Some((port, frame)) = out.home.queue.front() else { return false };
        let bytes = self.core.pool.lent_bytes(frame);
        let iface = out.control.ifaces()[usize::from(*port)].id;
        let door = Door { iface, mac: &ethernet::NOWHERE, home: true };
        let whither = match input::read(bytes, door, &out.control) {
            Ok(arrived) => self.whither(bytes, &arrived),
            Err(_) => Whither::Here,
        };
        match (whither, lo) {
            (Whither::Mate(to), _) => self.core.out.send_to_mate(&self.core.pool, to, iface),
            (Whither::Loopback, Some(lo)) => self.core.out.send_home(&self.core.pool, lo),
            _ => return false,
        }
        true
    }

    /// Where a packet from this host to itself goes.
    fn whither(&self, frame: &[u8], arrived: &Arrived) -> Whither {
        if self.is_for_us(frame, arrived) {
            return Whither::Here;
        }
        let leads_home = self.core.out.control.leads_home(arrived.destination);
        let otherwise = if leads_home { Whither::Loopback } else { Whither::Here };
        let Some(mates) = &self.core.out.outbound.mates else { return otherwise };
        let bytes = &frame[arrived.payload()];
        let (Some(from), Some(to)) = (be16(bytes, 0), be16(bytes, 2)) else { return otherwise };
        let protocol = match arrived.protocol {
            ipv4::TCP => Protocol::Tcp,
            ipv4::UDP => Protocol::Udp,
            _ => return otherwise,
        };
        let key = arrived.flow(protocol, from, to);
        match mates.holder(&key) {
            Some(Holder::Mate(slot)) => return Whither::Mate(slot),
            Some(Holder::This) => return Whither::Here,
            // Of a connection that nobody has the kernel may know, where it hears of it.
            None if protocol == Protocol::Tcp && leads_home && !tcp::begins(bytes) => return otherwise,
            None => {}
        }
        mates.hearer(&key).map_or(otherwise, Whither::Mate)
    }

    /// Whether a socket of this stack hears a packet. Of errors the loopback device's steering knows.
    fn is_for_us(&self, frame: &[u8], arrived: &Arrived) -> bool {
        let bytes = &frame[arrived.payload()];
        let (Some(from), Some(to)) = (be16(bytes, 0), be16(bytes, 2)) else { return true };
        match arrived.protocol {
            ipv4::TCP => {
                let key = arrived.flow(Protocol::Tcp, from, to);
                self.connection_of(&key).is_some()
                    || self.requests.find(&key).is_some()
                    || self.time_waits.find(&key).is_some()
                    // Of a connection that is not ours the kernel may know, whose listener this one was before. What
                    // it does not know comes back by the loopback device: an answer to a cookie is one.
                    || (tcp::begins(bytes) && self.listener_for(&key).is_some())
            }
            ipv4::UDP => self.udp_socket_for(&arrived.flow(Protocol::Udp, from, to)).is_some(),
            _ => false,
        }
    }

    pub(super) fn receive_at_home(&mut self, now: Instant, port: usize, pkt: Pkt) {
        self.core.stats.home_frames += 1;
        let control = &self.core.out.control;
        let iface = &control.ifaces()[port];
        let (id, door) = (iface.id, Door { iface: iface.id, mac: &ethernet::NOWHERE, home: true });
        let seen = self.core.out.taps.is_on();
        if seen {
            self.show_home(id, &pkt);
        }
        let control = &self.core.out.control;
        match input::read(self.core.pool.bytes(&pkt), door, control) {
            Ok(mut arrived) => {
                // What follows a connection that moved here came by a wire, to the stack that had it.
                arrived.home = control.is_own(arrived.source, id);
                self.hand_up(now, Inbound { pkt, arrived, checksum: RxChecksum::Verified }, true);
            }
            Err(refused) => self.refuse_packet(now, id, pkt, refused),
        }
        if seen {
            self.core.out.taps.settles(&self.core.out.gate);
        }
    }

    /// Shows those who look on what arrives.
    #[cold]
    fn show_home(&mut self, iface: IfaceId, pkt: &Pkt) {
        let out = &mut self.core.out;
        out.gate.forget_judged();
        let frame = self.core.pool.bytes(pkt);
        out.taps.arrives(&Arrival { iface, way: Way::Home, frame, judged: !out.gate.is_open() });
    }
}
