//! Who drives the other slots of the port, and what is to be done when one of them dies.
//!
//! Every process watches the others: a pidfd for each, and an eventfd that is rung when one comes. Whoever is
//! first to claim a dead one's slot buries it; the others find it done.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use af_xdp::{PortParts, Slot, Slots, SteeredFlow};
use nic::Own;
use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use stack::types::{FlowKey, Protocol};

use super::claim::{self, Owner};
use super::fds::{aside, borrow};
use super::{Claimed, Port};

/// How often a slot of this process's own past is tried to be buried: each time the lock is waited for.
const TRIES: u32 = 5;

/// One of the others.
struct Watched {
    owner: Owner,
    pidfd: Own,
}

/// The others, watched.
pub(crate) struct Roster {
    port: Port,
    /// Our own slot.
    me: Slot,
    stacks: Slot,
    epoll: Own,
    /// By slot.
    watched: Vec<Option<Watched>>,
}

impl Roster {
    /// Watches the others of `claimed`, for which `port` is the same port, mapped once more; tells them of us.
    pub(crate) fn new(port: Port, claimed: &Claimed) -> io::Result<Self> {
        let epoll = aside(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let rung = borrow(port.header.roster())?;
        // Each ring is an event for every process that watches, whoever else has looked.
        epoll::add(
            &epoll,
            rung,
            epoll::EventData::new_u64(0),
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        let (me, stacks) = (claimed.slot, claimed.stacks);
        rustix::io::write(rung, &1u64.to_ne_bytes())?;
        Ok(Self { port, me, stacks, epoll: Own::new(epoll), watched: (0..stacks).map(|_| None).collect() })
    }

    /// Readable when there is something to [`attend`](Roster::attend) to.
    pub(crate) fn fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Looks at everybody; buries the dead. The connections that died with them lead here now: their peers are to
    /// be told.
    pub(crate) fn attend(&mut self) -> Vec<FlowKey> {
        let ended = self.hear();
        let mut flows = Vec::new();
        let me = self.me;
        for slot in (0..self.stacks).filter(|slot| *slot != me) {
            match claim::owner(self.port.header.owner(slot)) {
                // Of one whose end would be heard nothing more is asked: every process looks at all others whenever one comes.
                Some(owner) if !ended.contains(slot) && self.watches(slot, owner) => {}
                Some(owner) if owner.lives() && self.watch(slot, owner) => {}
                Some(_) => {
                    self.forget(slot);
                    flows.extend(self.bury(slot));
                }
                None => self.forget(slot),
            }
        }
        flows
    }

    /// Takes the events away: the slots whose process has ended.
    pub(super) fn hear(&self) -> Slots {
        let mut events = Vec::with_capacity(usize::from(self.stacks) + 1);
        let _ = epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&rustix::time::Timespec::default()),
        );
        events.iter().filter_map(|event| Slot::try_from(event.data.u64().checked_sub(1)?).ok()).collect()
    }

    /// Whether the end of this process would be heard.
    fn watches(&self, slot: Slot, owner: Owner) -> bool {
        self.watched[usize::from(slot)].as_ref().is_some_and(|one| one.owner == owner)
    }

    /// The processes that the other slots name, dead or alive.
    pub(super) fn others(&self) -> Vec<(Slot, Owner)> {
        let others = (0..self.stacks).filter(|slot| *slot != self.me);
        others.filter_map(|slot| Some((slot, claim::owner(self.port.header.owner(slot))?))).collect()
    }

    /// False when it cannot be watched: it has died since it was last seen alive.
    pub(super) fn watch(&mut self, slot: Slot, owner: Owner) -> bool {
        if self.watches(slot, owner) {
            return true;
        }
        self.forget(slot);
        let pidfd = Pid::from_raw(owner.pid as i32).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let Some(Ok(pidfd)) = pidfd else { return false };
        let pidfd = Own::new(aside(pidfd));
        let data = epoll::EventData::new_u64(u64::from(slot) + 1);
        let added = epoll::add(&self.epoll, &pidfd, data, epoll::EventFlags::IN).is_ok();
        if added {
            self.watched[usize::from(slot)] = Some(Watched { owner, pidfd });
        }
        added
    }

    pub(super) fn forget(&mut self, slot: Slot) {
        if let Some(one) = self.watched[usize::from(slot)].take() {
            // Its number may be another file's soon; the epoll must not keep it.
            let _ = epoll::delete(&self.epoll, one.pidfd.as_fd());
        }
    }

