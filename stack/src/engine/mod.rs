//! The stack: frames, calls, control events and the time go in; frames, wake-ups and requests come out.
//!
//! After every input the caller drains the outputs, requests first (a steering request must be in force
//! before the packet that will be answered leaves), then the transmit queues, then the wake-ups.

mod calls;

use core::net::IpAddr;
use std::collections::VecDeque;

use nic::{Pool, RxFrame, TxPkt};

use crate::config::{Config, Secrets};
use crate::control::{ControlEvent, Request};
use crate::socket::{SocketInfo, Wake};
use crate::stats::Stats;
use crate::time::Instant;
use crate::types::{IfaceId, SocketId};

/// Frames that wait for a NIC. Its capacity is reserved when the interface appears and never grows.
pub type TxQueue = VecDeque<TxPkt>;

/// A whole stack: one pool, its interfaces, its sockets.
pub struct Stack {
    pool: Pool,
    config: Config,
    stats: Stats,
    secrets: Secrets,
    queues: Vec<(IfaceId, TxQueue)>,
    requests: VecDeque<Request>,
    wakes: VecDeque<SocketId>,
}

impl Stack {
    /// A stack without interfaces or sockets, whose frames are `pool`'s.
    pub fn new(config: Config, pool: Pool, secrets: Secrets) -> Self {
        Self {
            pool,
            config,
            stats: Stats::default(),
            secrets,
            queues: Vec::new(),
            requests: VecDeque::new(),
            wakes: VecDeque::new(),
        }
    }

    /// The frames.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The frames, for `Nic` calls.
    pub fn pool_mut(&mut self) -> &mut Pool {
        &mut self.pool
    }

    /// What happened so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The control plane changed.
    pub fn control(&mut self, now: Instant, event: ControlEvent) {
        let _ = (now, event);
    }

    /// The address to send from to `remote`, when the way there leaves by an interface of this stack; `None`
    /// when it does not (another interface, an address of the host itself): such traffic is the kernel's.
    pub fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let _ = remote;
        None
    }

    /// Whether packets for this address of the host can arrive on an interface of this stack; true for the
    /// unspecified address.
    pub fn serves(&self, local: IpAddr) -> bool {
        let _ = local;
        false
    }

    /// A frame arrived on `iface`. It is always taken: queued on a socket or freed.
    pub fn rx(&mut self, now: Instant, iface: IfaceId, frame: RxFrame) {
        let _ = (now, iface);
        self.stats.rx_frames += 1;
        self.pool.free(frame.pkt);
    }

    /// The frames that wait to be sent on `iface`, oldest first, and the pool to hand them to a `Nic` with.
    /// A frame that the NIC gives back goes to the front again. `None` for an interface never told of.
    pub fn tx_queue(&mut self, iface: IfaceId) -> Option<(&mut Pool, &mut TxQueue)> {
        let (_, queue) = self.queues.iter_mut().find(|(i, _)| *i == iface)?;
        Some((&mut self.pool, queue))
    }

    /// When [`expire`](Stack::expire) is due next; [`Instant::NEVER`] when nothing waits.
    pub fn next_deadline(&self) -> Instant {
        Instant::NEVER
    }

    /// Runs what is due at `now`.
    pub fn expire(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next thing asked of the control plane. To be drained before the transmit queues.
    pub fn next_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// The next socket whose readiness rose. One entry a socket, however often it rose meanwhile.
    pub fn next_wake(&mut self) -> Option<Wake> {
        let id = self.wakes.pop_front()?;
        Some(Wake { id, cookie: self.cookie(id).ok()?, readiness: self.readiness(id) })
    }

    /// Every socket, for `ringroad stat`. Linear; not for the packet path.
    pub fn sockets(&self) -> impl Iterator<Item = SocketInfo> + '_ {
        core::iter::empty()
    }

    /// Connections that the application has closed and that still have data or a FIN to deliver (not
    /// TIME-WAIT). A process waits a bounded time for these when it exits.
    pub fn orphans(&self) -> usize {
        0
    }

    /// Whether anything is left to do without the application: orphans, or frames queued for sending.
    pub fn busy(&self) -> bool {
        self.orphans() > 0 || self.queues.iter().any(|(_, q)| !q.is_empty())
    }

    /// Resets every connection (the process dies): one RST each, then no sockets are left.
    pub fn reset_all(&mut self, now: Instant) {
        let _ = (now, &self.config, &self.secrets);
    }
}
