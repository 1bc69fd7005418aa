//! Waits for sets that have nothing of ours: in the kernel, as the application asked.
//!
//! Another thread may add something of ours meanwhile. It then calls those who wait back: an eventfd that is
//! always readable joins the kernel's set, under the tag, until the last of them has left.

use core::sync::atomic::{AtomicI32, Ordering};

use libc::{c_int, epoll_event};

use super::wait::Patience;
use super::{ITEM_BITS, claims, tag, tagged};
use crate::errno::{Leave, check};
use crate::fdtable::{self, Flag, Held};
use crate::user::Place;
use crate::{guard, kernel, state};

/// The eventfd; made when it is needed first.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// The bell's place among the tagged: the last, which no item has.
const BELL_ITEM: u32 = (1 << ITEM_BITS) - 1;

/// How a wait in the kernel ended.
pub(super) enum Ended {
    /// With events, or none in time.
    Answered(isize),
    /// The set has something of ours now.
    CalledBack,
}

/// Waits in the kernel alone, unless `has_ours` says that this is too late.
pub(super) fn wait(
    held: &Held,
    (events, max): (Place, c_int),
    patience: Patience,
    has_ours: impl Fn() -> bool,
) -> Result<Ended, Leave> {
    // Counted first, asked then: whoever adds something of ours asks for the count after it has added.
    held.file.count_waiter(true);
    let late = claims::is_due(held) || ringroad::Runtime::current().is_some() && has_ours();
    let answer = if late {
        None
    } else {
        Some(guard::outside(|| check(call(held.fd, (events, max), patience) as isize)))
    };
    if held.file.count_waiter(false) == 0 && held.file.is(Flag::Kicked) {
        dismiss(held);
    }
    let Some(answer) = answer else { return Ok(Ended::CalledBack) };
    let n = answer?;
    if ringroad::Runtime::current().is_none() {
        // Nothing is tagged without one.
        return Ok(Ended::Answered(n));
    }
    let kept = without_tagged(events, n as usize)?;
    Ok(if kept == 0 && n > 0 { Ended::CalledBack } else { Ended::Answered(kept as isize) })
}

fn call(epfd: c_int, (events, max): (Place, c_int), patience: Patience) -> c_int {
    match patience {
        Patience::Wait(timeout) => kernel::epoll_wait(epfd, events, max, timeout),
        Patience::Pwait(timeout, mask) => kernel::epoll_pwait(epfd, events, max, (timeout, mask)),
        Patience::Pwait2(timeout, mask) => kernel::epoll_pwait2(epfd, events, max, (timeout, mask)),
    }
}

/// Takes tagged events out of the application's array: they are not for it. Answers how many are left.
fn without_tagged(events: Place, n: usize) -> Result<usize, Leave> {
    let place = |i: usize| events.after(i * size_of::<epoll_event>());
    let mut kept = 0;
    for i in 0..n {
        let event: epoll_event = place(i).read()?;
        if let Some(item) = tagged(event.u64) {
            state::lock().interests.wake_from_kernel(item, event.events);
            continue;
        }
        if kept != i {
            place(kept).write(&event)?;
        }
        kept += 1;
    }
    Ok(kept)
}

/// Calls those who wait for the set in the kernel back. Called under the state's lock, after the set was
/// given something of ours.
pub(super) fn call_back(set: &Held) {
    if set.file.waiters() > 0
        && let Some(bell) = bell()
    {
        set.file.set(Flag::Kicked, true);
        // It may hang there already.
        let data = tag() | u64::from(BELL_ITEM);
        let _ = kernel::epoll_ctl(set.fd, libc::EPOLL_CTL_ADD, bell, libc::EPOLLIN as u32, data);
    }
}

/// The last of those who were called back has left.
fn dismiss(set: &Held) {
    let _state = state::lock();
    if set.file.waiters() == 0 {
        set.file.set(Flag::Kicked, false);
        // Gone already when the set was closed.
        let _ = kernel::epoll_ctl(set.fd, libc::EPOLL_CTL_DEL, BELL.load(Ordering::Acquire), 0, 0);
    }
}

fn bell() -> Option<c_int> {
    let known = BELL.load(Ordering::Acquire);
    if known >= 0 {
        return Some(known);
    }
    // Under the state's lock: nobody makes a second one.
    let made = kernel::move_high(kernel::eventfd(1).ok()?);
    fdtable::protect(made, true);
    BELL.store(made, Ordering::Release);
    Some(made)
}
