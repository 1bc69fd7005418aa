//! Frames that come in several parts, cut into segments as they are taken.

use nic::{Pkt, Pool, RxChecksum};

use crate::counters::XskCounters;
use crate::cut::Cut;

/// Where a receiver is in a frame of several parts.
#[derive(Debug, Default)]
pub(crate) enum Chain {
    /// The next part begins a frame.
    #[default]
    Between,
    /// It continues a superframe.
    Cutting(Cut),
    /// It continues a frame that is being dropped.
    Dropping,
}

/// A part of a frame, or all of it, as it lies in a frame of the pool that a NIC has filled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) frame: u32,
    pub(crate) offset: usize,
    pub(crate) len: usize,
    /// Another part follows.
    pub(crate) more: bool,
    /// Of the whole frame: unfinished, as a local sender leaves it, or verified; otherwise nobody has joined it.
    pub(crate) checksum: RxChecksum,
}

impl Chain {
    /// A part was lost; `more`: others follow, which are of no use then.
    pub(crate) fn spoilt(&mut self, more: bool) {
        *self = if more { Self::Dropping } else { Self::Between };
    }

    /// The packet that a part makes: the frame itself, or one of its segments. `None`: it is dropped.
    #[inline]
    pub(crate) fn take(&mut self, pool: &mut Pool, counters: &mut XskCounters, part: Part) -> Option<Pkt> {
        if !part.more && matches!(self, Self::Between) {
            return Some(pool.from_nic(part.frame, part.offset, part.len));
        }
        let pkt = self.cut(pool, counters, part);
        if pkt.is_none() {
            counters.rx_uncut += 1;
        }
        if !part.more {
            *self = Self::Between;
        }
        pkt
    }

    fn cut(&mut self, pool: &mut Pool, counters: &mut XskCounters, part: Part) -> Option<Pkt> {
        let Part { frame, offset, len, more, checksum } = part;
        match self {
            Self::Between => {
                let mut pkt = pool.from_nic(frame, offset, len);
                let cut = pool.bytes_mut(&mut pkt).and_then(|bytes| match checksum {
                    RxChecksum::Unknown => None,
                    RxChecksum::MayBeUnfinished => Cut::begin(bytes),
                    RxChecksum::Verified => Cut::begin_verified(bytes),
                });
                match cut {
                    Some(cut) => {
                        counters.rx_cut += 1;
                        *self = Self::Cutting(cut);
                        Some(pkt)
                    }
                    None => {
                        *self = Self::Dropping;
                        pool.free(pkt);
                        None
                    }
                }
            }
            Self::Cutting(cut) if cut.headers() <= offset => {
                let headers = cut.headers();
                let mut pkt = pool.from_nic(frame, offset - headers, len + headers);
                let payload = match pool.bytes_mut(&mut pkt) {
                    Some(bytes) => cut.next(len, !more, &mut bytes[..headers]),
                    None => 0,
                };
                pkt.truncate(headers + payload);
                Some(pkt)
            }
            Self::Cutting(_) | Self::Dropping => {
                pool.unfilled(frame);
                None
            }
        }
    }
}
