//! What a conductor may touch besides its `Tcb`.

use nic::Pool;

use super::challenge::ChallengeLimit;
use super::fast_open::FastOpen;
use super::isn::Isn;
use super::segs::SegTable;
use super::syn_cookies::SynCookies;
use crate::config::TcpConfig;
use crate::hash::HashKey;
use crate::ip::Egress;
use crate::ip::path_mtu::PathMtus;
use crate::stats::Stats;
use crate::time::Instant;

/// What all connections of a stack share.
#[derive(Debug)]
pub struct Shared {
    /// Initial sequence numbers and timestamp offsets.
    pub isn: Isn,
    /// What is known of the paths to peers (RFC 1191, RFC 8201).
    pub paths: PathMtus,
    /// Fast Open's cookies (RFC 7413).
    pub fast_open: FastOpen,
    /// SYN cookies (RFC 4987).
    pub cookies: SynCookies,
    /// The budget of challenge ACKs (RFC 5961 §10).
    pub challenge: ChallengeLimit,
}

impl Shared {
    /// State for a stack whose secret is `secret`: random, never told.
    pub fn new(secret: &HashKey) -> Self {
        Self {
            isn: Isn::new(secret),
            paths: PathMtus::default(),
            fast_open: FastOpen::new(secret),
            cookies: SynCookies::new(secret),
            challenge: ChallengeLimit::default(),
        }
    }
}

/// The surroundings of a connection during one call.
#[derive(Debug)]
pub struct Env<'a, E: Egress> {
    /// The time. Never earlier than in the call before.
    pub now: Instant,
    /// Frames.
    pub pool: &'a mut Pool,
    /// Queued segments, by frame.
    pub segs: &'a mut SegTable,
    /// The way out.
    pub egress: &'a mut E,
    /// Counters.
    pub stats: &'a mut Stats,
    /// Limits.
    pub config: &'a TcpConfig,
    /// What connections share.
    pub shared: &'a mut Shared,
    /// More follows in this turn: an ACK of in-order data and a last short segment may wait for
    /// [`push`](super::output::push), which the caller promises to call before the turn ends.
    pub burst: bool,
}
