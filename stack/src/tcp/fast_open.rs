//! Fast Open (RFC 7413): cookies that a server gives and takes, and those that a client was given.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use crate::hash::{FlowWords, HashKey};
use crate::time::Instant;
use crate::types::FlowKey;
use crate::wire::tcp::FastOpenCookie;

/// Bits of net.ipv4.tcp_fastopen: clients may ask, servers may give, clients need no cookie.
pub const CLIENT: u32 = 0x1;
/// See [`CLIENT`].
pub const SERVER: u32 = 0x2;
/// See [`CLIENT`].
pub const CLIENT_WITHOUT_COOKIE: u32 = 0x4;
/// Servers take data of whoever sends it.
pub const SERVER_WITHOUT_COOKIE: u32 = 0x200;

/// How long a server's key is used; the one before is still taken (RFC 7413 §4.1.2 asks for a change from time
/// to time).
const KEY_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Servers whose cookies a client remembers; the first learnt makes room.
const ROOM: usize = 1024;

/// What a server thinks of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is of now.
    Good,
    /// It was made with the last key: good, and time for another.
    Old,
    /// It is no cookie of ours for this peer.
    Wrong,
}

/// Cookies, given and kept.
#[derive(Debug)]
pub struct FastOpen {
    key: HashKey,
    kept: HashMap<IpAddr, Kept>,
    order: VecDeque<IpAddr>,
}

/// What a client knows of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) cookie: FastOpenCookie,
    /// The MSS that it announced (RFC 7413 §4.1.3).
    pub(super) mss: u16,
}

impl FastOpen {
    /// Derives its key from the stack's secret.
    pub fn new(secret: &HashKey) -> Self {
        Self { key: secret.derive(0x5), kept: HashMap::new(), order: VecDeque::new() }
    }

    /// The cookie for the peer of a flow.
    pub(super) fn cookie(&self, flow: &FlowKey, now: Instant) -> FastOpenCookie {
        self.cookie_of(flow, period(now))
    }

    /// Judges a cookie that came with a SYN.
    pub(super) fn take(&self, flow: &FlowKey, cookie: &FastOpenCookie, now: Instant) -> Taken {
        let period = period(now);
        if *cookie == self.cookie_of(flow, period) {
            Taken::Good
        } else if period > 0 && *cookie == self.cookie_of(flow, period - 1) {
            Taken::Old
        } else {
            Taken::Wrong
        }
    }

    /// Both addresses under the key of a period; ports are no part of it.
    fn cookie_of(&self, flow: &FlowKey, period: u64) -> FastOpenCookie {
        let mut ends = *flow;
        ends.local.set_port(0);
        ends.remote.set_port(0);
        let hash = FlowWords::new(&ends).strong_hash_with(&self.key, period);
        FastOpenCookie::new(&hash.to_be_bytes()).unwrap_or_default()
    }

    /// What is kept of a server that gave a cookie.
    pub(super) fn of(&self, server: IpAddr) -> Option<Kept> {
        self.kept.get(&server).copied().filter(|kept| !kept.cookie.is_request())
    }

    /// Whether a SYN to `server` may carry data.
    pub fn knows(&self, server: IpAddr) -> bool {
        self.of(server).is_some()
    }

    /// Takes the memory that [`FastOpen::learn`] will need: a call does, not a packet.
    pub(super) fn make_room(&mut self) {
        if self.order.capacity() == 0 {
            self.kept.reserve(ROOM + 1);
            self.order.reserve(ROOM + 1);
        }
    }

    /// A server gave a cookie.
    pub(super) fn learn(&mut self, server: IpAddr, kept: Kept) {
        if self.kept.insert(server, kept).is_some() {
            return;
        }
        self.order.push_back(server);
        if self.order.len() > ROOM
            && let Some(first) = self.order.pop_front()
        {
            self.kept.remove(&first);
        }
    }

    /// The network lost a SYN with data: the next one goes without (RFC 7413 §4.1.3.1).
    pub(super) fn forget(&mut self, server: IpAddr) {
        if let Some(kept) = self.kept.get_mut(&server) {
            kept.cookie = FastOpenCookie::REQUEST;
        }
    }
}

fn period(now: Instant) -> u64 {
    now.as_nanos() / KEY_LIFE.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Protocol;

    fn flow(remote: [u8; 4], port: u16) -> FlowKey {
        let (local, remote) = (([10, 0, 0, 1], 80).into(), (remote, port).into());
        FlowKey { protocol: Protocol::Tcp, local, remote }
    }

    #[test]
    fn a_cookie_is_of_an_address_and_for_a_time() {
        let fast_open = FastOpen::new(&HashKey::new([1; 16]));
        let hours = |h: u64| Instant::from_millis(h * 3_600_000);
        let cookie = fast_open.cookie(&flow([10, 0, 0, 2], 1), hours(13));
        assert_eq!(cookie.as_slice().len(), 8);
        assert_eq!(fast_open.take(&flow([10, 0, 0, 2], 9), &cookie, hours(23)), Taken::Good);
        assert_eq!(fast_open.take(&flow([10, 0, 0, 2], 9), &cookie, hours(35)), Taken::Old);
        assert_eq!(fast_open.take(&flow([10, 0, 0, 2], 9), &cookie, hours(36)), Taken::Wrong);
        assert_eq!(fast_open.take(&flow([10, 0, 0, 3], 1), &cookie, hours(13)), Taken::Wrong);
        assert_eq!(fast_open.take(&flow([10, 0, 0, 2], 1), &FastOpenCookie::REQUEST, hours(1)), Taken::Wrong);
    }

    #[test]
    fn what_a_client_keeps_is_bounded() {
        let mut fast_open = FastOpen::new(&HashKey::new([1; 16]));
        fast_open.make_room();
        let server = |n: u32| IpAddr::from(n.to_be_bytes());
        let kept = Kept { cookie: FastOpenCookie::new(&[1; 8]).unwrap(), mss: 1460 };
        for n in 0..3 * ROOM as u32 {
            fast_open.learn(server(n), kept);
        }
        assert_eq!((fast_open.kept.len(), fast_open.order.len()), (ROOM, ROOM));
        let last = server(3 * ROOM as u32 - 1);
        assert_eq!(fast_open.of(last), Some(kept));
        fast_open.forget(last);
        assert!(!fast_open.knows(last));
        fast_open.learn(last, kept);
        assert!(fast_open.knows(last));
        assert_eq!((fast_open.kept.len(), fast_open.order.len()), (ROOM, ROOM));
    }
}
