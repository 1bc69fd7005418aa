//! What the lock guards: the stack, its interfaces, and what its outputs turn into.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use nic::{Burst, Doorbell, Nic};
use stack::control::{ControlEvent, Request};
use stack::engine::Stack;
use stack::journal::News;
use stack::time::Instant;
use stack::types::{FlowKey, IfaceId};

use super::bell::Bell;
use super::crew::Crew;
use super::handover::Handover;
use super::mates::Exchange;
use super::pulse::Pulse;
use super::sleepers::SleeperId;
use super::steer::Steer;
use super::vlans::Vlans;
use super::wards::Wards;
use super::{API_COOKIE, Sleepers, WakeObserver, now};

/// Frames taken from an interface at a time.
const BURST: usize = 64;
/// Frames and gathered sends that ring the doorbell without waiting for the application's next wait.
const RING_AFTER_FRAMES: usize = 32;
/// Kicks in a row before the rest is left to the next turn.
const KICKS: usize = 16;

/// An application that has not waited for this long may not do so soon: its frames do not wait for it.
const AWAY: Duration = Duration::from_millis(1);
/// A full ring is tried again after this long.
const RETRY: Duration = Duration::from_millis(1);
/// Turns for which frames do not wait, after some had waited in vain.
const AT_ONCE: u32 = 256;

/// Connection requests that the stack is ready for at each of its turns, besides those that became connections: a
/// flood of SYNs cannot take more of its time than these cost, and an application that does little else gets nearly all.
const SYNS_A_TURN: u64 = 8;

/// An interface that the stack drives.
pub(crate) struct Link {
    pub(crate) iface: IfaceId,
    /// Frames come with their VLAN tags, unless its NIC takes those off.
    pub(crate) sees_tags: bool,
    pub(crate) nic: Box<dyn Nic>,
}

/// What the lock guards.
pub(crate) struct Core {
    pub(crate) stack: Stack,
    pub(crate) links: Vec<Link>,
    vlans: Vlans,
    pub(crate) steer: Box<dyn Steer>,
    pub(crate) observer: Option<Box<dyn WakeObserver>>,
    pub(crate) sleepers: Sleepers,
    /// Neighbours that somebody should resolve.
    pub(crate) unresolved: Vec<Request>,
    /// Wakes the helper thread.
    pub(crate) helper: Option<Bell>,
    /// The helper sleeps until it is alerted.
    pub(crate) helper_dozes: bool,
    /// The port is given back: the rings are not ours to touch.
    pub(crate) stopped: bool,
    /// What goes to other processes, and comes from them.
    pub(super) handover: Handover,
    /// What this process, which is the keeper then, holds for others.
    pub(super) wards: Wards,
    /// Frames to the other stacks of the port, and from them.
    pub(super) mates: Option<Exchange>,
    /// What moves octets for processes without a stack.
    pub(super) crew: Crew,
    /// The process is the keeper of its port.
    pub(super) keeps: bool,
    /// Flows of what this process was before it became another program.
    pub(super) deserted: Vec<FlowKey>,
    /// Peers of dead connections are being told.
    pub(super) bereaved: bool,
    /// What the helper reads without the lock.
    pub(crate) pulse: Arc<Pulse>,
    burst: Burst,
    /// Frames in the rings that no kick has covered.
    unkicked: usize,
    /// A ring had no room for all frames.
    backlog: bool,
    /// How long frames may wait for company.
    hold: Duration,
    /// Since when some do.
    held_since: Option<Instant>,
    /// Turns for which frames do not wait: the application was slow to come back.
    at_once: u32,
    last_poll: Instant,
    /// Turns so far.
    pub(super) turns: u64,
    /// Connections that peers have opened, as of the last turn.
    opened: u64,
}

impl Core {
    pub(crate) fn new(mut stack: Stack, links: Vec<Link>, steer: Box<dyn Steer>, hold: Duration) -> Self {
        // Small writes may share a segment where frames may wait at all.
        stack.set_gather(!hold.is_zero());
        Self {
            stack,
            links,
            vlans: Vlans::default(),
            steer,
            observer: None,
            sleepers: Sleepers::default(),
            unresolved: Vec::new(),
            helper: None,
            helper_dozes: false,
            stopped: false,
            handover: Handover::default(),
            wards: Wards::default(),
            mates: None,
            crew: Crew::default(),
            keeps: false,
            deserted: Vec::new(),
            bereaved: false,
            pulse: Arc::default(),
            burst: Burst::with_capacity(BURST),
            unkicked: 0,
            backlog: false,
            hold,
            held_since: None,
            at_once: 0,
            last_poll: Instant::ZERO,
            turns: 0,
            opened: 0,
        }
    }

    /// A turn of the application: [`Core::turn`], noted.
    #[inline]
    pub(crate) fn poll(&mut self, now: Instant) {
        self.last_poll = now;
        self.pulse.polls(now);
        self.turn(now);
    }

