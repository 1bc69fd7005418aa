//! Looking ahead: among very many connections, what the segments of a burst will need is in memory, not in the
//! caches. It is asked for before the first of them is handled, so that the waits overlap: first the slots of the
//! flow table, then the connections. Where a connection most likely lies is kept, so that it is looked for once; whether
//! it is the right one is seen when the segment's turn comes. (To ask for each a few segments ahead was tried: on the
//! machine at hand it was slower than to ask for all at once.)

use core::net::{Ipv4Addr, Ipv6Addr};

use nic::RxFrame;

use super::Stack;
use crate::hash::FlowWords;
use crate::tcp::Tcb;
use crate::types::{Protocol, SocketId};
use crate::wire::{ethernet, ipv4};

/// Connections from which on it pays; fewer stay in the caches. Tests look ahead as soon as there are two.
const MANY: usize = if cfg!(debug_assertions) { 2 } else { 2048 };
/// Frames looked at together.
pub(super) const DEPTH: usize = 32;
/// Bytes of a slot that a segment touches: the first line, and what the `Tcb` says.
const HOT: usize = nic::LINE + Tcb::HOT;

/// What is known of a frame whose turn has not come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Glimpse {
    /// Nothing.
    None,
    /// The hash of its flow.
    Hash(u64),
    /// Where its connection lies, most likely.
    Place(u32),
}

impl Stack {
    /// Asks for what the first frames of `burst` will need.
    #[inline]
    pub(super) fn look_ahead(&mut self, burst: &[RxFrame]) {
        self.ahead.clear();
        if self.flows.len() >= MANY {
            self.fetch(&burst[..burst.len().min(DEPTH)]);
        }
    }

    /// Asks for all of a connection that a call is about, so that it need not wait for one line after the other.
    #[inline]
    pub(super) fn look_at(&self, id: SocketId) {
        if self.flows.len() >= MANY {
            self.table.prefetch(id.index, usize::MAX);
            self.wheel.prefetch(id.index);
        }
    }

    #[inline(never)]
    fn fetch(&mut self, burst: &[RxFrame]) {
        for frame in burst {
            let words = peek(self.core.pool.bytes(&frame.pkt));
            let hash = words.map(|words| self.flows.hash(&words));
            if let Some(hash) = hash {
                self.flows.prefetch(hash);
            }
            self.ahead.push(hash.map_or(Glimpse::None, Glimpse::Hash));
        }
        for glimpse in &mut self.ahead {
            if let Glimpse::Hash(hash) = *glimpse
                && let Some(place) = self.flows.guess(hash)
            {
                *glimpse = Glimpse::Place(place);
                self.table.prefetch(place, HOT);
                self.wheel.prefetch(place);
            }
        }
    }

    /// Whether anything was asked for.
    #[inline]
    pub(super) fn looks_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// The turn of frame `at` of those looked at has come.
    #[inline]
    pub(super) fn turn(&mut self, at: usize) {
        self.glimpse = self.ahead.get(at).copied().unwrap_or(Glimpse::None);
    }

    /// What comes next is none of those looked at.
    #[inline]
    pub(super) fn end_turns(&mut self) {
        self.glimpse = Glimpse::None;
    }

    /// As [`Stack::place_of`], most likely of the frame whose turn it is.
    #[inline(always)]
    pub(super) fn place_ahead(&self, words: &FlowWords) -> Option<u32> {
        match self.glimpse {
            Glimpse::None => {
                let spot = self.lately.spot(self.flows.len(), words);
                if let Some(place) = spot.place()
                    && self.lies_at(place, words)
                {
                    return Some(place);
                }
                let found = self.search(words);
                spot.keep(found);
                found
            }
            Glimpse::Place(place) if self.lies_at(place, words) => Some(place),
            // Where it lay last is most likely in no cache: the index says where it lies.
            Glimpse::Place(_) | Glimpse::Hash(_) => self.search(words),
        }
    }

    /// As [`Stack::place_of`], out of line: most segments do without.
    #[inline(never)]
    fn search(&self, words: &FlowWords) -> Option<u32> {
        self.place_of(words)
    }
}

/// The flow of a plain TCP packet, as far as it can be told without checking anything.
#[inline]
fn peek(frame: &[u8]) -> Option<FlowWords> {
    let head = frame.first_chunk::<58>().map_or(&frame[..frame.len().min(54)], |head| &head[..]);
    let port = |at: usize| Some(u16::from_be_bytes([*head.get(at)?, *head.get(at + 1)?]));
    match (port(12)?, *head.get(14)?) {
        (ethernet::IPV4, 0x45) if *head.get(23)? == ipv4::TCP => {
            let address = |at| Some(Ipv4Addr::from(*head.get(at..)?.first_chunk::<4>()?));
            Some(FlowWords::v4(Protocol::Tcp, (address(30)?, port(36)?), (address(26)?, port(34)?)))
        }
        (ethernet::IPV6, _) if *head.get(20)? == ipv4::TCP => {
            let address = |at| Some(Ipv6Addr::from(*head.get(at..)?.first_chunk::<16>()?));
            let (local, remote) = ((address(38)?, port(56)?), (address(22)?, port(54)?));
            Some(FlowWords::v6(Protocol::Tcp, local, remote, 0))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_of_a_plain_segment_is_told_and_of_nothing_else() {
        let mut frame = ethernet::header([2; 6], [4; 6], ethernet::IPV4).to_vec();
        let (remote, local) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1));
        frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend(remote.octets());
        frame.extend(local.octets());
        frame.extend([0x9c, 0x40, 0, 80]);
        frame.extend([0; 16]);
        let words = FlowWords::v4(Protocol::Tcp, (local, 80), (remote, 40_000));
        assert_eq!(peek(&frame), Some(words));
        for (at, byte) in [(12, 9), (14, 0x46), (23, 17)] {
            let mut other = frame.clone();
            other[at] = byte;
            assert_eq!(peek(&other), None, "byte {at}");
        }
        for len in 0..38 {
            assert_eq!(peek(&frame[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn so_is_that_of_ipv6() {
        let mut frame = ethernet::header([2; 6], [4; 6], ethernet::IPV6).to_vec();
        let (remote, local) =
            (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
        frame.extend([0x60, 0, 0, 0, 0, 20, 6, 64]);
        frame.extend(remote.octets());
        frame.extend(local.octets());
        frame.extend([0x9c, 0x40, 0, 80]);
        frame.extend([0; 16]);
        let words = FlowWords::v6(Protocol::Tcp, (local, 80), (remote, 40_000), 0);
        assert_eq!(peek(&frame), Some(words));
        frame[20] = 44;
        assert_eq!(peek(&frame), None);
    }
}
