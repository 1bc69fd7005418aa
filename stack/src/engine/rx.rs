//! Frames in: link and network, then the transport's own way.

use core::net::{IpAddr, Ipv4Addr};

use nic::{Burst, Pkt, RxChecksum, RxFrame};

use super::Stack;
use super::ahead::DEPTH;
use crate::control::table::Control;
use crate::ip::input::{self, Arrived, Door, Host, Reason};
use crate::time::Instant;
use crate::types::IfaceId;
use crate::wire::{ipv4, ipv6};

impl Host for Control {
    #[inline]
    fn is_own(&self, address: IpAddr, iface: IfaceId) -> bool {
        self.hears(address, iface)
    }

    #[inline]
    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        Control::is_broadcast(self, address)
    }
}

/// A packet on its way to its socket.
pub(super) struct Inbound {
    pub(super) pkt: Pkt,
    pub(super) arrived: Arrived,
    pub(super) checksum: RxChecksum,
}

impl Stack {
    /// A frame arrived on `iface`. It is always taken: queued on a socket or freed.
    pub fn rx(&mut self, now: Instant, iface: IfaceId, frame: RxFrame) {
        if self.core.out.taps.is_on() {
            return self.receive_seen(now, iface, frame, false);
        }
        self.receive(now, iface, frame, false);
    }

    /// Frames arrived on `iface`; `burst` is empty afterwards. Better than one by one: a connection that gets
    /// several segments of one burst answers them with one ACK.
    pub fn rx_burst(&mut self, now: Instant, iface: IfaceId, burst: &mut Burst) {
        let mut frames = burst.drain(..);
        while !frames.as_slice().is_empty() {
            self.look_ahead(frames.as_slice());
            if self.core.out.taps.is_on() {
                frames.by_ref().take(DEPTH).for_each(|frame| self.receive_seen(now, iface, frame, true));
                continue;
            }
            for (at, frame) in frames.by_ref().take(DEPTH).enumerate() {
                self.turn(at);
                self.receive(now, iface, frame, true);
            }
            self.end_turns();
        }
        self.push_dirty(now);
    }

    pub(super) fn receive(&mut self, now: Instant, iface: IfaceId, frame: RxFrame, burst: bool) {
        let RxFrame { pkt, meta } = frame;
        self.core.stats.rx_frames += 1;
        self.core.stats.rx_bytes += pkt.len() as u64;
        let control = &self.core.out.control;
        let arrived = match control.port(iface) {
            Some(port) => {
                let from = &control.ifaces()[port];
                let door = Door { iface, mac: &from.mac, home: from.is_loopback() };
                input::read(self.core.pool.bytes(&pkt), door, control)
            }
            None => Err(Reason::NotOurs.into()),
        };
        if let Ok(arrived) = &arrived
            && arrived.protocol == ipv4::TCP
            && arrived.piece.is_none()
        {
            return self.receive_tcp(now, pkt, (arrived, meta.checksum), burst);
        }
        match arrived {
            Ok(arrived) => self.hand_up(now, Inbound { pkt, arrived, checksum: meta.checksum }, burst),
            Err(refused) => self.refuse_packet(now, iface, pkt, refused),
        }
    }

    /// A packet for us goes to its transport.
    #[inline(never)]
    pub(super) fn hand_up(&mut self, now: Instant, inbound: Inbound, burst: bool) {
        let inbound = match inbound.arrived.piece {
            None => inbound,
            Some(piece) => match self.reassemble(now, inbound, piece) {
                Some(whole) => whole,
                None => return,
            },
        };
        match inbound.arrived.protocol {
            ipv4::TCP => self.receive_tcp(now, inbound.pkt, (&inbound.arrived, inbound.checksum), burst),
            ipv4::UDP => self.receive_udp(now, inbound),
            ipv4::ICMP if inbound.arrived.source.is_ipv4() => self.receive_icmp(now, inbound),
            ipv6::ICMP if inbound.arrived.source.is_ipv6() => self.receive_icmp(now, inbound),
            _ => self.drop_packet(inbound.pkt, Reason::NotTransport),
        }
    }

    /// Frees a packet and counts why.
    pub(super) fn drop_packet(&mut self, pkt: Pkt, reason: Reason) {
        self.count_drop(reason);
        self.core.pool.free(pkt);
    }

    /// Counts why the packet in hand is dropped.
    pub(super) fn count_drop(&mut self, reason: Reason) {
        reason.count(&mut self.core.stats);
        self.core.out.taps.dropped = Some(reason);
    }
}
