//! What an adapter tells, and what it means.

use ef_vi_sys as sys;
use nic::FrameIndex;

/// What is known of a frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing is wrong with it.
    Well,
    /// The adapter says that a checksum of it is wrong.
    BadChecksum,
    /// It is a part of a longer one.
    Part,
    /// It is not to be trusted in any way.
    Bad,
}

/// What the adapter tells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// It filled a posted frame up to this byte, from its prefix on.
    Filled { frame: FrameIndex, end: usize, seen: Seen },
    /// A frame waits in a superbuffer.
    Held { packet: u32, len: usize, seen: Seen },
    /// A frame was sent, or will never be.
    Sent { frame: FrameIndex, ctpio: bool, failed: bool },
    /// A frame was cut, for want of buffers.
    Truncated,
    /// No more events will come.
    Halted,
    /// What was not asked for.
    Other,
}

/// What an event that is no transmission's means.
pub(crate) fn meaning(told: &sys::ringroad_ef_event) -> Event {
    let (frame, len) = (told.id, told.len as usize);
    let well = if told.part != 0 { Seen::Part } else { Seen::Well };
    match told.kind {
        sys::ringroad_ef_kind_RINGROAD_EF_RX => Event::Filled { frame, end: len, seen: well },
        sys::ringroad_ef_kind_RINGROAD_EF_RX_DISCARD => {
            let sums = [sys::EF_EVENT_RX_DISCARD_CSUM_BAD, sys::EF_EVENT_RX_DISCARD_INNER_CSUM_BAD];
            let seen =
                if well == Seen::Well && sums.contains(&told.reason) { Seen::BadChecksum } else { Seen::Bad };
            Event::Filled { frame, end: len, seen }
        }
        sys::ringroad_ef_kind_RINGROAD_EF_RX_REF => Event::Held { packet: told.id, len, seen: Seen::Well },
        sys::ringroad_ef_kind_RINGROAD_EF_RX_REF_DISCARD => {
            let sums = sys::ef_vi_rx_discard_err_flags_EF_VI_DISCARD_RX_L4_CSUM_ERR
                | sys::ef_vi_rx_discard_err_flags_EF_VI_DISCARD_RX_L3_CSUM_ERR;
            let seen = if told.reason & !sums == 0 { Seen::BadChecksum } else { Seen::Bad };
            Event::Held { packet: told.id, len, seen }
        }
        sys::ringroad_ef_kind_RINGROAD_EF_RX_TRUNCATED => Event::Truncated,
        sys::ringroad_ef_kind_RINGROAD_EF_HALTED => Event::Halted,
        _ => Event::Other,
    }
}
