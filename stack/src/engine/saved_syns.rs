//! The headers of SYNs, for who asked a listener to keep them (TCP_SAVE_SYN): each is told once (TCP_SAVED_SYN). Few ask,
//! so neither a handshake nor a connection has a place for it: they are kept by flow, until the connection is over.

use nic::{Pkt, Pool};

use super::Stack;
use super::entry::Entry;
use crate::demux::Keyed;
use crate::hash::HashKey;
use crate::socket::Result;
use crate::types::{FlowKey, SocketId};
use crate::wire::ethernet;

/// The longest headers that are kept: link, IPv4 or IPv6 with extension headers, TCP with options.
const MOST: usize = 175;
/// SYNs kept at the most; of those beyond nothing is told, as of those that were answered with cookies.
const SYNS: u32 = 1 << 14;
/// TCP_SAVE_SYN: the link's header, too.
const WITH_LINK: u8 = 2;

#[derive(Clone, Copy, Debug)]
struct SavedSyn {
    len: u8,
    bytes: [u8; MOST],
}

impl Default for SavedSyn {
    fn default() -> Self {
        Self { len: 0, bytes: [0; MOST] }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct SavedSyns(Keyed<SavedSyn>);

impl SavedSyns {
    pub(super) fn new(key: HashKey) -> Self {
        Self(Keyed::new(key, SYNS))
    }

    /// The headers in front of the payload of a SYN, `len` bytes from the network's on, as TCP_SAVE_SYN's `mode` wants
    /// them.
    pub(super) fn keep(&mut self, key: &FlowKey, mode: u8, (pool, pkt): (&mut Pool, &mut Pkt), len: usize) {
        let len = if mode == WITH_LINK { len + ethernet::HEADER } else { len };
        if let Some(headers) = pool.headroom_mut(pkt, len) {
            self.arrive(key, headers);
        }
    }

    /// One that was kept, here or in another stack.
    pub(super) fn arrive(&mut self, key: &FlowKey, headers: &[u8]) {
        self.forget(key);
        let mut syn = SavedSyn { len: headers.len() as u8, ..SavedSyn::default() };
        if !headers.is_empty()
            && let Some(room) = syn.bytes.get_mut(..headers.len())
        {
            room.copy_from_slice(headers);
            self.0.insert(key, syn);
        }
    }

    /// The headers of the SYN that began a flow; empty when they are not kept.
    pub(super) fn of(&self, key: &FlowKey) -> &[u8] {
        let syn = if self.0.is_empty() { None } else { self.0.find(key).and_then(|at| self.0.get(at)) };
        syn.map_or(&[], |syn| &syn.bytes[..usize::from(syn.len)])
    }

    /// The flow is over, or its SYN was told.
    #[inline]
    pub(super) fn forget(&mut self, key: &FlowKey) {
        if !self.0.is_empty()
            && let Some(at) = self.0.find(key)
        {
            self.0.remove(at);
        }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Stack {
    /// The headers of the SYN that began a connection (TCP_SAVED_SYN); empty when its listener did not ask for them, or they
    /// were [forgotten](Stack::forget_saved_syn).
    ///
    /// # Errors
    /// `BadSocket`.
    pub fn saved_syn(&self, id: SocketId) -> Result<&[u8]> {
        Ok(begun(self.owned(id)?).map_or(&[], |key| self.saved_syns.of(key)))
    }

    /// They were told.
    pub fn forget_saved_syn(&mut self, id: SocketId) {
        if let Some(key) = self.table.get(id).and_then(begun) {
            self.saved_syns.forget(key);
        }
    }

    /// SYNs whose headers are kept.
    pub fn saved_syns(&self) -> usize {
        self.saved_syns.len()
    }
}

/// The flow of a connection that goes on. Of one that is over nothing is kept, and the same ends may be another's by now.
fn begun(entry: &Entry) -> Option<&FlowKey> {
    entry.connection().filter(|connection| connection.attached).map(|connection| &connection.tcb.flow.key)
}
