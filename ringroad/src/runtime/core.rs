//! What the lock guards: the stack, its interfaces, and what its outputs turn into.

use nic::{Burst, Doorbell, Nic};
use stack::control::Request;
use stack::engine::Stack;
use stack::time::Instant;
use stack::types::IfaceId;

use super::{API_COOKIE, Sleepers, WakeObserver};

/// Frames taken from an interface at a time.
const BURST: usize = 64;
/// Queued frames that ring the doorbell without waiting for the end of the turn.
const RING_AFTER_FRAMES: usize = 32;
/// Kicks in a row before the rest is left to the next turn.
const KICKS: usize = 16;

/// Tells the steering programs what the stack wants.
pub(crate) trait Steer: Send {
    /// Carries out a steering request; others are not its business.
    fn steer(&mut self, request: &Request) -> std::io::Result<()>;
}

/// An interface that the stack drives.
pub(crate) struct Link {
    pub(crate) iface: IfaceId,
    pub(crate) nic: Box<dyn Nic>,
}

/// What the lock guards.
pub(crate) struct Core {
    pub(crate) stack: Stack,
    pub(crate) links: Vec<Link>,
    pub(crate) steer: Box<dyn Steer>,
    pub(crate) observer: Option<Box<dyn WakeObserver>>,
    pub(crate) sleepers: Sleepers,
    /// Neighbours that somebody should resolve.
    pub(crate) unresolved: Vec<Request>,
    burst: Burst,
    /// Frames in the rings that no kick has covered.
    unkicked: usize,
    /// How long frames may wait for company.
    hold: std::time::Duration,
    last_poll: Instant,
}

impl Core {
    pub(crate) fn new(
        stack: Stack,
        links: Vec<Link>,
        steer: Box<dyn Steer>,
        hold: std::time::Duration,
    ) -> Self {
        Self {
            stack,
            links,
            steer,
            observer: None,
            sleepers: Sleepers::default(),
            unresolved: Vec::new(),
            burst: Burst::with_capacity(BURST),
            unkicked: 0,
            hold,
            last_poll: Instant::ZERO,
        }
    }

    /// One turn: receive, timers, outputs, doorbell.
    pub(crate) fn poll(&mut self, now: Instant) {
        self.last_poll = now;
        for link in &mut self.links {
            link.nic.reap(self.stack.pool_mut());
            link.nic.rx(self.stack.pool_mut(), &mut self.burst, BURST);
            for frame in self.burst.drain(..) {
                self.stack.rx(now, link.iface, frame);
            }
        }
        if self.stack.next_deadline() <= now {
            self.stack.expire(now);
        }
        self.drain(now);
        self.ring();
    }

    /// Carries out what the stack asks: requests, then frames, then wake-ups.
    #[inline]
    pub(crate) fn drain(&mut self, now: Instant) {
        let _ = now;
        while let Some(request) = self.stack.next_request() {
            self.request(request);
        }
        for at in 0..self.links.len() {
            self.transmit(at);
        }
        while let Some(wake) = self.stack.next_wake() {
            if wake.cookie & API_COOKIE != 0 {
                self.sleepers.notify(wake.cookie);
            } else if let Some(observer) = &mut self.observer {
                observer.woken(wake.id, wake.cookie, wake.readiness, &mut self.sleepers);
            }
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Neighbour { .. } => self.unresolved.push(request),
            _ => {
                if let Err(error) = self.steer.steer(&request) {
                    tracing::warn!(?request, %error, "steering");
                }
            }
        }
    }

    fn transmit(&mut self, at: usize) {
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

    /// Rings at the end of a turn, unless the caller will most likely wait soon and ring then.
    #[inline]
    pub(crate) fn ring_if_due(&mut self, now: Instant) {
        if self.unkicked != 0
            && (self.unkicked >= RING_AFTER_FRAMES || now.since(self.last_poll) >= self.hold)
        {
            self.ring();
        }
    }
}
