//! Fast Open (RFC 7413) as the socket calls have it: TCP_FASTOPEN, TCP_FASTOPEN_CONNECT, MSG_FASTOPEN.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use super::Stack;
use super::connect::again;
use super::entry::{Begin, Body, Entry};
use crate::error::{Fault, SocketError};
use crate::ip::Flow;
use crate::socket::Result;
use crate::socket::stored::Stored;
use crate::tcp::connect;
use crate::tcp::fast_open::{CLIENT, CLIENT_WITHOUT_COOKIE, SERVER};
use crate::tcp::listen::{self, FastOpenAnswer};
use crate::time::Instant;
use crate::types::SocketId;
use crate::wire::tcp::Segment;

/// Of net.ipv4.tcp_fastopen: every listener takes part, with its backlog as the limit.
const EVERY_LISTENER: u32 = 0x400;
/// For so long a connection that was reset while pending still counts (RFC 7413 §5.1; Linux: 60 s).
const RESET_COUNTS: Duration = Duration::from_secs(60);
/// The longest queue of pending ones.
const MOST: usize = 4096;

/// What a listener knows of its Fast Opens.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Connections in use whose handshake is not over.
    open: u32,
    /// Until when those count that were reset.
    resets: VecDeque<Instant>,
}

impl Pending {
    /// Room for what a listener with `limit` can have to remember.
    pub(super) fn reserve(&mut self, limit: usize) {
        let limit = limit.min(MOST);
        self.resets.reserve(limit.saturating_sub(self.resets.len()));
    }

    /// Whether one more may be pending.
    fn has_room(&mut self, limit: usize, now: Instant) -> bool {
        while self.resets.front().is_some_and(|until| *until <= now) {
            self.resets.pop_front();
        }
        self.open as usize + self.resets.len() < limit
    }

    fn over(&mut self, reset: bool, limit: usize, now: Instant) {
        self.open -= 1;
        if reset && self.resets.len() < limit {
            self.resets.push_back(now + RESET_COUNTS);
        }
    }
}

impl Stack {
    /// How many Fast Opens a listener may have pending.
    pub(super) fn fast_open_limit(&self, options: &Stored, backlog: u32) -> usize {
        let mode = self.core.config.tcp.fast_open;
        let asked = usize::try_from(options.kept.fast_open).unwrap_or(0);
        match mode & SERVER != 0 {
            true if asked == 0 && mode & EVERY_LISTENER != 0 => (backlog as usize).min(MOST),
            true => asked.min(MOST),
            false => 0,
        }
    }

    /// What a listener does with the Fast Open option of a SYN.
    pub(super) fn judge_fast_open(
        &mut self,
        now: Instant,
        parent: SocketId,
        seg: &Segment,
        flow: &Flow,
    ) -> FastOpenAnswer {
        let Some((options, listener)) = self.listener(parent) else { return FastOpenAnswer::Plain };
        let backlog = listener.backlog;
        let limit = self.fast_open_limit(&options, backlog);
        if limit == 0 || (seg.options.fast_open.is_none() && seg.len == 0) {
            return FastOpenAnswer::Plain;
        }
        let table_full = self.table.is_full();
        let Some((_, listener)) = self.listener(parent) else { return FastOpenAnswer::Plain };
        if table_full || !listener.fast_open.has_room(limit, now) {
            self.core.stats.tcp_fastopen_listen_overflow += 1;
            return FastOpenAnswer::Plain;
        }
        let answer = listen::fast_open(seg, flow, &mut self.core.env(now, false));
        if matches!(answer, FastOpenAnswer::Open { .. })
            && let Some((_, listener)) = self.listener(parent)
        {
            listener.fast_open.open += 1;
        }
        answer
    }

    /// A connection that was open early is open now, or over.
    pub(super) fn end_fast_open(&mut self, id: SocketId) {
        let Some(connection) = self.table.get_mut(id).and_then(Entry::connection_mut) else { return };
        if connection.begin != Begin::Early {
            return;
        }
        connection.begin = Begin::Over;
        let (reset, now) = (connection.tcb.was_reset(), connection.tcb.heard_at());
        let key = connection.tcb.flow.key;
        let Some(parent) = self.listener_for(&key) else { return };
        let Some((options, listener)) = self.listener(parent) else { return };
        let backlog = listener.backlog;
        let limit = self.fast_open_limit(&options, backlog);
        if let Some((_, listener)) = self.listener(parent)
            && listener.fast_open.open > 0
        {
            listener.fast_open.over(reset, limit, now);
        }
    }

    /// Whether a connect to `remote` has to wait for the first send (TCP_FASTOPEN_CONNECT).
    pub(super) fn defers_connect(&self, options: &Stored, remote: SocketAddr) -> bool {
        options.kept.fast_open_connect && self.may_bring_data(options, remote)
    }

    /// Whether the SYN may bring data.
    fn may_bring_data(&self, options: &Stored, remote: SocketAddr) -> bool {
        let mode = self.core.config.tcp.fast_open;
        let anyway = mode & CLIENT_WITHOUT_COOKIE != 0 || options.kept.fast_open_no_cookie;
        mode & CLIENT != 0 && (anyway || self.core.knows_fast_open(remote.ip()))
    }

    /// MSG_FASTOPEN: connects and sends in one. What the SYN took of the data is answered; `InProgress` when it
    /// took none (there is no cookie yet) and the connection is opened as usual.
    ///
    /// # Errors
    /// As [`connect`](Stack::connect); `NotSupported` when the stack's settings forbid it.
    pub fn send_opening(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: SocketAddr,
        len: usize,
        source: &mut dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault>,
    ) -> Result<usize> {
        if self.core.config.tcp.fast_open & CLIENT == 0 {
            return Err(SocketError::NotSupported);
        }
        let entry = self.owned_mut(id)?;
        match &mut entry.body {
            Body::Datagram(_) => return Err(SocketError::NotSupported),
            Body::Listener(_) => return Err(SocketError::IsConnected),
            Body::Deferred(_) => return Err(SocketError::InProgress),
            Body::Connection(connection) => {
                return Err(again(connection).err().unwrap_or(SocketError::IsConnected));
            }
            Body::Fresh(_) => {}
        }
        self.open_fast(now, id, remote, len, source)
    }

    /// The first send of a socket whose connect was put off.
    pub(super) fn send_deferred(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: SocketAddr,
        len: usize,
        source: &mut dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault>,
    ) -> Result<usize> {
        self.owned_mut(id)?.body = Body::Fresh(None);
        self.open_fast(now, id, remote, len, source)
    }

    pub(super) fn open_fast(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: SocketAddr,
        len: usize,
        source: &mut dyn FnMut(&mut [u8]) -> core::result::Result<usize, Fault>,
    ) -> Result<usize> {
        let options = self.owned(id)?.options.clone();
        let want = if self.may_bring_data(&options, remote) { len } else { 0 };
        let taken = self.open_with(now, id, remote, |tcb, env| connect::open_fast(tcb, want, source, env))?;
        if taken == 0 { Err(SocketError::InProgress) } else { Ok(taken) }
    }
}
