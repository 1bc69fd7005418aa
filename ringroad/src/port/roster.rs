//! Who drives the other slots of the port, and what is to be done when one of them dies.
//!
//! Every process watches the others: a pidfd for each, and an eventfd that is rung when one comes. Whoever is
//! first to claim a dead one's slot buries it; the others find it done.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use af_xdp::{Slot, SteeredFlow};
use rustix::event::epoll;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use stack::types::{FlowKey, Protocol};

use super::claim::{self, Owner};
use super::fds::{aside, borrow};
use super::{Claimed, Port};

/// The others, watched.
pub(crate) struct Roster {
    port: Port,
    /// Our own slot.
    me: Slot,
    stacks: Slot,
    epoll: OwnedFd,
    watched: Vec<(Slot, Owner, OwnedFd)>,
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
        Ok(Self { port, me, stacks, epoll, watched: Vec::new() })
    }

    /// Readable when there is something to [`attend`](Roster::attend) to.
    pub(crate) fn fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    /// Looks at everybody; buries the dead. The connections that died with them lead here now: their peers are to
    /// be told.
    pub(crate) fn attend(&mut self) -> Vec<FlowKey> {
        let mut events = Vec::with_capacity(usize::from(self.stacks) + 1);
        let _ = epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&rustix::time::Timespec::default()),
        );
        let mut flows = Vec::new();
        let me = self.me;
        for slot in (0..self.stacks).filter(|slot| *slot != me) {
            match claim::owner(self.port.header.owner(slot)) {
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

    /// False when it cannot be watched: it has died since it was last seen alive.
    fn watch(&mut self, slot: Slot, owner: Owner) -> bool {
        if self.watched.iter().any(|(s, o, _)| (*s, *o) == (slot, owner)) {
            return true;
        }
        self.forget(slot);
        let pidfd = Pid::from_raw(owner.pid as i32).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let Some(Ok(pidfd)) = pidfd else { return false };
        let pidfd = aside(pidfd);
        let data = epoll::EventData::new_u64(u64::from(slot) + 1);
        let added = epoll::add(&self.epoll, &pidfd, data, epoll::EventFlags::IN).is_ok();
        if added {
            self.watched.push((slot, owner, pidfd));
        }
        added
    }

    fn forget(&mut self, slot: Slot) {
        self.watched.retain(|(s, _, pidfd)| {
            let other = *s != slot;
            if !other {
                // Its number may be another file's soon; the epoll must not keep it.
                let _ = epoll::delete(&self.epoll, pidfd.as_fd());
            }
            other
        });
    }

    fn bury(&self, slot: Slot) -> Vec<FlowKey> {
        match self.port.bury(slot, self.me) {
            Ok(flows) => flows,
            Err(error) => {
                tracing::warn!(slot, %error, "burying a dead stack");
                Vec::new()
            }
        }
    }
}

impl Port {
    /// Settles what the dead process of a slot left behind, unless another process does already. The flows that
    /// it had are slot `me`'s.
    pub(super) fn bury(&self, slot: Slot, me: Slot) -> io::Result<Vec<FlowKey>> {
        let word = self.header.owner(slot);
        if claim::claim(word).is_err() {
            return Ok(Vec::new());
        }
        let mut flows = Vec::new();
        let settled = af_xdp::Port::from_parts(&self.parts()?, slot).and_then(|port| {
            port.settle(slot, me, &|other| self.is_dead(other), |flow| flows.extend(key(&flow)))
        });
        claim::release(word);
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
