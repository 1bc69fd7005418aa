//! What the gate is asked with: a packet of a flow, and the interface by which it travels.

use super::egress::Output;
use crate::ip::Flow;
use crate::policy::Packet;
use crate::time::Instant;
use crate::types::{Direction, IfaceId, Road, scope_id};

impl Output {
    /// Whether a packet that arrived by `road` for a flow may pass; `bytes` is the length of the IP packet.
    #[inline(always)]
    pub(super) fn judge_in(&mut self, flow: &mut Flow, bytes: usize, road: Road) -> bool {
        match self.gate.recall(&flow.memo, bytes) {
            Some(may) => may,
            None => self.judge_closely_in(flow, bytes, road),
        }
    }

    #[inline(never)]
    fn judge_closely_in(&mut self, flow: &mut Flow, bytes: usize, road: Road) -> bool {
        let road = match flow.direction {
            // We began it, and rules mean the interface by which we send: answers may come by any.
            Direction::Out if flow.memo.road() == Road::UNKNOWN => self.road_out(flow),
            _ => road,
        };
        let packet = Packet { len: bytes, way: Direction::In, road };
        self.gate.judge(&mut flow.memo, &flow.key, flow.direction, packet)
    }

    /// As [`Output::judge_in`], for a packet that begins a flow.
    #[inline]
    pub(super) fn judge_first(&mut self, now: Instant, flow: &mut Flow, bytes: usize, road: Road) -> bool {
        self.judge_in(flow, bytes, road) && self.gate.begins(now, &flow.memo, &flow.key, bytes)
    }

    /// Whether a packet of a flow may leave.
    #[inline]
    pub(super) fn judge_out(&mut self, flow: &mut Flow, bytes: usize) -> bool {
        match self.gate.recall(&flow.memo, bytes) {
            Some(may) => may,
            None => self.judge_closely_out(flow, bytes),
        }
    }

    #[inline(never)]
    fn judge_closely_out(&mut self, flow: &mut Flow, bytes: usize) -> bool {
        let road = self.road_out(flow);
        self.judge_out_by(flow, bytes, road)
    }

    /// As [`Output::judge_out`], by `road`.
    #[inline]
    pub(super) fn judge_out_by(&mut self, flow: &mut Flow, bytes: usize, road: Road) -> bool {
        let packet = Packet { len: bytes, way: Direction::Out, road };
        self.gate.judge(&mut flow.memo, &flow.key, flow.direction, packet)
    }

    /// By which interface a packet came, where that matters to the gate.
    #[inline]
    pub(super) fn road_in(&self, iface: IfaceId, home: bool) -> Road {
        match self.gate.tells_roads_apart() {
            true if home => Road::HOME,
            true => self.road_by(iface),
            false => Road::UNKNOWN,
        }
    }

    /// An interface as the gate numbers it.
    pub(super) fn road_by(&self, iface: IfaceId) -> Road {
        match self.control.port(iface) {
            Some(port) if !self.control.ifaces()[port].is_loopback() => Road::of_port(port),
            None if iface != IfaceId::LOOPBACK => Road::UNKNOWN,
            _ => Road::HOME,
        }
    }

    /// By which interface a packet of a flow will leave, where that matters to the gate. Nobody is asked for anything on
    /// behalf of a flow that may be denied.
    #[inline]
    pub(super) fn road_out(&self, flow: &Flow) -> Road {
        if !self.gate.tells_roads_apart() {
            return Road::UNKNOWN;
        }
        let (route, remote) = (&flow.route, &flow.key.remote);
        let way = match route.generation == self.control.generation() {
            true => Some((route.port, route.home)),
            false => self.control.route(remote.ip(), scope_id(remote)).map(|hop| (hop.port, hop.home)),
        };
        match way {
            Some((_, true)) => Road::HOME,
            Some((port, false)) => Road::of_port(port.into()),
            None => Road::UNKNOWN,
        }
    }
}
