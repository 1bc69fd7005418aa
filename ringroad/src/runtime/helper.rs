//! The helper thread: follows the control plane, answers `ringroad stat`, and drives the stack while the
//! application computes. It sleeps while the application waits, and while there is nothing to drive.

use std::io;
use std::os::fd::RawFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use stack::control::{ControlEvent, Request};
use stack::journal::News;
use stack::time::Instant;
use stack::types::FlowKey;

use super::bell::Bell;
use super::block::{input, ppoll};
use super::pulse::Pulse;
use super::signals::without_signals;
use super::sleepers::SleeperId;
use super::{Runtime, flows, now};
use crate::control::server::Server;
use crate::netlink::Netlink;
use crate::port::Roster;

/// How often to look whether the application polls, while it may not.
const TICK: Duration = Duration::from_millis(2);
/// The application does not poll when it has not done so for this long.
const ABSENT: Duration = Duration::from_millis(4);
/// Frames that were held back for company wait no longer than this and a tick.
const OVERDUE: Duration = Duration::from_millis(1);
/// Ticks during which the application waited by itself, after which the helper sleeps.
const CALM: u32 = 8;
/// How often neighbours in use are confirmed; the kernel takes them for stale after about 30 s.
const REFRESH: Duration = Duration::from_secs(20);
/// Peers of dead connections that are told under one lock.
const AT_A_TIME: usize = 128;
/// How long what such peers still send is answered here.
const TELLING: Duration = Duration::from_secs(3);
/// How often they are told meanwhile: what tells them may be lost, or find no frame.
const AGAIN: Duration = Duration::from_millis(400);
/// How long a keeper leaves the dead to the living, who listen where the dead did.
const OTHERS: Duration = Duration::from_millis(50);
/// How often to look whether an interface that is back was opened again.
const AWAIT: Duration = Duration::from_millis(25);
/// How often what the gate refused is looked at.
const HEAR: Duration = Duration::from_millis(100);
/// The same of what the steering programs kept out, which ring no bell.
const WATCH: Duration = Duration::from_millis(100);
/// Its stack: it calls nothing deep.
const STACK_BYTES: usize = 256 * 1024;

/// What the helper looks after besides the stack.
pub(super) struct Duties {
    pub(super) netlink: Netlink,
    pub(super) server: Option<Server>,
    /// The other processes of the port.
    pub(super) roster: Option<Roster>,
}

/// Starts the helper of a runtime; `bell` wakes it.
pub(super) fn spawn(runtime: &'static Runtime, bell: Bell, duties: Duties) -> io::Result<()> {
    let mut turn = runtime.lock_quietly();
    let core = turn.core();
    let pulse = Arc::clone(&core.pulse);
    let interfaces = core.wait_fds().collect();
    let letters = core.letters_fd().unwrap_or(-1);
    drop(turn);
    let helper = Helper {
        runtime,
        bell,
        pulse,
        interfaces,
        letters,
        duties,
        guest: None,
        calm: 0,
        refreshed: now(),
        bereaved: Vec::new(),
        told: Instant::NEVER,
        again: Instant::NEVER,
        buries: Instant::NEVER,
        awaited: Instant::NEVER,
        heard: Instant::ZERO,
        alerts: Instant::NEVER,
        flows: now(),
    };
    let (begins, begun) = mpsc::sync_channel(1);
    // The application's signals are for its own threads; a new thread inherits the mask of its maker.
    without_signals(|| {
        let named = thread::Builder::new().name("ringroad".into()).stack_size(STACK_BYTES);
        named.spawn(move || {
            // Who made it waits for this.
            let _ = begins.send(());
            helper.run();
        })
    })?;
    // In a child that the application makes past libc, setuid would wait for ever for a thread that had not begun.
    begun.recv().map_err(io::Error::other)
}

struct Helper {
    runtime: &'static Runtime,
    bell: Bell,
    pulse: Arc<Pulse>,
    /// To be polled while it leads.
    interfaces: Vec<RawFd>,
    /// Where letters of other processes come; -1: there is no such place.
    letters: RawFd,
    duties: Duties,
    /// Its place among the sleepers, while it drives the stack.
    guest: Option<SleeperId>,
    /// Ticks in a row that found the application waiting.
    calm: u32,
    refreshed: Instant,
    /// Connections that died with another process, while they lead here.
    bereaved: Vec<FlowKey>,
    /// When their peers count as told.
    told: Instant,
    /// When they are told once more.
    again: Instant,
    /// When a keeper buries whom the living have not.
    buries: Instant,
    /// When to look whether an interface that is back was opened again.
    awaited: Instant,
    /// When what the gate refused was looked at last.
    heard: Instant,
    /// When there is something to say of it at the latest.
    alerts: Instant,
    /// When flows were told of last.
    flows: Instant,
}

/// What comes next.
enum Next {
    /// Sleep until alerted.
    Doze {
        /// There are sockets: their neighbours have to be kept fresh.
        lives: bool,
    },
    /// Look again after a tick.
    Tick,
    /// Sleep on the interfaces, until this moment at the latest.
    Lead(Instant),
}

