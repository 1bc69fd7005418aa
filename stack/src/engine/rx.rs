//! Frames in: link and network, then the transport's own way.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::Range;

use nic::{Burst, Pkt, RxChecksum, RxFrame};

use super::Stack;
use super::ahead::DEPTH;
use super::tcp_rx::Incoming;
use crate::control::table::Control;
use crate::ip::input::{self, Arrived, Door, Family, Host, Reason};
use crate::time::Instant;
use crate::types::{IfaceId, Road};
use crate::wire::tcp::{CHECKSUM_AT, Segment};
use crate::wire::{ethernet, ipv4, ipv6};

impl Host for Control {
    #[inline(always)]
    fn is_own(&self, address: IpAddr, iface: IfaceId) -> bool {
        self.hears(address, iface)
    }

    #[inline(always)]
    fn is_own_v4(&self, address: Ipv4Addr, iface: IfaceId) -> bool {
        self.hears_v4(address, iface)
    }

    #[inline(always)]
    fn is_elsewhere(&self, address: IpAddr) -> bool {
        Control::is_elsewhere(self, address)
    }

    #[inline]
    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        Control::is_broadcast(self, address)
    }
}

/// The interface that a frame came by, if it is one of the stack's.
#[inline]
fn door(control: &Control, iface: IfaceId) -> Option<Door<'_>> {
    let from = &control.ifaces()[control.port(iface)?];
    Some(Door { iface, mac: &from.mac, home: from.is_loopback() })
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
            if self.looks_ahead() {
                for (at, frame) in frames.by_ref().take(DEPTH).enumerate() {
                    self.turn(at);
                    self.receive(now, iface, frame, true);
                }
                self.end_turns();
                continue;
            }
            frames.by_ref().take(DEPTH).for_each(|frame| self.receive(now, iface, frame, true));
        }
        self.push_dirty(now);
    }

    pub(super) fn receive(&mut self, now: Instant, iface: IfaceId, frame: RxFrame, burst: bool) {
        self.core.stats.rx_frames += 1;
        self.core.stats.rx_bytes += frame.pkt.len() as u64;
        let mut seg = Segment::default();
        let found = match self.find_plain::<Ipv4Addr>(iface, &frame, &mut seg) {
            None => self.find_plain_v6(iface, &frame, &mut seg),
            found => found,
        };
        let Some((place, transport, road)) = found else {
            return self.receive_any(now, iface, frame, burst);
        };
        let Some(place) = place else {
            return self.receive_stranger(now, iface, frame, (&seg, transport, road), burst);
        };
        let pkt = frame.pkt.window(transport.start + usize::from(seg.header_len), transport.end);
        self.segment_for(now, place, &seg, (pkt, transport.end - ethernet::HEADER, road), burst);
    }

    /// Where the segment lies in the frame, if this is a plain packet of the family and its segment, which is read into `seg`,
    /// is intact; and where its connection lies, if it is of one. None when any of this is not so: then nothing is said of the
    /// frame yet.
    #[inline(always)]
    fn find_plain<A: Family>(
        &self,
        iface: IfaceId,
        frame: &RxFrame,
        seg: &mut Segment,
    ) -> Option<(Option<u32>, Range<usize>, Road)> {
        let control = &self.core.out.control;
        let door = door(control, iface)?;
        let bytes = self.core.pool.bytes(&frame.pkt);
        let packet = A::read(bytes, door, control)?;
        let segment = &bytes[packet.transport()];
        seg.read(segment).ok()?;
        seg.ecn = packet.ecn();
        if seg.src_port == 0 || !input::is_right(segment, CHECKSUM_AT, packet.pseudo(), frame.meta.checksum) {
            return None;
        }
        let place = self.place_ahead(&packet.words(seg.src_port, seg.dst_port, iface));
        Some((place, packet.transport(), self.core.out.road_in(iface, door.home)))
    }

    /// As [`Stack::find_plain`], out of line: what is of IPv4 makes no way round it.
    #[inline(never)]
    fn find_plain_v6(
        &self,
        iface: IfaceId,
        frame: &RxFrame,
        seg: &mut Segment,
    ) -> Option<(Option<u32>, Range<usize>, Road)> {
        self.find_plain::<Ipv6Addr>(iface, frame, seg)
    }

    /// A plain frame whose segment, intact, read already and there in the frame, is of no connection.
    #[inline(never)]
    fn receive_stranger(
        &mut self,
        now: Instant,
        iface: IfaceId,
        frame: RxFrame,
        (seg, transport, road): (&Segment, Range<usize>, Road),
        burst: bool,
    ) {
        let ports = (seg.src_port, seg.dst_port);
        let flow = input::flow_of(self.core.pool.bytes(&frame.pkt), transport.start, iface, ports);
        let Some(key) = flow.filter(|_| seg.dst_port != 0) else {
            return self.receive_any(now, iface, frame, burst);
        };
        let bytes = transport.end - ethernet::HEADER;
        let pkt = frame.pkt.window(transport.start + usize::from(seg.header_len), transport.end);
        self.segment_elsewhere(now, Incoming { seg: *seg, key, pkt, bytes, iface, road }, burst);
    }

    /// A frame that may be anything.
    #[inline(never)]
    fn receive_any(&mut self, now: Instant, iface: IfaceId, frame: RxFrame, burst: bool) {
        let RxFrame { pkt, meta } = frame;
        let control = &self.core.out.control;
        let arrived = match door(control, iface) {
            Some(door) => input::read(self.core.pool.bytes(&pkt), door, control),
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
