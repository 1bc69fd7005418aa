//! Sockets that are attached when the process waits for them (`attach`): a listener that it puts in a set, and no more, is no
//! reason yet. A master that makes the set, forks and leaves the waiting to its children would take connections that it never
//! accepts. So the set remembers them, and whoever waits for it claims them; over fork each child does so for itself.

use libc::c_int;
use ringroad::Runtime;

use super::interests::World;
use crate::attach;
use crate::fdtable::{self, File, Flag, Held, Kind};
use crate::reason::Reason;
use crate::state::{self, State};

/// Sets in sets in sets, as the kernel permits.
const DEPTH: u32 = 5;

/// Before a socket is put in a set: whether it is attached later, by who waits for the set. With a stack here there is nothing
/// to be gained, and where somebody waits already it is time.
pub(super) fn postpone(own: &Held, held: &Held) -> bool {
    if Runtime::current().is_some() || !attach::is_due(held) {
        return false;
    }
    let state = state::lock();
    let mut waited_for = false;
    outward(&state, own.word.index(), DEPTH, &mut |set| waited_for |= set.waiters() > 0);
    if !waited_for {
        note(&state, own);
    }
    !waited_for
}

/// A set has something to claim, and so have the sets that it is in.
pub(super) fn note(state: &State, set: &Held) {
    outward(state, set.word.index(), DEPTH, &mut |set| set.set(Flag::Unclaimed, true));
}

/// Looks at the set in this slot, and at those that it is in.
fn outward(state: &State, slot: u32, depth: u32, look: &mut dyn FnMut(&File)) {
    if let Some(file) = fdtable::file_at(slot).filter(|_| depth > 0) {
        look(file);
        for item in state.interests.of_file(slot) {
            outward(state, state.interests.set_behind(item).0, depth - 1, look);
        }
    }
}

/// Whether there is something to claim. Asked under the lock, so that who adds it sees that somebody waits, or is seen.
pub(super) fn is_due(set: &Held) -> bool {
    let _state = state::lock();
    set.file.is(Flag::Unclaimed) && may_claim()
}

fn may_claim() -> bool {
    Runtime::current().is_some() || attach::may_try()
}

/// The process waits for a set: what is in it is this process's to serve from now on.
#[inline]
pub(crate) fn claim(set: &Held) {
    if set.file.is(Flag::Unclaimed) && may_claim() {
        claim_all(set, DEPTH);
    }
}

#[cold]
fn claim_all(set: &Held, depth: u32) {
    // What is added meanwhile notes it again.
    set.file.set(Flag::Unclaimed, false);
    for held in members(set).into_iter().filter_map(fdtable::get) {
        let again = match held.file.kind() {
            Kind::Epoll => {
                if depth > 0 && held.file.is(Flag::Unclaimed) {
                    claim_all(&held, depth - 1);
                }
                held.file.is(Flag::Unclaimed)
            }
            // Another process of the application may have the stack for now.
            _ => attach::attach(&held).is_err_and(|reason| {
                reason.count();
                reason == Reason::NoStack
            }),
        };
        if again {
            set.file.set(Flag::Unclaimed, true);
        }
    }
}

/// What the kernel alone watches, and sets.
fn members(set: &Held) -> Vec<c_int> {
    let state = state::lock();
    if !set.holds() {
        return Vec::new();
    }
    let items = state.interests.of_set(set.file.epoll()).filter_map(|item| state.interests.item(item));
    let is_set = |fd| fdtable::get(fd).is_some_and(|held| held.file.kind() == Kind::Epoll);
    items.filter(|item| item.world == World::Kernel || is_set(item.fd)).map(|item| item.fd).collect()
}