impl Helper {
    fn run(mut self) {
        let mut events = Vec::new();
        let mut fds = Vec::new();
        self.await_interfaces();
        loop {
            let Some(next) = self.step() else { return };
            let guest = self.pulse.guest();
            let server = self.duties.server.as_ref().map_or(-1, Server::fd);
            let roster = self.duties.roster.as_ref().map_or(-1, Roster::fd);
            let visitor = guest.map_or(-1, |(fd, _)| fd);
            fds.clear();
            let (bell, netlink, crew) = (self.bell.raw(), self.duties.netlink.fd(), self.pulse.crew());
            let own = [bell, netlink, server, roster, self.letters, visitor, crew];
            fds.extend(own.map(input));
            let refresh = self.refreshed + REFRESH;
            let timeout = match next {
                Next::Tick => Some(TICK),
                Next::Doze { lives } => lives.then(|| refresh.since(now())),
                Next::Lead(until) => {
                    fds.extend(self.interfaces.iter().copied().map(input));
                    Some(until.min(refresh).since(now()))
                }
            };
            let timeout = match self.due() {
                Instant::NEVER => timeout,
                due => Some(timeout.unwrap_or(Duration::MAX).min(due.since(now()))),
            };
            // An error is as good as a time-out: everything is looked at below.
            let _ = ppoll(&mut fds, timeout, None);
            if fds[0].revents != 0 {
                self.bell.quiet();
                self.pulse.take_work().into_iter().for_each(|work| work());
            }
            if fds[1].revents != 0 || now() >= self.awaited {
                self.follow(&mut events);
            }
            if let Some(server) = &mut self.duties.server
                && fds[2].revents != 0
            {
                server.serve(self.runtime);
            }
            if fds[3].revents != 0 || now() >= self.buries {
                self.attend();
            }
            if fds[4].revents != 0 {
                self.read_letters();
            }
            if let Some((_, attend)) = guest
                && fds[5].revents != 0
            {
                attend();
            }
            if fds[6].revents != 0 || now() >= self.pulse.pumps_due() {
                self.runtime.pump();
            }
            self.do_what_is_due();
        }
    }

    /// What has its time, whatever has come.
    fn do_what_is_due(&mut self) {
        self.tell_again();
        self.forget_bereaved();
        self.neighbours();
        let now = now();
        if now >= self.alerts_due() {
            self.heard = now;
            self.alerts = self.runtime.hear(now);
        }
        if now >= self.flows_due() {
            self.flows = self.runtime.tell_flows(now);
        }
        if now >= self.pulse.wards_due() {
            self.runtime.look_after_wards();
        }
    }

    /// Connections come from another process.
    fn read_letters(&mut self) {
        let mut turn = self.runtime.lock_quietly();
        let now = turn.now();
        turn.core().read_letters(now);
        turn.flush();
    }

    /// When something other than the stack is to be attended to.
    fn due(&self) -> Instant {
        let of_others = self.told.min(self.again).min(self.buries);
        let to_tell = self.alerts_due().min(self.flows_due());
        let by_pulse = self.pulse.wards_due().min(self.pulse.pumps_due());
        of_others.min(to_tell).min(self.awaited).min(by_pulse)
    }

    /// When to look at what the gate refused.
    fn alerts_due(&self) -> Instant {
        let refused = if self.pulse.has_refused() { self.heard + HEAR } else { Instant::NEVER };
        let kept_out = if self.pulse.is_watching() { self.heard + WATCH } else { Instant::NEVER };
        refused.min(kept_out).min(self.alerts)
    }

    /// When to tell of flows.
    fn flows_due(&self) -> Instant {
        match self.pulse.news() {
            News::None => Instant::NEVER,
            News::Some => self.flows + flows::EVERY,
            News::Much => Instant::ZERO,
        }
    }

    /// Whether this is a keeper and others live, who have had no time yet.
    fn leaves_it_to_others(&mut self) -> bool {
        let keeps = self.runtime.lock_quietly().core().keeps;
        let Some(roster) = self.duties.roster.as_mut().filter(|_| keeps) else { return false };
        let guests = roster.look();
        let due = std::mem::replace(&mut self.buries, Instant::NEVER);
        if guests.dead && guests.living.is_some() && now() < due {
            self.buries = due.min(now() + OTHERS);
        }
        self.buries != Instant::NEVER
    }

    /// Another process came or died.
    fn attend(&mut self) {
        // The telling may be ours now.
        self.alerts = Instant::ZERO;
        if self.leaves_it_to_others() {
            return;
        }
        let pulse = Arc::clone(&self.pulse);
        let Some(_burial) = pulse.burial() else {
            self.duties.roster = None;
            return;
        };
        let Some(roster) = &mut self.duties.roster else { return };
        let mut flows = roster.attend();
        // What the dead had given back or left to us lives.
        if let Some((_, attend)) = self.pulse.guest().filter(|_| !flows.is_empty()) {
            attend();
        }
        let mut turn = self.runtime.lock_quietly();
        let now = turn.now();
        turn.core().read_letters(now);
        if let Some(mates) = &mut turn.core().mates {
            mates.forget_dead();
        }
        flows.append(&mut turn.core().deserted);
        flows.retain(|key| !turn.stack().knows(key));
        drop(turn);
        self.tell(flows);
    }

