//! epoll: the application's set is a real epoll set of the kernel's; beside it hangs a list of our own with
//! the descriptors that the kernel's epoll cannot see. One wait watches both.
//!
//! A descriptor that has news from both worlds (a listener, a UDP socket, an epoll set in the set) is
//! registered with the kernel too, under a tag instead of the application's data. An event with the tag is not
//! reported but taken as news for the item in our list, which then follows one set of rules.

mod claims;
mod ctl;
mod interests;
mod kernel_only;
mod wait;

#[cfg(test)]
mod model_tests;

use std::sync::OnceLock;

use libc::c_int;
use ringroad::runtime::Turn;
use stack::engine::Stack;
use stack::types::Readiness;

use crate::dispatch::lifecycle;
use crate::errno::Outcome;
use crate::fdtable::{self, Flag, Held, Kind, Word};
use crate::kernel;
use crate::state::{self, State};

pub(crate) use claims::claim;
pub(crate) use ctl::ctl;
pub(crate) use interests::Interests;
use interests::{EXCLUSIVE, ONESHOT, World};
pub(crate) use wait::{duration, has_news, milliseconds, pwait, pwait2, spin, wait};

/// Bits of the tag that number an item; the others are random, so that no application's data is taken for it.
const ITEM_BITS: u32 = 24;

fn tag() -> u64 {
    static TAG: OnceLock<u64> = OnceLock::new();
    *TAG.get_or_init(|| (kernel::random() | 1 << 63) & !((1 << ITEM_BITS) - 1))
}

/// The item that an event of the kernel's is about, if it is a tagged one.
fn tagged(data: u64) -> Option<u32> {
    let item = data ^ tag();
    (item < 1 << ITEM_BITS).then_some(item as u32)
}

/// The key under which a set's waiters sleep.
pub(crate) fn key(set: u32) -> u64 {
    // Cookies of files have a slot in their lower half; sets have none.
    1 << 62 | u64::from(set) << 32
}

/// `epoll_create`.
pub(crate) fn create(size: c_int) -> Outcome {
    made(kernel::epoll_create(size)?)
}

/// `epoll_create1`.
pub(crate) fn create1(flags: c_int) -> Outcome {
    made(kernel::epoll_create1(flags)?)
}

fn made(fd: c_int) -> Outcome {
    // A child has the set, too, and what is tagged in it.
    tag();
    lifecycle::remember(fd, Kind::Epoll, |_| ());
    Ok(fd as isize)
}

/// The bits of epoll and poll for a readiness.
pub(crate) fn bits(readiness: Readiness) -> u32 {
    const ROWS: [(Readiness, c_int); 7] = [
        (Readiness::IN, libc::EPOLLIN | libc::EPOLLRDNORM),
        (Readiness::OUT, libc::EPOLLOUT | libc::EPOLLWRNORM),
        (Readiness::ERR, libc::EPOLLERR),
        (Readiness::REPORT, libc::EPOLLERR),
        (Readiness::HUP, libc::EPOLLHUP),
        (Readiness::RDHUP, libc::EPOLLRDHUP),
        (Readiness::PRI, libc::EPOLLPRI),
    ];
    ROWS.iter().filter(|(r, _)| readiness.contains(*r)).fold(0, |bits, (_, b)| bits | *b as u32)
}

/// What the file in this slot is ready for in the stack. A connection that another process has is ready for a call, which
/// asks for it; one that went to that from here, when it has said that there is something to read; what a child of ours
/// has is told of when that gives it back.
pub(crate) fn readiness_of(stack: &Stack, file: u32) -> u32 {
    let Some(file) = fdtable::file_at(file) else { return 0 };
    match file.socket() {
        Some(id) => bits(stack.readiness(id)),
        None if !file.is(Flag::Inherited) || file.is(Flag::Lent) => 0,
        None if file.is(Flag::Away) => bits(Readiness::OUT),
        None => bits(Readiness::IN | Readiness::OUT),
    }
}