    fn bury(&self, slot: Slot) -> Vec<FlowKey> {
        match self.port.bury(slot, self.me) {
            Ok(flows) => flows,
            Err(error) => {
                tracing::warn!(slot, %error, "burying a dead stack");
                if error.kind() == io::ErrorKind::ResourceBusy {
                    // Whoever looks next tries again.
                    self.port.ring();
                }
                Vec::new()
            }
        }
    }
}

impl Claimed {
    /// Buries what this process drove before it became another program, which is there under its name still. The flows
    /// that are nobody's now.
    pub(crate) fn bury_former(&self) -> Vec<FlowKey> {
        let this = Owner::this();
        let former =
            |slot: &Slot| *slot != self.slot && claim::owner(self.port.header.owner(*slot)) == Some(this);
        let slots = (0..self.stacks).filter(former);
        slots.flat_map(|slot| self.bury_own(slot)).collect()
    }

    /// Buries a slot that has this process's name. While this lives no other process does, and no later look either: so
    /// a lock that is held too long is waited for again.
    fn bury_own(&self, slot: Slot) -> Vec<FlowKey> {
        let is_busy = |tried: &io::Result<_>| {
            tried.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
        };
        let mut tried = self.port.bury(slot, self.slot);
        for _ in 1..TRIES {
            if !is_busy(&tried) {
                break;
            }
            tried = self.port.bury(slot, self.slot);
        }
        tried.unwrap_or_else(|error| {
            tracing::warn!(slot, %error, "burying what this process drove before");
            Vec::new()
        })
    }

    /// Has everybody look at the slots.
    pub(crate) fn ring(&self) {
        self.port.ring();
    }
}

impl Port {
    /// Has everybody look at the slots.
    fn ring(&self) {
        if let Ok(bell) = borrow(self.header.roster()) {
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
    }

    /// Gives up a slot that this process drives, and the frames there. Another's is left alone.
    pub(super) fn vacate(&self, slot: Slot, parts: &PortParts) -> io::Result<()> {
        let word = self.header.owner(slot);
        if claim::owner(word) != Some(Owner::this()) {
            return Ok(());
        }
        let port = af_xdp::Port::from_parts(parts, slot);
        let returned = port.and_then(|port| {
            self.call(port.take_back(slot)?);
            port.vacate(slot, &|other| self.is_dead(other))
        });
        claim::release(word);
        let found = returned.map_err(|e| io::Error::other(e.to_string()))?;
        tracing::debug!(slot, ?found, "left the port");
        Ok(())
    }

    /// Settles what the dead process of a slot left behind, unless another process does already. The flows that
    /// it had are slot `me`'s.
    ///
    /// # Errors
    /// `ResourceBusy` when another process kept the steering program's lock too long: the dead one has its slot still,
    /// so that nobody takes that with flows whose peers were not told. Of other errors the slot is free.
    pub(super) fn bury(&self, slot: Slot, me: Slot) -> io::Result<Vec<FlowKey>> {
        let word = self.header.owner(slot);
        let Some(dead) = claim::owner(word).filter(|_| claim::claim(word).is_ok()) else {
            return Ok(Vec::new());
        };
        let mut flows = Vec::new();
        // The sockets are held until all is settled.
        let (parts, _sockets) = self.parts_to_bury(slot).inspect_err(|_| claim::release(word))?;
        let settled = af_xdp::Port::from_parts(&parts, slot).and_then(|port| {
            // Those who wait for its frames do not wait for all else.
            self.call(port.take_back(slot)?);
            port.settle(slot, me, &|other| self.is_dead(other), |flow| flows.extend(key(&flow)))
        });
        match settled {
            Err(error) if error.source.kind() == io::ErrorKind::ResourceBusy => {
                claim::give_back(word, dead);
                return Err(error.source);
            }
            _ => claim::release(word),
        }
        let found = settled.map_err(|e| io::Error::other(e.to_string()))?;
        tracing::debug!(slot, ?found, flows = flows.len(), "buried a dead stack");
        Ok(flows)
    }
}

fn key(flow: &SteeredFlow) -> Option<FlowKey> {
    let protocol = match flow.protocol {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        _ => return None,
    };
    Some(FlowKey { protocol, local: flow.local, remote: flow.remote })
}