    /// Has the peers of dead connections find out.
    fn tell(&mut self, flows: Vec<FlowKey>) {
        for some in flows.chunks(AT_A_TIME) {
            self.runtime.lock_quietly().core().provoke(some);
        }
        if !flows.is_empty() {
            self.bereaved.extend(flows);
            self.told = now() + TELLING;
            self.again = now() + AGAIN;
        }
    }

    /// Peers that have not heard of it yet: those that have are no trouble, and whose ends are in use again is not told.
    fn tell_again(&mut self) {
        if now() < self.again {
            return;
        }
        self.again = now() + AGAIN;
        for some in self.bereaved.chunks(AT_A_TIME) {
            let mut turn = self.runtime.lock_quietly();
            let core = turn.core();
            let ours: Vec<FlowKey> = some.iter().filter(|key| core.steer.holds(key)).copied().collect();
            core.provoke(&ours);
        }
    }

    /// The peers of dead connections have had their time to hear of it.
    fn forget_bereaved(&mut self) {
        if now() < self.told {
            return;
        }
        (self.told, self.again) = (Instant::NEVER, Instant::NEVER);
        let mut turn = self.runtime.lock_quietly();
        turn.core().bereaved = false;
        turn.stack().forget_bereaved();
        for key in self.bereaved.drain(..) {
            turn.core().lead_no_longer(key);
        }
    }

    /// Looks at what the application does, and drives the stack if it does not. `None` at the end.
    fn step(&mut self) -> Option<Next> {
        let now = now();
        let absent = self.pulse.absent(now, ABSENT);
        let overdue = self.pulse.overdue(now, OVERDUE);
        let moving = self.pulse.is_moving();
        if !absent && !overdue && !moving && self.guest.is_none() {
            // It polls: keep away from the lock.
            self.calm = 0;
            return Some(Next::Tick);
        }
        let mut turn = self.runtime.lock_quietly();
        // Whoever had the lock meanwhile may have sent later than when we looked: its answers come no earlier.
        let now = turn.now();
        let core = turn.core();
        if core.stopped {
            return None;
        }
        if overdue {
            core.flush_overdue(now);
        }
        if moving {
            core.hand_over(now);
            core.flush(now);
        }
        if let Some(id) = self.guest {
            core.woke(id);
        }
        let lives = core.lives();
        if core.sleepers.app_leads() || !absent || !lives {
            self.guest.take().map(|id| core.sleepers.leave(id));
            self.calm = if absent { self.calm + 1 } else { 0 };
            core.helper_dozes = self.calm >= CALM && !moving;
            if core.helper_dozes {
                core.rest();
            }
            return Some(if core.helper_dozes { Next::Doze { lives } } else { Next::Tick });
        }
        self.calm = 0;
        core.turn(now);
        core.rest();
        let id = *self.guest.get_or_insert_with(|| core.sleepers.enter(self.bell.clone(), &[], true));
        let until = if moving { core.wake_at(now).min(now + TICK) } else { core.wake_at(now) };
        core.sleepers.sleep_until(id, until);
        Some(if core.sleepers.leads(id) { Next::Lead(until) } else { Next::Tick })
    }

    /// Tells the stack what changed in the kernel's tables.
    fn follow(&mut self, events: &mut Vec<ControlEvent>) {
        if let Err(error) = self.duties.netlink.follow(events) {
            tracing::warn!(%error, "following the kernel's tables");
        }
        self.await_interfaces();
        if events.is_empty() {
            return;
        }
        self.runtime.follow_host(events);
        let mut turn = self.runtime.lock_quietly();
        let now = turn.now();
        for event in events.drain(..) {
            turn.core().control(now, event);
        }
        turn.flush();
    }

    /// Interfaces that are back may have to be opened by another process yet.
    fn await_interfaces(&mut self) {
        self.awaited = if self.duties.netlink.awaits() { now() + AWAIT } else { Instant::NEVER };
    }

    /// Has the kernel resolve the neighbours that the stack asked for, and confirm those in use.
    fn neighbours(&mut self) {
        let now = now();
        let refresh = now.since(self.refreshed) >= REFRESH;
        if !self.pulse.take_asked() && !refresh {
            return;
        }
        let mut turn = self.runtime.lock_quietly();
        let asked = std::mem::take(&mut turn.core().unresolved);
        let lives = turn.core().lives();
        drop(turn);
        for request in asked {
            if let Request::Neighbour { iface, address } = request {
                self.duties.netlink.resolve(iface, address);
            }
        }
        if refresh {
            self.refreshed = now;
            if lives {
                self.duties.netlink.refresh();
            }
        }
    }
}