/// Who watches a file.
fn world_of(state: &State, held: &Held) -> World {
    match held.file.kind() {
        Kind::Epoll if state.interests.has_ours(held.file.epoll()) => World::Both,
        _ if held.file.socket().is_none() => World::Kernel,
        Kind::Datagram => World::Both,
        _ if held.file.is(Flag::Listening) => World::Both,
        _ => World::Ours,
    }
}

/// What the kernel is asked for on behalf of an item of both worlds: our list adds the one-shot itself.
fn kernel_events(events: u32) -> u32 {
    events & !ONESHOT
}

/// A file was attached to the stack: the sets that it is in watch it here from now on.
pub(crate) fn attached(turn: &mut Turn<'_>, held: &Held) {
    let now = readiness_of(turn.stack(), held.word.index());
    let mut state = state::lock();
    let world = world_of(&state, held);
    let items: Vec<u32> = state.interests.of_file(held.word.index()).collect();
    let mut woken = Vec::new();
    for index in items {
        move_over(&mut state, index, world, &mut woken);
    }
    state.interests.wake(held.word.index(), now, &mut |set| woken.push(set));
    drop(state);
    woken.into_iter().for_each(|set| turn.sleepers().notify(key(set)));
}

/// The connection of a file is with another process, and what it is ready for here has changed: who waits for it looks
/// again.
pub(crate) fn left(state: &mut State, turn: &mut Turn<'_>, word: Word) {
    let now = readiness_of(turn.stack(), word.index());
    let sleepers = turn.sleepers();
    sleepers.notify(word.cookie());
    state.interests.wake(word.index(), now, &mut |set| sleepers.notify(key(set)));
}

/// An item's descriptor is watched by `world` from now on; its set, and the sets that this one is in, have
/// something of ours.
fn move_over(state: &mut State, index: u32, world: World, woken: &mut Vec<u32>) {
    let Some(item) = state.interests.item(index).copied() else { return };
    let (file, set) = state.interests.set_behind(index);
    let own = fdtable::get(set).filter(|h| h.word.index() == file);
    if own.is_some() {
        // A one-shot registration that the kernel has fired, or one that is gone, is as good as moved.
        let _ = match world {
            World::Ours => kernel::epoll_ctl(set, libc::EPOLL_CTL_DEL, item.fd, 0, 0),
            _ => retag(set, item.fd, item.events, index),
        };
    }
    state.interests.set_world(index, world);
    if let Some(own) = own {
        joined(state, &own, woken);
    }
}

/// A set has something of ours: those who wait for it in the kernel are called back, and the sets that it is
/// in have something of ours too.
fn joined(state: &mut State, set: &Held, woken: &mut Vec<u32>) {
    kernel_only::call_back(set);
    let outer: Vec<u32> = state.interests.of_file(set.word.index()).collect();
    for index in outer {
        if state.interests.item(index).is_some_and(|i| i.world == World::Kernel) {
            move_over(state, index, World::Both, woken);
            state.interests.link(index);
            woken.extend(state.interests.set_of_item(index));
        }
    }
}

/// Registers a descriptor of both worlds anew, under the tag.
fn retag(set: c_int, fd: c_int, events: u32, index: u32) -> Result<(), crate::errno::Errno> {
    let data = tag() | u64::from(index);
    let events = kernel_events(events);
    if events & EXCLUSIVE == 0 {
        return kernel::epoll_ctl(set, libc::EPOLL_CTL_MOD, fd, events, data);
    }
    // An exclusive registration cannot be changed.
    kernel::epoll_ctl(set, libc::EPOLL_CTL_DEL, fd, 0, 0)?;
    kernel::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, events, data)
}

/// In the child after a fork: what was the parent's is watched by nobody here.
pub(crate) fn after_fork_in_child() {
    let mut state = state::lock();
    for (word, file) in state.registry.files() {
        file.forget_waiters();
        file.set(Flag::Unclaimed, file.kind() == Kind::Epoll);
        if file.socket().is_none() && file.kind() != Kind::Epoll {
            let items: Vec<u32> = state.interests.of_file(word.index()).collect();
            items.into_iter().for_each(|i| state.interests.set_world(i, World::Kernel));
        }
    }
}