    /// One turn: receive, timers, outputs, doorbell.
    pub(crate) fn turn(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        self.turns += 1;
        for at in 0..self.links.len() {
            let link = &mut self.links[at];
            let iface = link.iface;
            link.nic.reap(self.stack.pool_mut());
            link.nic.rx(self.stack.pool_mut(), &mut self.burst, BURST);
            if !self.burst.is_empty() {
                if self.keeps {
                    // Whoever led a flow here had written of it before.
                    self.read_letters(now);
                }
                if self.vlans.is_empty() {
                    self.stack.rx_burst(now, iface, &mut self.burst);
                } else {
                    self.vlans.receive(&mut self.stack, now, iface, &mut self.burst);
                }
            }
        }
        self.hear_mates(now);
        self.grant();
        if self.stack.next_deadline() <= now {
            self.stack.expire(now);
            if self.stack.has_offers() {
                self.offer(now);
            }
        }
        self.flush(now);
        if self.backlog {
            // The doorbell has made room.
            self.drain();
            self.ring();
        }
    }

    /// Takes what other stacks of the port have sent.
    #[inline]
    fn hear_mates(&mut self, now: Instant) {
        let Some(mates) = &mut self.mates else { return };
        if !mates.receive(&mut self.stack) {
            return;
        }
        if self.keeps {
            self.read_letters(now);
        }
        if let Some(mates) = &mut self.mates {
            mates.deliver(now, &mut self.stack);
        }
    }

    /// A turn ends: the other stacks are told whether anybody sleeps on what they ring.
    #[inline]
    pub(super) fn tell_mates(&mut self) {
        if let Some(mates) = &mut self.mates {
            mates.attend(self.sleepers.led());
        }
    }

    /// A sleeper is back. True when its bell was rung: it has to be silenced.
    pub(super) fn woke(&mut self, id: SleeperId) -> bool {
        if self.sleepers.leads(id)
            && let Some(mates) = &mut self.mates
        {
            // Whatever woke it: the next sleep begins anew.
            mates.rise();
        }
        self.sleepers.woke(id)
    }

    /// What is polled by whoever sleeps on the interfaces.
    pub(super) fn wait_fds(&self) -> impl Iterator<Item = RawFd> {
        let links = self.links.iter().flat_map(|link| link.nic.wait_fds()).copied();
        links.chain(self.mates.iter().map(Exchange::fd))
    }

    /// Says how many more connection requests may come. Those that were answered by their peers are no flood.
    #[inline]
    fn grant(&mut self) {
        let opened = self.stack.passive_opens();
        self.steer.grant(SYNS_A_TURN + (opened - self.opened));
        self.opened = opened;
    }

    /// The gate refused something, or that of another process of the port did: the helper looks.
    pub(super) fn refuses(&self) {
        if self.pulse.refuses()
            && let Some(bell) = &self.helper
        {
            bell.ring();
        }
    }

    /// Carries out what the stack asks: requests, then frames, then wake-ups.
    #[inline]
    pub(crate) fn drain(&mut self) {
        while let Some(request) = self.stack.next_request() {
            self.request(request);
        }
        self.steer.depart(&mut self.stack.departed());
        if self.stack.has_refusals() {
            self.refuses();
        }
        let news = self.stack.news();
        if news != News::None
            && self.pulse.stirs(news)
            && let Some(bell) = &self.helper
        {
            bell.ring();
        }
        self.backlog = false;
        self.vlans.transmit(&mut self.stack);
        for at in 0..self.links.len() {
            self.transmit(at);
        }
        if let Some(mates) = &mut self.mates {
            let unknown = mates.send(&mut self.stack);
            unknown.into_iter().for_each(|slot| self.handover.ring(slot));
        }
        let mut pumped = false;
        while let Some(wake) = self.stack.next_wake() {
            pumped |= self.crew.woken(wake.id);
            if wake.cookie & API_COOKIE != 0 {
                self.sleepers.notify(wake.cookie);
            } else if let Some(observer) = &mut self.observer {
                observer.woken(wake.id, wake.cookie, wake.readiness, &mut self.sleepers);
            }
        }
        if pumped {
            self.call_crew();
        }
    }

    /// The helper has a pump to drive.
    pub(super) fn call_crew(&mut self) {
        self.pulse.pumps_at(Instant::ZERO);
        if let Some(bell) = &self.helper {
            bell.ring();
        }
    }

    /// The kernel's control plane changed.
    pub(crate) fn control(&mut self, now: Instant, mut event: ControlEvent) {
        if !self.vlans.follow(&mut event, BURST) {
            return;
        }
        if let ControlEvent::IfaceBack { before, now } = event {
            self.links.iter_mut().filter(|link| link.iface == before).for_each(|link| link.iface = now);
        }
        if let Err(error) = self.steer.control(&event) {
            tracing::warn!(?event, %error, "steering");
        }
        self.stack.control(now, event);
    }

