//! Pieces of TCP segments: put together before anybody judges them (RFC 791 §3.2, RFC 8200 §4.5).

use nic::RxChecksum;

use super::Stack;
use super::rx::Inbound;
use crate::ip::fragments::{Fragment, FragmentKey};
use crate::ip::input::Arrived;
use crate::time::Instant;
use crate::types::Ecn;
use crate::wire::ipv6_ext::Piece;

impl Stack {
    /// Takes a piece in. Gives the whole packet when this was the last that it lacked.
    #[cold]
    pub(super) fn reassemble(&mut self, now: Instant, inbound: Inbound, piece: Piece) -> Option<Inbound> {
        let Inbound { pkt, mut arrived, .. } = inbound;
        let Arrived { source, destination, protocol, iface, .. } = arrived;
        let key = FragmentKey { source, destination, id: piece.id, protocol, iface };
        let ecn = arrived.tos & Ecn::MASK;
        let fragment = Fragment { key, offset: piece.offset.into(), more: piece.more, ecn };
        let parts = (arrived.packet.start..arrived.transport, arrived.payload());
        self.core.stats.ip_pieces_in += 1;
        match self.fragments.take(&mut self.core.pool, pkt, parts, &fragment, now) {
            Ok(None) => None,
            Ok(Some(whole)) => {
                self.core.stats.ip_reassembled += 1;
                arrived.tos = arrived.tos & !Ecn::MASK | whole.ecn;
                (arrived.packet, arrived.transport, arrived.piece) = (0..whole.pkt.len(), 0, None);
                // What a NIC said of a piece says nothing of the whole.
                Some(Inbound { pkt: whole.pkt, arrived, checksum: RxChecksum::Unknown })
            }
            Err(reason) => {
                self.count_drop(reason);
                None
            }
        }
    }

    /// Gives up packets whose pieces have had their time, and tells the senders.
    pub(super) fn give_up_pieces(&mut self, now: Instant) {
        while let Some(expired) = self.fragments.expire(&mut self.core.pool, now) {
            self.core.stats.ip_reassembly_timeouts += 1;
            if let Some(expired) = expired {
                self.time_exceeded(now, &expired);
            }
        }
    }
}
