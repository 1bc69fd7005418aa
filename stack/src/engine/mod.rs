//! The stack: frames, calls, control events and the time go in; frames, wake-ups and requests come out.
//!
//! After every input the caller drains the outputs, requests first (a steering request must be in force
//! before the packet that will be answered leaves), then the transmit queues, then the wake-ups.

mod accept;
mod ahead;
mod bereaved;
mod calls;
mod connect;
mod core;
mod datagram;
mod departed;
mod dump;
mod egress;
mod entry;
mod error_queue;
mod estate;
mod family;
mod fast_open;
mod flows;
mod headers;
mod home;
mod icmp;
mod icmp_out;
mod judging;
mod leaving;
mod mates;
mod moving;
mod offering;
mod option_sets;
mod options;
mod parking;
mod pieces;
mod requests;
mod rx;
mod saved_syns;
mod settle;
mod steering;
mod stream;
mod tap;
mod tcp_info;
mod tcp_rx;
mod telling;
mod time_wait;
mod udp_calls;
mod udp_errors;
mod udp_groups;
mod udp_options;
mod udp_recv;
mod udp_rx;
mod udp_send;

use ::core::net::IpAddr;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use nic::Pool;

use crate::config::{Config, Secrets};
use crate::control::{ControlEvent, Request};
use crate::demux::{FlowIndex, FlowTable, Lately, LocalTable};
use crate::hash::HashKey;
use crate::ip::fragments::Fragments;
use crate::journal::Journal;
use crate::policy::{GateSnapshot, Policy, Refusal, Retired, Roads, Successor};
use crate::slab::Slab;
use crate::socket::Wake;
use crate::stats::Stats;
use crate::tcp::challenge::ChallengeLimit;
use crate::time::Instant;
use crate::types::{IfaceId, Readiness, SocketId};
use crate::udp::{Crowds, DatagramTable, FlowCache};
use crate::wheel::Wheel;

use self::core::Core;
use ahead::Glimpse;
use bereaved::Bereaved;
use departed::Departed;
pub use dump::Dump;
pub use egress::TxQueue;
use entry::Entry;
pub use mates::{Holder, Mates, ToMate};
pub use moving::Taker;
use offering::Offers;
use option_sets::OptionSets;
use requests::Requests;
use saved_syns::SavedSyns;
use steering::Steering;
pub use tap::{Arrival, Tap, TapId, Verdict, Way};
pub use telling::Journals;
use time_wait::TimeWaits;

/// Connections in TIME-WAIT at the most (Linux: net.ipv4.tcp_max_tw_buckets, 65,536 on small machines).
const MAX_TIME_WAITS: u32 = 1 << 17;
/// Answers to stray packets (resets, port unreachables) a second, each (Linux: net.ipv4.icmp_msgs_per_sec).
const STRAY_ANSWERS: u32 = 1000;

/// What a key derived from the secret is for: each has its own.
#[derive(Clone, Copy)]
enum Use {
    Flows,
    Locals,
    UdpFlows,
    Requests,
    TimeWaits,
    Shares,
    Fragments,
    SavedSyns,
}

/// A whole stack: one pool, its interfaces, its sockets.
#[derive(Debug)]
pub struct Stack {
    core: Core,
    option_sets: OptionSets,
    table: Slab<Entry>,
    /// Connections by five-tuple.
    flows: FlowIndex,
    /// Where those lie that segments came for lately.
    lately: Lately,
    /// UDP sockets with a peer, likewise.
    peers: FlowTable<SocketId>,
    /// Listeners and UDP sockets without a peer by local end.
    locals: LocalTable<SocketId>,
    wheel: Wheel,
    requests: Requests,
    time_waits: TimeWaits,
    saved_syns: SavedSyns,
    /// Connections that went to other stacks.
    departed: Departed,
    /// Connections that died with other stacks.
    bereaved: Bereaved,
    /// Listeners that leave.
    leavers: Vec<SocketId>,
    /// Listeners in which something waits.
    offers: Offers,
    steering: Steering,
    datagrams: DatagramTable,
    udp_flows: FlowCache,
    /// UDP sockets by the end they are bound to.
    crowds: Crowds,
    /// Which of a crowd gets a flow.
    share_key: HashKey,
    /// The sockets that hear the datagram in hand; kept so that it never allocates.
    hearers: Vec<SocketId>,
    fragments: Fragments,
    wakes: VecDeque<SocketId>,
    /// What is known of the frames of the burst at hand.
    ahead: Vec<Glimpse>,
    /// The one whose turn it is.
    glimpse: Glimpse,
    /// Connections to push when the burst has ended.
    dirty: Vec<SocketId>,
    /// Sends count as part of a burst, too.
    gather: bool,
    /// Senders that found no frame.
    starved: VecDeque<SocketId>,
    resets: ChallengeLimit,
    unreachables: ChallengeLimit,
    orphans: usize,
    /// What connections have carried.
    journal: Journal,
}

