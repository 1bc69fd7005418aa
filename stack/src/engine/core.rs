//! What every protocol borrows while it handles one input.

use nic::Pool;

use super::egress::Output;
use crate::config::{Config, Secrets};
use crate::hash::HashKey;
use crate::ip::path_mtu::PathMtus;
use crate::stats::Stats;
use crate::tcp::{Env, SegTable, Shared};
use crate::time::Instant;
use crate::types::FlowKey;
use crate::wire::tcp::Segment;

/// Frames, the way out, counters and limits: everything but the sockets.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) pool: Pool,
    pub(super) segs: SegTable,
    pub(super) out: Output,
    pub(super) stats: Stats,
    pub(super) config: Config,
    shared: Shared,
    /// The time of the last step of a connection.
    pub(super) seen: Instant,
}

impl Core {
    pub(super) fn new(config: Config, pool: Pool, secrets: &Secrets) -> Self {
        Self {
            segs: SegTable::new(pool.frames()),
            out: Output::new(&pool, HashKey::new(secrets.hash_key()).derive(3), config.sockets.auto_labels),
            stats: Stats::default(),
            shared: Shared::new(&HashKey::new(secrets.isn_key())),
            seen: Instant::ZERO,
            pool,
            config,
        }
    }

    /// The surroundings of a connection. `burst`: more frames follow, see [`Env::burst`].
    #[inline]
    pub(super) fn env(&mut self, now: Instant, burst: bool) -> Env<'_, Output> {
        self.seen = now;
        Env {
            now,
            pool: &mut self.pool,
            segs: &mut self.segs,
            egress: &mut self.out,
            stats: &mut self.stats,
            config: &self.config.tcp,
            shared: &mut self.shared,
            burst,
        }
    }

    /// What is known of paths.
    pub(super) fn path_mtus(&self) -> &PathMtus {
        &self.shared.paths
    }

    /// As [`Core::path_mtus`], for change.
    pub(super) fn path_mtus_mut(&mut self) -> &mut PathMtus {
        &mut self.shared.paths
    }

    /// A router takes no more than `mtu` bytes of packets to `peer`, whose first link takes `link`.
    pub(super) fn narrow(&mut self, peer: core::net::IpAddr, mtu: u16, link: u16, now: Instant) {
        let paths = &mut self.shared.paths;
        if let Some(mtu) = PathMtus::judge(peer, mtu, paths.limit(peer, link, now)) {
            paths.learn(peer, mtu, now);
        }
    }

    /// The peer's segment size, when `ack` brings a cookie back that we gave it lately.
    pub(super) fn read_cookie(&self, flow: &FlowKey, ack: &Segment, now: Instant) -> Option<u16> {
        self.shared.cookies.read(flow, ack, now)
    }

    /// Whether a server gave a cookie for Fast Open.
    pub(super) fn knows_fast_open(&self, server: core::net::IpAddr) -> bool {
        self.shared.fast_open.knows(server)
    }

    /// Frames that senders must leave alone, so that there are always some to receive into and to answer with.
    #[inline]
    fn reserve(&self) -> usize {
        self.pool.frames() as usize / 8
    }

    /// Frames that a sender may take now.
    #[inline]
    pub(super) fn spare_frames(&self) -> usize {
        self.pool.available().saturating_sub(self.reserve())
    }

    /// Whether so many frames are free again that senders who found none should try again.
    #[inline]
    pub(super) fn is_relieved(&self) -> bool {
        self.spare_frames() >= self.reserve()
    }

    /// Whether so few frames are free that there are none to answer with. An answer holds its frame for as long as
    /// the NIC takes to send it: those who hold all others cannot keep new peers out.
    #[inline]
    pub(super) fn cannot_answer(&self) -> bool {
        self.pool.available() < self.reserve() / 8
    }

    /// Whether so few frames are free that received data may not even begin a queue: the rest is for those who send.
    #[inline]
    pub(super) fn is_drained(&self) -> bool {
        self.pool.available() < self.reserve() / 4
    }

    /// Whether so few frames are free that queues of received data may not grow. This is the case before a
    /// NIC finds none to receive into (a sixteenth is what drivers leave): ACKs must go on coming in.
    #[inline]
    pub(super) fn is_exhausted(&self) -> bool {
        self.pool.available() < self.reserve() / 4 * 3
    }
}
