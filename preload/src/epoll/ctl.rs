//! epoll_ctl.

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, c_int, epoll_event};
use ringroad::Runtime;

use super::interests::{EXCLUSIVE, Event, World};
use super::{claims, joined, kernel_events, key, readiness_of, tag, world_of};
use crate::attach;
use crate::errno::{Errno, Leave, Outcome, fail};
use crate::fdtable::{self, Flag, Held, Kind};
use crate::kernel;
use crate::reason::Reason;
use crate::state::{self, State};
use crate::user::Place;

/// What an epoll_ctl is about.
struct Target {
    /// The application's epoll descriptor.
    own: Held,
    /// The descriptor in question.
    held: Held,
    /// Who watches it, unless it is in the set: then the item knows.
    world: World,
    /// What it is ready for in the stack.
    now: u32,
}

/// `epoll_ctl`.
pub(crate) fn ctl(epfd: c_int, operation: c_int, fd: c_int, event: *mut epoll_event) -> Outcome {
    let plain = || Leave::Bypass(Reason::Plain);
    let own = fdtable::get(epfd).filter(|h| h.file.kind() == Kind::Epoll).ok_or_else(plain)?;
    let held = fdtable::get(fd).ok_or_else(plain)?;
    if epfd == fd {
        return Err(fail(libc::EINVAL));
    }
    let event = match operation {
        EPOLL_CTL_DEL => Event { events: 0, data: 0 },
        EPOLL_CTL_ADD | EPOLL_CTL_MOD => {
            let raw: epoll_event = Place::from(event).read()?;
            Event { events: raw.events, data: raw.u64 }
        }
        _ => return Err(fail(libc::EINVAL)),
    };
    if operation == EPOLL_CTL_ADD
        && held.file.kind() != Kind::Epoll
        && !claims::postpone(&own, &held)
        && let Err(reason) = attach::attach(&held)
    {
        // The process waits for it already; where that is the kernel's business, it is.
        reason.count();
    }
    // The runtime's lock comes first, and holds readiness still.
    let mut turn = Runtime::current().map(Runtime::lock);
    let now = turn.as_mut().map_or(0, |turn| readiness_of(turn.stack(), held.word.index()));
    let mut state = state::lock();
    // Closed on another thread: the kernel says what that means.
    if !own.holds() || !held.holds() {
        return Err(plain());
    }
    let world = world_of(&state, &held);
    let target = Target { own, held, world, now };
    let done = match operation {
        EPOLL_CTL_ADD => add(&mut state, &target, event),
        EPOLL_CTL_MOD => modify(&mut state, &target, event),
        _ => delete(&mut state, &target),
    };
    if done.is_ok() && held.file.is(Flag::Unclaimed) {
        claims::note(&state, &own);
    }
    let mut woken = vec![own.file.epoll()];
    if operation == EPOLL_CTL_ADD && world != World::Kernel && done.is_ok() {
        joined(&mut state, &own, &mut woken);
    }
    drop(state);
    if let Some(mut turn) = turn {
        // Who waits for the set looks again.
        woken.into_iter().for_each(|set| turn.sleepers().notify(key(set)));
    }
    done
}

fn add(state: &mut State, target: &Target, event: Event) -> Outcome {
    let key = (target.held.fd, target.held.word.index());
    let index = state.interests.add(target.own.file.epoll(), key, event, 0).map_err(fail)?;
    let registered = match target.world {
        World::Ours => Ok(()),
        World::Kernel => register(target, EPOLL_CTL_ADD, event.events, event.data),
        World::Both => register(target, EPOLL_CTL_ADD, kernel_events(event.events), tag() | u64::from(index)),
    };
    if let Err(errno) = registered {
        state.interests.remove(index);
        return Err(errno.into());
    }
    state.interests.set_world(index, target.world);
    settle(state, target, index, event)
}

/// Links the item if it is ready already.
fn settle(state: &mut State, target: &Target, index: u32, event: Event) -> Outcome {
    match target.held.file.kind() {
        _ if state.interests.item(index).is_some_and(|item| item.world == World::Kernel) => {}
        // Whether a set in a set is ready is found out by looking.
        Kind::Epoll => state.interests.link(index),
        _ if target.now & (event.events | libc::EPOLLERR as u32 | libc::EPOLLHUP as u32) != 0 => {
            state.interests.link(index);
        }
        _ => {}
    }
    Ok(0)
}

fn modify(state: &mut State, target: &Target, event: Event) -> Outcome {
    let index = find(state, target)?;
    let item = state.interests.item(index).copied();
    if item.is_some_and(|i| i.events & EXCLUSIVE != 0) || event.events & EXCLUSIVE != 0 {
        return Err(fail(libc::EINVAL));
    }
    match item.map_or(target.world, |i| i.world) {
        World::Ours => {}
        World::Kernel => register(target, EPOLL_CTL_MOD, event.events, event.data)?,
        World::Both => {
            register(target, EPOLL_CTL_MOD, kernel_events(event.events), tag() | u64::from(index))?;
        }
    }
    state.interests.modify(index, event, 0).map_err(fail)?;
    settle(state, target, index, event)
}

fn delete(state: &mut State, target: &Target) -> Outcome {
    let index = find(state, target)?;
    if state.interests.item(index).is_some_and(|i| i.world != World::Ours) {
        register(target, EPOLL_CTL_DEL, 0, 0)?;
    }
    state.interests.remove(index);
    Ok(0)
}

/// The item; without one the kernel's answer, which is ENOENT, or better for a set that it alone knows.
fn find(state: &State, target: &Target) -> Result<u32, Leave> {
    state
        .interests
        .find(target.own.file.epoll(), target.held.fd, target.held.word.index())
        .ok_or(Leave::Bypass(Reason::Plain))
}

fn register(target: &Target, operation: c_int, events: u32, data: u64) -> Result<(), Errno> {
    kernel::epoll_ctl(target.own.fd, operation, target.held.fd, events, data)
}