impl Stack {
    /// A stack without interfaces or sockets, whose frames are `pool`'s.
    pub fn new(config: Config, pool: Pool, secrets: Secrets) -> Self {
        let key = HashKey::new(secrets.hash_key());
        Self {
            option_sets: OptionSets::new(&config),
            table: Slab::new(config.max_sockets),
            flows: FlowIndex::new(key.derive(Use::Flows as u64)),
            lately: Lately::default(),
            peers: FlowTable::new(key.derive(Use::Flows as u64)),
            locals: LocalTable::new(key.derive(Use::Locals as u64)),
            wheel: Wheel::new(),
            requests: Requests::new(key.derive(Use::Requests as u64), config.max_sockets),
            time_waits: TimeWaits::new(key.derive(Use::TimeWaits as u64), MAX_TIME_WAITS),
            saved_syns: SavedSyns::new(key.derive(Use::SavedSyns as u64)),
            departed: Departed::default(),
            bereaved: Bereaved::default(),
            leavers: Vec::new(),
            offers: Offers::default(),
            steering: Steering::default(),
            datagrams: DatagramTable::new(pool.frames()),
            udp_flows: FlowCache::new(key.derive(Use::UdpFlows as u64), config.max_udp_flows),
            crowds: Crowds::default(),
            share_key: key.derive(Use::Shares as u64),
            hearers: Vec::with_capacity(udp_groups::HEARERS),
            fragments: Fragments::new(key.derive(Use::Fragments as u64), pool.frames()),
            wakes: VecDeque::with_capacity(256),
            ahead: Vec::with_capacity(ahead::DEPTH),
            glimpse: Glimpse::None,
            dirty: Vec::with_capacity(256),
            gather: false,
            starved: VecDeque::new(),
            resets: ChallengeLimit::default(),
            unreachables: ChallengeLimit::default(),
            orphans: 0,
            journal: Journal::default(),
            core: Core::new(config, pool, &secrets),
        }
    }

    /// The frames.
    pub fn pool(&self) -> &Pool {
        &self.core.pool
    }

    /// The frames, for `Nic` calls.
    pub fn pool_mut(&mut self) -> &mut Pool {
        &mut self.core.pool
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.stats.clone();
        self.core.out.count_into(&mut stats);
        stats
    }

    /// Connections that peers have opened so far.
    #[inline]
    pub fn passive_opens(&self) -> u64 {
        self.core.stats.tcp_passive_opens
    }

    /// The control plane changed.
    pub fn control(&mut self, now: Instant, event: ControlEvent) {
        let mut failed = Vec::new();
        let routes = self.core.out.control.generation();
        self.core.out.apply(&mut self.core.pool, event, &mut |flow, seq| failed.push((flow, seq)));
        if self.core.out.control.generation() != routes {
            self.core.path_mtus_mut().touch();
        }
        for (flow, seq) in failed {
            self.neighbour_failed(now, &flow, seq);
        }
    }

