//! Frames that wait for a neighbour's link address, so that the first SYN or datagram to a neighbour is not
//! lost to its own time-out.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use nic::{Pkt, Pool, TxChecksum, TxPkt};

use super::headers::link_and_ip;
use crate::control::MacAddr;
use crate::control::table::NextHop;
use crate::time::Instant;
use crate::types::FlowKey;
use crate::wire::{be32, ethernet};

/// Frames that may wait at a time; the oldest makes room.
const ROOM: usize = 64;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// A frame with all its headers but the link's.
#[derive(Debug)]
pub(super) struct Parked {
    pkt: Pkt,
    header: usize,
    checksum: TxChecksum,
    hop: NextHop,
    key: FlowKey,
    until: Instant,
}

impl Parked {
    /// Writes the link header. None when the frame has no room for it, which its sender made sure of.
    pub(super) fn depart(mut self, pool: &mut Pool, mac: MacAddr, own: MacAddr) -> Option<TxPkt> {
        let link = ethernet::header(mac, own, ethernet::type_of(self.key.remote.ip()));
        let Some(head) = pool.headroom_mut(&mut self.pkt, self.header) else {
            pool.free(self.pkt);
            return None;
        };
        head[..ethernet::HEADER].copy_from_slice(&link);
        Some(pool.give(self.pkt, self.header, self.checksum))
    }

    /// Frees the frame and says whose it was, with the second word of its transport header.
    pub(super) fn abandon(mut self, pool: &mut Pool) -> (FlowKey, u32) {
        let head = pool.headroom_mut(&mut self.pkt, self.header);
        let word = head.and_then(|h| be32(h, link_and_ip(self.key.remote.ip()) + 4)).unwrap_or(0);
        pool.free(self.pkt);
        (self.key, word)
    }
}

/// The frames that wait, oldest first.
#[derive(Debug)]
pub(super) struct Parking {
    waiting: VecDeque<Parked>,
    dropped: u64,
}

impl Default for Parking {
    fn default() -> Self {
        Self { waiting: VecDeque::with_capacity(ROOM), dropped: 0 }
    }
}

/// A frame to park: its packet, the bytes of header in front of it, and what is left of its checksum.
pub(super) struct Vehicle {
    pub(super) pkt: Pkt,
    pub(super) header: usize,
    pub(super) checksum: TxChecksum,
}

impl Parking {
    /// Lets a frame wait for `hop`.
    pub(super) fn park(&mut self, pool: &mut Pool, frame: Vehicle, hop: NextHop, key: FlowKey, now: Instant) {
        if self.waiting.len() == ROOM {
            self.drop_oldest(pool);
        }
        let Vehicle { pkt, header, checksum } = frame;
        self.waiting.push_back(Parked { pkt, header, checksum, hop, key, until: now + PATIENCE });
    }

    /// The oldest frame that waits for `address` on `port`.
    pub(super) fn take(&mut self, port: u16, address: IpAddr) -> Option<Parked> {
        let at = self.waiting.iter().position(|p| (p.hop.port, p.hop.address) == (port, address))?;
        self.waiting.remove(at)
    }

    /// When the oldest frame has waited long enough.
    pub(super) fn next_deadline(&self) -> Instant {
        self.waiting.front().map_or(Instant::NEVER, |p| p.until)
    }

    /// Drops what has waited long enough.
    pub(super) fn expire(&mut self, pool: &mut Pool, now: Instant) {
        while self.waiting.front().is_some_and(|p| p.until <= now) {
            self.drop_oldest(pool);
        }
    }

    /// How many frames were dropped for want of room or of an answer in time.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn drop_oldest(&mut self, pool: &mut Pool) {
        if let Some(oldest) = self.waiting.pop_front() {
            oldest.abandon(pool);
            self.dropped += 1;
        }
    }
}