    /// Has the peers of connections that died with another process show themselves, and takes what they answer at once:
    /// if all of many were asked first, the ring would have no room for the last ones' answers, and so each time.
    pub(super) fn provoke(&mut self, flows: &[FlowKey]) {
        self.bereaved = true;
        for some in flows.chunks(BURST) {
            let now = now();
            some.iter().for_each(|key| self.stack.provoke(now, *key));
            self.flush(now);
            self.turn(now);
        }
    }

    /// The flow of a connection that died with another process leads here no longer, unless a new connection has its
    /// ends meanwhile: that would be led elsewhere, and its peer not told when we die.
    pub(super) fn lead_no_longer(&mut self, key: FlowKey) {
        if self.stack.knows(&key) {
            return;
        }
        if let Err(error) = self.steer.steer(&Request::UnsteerFlow(key)) {
            tracing::warn!(?key, %error, "steering");
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Neighbour { .. } => {
                self.unresolved.push(request);
                self.pulse.ask();
                if let Some(bell) = &self.helper {
                    bell.ring();
                }
            }
            _ => {
                if let Err(error) = self.steer.steer(&request) {
                    tracing::warn!(?request, %error, "steering");
                }
            }
        }
    }

    fn transmit(&mut self, at: usize) {
        if self.stopped {
            return;
        }
        let link = &mut self.links[at];
        let Some((pool, queue)) = self.stack.tx_queue(link.iface) else { return };
        let mut kicked = false;
        while let Some(frame) = queue.pop_front() {
            match link.nic.tx(pool, frame) {
                Ok(()) => {
                    self.unkicked += 1;
                    kicked = false;
                }
                Err(frame) => {
                    queue.push_front(frame);
                    if std::mem::replace(&mut kicked, true) {
                        self.backlog = true;
                        return;
                    }
                    link.nic.kick(pool);
                }
            }
        }
    }

    /// Rings the doorbells when something waits for it.
    #[inline]
    pub(crate) fn ring(&mut self) {
        if self.held_since.take().is_some() {
            self.pulse.holds_none();
        }
        if self.unkicked == 0 {
            return;
        }
        self.unkicked = 0;
        for link in &mut self.links {
            let mut kicks = 0;
            while link.nic.kick(self.stack.pool_mut()) == Doorbell::Needed {
                kicks += 1;
                if kicks == KICKS {
                    self.unkicked += 1;
                    break;
                }
            }
        }
    }

    /// Sends all there is, and rings.
    #[inline]
    pub(crate) fn flush(&mut self, now: Instant) {
        self.stack.push(now);
        self.drain();
        self.ring();
    }

    /// The end of a turn: as [`Core::flush`], unless the caller will most likely wait soon and flush then.
    #[inline]
    pub(crate) fn flush_if_due(&mut self, now: Instant) {
        // No frame of these waits for a doorbell: their receivers are here.
        self.stack.deliver_home(now);
        self.drain();
        let waiting = self.stack.gathered() + self.unkicked;
        if waiting == 0 {
            return;
        }
        let since = *self.held_since.get_or_insert(now);
        let soon = self.at_once == 0 && now.since(self.last_poll) < AWAY && now.since(since) < self.hold;
        if soon && waiting < RING_AFTER_FRAMES {
            self.pulse.holds(since);
        } else {
            self.at_once = self.at_once.saturating_sub(1);
            self.flush(now);
        }
    }

    /// The helper found frames that had waited too long: the application is not one that soon waits.
    pub(crate) fn flush_overdue(&mut self, now: Instant) {
        self.at_once = AT_ONCE;
        self.flush(now);
    }

    /// Whoever drives the stack is about to sleep.
    pub(crate) fn rest(&mut self) {
        for link in &mut self.links {
            link.nic.rest(self.stack.pool_mut());
        }
    }

    /// When a thread that watches the interfaces has to look again at the latest.
    pub(crate) fn wake_at(&self, now: Instant) -> Instant {
        let deadline = self.stack.next_deadline();
        // A ring that was full when the doorbell rang last is tried again soon: nothing announces room.
        if self.unkicked == 0 && !self.backlog { deadline } else { deadline.min(now + RETRY) }
    }

    /// When whoever sleeps on the interfaces has to look at the latest: for the stack's timers, and for frames that
    /// wait for company, since the application may be gone for long.
    #[inline]
    pub(crate) fn due(&self, now: Instant) -> Instant {
        let deadline = self.stack.next_deadline();
        if self.held_since.is_some() { deadline.min(now + RETRY) } else { deadline }
    }

    /// Whether anything can happen without a call of the application.
    pub(crate) fn lives(&self) -> bool {
        self.bereaved
            || self.unkicked > 0
            || self.stack.next_deadline() != Instant::NEVER
            || !self.stack.is_empty()
    }

    /// Nobody polls for now: the helper has to look after the stack.
    #[inline]
    pub(crate) fn alert_helper(&mut self) {
        if self.helper_dozes && !self.sleepers.app_leads() && self.lives() {
            self.helper_dozes = false;
            if let Some(bell) = &self.helper {
                bell.ring();
            }
        }
    }
}