    /// Puts a policy in force; every flow is judged anew at its next packet.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.core.out.gate.swap(policy);
    }

    /// The policy in force.
    pub fn policy_in_force(&self) -> &Arc<Policy> {
        self.core.out.gate.policy()
    }

    /// The names of the interfaces that this stack drives, as the policy is asked with them.
    pub fn roads(&self) -> &Arc<Roads> {
        self.core.out.gate.roads()
    }

    /// Keeps the sources of flows that rules limit in words that other stacks share, who have the same key:
    /// [`LIMIT_WORDS`](crate::policy::LIMIT_WORDS), all zero at first.
    pub fn share_limits(&mut self, key: [u8; 16], words: &'static [AtomicU64]) {
        self.core.out.gate.share_limits(HashKey::new(key), words);
    }

    /// Whether the gate has refused something that nobody was told of.
    #[inline]
    pub fn has_refusals(&self) -> bool {
        self.core.out.gate.has_refusals()
    }

    /// Moves what the gate refused lately to `into`. How many more there were that were only counted.
    pub fn take_refusals(&mut self, into: &mut Vec<Refusal>) -> u64 {
        self.core.out.gate.take_refusals(into)
    }

    /// How many policies were in force, this one included.
    pub fn policy_generation(&self) -> u32 {
        self.core.out.gate.policies()
    }

    /// As [`Stack::set_policy`], when what takes long was done before. Drop what comes back where time matters less.
    pub fn succeed_policy(&mut self, next: Successor) -> Retired {
        self.core.out.gate.succeed(next)
    }

    /// What the policy's rules have counted.
    pub fn policy(&self) -> GateSnapshot {
        self.core.out.gate.snapshot()
    }

    /// Whether packets for this address of the host can arrive on an interface of this stack; true for the
    /// unspecified address.
    pub fn serves(&self, local: IpAddr) -> bool {
        let local = local.to_canonical();
        // A socket bound to a group hears what it joins.
        local.is_unspecified() || local.is_multicast() || self.core.out.control.is_on_a_road(local)
    }

    /// The frames that wait to be sent on `iface`, oldest first, and the pool to hand them to a `Nic` with.
    /// A frame that the NIC gives back goes to the front again. `None` for an interface never told of.
    pub fn tx_queue(&mut self, iface: IfaceId) -> Option<(&mut Pool, &mut TxQueue)> {
        let queue = self.core.out.queue(iface)?;
        Some((&mut self.core.pool, queue))
    }

    /// When [`expire`](Stack::expire) is due next; [`Instant::NEVER`] when nothing waits.
    pub fn next_deadline(&self) -> Instant {
        let sockets = self.wheel.next_deadline().unwrap_or(Instant::NEVER);
        let sockets = sockets.min(self.requests.next_deadline()).min(self.core.path_mtus().next_deadline());
        let sockets = sockets.min(self.time_waits.next_deadline()).min(self.departed.next_deadline());
        let sockets = sockets.min(self.leavers_deadline()).min(self.offers.next_deadline());
        sockets.min(self.fragments.next_deadline()).min(self.core.out.next_deadline())
    }

    /// Runs what is due at `now`. Early and needless calls are harmless.
    pub fn expire(&mut self, now: Instant) {
        while let Some(index) = self.wheel.pop_due(now) {
            if let Some(id) = self.table.id_at(index) {
                self.fire(now, id);
            }
        }
        self.core.path_mtus_mut().expire(now);
        while let Some(at) = self.requests.pop_due(now) {
            self.retry_request(now, at);
        }
        while let Some(over) = self.time_waits.expire(now) {
            self.unsteer_flow(over.steered, over.key);
        }
        self.expire_departed(now);
        self.expire_leavers(now);
        self.expire_offers(now);
        self.give_up_pieces(now);
        self.core.out.expire(&mut self.core.pool, now);
        self.deliver_home(now);
    }

    /// The next thing asked of the control plane. To be drained before the transmit queues.
    pub fn next_request(&mut self) -> Option<Request> {
        self.core.out.requests.pop_front()
    }

    /// The next socket whose readiness rose. One entry a socket, however often it rose meanwhile.
    pub fn next_wake(&mut self) -> Option<Wake> {
        self.relieve();
        loop {
            let id = self.wakes.pop_front()?;
            let Some(entry) = self.table.get_mut(id) else { continue };
            entry.waking = false;
            let (cookie, owned) = (entry.cookie, entry.is_owned());
            let urgent = entry.connection_mut().is_some_and(|c| std::mem::take(&mut c.urgent));
            if owned {
                let event = if urgent { Readiness::URG } else { Readiness::NONE };
                return Some(Wake { id, cookie, readiness: self.readiness(id) | event });
            }
        }
    }

    /// Connections that the application has closed and that still have data or a FIN to deliver (not
    /// TIME-WAIT). A process waits a bounded time for these when it exits.
    pub fn orphans(&self) -> usize {
        self.orphans
    }

    /// Whether anything is left to do without the application: orphans, or frames queued for sending.
    pub fn busy(&self) -> bool {
        self.orphans > 0 || self.core.out.is_waiting()
    }
}

impl Drop for Stack {
    /// Books every frame back, so that what the stack leaves behind is a pool without owners. Nothing is sent:
    /// that is [`reset_all`](Stack::reset_all)'s.
    fn drop(&mut self) {
        let ids: Vec<SocketId> = self.table.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.unbind_udp(id);
            self.remove(id);
        }
        self.fragments.clear(&mut self.core.pool);
        self.departed.clear(&mut self.core.pool);
        self.core.out.clear(&mut self.core.pool);
    }
}
